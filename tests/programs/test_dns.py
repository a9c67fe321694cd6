#!/usr/bin/env python3
"""Uses the kith-dns program as its operators do: configuration, DNS, packets, certificates, signals, fences. TAP lines.

Arguments: words of test names; none: all.
"""
import base64, http.client, ssl, urllib.error

from asking import Lookups
from servers import *
from signed_packets import SODIUM, Key, name, payload, texts, z32



class Dns(Lookups, Server):
    """A lookup server on ports of the system's choice, with data in home/data; `config`: TOML beside that."""

    program, prefix = os.path.join(os.path.dirname(KITH), "kith-dns"), "dns_server"

    def __init__(self, home, *flags, config="", zone='dns.origins = ["dns.test.", "."]', env=None):
        self.base = ('data_dir = "%s/data"\nhttp.port = 0\nhttp.bind_addr = "127.0.0.1"\ndns.port = 0\ndns.bind_addr = "127.0.0.1"\n'
                     'metrics.bind_addr = "127.0.0.1:0"\n' % home)
        self.zone = zone
        super().__init__(home, *flags, config=config, env=env)

    def write_config(self, config, zone=None):
        self.fixed = self.base + (zone or self.zone) + "\n"
        super().write_config(config)


def check(home, *flags, **how):
    return check_config(Dns.program, home, *flags, **how)


def status(output):
    return re.search(r"status: (\w+)", output).group(1)


# ---- What it is for ----

@test
def dig_reads_the_zone_over_udp_and_tcp(home):
    with Dns(home, zone='dns.origins = ["dns.test"]\ndns.rr_a = "192.0.2.1"\ndns.rr_aaaa = ["2001:db8::1"]\ndns.rr_ns = ["ns1.dns.test.", "ns2.dns.test"]\n'
                        'dns.default_ttl = 77\ndns.default_soa = "ns1.dns.test hostmaster.dns.test 5 10800 3600 604800 60"') as server:
        for transport in ("+notcp", "+tcp"):
            for kind, record in (("SOA", r"SOA\s+ns1\.dns\.test\. hostmaster\.dns\.test\. 5 10800 3600 604800 60"), ("NS", r"NS\s+ns1\.dns\.test\."), ("NS", r"NS\s+ns2\.dns\.test\."),
                                 ("A", r"A\s+192\.0\.2\.1"), ("AAAA", r"AAAA\s+2001:db8::1")):
                got = server.dig(transport, "dns.test", kind)
                assert status(got) == "NOERROR" and re.search(r"^dns\.test\.\s+77\s+IN\s+" + record, got, re.M) and " aa" in got, got
            assert re.search(r"^ns1\.dns\.test\..*A\s+192\.0\.2\.1", server.dig(transport, "ns1.dns.test", "A"), re.M)
            got = server.dig(transport, "dns.test", "MX")
            assert status(got) == "NOERROR" and "ANSWER: 0, AUTHORITY: 1" in got, got
            assert status(server.dig(transport, "nobody.dns.test", "A")) == "NXDOMAIN"
            assert status(server.dig(transport, "example.org", "A")) == "REFUSED"
        assert server.metric("dns_requests_udp_total") == 9 and server.metric("dns_requests_total") == 18


@test
def an_endpoint_publishes_and_others_find_it_by_its_id(home):
    with Dns(home) as server:
        run(home, "key", "new", "--key", home + "/key")
        ident = run(home, "key", "id", "--key", home + "/key").stdout.decode().strip()
        pkarr, dns = "pkarr:http://127.0.0.1:%d/pkarr" % server.port(), ("--dns-server", "127.0.0.1:%d" % server.port("dns"))
        with Running(home, "listen", "--key", home + "/key", "--relay", "none", "--publish", "direct", "--lookup", pkarr, "--bind", "127.0.0.1:0") as listening:
            server.wait_metric("pkarr_publish_update_total", 1)
            for lookup in ((pkarr,), ("dns:dns.test", *dns)):
                found = run(home, "lookup", ident, "--lookup", *lookup).stdout.decode()
                assert re.search(r"127\.0\.0\.1:\d+", found), found
            run(home, "connect", ident, "--relay", "none", "--lookup", "dns:dns.test", *dns, input=b"by id alone")
            listening.wait(0)
            assert listening.process.stdout.read() == b"by id alone"
        key = z32(bytes.fromhex(ident))
        got, headers, body = server.open("/pkarr/" + key)
        assert got == 200 and headers["content-type"] == "application/x-pkarr-signed-packet" and b"addr=127.0.0.1:" in body, (got, headers, body)
        for origin in (".dns.test", ""):
            assert re.search(r'TXT\s+"addr=127\.0\.0\.1:\d+"', server.dig("+tcp", "_iroh.%s%s" % (key, origin), "TXT"))
        assert server.open("/pkarr/" + z32(Key().public))[0] == 404


