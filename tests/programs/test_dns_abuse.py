#!/usr/bin/env python3
"""What a lookup server does with those who mean it ill: who floods is held to its limits, memory and answers stay bounded, and the others are served
all the while. Abusers come from 127.0.0.2, honest ones from 127.0.0.1. TAP lines; what is measured is told in comments.

KITH_ABUSE_KEYS: how many keys one client brings, 3000 by default. Arguments: words of test names; none: all."""
# Runs alone: who floods takes all the CPU there is, and what the others get is judged.
import random

from asking import Lookups
from raw_relay import allow_descriptors
from servers import *
from signed_packets import SODIUM, Key, name, payload, texts, z32

ABUSER, HONEST = "127.0.0.2", "127.0.0.1"
TXT, ANY = 16, 255


class Dns(Lookups, Server):
    """A lookup server with one worker, so that abusers and honest ones share all there is."""

    program, prefix = os.path.join(os.path.dirname(KITH), "kith-dns"), "dns_server"

    def __init__(self, home, config=""):
        self.fixed = ('workers = 1\ndata_dir = "%s/data"\nhttp.port = 0\nhttp.bind_addr = "127.0.0.1"\ndns.port = 0\ndns.bind_addr = "127.0.0.1"\n'
                      'dns.origins = ["dns.test.", "."]\ndns.rr_a = "192.0.2.1"\ndns.rr_aaaa = "2001:db8::1"\nmetrics.bind_addr = "127.0.0.1:0"\n' % home)
        super().__init__(home, config=config)

    def connect(self, kind="http", source=ABUSER):
        return socket.create_connection(("127.0.0.1", self.port(kind)), timeout=LIMIT, source_address=(source, 0))

    def udp(self, source=HONEST, limit=2):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((source, 0))
        sock.settimeout(limit)
        sock.connect(("127.0.0.1", self.port("dns")))
        return sock

    def memory(self):
        with open("/proc/%d/status" % self.process.pid) as file:
            return int(re.search(r"RssAnon:\s+(\d+) kB", file.read()).group(1)) * 1024


