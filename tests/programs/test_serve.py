#!/usr/bin/env python3
"""Uses kith serve as the operator of a private network does: everything in one process, found and used by kith's own commands with the
options that it prints. TAP lines.

Arguments: words of test names; none: all.
"""
import base64, http.client, ssl

from asking import Lookups
from servers import *
from signed_packets import Key, name, payload, texts, z32

BINDS = "".join('%s_bind = "127.0.0.1:0"\n' % word for word in ("http", "https", "dns", "quic", "metrics"))
CLOSED = 'certificate = "none"\nhostname = "127.0.0.1"\n' + BINDS  # plain HTTP, with the limits that --dev has not


class Serve(Lookups, Server):
    """kith serve with a file of the test's own; nothing of it outside of home."""

    program, prefix, words = KITH, "dns_server", ("serve",)

    def __init__(self, home, *flags, config="", env=None):
        super().__init__(home, *flags, config='data_dir = "%s/data"\n%s' % (home, config), env=env)

    @property
    def options(self):
        return self.json["options"]

    def relay_metric(self, name):
        return int(re.search(r"^relayserver_%s (\d+)$" % name, self.metrics()[1], re.M).group(1))


class Dev(Serve):
    """As --dev has it: without a file."""

    def __init__(self, home, *flags):
        Running.__init__(self, home, "serve", "--dev", "--any-port", "--json", *flags)
        first = self.process.stdout.readline()
        assert first, self.lines
        self.json = json.loads(first)


def check(home, *flags, **how):
    return check_config(KITH, home, *flags, words=("serve",), **how)


def new_key(home, name="k"):
    run(home, "key", "new", "--key", name)
    return run(home, "key", "id", "--key", name).stdout.decode().strip()


def pipe_by_id(home, listens, connects, size=300_000):
    """Bytes from one endpoint to another that knows its id; what the one who connects wrote on stderr."""
    key = new_key(home)
    write(home + "/one", size)
    with open(home + "/one", "rb") as one, open(home + "/got", "wb") as got:
        with Running(home, "listen", "--key", "k", *LOOPBACK, *listens, stdout=got) as listener:
            listener.ticket()
            with Running(home, "connect", "-v", *LOOPBACK, *connects, key, stdin=one) as connector:
                connector.wait(0)
                listener.wait(0)
    assert same(home + "/one", home + "/got")
    return key, connector.lines


# ---- What it is for ----

@test
def two_endpoints_need_nothing_but_its_options_and_an_id(home):
    with Dev(home) as server:
        for kind in ("http", "dns", "discovery", "metrics"):
            assert len(server.json[kind]) == 1 and server.json[kind][0].startswith("127.0.0.1:"), server.json
        assert server.json["https"] == [] and server.json["needs_token"] is False
        assert server.json["relay"] == "http://127.0.0.1:%d" % server.port() and server.json["pkarr"] == server.json["relay"] + "/pkarr"
        key, _ = pipe_by_id(home, server.options, server.options)
        found = run(home, "lookup", "--json", *server.options, key).stdout.decode()
        events = [json.loads(line) for line in found.splitlines()]
        assert {e["service"] for e in events if e["event"] == "found"} == {"pkarr", "dns"}, events
        assert all(e["relays"] == [server.json["relay"] + "/"] for e in events if e["event"] == "found"), events
        assert server.metric("pkarr_publish_update_total") >= 1 and server.metric("dns_requests_udp_total") >= 1
        assert server.relay_metric("accepts_total") >= 2 and server.relay_metric("qad_connections_total") >= 1
        server.stop(number=signal.SIGTERM)


@test
def what_it_prints_for_people_is_what_they_can_paste(home):
    with Running(home, "serve", "--dev", "--any-port") as server:
        assert server.process.stdout.readline().decode().startswith("Clients take these options")
        options = shlex.split(server.process.stdout.readline().decode())
        assert options[0] == "--relay" and "--dns-server" in options and "--lookup" in options, options
        server.process.stdout.readline(), server.process.stdout.readline()
        assert server.process.stdout.readline() == b"-----BEGIN CERTIFICATE-----\n"
        pipe_by_id(home, options, options, size=1000)


