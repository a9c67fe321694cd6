#!/usr/bin/env python3
"""Uses the kith program with lookup services of the test's own, on loopback: ids instead of tickets, tickets that are out of date,
kith lookup. TAP lines.

Arguments: words of test names; none: all.
"""
from programs import *
from lookup_server import ORIGIN, LookupServer, texts

RELAY = os.path.join(os.path.dirname(KITH), "kith-relay")


def new_key(home, name="k"):
    run(home, "key", "new", "--key", name)
    return run(home, "key", "id", "--key", name).stdout.decode().strip()


def finds(server, *more):
    """Options of one who finds others by DNS only."""
    return ("--relay", "none", "--lookup", "dns:" + ORIGIN, "--dns-server", server.dns, *more)


def publishes(server, *more):
    """Options of one who publishes everything, and can be reached without relays."""
    return ("--key", "k", "--relay", "none", "--lookup", "pkarr:" + server.pkarr, "--publish", "all", *LOOPBACK, *more)


@test
def a_pipe_by_id_alone(home):
    write(home + "/one", 300_000, b"one")
    with LookupServer() as server, open(home + "/one", "rb") as one, open(home + "/got", "wb") as got:
        key = new_key(home)
        with Running(home, "listen", *publishes(server), stdout=got) as listener:
            listener.ticket()
            server.until(lambda s: s.puts)
            with Running(home, "connect", *finds(server), key, stdin=one) as connector:
                connector.wait(0)
                listener.wait(0)
        assert same(home + "/one", home + "/got")
        assert texts(server.puts[0][1])[0][1:].startswith(b"addr=127.0.0.1:"), texts(server.puts[0][1])
        assert server.queries and server.queries[0].endswith("." + ORIGIN)


@test
def by_pkarr_too_once_it_is_published(home):
    with LookupServer() as server:
        key = new_key(home)
        run(home, "ping", "-c", "1", "--relay", "none", "--lookup", "pkarr:" + server.pkarr, key, code=3)
        assert len(server.gets) == 1
        with Running(home, "ping", "--listen", *publishes(server)):
            server.until(lambda s: s.puts)
            done = run(home, "ping", "-c", "2", "--relay", "none", "--lookup", "pkarr:" + server.pkarr, key)
            assert b"127.0.0.1" in done.stdout, done.stdout


@test
def a_ticket_that_is_out_of_date_still_leads_there(home):
    write(home + "/film", 200_000)
    with LookupServer() as server:
        new_key(home)
        with Running(home, "send", *publishes(server), home + "/film") as sender:
            ticket = sender.ticket()
            sender.stop()
        puts = len(server.puts)
        os.mkdir(home + "/to")
        with Running(home, "send", *publishes(server), home + "/film") as sender:  # another port
            assert sender.ticket() != ticket
            server.until(lambda s: len(s.puts) > puts)
            run(home, "receive", *finds(server), ticket, cwd=home + "/to")
            sender.stop()
        assert same(home + "/film", home + "/to/film")


@test
def only_relays_are_published_unless_more_is_asked_for(home):
    with open(home + "/relay.toml", "w") as file:
        file.write('http_bind_addr = "127.0.0.1:0"\nmetrics_bind_addr = "127.0.0.1:0"\n')
    with LookupServer() as server, Running(home, "--dev", "--json", "-c", home + "/relay.toml", program=RELAY) as relay:
        url = "http://" + json.loads(relay.process.stdout.readline())["http"][0]
        key = new_key(home)
        with Running(home, "ping", "--listen", "--key", "k", "--relay", url, "--lookup", "pkarr:" + server.pkarr, *LOOPBACK):
            server.until(lambda s: s.puts)
            assert texts(server.puts[0][1])[0][1:] == b"relay=" + url.encode() + b"/", texts(server.puts[0][1])  # never empty at first
            assert len(texts(server.puts[0][1])) == 1
            done = run(home, "ping", "-c", "2", "--relay-only", "--lookup", "pkarr:" + server.pkarr, key)
            assert url.encode() in done.stdout, done.stdout
        relay.stop()