@test
def dns_over_https_answers_both_forms(home):
    flags = ("--self-signed", "--https-bind", "127.0.0.1:0", "--hostname", "localhost")
    with Dns(home, *flags, zone='dns.origins = ["web.test", "dns.test", "."]\ndns.rr_a = "127.0.0.1"') as server:
        trust, key = ssl.create_default_context(cafile=home + "/data/cert_cache/authority.crt"), Key()
        assert server.put(key, "relay=https://relay.test/") == 204
        owner = "_iroh.%s.dns.test" % z32(key.public)
        got, headers, body = server.open("/dns-query?name=%s&type=TXT" % owner, headers={"Accept": "application/dns-json"}, kind="https", tls=trust)
        answer = json.loads(body)
        assert got == 200 and answer["Status"] == 0 and answer["Answer"] == [{"name": owner + ".", "type": 16, "TTL": 30, "data": "relay=https://relay.test/"}], body
        assert headers["cache-control"] == "s-maxage=30" and headers["content-type"] == "application/dns-json", headers
        query = struct.pack(">HHHHHH", 0, 0, 1, 0, 0, 0) + name(*owner.split(".")) + struct.pack(">HH", 16, 1)
        for how in (dict(path="/dns-query", data=query, method="POST"),
                    dict(path="/dns-query?dns=" + base64.urlsafe_b64encode(query).rstrip(b"=").decode(), headers={"Accept": "application/dns-message"})):
            got, headers, body = server.open(kind="https", tls=trust, **how)
            assert got == 200 and headers["content-type"] == "application/dns-message" and body.endswith(b"relay=https://relay.test/"), (got, headers, body)
        assert server.open("/dns-query", headers={"Accept": "text/html"})[0] == 406 and server.metric("dns_requests_https_total") == 3
        if shutil.which("curl"):  # another's client, which asks for the address of a host name
            done = subprocess.run(["curl", "-sS", "-m", "20", "--doh-url", "https://localhost:%d/dns-query" % server.port("https"), "--cacert", home + "/data/cert_cache/authority.crt",
                                   "--noproxy", "*", "http://web.test:%d/healthcheck" % server.port()], capture_output=True, text=True)
            assert done.stdout == "OK", done


@test
def packets_are_put_once_newer_and_got_and_survive_every_end(home):
    key, other = Key(), Key()
    now = time.time_ns() // 1000
    with Dns(home) as server:
        path, first = "/pkarr/" + z32(key.public), payload(key, texts(key, "addr=192.0.2.1:1"), now - 1000)
        assert server.open(path, first)[0] == 204 and server.open(path)[2] == first
        assert server.put(key, "addr=192.0.2.1:0", time_us=now - 2000) == 409 and server.open(path)[2] == first
        assert server.open(path, first[:-1] + b"!")[0] == 400 and server.open("/pkarr/" + z32(other.public), first)[0] == 400
        assert server.open(path, first + bytes(2000))[0] == 413 and server.open("/pkarr/abc", first)[0] == 400
        assert server.put(key, "addr=192.0.2.1:9", time_us=now + 3600 * 10 ** 6) == 400, "an hour ahead"
        assert server.put(key, "addr=192.0.2.1:2", time_us=now) == 204 and server.put(other, "relay=https://r/") == 204
        server.process.kill()
        server.wait(None)
    with Dns(home) as server:
        assert b"192.0.2.1:2" in server.open(path)[2] and server.metric("cache_zones") == 2
        done = run(home, "-c", server.file, program=Dns.program, code=1)
        assert b"another process" in done.stderr, done.stderr
        server.stop(number=signal.SIGTERM)
    with Dns(home) as server:
        assert "192.0.2.1:2" in server.dig("_iroh.%s.dns.test" % z32(key.public), "TXT")
    with Dns(home, "--in-memory") as server:
        server.line("gone with this process")
        assert server.open(path)[0] == 404