@test
def all_bytes_can_go_through_the_relay(home):
    with Dev(home) as server:
        _, lines = pipe_by_id(home, (*server.options, "--relay-only"), (*server.options, "--relay-only"))
        assert any("relay" in line for line in lines), lines
        assert server.relay_metric("bytes_sent_total") > 300_000


@test
def with_tls_all_share_a_name_a_port_and_an_authority(home):
    with Serve(home, config='hostname = "localhost"\naddresses = "127.0.0.1"\norigin = "net.test"\n' + BINDS) as server:
        assert server.json["relay"] == "https://localhost:%d" % server.port("https")
        assert server.json["authority"] == home + "/data/certificates/authority.crt"
        assert server.json["dns_server"] is None and "--dns-server" not in server.options  # it does not know "localhost"
        trust, key = ssl.create_default_context(cafile=server.json["authority"]), Key()
        for path in ("/pkarr/" + z32(key.public), "/dns-query?name=net.test&type=SOA", "/healthz"):
            assert server.open(path, kind="https", tls=trust, headers={"Accept": "application/dns-json"})[0] == (404 if "pkarr" in path else 200), path
        # Without TLS there are only the pages for probes.
        assert server.open("/pkarr/" + z32(key.public))[0] == 404 and server.open("/generate_204")[0] == 204
        pipe_by_id(home, server.options, server.options)
        # Who does not trust the authority gets nowhere.
        strange = [option for option in server.options if option not in ("--relay-ca", server.json["authority"])]
        assert run(home, "ping", "-c", "1", "--timeout", "2", *strange, new_key(home, "other"), code=None).returncode != 0


@test
def its_own_name_is_in_its_zone(home):
    with Serve(home, config='certificate = "self-signed"\nhostname = "net.test"\naddresses = ["127.0.0.1", "2001:db8::1"]\n' + BINDS) as server:
        assert server.json["origins"] == ["net.test"] and server.json["dns_server"] == server.json["dns"][0]
        assert re.search(r"^net\.test\.\s+900\s+IN\s+A\s+127\.0\.0\.1$", server.dig("net.test", "A"), re.M)
        assert re.search(r"^net\.test\.\s+900\s+IN\s+AAAA\s+2001:db8::1$", server.dig("net.test", "AAAA"), re.M)
        assert re.search(r"\sNS\s+net\.test\.$", server.dig("+tcp", "net.test", "NS"), re.M)
        # So the options are enough for clients whose resolver has never heard of net.test.
        pipe_by_id(home, server.options, server.options)


@test
def packets_and_questions_pass_through_the_relay_s_port_unchanged(home):
    key = Key()
    with Dev(home) as server:
        path = "/pkarr/" + z32(key.public)
        assert server.open(path)[0] == 404
        assert server.put(key, "relay=http://a.test/") == 204
        status, headers, body = server.open(path)
        assert status == 200 and headers["content-type"] == "application/x-pkarr-signed-packet" and len(body) > 72
        assert headers["etag"] and headers["last-modified"] and headers["access-control-allow-origin"] == "*"
        assert server.open(path, headers={"If-None-Match": headers["etag"]})[0] == 304
        status, head, nothing = server.open(path, method="HEAD")
        assert status == 200 and nothing == b"" and int(head["content-length"]) == len(body)
        assert server.open(path, method="OPTIONS")[1]["access-control-allow-methods"]
        assert server.open(path, b"x" * 100)[0] == 400 and server.open(path, b"x" * 5000)[0] == 413
        query = b"\0\1\1\0\0\1\0\0\0\0\0\0" + name("_iroh", z32(key.public), *server.json["origins"][0].split(".")) + b"\0\x10\0\1"
        status, headers, answer = server.open("/dns-query?dns=" + base64.urlsafe_b64encode(query).decode().rstrip("="))
        assert status == 200 and headers["content-type"] == "application/dns-message" and b"relay=http://a.test/" in answer
        assert server.open("/dns-query", query, method="POST", headers={"Content-Type": "application/dns-message"})[2] == answer
        asked = server.open("/dns-query?name=_iroh.%s.%s&type=TXT" % (z32(key.public), server.json["origins"][0]), headers={"Accept": "application/dns-json"})
        assert json.loads(asked[2])["Answer"][0]["data"], asked
        # The rest of the port is the relay's.
        assert server.open("/healthz")[0] == 200 and b"frames" in server.open("/")[2].lower() + b"frames" and server.open("/pkarry")[0] == 404
        assert server.relay_metric("http_passed_on_total") >= 8


