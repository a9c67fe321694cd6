"""What the tests of the server programs have in common: running one with a configuration of its own, certificates, an ACME authority,
systemd's side of sd_notify."""
import itertools, socket, ssl, urllib.request

from programs import *

sys.path.insert(0, os.path.join(ROOT, "tests", "interop"))
from relays import free_port

X509 = os.path.join(ROOT, "tests", "interop", "x509")


class Server(Running):
    """A server program with a configuration file of its own, `fixed` and what is given; started when made."""

    fixed, words = "", ()
    numbers = itertools.count()

    def __init__(self, home, *flags, config="", env=None):
        self.file = os.path.join(home, "server-%d.toml" % next(Server.numbers))
        self.write_config(config)
        self.json, saved = {}, dict(os.environ)
        os.environ.update(env or {})
        try:
            super().__init__(home, *self.words, "--json", "-c", self.file, *flags, program=self.program)
        finally:
            for name in env or {}:
                os.environ.pop(name)
            os.environ.update(saved)
        first = self.process.stdout.readline()
        if not first:
            self.process.wait(LIMIT)
            self.reader.join(LIMIT)
            raise AssertionError("it does not start: %r" % self.lines)
        self.json = json.loads(first)

    def write_config(self, config):
        with open(self.file + ".new", "w") as file:
            file.write(self.fixed + config + "\n")
        os.rename(self.file + ".new", self.file)

    def port(self, kind="http"):
        return int(self.json[kind][0].rpartition(":")[2])

    def hang_up(self):
        """SIGHUP, and what came of it is in the log."""
        def ends():
            return len([line for line in self.lines if "configuration is in effect" in line or "configuration stays" in line])
        seen = ends()
        self.process.send_signal(signal.SIGHUP)
        with self.condition:
            assert self.condition.wait_for(lambda: self.is_over or ends() > seen, LIMIT), self.lines[-5:]

    def metrics(self):
        with urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.port("metrics"), timeout=10) as answer:
            return answer.headers, answer.read().decode()

    def metric(self, name):
        found = re.search(r"^%s_%s (\d+)$" % (self.prefix, name), self.metrics()[1], re.M)
        assert found, name
        return int(found.group(1))

    def wait_metric(self, name, least):
        until = time.monotonic() + LIMIT
        while (value := self.metric(name)) < least:
            assert time.monotonic() < until, (name, value, least)
            time.sleep(0.02)
        return value

    def raw(self, data, port=None, limit=10):
        """What comes back for these bytes, until the end."""
        with socket.create_connection(("127.0.0.1", port or self.port()), timeout=limit) as sock:
            sock.sendall(data)
            return read_all(sock)


def read_all(sock):
    got = b""
    try:
        while (part := sock.recv(65536)):
            got += part
    except ConnectionError:
        pass
    return got


def check_config(program, home, *flags, config=None, code=0, env=None, words=()):
    """What --check-config says."""
    file = os.path.join(home, "check.toml")
    if config is not None:
        with open(file, "w") as out:
            out.write(config)
        flags = (*flags, "-c", file)
    done = run(home, *words, "--check-config", *flags, program=program, code=code, env=env)
    return (done.stdout + done.stderr).decode()


def put_certificate(directory, name="cert.pem"):
    """Files as default.crt and default.key, each under its name at once."""
    os.makedirs(directory, exist_ok=True)
    pair = {"cert.pem": ("cert.pem", "key.pem"), "relay.pem": ("relay.pem", "relay-key.pem")}[name]
    for source, target in zip(pair, ("default.crt", "default.key")):
        shutil.copy(os.path.join(X509, source), os.path.join(directory, "new"))
        os.rename(os.path.join(directory, "new"), os.path.join(directory, target))


def served_certificate(port, name="localhost"):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10), server_hostname=name) as sock:
        return sock.getpeercert(True)


def of_file(path):
    with open(path) as file:
        return ssl.PEM_cert_to_DER_cert(re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", file.read(), re.S).group(0))


class Pebble:
    """A test authority on loopback that resolves every name to 127.0.0.1 and asks for proof at the given ports; validity: of its
    certificates, in seconds (0: years)."""

    def __init__(self, home, http_port, tls_port, validity=0):
        if not shutil.which("pebble") or not shutil.which("pebble-challtestsrv"):
            raise Skip("pebble is not installed")
        ports = [free_port() for _ in range(4)]
        config = {"pebble": {"listenAddress": "127.0.0.1:%d" % ports[0], "managementListenAddress": "127.0.0.1:%d" % ports[1],
                             "certificate": X509 + "/cert.pem", "privateKey": X509 + "/key.pem", "httpPort": http_port, "tlsPort": tls_port,
                             "ocspResponderURL": "", "externalAccountBindingRequired": False, "certificateValidityPeriod": validity}}
        with open(home + "/pebble.json", "w") as file:
            json.dump(config, file)
        self.url = "https://localhost:%d/dir" % ports[0]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        self.processes = [subprocess.Popen(["pebble-challtestsrv", "-dns01", "127.0.0.1:%d" % ports[2], "-http01", "", "-https01", "", "-tlsalpn01", "",
                                            "-management", "127.0.0.1:%d" % ports[3], "-defaultIPv6", ""], **quiet),
                          subprocess.Popen(["pebble", "-strict", "-config", home + "/pebble.json", "-dnsserver", "127.0.0.1:%d" % ports[2]],
                                           env=dict(os.environ, PEBBLE_VA_NOSLEEP="1", PEBBLE_WFE_NONCEREJECT="10"), **quiet)]
        until = time.monotonic() + LIMIT
        while True:
            try:
                socket.create_connection(("127.0.0.1", ports[0]), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < until, "pebble does not listen"
                time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


class Systemd:
    """The socket of sd_notify."""

    def __init__(self, home):
        self.path = home + "/notify"
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.sock.settimeout(LIMIT)

    def next(self, *skipped):
        while (text := self.sock.recv(4096).decode()) in skipped:
            pass
        return text


def sanitized():
    with open(os.path.join(os.path.dirname(os.path.dirname(KITH)), "CMakeCache.txt")) as cache:
        return bool(re.search(r"^KITH_SANITIZE:[A-Z]+=.", cache.read(), re.M))