@test
def lookup_shows_who_says_what(home):
    with LookupServer() as server:
        key = new_key(home)
        with Running(home, "listen", *publishes(server, "--user-data", "kitchen")) as listener:
            listener.ticket()
            server.until(lambda s: s.puts)
            options = ("--lookup", "dns:" + ORIGIN, "--lookup", "pkarr:" + server.pkarr, "--dns-server", server.dns, key)
            done = run(home, "lookup", *options)
            out = done.stdout.decode()
            assert re.search(r"^dns:lookup\.test\.? \(after .*, age not told\)$", out, re.M), out
            assert re.search(r"^pkarr:http://127\.0\.0\.1:\d+/pkarr \(after .*, told (just now|\d+ s ago)\)$", out, re.M), out
            assert len(re.findall(r"^  address    127\.0\.0\.1:\d+$", out, re.M)) == 2 and out.count("  user data  kitchen\n") == 2, out
            lines = [json.loads(line) for line in run(home, "lookup", "--json", *options).stdout.splitlines()]
            found = {line["service"]: line for line in lines if line["event"] == "found"}
            assert set(found) == {"dns", "pkarr"} and all(line["id"] == key for line in lines)
            assert found["pkarr"]["user_data"] == "kitchen" and 0 <= found["pkarr"]["age_s"] < 600 and found["pkarr"]["relays"] == []
            assert sorted(line["service"] for line in lines if line["event"] == "done") == ["dns", "pkarr"]
            listener.stop(130)
        assert {put[0] for put in server.puts} == {server.puts[0][0]}  # who asked published nothing


@test
def lookup_tells_who_failed_and_why(home):
    with LookupServer() as server:
        key = new_key(home)
        server.status = 503
        done = run(home, "lookup", "--lookup", "pkarr:" + server.pkarr, "--lookup", "pkarr:http://127.0.0.1:9/pkarr", key, code=3)
        assert done.stdout == b"" and b"503" in done.stderr and b"refuses connections" in done.stderr, done.stderr
        done = run(home, "lookup", "--json", "--lookup", "pkarr:" + server.pkarr, key, code=3)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [line["event"] for line in lines] == ["failed", "error"] and lines[1]["exit"] == 3, lines
        done = run(home, "connect", "--relay", "none", "--lookup", "pkarr:" + server.pkarr, key, code=3)
        assert b"pkarr:" in done.stderr and b"503" in done.stderr, done.stderr  # so does who wanted to connect
        run(home, "lookup", "--lookup", "none", key, code=2)


@test
def who_is_not_published_hears_of_it(home):
    with LookupServer() as server:
        new_key(home)
        server.status = 507
        with Running(home, "ping", "--listen", *publishes(server)) as listener:
            listener.line(r"^kith ping: pkarr:.*publishing failed: .* 507")
        with Running(home, "ping", "--listen", "--json", "--quiet", *publishes(server)) as listener:
            events = [json.loads(listener.process.stdout.readline()) for _ in range(2)]
            warning = [event for event in events if event["event"] == "warning"]
            assert len(warning) == 1 and warning[0]["part"] == "pkarr" and "507" in warning[0]["text"], events


@test
def lookup_ends_in_the_time_it_is_given(home):
    """A server that takes connections and says nothing, beside one that knows it, or alone."""
    with LookupServer() as server, socket.create_server(("127.0.0.1", 0)) as silent:
        key, wait = new_key(home), ("--timeout", "0.5", "--lookup", "pkarr:http://127.0.0.1:%d/pkarr" % silent.getsockname()[1])
        began = time.monotonic()
        lines = [json.loads(line) for line in run(home, "lookup", "--json", *wait, key, code=3).stdout.splitlines()]
        assert [(line["event"], line.get("code")) for line in lines] == [("error", "KITH_ERR_TIMEOUT")] and "--timeout" in lines[0]["text"], lines
        with Running(home, "ping", "--listen", *publishes(server)):
            server.until(lambda s: s.puts)
            done = run(home, "lookup", *wait, "--lookup", "pkarr:" + server.pkarr, key)
            assert b"  address    127.0.0.1:" in done.stdout and b"--timeout" in done.stderr, (done.stdout, done.stderr)
        assert time.monotonic() - began < 10, "what a server may take is 10 s, each time"


