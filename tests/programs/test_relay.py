#!/usr/bin/env python3
"""Uses the kith-relay program as its operators do, and as those who mean harm: configuration, HTTP, signals, certificates,
access, limits. The protocol itself is in tests/interop/test_relay_server.py. TAP lines.

Arguments: words of test names; none: all.
"""
import contextlib, http.server, resource, socket, ssl, struct

from servers import *

import raw_relay  # beside relays.py, where servers.py has led
from raw_relay import PING, PONG, RESTARTING, Closed, Key, RawRelay, connected, request

STRICT = "max-age=63072000; includeSubDomains"
POLICY = "default-src 'none'; frame-ancestors 'none'; form-action 'none'; base-uri 'self'; block-all-mixed-content; plugin-types 'none'"


class Relay(Server):
    """A relay on ports of the system's choice; `config`: TOML beside the addresses, `tls` that of its table."""

    program, prefix = os.path.join(os.path.dirname(KITH), "kith-relay"), "relayserver"
    fixed = 'http_bind_addr = "127.0.0.1:0"\nmetrics_bind_addr = "127.0.0.1:0"\n'

    def __init__(self, home, *flags, config="", tls="", env=None, dev=True):
        super().__init__(home, *(["--dev"] if dev and not tls else []), *flags, config=config + ("\n[tls]\n" + tls if tls else ""), env=env)


def check(home, *flags, **how):
    return check_config(Relay.program, home, *flags, **how)


def manual(directory, more=""):
    return 'cert_mode = "Manual"\nhttps_bind_addr = "127.0.0.1:0"\ncert_dir = "%s"\n%s' % (directory, more)


# ---- HTTP ----

