#!/usr/bin/env python3
"""The relay protocol byte by byte, spoken to the real iroh-relay and to kith-relay: one list of facts for both. Prints TAP lines.

Where the reference does what a relay must not do, the fact says what kith-relay does instead, and both are checked.
Arguments: names of relays (iroh-relay, kith-relay); none: all.
"""
import concurrent.futures, http.server, struct, sys, threading, time

import raw_relay
from peers import Tap
from raw_relay import (BOTH_VERSIONS, CONFIRM, DENY, GONE, HEALTH, PING, PONG, RATE_LIMITED, RECEIVE, RECEIVE_BATCH, RESTARTING, SAME_ID, SEND,
                       SEND_BATCH, STATUS, Closed, Key, RawRelay, connected, request)
from relays import Relay, client_tls, find_relays

FACTS = []


class Wrong(Exception):
    pass


def want(condition, *told):
    if not condition:
        raise Wrong(" ".join(map(str, told)) or "not so")


def fact(**config):
    """A check of a relay with this configuration; those without share one server."""
    def add(check):
        FACTS.append((check.__name__.replace("_", " "), check, config))
        return check
    return add


# ---- HTTP ----

@fact()
def the_pages_answer_as_the_reference_does(relay):
    status, headers, body = request(relay.port, "GET", "/ping")
    want(status == 200 and body == b"" and headers.get("access-control-allow-origin") == "*", status, headers, body)
    status, headers, body = request(relay.port, "GET", "/robots.txt")
    want(status == 200 and body == b"User-agent: *\nDisallow: /\n", status, body)
    status, headers, body = request(relay.port, "GET", "/healthz")
    want(status == 200 and b'"status":"ok"' in body.replace(b" ", b"") and headers["content-type"].startswith("application/json"), status, body)
    for path in ("/", "/index.html"):
        status, headers, body = request(relay.port, "GET", path)
        want(status == 200 and headers["content-type"].startswith("text/html"), path, status, headers)
    want("strict-transport-security" in headers and "content-security-policy" in headers, headers)
    for method, path in (("GET", "/derp"), ("GET", "/relay/"), ("POST", "/ping"), ("GET", "/nothing")):
        want(request(relay.port, method, path)[0] in (404, 405), method, path)


@fact()
def captive_portal_challenges_are_answered(relay):
    status, headers, body = request(relay.http_port, "GET", "/generate_204", [("X-Iroh-Challenge", "ts_127.0.0.1")])
    want(status == 204 and headers.get("x-iroh-response") == "response ts_127.0.0.1" and body == b"", status, headers)
    for bad in ("a b", "x" * 64, "a/b"):
        status, headers, _ = request(relay.http_port, "GET", "/generate_204", [("X-Iroh-Challenge", bad)])
        want(status == 204 and "x-iroh-response" not in headers, bad, status, headers)


@fact()
def the_upgrade_takes_the_highest_version_of_any_order(relay):
    for offered, chosen in ((BOTH_VERSIONS, "iroh-relay-v2"), ("iroh-relay-v1, iroh-relay-v2", "iroh-relay-v2"), ("iroh-relay-v1", "iroh-relay-v1"),
                            ("iroh-relay-v9,iroh-relay-v1", "iroh-relay-v1")):
        with RawRelay(relay.port) as client:
            status, headers = client.upgrade(offered)
            want(status == 101 and headers.get("sec-websocket-protocol") == chosen and headers["accept-is-right"], offered, status, headers)


@fact()
def a_bad_upgrade_is_status_400(relay):
    for change in ({"Sec-WebSocket-Protocol": "iroh-relay-v9"}, {"Sec-WebSocket-Protocol": None}, {"Sec-WebSocket-Key": None},
                   {"Sec-WebSocket-Version": "12"}, {"Upgrade": None}):
        with RawRelay(relay.port) as client:
            status, headers = client.upgrade(change=change)
            want(status == 400, change, status, headers)
            want("Sec-WebSocket-Version" not in change or headers.get("sec-websocket-version") == "13", headers)


