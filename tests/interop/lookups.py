"""Lookup servers for the interop tests: the real iroh-dns-server and kith-dns, with one and the same configuration, in a network of the test's own."""
import os, shutil, signal, socket, subprocess, sys, tempfile, time, urllib.error, urllib.request

from peers import BIN, HERE, Process, find_program

# What the npm package asks for and publishes to cannot be configured (spec/03, 13): these names, a resolv.conf and a URL of 27 bytes.
ORIGIN = "dns.iroh.link."
PKARR = "http://127.0.0.1:8080/pkarr"
DNS = "127.0.0.1:53"
N0_PKARR = b"https://dns.iroh.link/pkarr"
NODE_LIBRARY = os.path.join(HERE, "node", "node_modules", "@number0", "iroh-linux-x64-gnu", "iroh.linux-x64-gnu.node")
INSIDE = "KITH_TEST_INSIDE"


def find_servers():
    """name -> program of every lookup server that this machine has; and name -> reason for the others."""
    found, missing = {}, {}
    found["kith-dns"] = os.path.join(BIN, "kith-dns")
    iroh = find_program("iroh-dns-server")
    if iroh:
        found["iroh-dns-server"] = iroh
    else:
        missing["iroh-dns-server"] = "tests/interop/build-peers.sh has not installed it"
    return found, missing


def enter_own_network():
    """Runs this script once more in a network and mount namespace with loopback and a resolv.conf that names 127.0.0.1; returns inside.
    Returns a reason where that is not possible, else None."""
    if os.environ.get(INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as file:
            file.write("nameserver 127.0.0.1\noptions timeout:1\n")
        os.chmod(file.name, 0o644)
        subprocess.run(["mount", "--bind", file.name, os.path.realpath("/etc/resolv.conf")], check=True)
        os.unlink(file.name)
        return None
    if not all(shutil.which(word) for word in ("unshare", "ip", "mount")):
        return "unshare, ip or mount is not installed"
    words = ["unshare", "--net", "--mount"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])
    if subprocess.run([*words, "true"], capture_output=True).returncode != 0:
        return "this machine allows no namespaces"
    os.execvpe(words[0], [*words, sys.executable, *sys.argv], dict(os.environ, **{INSIDE: "1"}))


def patched_node():
    """The npm package's library with its publishing URL replaced, in a directory of its own; None if the text is not in it just once."""
    with open(NODE_LIBRARY, "rb") as file:
        library = file.read()
    if library.count(N0_PKARR) != 1 or len(PKARR) != len(N0_PKARR):
        return None
    path = os.path.join(tempfile.mkdtemp(prefix="kith-node-"), "iroh.node")
    with open(path, "wb") as file:
        file.write(library.replace(N0_PKARR, PKARR.encode()))
    return path


class LookupServer:
    """A lookup server, usually at the ports that the npm package can be made to use. before: a command that runs it."""

    def __init__(self, program, rate_limit="disabled", more="", http_port=8080, dns_port=53, before=()):
        self.name, self.directory = os.path.basename(program), tempfile.mkdtemp(prefix="kith-dns-")
        self.http_port, self.dns_port, self.before = http_port, dns_port, before
        self.config, self.program = os.path.join(self.directory, "dns.toml"), program
        with open(self.config, "w") as file:
            file.write('pkarr_put_rate_limit = "%s"\ndata_dir = "%s/data"\n' % (rate_limit, self.directory) +
                       '[http]\nport = %d\nbind_addr = "127.0.0.1"\n' % http_port +
                       '[dns]\nport = %d\nbind_addr = "127.0.0.1"\ndefault_ttl = 900\norigins = ["%s", "."]\n' % (dns_port, ORIGIN) +
                       'default_soa = "%s hostmaster.%s 0 10800 3600 604800 3600"\n' % (ORIGIN.rstrip("."), ORIGIN.rstrip(".")) +
                       'rr_a = "127.0.0.1"\nrr_ns = "ns1.%s"\n' % ORIGIN +
                       "[metrics]\ndisabled = true\n[mainline]\nenabled = false\n" + more)
        self.start()

    def start(self):
        self.process = Process([*self.before, self.program, "--config", self.config], environment=dict(os.environ, RUST_LOG="warn"))
        deadline = time.monotonic() + 20
        while not self.answers():
            if self.process.process.poll() is not None or time.monotonic() > deadline:
                self.process.end(signal.SIGKILL)  # all that it said is there then
                raise RuntimeError("%s does not answer: %s" % (self.name, self.process.output()))
            time.sleep(0.02)  # a poll with a limit: nothing to wait on tells that another program listens

    def answers(self):
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/healthcheck" % self.http_port, timeout=1) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def kill(self):
        self.process.end(signal.SIGKILL)

    def stop(self):
        self.process.end(signal.SIGINT)
        shutil.rmtree(self.directory, ignore_errors=True)


def put(z32, body):
    """(status, headers, body) of a PUT to the server."""
    request = urllib.request.Request("%s/%s" % (PKARR, z32), data=body, method="PUT")
    return _open(request)


def get(z32, headers={}):
    return _open(urllib.request.Request("%s/%s" % (PKARR, z32), headers=headers))


def _open(request):
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def ask(message, port=53, tcp=False):
    """The answer to a DNS message; None after 3 s."""
    try:
        if tcp:
            with socket.create_connection(("127.0.0.1", port), timeout=3) as sock:
                sock.sendall(len(message).to_bytes(2, "big") + message)
                file = sock.makefile("rb")
                return file.read(int.from_bytes(file.read(2), "big"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(3)
            sock.sendto(message, ("127.0.0.1", port))
            return sock.recv(65535)
    except OSError:
        return None