@test
def every_page_has_its_status_and_headers(home):
    with Relay(home) as relay:
        for path, status, kind, body in (("/ping", 200, None, b""), ("/robots.txt", 200, "text/plain", b"User-agent: *\nDisallow: /\n"),
                                         ("/generate_204", 204, None, b""), ("/healthz?x=1", 200, "application/json", None),
                                         ("/", 200, "text/html; charset=utf-8", None), ("/index.html", 200, "text/html; charset=utf-8", None),
                                         ("/nothing", 404, "text/plain", b"Not Found"), ("/relay/", 404, "text/plain", b"Not Found"),
                                         ("/ping/", 404, "text/plain", b"Not Found"), ("//ping", 404, "text/plain", b"Not Found")):
            got, headers, text = request(relay.port(), "GET", path)
            assert got == status and (body is None or text == body), (path, got, text)
            assert headers["strict-transport-security"] == STRICT and headers["content-security-policy"] == POLICY, (path, headers)
            assert kind is None or headers["content-type"].startswith(kind), (path, headers)
            assert re.match(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$", headers["date"]), headers
            assert ("content-length" in headers) == (status != 204), (path, headers)
        for method in ("POST", "PUT", "HEAD", "DELETE", "OPTIONS"):
            got, headers, text = request(relay.port(), method, "/ping")
            assert got == 404 and (method != "HEAD" or text == b""), (method, got, text)
        health = json.loads(request(relay.port(), "GET", "/healthz")[2])
        assert health["status"] == "ok" and set(health) == {"status", "version", "git_hash"}, health


@test
def the_page_for_people_tells_numbers_and_no_ids(home):
    with Relay(home) as relay:
        client = connected(relay.port())
        relay.wait_metric("clients", 1)
        text = request(relay.port(), "GET", "/")[2].decode()
        assert "<td>1 (1 different)" in text, text
        assert client.key.public.hex() not in text and not re.search(r"(src|href)=", text), text
        client.close()


@test
def requests_are_answered_one_after_the_other_on_one_connection(home):
    with Relay(home) as relay:
        one = b"GET /robots.txt HTTP/1.1\r\nHost: x\r\n\r\n"
        got = relay.raw(one * 5 + b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + one)
        assert got.count(b"HTTP/1.1 200 OK") == 6 and got.count(b"Disallow") == 5 and got.count(b"connection: close") == 1, got
        got = relay.raw(b"".join(bytes([c]) for c in one.replace(b"1.1", b"1.0")))
        assert got.count(b"200 OK") == 1, got
        with socket.create_connection(("127.0.0.1", relay.port()), timeout=10) as sock:
            for piece in (one[:3], one[3:20], one[20:-1], one[-1:]):
                sock.sendall(piece)
                time.sleep(0.01)
            assert b"Disallow" in sock.recv(65536)


@test
def requests_that_are_none_are_refused(home):
    with Relay(home) as relay:
        for data, status in ((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600), 400), (b"hello\r\n\r\n", 400),
                             (b"GET /ping HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
                             (b"GET /ping HTTP/1.1\r\n" + b"X: a\r\n" * 100 + b"\r\n", 431), (b"GET /ping HTTP/3.0\r\n\r\n", 505),
                             (b"POST /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400)):
            got = relay.raw(data)
            assert re.match(rb"HTTP/1.1 %d " % status, got), (data[:40], got[:80])
        got = relay.raw(b"POST /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert got.count(b"HTTP/1.1") == 1 and b" 404 " in got and b"connection: close" in got, got


@test
def a_bad_upgrade_is_told_what_is_wrong(home):
    with Relay(home) as relay:
        for change, words in (({"Upgrade": "WebSocket"}, b"websocket"), ({"Upgrade": None}, b"pgrade"), ({"Sec-WebSocket-Key": None}, b"Key"),
                              ({"Sec-WebSocket-Version": "12"}, b"ersion"), ({"Sec-WebSocket-Version": None}, b"ersion"),
                              ({"Sec-WebSocket-Protocol": None}, b"rotocol"), ({"Sec-WebSocket-Protocol": "iroh-relay-v3"}, b"rotocol")):
            fields = {"Host": "x", "Upgrade": "websocket", "Connection": "Upgrade, close", "Sec-WebSocket-Key": "VOmccEbJU7s1HAm9ouc17g==",
                      "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "iroh-relay-v2", **change}
            got = relay.raw(("GET /relay HTTP/1.1\r\n" + "".join("%s: %s\r\n" % f for f in fields.items() if f[1]) + "\r\n").encode())
            assert got.startswith(b"HTTP/1.1 400 ") and words in got.partition(b"\r\n\r\n")[2], (change, got)
            assert (b"sec-websocket-version: 13" in got) == (change.get("Sec-WebSocket-Version") == "12"), got
        with RawRelay(relay.port()) as client:
            status, headers = client.upgrade()
            assert status == 101 and headers["upgrade"] == "websocket" and headers["accept-is-right"], headers
            assert headers["strict-transport-security"] == STRICT and headers["content-security-policy"] == POLICY, headers


@test
def what_comes_before_the_101_ends_the_connection(home):
    with Relay(home) as relay:
        head = (b"GET /relay HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: iroh-relay-v2\r\n")
        assert relay.raw(head + b"\r\n\x82\x80") == b""
        assert relay.raw(head + b"x-iroh-relay-client-auth-v1: no base64!\r\n\r\n") == b""
        assert connected(relay.port()).ping()


@test
def metrics_have_the_names_of_the_reference(home):
    names = """bytes_sent bytes_recv send_packets_sent send_packets_recv send_packets_dropped other_packets_sent other_packets_recv
        other_packets_dropped got_ping sent_pong unknown_frames bytes_rx_ratelimited conns_rx_ratelimited accepts disconnects
        unique_client_keys clients_inactive_added clients_inactive_removed qad_incoming qad_incoming_error qad_connections
        qad_connections_closed qad_connections_errored http_connections http_connections_closed http_connections_errored""".split()
    with Relay(home) as relay:
        headers, text = relay.metrics()
        assert headers["content-type"] == "text/plain; charset=utf-8" and text.endswith("# EOF\n"), headers
        for name in names:
            assert re.search(r"^relayserver_%s_total \d+$" % name, text, re.M), name
            assert "# TYPE relayserver_%s counter\n" % name in text, name
        assert request(relay.port("metrics"), "POST", "/anything")[0] == 200
        assert request(relay.port(), "GET", "/metrics")[0] == 404, "the metrics are public"


# ---- harm ----

@test
def those_who_say_nothing_do_not_keep_the_metrics_from_others(home):
    with Relay(home) as relay:
        silent = [socket.create_connection(("127.0.0.1", relay.port("metrics"))) for _ in range(200)]
        assert relay.metric("clients") == 0
        for sock in silent:
            sock.close()


@test
def slow_and_silent_clients_lose_their_place(home):
    with Relay(home, config="limits.handshake_seconds = 1") as relay:
        slow = socket.create_connection(("127.0.0.1", relay.port()), timeout=20)
        silent = socket.create_connection(("127.0.0.1", relay.port()), timeout=20)
        half = RawRelay(relay.port(), limit=20)
        half.upgrade()
        half.receive()
        trickling = RawRelay(relay.port(), limit=20)
        trickling.upgrade()
        began = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - began < 20:
                slow.sendall(b"GET /ping HTTP/1.1\r\nX-Slow: a\r\n"[:1])
                trickling.sock.sendall(b"\x82")
                time.sleep(0.1)
        assert time.monotonic() - began < 15, "it never ends"
        assert read_all(silent) == b"" and half.is_closed(15)
        assert relay.wait_metric("ends_handshake_timeout_total", 1) >= 1
        assert connected(relay.port()).ping()


@test
def garbage_after_the_upgrade_ends_that_connection_alone(home):
    with Relay(home) as relay:
        honest = connected(relay.port())
        for garbage in (os.urandom(4096), b"\xff" * 64, b"\x82\x05hello", b"\x82\xff" + b"\x7f" * 12, b"\x00" * 100, b"\x89\xfe\xff\xff" + bytes(200),
                        b"GET / HTTP/1.1\r\n\r\n", b"\xf2\x80abcd", b"\x80\x80abcd"):
            client = RawRelay(relay.port())
            client.upgrade()
            client.receive()
            client.sock.sendall(garbage + bytes(200000))
            assert client.is_closed(10), garbage[:10]
            client.close()
        assert honest.ping()


@test
def thousands_of_strangers_do_not_keep_clients_out(home):
    raw_relay.allow_descriptors(3000)
    with Relay(home, config="limits.unauthenticated_per_ip = 200\nlimits.unauthenticated = 300") as relay:
        honest = connected(relay.port())
        strangers = []
        for i in range(2000):
            sock = socket.socket()
            sock.bind(("127.0.0.%d" % (2 + i % 2), 0))
            sock.settimeout(10)
            sock.connect(("127.0.0.1", relay.port()))
            strangers.append(sock)
        assert relay.wait_metric("refused_unauthenticated_total", 1700) <= 2000
        assert honest.ping()
        for sock in strangers:
            sock.close()
        until = time.monotonic() + LIMIT
        while True:  # their places are free again
            try:
                connected(relay.port(), source="127.0.0.2").close()
                break
            except (OSError, Closed):
                assert time.monotonic() < until
                time.sleep(0.05)
        assert honest.ping()


@test
def a_relay_without_descriptors_counts_whom_it_sends_away_and_goes_on(home):
    with Relay(home) as relay:
        pid = relay.process.pid
        if not os.access("/proc/%d/fd" % pid, os.R_OK):
            raise Skip("only root sees the descriptors of a process that leaves no core")
        most = len(os.listdir("/proc/%d/fd" % pid)) + 8
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most))
        crowd = [socket.create_connection(("127.0.0.1", relay.port())) for _ in range(40)]
        served = 0
        for one in crowd:
            with contextlib.suppress(ConnectionError), one:
                one.settimeout(LIMIT)
                one.sendall(b"GET /ping HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
                served += one.recv(4096).startswith(b"HTTP/1.1 200")
        gone = len(crowd) - served
        assert served > 0 and gone > 0 and relay.metric("refused_no_handles") == gone, (served, gone, most)
        assert connected(relay.port()).ping()


@test
def connections_are_limited_by_rate_and_number(home):
    with Relay(home, config="limits.accept_conn_limit = 0.001\nlimits.accept_conn_burst = 3") as relay:
        let_in = [1 for _ in range(8) if b"200" in relay.raw(b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n")]
        assert len(let_in) == 3 and relay.metric("refused_rate_total") == 5, let_in
    with Relay(home, config="limits.connections = 2") as relay:
        first, second = connected(relay.port()), connected(relay.port())
        assert relay.raw(b"GET /ping HTTP/1.1\r\n\r\n") == b"" and relay.metric("refused_total") == 1
        first.close()
        until = time.monotonic() + LIMIT
        while b"200" not in relay.raw(b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n"):
            assert time.monotonic() < until
        assert second.ping()
    with Relay(home, config="limits.connections_per_ip = 1") as relay:
        first = connected(relay.port())
        assert relay.raw(b"GET /ping HTTP/1.1\r\n\r\n") == b""
        connected(relay.port(), source="127.0.0.9").close()
        assert first.ping()


# ---- configuration ----

@test
def the_configuration_of_an_iroh_relay_is_taken_as_it_is(home):
    put_certificate(home + "/c")
    text = check(home, config='''
        enable_relay = true
        http_bind_addr = "[::]:8080"
        enable_quic_addr_discovery = true
        enable_metrics = true
        metrics_bind_addr = "127.0.0.1:9091"
        key_cache_capacity = 1048576
        access.shared_token = ["token-a", "token-b"]
        [limits]
        accept_conn_limit = 100.5
        accept_conn_burst = 20
        [limits.client.rx]
        bytes_per_second = 4194304
        max_burst_bytes = 16777216
        [tls]
        https_bind_addr = "[::]:8443"
        quic_bind_addr = "[::]:7842"
        hostname = ["localhost"]
        cert_mode = "Reloading"
        cert_dir = "%s/c"
        prod_tls = true
        contact = "ops@example.com"
        dangerous_http_only = false
    ''' % home)
    assert text == "the configuration is fine\n", text


@test
def what_is_wrong_in_a_file_is_told_with_its_line(home):
    for config, *words in (("enable_relay = true\nenable_rely = true", ":", "line 2", "there is no key 'enable_rely'"),
                           ("\n[limits.client.rx]\nbytes = 3", "line 3", "limits.client.rx.bytes"),
                           ("enable_metrics = 1", "line 1", "true or false"), ('http_bind_addr = "localhost:80"', "line 1", "address and port"),
                           ("http_bind_addr = 80", "line 1"), ("limits.client.rx.bytes_per_second = 0", "line 1", "from 1 to"),
                           ("limits.client.rx.bytes_per_second = 4294967296", "line 1"), ("limits.accept_conn_limit = -1.0", "line 1", "above 0"),
                           ("limits.accept_conn_limit = nan", "line 1"), ('access = "nobody"', "line 1", "everyone"),
                           ('access.allowlist = ["abc"]', "line 1", "'abc' is no endpoint id"), ("access.shared_token = []", "line 1"),
                           ('access.shared_token = ["a", ""]', "line 1"), ('access.shared_token = "a"', "line 1"),
                           ('access.allowlist = []\naccess.shared_token = ["a"]', "line 2", "another rule"),
                           ('[access.http]\nurl = "ftp://x/"', "cannot be used"), ('access.http.bearer_token = "x"', "needs a url"),
                           ("[tls]\ncert_mode = \"Magic\"", "line 2", "Manual"), ("[tls]\ncert_mode = \"LetsEncrypt\"", "needs"),
                           ("enable_quic_addr_discovery = true", "needs a certificate"), ("workers = 65", "at most 64"),
                           ("limits.client.rx.max_burst_bytes = 5", "without their rate"), ("limits.queues_bytes = 1", "4194304 bytes or more"),
                           ('[tls]\nmanual_cert_path = "a.crt"\nmanual_key_path = "a.key"', "needs cert_mode"), ("[access.http]", "access.http"), ("a = ", ":1"), ('a = "b\n', ":1"), ("x = 2026-01-01", "no key"),
                           ('[tls]\ncert_mode = "Manual"\ncert_dir = "/nowhere"', "/nowhere/default.crt", "not found")):
        text = check(home, config=config, code=2)
        for word in words:
            assert word in text, (config, word, text)
    assert "No such file" in check(home, "-c", home + "/missing.toml", code=2)
    assert "Is a directory" in check(home, "-c", home, code=2)


@test
def a_certificate_that_clients_would_refuse_is_found_before_the_start(home):
    put_certificate(home + "/own")
    put_certificate(home + "/turned", "relay.pem")
    with open(home + "/turned/default.crt") as leaf, open(X509 + "/root.pem") as root:
        leaf, root = leaf.read(), root.read()
    for name, text in (("turned", root + leaf), ("whole", leaf + root), ("gap", leaf + open(X509 + "/cert.pem").read()), ("none", "no PEM\n")):
        os.makedirs("%s/%s" % (home, name), exist_ok=True)
        shutil.copy(X509 + "/relay-key.pem", "%s/%s/default.key" % (home, name))
        with open("%s/%s/default.crt" % (home, name), "w") as file:
            file.write(text)
    shutil.copytree(home + "/own", home + "/foreign")
    shutil.copy(X509 + "/relay-key.pem", home + "/foreign/default.key")
    shutil.copytree(home + "/own", home + "/keyless")
    shutil.copy(X509 + "/cert.pem", home + "/keyless/default.key")
    for directory, more, code, *words in (("own", 'hostname = "localhost"', 0, "fine"), ("own", 'hostname = ["localhost", "127.0.0.1"]', 0, "fine"),
                                          ("whole", "", 0, "fine"), ("own", 'hostname = ["localhost", "relay.example"]', 2, "own/default.crt is not for relay.example"),
                                          ("turned", "", 2, "turned/default.crt", "wrong order", "number 2"), ("gap", "", 2, "gap/default.crt", "did not sign"),
                                          ("none", "", 2, "there is no certificate in", "none/default.crt"), ("keyless", "", 2, "no private key in", "keyless/default.key"),
                                          ("foreign", "", 2, "foreign/default.key belongs to another certificate")):
        text = check(home, config="[tls]\n" + manual(home + "/" + directory, more), code=code)
        assert all(word in text for word in words), (directory, more, text)
    acme = '[tls]\ncert_mode = "LetsEncrypt"\ncert_dir = "%s/acme"\n' % home
    for more, word in (('hostname = "a.test"', "tls.contact"), ('contact = "a@b.test"', "tls.hostname"), ('contact = "a.test"\nhostname = "a.test"', "'a.test' is no e-mail"),
                       ('contact = "mailto:a@b.test"\nhostname = "a.test"', "mailto"), ('contact = "a@b.test"\nhostname = "192.0.2.1"', "192.0.2.1"),
                       ('contact = "a@b.test"\nhostname = ["a.test", "::1"]', "'::1'"), ('contact = "a@b.test"\nhostname = "*.a.test"', "*.a.test")):
        text = check(home, config=acme + more, code=2)
        assert word in text, (more, text)
    assert "/nowhere" in check(home, "--acme-ca", "/nowhere", config=acme + 'contact = "a@b.test"\nhostname = "a.test"', code=2)
    assert not os.path.exists(home + "/acme"), "a check makes nothing"


@test
def flags_and_environment_are_checked_too(home):
    for flags, word in ((("--nonsense",), "there is no option"), (("argument",), "too many"), (("--http-bind", "80"), "address and port"),
                        (("--self-signed", "--acme"), "only one"), (("--cert", "x"), "belong together"), (("--self-signed",), "needs the name"),
                        (("--acme", "--hostname", "a"), "contact"), (("--acme", "--hostname", "a", "--contact", "b@c.test", "--dev"), "--dev"),
                        (("--quic",), "needs a certificate"), (("--token-file", "/nowhere"), "/nowhere"),
                        (("--acme", "--hostname", "a", "--contact", "b@c.test", "--acme-url", "http://x/"), "https")):
        text = check(home, *flags, code=None)
        assert word in text, (flags, text)
    assert "kith-relay" in run(home, "--help", program=Relay.program).stdout.decode() and "kith relay" in run(home, "relay", "--help").stdout.decode()
    assert re.match(r"kith-relay \d", run(home, "--version", program=Relay.program).stdout.decode())
    printed = run(home, "--print-config", "--dev", "--token", "geheim", "--http-bind", "127.0.0.1:81", program=Relay.program).stdout.decode()
    assert 'http_bind_addr = "127.0.0.1:81"' in printed and "geheim" not in printed and "shared_token: 1" in printed, printed


@test
def a_port_that_is_taken_is_told_also_by_another_relay(home):
    with Relay(home) as relay:
        done = run(home, "--http-bind", "127.0.0.1:%d" % relay.port(), "--no-metrics", program=Relay.program, code=1)
        assert b"already in use" in done.stderr, done.stderr
        done = run(home, "--http-bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:%d" % relay.port("metrics"), program=Relay.program, code=1)
        assert b"metrics cannot be served" in done.stderr, done.stderr


# ---- access ----

def is_let_in(relay, key=None, **how):
    try:
        connected(relay.port(), key, **how).close()
        return True
    except Closed as end:
        assert str(end) == "denied: not authorized", end
        return False


@test
def tokens_come_from_flags_files_and_the_environment(home):
    with open(home + "/tokens", "w") as file:
        file.write("aaa\n\nbbb\r\n")
    bearer = lambda token: {"headers": [("Authorization", "Bearer " + token)]}
    with Relay(home, "--token-file", home + "/tokens", "--token", "ccc") as relay:
        assert all(is_let_in(relay, **bearer(token)) for token in ("aaa", "bbb", "ccc")) and not is_let_in(relay, **bearer("")) and not is_let_in(relay)
    with Relay(home, config='access.shared_token = ["old"]', env={"IROH_RELAY_ACCESS_TOKEN": "fromenv"}) as relay:
        assert is_let_in(relay, **bearer("fromenv")) and not is_let_in(relay, **bearer("old"))
    with Relay(home, env={"IROH_RELAY_ACCESS_TOKEN": "fromenv"}) as relay:
        assert is_let_in(relay), "the variable acts only where tokens are the rule"


@test
def who_has_no_answer_is_told_that_the_relay_of_the_ticket_keeps_it_out(home):
    with Relay(home, config='access.shared_token = ["right"]') as relay:
        url = "http://127.0.0.1:%d" % relay.port()
        with Running(home, "ping", "--listen", "--relay", url, "--relay-token", "right", "--relay-only") as listener:
            ticket = listener.ticket()
            for command in (("ping", "-c", "1"), ("connect",)):
                for options, words in (((), b"not authorized; if it asks for a token, name it with --relay"),
                                       (("--relay", url, "--relay-token", "wrong"), b"not authorized\n")):
                    done = run(home, *command, *options, "--timeout", "1", ticket, code=3)
                    assert b"its relay %s/ was not reached: " % url.encode() in done.stderr and words in done.stderr, done.stderr
            assert b"via relay " + url.encode() in run(home, "ping", "-c", "1", "--relay", url, "--relay-token", "right", "--relay-only", ticket).stdout
            listener.stop()


@test
def the_longest_token_that_a_relay_takes_is_one_that_clients_send(home):
    longest = "t" * 4096
    with Relay(home, config='access.shared_token = ["%s"]' % longest) as relay:
        url = "http://127.0.0.1:%d" % relay.port()
        with Running(home, "ping", "--listen", "--relay", url, "--relay-token", longest, "--relay-only") as listener:
            assert b"via relay" in run(home, "ping", "-c", "1", "--relay", url, "--relay-token", longest, "--relay-only", listener.ticket()).stdout
        assert b"at most 255 and 4096 bytes" in run(home, "ping", "--listen", "--relay", url, "--relay-token", longest + "t", code=None).stderr
    assert "longer than 4096 bytes" in check(home, config='access.shared_token = ["%st"]' % longest, code=2)


@test
def speed_is_measured_through_a_relay_alone(home):
    with Relay(home) as relay:
        url = "http://127.0.0.1:%d" % relay.port()
        with Running(home, "speed", "--listen", "--relay", url, "--relay-only") as server:
            done = run(home, "speed", "--json", "--time", "0.5", "--relay", url, "--relay-only", server.ticket())
        events = {e.get("direction", e["event"]): e for e in map(json.loads, done.stdout.splitlines())}
        told = events["up"]["bytes"] + events["down"]["bytes"]
        assert events["up"]["bytes"] > 0 and events["down"]["bytes"] > 0, events
        assert relay.metric("bytes_sent_total") >= told, "it went another way"


@test
def a_proxy_of_the_environment_is_used_but_for_its_exceptions(home):
    """The proxy refuses everything: who goes through it hears so, who does not reaches the relay."""
    with Relay(home) as relay, socket.create_server(("127.0.0.1", 0)) as proxy:
        def refuse():
            while True:
                try:
                    sock = proxy.accept()[0]
                except OSError:
                    return
                with sock:
                    sock.recv(4096)
                    sock.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        threading.Thread(target=refuse, daemon=True).start()
        url = "http://127.0.0.1:%d" % relay.port()
        with Running(home, "ping", "--listen", "--relay", url, "--relay-only") as listener:
            ticket = listener.ticket()
            for env, options, code in (({}, (), 3), ({"NO_PROXY": "other.test"}, (), 3), ({"NO_PROXY": "127.0.0.0/8"}, (), 0), ({"no_proxy": "*", "NO_PROXY": "x"}, (), 0),
                                       ({"NO_PROXY": "*"}, ("--no-proxy", "other.test"), 3), ({}, ("--no-proxy", "127.0.0.1:%d" % relay.port()), 0)):
                done = run(home, "ping", "-c", "1", "--relay", url, "--relay-only", "--proxy", "env", *options, "--timeout", "2", ticket, code=code,
                           env={"HTTP_PROXY": "http://127.0.0.1:%d" % proxy.getsockname()[1], **env})
                assert code == 0 or b"does not connect to 127.0.0.1" in done.stderr, done.stderr
        proxy.shutdown(socket.SHUT_RDWR)


@test
def a_callback_that_fails_or_is_slow_denies(home):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            answer = answers.get(self.headers["X-Iroh-Endpoint-Id"], b"HTTP/1.1 500 x\r\n\r\n")
            asked.append((self.path, self.headers["X-Iroh-NodeId"], self.headers["Authorization"], self.headers["Content-Length"]))
            self.wfile.write(answer)
            self.close_connection = True

        def log_message(self, *_):
            pass

    answers, asked = {}, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rule = 'access.http = { url = "http://127.0.0.1:%d/allow?x=1", bearer_token = "b" }' % server.server_port
    with Relay(home, config=rule, env={"IROH_RELAY_HTTP_BEARER_TOKEN": "fromenv"}) as relay:
        for answer, wanted in ((b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue", True), (b"HTTP/1.1 200 OK\r\n\r\ntrue", True),
                               (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntrue\n", False), (b"HTTP/1.1 201 OK\r\nContent-Length: 4\r\n\r\ntrue", False),
                               (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse", False), (b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", False),
                               (b"garbage\r\n\r\n", False), (b"", False), (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b"true" * 2000, False)):
            key = Key()
            answers[key.public.hex()] = answer
            assert is_let_in(relay, key) == wanted, answer
            assert asked[-1] == ("/allow?x=1", key.public.hex(), "Bearer fromenv", "0"), asked[-1]
        keys = [Key() for _ in range(40)]
        answers.update({key.public.hex(): b"HTTP/1.1 200 OK\r\n\r\ntrue" for key in keys})
        clients = [RawRelay(relay.port()) for _ in keys]
        for client in clients:
            client.upgrade()
        assert all(client.authenticate(key)[:1] == b"\x02" for client, key in zip(clients, keys))
        server.shutdown()
        server.server_close()
        assert not is_let_in(relay, Key()), "nobody answers, and yet it is let in"


@test
def a_callback_over_https_is_believed_only_with_a_certificate_that_is_trusted(home):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append((self.headers["X-Iroh-Endpoint-Id"], self.headers["X-Iroh-NodeId"], self.headers["Authorization"]))
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue")
            self.close_connection = True

        def log_message(self, *_):
            pass

    asked, key = [], Key()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(X509 + "/cert.pem", X509 + "/key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # a handshake that the relay breaks off
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rule = '[access.http]\nurl = "https://localhost:%d/a"\nbearer_token = "b"\n' % server.server_port
    with Relay(home, config=rule + 'ca = "%s/cert.pem"' % X509) as relay:
        assert is_let_in(relay, key) and asked == [(key.public.hex(), key.public.hex(), "Bearer b")], asked
    with Relay(home, config=rule) as relay:
        assert not is_let_in(relay, key) and len(asked) == 1, "the id and the secret went to a stranger"
        relay.line("the access callback failed, the client is denied: .*certificate")
    server.shutdown()
    server.server_close()
    for file, words in (("/nowhere", ("/nowhere", "not found")), (X509 + "/key.pem", ("key.pem", "trust"))):
        text = check(home, config=rule + 'ca = "%s"' % file, code=2)
        assert all(word in text for word in words), text


@test
def a_callback_that_is_asked_too_much_still_lets_some_in(home):
    """More clients than it can be asked about in time: those are denied, and who comes later does not wait behind them."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            time.sleep(2)
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\ntrue")
            self.close_connection = True

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 128

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Relay(home, config='access.http = { url = "http://127.0.0.1:%d" }' % server.server_port) as relay:
        clients, key = [RawRelay(relay.port()) for _ in range(800)], Key()
        for client in clients:
            client.upgrade()
        answers = [key.sign(raw_relay.blake3_derive(raw_relay.CONTEXT, client.receive()[1:])) for client in clients]
        for client, answer in zip(clients, answers):
            client.send(b"\x01" + key.public + b"\x40" + answer)
        relay.wait_metric("handshakes_challenge_total", len(clients))
        relay.wait_metric("handshakes_denied_total", len(clients) // 2)
        assert is_let_in(relay), "who comes later waits behind those that have long been denied"
        assert any("the access callback is too slow" in line for line in relay.lines), relay.lines[-5:]
        for client in clients:
            client.close()
    server.shutdown()
    server.server_close()


# ---- signals and reloads ----

@test
def it_ends_in_order_when_told_to(home):
    for number in (signal.SIGTERM, signal.SIGINT):
        with Relay(home, config="drain_seconds = 4") as relay:
            clients = [connected(relay.port()) for _ in range(5)]
            relay.process.send_signal(number)
            for client in clients:
                frame = client.expect(RESTARTING, limit=15)
                assert len(frame) == 9 and struct.unpack(">II", frame[1:])[1] > 0, frame.hex()
            ends = []
            for client in clients:
                try:
                    while True:
                        client.receive(15)
                except (Closed, ConnectionError) as end:
                    ends.append(str(end))
            assert all(end.startswith("WebSocket close 03f4") for end in ends), ends
            relay.wait(0)
            refused = socket.socket()
            assert refused.connect_ex(("127.0.0.1", relay.port())) != 0


@test
def a_second_signal_ends_it_at_once(home):
    with Relay(home, config="drain_seconds = 3600") as relay:
        client = connected(relay.port())
        relay.process.send_signal(signal.SIGTERM)
        relay.line("a second signal ends at once")
        relay.process.send_signal(signal.SIGTERM)
        relay.wait(-signal.SIGTERM)
        client.close()


@test
def a_hangup_brings_new_rules_and_limits(home):
    key = Key()
    with Relay(home) as relay:
        assert is_let_in(relay, key)
        stays = connected(relay.port())
        relay.write_config('access.denylist = ["%s"]' % key.public.hex())
        relay.hang_up()
        assert not is_let_in(relay, key) and is_let_in(relay)
        relay.write_config('access.allowlist = ["%s"]\nlimits.connections_per_ip = 50' % key.public.hex())
        relay.hang_up()
        assert is_let_in(relay, key)
        relay.write_config("nonsense = 1")
        relay.hang_up()
        relay.line("the old configuration stays.*nonsense")
        assert is_let_in(relay, key) and not is_let_in(relay)
        relay.write_config("workers = 1")
        relay.hang_up()
        relay.line("need a restart")
        assert is_let_in(relay) and stays.ping()


# ---- certificates ----

@test
def certificate_files_are_read_again_when_they_change(home):
    directory = home + "/certs"
    put_certificate(directory)
    with Relay(home, tls=manual(directory)) as relay:
        port, first, second = relay.port("https"), of_file(X509 + "/cert.pem"), of_file(X509 + "/relay.pem")
        assert served_certificate(port) == first
        open_before = connected(port, tls=ssl.create_default_context(cafile=X509 + "/cert.pem"))
        put_certificate(directory, "relay.pem")
        until = time.monotonic() + LIMIT
        while served_certificate(port) != second:  # without being told
            assert time.monotonic() < until, relay.lines
            time.sleep(0.1)
        with open(directory + "/default.key", "w") as file:
            file.write("broken")
        relay.hang_up()
        relay.line("the old certificate stays in use")
        assert served_certificate(port) == second and relay.wait_metric("certificate_failures", 1)
        put_certificate(directory)
        relay.hang_up()
        until = time.monotonic() + LIMIT
        while served_certificate(port) != first:
            assert time.monotonic() < until, relay.lines
        assert open_before.ping() and relay.metric("certificate_ends_seconds") > 1700000000
        assert request(relay.port(), "GET", "/ping")[0] == 404 and request(relay.port(), "GET", "/generate_204")[0] == 204
        got = relay.raw(b"GET /generate_204 HTTP/1.1\r\nHost: x\r\nX-Iroh-Challenge: ts_a.b\r\n\r\n")
        assert b"x-iroh-response: response ts_a.b" in got and b"connection: close" in got and b"transport-security" not in got, got


@test
def a_self_made_authority_is_kept_and_vouches_for_new_names(home):
    flags = ("--self-signed", "--cert-dir", home + "/self", "--https-bind", "127.0.0.1:0")
    with Relay(home, *flags, "--hostname", "localhost", dev=False) as relay:
        trust = ssl.create_default_context(cafile=home + "/self/authority.crt")
        assert request(relay.port("https"), "GET", "/ping", tls=trust)[0] == 200
        assert stat.S_IMODE(os.stat(home + "/self").st_mode) == 0o700 and stat.S_IMODE(os.stat(home + "/self/authority.key").st_mode) == 0o600
        first = served_certificate(relay.port("https"))
    with Relay(home, *flags, "--hostname", "localhost", dev=False) as relay:
        assert served_certificate(relay.port("https")) == first, "a new certificate without need"
    with Relay(home, *flags, "--hostname", "localhost", "--hostname", "127.0.0.1", dev=False) as relay:
        assert served_certificate(relay.port("https")) != first
        with trust.wrap_socket(socket.create_connection(("127.0.0.1", relay.port("https")), timeout=10), server_hostname="127.0.0.1"):
            pass
        client = connected(relay.port("https"), tls=trust)
        assert client.ping()


@test
def an_endpoint_learns_its_address_from_the_relay_and_needs_no_answer(home):
    flags = ("--self-signed", "--cert-dir", home + "/seen", "--https-bind", "127.0.0.1:0", "--hostname", "localhost", "--quic", "--quic-bind", "127.0.0.1:0")
    with Relay(home, *flags, dev=False) as relay:
        client = ("listen", "-vv", "--relay", "https://localhost:%d" % relay.port("https"), "--relay-ca", home + "/seen/authority.crt", "--relay-quic")
        with Running(home, *client, str(relay.port("discovery")), stdin=subprocess.PIPE) as listening:
            assert listening.line(r"public IPv4 address: 127\.0\.0\.1:\d+")
        with Running(home, *client, "9", stdin=subprocess.PIPE) as listening:
            assert listening.line("connected") and listening.line("no address discovery: no answer over UDP")


@test
def a_certificate_is_got_by_acme_with_either_challenge_and_kept(home):
    http_port, tls_port = free_port(), free_port()
    with Pebble(home, http_port, tls_port) as pebble:
        for challenge in ("tls-alpn-01", "http-01"):
            directory = home + "/acme-" + challenge
            words = ("--acme", "--acme-url", pebble.url, "--acme-ca", X509 + "/cert.pem", "--contact", "ops@example.com", "--hostname", "relay.test",
                     "--hostname", "two.test", "--cert-dir", directory, "--http-bind", "127.0.0.1:%d" % http_port, "--https-bind",
                     "127.0.0.1:%d" % tls_port)
            with Relay(home, *words, dev=False, tls='cert_mode = "LetsEncrypt"\nacme_challenge = "%s"' % challenge) as relay:
                relay.line("ordering a certificate for relay.test .*" + challenge)
                relay.line("a new certificate for relay.test is in use")
                first = served_certificate(tls_port, "two.test")
                try:
                    served_certificate(tls_port, "other.test")
                    raise AssertionError("a name that is not ours was served")
                except ssl.SSLError:
                    pass
                assert sorted(os.listdir(directory)) == ["account.key", "acme.pem"] and relay.metric("certificate_loads") == 1
            with Relay(home, *words, dev=False) as relay:
                assert served_certificate(tls_port, "relay.test") == first and not any("ordering" in line for line in relay.lines)


@test
def a_certificate_of_acme_is_renewed_before_it_ends(home):
    http_port, tls_port = free_port(), free_port()
    with Pebble(home, http_port, tls_port, validity=4) as pebble:
        with Relay(home, "--acme", "--acme-url", pebble.url, "--acme-ca", X509 + "/cert.pem", "--contact", "ops@example.com", "--hostname", "relay.test",
                   "--cert-dir", home + "/acme", "--https-bind", "127.0.0.1:%d" % tls_port, dev=False, tls='cert_mode = "LetsEncrypt"') as relay:
            relay.line("a new certificate for relay.test is in use")
            first, until = served_certificate(tls_port, "relay.test"), time.monotonic() + LIMIT
            while relay.metric("certificate_loads") < 2:  # SIGHUP looks now for what the clock looks for each hour
                assert time.monotonic() < until, relay.lines[-5:]
                relay.hang_up()
            assert served_certificate(tls_port, "relay.test") != first and relay.metric("certificate_failures") == 0
            assert sum("ordering" in line and "tls-alpn-01" in line for line in relay.lines) == 2, "not the challenge that worked, or more often than needed"


@test
def an_authority_that_cannot_be_reached_is_tried_again_and_nothing_else_suffers(home):
    with Relay(home, "--acme", "--acme-url", "https://localhost:%d/dir" % free_port(), "--contact", "a@example.com", "--hostname", "relay.test",
               "--cert-dir", home + "/acme", "--https-bind", "127.0.0.1:0", dev=False) as relay:
        relay.line("no certificate from .*tried again in 60 s")
        assert request(relay.port(), "GET", "/generate_204")[0] == 204 and relay.wait_metric("certificate_failures", 1)
        relay.stop(number=signal.SIGTERM)


# ---- running as a service ----

@test
def systemd_is_told_of_start_reload_life_and_end(home):
    systemd = Systemd(home)
    with Relay(home, env={"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "200000"}) as relay:
        assert systemd.next() == "READY=1"
        assert systemd.next() == "WATCHDOG=1" and systemd.next() == "WATCHDOG=1"
        relay.process.send_signal(signal.SIGHUP)
        assert re.match(r"RELOADING=1\nMONOTONIC_USEC=\d+$", systemd.next("WATCHDOG=1")) and systemd.next("WATCHDOG=1") == "READY=1"
        relay.process.send_signal(signal.SIGTERM)
        assert systemd.next("WATCHDOG=1") == "STOPPING=1"
        relay.wait(0)


@test
def log_lines_are_json_when_asked_for(home):
    with Relay(home, "-v") as relay:
        with RawRelay(relay.port()) as client:
            client.upgrade()
            client.sock.sendall(b"\x82\x05\x1b[31m\r\n")
            assert client.is_closed(10)
        relay.line("ended")
        relay.stop(number=signal.SIGTERM)
        for line in relay.lines:
            assert set(json.loads(line)) == {"time", "level", "part", "text"}, line
    done = run(home, "--json", "--nonsense", program=Relay.program, code=2)
    assert done.stdout == b"" and json.loads(done.stderr)["level"] == "error"


@test
def it_is_fenced_in_and_leaves_no_core(home):
    with Relay(home) as relay:
        pid = relay.process.pid
        assert connected(relay.port()).ping()
        for task in os.listdir("/proc/%d/task" % pid):
            status = open("/proc/%d/task/%s/status" % (pid, task)).read()
            if sanitized():
                raise Skip("sanitizers need what the fence forbids")
            assert re.search(r"^Seccomp:\t2$", status, re.M) and re.search(r"^NoNewPrivs:\t1$", status, re.M), (task, status)
            filters = re.search(r"^Seccomp_filters:\t(\d+)$", status, re.M)  # Linux 5.9
            assert not filters or int(filters.group(1)) >= 2, (task, status)  # calls, and before it io_uring
        limits = open("/proc/%d/limits" % pid).read()
        assert re.search(r"Max core file size\s+0\s+0", limits), limits


@test
def several_workers_serve_one_another_s_clients(home):
    with Relay(home, "--workers", "3") as relay:
        assert relay.metric("workers") == 3
        clients = [connected(relay.port()) for _ in range(12)]
        for a in clients:
            for b in clients:
                a.datagram(b.key.public, a.key.public + b"hello")
        for b in clients:
            got = {bytes(b.expect(raw_relay.RECEIVE)[1:33]) for _ in clients}
            assert got == {a.key.public for a in clients}
        key = clients[0].key
        newer = [connected(relay.port(), key) for _ in range(4)]
        clients[1].datagram(key.public, b"newest")
        assert newer[-1].expect(raw_relay.RECEIVE)[34:] == b"newest"
        assert relay.wait_metric("clients", 16) == 16


if __name__ == "__main__":
    if raw_relay.SODIUM is None:
        print("ok 1 - kith-relay # SKIP no libsodium for signatures\n1..1")
        sys.exit(0)
    sys.exit(main())
