#!/usr/bin/env python3
"""kith-dns beside the real iroh-dns-server 1.4.1, with one configuration: the same packets are put to both, the same is asked of both, and every field of
the answers is compared. Where they differ on purpose stands here, with what spec/03 says about it; a difference that is not listed is a failure, and so is
one that is listed and gone. TAP lines."""
import base64, http.client, json, os, socket, struct, sys, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "programs"))
import lookups
from peers import Tap
from raw_relay import SODIUM, Key
from relays import free_port
from signed_packets import name, payload, texts, z32

KINDS = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "TXT": 16, "AAAA": 28, "ANY": 255}
ORIGIN = ("dns", "iroh", "link")

# Why ours is another one: reason -> {what is asked: fields}. Fields: see Message.fields, http_fields, doh_fields.
NEGATIVE = ["another type", "a name that is not there", "the name above the record", "no record", "a key that nobody put", "no key", "AAAA of the zone", "TXT of the zone"]
REASONS = {
    "a PUT that changes nothing because a newer packet is there is no success: 409, and the newer one's time (spec/03, 6 and 9.3)": {"PUT of an older packet": ["body", "status", "type"]},
    "answers that may be kept say for how long": {"GET of a packet": ["caching"]},
    "what went wrong is said, in words of our own": {
        title: ["body"] for title in ("GET of a key that nobody put", "GET of no key", "PUT to no key", "PUT of what is no packet", "PUT with another one's signature")},
    "too large is 413, before it is read": {"PUT of too much": ["body", "status"]},
    "every error has a body": {"DELETE": ["body", "type"], "GET of another path": ["body", "type"]},
    "a name that is there, or has names below it, is NODATA and not NXDOMAIN (a defect of 9.2; RFC 2308, 2.2; RFC 8020)": {"another type": ["rcode"], "the name above the record": ["rcode"]},
    "default_ttl is what static records have, SOA too; the reference reads it and ignores it (9.1), and lets nobody's absence be kept for 14 days": {
        **{title: ["authority's TTLs"] for title in NEGATIVE}, "SOA of the zone": ["TTLs"], "NS of the zone": ["TTLs"], "A of the zone": ["TTLs"]},
    "ANY has a small answer: RFC 8482": {"ANY of the record": ["TTLs", "answers", "authority", "authority's TTLs", "rcode"]},
    "an answer with the SOA needs no other records": {"SOA of the zone": ["authority", "authority's TTLs"]},
    "name servers in the zone have addresses: RFC 1034, 4.2.1": {"NS of the zone": ["additional"], "A of a name server": ["TTLs", "answers", "authority", "authority's TTLs", "rcode"]},
    "an SOA is where the zone begins, not below it": {"SOA below the zone": ["TTLs", "answers", "authority", "authority's TTLs"]},
    "with the root as an origin, other people's zones are still not ours": {"another zone": ["authoritative", "authority", "authority's TTLs", "rcode"]},
    "owners are spelled as they were asked for, which protects resolvers that vary it (0x20)": {"in capitals": ["answers"]},
    "of an operation that is not known, the rest is not read": {title: ["questions"] for title in ("NOTIFY", "UPDATE", "STATUS")},
}
EXPECTED = {(title, field) for titles in REASONS.values() for title, fields in titles.items() for field in fields}


class Message:
    """A DNS answer, taken apart."""

    def __init__(self, data):
        self.data = data
        self.number, self.flags, *counts = struct.unpack(">HHHHHH", data[:12])
        at = 12
        self.questions = []
        for _ in range(counts[0]):
            owner, at = self.name(at)
            self.questions.append((owner, *struct.unpack(">HH", data[at:at + 4])))
            at += 4
        self.sections = []
        for count in counts[1:]:
            section = []
            for _ in range(count):
                owner, at = self.name(at)
                kind, qclass, ttl, size = struct.unpack(">HHIH", data[at:at + 10])
                section.append((owner, kind, qclass, ttl, self.content(kind, at + 10, size)))
                at += 10 + size
            self.sections.append(section)
        assert at == len(data), "bytes behind the message"

    def name(self, at):
        labels, end = [], None
        while self.data[at] != 0:
            if self.data[at] >= 0xC0:
                end = end or at + 2
                at = (self.data[at] & 0x3F) << 8 | self.data[at + 1]
                continue
            labels.append(self.data[at + 1:at + 1 + self.data[at]].decode("latin-1"))
            at += 1 + self.data[at]
        return ".".join(labels) + ".", end or at + 1

    def content(self, kind, at, size):
        if kind in (KINDS["NS"], KINDS["CNAME"]):
            return self.name(at)[0]
        if kind == KINDS["SOA"]:
            first, at = self.name(at)
            second, at = self.name(at)
            return (first, second, *struct.unpack(">IIIII", self.data[at:at + 20]))
        return self.data[at:at + size]

    def fields(self):
        """What is compared. OPT stands apart: which sizes a server offers is its own business."""
        answer, authority, additional = [sorted(section, key=repr) for section in self.sections]
        return {"rcode": self.flags & 15, "authoritative": bool(self.flags & 0x400), "truncated": bool(self.flags & 0x200), "recursion": self.flags >> 7 & 3, "questions": self.questions,
                "answers": [record[:3] + record[4:] for record in answer], "TTLs": [record[3] for record in answer],
                "authority": [record[:3] + record[4:] for record in authority], "authority's TTLs": [record[3] for record in authority],
                "additional": [record for record in additional if record[1] != 41], "EDNS": any(record[1] == 41 for record in additional)}