def check_growth(grown, limit):
    """A sanitizer keeps what was freed, and shadows of it: there it is not the server's memory that is seen."""
    assert grown < limit or sanitized(), "memory grew by %d KiB" % (grown // 1024)


class Honest:
    """One who puts and asks, as often as `serve` is called; counts what it got."""

    def __init__(self, server, can_put=True):
        self.server, self.can_put, self.asked, self.served = server, can_put, 0, 0
        self.key, self.udp = Key(), server.udp()
        assert server.put(self.key, "relay=https://honest.test/") == 204

    def ask(self):
        """A resolver's three tries: a flood may push a datagram out of the socket's buffer."""
        question = query(self.key)
        for _ in range(3):
            self.udp.send(question)
            try:
                while (answer := self.udp.recv(4096))[:2] != question[:2]:
                    pass
                return b"honest.test" in answer
            except TimeoutError:
                continue
        return False

    def serve(self):
        self.asked += 1
        self.served += self.ask() and (not self.can_put or self.server.put(self.key, "relay=https://honest.test/") == 204)

    def check(self, least=1):
        self.udp.close()
        assert self.asked >= least and self.served == self.asked, "an honest one was served %d times of %d" % (self.served, self.asked)


def query(key, kind=TXT, edns=None, owner="_iroh", flags=0):
    return (struct.pack(">HHHHHH", random.getrandbits(16), flags, 1, 0, 0, edns is not None) + name(owner, z32(key.public), "dns", "test") + struct.pack(">HH", kind, 1) +
            (b"\0" + struct.pack(">HHIH", 41, edns, 0, 0) if edns is not None else b""))


def put_text(key, body, *headers):
    return ("PUT /pkarr/%s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n" % (z32(key.public), "".join(line + "\r\n" for line in headers), len(body))).encode() + body


class Answers:
    """Answers without bodies that matter, one after the other, from one connection."""

    def __init__(self, sock):
        self.sock, self.file = sock, sock.makefile("rb")

    def next(self):
        line, size = self.file.readline(), 0
        if not line:
            return None
        while (header := self.file.readline()) not in (b"\r\n", b""):
            if header.lower().startswith(b"content-length:"):
                size = int(header.split(b":")[1])
        self.file.read(size)
        return int(line.split()[1])


def flood_keys(server, count, honest):
    """Puts of so many keys, 50 under way at once. How often each status came."""
    seen = {}
    with server.connect() as sock:
        answers = Answers(sock)
        for at in range(0, count, 50):
            keys = [Key(hashlib.sha256(b"%d" % number).digest()) for number in range(at, min(at + 50, count))]
            sock.sendall(b"".join(put_text(key, payload(key, texts(key, "relay=https://flood.test/"))) for key in keys))
            for _ in keys:
                status = answers.next()
                seen[status] = seen.get(status, 0) + 1
            if at % 500 == 0:
                honest.serve()
    return seen


@test
def a_client_with_keys_without_end_gets_no_further_than_its_limits(home):
    count = int(os.environ.get("KITH_ABUSE_KEYS", 3000))
    for config, taken, limited in (("limits.put_rate = 0.0001\nlimits.put_burst = 20", 20, "puts_limited"),
                                   ("limits.put_rate = 1e6\nlimits.key_rate = 0.0001\nlimits.key_burst = 30", 30, "puts_keys_limited")):
        with Dns(home, config) as server:
            honest = Honest(server, can_put="put_rate = 1e6" in config)
            before = server.memory()
            seen = flood_keys(server, count, honest)
            grown = server.memory() - before
            print("# %d keys: %s, memory grown by %d KiB" % (count, seen, grown // 1024))
            assert seen == {204: taken, 429: count - taken}, seen
            assert server.metric(limited + "_total") == count - taken
            check_growth(grown, 4 << 20)
            honest.check(count // 500)
        shutil.rmtree(home + "/data")


@test
def answers_over_udp_are_bounded_for_every_question(home):
    full = Key()
    message = texts(full, *["addr=192.0.2.1:%d" % port for port in range(10000, 10007)] + ["user-data=" + "x" * 200])
    assert 900 < len(message) <= 1000, len(message)
    with Dns(home, 'pkarr_put_rate_limit = "disabled"') as server, server.udp() as udp:
        assert server.open("/pkarr/" + z32(full.public), payload(full, message))[0] == 204
        worst, answered = {}, 0
        for edns in (None, 0, 512, 1232, 4096, 65535):
            room = 512 if edns is None else min(max(edns, 512), 1232)
            for owner in ("_iroh", "other"):
                for kind in range(1, 258):
                    asked = query(full, kind, edns, owner)
                    udp.send(asked)
                    got = udp.recv(65535)
                    assert got[:2] == asked[:2] and len(got) <= room, (kind, edns, len(got))
                    if got[2] & 2:  # truncated: nothing but the question, and EDNS
                        assert len(got) <= len(asked), (kind, edns, len(got), len(asked))
                    if kind == ANY:
                        assert len(got) < 2 * len(asked), (edns, len(got), len(asked))
                    worst[edns] = max(worst.get(edns, (0, 0)), (len(got) / len(asked), kind))
                    answered += 1
        print("# answer/question, at most: %s" % ", ".join("EDNS %s: %.1f (type %d)" % (edns, *worst[edns]) for edns in worst))
        assert worst[None][0] < 3 and answered == 6 * 2 * 257
        asked = query(full)
        udp.send(asked)
        assert udp.recv(4096)[2] & 2, "the whole record does not fit in 512 bytes"
        with server.connect("dns") as tcp:
            tcp.sendall(struct.pack(">H", len(asked)) + asked)
            file = tcp.makefile("rb")
            got = file.read(int.from_bytes(file.read(2), "big"))
        assert got.count(b"addr=192.0.2.1:") == 7 and not got[2] & 2, got


def loops(key):
    """Queries whose names point at themselves, at each other, forward, out, or go on for ever."""
    def ask(qname, counts=(1, 0, 0, 0), rest=b""):
        return struct.pack(">HHHHHH", random.getrandbits(16), 0, *counts) + qname + struct.pack(">HH", TXT, 1) + rest
    yield from (ask(b"\xc0\x0c"), ask(b"\xc0\x0d\0"), ask(b"\1a\xc0\x0c"), ask(b"\xc0\x0e\xc0\x0c"), ask(b"\xc0\x00"), ask(b"\xff\xff"), ask(b"\xc0\x20"))
    yield ask(b"".join(struct.pack(">H", 0xc000 + 12 + 2 * n) for n in range(1, 200)) + b"\0")
    yield ask(b"".join(struct.pack(">H", 0xc000 + 12 + 2 * max(0, n - 1)) for n in range(200)))
    yield ask(b"\1a" * 300 + b"\0")
    yield ask(b"\x3f" + b"b" * 63 + b"\xc0\x0c")
    yield ask(b"\x40abc\0")
    yield ask(b"\x80abc\0")
    yield ask(name("a"), (65535, 0, 0, 0))
    yield ask(name("a"), (1, 65535, 65535, 65535))
    yield ask(name("a"), (1, 0, 0, 40), b"".join(b"\xc0" + bytes([12 + 2 * n % 30]) + struct.pack(">HHIH", 1, 1, 0, 0) for n in range(40)))
    yield ask(name("a"), (1, 0, 0, 2), (b"\0" + struct.pack(">HHIH", 41, 4096, 0, 0)) * 2)
    yield query(key)[:-3]
    yield b"\0" * 11
    yield b""


@test
def names_that_loop_cost_an_error_at_most(home):
    with Dns(home) as server, server.udp(ABUSER, limit=10) as udp:
        honest = Honest(server, can_put=False)
        sent = 0
        for _ in range(20):
            for message in loops(honest.key):
                udp.send(message)
                sent += 1
                udp.send(asked := query(honest.key))  # in order behind it, so that its answer ends the wait for the other's
                while (got := udp.recv(4096))[:2] != asked[:2]:
                    assert got[:2] == message[:2] and got[3] & 15 in (1, 5), got
                    assert len(got) <= max(len(message), 512)
                assert got[3] & 15 == 0 and b"honest.test" in got
            honest.serve()
        with server.connect("dns") as tcp:
            for message in loops(honest.key):
                tcp.sendall(struct.pack(">H", len(message)) + message)
            tcp.sendall(struct.pack(">H", len(asked)) + asked)
            tcp.shutdown(socket.SHUT_WR)
            read_all(tcp)
        print("# %d such queries, %d not answered" % (sent, server.metric("dns_ignored_total")))
        honest.check(20)


@test
def a_flood_of_queries_leaves_room_for_others(home):
    with Dns(home) as server, server.udp(ABUSER) as udp:
        honest = Honest(server, can_put=False)
        for _ in range(100):
            for _ in range(200):
                udp.send(query(honest.key))
            honest.serve()
        honest.check(100)
        assert server.metric("dns_requests_udp_total") > 1000


@test
def connections_and_half_requests_without_end_are_closed_and_others_served(home):
    allow_descriptors(4096)
    with Dns(home, "limits.tcp_connections_per_ip = 40\nlimits.http_seconds = 3\nlimits.put_rate = 1e6") as server:
        honest, before = Honest(server), server.memory()
        opened = []
        for kind, each, half in (("dns", 100, b"\0"), ("dns", 100, b"\0\x40\0\0"), ("http", 600, b"PUT /pkarr/x HTTP/1.1\r\nHo"),
                                 ("http", 600, b"PUT /pkarr/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nx" % z32(honest.key.public).encode())):
            for number in range(each):
                sock = server.connect(kind)
                sock.sendall(half)
                opened.append((kind, sock))
                if number % 50 == 0:
                    honest.serve()
        grown = server.memory() - before
        assert server.wait_metric("tcp_refused_total", 160) == 160
        print("# %d connections with half requests: %d KiB" % (len(opened), grown // 1024))
        check_growth(grown, 16 << 20)
        drips = [sock for kind, sock in opened if kind == "http"][-20:]
        ended = 0
        while ended < len(drips):  # slowly, byte by byte: that does not make the time longer
            ended = 0
            for sock in drips:
                try:
                    sock.sendall(b"x")
                except OSError:
                    ended += 1
            honest.serve()
        for _, sock in opened:
            try:
                read_all(sock)  # its end
            except OSError:
                pass
            sock.close()
        with server.connect() as sock:  # and there is room for new ones
            sock.sendall(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n")
            assert Answers(sock).next() == 200
        honest.check(28)


@test
def bodies_and_heads_that_are_too_large_are_refused_before_they_are_there(home):
    with Dns(home, "limits.put_rate = 1e6") as server:
        honest, before, path = Honest(server), server.memory(), b"PUT /pkarr/%s HTTP/1.1\r\nHost: x\r\n" % z32(Key().public).encode()
        for text, status in ((path + b"Content-Length: 1000000000000\r\n\r\n", 413), (path + b"Content-Length: 65537\r\n\r\n", 413),
                             (path + b"Content-Length: 1073\r\n\r\n" + bytes(1073), 413), (path + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
                             (path + b"Content-Length: -1\r\n\r\n", 400), (path + b"Content-Length: 80\r\nContent-Length: 81\r\n\r\n", 400),
                             (path + b"Transfer-Encoding: chunked\r\n\r\n" + b"fff\r\n" + bytes(4095) + b"\r\n", 413),
                             (path + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 400), (path + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400),
                             (path + b"X: " + b"y" * 100000, 431), (b"PUT /" + b"p" * 100000, 431), (path + b"A: b\r\n" * 9999, 431)):
            with server.connect() as sock:
                rest = text
                try:
                    while rest:
                        rest = rest[sock.send(rest[:4096]):]
                    if b"chunked\r\n\r\nfff\r" in text:
                        for _ in range(40):
                            sock.sendall(b"fff\r\n" + bytes(4095) + b"\r\n")
                except OSError:
                    pass  # it has had enough
                try:
                    got = Answers(sock).next()
                except OSError:
                    got = None  # the answer went under with what was still being sent
                assert got == status or (got is None and len(text) > 50000) or (got in (400, 413) and status in (400, 413)), (text[-40:], got, status)
            honest.serve()
        with server.connect() as sock:  # requests without end, whose answers nobody takes
            sent = 0
            sock.setblocking(False)
            try:
                while sent < 64 << 20:
                    sent += sock.send(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            except OSError:
                pass
            honest.serve()
            print("# %d KiB of requests were taken from one who takes no answers" % (sent // 1024))
        check_growth(server.memory() - before, 4 << 20)
        honest.check()


@test
def who_names_other_addresses_is_counted_by_its_own(home):
    rules = "limits.put_rate = 0.0001\nlimits.put_burst = 5\nlimits.key_burst = 1000\n"

    def flood(server, *headers):
        with server.connect() as sock:
            answers = Answers(sock)
            for header in headers:
                key = Key()
                sock.sendall(put_text(key, payload(key, texts(key)), *header))
            return [answers.next() for _ in headers]
    held = [204] * 5 + [429] * 25
    fakes = [("X-Forwarded-For: 198.51.100.%d" % number,) for number in range(30)]
    with Dns(home, rules) as server:
        assert flood(server, *fakes) == held
    with Dns(home, rules + 'pkarr_put_rate_limit = "smart"\nlimits.trusted_proxies = ["10.0.0.0/8"]') as server:
        assert flood(server, *fakes) == held, "this is no proxy that is trusted"
    with Dns(home, rules + 'pkarr_put_rate_limit = "smart"') as server:
        for number, form in enumerate(("X-Forwarded-For: %s, 203.0.113.%d", "X-Forwarded-For: %s\r\nX-Forwarded-For: 203.0.113.%d", "Forwarded: for=%s, for=203.0.113.%d")):
            assert flood(server, *[(form % ("198.51.100.%d" % fake, number),) for fake in range(30)]) == held, form
        junk = ("", ",,,", "unknown", "198.51.100.1.9", "x" * 5000, "1," * 2000, "[", "for=", "\xff\xfe", "::ffff:1.2.3.4.5")
        assert flood(server, *[("X-Forwarded-For: " + junk[number % len(junk)],) for number in range(30)]) == held, "who is behind such a thing is the proxy"
        assert flood(server, *[("Forwarded: " + junk[number % len(junk)],) for number in range(30)]) == [429] * 30


if __name__ == "__main__":
    if SODIUM is None:
        print("ok 1 - abuse of kith-dns # SKIP no libsodium for signatures\n1..1")
        sys.exit(0)
    sys.exit(main())
