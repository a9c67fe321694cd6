#!/usr/bin/env python3
"""The engine against Debian's ngtcp2 (packages ngtcp2-client and ngtcp2-server), both ways round. Prints TAP lines.

ngtcp2 knows X.509 only and speaks HTTP/3, so kith is the program `plain` here (plain.c): X.509, and requests and responses whose
header fields never change. What cannot be asked of these programs: raw public keys, datagrams, unidirectional streams with
content of ours, unknown versions from kith's client (kith has one version: a middle man gives its packet another), key updates begun
by ngtcp2's server, client certificates that are optional, priorities, a stateless reset from ngtcp2 (its server draws new keys when it
starts, so a new one cannot reset the connections of the old one).
"""
import filecmp, os, shutil, signal, socket, subprocess, sys, tempfile, threading, time

from peers import BIN, HERE, Process, Tap
from relays import free_port

PLAIN = os.path.join(BIN, "plain")
CERT, KEY, OTHER = (os.path.join(HERE, "x509", name) for name in ("cert.pem", "key.pem", "other.pem"))
BIG, SMALL = 5000000, 100000


RESERVED, VERSION_1 = bytes.fromhex("1a2a3a4a"), bytes.fromhex("00000001")


class Middle:
    """Stands between a client and a server on loopback and gives the client's first datagram a version that nobody speaks; so
    the server answers with Version Negotiation. from_server, if given, may change what goes back."""

    def __init__(self, server_port, from_server=lambda datagram: datagram):
        self.server, self.from_server = ("127.0.0.1", server_port), from_server
        self.outside, self.inside = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.outside.bind(("127.0.0.1", 0))
        self.inside.connect(self.server)
        self.port, self.client, self.answers = self.outside.getsockname()[1], None, []
        for work in (self._to_server, self._to_client):
            threading.Thread(target=work, daemon=True).start()

    def _to_server(self):
        while True:
            datagram, client = self.outside.recvfrom(65536)
            if self.client is None:
                datagram = datagram[:1] + RESERVED + datagram[5:]
            self.client = client
            self.inside.send(datagram)

    def _to_client(self):
        while True:
            try:
                datagram = self.from_server(self.inside.recv(65536))
            except OSError: # nobody listens there any more
                continue
            if datagram[1:5] == bytes(4):
                self.answers.append(datagram)
            self.outside.sendto(datagram, self.client)


def without_version_1(datagram):
    """A Version Negotiation packet with another version in the place of version 1; anything else as it is."""
    if not datagram[0] & 0x80 or datagram[1:5] != bytes(4):
        return datagram
    at = 6 + datagram[5]
    at += 1 + datagram[at]
    listed = [datagram[i:i + 4] for i in range(at, len(datagram), 4)]
    return datagram[:at] + b"".join(RESERVED if version == VERSION_1 else version for version in listed)