@fact(iroh=False)
def kith_relay_survives_bytes_that_come_before_the_101(relay):
    # The reference drops the connection; either answer is fine, silence is not.
    with RawRelay(relay.port) as client:
        client.sock.sendall(b"GET /relay HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: iroh-relay-v2\r\n\r\n\x82\x80")
        try:
            want(client.sock.recv(4096) != b"" or True)
        except OSError:
            pass
    want(connected(relay.port).ping())


# ---- handshake ----

@fact()
def a_right_signature_is_confirmed_and_a_wrong_one_denied_with_its_reason(relay):
    connected(relay.port).close()
    with RawRelay(relay.port) as client:
        client.upgrade()
        verdict = client.authenticate(Key(), signature=bytes(64))
        want(verdict == bytes([DENY, 17]) + b"signature invalid", verdict)
        want(client.is_closed(), "still open after the denial")


@fact()
def two_connections_get_different_challenges(relay):
    seen = set()
    for _ in range(3):
        with RawRelay(relay.port) as client:
            client.upgrade()
            seen.add(client.receive())
    want(len(seen) == 3, seen)


@fact()
def anything_but_the_answer_ends_the_handshake(relay):
    for frame in (bytes([PING]) + bytes(8), bytes([1]) + bytes(10), b"", bytes([CONFIRM])):
        with RawRelay(relay.port) as client:
            client.upgrade()
            client.receive()
            client.send(frame)
            want(client.is_closed(5), "open after", frame)


# ---- frames ----

def pair(relay, **how):
    return connected(relay.port, **how), connected(relay.port, **how)


@fact()
def a_datagram_arrives_with_the_senders_key_and_its_ecn(relay):
    a, b = pair(relay)
    for ecn in range(4):
        a.datagram(b.key.public, b"Hello World!", ecn)
        got = b.expect(RECEIVE)
        want(got == bytes([RECEIVE]) + a.key.public + bytes([ecn]) + b"Hello World!", got.hex())


@fact()
def a_batch_arrives_whole_with_its_segment_size(relay):
    a, b = pair(relay)
    a.batch(b.key.public, 6, b"Hello World!", 3)
    got = b.expect(RECEIVE_BATCH)
    want(got == bytes([RECEIVE_BATCH]) + a.key.public + b"\x03\x00\x06Hello World!", got.hex())
    a.batch(b.key.public, 1452, bytes(14520))
    want(len(b.expect(RECEIVE_BATCH)) == 1 + 32 + 1 + 2 + 14520)


@fact()
def segment_size_zero_is_one_datagram(relay):
    a, b = pair(relay)
    a.batch(b.key.public, 0, b"one")
    got = b.expect(RECEIVE, RECEIVE_BATCH)
    want(got == bytes([RECEIVE]) + a.key.public + b"\x00one", got.hex())


@fact()
def the_largest_payload_arrives(relay):
    a, b = pair(relay)
    a.datagram(b.key.public, b"\x07" * 65502)
    want(len(b.expect(RECEIVE)) == 65536)
    a.batch(b.key.public, 1300, b"\x07" * 65500)
    want(len(b.expect(RECEIVE_BATCH)) == 65536)


@fact()
def order_is_kept_and_nothing_is_lost_below_the_queues_size(relay):
    a, b = pair(relay)
    for i in range(200):
        a.datagram(b.key.public, struct.pack(">I", i) + bytes(100))
    want([struct.unpack(">I", b.expect(RECEIVE)[34:38])[0] for _ in range(200)] == list(range(200)))


@fact()
def a_datagram_to_oneself_comes_back(relay):
    a = connected(relay.port)
    a.datagram(a.key.public, b"me")
    want(a.expect(RECEIVE)[34:] == b"me")


@fact()
def an_unknown_destination_is_no_error(relay):
    a = connected(relay.port)
    a.datagram(Key().public, b"nobody")
    want(a.ping(), "no pong")


@fact()
def a_ping_is_answered_with_its_bytes_also_in_a_longer_type(relay):
    a = connected(relay.port)
    want(a.ping(b"\x2a" * 8))
    a.send(b"\x40\x09" + b"longtype")
    want(a.expect(PONG) == bytes([PONG]) + b"longtype")