@test
def whoever_publishes_too_much_is_known_by_address_and_cannot_invent_one(home):
    with Serve(home, config=CLOSED + "limits.publish_rate = 0.01\n") as server:
        def put(source, headers={}):
            connection = http.client.HTTPConnection("127.0.0.1", server.port(), timeout=20, source_address=(source, 0))
            key = Key()
            connection.request("PUT", "/pkarr/" + z32(key.public), payload(key, texts(key, "x")), headers)
            return connection.getresponse().status
        got = [put("127.0.0.2", {"X-Forwarded-For": "192.0.2.%d" % i}) for i in range(40)]
        assert got.count(204) == 32 and got[32:] == [429] * 8, got
        assert put("127.0.0.3") == 204
        server.write_config('data_dir = "%s/data"\n' % home + CLOSED + 'limits.publish = "off"\n')
        server.hang_up()
        assert {put("127.0.0.2") for _ in range(40)} == {204}


@test
def metrics_of_both_are_one_page(home):
    with Dev(home) as server:
        headers, text = server.metrics()
        assert text.count("# EOF") == 1 and text.endswith("# EOF\n"), text[-200:]
        assert re.search(r"^relayserver_accepts_total 0$", text, re.M) and re.search(r"^dns_server_dns_requests_total 0$", text, re.M)
        names = re.findall(r"^# TYPE (\S+)", text, re.M)
        assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)
    with Dev(home, "--no-metrics") as server:
        assert server.json["metrics"] == []


@test
def the_demo_moves_a_file_by_id_and_leaves_nothing(home):
    build = os.path.dirname(os.path.dirname(KITH))
    # Whatever the user's environment says, nobody else's servers are asked.
    env = {"TMPDIR": home, "KITH_RELAY": "https://relay.invalid", "KITH_LOOKUP": "n0"}
    done = run(home, os.path.join(ROOT, "tools", "demo.sh"), build, "3", program="sh", env=env)
    said = done.stdout.decode()
    sums = re.findall(r"sha256 ([0-9a-f]{64})", said)
    assert len(sums) == 2 and sums[0] == sums[1] and "byte for byte" in said and "verified" in said, said
    assert re.search(r"path: direct", said) and re.search(r"relay +http://127", said) and "invalid" not in said, said
    assert [entry for entry in os.listdir(home) if entry.startswith("kith-demo")] == [] and not children_of(home)