def question(labels, kind, flags=0, edns=False):
    return (struct.pack(">HHHHHH", 7, flags, 1, 0, 0, edns) + name(*labels) + struct.pack(">HH", KINDS[kind], 1) + (b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0) if edns else b""))


class Side:
    """One of the two servers."""

    def __init__(self, program):
        self.server = lookups.LookupServer(program, http_port=free_port(), dns_port=free_port(socket.SOCK_DGRAM))

    def dns(self, message, tcp):
        got = lookups.ask(message, self.server.dns_port, tcp)
        return Message(got).fields() if got else {"rcode": "no answer"}

    def http(self, method, path, body=None, headers={}):
        connection = http.client.HTTPConnection("127.0.0.1", self.server.http_port, timeout=10)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.headers.items()}, answer.read()
        finally:
            connection.close()


def http_fields(answer):
    status, headers, body = answer
    return {"status": status, "type": headers.get("content-type"), "caching": headers.get("cache-control"), "CORS": headers.get("access-control-allow-origin"), "body": body}


def doh_fields(answer):
    fields = http_fields(answer)
    body = fields.pop("body")
    if fields["type"] == "application/dns-message" and fields["status"] == 200:
        fields.update(Message(body).fields())
    elif fields["type"] == "application/dns-json":
        fields["json"] = json.loads(body)
    return fields


def dns_cases(key, bare):
    """(title, message)"""
    owner, empty = ("_iroh", z32(key.public), *ORIGIN), ("_iroh", z32(bare.public), *ORIGIN)
    for title, labels, kind in (("the record", owner, "TXT"), ("the record below the root", owner[:2], "TXT"), ("another type", owner, "A"), ("ANY of the record", owner, "ANY"),
                                ("a name that is not there", ("x", *owner[1:]), "TXT"), ("the name above the record", owner[1:], "TXT"), ("no record", empty, "TXT"),
                                ("a key that nobody put", ("_iroh", z32(Key().public), *ORIGIN), "TXT"), ("no key", ("_iroh", "nokey", *ORIGIN), "TXT"),
                                ("SOA of the zone", ORIGIN, "SOA"), ("NS of the zone", ORIGIN, "NS"), ("A of the zone", ORIGIN, "A"), ("AAAA of the zone", ORIGIN, "AAAA"), ("TXT of the zone", ORIGIN, "TXT"),
                                ("SOA below the zone", owner, "SOA"), ("another zone", ("example", "org"), "A"), ("A of a name server", ("ns1", *ORIGIN), "A")):
        yield title, question(labels, kind)
    yield "in capitals", question(tuple(label.upper() for label in owner), "TXT")
    yield "with EDNS", question(owner, "TXT", edns=True)
    yield "recursion desired", question(owner, "TXT", flags=0x0100)
    yield "NOTIFY", question(ORIGIN, "SOA", flags=4 << 11)
    yield "UPDATE", question(ORIGIN, "SOA", flags=5 << 11)
    yield "STATUS", question(ORIGIN, "SOA", flags=2 << 11)


def differences(ours, theirs):
    return {field: (ours.get(field), theirs.get(field)) for field in sorted(set(ours) | set(theirs)) if ours.get(field) != theirs.get(field)}