@fact()
def fragments_are_put_together_text_is_skipped_and_websocket_pings_are_answered(relay):
    a = connected(relay.port)
    a.send_message(0x02, bytes([PING]) + b"frag")
    a.send_message(0x80, b"ment")
    want(a.expect(PONG) == bytes([PONG]) + b"fragment")
    a.send_message(0x81, b"a text")
    a.send_message(0x89, b"wsping")
    want(a.ping())
    want(b"wsping" in a.pongs, a.pongs)


@fact()
def a_clean_websocket_close_ends_the_connection(relay):
    a = connected(relay.port)
    a.send_message(0x88, b"\x03\xe8")
    want(a.is_closed(5), "still open")


def breaks(frame, *told):
    """This frame ends its sender's connection, and no other's."""
    def check(relay):
        a, b = pair(relay)
        a.send(frame(b) if callable(frame) else frame)
        want(a.is_closed(6), "still open", *told)
        want(b.ping(), "another one suffered")
    return check


for said, frame in (
        ("an unknown type", bytes([14]) + bytes(8)), ("a status from a client", bytes([STATUS, 0])), ("a health from a client", bytes([HEALTH]) + b"x"),
        ("a received datagram from a client", lambda b: bytes([RECEIVE]) + b.key.public + b"\0x"), ("a handshake frame again", bytes([1]) + bytes(97)),
        ("a ping of seven bytes", bytes([PING]) + bytes(7)), ("a ping of nine bytes", bytes([PING]) + bytes(9)),
        ("a datagram without its key", bytes([SEND]) + bytes(20)), ("a batch without its size", lambda b: bytes([SEND_BATCH]) + b.key.public + b"\0\1"),
        ("a body of 65537 bytes", lambda b: bytes([SEND]) + b.key.public + bytes(65505)), ("an empty frame", b"")):
    check = breaks(frame)
    check.__name__ = "%s_ends_its_sender's_connection_alone" % said.replace(" ", "_")
    fact()(check)


@fact()
def a_message_over_1_mib_ends_its_senders_connection_alone(relay):
    a, b = pair(relay)
    try:
        a.send(bytes([SEND]) + b.key.public + bytes(1 << 20))
        want(a.is_closed(6), "still open")
    except OSError:
        pass
    want(b.ping(), "another one suffered")


@fact(iroh="kills")
def an_empty_or_too_large_datagram_does_not_end_its_destination(relay):
    """The reference forwards it and dies on the destination's side; 65,503 bytes are within its limit for receiving, not for sending."""
    for make in (lambda key: bytes([SEND]) + key + b"\0", lambda key: bytes([SEND_BATCH]) + key + b"\0\0\x10",
                 lambda key: bytes([SEND]) + key + b"\0" + bytes(65503)):
        a, b = pair(relay)
        a.send(make(b.key.public))
        try:
            a.ping()
        except (Closed, OSError):
            pass  # the sender may be punished
        try:
            survived = b.ping()
        except (Closed, OSError):
            survived = False
        want(survived, "the destination was disconnected")


# ---- who is there ----

@fact()
def those_who_got_datagrams_are_told_when_the_sender_is_gone(relay):
    a, b = pair(relay)
    bystander = connected(relay.port)
    a.datagram(b.key.public, b"hello")
    b.expect(RECEIVE)
    gone = a.key.public
    a.close()
    want(b.expect(GONE, limit=5) == bytes([GONE]) + gone)
    want(bystander.ping())
    bystander.send(bytes([PING]) + b"onemore!")
    want(bystander.receive()[0] == PONG, "a bystander was told")


@fact()
def the_newest_connection_of_a_key_receives_and_the_old_one_may_still_send(relay):
    key = Key()
    other, old = connected(relay.port), connected(relay.port, key)
    new = connected(relay.port, key)
    want(old.expect(STATUS, limit=5) == bytes([STATUS, SAME_ID]))
    other.datagram(key.public, b"to the newest")
    want(new.expect(RECEIVE)[34:] == b"to the newest")
    old.datagram(other.key.public, b"from the old")
    want(other.expect(RECEIVE)[1:33] == key.public)
    new.close()
    want(old.expect(STATUS, limit=5) == bytes([STATUS, 0]), "no word that it is active again")
    other.datagram(key.public, b"to the old again")
    want(old.expect(RECEIVE)[34:] == b"to the old again")
    old.close()
    want(other.expect(GONE, limit=5) == bytes([GONE]) + key.public)


