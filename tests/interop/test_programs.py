#!/usr/bin/env python3
"""The program kith with the programs that users have: sendme 0.37.1 and dumbpipe 0.40.1, both ways. Prints TAP lines.

dumbpipe cannot be told to do without relays. So that nothing leaves the machine, everything runs in a network namespace that
has only the loopback interface, where the system allows to make one. Arguments: parts of names of the cases to run.
"""
import concurrent.futures, fcntl, json, os, re, shutil, signal, socket, struct, subprocess, sys, tempfile, threading, time

from peers import BIN, Tap, content, find_agents, find_program, make_tree
from relays import free_port

KITH, SENDME, DUMBPIPE = os.path.join(BIN, "kith"), find_program("sendme"), find_program("dumbpipe")
LOOPBACK = ["--bind", "127.0.0.1:0"]
BIG, PIPED = 100_000_000, 60_000_000
LIMIT = 90
TICKET = re.compile(r"((?:blob|endpoint)[a-z2-7]{50,})")
CASES_AT_ONCE = 6 # each listening dumbpipe waits five seconds for a relay before it prints its ticket


# ---- A network of one's own ----

def raise_loopback():
    """SIOCSIFFLAGS: lo, UP and LOOPBACK|RUNNING as the kernel likes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh22x", b"lo", 0x1 | 0x40))


def enter_namespace():
    """Runs this script again where there is only loopback; returns where that cannot be done."""
    if os.environ.get("KITH_IN_NAMESPACE"):
        raise_loopback()
        return
    for words in (["unshare", "-n"], ["unshare", "-rn"]):
        if shutil.which("unshare") and subprocess.run([*words, "true"], capture_output=True).returncode == 0:
            os.environ["KITH_IN_NAMESPACE"] = "1"
            os.execvp(words[0], [*words, sys.executable, *sys.argv])
    print("# no network namespace can be made here: dumbpipe will look for a relay")


# ---- Programs ----

class Program:
    """A child in a directory of its own; its lines are collected, except where its output is a file."""

    def __init__(self, *words, home, cwd=None, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE):
        env = {key: value for key, value in os.environ.items() if key not in ("IROH_SECRET", "SSLKEYLOGFILE")}
        env.update(HOME=home, XDG_STATE_HOME=home + "/state", XDG_CACHE_HOME=home + "/cache", XDG_DATA_HOME=home + "/data")
        self.words, self.lines, self.condition = words, [], threading.Condition()
        self.process = subprocess.Popen(words, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, cwd=cwd or home, env=env)
        self.readers = [threading.Thread(target=self._read, args=(stream,), daemon=True)
                        for stream in (self.process.stdout, self.process.stderr) if stream is not None]
        self.reading = len(self.readers)
        for reader in self.readers:
            reader.start()

    def _read(self, stream):
        for line in stream:
            with self.condition:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self.condition.notify_all()
        with self.condition:
            self.reading -= 1
            self.condition.notify_all()

    def find(self, pattern):
        """Waits for a line that matches; the match."""
        def found():
            return next((match for match in map(re.compile(pattern).search, self.lines) if match), None)
        with self.condition:
            self.condition.wait_for(lambda: found() or self.reading == 0, LIMIT)
            assert found(), "no line like %r from %s" % (pattern, self)
            return found()

    def ticket(self):
        return self.find(TICKET.pattern).group(1)

    def wait(self, code=0, limit=LIMIT):
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            raise AssertionError("did not end in %d s: %s" % (limit, self))
        for reader in self.readers:
            reader.join(5)
        assert code is None or self.process.returncode == code, "exit code %d, not %s: %s" % (self.process.returncode, code, self)
        return self

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def __str__(self):
        return "%s: %s" % (" ".join(os.path.basename(word) for word in self.words)[:160], "\n".join(self.lines[-15:]))

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        if self.process.poll() is None:
            self.interrupt()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    return path


def check_same(one, two):
    done = subprocess.run(["diff", "-r", one, two], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def wait_until(condition, what):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "waited in vain: " + what
        time.sleep(0.001)


def fresh(home, name):
    os.makedirs(os.path.join(home, name))
    return os.path.join(home, name)


# ---- Files: kith and sendme ----

def sending(sender, home, path, *more):
    if sender == "kith":
        return Program(KITH, "send", *LOOPBACK, *more, path, home=home)
    return Program(SENDME, "send", "--relay", "disabled", "--no-progress", "--magic-ipv4-addr", "127.0.0.1:0", path, home=home)


def receiving(receiver, home, ticket, cwd, *more):
    if receiver == "kith":
        return Program(KITH, "receive", *LOOPBACK, *more, ticket, home=home, cwd=cwd)
    return Program(SENDME, "receive", "--relay", "disabled", "--no-progress", "--magic-ipv4-addr", "127.0.0.1:0", ticket, home=home, cwd=cwd)


def send_and_compare(home, sender, receiver, source, receivers=1):
    with sending(sender, home, source) as offer:
        ticket = offer.ticket()
        targets = [fresh(home, "to%d" % i) for i in range(receivers)]
        running = [receiving(receiver, home, ticket, target) for target in targets]
        for one, target in zip(running, targets):
            with one:
                one.wait(0)
            assert os.listdir(target) == [os.path.basename(source)], os.listdir(target)
            check_same(source, os.path.join(target, os.path.basename(source)))
        offer.interrupt()
        offer.wait(None)


def case_file(home, sender, receiver):
    send_and_compare(home, sender, receiver, write(home + "/from/grün film.bin", content(3_000_001)))


def case_empty_file(home, sender, receiver):
    send_and_compare(home, sender, receiver, write(home + "/from/nothing", b""))


def case_directory(home, sender, receiver):
    make_tree(home + "/from")
    send_and_compare(home, sender, receiver, home + "/from/tree")


def case_100_mb_to_three_at_once(home, sender, receiver):
    send_and_compare(home, sender, receiver, write(home + "/from/big", content(BIG)), receivers=3)


def size_below(directory):
    total = 0
    for where, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


def case_resume_after_kill(home, sender, receiver):
    source = write(home + "/from/big", content(BIG))
    with sending(sender, home, source) as offer:
        for attempt in range(5):
            target = fresh(home, "to%d" % attempt)
            with receiving(receiver, home, offer.ticket(), target) as first:
                wait_until(lambda: size_below(target) >= BIG // 10 or first.process.poll() is not None, "something arrives")
                first.process.kill()
                first.process.wait()
            if first.process.returncode == -signal.SIGKILL: # else it was faster than we are
                break
        else:
            raise AssertionError("never killed in the middle")
        assert not os.path.exists(target + "/big"), "something half-written has the final name"
        second = receiving(receiver, home, offer.ticket(), target, *(["--json"] if receiver == "kith" else [])).wait(0)
        check_same(source, target + "/big")
        if receiver == "kith":
            done = json.loads(second.lines[-1])
            assert done["resumed"] > 0 and done["wire"] < (BIG - done["resumed"]) * 1.02 + 200_000, done


# ---- Pipes: kith and dumbpipe ----

def listen(program, home, *more, kind="", **how):
    if program == "kith":
        return Program(KITH, "listen" + kind, *LOOPBACK, *more, home=home, **how)
    return Program(DUMBPIPE, "listen" + kind, "--ipv4-addr", "127.0.0.1:0", *more, home=home, **how)


def connect(program, home, ticket, *more, kind="", **how):
    if program == "kith":
        return Program(KITH, "connect" + kind, *more, ticket, home=home, **how)
    return Program(DUMBPIPE, "connect" + kind, "--ipv4-addr", "127.0.0.1:0", *more, ticket, home=home, **how)


def pipe_both_ways(home, listener, connector, up, down, more=(), listener_more=(), connector_more=()):
    """`up` goes from connector to listener. An end that gets None sends nothing (its standard input stays open)."""
    out_up, out_down = home + "/out-up", home + "/out-down"
    sources = {}
    for name, data in (("up", up), ("down", down)):
        sources[name] = subprocess.PIPE if data is None else open(write(home + "/in-" + name, data), "rb")
    with open(out_up, "wb") as got_up, open(out_down, "wb") as got_down, \
            listen(listener, home, *more, *listener_more, stdin=sources["down"], stdout=got_up) as waiting, \
            connect(connector, home, waiting.ticket(), *more, *connector_more, stdin=sources["up"], stdout=got_down) as calling:
        calling.wait(0)
        waiting.wait(0)
    for name, data, path in (("up", up, out_up), ("down", down, out_down)):
        with open(path, "rb") as file:
            assert file.read() == (data or b""), "what went %s differs" % name


def case_pipe_60_mb_both_ways(home, listener, connector):
    pipe_both_ways(home, listener, connector, content(PIPED), content(PIPED - 7))


def case_pipe_custom_alpn(home, listener, connector):
    pipe_both_ways(home, listener, connector, b"without a greeting", b"neither", more=["--custom-alpn", "utf8:kith-test/pipe"])


def case_pipe_custom_alpn_hex(home, listener, connector):
    pipe_both_ways(home, listener, connector, b"without a greeting", b"neither", more=["--custom-alpn", "00ff7f"])


def case_pipe_receive_only_listener(home, listener, connector):
    pipe_both_ways(home, listener, connector, content(1_000_000), None, listener_more=["--recv-only"])


def case_pipe_receive_only_connector(home, listener, connector):
    pipe_both_ways(home, listener, connector, None, content(1_000_000), connector_more=["--recv-only"])


def joined_pipe(home, listener, connector):
    """A pipe through which one line went each way; all three ends are open."""
    waiting = listen(listener, home, stdin=subprocess.PIPE)
    calling = connect(connector, home, waiting.ticket(), stdin=subprocess.PIPE)
    for source, sink, text in ((calling, waiting, b"there\n"), (waiting, calling, b"and back\n")):
        source.process.stdin.write(text)
        source.process.stdin.flush()
        sink.find("^" + text.decode().strip() + "$")
    return waiting, calling


def limit_after(interrupted):
    """Seconds until the other side must have noticed: dumbpipe exits at once, and what it says last may or may not get out."""
    return 10 if interrupted == "kith" else 60


def case_pipe_interrupted_connector(home, listener, connector):
    waiting, calling = joined_pipe(home, listener, connector)
    with waiting, calling:
        calling.interrupt()
        calling.wait(None, 20)
        waiting.wait(None, limit_after(connector))
        assert listener != "kith" or waiting.process.returncode != 0, "a pipe that was cut passes as complete"


def case_pipe_interrupted_listener(home, listener, connector):
    waiting, calling = joined_pipe(home, listener, connector)
    with waiting, calling:
        waiting.interrupt()
        waiting.wait(None, 20)
        calling.wait(None, limit_after(listener))
        assert connector != "kith" or calling.process.returncode != 0, "a pipe that was cut passes as complete"


def case_pipe_killed_connector(home, listener, connector):
    waiting, calling = joined_pipe(home, listener, connector)
    with waiting, calling:
        calling.process.kill()
        waiting.wait(None, 60)
        assert listener != "kith" or waiting.process.returncode != 0, "a pipe that died passes as complete"


def case_pipe_killed_listener(home, listener, connector):
    waiting, calling = joined_pipe(home, listener, connector)
    with waiting, calling:
        waiting.process.kill()
        calling.wait(None, 60)
        assert connector != "kith" or calling.process.returncode != 0, "a pipe that died passes as complete"


# ---- Forwarding ----

class EchoServer:
    """Echoes what comes on each connection, on threads of its own, until it is closed."""

    def __init__(self, family, address):
        self.socket = socket.socket(family)
        self.socket.bind(address)
        self.socket.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(client,), daemon=True).start()

    def _echo(self, client):
        with client:
            while (data := client.recv(1 << 16)):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def send_and_finish(client, data):
    try:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
    except OSError:
        pass # the other side is gone: what came back tells


def echo_through(family, address, data):
    client = socket.socket(family)
    with client:
        client.settimeout(LIMIT)
        client.connect(address)
        sending_thread = threading.Thread(target=send_and_finish, args=(client, data), daemon=True)
        sending_thread.start()
        back = bytearray()
        while (part := client.recv(1 << 16)):
            back += part
        sending_thread.join()
        assert back == data, "%d bytes came back of %d" % (len(back), len(data))


def can_connect(family, address):
    with socket.socket(family) as probe:
        return probe.connect_ex(address) == 0


SIZES = (0, 1, 5, 1500, 70_000, 300_000, 2_000_000, 5_000_000)


def echo_many(family, address, forwarder, sizes=SIZES):
    wait_until(lambda: forwarder.process.poll() is not None or can_connect(family, address), "the forwarder listens")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for one in [pool.submit(echo_through, family, address, content(size)) for size in sizes]:
            one.result()


def case_tcp_forwarding_8_at_once(home, listener, connector):
    with EchoServer(socket.AF_INET, ("127.0.0.1", 0)) as server:
        target, local = "127.0.0.1:%d" % server.socket.getsockname()[1], "127.0.0.1:%d" % (port := free_port())
        waiting_words, calling_words = ["--host", target], ["--addr", local]
        if listener == "kith":
            waiting_words = ["--tcp", target]
        if connector == "kith":
            calling_words = ["--tcp", local]
        with listen(listener, home, *waiting_words, kind="" if listener == "kith" else "-tcp") as waiting, \
                connect(connector, home, waiting.ticket(), *calling_words, kind="" if connector == "kith" else "-tcp") as calling:
            echo_many(socket.AF_INET, ("127.0.0.1", port), calling)


def case_unix_forwarding(home, listener, connector):
    """8 at once. A connecting dumbpipe opens all streams on one connection; a listening one would take only the first of them."""
    far, near = home + "/far", home + "/near"
    words = {"kith": ("--unix", ""), "dumbpipe": ("--socket-path", "-unix")}
    with EchoServer(socket.AF_UNIX, far), \
            listen(listener, home, words[listener][0], far, kind=words[listener][1]) as waiting, \
            connect(connector, home, waiting.ticket(), words[connector][0], near, kind=words[connector][1]) as calling:
        if connector == "kith" or listener == "kith":
            wait_until(lambda: os.path.exists(near) or calling.process.poll() is not None, "the forwarder listens")
            echo_many(socket.AF_UNIX, near, calling)
        else:
            wait_until(lambda: os.path.exists(near) or calling.process.poll() is not None, "the forwarder listens")
            echo_through(socket.AF_UNIX, near, content(5_000_000))


# ---- Tickets ----

def rewritten_by(agent, ticket):
    done = subprocess.run([*agent, "ticket", ticket], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def explained(ticket):
    done = subprocess.run([KITH, "ticket", "--json", ticket], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ticket_case(make, kind, agents, names):
    """What one program printed, `kith ticket` explains, and each of the agents writes the same bytes again."""
    def run(home, *_):
        with make(home) as program:
            ticket = program.ticket()
            facts = explained(ticket)
            assert facts["kind"] == kind and facts["addresses"] and not facts["ignored"], facts
            for name in names:
                again = rewritten_by(agents[name], ticket)
                assert again == ticket, "%s writes %s for %s" % (name, again, ticket)
    return run


# ---- All of it ----

FILES = [case_file, case_empty_file, case_directory, case_100_mb_to_three_at_once, case_resume_after_kill]
# The killed and interrupted ones first: they may wait for the idle timeout.
PIPES = [case_pipe_killed_connector, case_pipe_killed_listener, case_pipe_interrupted_connector, case_pipe_interrupted_listener,
         case_pipe_60_mb_both_ways, case_pipe_custom_alpn, case_pipe_custom_alpn_hex,
         case_pipe_receive_only_listener, case_pipe_receive_only_connector, case_tcp_forwarding_8_at_once, case_unix_forwarding]


def name_of(case):
    return case.__name__[len("case_"):].replace("_", " ")


def gather():
    """(name, reason why it cannot be had or None, function, arguments) of every case."""
    agents, missing = find_agents()
    not_built = "tests/interop/build-peers.sh has not built %s"
    cases = []
    for case in PIPES:
        for listener, connector in (("kith", "dumbpipe"), ("dumbpipe", "kith")):
            cases.append(("%s listens, %s connects: %s" % (listener, connector, name_of(case)),
                          None if DUMBPIPE else not_built % "dumbpipe", case, (listener, connector)))
    for case in FILES:
        for sender, receiver in (("kith", "sendme"), ("sendme", "kith")):
            cases.append(("%s sends, %s receives: %s" % (sender, receiver, name_of(case)),
                          None if SENDME else not_built % "sendme", case, (sender, receiver)))
    source = lambda home: write(home + "/from/small", b"small") # noqa: E731
    for program, make, kind, needs in (
            ("kith listen", lambda home: listen("kith", home), "endpoint", None),
            ("dumbpipe listen", lambda home: listen("dumbpipe", home), "endpoint", None if DUMBPIPE else not_built % "dumbpipe"),
            ("kith send", lambda home: sending("kith", home, source(home)), "blob", None),
            ("sendme send", lambda home: sending("sendme", home, source(home)), "blob", None if SENDME else not_built % "sendme")):
        names = ["kith", "rust"] + (["node"] if kind == "endpoint" else [])
        reason = needs or next((missing[name] for name in names if name in missing), None)
        cases.append(("the ticket of %s is written alike by %s" % (program, ", ".join(names)), reason,
                      ticket_case(make, kind, agents, names), ()))
    return cases


def run_case(tap, lock, name, function, arguments):
    with tempfile.TemporaryDirectory(prefix="kith-programs-") as home:
        try:
            function(home, *arguments)
            problem = ""
        except (AssertionError, OSError, subprocess.SubprocessError, ValueError) as error:
            problem = "%s: %s" % (type(error).__name__, error)
    with lock:
        tap.report(not problem, name, problem)


def main():
    enter_namespace()
    tap, lock = Tap(), threading.Lock()
    with concurrent.futures.ThreadPoolExecutor(CASES_AT_ONCE) as pool:
        work = []
        for name, reason, function, arguments in gather():
            if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
                continue
            if reason:
                with lock:
                    tap.skip(name, reason)
            else:
                work.append(pool.submit(run_case, tap, lock, name, function, arguments))
        for one in work:
            one.result()
    tap.end()


if __name__ == "__main__":
    main()