@test
def what_nobody_put_here_is_asked_of_the_dht(home):
    nodes = subprocess.Popen([os.path.join(os.path.dirname(KITH), "dht-agent"), "node", "8"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        at = nodes.stdout.readline().decode().split()[-1]
        run(home, "key", "new", "--key", home + "/key")
        ident = run(home, "key", "id", "--key", home + "/key").stdout.decode().strip()
        with Running(home, "listen", "--key", home + "/key", "--relay", "none", "--lookup", "dht:" + at, *LOOPBACK, stdin=subprocess.PIPE):
            until = time.monotonic() + LIMIT
            while b"127.0.0.1:" not in run(home, "lookup", "--lookup", "dht:" + at, ident, code=None).stdout:
                assert time.monotonic() < until
            with Dns(home, config='mainline.enabled = true\nmainline.bootstrap = ["%s"]\nmainline.bind_addr = "127.0.0.1:0"' % at) as server:
                assert "addr=127.0.0.1:" in server.dig("_iroh.%s.dns.test" % z32(bytes.fromhex(ident)), "TXT")
                assert server.metric("dht_found_total") == 1
                assert server.open("/pkarr/" + z32(bytes.fromhex(ident)))[0] == 404, "only packets that were put are handed out"
    finally:
        nodes.kill()
        nodes.wait()
        nodes.stdin.close()
        nodes.stdout.close()


# ---- Limits ----

@test
def each_client_has_its_limit_of_puts(home):
    rules = "limits.put_rate = 0.01\nlimits.put_burst = 3"
    with Dns(home, config=rules) as server:
        keys = [Key() for _ in range(5)]
        assert [server.put(key) for key in keys] == [204, 204, 204, 429, 429]
        got, headers, body = server.open("/pkarr/" + z32(keys[0].public), payload(keys[0], texts(keys[0])))
        assert got == 429 and 90 <= int(headers["retry-after"]) <= 100 and headers["x-ratelimit-after"] == headers["retry-after"] and b"Too Many" in body
        assert server.put(keys[4], headers={"X-Forwarded-For": "203.0.113.9"}) == 429, "who names another address is not believed"
    with Dns(home, config=rules + '\npkarr_put_rate_limit = "smart"') as server:
        assert [server.put(Key(), headers={"X-Forwarded-For": "203.0.113.9"}) for _ in range(4)] == [204, 204, 204, 429]
        assert server.put(Key(), headers={"X-Forwarded-For": "203.0.113.10"}) == 204
    with Dns(home, "--put-limit", "disabled", config=rules) as server:
        assert [server.put(Key()) for _ in range(5)] == [204] * 5


# ---- Configuration ----

def put_files(home):
    os.makedirs(home + "/data/cert_cache", exist_ok=True)
    shutil.copy(X509 + "/cert.pem", home + "/data/cert_cache/localhost.crt")
    shutil.copy(X509 + "/key.pem", home + "/data/cert_cache/localhost.key")


@test
def the_configuration_of_an_iroh_dns_server_is_taken_as_it_is(home):
    put_files(home)
    whole = '''
        pkarr_put_rate_limit = "smart"
        data_dir = "%s/data"
        [http]
        port = 80
        bind_addr = "0.0.0.0"
        listen_backlog = 100
        [https]
        port = 443
        listen_backlog = 4096
        domains = ["localhost"]
        cert_mode = "manual"
        letsencrypt_contact = "ops@example.org"
        letsencrypt_prod = true
        [dns]
        port = 53
        bind_addr = "::"
        default_soa = "dns1.example.org hostmaster.example.org 0 10800 3600 604800 3600"
        default_ttl = 30
        origins = ["dns.example.org", "."]
        rr_a = "203.0.113.10"
        rr_aaaa = "2001:db8::10"
        rr_ns = "ns1.dns.example.org."
        [metrics]
        disabled = false
        bind_addr = "127.0.0.1:9118"
        [mainline]
        enabled = false
        bootstrap = ["127.0.0.1:6881"]
        [zone_store]
        max_batch_size = 65536
        max_batch_time = "1s"
        eviction = "7days"
        eviction_interval = "10s"
    ''' % home
    assert check(home, config=whole) == "the configuration is fine\n"
    for mode in ("self_signed", "lets_encrypt"):
        assert check(home, config=whole.replace('"manual"', '"%s"' % mode)) == "the configuration is fine\n"
    # What is printed is a file that says the same, in each value.
    with open(home + "/whole.toml", "w") as file:
        file.write(whole)
    printed = run(home, "--print-config", "-c", home + "/whole.toml", program=Dns.program).stdout.decode()
    for line in ('http.bind_addr = "0.0.0.0"', "https.port = 443", "dns.default_ttl = 30", 'dns.rr_aaaa = ["2001:db8::10"]', 'metrics.bind_addr = "127.0.0.1:9118"',
                 'zone_store.eviction = "604800s"', 'pkarr_put_rate_limit = "smart"', 'mainline.bootstrap = ["127.0.0.1:6881"]', "https.letsencrypt_prod = true"):
        assert line in printed, (line, printed)
    with open(home + "/again.toml", "w") as file:
        file.write(printed)
    assert run(home, "--print-config", "-c", home + "/again.toml", program=Dns.program).stdout.decode() == printed


@test
def without_a_file_it_is_what_the_reference_is(home):
    printed = run(home, "--print-config", program=Dns.program).stdout.decode()
    for line in ("http.port = 8080", "https.port = 8443", "dns.port = 5300", 'https.domains = ["localhost"]', 'https.cert_mode = "self_signed"', "dns.default_ttl = 900",
                 'dns.origins = ["irohdns.example.", "."]', 'dns.rr_a = ["127.0.0.1"]', 'dns.rr_ns = ["ns1.irohdns.example."]', 'metrics.bind_addr = "127.0.0.1:9117"',
                 'pkarr_put_rate_limit = "simple"', "mainline.enabled = false", 'data_dir = "%s/.local/share/iroh-dns"' % home,
                 'dns.default_soa = "irohdns.example hostmaster.irohdns.example 0 10800 3600 604800 3600"'):
        assert line in printed.splitlines(), (line, printed)
    assert "bind_addr" not in printed.replace("metrics.bind_addr", "")
    for env, path in (({"XDG_DATA_HOME": "/d"}, "/d/iroh-dns"), ({"XDG_DATA_HOME": "/d", "IROH_DNS_DATA_DIR": "/e"}, "/e")):
        assert 'data_dir = "%s"' % path in run(home, "--print-config", program=Dns.program, env=env).stdout.decode()
    printed = run(home, "dns", "--dev", "--print-config").stdout.decode()
    for line in ('http.bind_addr = "127.0.0.1"', 'https.bind_addr = "127.0.0.1"', 'dns.bind_addr = "127.0.0.1"', "zone_store.in_memory = true", 'pkarr_put_rate_limit = "disabled"'):
        assert line in printed.splitlines(), (line, printed)
    with Dns(home, config='http.listen_backlog = 5\nzone_store.max_batch_time = "2s"') as server:
        server.line("listen_backlog has no effect")
        server.line("max_batch_time has no effect")


BASE = '[http]\nport = 0\n[dns]\nport = 0\norigins = ["a."]\n'


@test
def what_is_wrong_in_a_file_is_told_with_its_line(home):
    for config, *words in ((BASE + "[mainline]\nenabled = false\nbootstarp = []", "line 8", "there is no key 'mainline.bootstarp'"),
                           ("workers = -1\n" + BASE, "line 1"), (BASE + "[mainline]\nenabled = true\nbootstrap = [\"x\"]", "line 8", "6881"), (BASE.replace("port = 0\n[dns]", 'port = "x"\n[dns]'), "line 2", "a port"),
                           (BASE + 'rr_a = "2001:db8::1"', "line 6", "IPv4"), (BASE + 'rr_aaaa = "192.0.2.1"', "line 6", "IPv6"), (BASE + "rr_a = 5", "line 6"),
                           (BASE + 'bind_addr = "localhost"', "line 6", "IP address"), ('pkarr_put_rate_limit = "hard"\n' + BASE, "line 1", "simple"),
                           (BASE + '[zone_store]\neviction = "soon"', "line 7", "7days"), (BASE + '[zone_store]\neviction = "0s"', "zone_store.eviction"),
                           (BASE + "[zone_store]\nmax_batch_size = 0", "zone_store.max_batch_size"), (BASE + "default_ttl = 2147483648", "dns.default_ttl"),
                           (BASE + "[metrics]\ndisabled = 1", "line 7", "true or false"), ("workers = 65\n" + BASE, "at most 64"),
                           (BASE + 'default_soa = "too short"', "SOA"), (BASE.replace('"a."', '"a..b"'), "a..b"), (BASE.replace('"a."', ""), "origins"),
                           (BASE.replace("[dns]\nport = 0", "[dns]"), "[dns] needs a port"), ("[http]\nport = 0", "no [dns]"), ("[dns]\nport = 0\norigins = [\"a\"]", "neither [http] nor [https]"),
                           (BASE + "[https]", "[https] needs a port"), (BASE + "[https]\nport = 0", "needs domains"), (BASE + '[https]\nport = 0\ndomains = ["a"]', "cert_mode"),
                           (BASE + '[https]\nport = 0\ndomains = ["a"]\ncert_mode = "Manual"', "line 9", "manual"), (BASE + "[mainline]", "needs enabled"),
                           (BASE + '[https]\nport = 0\ndomains = ["a", "b"]\ncert_mode = "manual"', "exactly one"), (BASE + '[https]\nport = 0\ndomains = ["a"]\ncert_mode = "manual"', "a.crt", "not found"),
                           (BASE + '[https]\nport = 0\ndomains = ["a"]\ncert_mode = "lets_encrypt"', "letsencrypt_contact"), ("limits.put_rate = 0\n" + BASE, "line 1", "above 0"),
                           ('limits.trusted_proxies = ["10.0.0.0/40"]\n' + BASE, "10.0.0.0/40"), (BASE + "a = ", ":6"), ("x = 2026-01-01\n" + BASE, "line 1", "no key")):
        text = check(home, config=config, code=2)
        for word in words:
            assert word in text, (config, word, text)
    assert "No such file" in check(home, "-c", home + "/missing.toml", code=2) and "Is a directory" in check(home, "--config", home, code=2)


@test
def flags_are_checked_and_win_over_the_file(home):
    for flags, word in ((("--nonsense",), "there is no option"), (("argument",), "too many"), (("--http-bind", "80"), "address and port"), (("--address", "x"), "IP address"),
                        (("--self-signed", "--acme"), "only one"), (("--cert", "x"), "belong together"), (("--acme",), "contact"), (("--put-limit", "x"), "smart"),
                        (("--origin", ""), "empty"), (("--soa", "x"), "SOA"), (("--dht-bootstrap", "nowhere"), "nowhere")):
        text = check(home, *flags, code=2)
        assert word in text, (flags, text)
    assert "--https-bind" in check(home, "--self-signed", config=BASE, code=2)
    with open(home + "/c.toml", "w") as file:
        file.write(BASE + 'rr_a = "192.0.2.9"\ndefault_soa = "a b 1 2 3 4 5"')
    printed = run(home, "--print-config", "-c", home + "/c.toml", "--origin", "mine.test", "--address", "192.0.2.1", "--address", "2001:db8::1", "--http-bind", "127.0.0.1:81",
                  "--dht-bootstrap", "127.0.0.1:1", "--no-metrics", "--data-dir", home + "/d", program=Dns.program).stdout.decode()
    for line in ('dns.origins = ["mine.test"]', 'dns.rr_a = ["192.0.2.1"]', 'dns.rr_aaaa = ["2001:db8::1"]', "http.port = 81", "mainline.enabled = true", "metrics.disabled = true",
                 'data_dir = "%s/d"' % home):
        assert line in printed.splitlines(), (line, printed)
    assert "default_soa" not in printed, "the SOA of another zone"
    assert "kith-dns" in run(home, "--help", program=Dns.program).stdout.decode() and "kith dns" in run(home, "dns", "--help").stdout.decode()
    assert re.match(r"kith-dns \d", run(home, "--version", program=Dns.program).stdout.decode())


@test
def a_port_that_is_taken_is_told(home):
    with Dns(home) as server:
        for flag, kind in (("--http-bind", "http"), ("--dns-bind", "dns"), ("--metrics-bind", "metrics")):
            done = run(home, "-c", server.file, "--data-dir", home + "/other", flag, "127.0.0.1:%d" % server.port(kind), program=Dns.program, code=1)
            assert b"already in use" in done.stderr, done.stderr


# ---- Signals ----

@test
def what_is_under_way_is_answered_when_it_ends(home):
    key = Key()
    body = payload(key, texts(key, "addr=192.0.2.1:7"))
    with Dns(home) as server, socket.create_connection(("127.0.0.1", server.port()), timeout=20) as slow, \
            socket.create_connection(("127.0.0.1", server.port("dns")), timeout=20) as idle:
        slow.sendall(b"PUT /pkarr/%s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (z32(key.public).encode(), len(body)))
        assert slow.recv(100).startswith(b"HTTP/1.1 100 ")
        slow.sendall(body[:50])
        idle.sendall(b"\0")  # half of a length
        server.process.send_signal(signal.SIGTERM)
        server.line("ending: what is under way is answered")
        until = time.monotonic() + LIMIT
        while socket.socket().connect_ex(("127.0.0.1", server.port())) == 0:
            assert time.monotonic() < until
        slow.sendall(body[50:])
        assert read_all(slow).startswith(b"HTTP/1.1 204 ")
        server.wait(0)
        assert not any("cut" in line for line in server.lines), server.lines
    with Dns(home) as server:
        assert server.open("/pkarr/" + z32(key.public))[2] == body


@test
def a_second_signal_ends_it_at_once(home):
    with Dns(home, config="drain_seconds = 3600") as server, socket.create_connection(("127.0.0.1", server.port()), timeout=20) as slow:
        slow.sendall(b"PUT /pkarr/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
        assert slow.recv(100).startswith(b"HTTP/1.1 100 ")
        server.process.send_signal(signal.SIGTERM)
        server.line("a second signal ends at once")
        server.process.send_signal(signal.SIGTERM)
        server.wait(-signal.SIGTERM)


@test
def a_hangup_brings_new_origins_and_limits(home):
    key = Key()
    with Dns(home, config="limits.put_rate = 0.01\nlimits.put_burst = 1", zone='dns.origins = ["old.test"]\ndns.rr_a = "192.0.2.1"') as server:
        assert server.put(key, "relay=https://r/") == 204 and server.put(key, "relay=https://s/") == 429
        assert "192.0.2.1" in server.dig("old.test", "A") and status(server.dig("new.test", "A")) == "REFUSED"
        server.write_config('pkarr_put_rate_limit = "disabled"', 'dns.origins = ["new.test"]\ndns.rr_a = "192.0.2.2"')
        server.hang_up()
        assert "192.0.2.2" in server.dig("new.test", "A") and status(server.dig("old.test", "A")) == "REFUSED"
        assert "https://r/" in server.dig("_iroh.%s.new.test" % z32(key.public), "TXT")
        assert [server.put(key, "relay=https://s/"), server.put(key, "relay=https://t/")] == [204, 204]
        assert not any("restart" in line for line in server.lines), server.lines
        for config, zone, words in (("nonsense = 1", None, "the old configuration stays.*line.*nonsense"), ("", 'dns.origins = ["a..b"]', "the old configuration stays.*a..b")):
            server.write_config(config, zone)
            server.hang_up()
            server.line(words)
            assert "192.0.2.2" in server.dig("new.test", "A") and server.put(key, "relay=https://u/") == 204
        for config, words in (("workers = 1", "number of workers needs a restart"), ("http.listen_backlog = 5\nzone_store.eviction = \"1day\"", "settings of the store need a restart"),
                              ("mainline.enabled = true", "settings of the DHT need a restart"), ("metrics.disabled = true", "other addresses need a restart")):
            server.write_config(config)
            server.hang_up()
            server.line(words)
        assert status(server.dig("old.test", "A")) == "NOERROR"


# ---- Certificates ----

@test
def certificate_files_are_read_again_when_they_change(home):
    directory = home + "/certs"
    put_certificate(directory)
    with Dns(home, "--cert", directory + "/default.crt", "--key", directory + "/default.key", "--https-bind", "127.0.0.1:0") as server:
        port, first, second = server.port("https"), of_file(X509 + "/cert.pem"), of_file(X509 + "/relay.pem")
        assert served_certificate(port) == first and server.metric("certificate_loads") == 1
        server.hang_up()
        server.wait_metric("certificate_loads", 2)  # changed or not
        put_certificate(directory, "relay.pem")
        server.hang_up()
        until = time.monotonic() + LIMIT
        while served_certificate(port) != second:
            assert time.monotonic() < until, server.lines
        with open(directory + "/default.key", "w") as file:
            file.write("broken")
        server.hang_up()
        server.line("the old certificate stays in use")
        assert served_certificate(port) == second and server.wait_metric("certificate_failures", 1)


@test
def certificates_named_as_the_reference_does_are_found(home):
    put_files(home)
    with Dns(home, config='https.port = 0\nhttps.bind_addr = "127.0.0.1"\nhttps.domains = ["localhost"]\nhttps.cert_mode = "manual"') as server:
        assert served_certificate(server.port("https")) == of_file(X509 + "/cert.pem")


@test
def a_self_made_authority_is_kept(home):
    flags = ("--self-signed", "--https-bind", "127.0.0.1:0", "--hostname", "localhost")
    with Dns(home, *flags) as server:
        trust = ssl.create_default_context(cafile=home + "/data/cert_cache/authority.crt")
        assert server.open("/healthcheck", kind="https", tls=trust)[2] == b"OK"
        assert stat.S_IMODE(os.stat(home + "/data").st_mode) == 0o700 and stat.S_IMODE(os.stat(home + "/data/cert_cache/authority.key").st_mode) == 0o600
        first = served_certificate(server.port("https"))
        run(home, "key", "new", "--key", home + "/key")
        with Running(home, "listen", "--key", home + "/key", "--relay", "none", "--publish", "direct", "--relay-ca", home + "/data/cert_cache/authority.crt",
                     "--lookup", "pkarr:https://localhost:%d/pkarr" % server.port("https"), *LOOPBACK, stdin=subprocess.PIPE):
            server.wait_metric("pkarr_publish_update_total", 1)
    with Dns(home, *flags) as server:
        assert served_certificate(server.port("https")) == first, "a new certificate without need"


@test
def a_certificate_is_got_by_acme_and_kept(home):
    http_port, tls_port = free_port(), free_port()
    with Pebble(home, http_port, tls_port) as pebble:
        for challenge in ("tls-alpn-01", "http-01"):
            config = ('https.port = %d\nhttps.bind_addr = "127.0.0.1"\nhttps.domains = ["dns.test", "two.test"]\nhttps.cert_mode = "lets_encrypt"\n'
                      'https.letsencrypt_contact = "ops@example.com"\nhttps.acme_challenge = "%s"' % (tls_port, challenge))
            words = ("--http-bind", "127.0.0.1:%d" % http_port, "--data-dir", home + "/acme-" + challenge)
            with Dns(home, *words, config=config, env={"KITH_ACME_URL": pebble.url, "KITH_ACME_CA": X509 + "/cert.pem"}) as server:
                server.line("ordering a certificate for dns.test .*" + challenge)
                server.line("a new certificate for dns.test is in use")
                first = served_certificate(tls_port, "two.test")
                assert sorted(os.listdir(home + "/acme-%s/cert_cache" % challenge)) == ["account.key", "acme.pem"]
            with Dns(home, *words, "--acme-url", pebble.url, config=config) as server:
                assert served_certificate(tls_port, "dns.test") == first and not any("ordering" in line for line in server.lines)


@test
def the_authority_for_tests_is_asked_unless_told_otherwise(home):
    alone = ["unshare", "--net", "--user", "--map-root-user"]  # nobody hears of it
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True).returncode != 0:
        raise Skip("no namespaces can be made here")
    with open(home + "/acme.toml", "w") as file:
        file.write('http.port = 0\ndns.port = 0\ndns.origins = ["a"]\nmetrics.disabled = true\nhttps.port = 0\nhttps.domains = ["a.test"]\n'
                   'https.cert_mode = "lets_encrypt"\nhttps.letsencrypt_contact = "ops@example.com"\n')
    for flags, word in (((), "acme-staging-v02"), (("--acme",), "acme-v02")):
        with Running(home, *alone[1:], Dns.program, "-c", home + "/acme.toml", "--data-dir", home + "/data", *flags, program="unshare") as server:
            server.line("ordering a certificate for a.test from https://%s.api.letsencrypt.org" % word)


# ---- Running as a service ----

@test
def metrics_have_the_names_of_the_reference(home):
    names = """pkarr_publish_update pkarr_publish_noop dns_requests dns_requests_udp dns_requests_https dns_lookup_success dns_lookup_notfound dns_lookup_error http_requests
        http_requests_success http_requests_error http_requests_duration_ms store_packets_inserted store_packets_removed store_packets_updated
        store_packets_expired""".split()
    with Dns(home) as server:
        headers, text = server.metrics()
        assert headers["content-type"] == "text/plain; charset=utf-8" and text.endswith("# EOF\n"), headers
        for metric in names:
            assert re.search(r"^dns_server_%s_total \d+$" % metric, text, re.M), metric
        assert re.search(r"^dns_server_cache_zones \d+$", text, re.M) and re.search(r"^dns_server_cache_zones_dht \d+$", text, re.M)
        assert server.open("/metrics")[0] == 404, "the metrics are public"


@test
def systemd_is_told_of_start_reload_life_and_end(home):
    systemd = Systemd(home)
    with Dns(home, env={"NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "200000"}) as server:
        assert systemd.next() == "READY=1"
        assert systemd.next() == "WATCHDOG=1" and systemd.next() == "WATCHDOG=1"
        server.process.send_signal(signal.SIGHUP)
        assert re.match(r"RELOADING=1\nMONOTONIC_USEC=\d+$", systemd.next("WATCHDOG=1")) and systemd.next("WATCHDOG=1") == "READY=1"
        server.process.send_signal(signal.SIGTERM)
        assert systemd.next("WATCHDOG=1") == "STOPPING=1"
        server.wait(0)


@test
def systemd_takes_the_units(home):
    if not shutil.which("systemd-analyze"):
        raise Skip("systemd-analyze is not installed")
    for server in ("relay", "dns"):
        with open(os.path.join(os.path.dirname(os.path.dirname(KITH)), "kith-%s.service" % server)) as file:
            unit = file.read()
        path = home + "/kith-%s.service" % server
        with open(path, "w") as file:
            file.write(re.sub(r"^ExecStart=\S*/", "ExecStart=%s/" % os.path.dirname(os.path.abspath(KITH)), unit, flags=re.M))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True)
        assert done.returncode == 0 and server not in done.stderr, done.stderr
        done = subprocess.run(["systemd-analyze", "security", "--offline=true", path], capture_output=True, text=True)
        level = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
        assert level and float(level.group(1)) < 2, done.stdout[-500:] + done.stderr


@test
def log_lines_are_json_when_asked_for(home):
    with Dns(home, "-v") as server:
        server.raw(b"PUT /\x1b[31m HTTP/1.1\r\n\r\n")
        server.stop(number=signal.SIGTERM)
        for line in server.lines:
            assert set(json.loads(line)) == {"time", "level", "part", "text"}, line
    done = run(home, "--json", "--nonsense", program=Dns.program, code=2)
    assert done.stdout == b"" and json.loads(done.stderr)["level"] == "error"


@test
def it_is_fenced_in(home):
    if sanitized():
        raise Skip("sanitizers need what the fence forbids")
    directory = home + "/certs"
    with tempfile.TemporaryDirectory() as outside:  # the configuration is in home, which is readable therefore
        put_certificate(outside, "relay.pem")
        try_links(home, directory, outside)


def try_links(home, directory, outside):
    for flags in ((), ("--no-sandbox",)):
        put_certificate(directory)
        with Dns(home, "--cert", directory + "/default.crt", "--key", directory + "/default.key", "--https-bind", "127.0.0.1:0", *flags) as server:
            # Links out of the directory, as whoever got in would make them: a file that it was not told of cannot be read.
            for file in ("default.crt", "default.key"):
                os.unlink("%s/%s" % (directory, file))
                os.symlink("%s/%s" % (outside, file), "%s/%s" % (directory, file))
            server.hang_up()
            if flags:
                until = time.monotonic() + LIMIT
                while served_certificate(server.port("https")) != of_file(X509 + "/relay.pem"):
                    assert time.monotonic() < until, server.lines
            else:
                server.line("the old certificate stays in use")
                assert served_certificate(server.port("https")) == of_file(X509 + "/cert.pem")
            pid = server.process.pid
            for task in os.listdir("/proc/%d/task" % pid):
                text = open("/proc/%d/task/%s/status" % (pid, task)).read()
                assert bool(re.search(r"^Seccomp:\t2$", text, re.M)) == bool(re.search(r"^NoNewPrivs:\t1$", text, re.M)) == (not flags), (task, text)
            assert re.search(r"Max core file size\s+0\s+0", open("/proc/%d/limits" % pid).read())
            for file in ("default.crt", "default.key"):
                os.unlink("%s/%s" % (directory, file))


@test
def it_needs_no_root(home):
    if os.geteuid() != 0:
        raise Skip("every other test shows it")
    nobody = 65534
    os.chmod(home, 0o755)
    os.mkdir(home + "/nobody")
    os.chown(home + "/nobody", nobody, nobody)
    if subprocess.run([Dns.program, "--version"], capture_output=True, user=nobody, group=nobody, extra_groups=[]).returncode != 0:
        raise Skip("the program lies where others may not look")
    done = subprocess.Popen([Dns.program, "--json", "--data-dir", home + "/nobody/data", "--self-signed", "--http-bind", "127.0.0.1:0", "--https-bind", "127.0.0.1:0",
                             "--dns-bind", "127.0.0.1:0", "--metrics-bind", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, user=nobody, group=nobody, extra_groups=[])
    try:
        started = json.loads(done.stdout.readline())
        key, port = Key(), int(started["http"][0].rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("PUT", "/pkarr/" + z32(key.public), payload(key, texts(key)))
        assert connection.getresponse().status == 204
        connection.close()
        done.send_signal(signal.SIGTERM)
        assert done.wait(LIMIT) == 0 and os.stat(home + "/nobody/data").st_uid == nobody
    finally:
        done.kill()
        done.wait()
        done.stdout.close()


if __name__ == "__main__":
    if SODIUM is None:
        print("ok 1 - kith-dns # SKIP no libsodium for signatures\n1..1")
        sys.exit(0)
    sys.exit(main())