def children_of(home):
    """Programs that still have a file of home among their words."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                if home.encode() in file.read():
                    found.append(pid)
        except OSError:
            pass
    return found


# ---- Configuration ----

@test
def the_certificate_follows_from_what_is_said(home):
    fine = "the configuration is fine"
    assert fine in check(home, config='hostname = "a.test"\n')  # an authority of its own
    assert fine in check(home, config='hostname = "a.test"\ncontact = "a@b.test"\n')
    files = 'cert_file = "%s/cert.pem"\nkey_file = "%s/key.pem"\n' % (X509, X509)
    assert fine in check(home, config='hostname = "localhost"\n' + files)
    assert "cert.pem is not for a.test" in check(home, config='hostname = "a.test"\n' + files, code=2)
    assert fine in check(home, config='hostname = "a.test"\ncertificate = "none"\n')
    assert fine in check(home, "--dev") and fine in check(home, "--hostname", "a.test", "--address", "192.0.2.1", "--token", "t")
    shown = run(home, "serve", "--print-config", "--hostname", "a.test", "--contact", "a@b.test", "--token", "s3cret").stdout.decode()
    assert 'certificate = "acme"' in shown and 'hostname = ["a.test"]' in shown and 'origin = ["a.test"]' in shown and "s3cret" not in shown, shown
    shown = run(home, "serve", "--print-config", "--dev").stdout.decode()
    assert 'certificate = "self-signed"' in shown and 'origin = ["kith.internal"]' in shown, shown


@test
def what_is_wrong_is_told_with_its_line(home):
    for config, words in (('\nhostnam = "a"\n', ("line 2", "hostnam")), ('hostname = ""\n', ("line 1", "hostname")), ("hostname = 7\n", ("line 1",)),
                          ('hostname = "a"\naddresses = ["1.2.3.4", "x"]\n', ("line 2", "addresses")), ('hostname = "a"\nbind = "1.2.3.4:5"\n', ("line 2", "bind")),
                          ('hostname = "a"\ncertificate = "magic"\n', ("line 2", "acme")), ('hostname = "a"\n[limits]\nfoo = 1\n', ("line 3", "limits.foo")),
                          ('hostname = "a"\nhttp_bind = "80"\n', ("line 2", "http_bind")), ('hostname = "a"\naccess.shared_token = []\n', ("line 2", "access")),
                          ("= 1\n", (":1:",)), ("", ("hostname",)), ('hostname = "a"\ncertificate = "acme"\n', ("contact",)),
                          ('hostname = "a"\ncertificate = "files"\n', ("cert_file",)), ('hostname = "a"\ncert_file = "/nowhere"\n', ("key_file",)),
                          ('hostname = "a"\ncert_file = "/nowhere"\nkey_file = "/nowhere"\n', ("/nowhere",)), ('hostname = "a"\nworkers = 1000\n', ("workers",)),
                          ('hostname = "a"\norigin = "a..b"\n', ("a..b",))):
        said = check(home, config=config, code=2)
        assert all(word in said for word in words), (config, said)
    assert "no option --nonsense" in check(home, "--nonsense", code=2)
    assert "hostname: 'a b' is no host name" in check(home, config='hostname = "a b"\n', code=2)
    with Running(home, "serve", "--dev", "--http-bind", "192.0.2.1:0") as elsewhere:
        elsewhere.line("http cannot be served on 192.0.2.1:0: this machine has no such address")
        elsewhere.wait(1)
    assert "--any-port" in check(home, "--any-port", "--hostname", "a", code=2)
    assert "only one" in check(home, "--hostname", "a", "--acme", "--self-signed", code=2)
    assert "hostname" in check(home, code=2) and "--dev" in check(home, "--dev", "--acme", "--contact", "a@b.test", code=2)


@test
def tokens_keep_strangers_out_of_the_relay(home):
    with Dev(home, "--token", "s3cret") as server:
        assert server.json["needs_token"] and server.options[server.options.index("--relay-token") + 1] == "TOKEN"
        known = ["s3cret" if option == "TOKEN" else option for option in server.options]
        pipe_by_id(home, known, known, size=1000)
        denied = server.relay_metric("handshakes_denied_total")
        run(home, "ping", "-c", "1", "--relay-only", "--timeout", "2", *server.options, run(home, "key", "id", "--key", "k").stdout.decode().strip(), code=3)
        assert server.relay_metric("handshakes_denied_total") > denied


# ---- Life ----

@test
def a_hangup_brings_new_rules_names_and_limits_to_both(home):
    base = 'data_dir = "%s/data"\n%s' % (home, CLOSED)
    with Serve(home, config=CLOSED + 'origin = "old.test"\n') as server:
        assert "status: REFUSED" in server.dig("new.test", "SOA")
        server.write_config(base + 'origin = "new.test"\naccess.shared_token = ["t"]\n')
        server.hang_up()
        assert "status: NOERROR" in server.dig("new.test", "SOA") and "status: REFUSED" in server.dig("old.test", "SOA")
        run(home, "ping", "-c", "1", "--relay-only", "--relay", server.json["relay"], "--timeout", "2", new_key(home), code=3)
        assert server.relay_metric("handshakes_denied_total") >= 1
        # What is wrong changes nothing, in neither part.
        server.write_config(base + 'origin = "third.test"\nworkers = 99999\n')
        server.hang_up()
        server.line("the old configuration stays: workers")
        assert "status: NOERROR" in server.dig("new.test", "SOA")
        server.write_config(base.replace('dns_bind = "127.0.0.1:0"', 'dns_bind = "127.0.0.1:1"') + 'origin = "new.test"\n')
        server.hang_up()
        server.line("other addresses need a restart")


@test
def what_was_published_is_there_after_the_end(home):
    key = Key()
    with Serve(home, config=CLOSED) as server:
        assert server.put(key, "x") == 204
        server.stop(number=signal.SIGTERM)
        assert any("ended" in line for line in server.lines[-1:]), server.lines[-3:]
    with Serve(home, config=CLOSED) as server:
        assert server.open("/pkarr/" + z32(key.public))[0] == 200


@test
def it_ends_in_order_with_clients_connected(home):
    with Dev(home) as server:
        key = new_key(home)
        with Running(home, "ping", "--listen", "--key", "k", *server.options) as other:
            run(home, "ping", "-c", "1", *server.options, key)
            server.process.send_signal(signal.SIGTERM)
            server.line("clients are told to go elsewhere")
            server.wait(0)
            assert "ended" in server.lines[-1] and not any("cut" in line for line in server.lines), server.lines[-5:]
            other.stop(None)


@test
def it_starts_whole_or_not_at_all(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        for flag in ("--http-bind", "--dns-bind", "--metrics-bind"):
            done = run(home, "serve", "--dev", "--any-port", flag, address, code=1)
            assert address.encode() in done.stderr and b"in use" in done.stderr and done.stdout == b"", (flag, done.stderr)
    with Serve(home, config=CLOSED):
        done = run(home, "serve", "--data-dir", home + "/data", "--dev", "--any-port", code=1)
        assert b"another process" in done.stderr, done.stderr


@test
def a_part_that_crashes_takes_all_with_it(home):
    with Dev(home) as server:
        threads = [int(task) for task in os.listdir("/proc/%d/task" % server.process.pid)]
        assert len(threads) >= 5, threads  # the main one, and at least two of each part
        os.kill(max(threads), signal.SIGABRT)  # a thread's number: all of the process ends
        server.process.wait(LIMIT)
        assert server.process.returncode == -signal.SIGABRT
        try:
            socket.create_connection(("127.0.0.1", server.port()), timeout=5).close()
            raise AssertionError("something still listens")
        except ConnectionRefusedError:
            pass


@test
def systemd_is_told_of_start_reload_life_and_end(home):
    systemd = Systemd(home)
    with Serve(home, config=CLOSED, env={"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "200000"}) as server:
        assert systemd.next() == "READY=1"
        assert systemd.next() == "WATCHDOG=1" and systemd.next() == "WATCHDOG=1"
        server.process.send_signal(signal.SIGHUP)
        assert re.match(r"RELOADING=1\nMONOTONIC_USEC=\d+$", systemd.next("WATCHDOG=1")) and systemd.next("WATCHDOG=1") == "READY=1"
        server.process.send_signal(signal.SIGTERM)
        assert systemd.next("WATCHDOG=1") == "STOPPING=1"
        server.wait(0)


@test
def it_is_fenced_in(home):
    if sanitized():
        raise Skip("sanitizers need what the fence forbids")
    with Serve(home, config=CLOSED) as server:
        assert server.put(Key(), "x") == 204
        for task in os.listdir("/proc/%d/task" % server.process.pid):
            status = open("/proc/%d/task/%s/status" % (server.process.pid, task)).read()
            assert re.search(r"^Seccomp:\t2$", status, re.M) and re.search(r"^NoNewPrivs:\t1$", status, re.M), (task, status)


if __name__ == "__main__":
    sys.exit(main())