@test
def lookup_shows_also_what_is_known_of_ones_own_id(home):
    with LookupServer() as server:
        key = new_key(home)
        with Running(home, "ping", "--listen", *publishes(server)):
            server.until(lambda s: s.puts)
            asks = ("lookup", "--lookup", "pkarr:" + server.pkarr, key)
            for done in run(home, *asks, "--key", "k"), run(home, *asks, env={"IROH_SECRET": open(home + "/k").read().strip()}):
                assert b"  address    127.0.0.1:" in done.stdout, done.stdout


@test
def a_pipe_by_id_alone_through_a_dht_of_ones_own(home):
    write(home + "/one", 1000, b"one")
    nodes = subprocess.Popen([os.path.join(os.path.dirname(KITH), "dht-agent"), "node", "8"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        node = nodes.stdout.readline().decode().split()[1]
        key = new_key(home)
        with open(home + "/one", "rb") as one, open(home + "/got", "wb") as got, \
                Running(home, "listen", "--key", "k", "--relay", "none", "--lookup", "dht:" + node, *LOOPBACK, stdout=got) as listener:
            listener.ticket()
            done = run(home, "lookup", "--lookup", "dht:" + node, key, code=None)
            while done.returncode == 3:  # the DHT takes its time to take it
                done = run(home, "lookup", "--lookup", "dht:" + node, key, code=None)
            assert re.search(rb"^dht.*told (just now|\d+ s ago)\)\n  address    127\.0\.0\.1:", done.stdout, re.M), done.stdout
            run(home, "connect", "--relay", "none", "--lookup", "dht:" + node, key, input=open(home + "/one", "rb").read())
            listener.wait(0)
        assert same(home + "/one", home + "/got")
    finally:
        nodes.stdin.close()
        nodes.wait(LIMIT)


@test
def who_names_one_server_of_their_own_asks_nobody_else(home):
    with LookupServer() as server:
        key = new_key(home)
        for variable in ("pkarr:" + server.pkarr, "dns:%s pkarr:%s" % (ORIGIN, server.pkarr)):
            lines = run(home, "lookup", "--json", "--dns-server", server.dns, key, code=3, env={"KITH_LOOKUP": variable}).stdout.splitlines()
            assert len(lines) == 2 + (" " in variable), lines
        done = run(home, "connect", "--relay", "http://127.0.0.1:9", "--timeout", "0.5", key, code=3, env={"KITH_LOOKUP": ""})
        assert b"iroh.link" not in done.stderr and b"lookup" not in done.stderr, done.stderr


@test
def wrong_words_are_told_before_anything_happens(home):
    key = new_key(home)
    for option in (("--lookup", "dns:"), ("--lookup", "pkarr:ftp://x"), ("--lookup", "pkarr:http://"), ("--lookup", "dns:a..b"), ("--lookup", "magic"), ("--lookup", "dht:nohost"), ("--lookup", "dht:h:x"),
                   ("--dns-server", "127.0.0.1"), ("--publish", "some"), ("--lookup", "none", "--lookup", "mdns")):
        assert len(run(home, "connect", *option, key, code=2).stderr.splitlines()) == 1
    run(home, "connect", key, code=2, env={"KITH_LOOKUP": "magic"})
    run(home, "connect", key, code=2, env={"KITH_RELAY": "magic", "KITH_LOOKUP": ""})
    run(home, "connect", key, code=2, env={"KITH_RELAY": "none http://127.0.0.1:9", "KITH_LOOKUP": "mdns"})
    run(home, "connect", key, code=2, env={"KITH_RELAY": "none", "KITH_LOOKUP": "none,mdns"})
    assert b"too long" in run(home, "listen", "--lookup", "dns:x.test", "--user-data", "x" * 246, code=1).stderr


if __name__ == "__main__":
    sys.exit(main())