@fact()
def version_1_is_told_in_words(relay):
    key = Key()
    old = connected(relay.port, key, "iroh-relay-v1")
    new = connected(relay.port, key, "iroh-relay-v2")
    want(old.expect(HEALTH, limit=5)[1:].decode() == "Another endpoint connected with the same endpoint id. No more messages will be received.")
    new.close()
    want(old.expect(HEALTH, limit=5)[1:].decode() == "The connection is healthy and has recovered from previous problems")
    a = connected(relay.port, protocols="iroh-relay-v1")
    a.datagram(old.key.public, b"v1 to v1")
    want(old.expect(RECEIVE)[34:] == b"v1 to v1")


@fact()
def a_silent_client_is_pinged_after_15_to_20_seconds_and_dropped_without_its_pong(relay):
    a = connected(relay.port)
    started = time.monotonic()
    ping = a.receive(limit=25)
    took = time.monotonic() - started
    want(ping[0] == PING and len(ping) == 9, ping.hex())
    want(14 < took < 21, "after %.1f s" % took)
    want(a.is_closed(9), "still there without a pong")


# ---- access and limits ----

@fact(access='.shared_token = ["token-a", "token b"]')
def a_token_opens_in_a_header_or_in_the_query_and_nothing_else_does(relay):
    connected(relay.port, headers=[("Authorization", "Bearer token-a")]).close()
    connected(relay.port, headers=[("authorization", "bearer token b")]).close()
    connected(relay.port, path="/relay?x=1&token=token+b").close()
    connected(relay.port, path="/relay?token=token%2Da").close()
    for how in ({}, {"headers": [("Authorization", "Bearer token-c")]}, {"path": "/relay?token="}, {"headers": [("Authorization", "Basic token-a")]}):
        try:
            connected(relay.port, **how)
        except Closed as end:
            want(str(end) == "denied: not authorized", how, end)
        else:
            raise Wrong("let in with %s" % how)


ALLOWED = bytes([7]) * 32


@fact(access='.allowlist = ["%s"]' % (Key(ALLOWED).public.hex() if raw_relay.SODIUM else ""))
def an_allow_list_lets_in_its_keys_only(relay):
    connected(relay.port, Key(ALLOWED)).close()
    try:
        connected(relay.port)
    except Closed as end:
        want(str(end) == "denied: not authorized", end)
    else:
        raise Wrong("let in")


@fact(access='.denylist = ["%s"]' % (Key(ALLOWED).public.hex() if raw_relay.SODIUM else ""))
def a_deny_list_keeps_out_its_keys_only(relay):
    connected(relay.port).close()
    try:
        connected(relay.port, Key(ALLOWED))
    except Closed as end:
        want(str(end) == "denied: not authorized", end)
    else:
        raise Wrong("let in")



@fact(callback=True)
def a_callback_decides_by_status_200_and_the_body_true(relay):
    asked = relay.callback.asked
    for key, answer in ((Key(), (200, b"true")), (Key(), (200, b"true\n")), (Key(), (204, b"")), (Key(), (403, b"true"))):
        relay.callback.answers[key.public.hex()] = answer
        try:
            connected(relay.port, key).close()
            let_in = True
        except Closed as end:
            want(str(end) == "denied: not authorized", end)
            let_in = False
        want(let_in == (answer == (200, b"true")), answer, let_in)
        method, headers = asked[-1]
        want(method == "POST" and headers.get("X-Iroh-NodeId") == headers.get("X-Iroh-Endpoint-Id") == key.public.hex(), headers)
        want(headers.get("Authorization") == "Bearer callback-token", headers)


@fact(limits="bytes_per_second = 20000\nmax_burst_bytes = 20000")
def a_limited_client_is_told_once_and_others_are_not_held_up(relay):
    a, b = pair(relay)
    for _ in range(60):
        a.datagram(b.key.public, bytes(1200))
    want(a.expect(STATUS, limit=8) == bytes([STATUS, RATE_LIMITED]))
    want(b.ping())