def find(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def wait_bound(port, limit=10):
    """Waits until someone has the UDP port: ngtcp2's server does not say when it is ready."""
    wanted = ":%04X " % port
    end = time.monotonic() + limit
    while time.monotonic() < end:
        with open("/proc/net/udp") as table:
            if any(wanted in line for line in table):
                return
        time.sleep(0.02)


class Case:
    """A directory with a big and a small file, and what the programs said."""

    def __init__(self, tap):
        self.tap = tap
        self.directory = tempfile.TemporaryDirectory(prefix="kith-ngtcp2-")
        for name, size in (("big", BIG), ("small", SMALL)):
            with open(self.path(name), "wb") as file:
                file.write(os.urandom(size))

    def path(self, *names):
        return os.path.join(self.directory.name, *names)

    def fresh(self, name):
        shutil.rmtree(self.path(name), ignore_errors=True)
        os.mkdir(self.path(name))
        return self.path(name)

    def same(self, received, sent):
        return os.path.exists(received) and filecmp.cmp(received, self.path(sent), shallow=False)

    # kith serves

    def serve(self, *words, file="big"):
        server = Process([PLAIN, "server", "127.0.0.1:0", "--cert", CERT, "--key", KEY, "--file", self.path(file),
                          "--out", self.fresh("up"), *words])
        line = server.wait_line(lambda text: text.startswith("READY "))
        self.port = line.split()[1] if line else "0"
        return server

    def run_client(self, *words, limit=40, quiet=False):
        command = [find("gtlsclient"), "--no-quic-dump", "--no-http-dump", "--exit-on-all-streams-close",
                   "--download", self.fresh("down"), *(["-q"] if quiet else []), *words,
                   "127.0.0.1", self.port, "https://localhost/body"]
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=limit,
                                  stdin=subprocess.DEVNULL)
            return done.stdout
        except subprocess.TimeoutExpired as late:
            return "no end after %d s\n" % limit + (late.stdout or b"").decode(errors="replace")

    def client_case(self, name, words, server_words=(), file="big", says=(), client_says=(), upload=None, more=None, limit=40, close_may_be_lost=False):
        """One run of gtlsclient against a fresh kith. `says`: what kith must print; `client_says`: what the client must."""
        server = self.serve(*server_words, file=file)
        output = self.run_client(*words, *(["-d", self.path(upload)] if upload else []), limit=limit)
        # The client says goodbye once and is gone: under loss we may never hear it.
        wanted = [*([] if close_may_be_lost else ["CLOSED KITH_ERR_CLOSED_BY_PEER peer 0x100 application"]), *says]
        server.wait_line(lambda text: text.startswith("STATS "), 1 if close_may_be_lost else 5)
        server.end(signal.SIGTERM)
        said = server.output()
        problems = ["kith did not say: " + text for text in wanted if text not in said]
        problems += ["the client did not say: " + text for text in client_says if text not in output]
        if not self.same(self.path("down", "body"), file):
            problems.append("the client got another body")
        if upload and not self.same(self.path("up", "0"), upload):
            problems.append("kith got another body")
        if not problems and more:
            problems = more(said, output)
        self.tap.report(not problems, "ngtcp2 -> kith: " + name, "\n".join([*problems, said, output[-1500:]]))

    # ngtcp2 serves

    def serve_ngtcp2(self, *words):
        self.port = str(free_port(socket.SOCK_DGRAM))
        server = Process([find("gtlsserver"), "--no-quic-dump", "--no-http-dump", "-d", self.directory.name, *words,
                          "127.0.0.1", self.port, KEY, CERT])
        wait_bound(int(self.port))
        return server

    def run_plain(self, *words, name="localhost", trusted=CERT, file="big", limit=70):
        command = [PLAIN, "client", "127.0.0.1:" + self.port, "--name", name, "--ca", trusted, "--path", "/" + file,
                   "--out", self.fresh("down"), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired as late:
            return -1, "no end after %d s\n" % limit + (late.stdout or b"").decode(errors="replace")
        return done.returncode, done.stdout + done.stderr

    def server_case(self, name, server_words, words=(), file="big", count=1, says=(), server_says=(), **others):
        """One run of kith's client against a fresh gtlsserver."""
        server = self.serve_ngtcp2(*server_words)
        code, output = self.run_plain(*words, file=file, **others)
        server.end(signal.SIGTERM)
        said = server.output()
        problems = ["kith did not say: " + text for text in ["CLOSED KITH_ERR_CLOSED local 0x100", *says] if text not in output]
        problems += ["the server did not say: " + text for text in server_says if text not in said]
        problems += ["body %d is another" % i for i in range(count) if not self.same(self.path("down", str(i)), file)]
        if code != 0:
            problems.append("exit code %d" % code)
        self.tap.report(not problems, "kith -> ngtcp2: " + name, "\n".join([*problems, output, said[-1500:]]))


def stat(said, name):
    """The largest value of a counter in kith's STATS lines."""
    values = [0]
    for line in said.splitlines():
        words = line.split()
        if words[:1] == ["STATS"] and name in words:
            values.append(int(words[words.index(name) + 1]))
    return max(values)


def at_least(name, least):
    return lambda said, output: [] if stat(said, name) >= least else ["%s is %d" % (name, stat(said, name))]


def kith_serves(case):
    case.client_case("a body of 5 MB", [])
    case.client_case("an upload of 5 MB", [], file="small", upload="big")
    case.client_case("a window of 16 KiB", ["--max-data=16K", "--max-stream-data-bidi-local=16K", "--max-window=0",
                                            "--max-stream-window=0"])
    case.client_case("datagrams of 1200 bytes", ["--max-udp-payload-size=1200", "--no-pmtud"])
    case.client_case("an empty connection id", ["--scid="])
    for cipher in ("AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"):
        case.client_case(cipher, ["--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+" + cipher],
                         client_says=["Negotiated cipher suite is " + cipher])
    case.client_case("a key share of P-384", ["--groups=-GROUP-ALL:+GROUP-SECP384R1"])
    case.client_case("version negotiation", ["-v", "0x1a2a3a4a", "--preferred-versions=v1"], client_says=["type=VN"])
    case.client_case("Retry", [], ["--mode", "retry"], says=["INCOMING validated"], client_says=["type=Retry"])
    case.client_case("the client updates keys", ["--key-update=1ms"], more=at_least("key_updates", 1), client_says=["k=1"])
    case.client_case("the server updates keys", [], ["--key-update", "200"], more=at_least("key_updates", 5), client_says=["k=1"])
    case.client_case("loss of 5 % each way", ["-t", "0.05", "-r", "0.05"], close_may_be_lost=True)
    case.client_case("upload with loss of 5 % each way", ["-t", "0.05", "-r", "0.05"], file="small", upload="big",
                     close_may_be_lost=True)
    case.client_case("handshake with loss of 30 % each way", ["-t", "0.3", "-r", "0.3", "--handshake-timeout=30s"], file="small",
                     close_may_be_lost=True)
    case.client_case("the client migrates", ["--change-local-addr=1ms"], more=at_least("migrations", 1))
    # With a download the client would have nothing to send from its new address, and no one could find it there.
    case.client_case("the client's NAT rebinds", ["--change-local-addr=1ms", "--nat-rebinding"], file="small", upload="big",
                     more=at_least("migrations", 1))
    kith_serves_many(case)
    kith_resumes(case)
    kith_refuses(case)
    kith_restarts(case)


def kith_serves_many(case):
    server = case.serve(file="small")
    output = case.run_client("-n", "300")
    server.wait_line(lambda text: text.startswith("STATS "), 5)
    server.end(signal.SIGTERM)
    bodies = server.output().count("BODY 0")
    case.tap.report(bodies == 300 and output.count("closed with error code 256") + output.count("closed with error code 0") >= 300,
                    "ngtcp2 -> kith: 300 requests, 100 at a time", "%d requests\n" % bodies + output[-1500:])


def kith_resumes(case):
    files = ["--session-file=" + case.path("session"), "--tp-file=" + case.path("params"), "--token-file=" + case.path("token")]
    server = case.serve(file="small")
    case.run_client(*files)
    first = len(server.lines)
    output = case.run_client(*files)
    body = case.same(case.path("down", "body"), "small")
    server.wait_line(lambda text: text.startswith("STATS "), 5, first)
    server.end(signal.SIGTERM)
    said = server.output()
    case.tap.report(body and "CONNECTED h3 early" in said, "ngtcp2 -> kith: resumption with 0-RTT", said + output[-1500:])
    # The client of Debian 12 (0.12.1) writes a token file that it cannot read again: then only the frame is seen.
    proved = "INCOMING validated" in said or ("Could not read token in" in output and "NEW_TOKEN" in output)
    case.tap.report(proved, "ngtcp2 -> kith: a token of an earlier connection proves the address", said + output[-1500:])


def kith_restarts(case):
    """A kith that was killed and started again tells the client of the one before, which would wait for its idle timeout else."""
    first = case.serve("--instance", "same")
    port, client = case.port, Process([find("gtlsclient"), "--no-http-dump", "--exit-on-all-streams-close", "--timeout=60s",
                                       "--download", case.fresh("down"), "--delay-stream=3s", "127.0.0.1", case.port,
                                       "https://localhost/body"])
    connected = first.wait_line(lambda text: text.startswith("CONNECTED "), 10)
    first.end(signal.SIGKILL)
    second = Process([PLAIN, "server", "127.0.0.1:" + port, "--cert", CERT, "--key", KEY, "--instance", "same"])
    ready = second.wait_line(lambda text: text.startswith("READY "), 10)
    try:
        client.process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        pass
    ended = client.process.poll() is not None
    client.end(signal.SIGKILL)
    second.end(signal.SIGTERM)
    case.tap.report(connected and ready and ended and "RESETS 1" in second.output(), "ngtcp2 -> kith: a stateless reset after a restart",
                    "%s %s ended %s\n" % (connected, ready, ended) + second.output() + "\n" + client.output()[-1500:])


def kith_refuses(case):
    server = case.serve("--mode", "refuse")
    output = case.run_client()
    server.end(signal.SIGTERM)
    case.tap.report("CONNECTION_REFUSED" in output, "ngtcp2 -> kith: refused", output[-1500:])
    server = case.serve()
    output = case.run_client("--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-CCM")
    server.wait_line(lambda text: text.startswith("CLOSED "), 5)
    server.end(signal.SIGTERM)
    said = server.output()
    case.tap.report("CLOSED KITH_ERR_TLS local 0x128 transport" in said and "0x128" in output, "ngtcp2 -> kith: no cipher in common",
                    said + output[-1500:])


def ngtcp2_serves(case):
    case.server_case("a body of 5 MB", [])
    case.server_case("an upload of 1 MB through a window of 16 KiB", ["--max-data=16K", "--max-stream-data-bidi-remote=16K"],
                     ["--upload", case.path("megabyte")], file="small")
    case.server_case("300 requests, 100 at a time", [], ["--repeat", "300"], file="small", count=300)
    for cipher in ("AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"):
        case.server_case(cipher, ["--ciphers=NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+" + cipher], file="small")
    case.server_case("another key share is asked for", ["--groups=-GROUP-ALL:+GROUP-SECP384R1"], file="small")
    case.server_case("Retry", ["-V"], server_says=["Sending Retry packet", "Token was successfully validated"])
    case.server_case("the client updates keys", [], ["--key-update", "200"], server_says=["k=1"])
    case.server_case("loss of 5 % each way", ["-t", "0.05", "-r", "0.05"])
    case.server_case("upload with loss of 5 % each way", ["-t", "0.05", "-r", "0.05"], ["--upload", case.path("megabyte")], file="small")
    case.server_case("handshake with loss of 30 % each way", ["-t", "0.3", "-r", "0.3", "--handshake-timeout=30s"], file="small")
    case.server_case("the client migrates", [], ["--migrate"], says=["MIGRATE ok", "migrations 1"])
    case.server_case("resumption with 0-RTT and a token", [], ["--resume"], file="small", says=["AGAIN", "CONNECTED h3 early"])
    kith_meets_versions(case)
    server = case.serve_ngtcp2("--verify-client") # demands one, and kith's clients have none with X.509
    _, output = case.run_plain()
    server.end(signal.SIGTERM)
    case.tap.report("CLOSED KITH_ERR_TLS peer 0x174 transport" in output, "kith -> ngtcp2: a client certificate is demanded", output)
    for name, others, code in (("a certificate for another name", {"name": "other.example"}, "WRONG_PEER local 0x12a"),
                               ("a certificate from a stranger", {"trusted": OTHER}, "TLS local 0x130")):
        server = case.serve_ngtcp2()
        _, output = case.run_plain(**others)
        server.end(signal.SIGTERM)
        case.tap.report("CLOSED KITH_ERR_" + code in output, "kith -> ngtcp2: %s is refused" % name, output)


def kith_meets_versions(case):
    """kith offers version 1 only; on the way its first packet gets another version, which ngtcp2 answers with Version Negotiation."""
    server = case.serve_ngtcp2()
    middle = Middle(int(case.port))
    case.port = str(middle.port)
    code, output = case.run_plain(file="small")
    case.tap.report(code == 0 and len(middle.answers) == 1 and "DISBELIEVED 1" in output and case.same(case.path("down", "0"), "small"),
                    "kith -> ngtcp2: a version negotiation that lists our own version is not believed", output)
    middle = Middle(middle.server[1], without_version_1)
    case.port = str(middle.port)
    _, output = case.run_plain(file="small")
    case.tap.report(len(middle.answers) == 1 and "CLOSED KITH_ERR_VERSION" in output, "kith -> ngtcp2: no version in common", output)
    server.end(signal.SIGTERM)


def main():
    tap = Tap()
    absent = [package for package, program in (("ngtcp2-client", "gtlsclient"), ("ngtcp2-server", "gtlsserver")) if not find(program)]
    if absent:
        tap.skip("ngtcp2", "not installed: " + " ".join(absent))
        tap.end()
    case = Case(tap)
    with open(case.path("megabyte"), "wb") as file:
        file.write(os.urandom(1000000))
    kith_serves(case)
    ngtcp2_serves(case)
    tap.end()


if __name__ == "__main__":
    main()
