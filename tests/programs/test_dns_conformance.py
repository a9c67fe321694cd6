#!/usr/bin/env python3
"""kith-dns before tools of others: dig, kdig and drill read it without complaint, dnsviz and Zonemaster find nothing wrong with its zone, and the
worked examples of the protocol (spec/03, 5.1) pass through it byte for byte. TAP lines.

Arguments: words of test names; none: all.
"""
import concurrent.futures

from asking import Lookups
from servers import *
from signed_packets import SODIUM, Key, name, z32

# What real peers made from the seed 00..1f: signature, time, DNS message. spec/03, 5.1.
EXAMPLE_KEY = bytes.fromhex("79716f6f787839753361656d68386d6f3577637171313679756675366a69746f7571316f347a6137353164676572316967676879").decode()
EXAMPLES = {
    "one relay": (
        "d05716ee4a53e07dcc88be5e918121f756a5233efc4adc65dc80d25e72ed552c6a332ce20c865e932d3ea018e1d2b1f73cf96682751a844794bb001f01b58701" "000660ef984637f3"
        "000080000000000100000000055f69726f683479716f6f787839753361656d68386d6f3577637171313679756675366a69746f7571316f347a613735316467657231696767687900"
        "00100001" "0000001e" "001d1c" "72656c61793d687474703a2f2f3132372e302e302e313a333334302f", ["relay=http://127.0.0.1:3340/"]),
    "several records": (
        "312bdbabf91bbbd99a3c27c7960a7ceba40277ae74346ce2a5d2a16d80a885035eb781f919cd7a1a624ab3991f5643eaf7380a2308b8209a840e44b62b1dd80d" "0006474846204000"
        "000080000000000400000000055f69726f683479716f6f787839753361656d68386d6f3577637171313679756675366a69746f7571316f347a613735316467657231696767687900"
        "001000010000001e00212072656c61793d68747470733a2f2f72656c61792e6578616d706c652e636f6d2fc00c001000010000001e001615616464723d3230332e302e3131332e37"
        "3a34343333c00c001000010000001e001817616464723d5b323030313a6462383a3a315d3a34343333c00c001000010000001e001110757365722d646174613d666f6f626172",
        ["relay=https://relay.example.com/", "addr=203.0.113.7:4433", "addr=[2001:db8::1]:4433", "user-data=foobar"]),
    "the empty set": (
        "d6faec16c147a6a9abac62f818813766f4a2826c996a165c8615e3f6d4058561b3b686f50888b51d7b657cef6fd756b25119dde25935d8b0df1a1a3374bded0b" "0006474846204000"
        "000080000000000000000000", [])}
COMPLAINT = re.compile(r"warning|malformed|bad |got bad|extra bytes|mismatch|unexpected|\berror\b|communications|timed out", re.I)
SOA = "ns1.dns.test hostmaster.dns.test 5 14400 3600 604800 300"