@fact(metrics=True)
def the_counters_have_the_references_names_and_count(relay):
    a, b = pair(relay)
    a.datagram(b.key.public, bytes(1000))
    b.expect(RECEIVE)
    a.datagram(Key().public, bytes(10))
    a.ping()
    a.close()
    b.expect(GONE)
    for name, least in (("bytes_recv", 1010), ("bytes_sent", 1000), ("send_packets_recv", 2), ("send_packets_sent", 1), ("send_packets_dropped", 1),
                        ("got_ping", 1), ("sent_pong", 1), ("accepts", 2), ("disconnects", 1), ("unique_client_keys", 2), ("http_connections", 2),
                        ("clients_inactive_added", 0), ("conns_rx_ratelimited", 0), ("qad_incoming", 0)):
        value = relay.metric(name)
        want(value is not None and value >= least, name, value)


@fact(tls=True)
def the_same_works_over_tls_and_plain_http_has_the_captive_portal_alone(relay):
    tls = client_tls()
    a, b = pair(relay, tls=tls)
    a.datagram(b.key.public, b"inside", 2)
    want(b.expect(RECEIVE) == bytes([RECEIVE]) + a.key.public + b"\x02inside")
    want(request(relay.port, "GET", "/ping", tls=tls)[0] == 200)
    want(request(relay.http_port, "GET", "/generate_204")[0] == 204)
    want(request(relay.http_port, "GET", "/ping")[0] == 404, "the plain port serves more than it should")
    want(request(relay.port, "GET", "/generate_204", tls=tls)[0] == 404)


@fact(iroh=False, own=True)
def kith_relay_says_that_it_restarts_and_closes_when_told_to_end(relay):
    a = connected(relay.port)
    stopping = threading.Thread(target=relay.stop, args=(15,))
    stopping.start()
    try:
        frame = a.expect(RESTARTING, limit=10)
        want(len(frame) == 9, frame.hex())
        want(a.is_closed(10), "still open")
    finally:
        stopping.join()


# ---- running ----

class Callback:
    """An access callback: answers by key, and what it was asked."""

    def __init__(self):
        callback = self
        self.asked, self.answers = [], {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                callback.asked.append((self.command, dict(self.headers.items())))
                lower = {name.lower(): value for name, value in self.headers.items()}
                callback.asked[-1] = (self.command, {name: lower.get(name.lower()) for name in ("X-Iroh-NodeId", "X-Iroh-Endpoint-Id", "Authorization")})
                status, body = callback.answers.get(lower.get("x-iroh-endpoint-id"), (500, b""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def access(self):
        return '.http = { url = "http://127.0.0.1:%d/allow", bearer_token = "callback-token" }' % self.server.server_port


def start(program, config):
    config = {name: value for name, value in config.items() if name not in ("iroh", "own", "callback")}
    return Relay(program, **config)


def run(tap, name, program):
    shared = Relay(program)
    for said, check, config in FACTS:
        wrong_there = config.get("iroh") if name == "iroh-relay" else None
        if wrong_there is False:
            continue
        needs = {key for key in config if key != "iroh"}
        callback = Callback() if config.get("callback") else None
        relay = shared if not needs else start(program, {**config, **({"access": callback.access()} if callback else {})})
        relay.callback = callback
        detail = None
        try:
            check(relay)
        except Exception as error:  # whatever goes wrong is the fact's failure, and the next one is tried
            detail = "%s: %s\n%s" % (type(error).__name__, error, relay.output()[-1500:])
        if wrong_there == "kills":
            # The reference's defect, as long as it has it: told, not failed.
            tap.report(True, "%s: %s (%s)" % (name, said, "the reference fails here" if detail else "the reference holds here too"))
        else:
            tap.report(detail is None, "%s: %s" % (name, said), detail or "")
        if relay is not shared:
            relay.end()
    alive = shared.process.process.poll() is None
    tap.report(alive, "%s: still runs after all this" % name, shared.output()[-2000:])
    shared.end()


def main():
    tap = Tap()
    relays, missing = find_relays()
    for name, why in missing.items():
        tap.skip(name, why)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # each with relays of its own; one fact waits for 20 s
        work = []
        for name, program in relays.items():
            if raw_relay.SODIUM is None:
                tap.skip(name, "no libsodium for signatures")
            elif not sys.argv[1:] or name in sys.argv[1:]:
                work.append(pool.submit(run, tap, name, program))
        for done in work:
            done.result()
    tap.end()


if __name__ == "__main__":
    main()
