"""What the tests of the kith program have in common: running it, its peers, and the report as TAP lines."""
import fcntl, glob, hashlib, json, os, pty, re, select, shlex, shutil, signal, socket, stat, struct, subprocess, sys, tempfile, termios, threading, time, traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KITH = os.path.join(os.environ.get("KITH_BUILD", os.path.join(ROOT, "build")), "bin", "kith")
EVIL = os.path.join(os.path.dirname(KITH), "evil-peer")
PEERS = os.environ.get("KITH_PEERS", "")
LIMIT = 60
count = failures = 0
TESTS = []


def test(function):
    TESTS.append(function)
    return function


class Skip(Exception):
    pass


def environment(home):
    env = {k: v for k, v in os.environ.items() if k not in ("IROH_SECRET", "SSLKEYLOGFILE")}
    env.setdefault("KITH_LOOKUP", "none")  # nobody outside of this machine hears of a test
    env.update(HOME=home, XDG_STATE_HOME=os.path.join(home, "state"), XDG_CACHE_HOME=os.path.join(home, "cache"))
    return env


def run(home, *arguments, input=b"", program=KITH, code=0, cwd=None, env=None):
    done = subprocess.run([program, *arguments], input=input, capture_output=True, timeout=LIMIT, cwd=cwd or home,
                          env=dict(environment(home), **(env or {})))
    if code is not None:
        assert done.returncode == code, "%s: exit code %d, not %d\n%s%s" % (
            arguments, done.returncode, code, done.stdout[-2000:].decode(errors="replace"), done.stderr[-2000:].decode(errors="replace"))
    return done


class Running:
    """A program that goes on; waits for lines of its stderr."""

    def __init__(self, home, *arguments, program=KITH, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=None):
        self.process = subprocess.Popen([program, *arguments], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
                                        cwd=cwd or home, env=environment(home))
        self.lines = []
        self.condition = threading.Condition()
        self.is_over = False
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            with self.condition:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self.condition.notify_all()
        with self.condition:
            self.is_over = True
            self.condition.notify_all()

    def line(self, pattern):
        def find():
            return next((m for m in (re.search(pattern, l) for l in self.lines) if m), None)
        with self.condition:
            self.condition.wait_for(lambda: find() or self.is_over, LIMIT)
            found = find()
            assert found, "no line like %r in %r" % (pattern, self.lines[-20:])
            return found

    def ticket(self):
        return self.line(r"((?:blob|endpoint)[a-z2-7]{50,})$").group(1)

    def wait(self, code=0):
        self.process.wait(LIMIT)
        self.reader.join(LIMIT)
        assert code is None or self.process.returncode == code, (self.process.returncode, self.lines[-20:])
        return self

    def stop(self, code=0, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait(code)

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def write(path, size, seed=b"x"):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    block = hashlib.sha512(seed).digest() * 1024
    with open(path, "wb") as file:
        while size > 0:
            size -= file.write(block[:min(size, len(block))])
            block = hashlib.sha512(block[:64]).digest() * 1024


def same(a, b):
    with open(a, "rb") as left, open(b, "rb") as right:
        return left.read() == right.read()


def peer(name):
    path = shutil.which(os.path.join(PEERS, name) if PEERS else name)
    if path is None:
        raise Skip("%s is not installed" % name)
    return path


LOOPBACK = ("--bind", "127.0.0.1:0")


class Evil:
    """A peer that misbehaves (evil_peer.c); `ticket` leads to it."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([EVIL, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ticket = self.process.stdout.readline().decode().strip()
        assert self.ticket, arguments

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def echo_server(server):
    def serve(client):
        with client:
            while (data := client.recv(65536)):
                client.sendall(data)

    def accept():
        try:
            while True:
                threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
        except OSError:
            pass
    threading.Thread(target=accept, daemon=True).start()


def echo_through(connect_to, size):
    data = os.urandom(size)
    with connect_to() as client:
        client.settimeout(LIMIT)
        sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)), daemon=True)
        sender.start()
        got = bytearray()
        while (piece := client.recv(65536)):
            got += piece
        sender.join(LIMIT)
    assert bytes(got) == data, (len(got), size)


def main():
    global count, failures
    for function in TESTS:
        if len(sys.argv) > 1 and not any(word in function.__name__ for word in sys.argv[1:]):
            continue
        count += 1
        name = function.__name__.replace("_", " ")
        home = tempfile.mkdtemp(prefix="kith-commands.")
        try:
            function(home)
            print("ok %d - %s" % (count, name), flush=True)
        except Skip as why:
            print("ok %d - %s # SKIP %s" % (count, name, why), flush=True)
        except Exception:
            failures += 1
            print("not ok %d - %s" % (count, name), flush=True)
            print("\n".join("# " + line for line in traceback.format_exc().splitlines()[-4:]), flush=True)
        shutil.rmtree(home, ignore_errors=True)
    return 1 if failures else 0