class Dns(Lookups, Server):
    program, prefix = os.path.join(os.path.dirname(KITH), "kith-dns"), "dns_server"

    def __init__(self, home):
        self.fixed = ('data_dir = "%s/data"\nhttp.port = 0\nhttp.bind_addr = "127.0.0.1"\ndns.port = 0\ndns.bind_addr = "127.0.0.1"\nmetrics.bind_addr = "127.0.0.1:0"\n'
                      'pkarr_put_rate_limit = "disabled"\ndns.origins = ["dns.test."]\ndns.rr_a = "127.0.0.1"\ndns.rr_aaaa = "2001:db8::1"\n'
                      'dns.rr_ns = ["ns1.dns.test.", "ns2.dns.test."]\ndns.default_ttl = 300\ndns.default_soa = "%s"' % (home, SOA))
        super().__init__(home)

    def ask(self, message, tcp=False):
        """The answer to these bytes; None: there is none."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
            sock.settimeout(10 if tcp else 2)
            sock.connect(("127.0.0.1", self.port("dns")))
            sock.sendall(struct.pack(">H", len(message)) + message if tcp else message)
            try:
                if not tcp:
                    return sock.recv(65535)
                file = sock.makefile("rb")
                head = file.read(2)
                return file.read(int.from_bytes(head, "big")) if head else None
            except TimeoutError:
                return None


def question(*labels, kind=16, qclass=1, flags=0, number=7, edns=b"", count=1):
    return struct.pack(">HHHHHH", number, flags, count, 0, 0, edns != b"") + (name(*labels) + struct.pack(">HH", kind, qclass)) * count + edns


def opt(version=0, flags=0, options=b"", size=1232):
    return b"\0" + struct.pack(">HHBBHH", 41, size, 0, version, flags, len(options)) + options


def rcode(answer):
    return answer[3] & 15


@test
def the_worked_examples_pass_byte_for_byte(home):
    with Dns(home) as server:
        asked = question("_iroh", EXAMPLE_KEY, "dns", "test")
        for said in ("the empty set", "several records", "one relay"):  # each newer than those before, or larger at the same time
            payload, values = bytes.fromhex(EXAMPLES[said][0]), EXAMPLES[said][1]
            assert server.open("/pkarr/" + EXAMPLE_KEY, payload)[0] == 204, said
            status, headers, body = server.open("/pkarr/" + EXAMPLE_KEY)
            assert status == 200 and body == payload and headers["Content-Type"] == "application/x-pkarr-signed-packet", (said, status, body)
            records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 16, 1, 30, len(value) + 1) + bytes([len(value)]) + value.encode() for value in values)
            for tcp in (False, True):
                got = server.ask(asked, tcp)
                if values:
                    assert got == asked[:2] + struct.pack(">HHHHH", 0x8400, 1, len(values), 0, 0) + asked[12:] + records, (said, got)
                else:  # of a name without records the zone knows nothing
                    assert rcode(got) == 3 and got[6:10] == b"\0\0\0\1", (said, got)
        for said in ("the empty set", "several records"):  # older now: refused, and the newer one stays
            assert server.open("/pkarr/" + EXAMPLE_KEY, bytes.fromhex(EXAMPLES[said][0]))[0] == 409, said
        assert server.open("/pkarr/" + EXAMPLE_KEY)[2] == bytes.fromhex(EXAMPLES["one relay"][0])


@test
def every_kind_of_message_has_the_answer_of_the_standards(home):
    NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
    with Dns(home) as server:
        key = Key()
        assert server.put(key, "relay=https://relay.test/") == 204
        owner = ("_iroh", z32(key.public), "dns", "test")
        shouted = ("_IROH", z32(key.public).upper(), "dNs", "TEST")
        for said, message, code, answers, authorities in (
                ("the record", question(*owner), NOERROR, 1, 0), ("in capitals", question(*shouted), NOERROR, 1, 0),
                ("another type", question(*owner, kind=1), NOERROR, 0, 1), ("a type without a name", question(*owner, kind=65280), NOERROR, 0, 1),
                ("the name above it", question(z32(key.public), "dns", "test"), NOERROR, 0, 1), ("a name that is not there", question("x", z32(key.public), "dns", "test"), NXDOMAIN, 0, 1),
                ("no key", question("_iroh", "nokey", "dns", "test"), NXDOMAIN, 0, 1), ("a key that nobody put", question("_iroh", z32(Key().public), "dns", "test"), NXDOMAIN, 0, 1),
                ("the apex", question("dns", "test", kind=6), NOERROR, 1, 0), ("not ours", question("example", "org", kind=1), REFUSED, 0, 0), ("the root", question(kind=2), REFUSED, 0, 0),
                ("class CH", question("version", "bind", qclass=3), REFUSED, 0, 0), ("class ANY", question("dns", "test", qclass=255), REFUSED, 0, 0),
                ("AXFR", question("dns", "test", kind=252), REFUSED, 0, 0), ("IXFR", question("dns", "test", kind=251), REFUSED, 0, 0),
                ("STATUS", question("dns", "test", flags=2 << 11), NOTIMP, 0, 0), ("NOTIFY", question("dns", "test", kind=6, flags=4 << 11), NOTIMP, 0, 0),
                ("UPDATE", question("dns", "test", kind=6, flags=5 << 11), NOTIMP, 0, 0), ("an opcode without a name", question("dns", "test", flags=15 << 11), NOTIMP, 0, 0),
                ("two questions", question("dns", "test", count=2), FORMERR, 0, 0), ("no question", question(count=0), FORMERR, 0, 0)):
            for tcp in (False, True):
                got = server.ask(message, tcp)
                assert got is not None and got[:2] == message[:2], (said, tcp, got)
                seen = (rcode(got), int.from_bytes(got[6:8], "big"), int.from_bytes(got[8:10], "big"))
                assert seen == (code, answers, authorities), (said, tcp, seen)
                assert got[2] & 0x80 and (got[2] & 0x78) == (message[2] & 0x78) and not got[3] & 0x80, (said, got[:4])
                if code in (NOERROR, NXDOMAIN):
                    assert got[2] & 4 and got[12:len(message)] == message[12:], ("not as it was asked, or not with authority: " + said, got)
        assert server.ask(question("dns", "test", flags=0x8000)) is None, "an answer is not answered"
        assert server.ask(question("dns", "test", kind=6, flags=0x0100))[2] & 1, "RD comes back"


@test
def edns_is_answered_as_the_standard_says(home):
    with Dns(home) as server:
        def ask(edns, tcp=False):
            got = server.ask(question("dns", "test", kind=6, edns=edns), tcp)
            return got, got[-11:] if got[10:12] == b"\0\1" else None
        assert ask(b"")[1] is None, "who has no EDNS gets none"
        got, back = ask(opt())
        assert back is not None and back[:3] == b"\0\0\x29" and back[5:7] == b"\0\0" and rcode(got) == 0, back
        got, back = ask(opt(version=1))
        assert rcode(got) == 0 and back[5] == 1 and back[6] == 0 and got[6:8] == b"\0\0", ("BADVERS", back)
        assert ask(opt(flags=0x8000))[1][7] & 0x80, "DO comes back"
        for options in (struct.pack(">HH", 3, 0), struct.pack(">HH8s", 10, 8, b"12345678"), struct.pack(">HH4s", 12, 4, b""), struct.pack(">HHHBB3s", 8, 7, 1, 24, 0, b"\xc0\0\2"),
                        struct.pack(">HH3s", 65001, 3, b"abc"), struct.pack(">HH", 11, 0)):
            for tcp in (False, True):
                got, back = ask(opt(options=options), tcp)
                assert rcode(got) == 0 and back is not None and got[6:8] == b"\0\1", (options, got)
        got, _ = ask(opt() + opt())
        assert rcode(got) == 1 or got[6:8] == b"\0\1", got
        two = struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 2) + question("dns", "test", kind=6)[12:] + opt() + opt()
        assert rcode(server.ask(two)) == 1, "two OPT records are a mistake: RFC 6891, 6.1.1"
        assert rcode(ask(struct.pack(">BHHBBHH", 0, 41, 1232, 0, 0, 0, 9) + b"\0\3")[0]) == 1, "an option that is cut short"


@test
def dig_kdig_and_drill_read_it_without_complaint(home):
    with Dns(home) as server:
        key = Key()
        assert server.put(key, *["addr=192.0.2.1:%d" % port for port in range(10000, 10008)]) == 204
        endpoint = "_iroh.%s.dns.test" % z32(key.public)
        names = (("dns.test", "SOA", "NOERROR"), ("dns.test", "NS", "NOERROR"), ("ns1.dns.test", "A", "NOERROR"), ("dns.test", "AAAA", "NOERROR"), ("dns.test", "MX", "NOERROR"),
                 ("dns.test", "ANY", "NOERROR"), (endpoint, "TXT", "NOERROR"), (endpoint, "A", "NOERROR"), ("nobody.dns.test", "TXT", "NXDOMAIN"), ("example.org", "A", "REFUSED"))
        port = str(server.port("dns"))
        tools = {"dig": (["dig", "@127.0.0.1", "-p", port, "+tries=1", "+timeout=10", "+norecurse"],
                         ("+noedns", "+nsid", "+cookie", "+subnet=192.0.2.0/24", "+padding=128", "+ednsopt=65001:00ff", "+dnssec", "+bufsize=512", "+tcp", "+tcp +keepalive", "+ignore +notcp")),
                 "kdig": (["kdig", "@127.0.0.1", "-p", port, "+retry=0", "+time=10", "+norec"],
                          ("+noedns", "+nsid", "+cookie", "+subnet=192.0.2.0/24", "+padding=128", "+dnssec", "+bufsize=512", "+tcp", "+tcp +keepopen"))}
        missing = [tool for tool in (*tools, "drill") if not shutil.which(tool)]
        if missing:
            raise Skip(", ".join(missing) + " not installed")

        def ask(tool, options, asked):
            owner, kind, code = asked
            done = subprocess.run([*tools[tool][0], *options.split(), owner, kind], capture_output=True, text=True, timeout=LIMIT)
            said = done.stdout + done.stderr
            cut = "+ignore" in options or owner == endpoint  # it says that it takes TCP then
            assert done.returncode == 0 and re.search("status: " + code, said), (tool, options, asked, said)
            assert not COMPLAINT.search(said.replace(";; Truncated, retrying in TCP mode.", "") if cut else said), (tool, options, asked, said)
            if asked == names[6] and "+ignore" not in options:
                assert said.count("addr=192.0.2.1:") == 8, said
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(ask, tool, options, asked) for tool in tools for options in tools[tool][1] for asked in names]:
                done.result()
        for owner, kind, code in names:
            for way in ("-u", "-t"):
                done = subprocess.run(["drill", "-p", port, "-o", "rd", way, owner, "@127.0.0.1", kind], capture_output=True, text=True, timeout=LIMIT)
                assert done.returncode == 0 and "rcode: " + code in done.stdout and not COMPLAINT.search(done.stdout + done.stderr), (way, owner, kind, done.stdout, done.stderr)


@test
def dnsviz_finds_nothing_wrong(home):
    if not shutil.which("dnsviz"):
        raise Skip("dnsviz is not installed")
    with Dns(home) as server:
        hint = "dns.test+:ns1.dns.test=127.0.0.1:%d,ns2.dns.test=127.0.0.1:%d" % (server.port("dns"), server.port("dns"))
        probe = subprocess.run(["dnsviz", "probe", "-4", "-A", "-x", hint, "-o", home + "/probe.json", "dns.test"], capture_output=True, text=True, timeout=120)
        assert probe.returncode == 0, probe.stderr
        found = subprocess.run(["dnsviz", "grok", "-l", "warning", "-r", home + "/probe.json"], capture_output=True, text=True, timeout=60)
        assert found.returncode == 0 and found.stdout.strip() in ("", "{}"), found.stdout
        all_of_it = json.loads(subprocess.run(["dnsviz", "grok", "-l", "info", "-r", home + "/probe.json"], capture_output=True, text=True, timeout=60).stdout)
        queries = all_of_it["dns.test."]["queries"]
        print("# %d kinds of queries, none with an error or a warning" % len(queries))
        assert "dns.test./IN/SOA" in queries and "answer" in queries["dns.test./IN/SOA"], queries


@test
def zonemaster_finds_nothing_wrong(home):
    """In a network of its own, where the server has port 53 of an address as the internet has them."""
    if not shutil.which("zonemaster-cli") or not shutil.which("ip"):
        raise Skip("zonemaster-cli is not installed")
    own = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])
    if not shutil.which("unshare") or subprocess.run([*own, "ip", "link", "set", "lo", "up"], capture_output=True).returncode != 0:
        raise Skip("no namespaces can be made here")
    with open(home + "/zone.toml", "w") as file:
        file.write('data_dir = "%s/zone"\nhttp.port = 8080\nhttp.bind_addr = "127.0.0.1"\ndns.port = 53\ndns.bind_addr = "0.0.0.0"\nmetrics.disabled = true\ndns.origins = ["dns.test."]\n'
                   'dns.rr_a = "9.1.2.3"\ndns.rr_ns = ["ns1.dns.test.", "ns2.dns.test."]\ndns.default_ttl = 300\ndns.default_soa = "%s"\n' % (home, SOA))
    modules = ("basic", "nameserver", "syntax", "consistency", "zone", "address")
    script = ('ip link set lo up; ip addr add 9.1.2.3/32 dev lo; "$1" -c "$2" 2>"$3" & server=$!; until grep -q "answers below" "$3" 2>/dev/null; do sleep 0.05; kill -0 $server || exit 9; done; '
              'for module in %s; do echo "module $module"; zonemaster-cli --no-ipv6 --show_testcase --level NOTICE --no-progress --test $module '
              '--ns ns1.dns.test/9.1.2.3 --ns ns2.dns.test/9.1.2.3 dns.test 2>&1; done; kill $server; wait $server' % " ".join(modules))
    done = subprocess.run([*own, "sh", "-c", script, "sh", Dns.program, home + "/zone.toml", home + "/zone.log"], capture_output=True, text=True, timeout=120)
    assert done.stdout.count("module ") == len(modules) and done.stdout.count("Seconds Level") == len(modules), done.stdout + done.stderr
    found = re.findall(r"^ *[\d.]+ +(NOTICE|WARNING|ERROR|CRITICAL) +(\w+) +(.*)$", done.stdout, re.M)
    # What no server of names could have here: an address with a name, and mail.
    expected = {"ADDRESS02", "ADDRESS03", "ZONE09", "ZONE11"}
    print("# Zonemaster: %s" % ("; ".join("%s %s" % (level, case) for level, case, _ in found) or "nothing"))
    assert not [one for one in found if one[1].upper() not in expected], found


if __name__ == "__main__":
    if SODIUM is None:
        print("ok 1 - conformance of kith-dns # SKIP no libsodium for signatures\n1..1")
        sys.exit(0)
    sys.exit(main())
