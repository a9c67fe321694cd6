"""What the interop tests share: finding the real peers, starting agents, TAP output."""
import json, os, shutil, signal, subprocess, sys, tempfile, threading, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.join(os.environ.get("KITH_BUILD", os.path.join(ROOT, "build")), "bin")
PEERS = os.path.join(ROOT, "build-peers", "bin")


def find_agents():
    """name -> command of every agent that this machine can run; and name -> reason for the others."""
    agents, missing = {"kith": [os.path.join(BIN, "kith-agent")]}, {}
    rust = os.path.join(PEERS, "kith-peer")
    if os.path.exists(rust):
        agents["rust"] = [rust]
    else:
        missing["rust"] = "tests/interop/build-peers.sh has not built kith-peer (it needs rustc 1.91 or newer)"
    if shutil.which("node") and os.path.isdir(os.path.join(HERE, "node", "node_modules", "@number0", "iroh")):
        agents["node"] = ["node", "--no-deprecation", os.path.join(HERE, "node", "agent.mjs")]
    else:
        missing["node"] = "node or the npm package @number0/iroh is not installed (tests/interop/build-peers.sh)"
    return agents, missing


def find_program(name):
    path = os.path.join(PEERS, name)
    return path if os.path.exists(path) else None


def content(size):
    """Bytes that differ from group to group, so that nothing fits by accident elsewhere."""
    block = bytes(i % 251 for i in range(251 * 1024))
    return (block * (size // len(block) + 1))[:size]


def make_tree(root):
    """A directory with subdirectories, an empty file and names that are not ASCII. Returns name -> content."""
    files = {"tree/a.txt": b"first\n", "tree/empty": b"", "tree/sub/deeper/grün-Ελλ-日本.bin": content(200_000),
             "tree/sub/with space": content(16384), "tree/z": content(1025)}
    for name, data in files.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
    return files


class Tap:
    """The report; cases may end on several threads."""

    def __init__(self):
        self.count = self.failures = 0
        self.lock = threading.Lock()

    def report(self, ok, name, detail=""):
        with self.lock:
            self.count += 1
            self.failures += not ok
            print("%sok %d - %s" % ("" if ok else "not ", self.count, name), flush=True)
            if not ok:
                for line in str(detail).strip().split("\n")[-20:]:
                    print("# " + line, flush=True)

    def skip(self, name, why):
        self.count += 1
        print("ok %d - %s # SKIP %s" % (self.count, name, why), flush=True)

    def end(self):
        print("1..%d" % self.count)
        sys.exit(1 if self.failures else 0)


class Process:
    """A child with its output collected line by line; ended by closing its standard input, else by signal."""

    def __init__(self, command, cwd=None, environment=None):
        self.lines, self.condition = [], threading.Condition()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        errors="replace", cwd=cwd, env=environment)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.condition:
                self.lines.append(line.rstrip("\n"))
                self.condition.notify_all()
        with self.condition:
            self.lines.append(None)
            self.condition.notify_all()

    def wait_line(self, wanted, limit=30, after=0):
        """The first line from index `after` on for which wanted(line) is true; None when the process or the time ends."""
        deadline = time.monotonic() + limit
        at = after
        with self.condition:
            while True:
                while at < len(self.lines):
                    line = self.lines[at]
                    at += 1
                    if line is None:
                        return None
                    if wanted(line):
                        return line
                left = deadline - time.monotonic()
                if left <= 0 or not self.condition.wait(left):
                    if deadline - time.monotonic() <= 0:
                        return None

    def output(self):
        if self.process.poll() is not None:
            self.reader.join(timeout=5)  # its last words
        with self.condition:
            return "\n".join(line for line in self.lines if line is not None)

    def end(self, send_signal=None, limit=10):
        try:
            self.process.stdin.close()
        except OSError:
            pass
        if send_signal is not None and self.process.poll() is None:
            self.process.send_signal(send_signal)
        try:
            self.process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(timeout=5)
        return self.process.returncode


class Server(Process):
    """An agent that serves; `ticket` is what it printed, None if it did not start."""

    def __init__(self, agent, *words, name=""):
        super().__init__([*agent, "serve", *words])
        line = self.wait_line(lambda text: text.startswith("READY "))
        self.name, self.ticket, self.marked = name, line.split()[1] if line else None, 0

    def mark(self):
        """What is printed from here on counts for `closed`."""
        with self.condition:
            self.marked = len(self.lines)

    def closed(self, limit=10, **wanted):
        """What a CLOSED line since the mark says in which each member is as wanted (a value, or a function that tells)."""
        def fits(line):
            if not line.startswith("CLOSED "):
                return False
            said = json.loads(line[len("CLOSED "):])
            return all(want(said.get(key)) if callable(want) else said.get(key) == want for key, want in wanted.items())
        line = self.wait_line(fits, limit, self.marked)
        return json.loads(line[len("CLOSED "):]) if line else None


def dial(agent, ticket, case, *words, limit=120):
    """(ok, output) of one case."""
    try:
        done = subprocess.run(agent + ["dial", ticket, case, *map(str, words)], capture_output=True, text=True, timeout=limit,
                              stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as late:
        return False, "no end after %d s; so far: %s" % (limit, (late.stdout or b"")[-400:])
    return done.returncode == 0, done.stdout + done.stderr
