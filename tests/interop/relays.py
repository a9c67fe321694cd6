"""Relay servers for the interop tests: the real iroh-relay and kith-relay, started with one and the same configuration."""
import os, random, re, shutil, signal, socket, ssl, tempfile, threading, time, urllib.request

from peers import BIN, HERE, Process, find_program

X509 = os.path.join(HERE, "x509")
# The root that relay.pem is signed by. The real clients want the two apart: a certificate of an authority is none of a server for them.
ROOTS = os.path.join(X509, "root.pem")
# The real relay's own figures (how it fails over, what floods do to it) take minutes and judge nothing of ours: measured when asked for.
MEASURES_REFERENCE = bool(os.environ.get("KITH_MEASURE_REFERENCE"))
PORTS_GIVEN, PORTS_LOCK = set(), threading.Lock()


def find_relays():
    """name -> program of every relay server that this machine has; and name -> reason for the others."""
    found, missing = {}, {}
    kith = os.path.join(BIN, "kith-relay")
    if os.path.exists(kith):
        found["kith-relay"] = kith
    else:
        missing["kith-relay"] = "it is not built"
    iroh = find_program("iroh-relay")
    if iroh:
        found["iroh-relay"] = iroh
    else:
        missing["iroh-relay"] = "tests/interop/build-peers.sh has not installed it"
    return found, missing


def free_port(kind=socket.SOCK_STREAM):
    """A port below those that the kernel gives to clients, and given once only, so that it is still free after a restart under load."""
    while True:
        port = random.randrange(10000, 30000)
        with PORTS_LOCK, socket.socket(socket.AF_INET, kind) as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in PORTS_GIVEN:
                PORTS_GIVEN.add(port)
                return port


def client_tls():
    """A client context that trusts the test root alone."""
    return ssl.create_default_context(cafile=ROOTS)


class Relay:
    """A relay on loopback ports. `access` and `limits` are TOML text; tls: with the test certificate; quic: address
    discovery too; before: a command that runs it."""

    def __init__(self, program, access="", limits="", tls=False, quic=False, metrics=False, port=None, log=None, before=()):
        self.before, self.program, self.name = before, program, os.path.basename(program)
        self.tls, self.directory = tls or quic, tempfile.mkdtemp(prefix="kith-relay-")
        self.port = port or free_port()
        self.http_port = free_port() if self.tls else self.port
        self.quic_port = free_port(socket.SOCK_DGRAM) if quic else None
        self.metrics_port = free_port() if metrics else None
        lines = ['http_bind_addr = "127.0.0.1:%d"' % self.http_port]
        lines.append("enable_metrics = %s" % ("true" if metrics else "false"))
        if metrics:
            lines.append('metrics_bind_addr = "127.0.0.1:%d"' % self.metrics_port)
        if quic:
            lines.append("enable_quic_addr_discovery = true")
        if access:
            lines.append("access" + access)
        if limits:
            lines += ["[limits.client.rx]", limits]
        if self.tls:
            lines += ["[tls]", 'cert_mode = "Manual"', 'https_bind_addr = "127.0.0.1:%d"' % self.port,
                      'manual_cert_path = "%s"' % os.path.join(X509, "relay.pem"), 'manual_key_path = "%s"' % os.path.join(X509, "relay-key.pem")]
            if quic:
                lines.append('quic_bind_addr = "127.0.0.1:%d"' % self.quic_port)
        self.config = os.path.join(self.directory, "relay.toml")
        with open(self.config, "w") as file:
            file.write("\n".join(lines) + "\n")
        self.environment = dict(os.environ, RUST_LOG=log or "error")
        self.start()

    @property
    def url(self):
        return "%s://%s:%d/" % (("https", "localhost", self.port) if self.tls else ("http", "127.0.0.1", self.port))

    @property
    def pid(self):
        return self.process.process.pid

    def options(self, token=None):
        """What an agent needs to use this relay; the roots are the agent's."""
        words = ["--relay", self.url]
        if self.quic_port:
            words += ["--quic", str(self.quic_port)]
        if token:
            words += ["--token", token]
        return words

    def start(self):
        # --dev of the real one means plain HTTP whatever the configuration says.
        self.process = Process([*self.before, self.program, *([] if self.tls else ["--dev"]), "--config-path", self.config], environment=self.environment)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self.process.process.poll() is not None:
                    self.process.end(signal.SIGKILL)  # all that it said is there then
                    raise RuntimeError("%s does not listen: %s" % (self.name, self.process.output()[-2000:]))
                time.sleep(0.02)

    def stop(self, with_signal=signal.SIGINT):
        return self.process.end(with_signal)

    def kill(self):
        self.process.end(signal.SIGKILL)

    def end(self):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def output(self):
        return re.sub(r"\x1b\[[0-9;]*m", "", self.process.output())

    def metric(self, name):
        """The value of a counter of the reference's names; None without such a line."""
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.metrics_port, timeout=5) as answer:
            text = answer.read().decode()
        found = re.search(r"^relayserver_%s_total (\S+)$" % name, text, re.M)
        return float(found.group(1)) if found else None