def judge(tap, title, ours, theirs, seen):
    """Every difference must be listed."""
    found, asked = differences(ours, theirs), title.partition(" over ")[0]
    seen.update((asked, field) for field in found)
    unknown = {field: found[field] for field in found if (asked, field) not in EXPECTED}
    tap.report(not unknown, "%s: %s" % (title, "the same" if not found else "differs on purpose in " + ", ".join(found)), "not on purpose; kith, iroh: %r" % unknown)


def compare(tap, kith, iroh):
    key, bare, now = Key(), Key(), time.time_ns() // 1000
    seen = set()
    packets = (("a packet", key, ["relay=https://relay.test/", "addr=192.0.2.1:7"], now), ("a packet again", key, ["relay=https://relay.test/", "addr=192.0.2.1:7"], now),
               ("an older packet", key, ["relay=https://old.test/"], now - 1000000), ("a packet without records", bare, [], now))
    for title, owner, values, at in packets:
        body = payload(owner, texts(owner, *values), at)
        judge(tap, "PUT of " + title, *[http_fields(side.http("PUT", "/pkarr/" + z32(owner.public), body)) for side in (kith, iroh)], seen)
    wait_for(iroh, key)
    for title, method, path, body, headers in (
            ("GET of a packet", "GET", "/pkarr/" + z32(key.public), None, {}), ("GET of a key that nobody put", "GET", "/pkarr/" + z32(Key().public), None, {}), ("GET of no key", "GET", "/pkarr/nokey", None, {}),
            ("PUT to no key", "PUT", "/pkarr/nokey", b"x", {}), ("PUT of what is no packet", "PUT", "/pkarr/" + z32(key.public), bytes(100), {}),
            ("PUT with another one's signature", "PUT", "/pkarr/" + z32(bare.public), payload(key, texts(key, "relay=https://a.test/")), {}),
            ("PUT of too much", "PUT", "/pkarr/" + z32(key.public), bytes(1100), {}), ("DELETE", "DELETE", "/pkarr/" + z32(key.public), None, {}),
            ("GET of another path", "GET", "/nothing", None, {}), ("GET of the health check", "GET", "/healthcheck", None, {})):
        judge(tap, title, *[http_fields(side.http(method, path, body, headers)) for side in (kith, iroh)], seen)
    for title, message in dns_cases(key, bare):
        for tcp in (False, True):
            judge(tap, title + (" over TCP" if tcp else " over UDP"), *[side.dns(message, tcp) for side in (kith, iroh)], seen)
    over_https(tap, key, kith, iroh, seen)
    gone = EXPECTED - seen
    tap.report(not gone, "every difference that is listed is there", repr(gone))


def over_https(tap, key, kith, iroh, seen):
    owner = ("_iroh", z32(key.public), *ORIGIN)
    message = question(owner, "TXT")
    encoded = base64.urlsafe_b64encode(message).decode().rstrip("=")
    dotted = ".".join(owner)
    for title, method, path, body, headers in (
            ("DoH by GET", "GET", "/dns-query?dns=" + encoded, None, {"accept": "application/dns-message"}), ("DoH by POST", "POST", "/dns-query", message, {"content-type": "application/dns-message"}),
            ("DoH as JSON", "GET", "/dns-query?name=%s&type=TXT" % dotted, None, {"accept": "application/dns-json"}), ("DoH as JSON, by number", "GET", "/dns-query?name=%s&type=16" % dotted, None, {"accept": "application/dns-json"}),
            ("DoH with a message that is none", "GET", "/dns-query?dns=AAAA", None, {"accept": "application/dns-message"}), ("DoH without a question", "GET", "/dns-query", None, {"accept": "application/dns-message"}),
            ("DoH as something else", "GET", "/dns-query?dns=" + encoded, None, {"accept": "text/html"})):
        judge(tap, title, *[doh_fields(side.http(method, path, body, headers)) for side in (kith, iroh)], seen)


def wait_for(side, key):
    """The reference answers a PUT before it has the packet."""
    until = time.monotonic() + 10
    while side.http("GET", "/pkarr/" + z32(key.public))[0] != 200:
        assert time.monotonic() < until, "the packet never comes"
        time.sleep(0.02)


def main():
    tap = Tap()
    programs, missing = lookups.find_servers()
    if SODIUM is None:
        missing["all"] = "no libsodium for signatures"
    for server, why in missing.items():
        tap.skip("kith-dns beside " + server, why)
    if not missing:
        sides = [Side(programs[server]) for server in ("kith-dns", "iroh-dns-server")]
        try:
            compare(tap, *sides)
        finally:
            for side in sides:
                side.server.stop()
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
