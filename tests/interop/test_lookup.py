#!/usr/bin/env python3
"""Endpoints that know nothing but each other's id: kith, the Rust crates and the npm package, through kith-dns and the real
iroh-dns-server, in a network namespace of this test's own with a resolv.conf of its own."""
import json, os, subprocess, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "programs"))
import lookups
from peers import Server, Tap, dial, find_agents
from raw_relay import SODIUM, Key
from relays import Relay, find_relays
from signed_packets import payload, texts

SECRET = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
ID = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
Z32 = "yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghy"
USER_DATA = "of the test"
# How each agent is told to publish, and the ways in which each can resolve.
PUBLISH = ["--pkarr-publish", lookups.PKARR, "--publish", "all", "--user-data", USER_DATA]
DNS = ["--dns-server", lookups.DNS, "--dns-origin", lookups.ORIGIN]
RESOLVE = {"kith": {"dns": DNS, "pkarr": ["--pkarr-resolve", lookups.PKARR]},
           "rust": {"dns": DNS, "pkarr": ["--pkarr-resolve", lookups.PKARR]},
           "node": {"dns": ["--lookup", "n0"]}}


def published(server, limit=20, before=b""):
    """Waits until the server has a packet of ID with an address, another one than `before`; its bytes."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        status, _, body = lookups.get(Z32)
        if status == 200 and len(body) > 84 and body != before:
            return body
        time.sleep(0.05)
    return None


def serve(agent, publisher, relay):
    """An endpoint with SECRET that publishes at the server; None if that cannot be."""
    words, library = PUBLISH, None
    if publisher == "node":  # publishes relays only, and to n0's URL: a patched copy of its library, and a relay here
        library = lookups.patched_node()
        if not library or not relay:
            return None
        words = ["--relay", relay.url, "--lookup", "n0"]
        os.environ["NAPI_RS_NATIVE_LIBRARY_PATH"] = library
    try:
        return Server([*agent, *words], "--secret", SECRET)
    finally:
        if library:
            del os.environ["NAPI_RS_NATIVE_LIBRARY_PATH"]


def anew(server):
    """The server without a packet."""
    server.kill()
    lookups.shutil.rmtree(os.path.join(server.directory, "data"), ignore_errors=True)
    server.start()


def behind(tap, server, agents, relay):
    """Clients whose clock is two seconds behind what they published last: kith-dns says 409 where the reference says 204, and all of them get over it."""
    for publisher in agents:
        key = Key(bytes.fromhex(SECRET))
        ahead = payload(key, texts(key, "relay=https://ahead.test/"), time.time_ns() // 1000 + 2_000_000)
        assert lookups.put(Z32, ahead)[0] == 204
        status, _, body = lookups.put(Z32, payload(key, texts(key, "relay=https://behind.test/")))
        tap.report(status == 409 and lookups.get(Z32)[2] == ahead, "%s: what is older is refused" % server.name, body)
        serving = serve(agents[publisher], publisher, relay)
        if serving is None:
            continue
        body = published(server, before=ahead)
        tap.report(body is not None and body[64:72] > ahead[64:72], "%s: %s, whose packets were older at first, is published" % (server.name, publisher), serving.output())
        serving.end()
        anew(server)


def pairs(tap, server, agents, relay):
    """Every publisher with every resolver, by id alone."""
    for publisher in agents:
        serving = serve(agents[publisher], publisher, relay)
        if serving is None:
            tap.skip("%s: node publishes" % server.name, "its library or the relay is not as expected")
            continue
        body = published(server)
        tap.report(body is not None, "%s: %s publishes" % (server.name, publisher), serving.output())
        for resolver in agents:
            for way, options in RESOLVE[resolver].items():
                through = ["--relay", relay.url] if publisher == "node" else []
                ok, output = dial([*agents[resolver], *through, *options], ID, "echo-bi", 100_000, limit=60)
                tap.report(ok, "%s: %s published, %s finds by %s and dials the id" % (server.name, publisher, resolver, way), output)
        if publisher != "node":
            for resolver in [name for name in ("kith", "rust") if name in agents]:
                for way, options in RESOLVE[resolver].items():
                    found = items([*agents[resolver], *options])
                    ok = any(item["user_data"] == USER_DATA and any(a.startswith("ip:127.0.0.1:") for a in item["addrs"]) for item in found)
                    tap.report(ok, "%s: %s sees what %s published by %s, with its text" % (server.name, resolver, publisher, way), found)
        serving.end()
        if server.name == "kith-dns":  # the other one says 204 up to a second before it has written
            server.kill()
            server.start()
            tap.report(published(server) == body, "%s: after a kill -9 the packet of %s is still there" % (server.name, publisher))
        anew(server)


def items(agent):
    done = subprocess.run([*agent, "lookup", ID], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    return [json.loads(line[len("FOUND "):]) for line in done.stdout.splitlines() if line.startswith("FOUND ")]


def main():
    tap = Tap()
    why = lookups.enter_own_network()
    if why:
        tap.skip("lookup between real peers", why)
        tap.end()
    agents, missing = find_agents()
    servers, missing_servers = lookups.find_servers()
    for name, reason in {**missing, **missing_servers}.items():
        tap.skip("lookup with %s" % name, reason)
    relays, _ = find_relays()
    relay = Relay(next(iter(relays.values()))) if relays else None
    for program in servers.values():
        server = lookups.LookupServer(program)
        try:
            pairs(tap, server, agents, relay)
            if server.name == "kith-dns" and SODIUM is not None:
                behind(tap, server, agents, relay)
        finally:
            server.stop()
    if relay:
        relay.stop()
    tap.end()


if __name__ == "__main__":
    main()
