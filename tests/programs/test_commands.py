#!/usr/bin/env python3
"""The kith program as its users see it: streams, exit codes, files, pipes, forwarding. Loopback and temporary files only.

Real sendme and dumbpipe take part where KITH_PEERS (a directory) or the search path has them. Prints TAP lines."""
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


@test
def usage_errors_give_exit_code_2(home):
    for arguments in (["nonsense"], ["send"], ["send", "a", "b"], ["receive", "blobxyz"], ["send", "--nonsense", "a"],
                      ["listen", "--custom-alpn", "zz"], ["connect", "notaticket"], ["ping", "--count", "x", "y"],
                      ["listen", "--tcp", "1:2", "--unix", "p"], []):
        done = run(home, *arguments, code=2)
        assert done.stdout == b"" and done.stderr != b"", arguments


@test
def relays_are_refused_with_words(home):
    done = run(home, "send", "--relay", "https://relay.example", "x", code=2)
    assert b"no relays yet" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@test
def help_goes_to_stdout(home):
    for command in ("send", "receive", "listen", "connect", "ping", "speed", "key", "ticket", "listen-tcp", "connect-unix"):
        done = run(home, command, "--help")
        assert b"Usage: kith " + command.encode() in done.stdout and done.stderr == b""
    assert b"send" in run(home, "help").stdout and b"kith " in run(home, "version").stdout


@test
def keys_are_made_once_with_mode_0600(home):
    made = run(home, "key", "new").stdout.strip()
    path = os.path.join(home, "state", "kith", "key")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert re.fullmatch(rb"[0-9a-f]{64}", made)
    assert run(home, "key", "id").stdout.strip() == made
    run(home, "key", "new", code=5)
    assert run(home, "key", "new", "--force").stdout.strip() != made


@test
def secrets_are_printed_only_when_asked(home):
    run(home, "key", "new", "--key", "k")
    secret = run(home, "key", "show", "--secret", "--key", "k").stdout.strip()
    shown = run(home, "key", "show", "--key", "k")
    assert secret not in shown.stdout + shown.stderr
    id = run(home, "key", "id", "--key", "k").stdout
    assert run(home, "key", "id", env={"IROH_SECRET": secret.decode()}).stdout == id
    os.chmod(os.path.join(home, "k"), 0o644)
    run(home, "key", "id", "--key", "k", code=5)


@test
def tickets_are_explained(home):
    text = ("blobacxfr74igmsbvsbnn73wcecg5vt3kbzncqwfrdiampuufwnhkublmaixnb2hi4dthixs64tfnrqxsltfpbqw24dmmuxc6aiayaaaeaoreiaq"
            "xbgtldsmrptmhbrgwimc75lvqgf2npj7joiemsmuxykmwnkka4q")
    shown = json.loads(run(home, "ticket", "--json", text).stdout)
    assert shown["kind"] == "blob" and shown["addresses"] == ["192.0.2.1:4433"] and shown["format"] == "collection"
    assert shown["id"].startswith("ae58ff88") and shown["hash"].startswith("0b84d358")
    run(home, "ticket", text[:-3], code=2)


def send_and_receive(home, path, *options, code=0):
    target = tempfile.mkdtemp(dir=home)
    with Running(home, "send", *LOOPBACK, path) as sender:
        ticket = sender.ticket()
        assert sender.lines[-1].split()[-1] == ticket
        done = run(home, "receive", ticket, *options, cwd=target, code=code)
        sender.stop()
    return target, done


@test
def a_file_arrives_and_its_path_is_printed(home):
    for size in (0, 1, 1024, 1025, 16385, 5_000_003):
        write(home + "/from/film.bin", size)
        target, done = send_and_receive(home, home + "/from/film.bin")
        assert done.stdout == b"film.bin\n", done.stdout
        assert same(home + "/from/film.bin", target + "/film.bin")
        assert os.listdir(target) == ["film.bin"], os.listdir(target)


@test
def a_directory_arrives(home):
    for name in ("a", "sub/b", "sub/deep/c", "z z"):
        write(home + "/from/tree/" + name, 40000, name.encode())
    target, done = send_and_receive(home, home + "/from/tree/")
    assert done.stdout == b"tree\n", done.stdout
    for name in ("a", "sub/b", "sub/deep/c", "z z"):
        assert same(home + "/from/tree/" + name, target + "/tree/" + name)


@test
def what_is_left_out_of_a_directory_is_told(home):
    write(home + "/from/a", 10)
    os.symlink("a", home + "/from/link")
    os.mkfifo(home + "/from/pipe")
    with Running(home, "send", *LOOPBACK, home + "/from") as sender:
        sender.ticket()
        sender.line("left out: 2 links or special files")
        run(home, "receive", "-o", "to", sender.ticket())
        assert os.listdir(home + "/to") == ["a"] or os.listdir(home + "/to/from") == ["a"]
        sender.stop()
    for name in (b"bad\xff", b"back\\slash", b"new\nline"):
        os.mkdir(home + "/names")
        open(os.fsencode(home) + b"/names/" + name, "w").close()
        done = run(home, "send", "names", code=1)
        assert done.stderr.count(b"\n") == 1 and b"; rename it first" in done.stderr, done.stderr
        shutil.rmtree(home + "/names")


@test
def output_names_a_directory_or_a_file(home):
    write(home + "/from/a", 100000)
    os.mkdir(home + "/there")
    send_and_receive(home, home + "/from/a", "-o", home + "/there")
    assert same(home + "/from/a", home + "/there/a")
    target, done = send_and_receive(home, home + "/from/a", "-o", "other")
    assert same(home + "/from/a", target + "/other") and done.stdout == b"other\n"
    assert os.listdir(target) == ["other"], os.listdir(target)


@test
def nothing_is_overwritten_without_force(home):
    write(home + "/from/a", 100000)
    write(home + "/there/a", 10)
    before = open(home + "/there/a", "rb").read()
    send_and_receive(home, home + "/from/a", "-o", home + "/there", code=5)
    send_and_receive(home, home + "/from/a", "-o", home + "/there/a", code=5)
    assert open(home + "/there/a", "rb").read() == before
    send_and_receive(home, home + "/from/a", "-o", home + "/there", "--force")
    assert same(home + "/from/a", home + "/there/a")


@test
def standard_input_can_be_sent_once(home):
    with Running(home, "send", *LOOPBACK, "--once", "--name", "words", "-", stdin=subprocess.PIPE) as sender:
        sender.process.stdin.write(b"hello" * 50000)
        sender.process.stdin.close()
        run(home, "receive", sender.ticket())
        sender.wait(0)
    assert open(home + "/words", "rb").read() == b"hello" * 50000
    assert glob.glob(home + "/cache/kith/stdin-*") == []


@test
def json_events_are_one_object_a_line(home):
    write(home + "/from/a", 300000)
    _, done = send_and_receive(home, home + "/from/a", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["event"] == "done" and events[-1]["paths"] == ["a"] and events[-1]["bytes"] >= 300000
    failed = run(home, "receive", "--json", "blobnonsense", code=2)
    assert json.loads(failed.stdout)["exit"] == 2


@test
def nobody_there_gives_exit_code_3(home):
    with Running(home, "listen", *LOOPBACK) as listener:
        ticket = listener.ticket()
    run(home, "connect", "--timeout", "1", ticket, code=3)
    run(home, "connect", run(home, "key", "new").stdout.decode().strip(), code=3)


def pipe_both_ways(home, listen, connect, size):
    write(home + "/one", size, b"one")
    write(home + "/two", size + 7, b"two")
    with open(home + "/one", "rb") as one, open(home + "/two", "rb") as two, open(home + "/got-one", "wb") as got_one, \
            open(home + "/got-two", "wb") as got_two:
        with Running(home, *listen[1:], program=listen[0], stdin=one, stdout=got_two) as listener:
            ticket = listener.ticket()
            with Running(home, *connect[1:], ticket, program=connect[0], stdin=two, stdout=got_one) as connector:
                connector.wait(0)
                listener.wait(0)
    assert same(home + "/one", home + "/got-one") and same(home + "/two", home + "/got-two")


@test
def a_pipe_carries_both_directions(home):
    pipe_both_ways(home, [KITH, "listen", *LOOPBACK], [KITH, "connect"], 8_000_000)
    pipe_both_ways(home, [KITH, "listen", *LOOPBACK, "--custom-alpn", "utf8:my/pipe"], [KITH, "connect", "--custom-alpn", "utf8:my/pipe"], 1000)


@test
def dumbpipe_listens_to_kith(home):
    pipe_both_ways(home, [peer("dumbpipe"), "listen", "--ipv4-addr", "127.0.0.1:0"], [KITH, "connect"], 8_000_000)


@test
def dumbpipe_connects_to_kith(home):
    pipe_both_ways(home, [KITH, "listen", *LOOPBACK], [peer("dumbpipe"), "connect"], 8_000_000)


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


@test
def tcp_connections_are_forwarded_at_once(home):
    with socket.create_server(("127.0.0.1", 0)) as server:
        echo_server(server)
        with Running(home, "listen-tcp", *LOOPBACK, "--host", "127.0.0.1:%d" % server.getsockname()[1]) as listener:
            with Running(home, "connect", "--tcp", "127.0.0.1:0", listener.ticket()) as connector:
                port = int(connector.line(r"forwarding 127\.0\.0\.1:(\d+)").group(1))
                results = []

                def one(size):
                    echo_through(lambda: socket.create_connection(("127.0.0.1", port)), size)
                    results.append(size)
                threads = [threading.Thread(target=one, args=(size,), daemon=True) for size in (0, 1, 100_000, 3_000_000, 3_000_001)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(LIMIT)
                assert len(results) == 5, results
                connector.stop()
            listener.stop()


@test
def unix_sockets_are_forwarded(home):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(home + "/target")
        server.listen()
        echo_server(server)
        with Running(home, "listen", *LOOPBACK, "--unix", home + "/target") as listener:
            with Running(home, "connect-unix", "--socket-path", home + "/here", listener.ticket()) as connector:
                connector.line("forwarding")

                def dial():
                    client = socket.socket(socket.AF_UNIX)
                    client.connect(home + "/here")
                    return client
                echo_through(dial, 200_000)
                connector.stop()
                assert not os.path.exists(home + "/here")
            listener.stop()


@test
def ping_counts_and_gives_statistics(home):
    with Running(home, "ping", "--listen", *LOOPBACK) as server:
        done = run(home, "ping", "-c", "3", "-i", "0", server.ticket())
        assert b"3 sent, 3 received, 0% lost" in done.stdout, done.stdout
        events = [json.loads(l) for l in run(home, "ping", "--json", "-c", "2", "-i", "0", server.ticket()).stdout.splitlines()]
        assert [e["event"] for e in events] == ["pong", "pong", "statistics"]
        server.stop()


@test
def speed_measures_both_directions(home):
    with Running(home, "speed", "--listen", *LOOPBACK) as server:
        for streams in ("1", "4"):
            done = run(home, "speed", "--json", "--time", "0.3", "--streams", streams, server.ticket())
            events = {e.get("direction", e["event"]): e for e in map(json.loads, done.stdout.splitlines())}
            assert events["up"]["bytes"] > 0 and events["down"]["bytes"] > 0 and events["round_trip"]["min_ms"] > 0
        server.stop()


@test
def sendme_receives_from_kith(home):
    sendme = peer("sendme")
    write(home + "/from/tree/a", 3_000_001)
    write(home + "/from/tree/b/c", 5)
    os.mkdir(home + "/to")
    with Running(home, "send", *LOOPBACK, home + "/from/tree") as sender:
        run(home, "receive", "--relay", "disabled", "--no-progress", sender.ticket(), program=sendme, cwd=home + "/to")
        sender.stop()
    assert same(home + "/from/tree/a", home + "/to/tree/a") and same(home + "/from/tree/b/c", home + "/to/tree/b/c")


@test
def kith_receives_from_sendme(home):
    sendme = peer("sendme")
    write(home + "/from/film", 3_000_001)
    with Running(home, "send", "--relay", "disabled", "--no-progress", "--magic-ipv4-addr", "127.0.0.1:0", home + "/from/film",
                 program=sendme, stdout=subprocess.PIPE) as sender:
        for line in sender.process.stdout:
            if (found := re.search(rb"(blob[a-z2-7]{50,})", line)):
                break
        run(home, "receive", found.group(1).decode())
    assert same(home + "/from/film", home + "/film")


# ---- What goes wrong: one line that says what, why and what to do; the documented exit code ----


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


def one_line(home, code, pattern, *arguments, notes=rb"^connecting to ", **more):
    """Runs kith; it must fail with this code and one line like this, and say the same with --json."""
    done = run(home, *arguments, code=code, **more)
    lines = [line for line in done.stderr.splitlines() if not re.match(notes, line)]
    assert len(lines) == 1 and re.search(pattern, lines[0].decode()), (arguments, done.stderr)
    assert lines[0].startswith(b"kith %s: " % arguments[0].encode()), lines
    assert done.stdout == b"", done.stdout
    done_json = run(home, arguments[0], "--json", *arguments[1:], code=code, **more)
    told = [json.loads(line) for line in (done_json.stdout or done_json.stderr).splitlines() if line.startswith(b"{")]
    assert told[-1]["event"] == "error" and told[-1]["exit"] == code and re.search(pattern, told[-1]["text"]), told
    return done


@test
def command_lines_that_are_wrong_get_one_line(home):
    write(home + "/f", 10)
    key = run(home, "key", "new", "--key", home + "/key").stdout.decode().strip()
    for pattern, *arguments in (
            ("there is no option --nonsense", "send", "--nonsense", "f"), ("there is no option '-x'", "send", "-x", "f"),
            ("--once takes no value", "send", "--once=1", "f"), ("an argument is missing", "send"),
            ("one argument too many", "send", "f", "f"), ("--timeout '-1'", "send", "--timeout", "-1", "f"),
            ("like 0.0.0.0:4433", "send", "--bind", "1.2.3.4", "f"), ("like 0.0.0.0:4433", "send", "--bind", "127.0.0.1:80000", "f"),
            ("no relays yet", "listen", "--relay", "https://relay.example"), ("like localhost:8080", "listen", "--tcp", "foo"),
            ("exclude each other", "listen", "--tcp", "127.0.0.1:1", "--unix", "s"), ("107 characters", "listen", "--unix", "s" * 108),
            ("hex digits", "listen", "--custom-alpn", "123"), ("1 to 255 bytes", "listen", "--custom-alpn", "utf8:"),
            ("standard input and output", "listen", "--tcp", "127.0.0.1:1", "--recv-only"),
            ("like 192.0.2.1:4433", "connect", "--addr", "nowhere", key), ("neither a ticket nor", "connect", "nonsense"),
            ("--host HOST:PORT is missing", "listen-tcp"), ("--addr HOST:PORT is missing", "connect-tcp", key),
            ("from 1 on", "ping", "-c", "0", key), ("takes no ticket", "ping", "--listen", key), ("is missing", "ping"),
            ("from 1 to 64", "speed", "--streams", "0", key), ("exclude each other", "speed", "--up", "--down", key),
            ("neither a ticket nor", "ticket", "nonsense"), ("cut or mistyped", "ticket", "blobaaa"),
            ("names no file", "receive", key), ("-o needs a name", "receive", "-o", "", "blobaaa"),
            ("cut or mistyped", "receive", "blobaaa"), ("is none of new, show, id", "key", "nonsense")):
        if arguments[:3] == ["receive", "-o", ""]:
            continue  # needs a ticket that is right: below
        one_line(home, 2, pattern, *arguments)


@test
def keys_that_cannot_be_used_get_one_line(home):
    write(home + "/f", 10)
    run(home, "key", "new", "--key", home + "/good")
    shutil.copy(home + "/good", home + "/open")
    os.chmod(home + "/open", 0o644)
    with open(os.open(home + "/bad", os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        file.write("garbage\n")
    os.mkdir(home + "/directory")
    for code, pattern, key in ((5, "'kith key new --key FILE' makes one", "none"), (1, "64 lower-case hex digits", "bad"),
                               (5, "run chmod 600", "open"), (1, "is not a file", "directory")):
        one_line(home, code, pattern, "send", "--key", key, "f")
    one_line(home, 1, "IROH_SECRET", "send", "f", env={"IROH_SECRET": "garbage"})
    one_line(home, 5, "'kith key new' makes one", "key", "show")
    one_line(home, 5, "--force replaces it", "key", "new", "--key", "good")


@test
def one_key_is_one_id_wherever_it_comes_from(home):
    key = run(home, "key", "new", "--key", home + "/key").stdout.decode().strip()
    secret = run(home, "key", "show", "--secret", "--key", home + "/key").stdout.decode().strip()
    assert run(home, "key", "id", env={"IROH_SECRET": secret}).stdout.decode().strip() == key
    with Running(home, "listen", "--key", home + "/key", "--tcp", "127.0.0.1:1", "--bind", "127.0.0.1:0", "--bind", "127.0.0.1:0",
                 "--relay", "none") as listener:
        told = json.loads(run(home, "ticket", "--json", listener.ticket()).stdout)
        assert told["id"] == key and len(told["addresses"]) == 2, told  # --bind may be repeated
        listener.stop()


@test
def ports_and_paths_that_are_taken_get_one_line(home):
    write(home + "/f", 10)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.create_server(("127.0.0.1", 0)) as tcp:
        udp.bind(("127.0.0.1", 0))
        one_line(home, 1, "in use by another program: choose another port", "send", "--bind", "127.0.0.1:%d" % udp.getsockname()[1], "f")
        one_line(home, 1, "needs an address of this machine", "send", "--bind", "192.0.2.1:0", "f")
        with Evil("silent", "DUMBPIPEV0") as evil:
            one_line(home, 1, "choose another port", "connect", "--tcp", "127.0.0.1:%d" % tcp.getsockname()[1], evil.ticket)
            one_line(home, 5, "remove it, or choose another path", "connect", "--unix", "f", evil.ticket)
            one_line(home, 5, "check the path", "connect", "--unix", "no/s", evil.ticket)


@test
def files_that_are_not_there_get_one_line(home):
    write(home + "/f", 10)
    one_line(home, 5, "No such file or directory; check the path", "send", "nofile")
    one_line(home, 1, "Not a directory; check the path", "send", "f/x")
    one_line(home, 5, "--qlog needs a directory", "send", "--qlog", "nowhere", "f")
    one_line(home, 1, "--qlog needs a directory", "send", "--qlog", "f", "f")
    os.mkfifo(home + "/pipe")
    one_line(home, 1, "neither a file nor a directory", "send", "pipe")
    with Running(home, "send", *LOOPBACK, home + "/f") as sender:
        ticket = sender.ticket()
        one_line(home, 2, "-o needs a name", "receive", "-o", "", ticket)
        one_line(home, 1, "choose a shorter one", "receive", "-o", "n" * 256, ticket)
        one_line(home, 1, "Not a directory; check the path", "receive", "-o", "f/x", ticket)
        one_line(home, 5, "--force replaces it, -o", "receive", ticket)
        one_line(home, 5, "--force replaces it, -o", "receive", "-o", "f", ticket)
        os.makedirs(home + "/there/f")
        one_line(home, 5, "a directory is not replaced", "receive", "--force", "-o", "there", ticket)
        one_line(home, 2, "cut or mistyped", "receive", ticket[:-6])
        one_line(home, 3, "no application protocol in common", "connect", ticket)
        assert os.listdir(home + "/there") == ["f"] and "n" * 256 not in os.listdir(home)
        sender.stop()


@test
def peers_that_do_not_answer_get_one_line(home):
    key = run(home, "key", "new", "--key", home + "/key").stdout.decode().strip()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, Evil("silent", "DUMBPIPEV0") as other:
        udp.bind(("127.0.0.1", 0))
        one_line(home, 3, "no answer in time; is the other side still running",
                 "connect", "--timeout", "0.3", "--addr", "127.0.0.1:%d" % udp.getsockname()[1], key)
        address = json.loads(run(home, "ticket", "--json", other.ticket).stdout)["addresses"][0]
        one_line(home, 3, "another key than the one that was dialled", "connect", "--addr", address, key)
    one_line(home, 3, "only its id is known; add --addr", "connect", key)
    with Evil("refuse") as evil:
        one_line(home, 3, "refused the connection", "receive", evil.ticket)
    with Evil("close", "/iroh-bytes/4", "7", b"\x1b[31mevil\n\xc2\x9bx".hex()) as evil:
        done = one_line(home, 1, "closed the connection .code 7", "receive", evil.ticket)
        assert b"\x1b" not in done.stderr and b"\x9b" not in done.stderr, done.stderr
    with Evil("lie") as evil:
        one_line(home, 4, "wrong bytes at chunk 0", "receive", "-o", "lie", evil.ticket)
    assert sorted(os.listdir(home)) == ["key"], os.listdir(home)


EVIL_NAMES = [b"", b".", b"..", b"../x", b"a/../../x", b"/tmp/x", b"a//b", b"a/", b"./a", b"a\0b", b"a\\..\\b", b"C:x", b"\x1b[31mx",
              b"x\ny", b"\xff", b"n" * 256, b"y/" * 2048 + b"z"]


@test
def names_that_lead_out_are_refused(home):
    os.mkdir(home + "/in")
    for names in [[name] for name in EVIL_NAMES] + [[b"good", b"../x"], [b"same", b"same"], [b"a", b"a/b"], [b"a/b", b"a"]]:
        with Evil("names", *(name.hex() for name in names)) as evil:
            done = one_line(home, 1, "nothing of it was written", "receive", evil.ticket, cwd=home + "/in")
            assert b"\x1b" not in done.stderr, done.stderr
        assert os.listdir(home) == ["in"] and os.listdir(home + "/in") == [], (names, os.listdir(home), os.listdir(home + "/in"))
    for meta, count in ((b"nonsense", 1), (b"CollectionV0.\x03\x01a\x01b", 2), (b"CollectionV0.\x01\x01a", 3),
                        (b"CollectionV0.\x02\x01a\x01b", 1), (b"CollectionV0.\xff\xff\xff\xff\xff\xff\xff\xff\x01", 1)):
        with Evil("meta", meta.hex(), str(count)) as evil:
            one_line(home, 1, "nothing of it was written", "receive", evil.ticket, cwd=home + "/in")


@test
def links_in_the_target_are_not_followed(home):
    for directory in ("/in", "/out"):
        os.mkdir(home + directory)
    os.symlink("../out", home + "/in/link")
    with Evil("names", b"link/x".hex()) as evil:
        for force in ([], ["--force"]):
            one_line(home, 5, "are not followed", "receive", *force, evil.ticket, cwd=home + "/in")
    write(home + "/out/precious", 10)
    os.symlink("../out/precious", home + "/in/file")
    os.symlink("../out/nothing", home + "/in/dangling")
    for name in ("file", "dangling"):
        with Evil("names", name.encode().hex()) as evil:
            one_line(home, 5, "--force replaces it", "receive", evil.ticket, cwd=home + "/in")
            run(home, "receive", "--force", evil.ticket, cwd=home + "/in")
        assert open(home + "/in/" + name).read() == "evil" and not os.path.islink(home + "/in/" + name)
    assert os.listdir(home + "/out") == ["precious"] and os.path.getsize(home + "/out/precious") == 10


def size_below(directory):
    total = 0
    for where, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


@test
def a_killed_receive_leaves_no_final_name_and_goes_on(home):
    size = 60_000_000
    write(home + "/from/film", size)
    for i in range(3):
        write(home + "/from/tree/%d" % i, size // 3, b"%d" % i)
    for offered, source in (("film", home + "/from/film"), ("tree", home + "/from/tree")):
        with Running(home, "send", *LOOPBACK, source) as sender:
            for limit in (1, size // 4, size * 3 // 4):
                target = tempfile.mkdtemp(dir=home)
                with Running(home, "receive", sender.ticket(), cwd=target) as receiver:
                    while receiver.process.poll() is None and size_below(target) < limit:
                        pass
                    receiver.process.kill()
                    receiver.process.wait()
                left = [name for name in os.listdir(target) if not name.startswith(".kith-partial-")]
                done = json.loads(run(home, "receive", "--json", "--force", sender.ticket(), cwd=target).stdout.splitlines()[-1])
                if receiver.process.returncode == 0:
                    continue  # it was faster than we are
                if offered == "film":
                    assert left == [], left
                assert done["bytes"] == size and (limit == 1 or done["resumed"] > limit // 3), (limit, done)
                assert done["wire"] < (size - done["resumed"]) * 1.02 + 200_000, done
                assert os.listdir(target) == [offered] and subprocess.run(["diff", "-r", source, target + "/" + offered]).returncode == 0
            sender.stop()


@test
def a_full_disk_gets_one_line_and_can_be_continued(home):
    mount = 'mount -t tmpfs -o size=%s tmpfs "$1" && cd "$1" && '
    prefix = next((p for p in (["unshare", "-m"], ["unshare", "-rm"])
                   if subprocess.run([*p, "sh", "-c", mount % "1m" + "true", "x", home], capture_output=True).returncode == 0), None)
    if prefix is None:
        raise Skip("no file system can be mounted here")
    write(home + "/film", 6_000_000)
    os.mkdir(home + "/small")
    script = mount % "4m" + ('"$2" receive "$3"; echo $?; ls; mount -o remount,size=20m . && "$2" receive --json "$3" && cmp film "$4"; '
                             'mount -o remount,size=7m . ; head -c 9000000 "$4" "$4" | XDG_CACHE_HOME=$PWD "$2" send -; echo $?; ls kith')
    with Running(home, "send", *LOOPBACK, home + "/film") as sender:
        done = run(home, *prefix[1:], "sh", "-c", script, "x", home + "/small", KITH, sender.ticket(), home + "/film", program=prefix[0])
    lines = done.stderr.decode().splitlines()
    assert re.search("no space left on the device.*make room and run the same command again", lines[1]), lines
    assert re.search("No space left on device; make room", lines[2]) and len(lines) == 3, lines
    out = done.stdout.decode().splitlines()
    assert out[0] == "5" and out[2] == "5" and len(out) == 3 and json.loads(out[1])["resumed"] > 900_000, out


@test
def permissions_get_one_line(home):
    prefix = [] if os.getuid() != 0 else ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    os.chmod(home, 0o777)
    try:
        works = subprocess.run([*prefix, KITH, "version"], capture_output=True, cwd="/").returncode == 0
    except OSError:
        works = False
    if not works:
        raise Skip("no other user can run %s" % KITH)

    def other(code, pattern, *arguments):
        done = run(home, *prefix[1:], KITH, *arguments, program=prefix[0], code=code) if prefix else run(home, *arguments, code=code)
        lines = [line for line in done.stderr.decode().splitlines() if not line.startswith("connecting")]
        assert len(lines) == 1 and re.search(pattern, lines[0]), lines
    write(home + "/f", 10)
    write(home + "/mine/secret", 10)
    os.mkdir(home + "/locked", 0o555)
    with Running(home, "send", *LOOPBACK, home + "/f") as sender:
        other(5, "ermission denied; choose another place", "receive", "-o", "locked", sender.ticket())
        other(5, "ermission denied; choose another place", "receive", "-o", "locked/new", sender.ticket())
        other(5, "ermission denied; choose another place", "receive", "-o", "locked/new/x", sender.ticket())
        sender.stop()
    assert os.listdir(home + "/locked") == []
    os.chmod(home + "/mine/secret", 0)
    other(5, "permission denied; its owner must let you read it", "send", "mine/secret")
    other(5, "permission denied; its owner must let you read it", "send", "mine")
    os.chmod(home + "/mine", 0)
    other(5, "Permission denied; its owner must let you read it", "send", "mine/secret")
    other(5, "cannot be written: permission denied", "key", "new", "--key", "locked/key")


@test
def output_that_cannot_be_written_is_told(home):
    write(home + "/from/f", 10)
    with Running(home, "send", *LOOPBACK, home + "/from/f") as sender, open("/dev/full", "wb") as full:
        for option in ("-q", "--json"):
            done = subprocess.run([KITH, "receive", option, "--force", sender.ticket()], stdout=full, stderr=subprocess.PIPE, cwd=home, env=environment(home), timeout=LIMIT)
            assert done.returncode == 1 and done.stderr.count(b"\n") == 1 and b"could not be written" in done.stderr, done
        sender.stop()
    with Running(home, "listen", *LOOPBACK, stdout=open("/dev/full", "wb")) as listener:
        run(home, "connect", listener.ticket(), input=b"x" * 100000, code=None)
        listener.wait(1).line("the pipe broke: writing: No space left on device")


@test
def closed_descriptors_do_not_become_sockets(home):
    write(home + "/from/f", 10)

    def closed(redirections, *arguments):
        return run(home, "-c", 'exec "$0" "$@" ' + redirections, KITH, *arguments, program="sh", code=None)
    with Running(home, "send", *LOOPBACK, home + "/from/f") as sender:
        done = closed(">&-", "receive", "-q", sender.ticket())
        assert done.returncode == 1 and b"could not be written" in done.stderr, done
        done = closed("2>&- <&-", "receive", "--force", sender.ticket())
        assert done.returncode == 0 and done.stdout == b"f\n", done
        assert closed(">&- 2>&- <&-", "receive", "--force", sender.ticket()).returncode == 1
        sender.stop()
    with Running(home, "listen", *LOOPBACK) as listener:
        done = closed("<&-", "connect", "-q", listener.ticket())
        assert done.stdout == b"", done


# ---- Streams, words, terminals ----


@test
def the_last_line_is_the_command_for_the_other_side(home):
    write(home + "/from/f", 10)
    for arguments in (["send", home + "/from/f"], ["send", "-q", home + "/from/f"], ["send", "--qr", home + "/from/f"], ["listen", "--tcp", "127.0.0.1:1"],
                      ["listen", "-q", "--unix", "/x"], ["listen", "--custom-alpn", "utf8:it's my/pipe"], ["ping", "--listen"], ["speed", "-l"]):
        with Running(home, *arguments, *LOOPBACK) as server:
            ticket = server.ticket()
            words = shlex.split(server.lines[-1])
            assert words[0] == "kith" and words[-1] == ticket, server.lines
            assert "-q" not in arguments or len(server.lines) == 1, server.lines
            if "--custom-alpn" in arguments:
                assert run(home, *words[1:], input=b"through").stderr == b""
                server.wait(0)
                assert server.process.stdout.read() == b"through"
            elif arguments[0] == "send":
                assert run(home, *words[1:], "-q", "--force").stderr == b""
            server.stop(None)


@test
def quiet_is_silent_and_data_is_all_there_is_on_stdout(home):
    write(home + "/from/f", 300_000)
    with Running(home, "send", *LOOPBACK, home + "/from/f") as sender:
        done = run(home, "receive", "-q", sender.ticket())
        assert done.stdout == b"f\n" and done.stderr == b"", done
        done = run(home, "receive", "-v", "--force", sender.ticket())
        assert done.stdout == b"f\n", done.stdout
        assert re.search(rb"path: direct, 127\.0\.0\.1:\d+ to 127\.0\.0\.1:\d+, round trip \S+ ms at least", done.stderr), done.stderr
        path = json.loads(run(home, "receive", "--json", "--force", sender.ticket()).stdout.splitlines()[-1])["path"]
        assert path["local"].startswith("127.0.0.1:") and 0 < path["rtt_min_ms"] <= path["rtt_ms"] * 2, path
        sender.stop()
        assert sender.process.stdout.read() == b""
    with Running(home, "listen", "-q", *LOOPBACK) as listener:
        assert run(home, "connect", "-q", listener.ticket(), input=b"data").stderr == b""
        listener.wait(0)
        assert len(listener.lines) == 1 and listener.process.stdout.read() == b"data"


@test
def every_line_of_json_is_an_object(home):
    write(home + "/from/f", 10)
    for arguments in (["send", home + "/from/f"], ["listen", "--tcp", "127.0.0.1:1"], ["ping", "--listen"], ["speed", "--listen"]):
        with Running(home, *arguments, "--json", *LOOPBACK) as server:
            first = json.loads(server.process.stdout.readline())
            assert first["command"].split()[-1] == first["ticket"], first
            if arguments[0] == "send":
                run(home, "receive", "--json", first["ticket"])
            if arguments[0] == "ping":
                run(home, "ping", "--json", "-c", "1", first["ticket"])
            server.stop()
            for line in server.process.stdout.read().splitlines():
                assert "event" in json.loads(line), line
    for arguments in (["key", "new"], ["key", "show"], ["version"], ["ticket", first["ticket"]]):
        done = run(home, *arguments, "--json")
        assert len(done.stdout.splitlines()) == 1 and json.loads(done.stdout) and done.stderr == b"", done


@test
def dumbpipe_words_are_understood(home):
    with Running(home, "listen", "--ipv4-addr", "127.0.0.1:0", "--ipv6-addr", "[::1]:0") as listener:
        addresses = json.loads(run(home, "ticket", "--json", listener.ticket()).stdout)["addresses"]
        assert [a.rsplit(":", 1)[0] for a in addresses] == ["127.0.0.1", "[::1]"], addresses
        run(home, "connect", "--ipv4-addr", "127.0.0.1:0", listener.ticket(), input=b"x")
        listener.wait(0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        echo_server(server)
        with Running(home, "listen-tcp", *LOOPBACK, "--host", "127.0.0.1:%d" % server.getsockname()[1]) as listener:
            with Running(home, "connect-tcp", "--addr", "127.0.0.1:0", listener.ticket()) as connector:
                port = int(connector.line(r"forwarding 127\.0\.0\.1:(\d+)").group(1))
                echo_through(lambda: socket.create_connection(("127.0.0.1", port)), 1000)
                connector.stop()
            listener.stop()


@test
def receive_only_sends_nothing(home):
    with Running(home, "listen", "--recv-only", *LOOPBACK, stdin=subprocess.PIPE) as listener:
        assert run(home, "connect", listener.ticket(), input=b"in").stdout == b""
        listener.wait(0)
        assert listener.process.stdout.read() == b"in"


class Terminal:
    """A program with a terminal of its own as stdin and stderr (and stdout)."""

    def __init__(self, home, *arguments, columns=80, env=None, stdin=None):
        self.fd, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen([KITH, *arguments], stdin=stdin or inner, stdout=inner, stderr=inner, cwd=home, start_new_session=True,
                                        env=dict(environment(home), **{"TERM": "xterm", **(env or {})}),
                                        preexec_fn=lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0))
        os.close(inner)
        self.seen = b""

    def until(self, pattern):
        """Reads until this came, or (None) to the end."""
        end = time.monotonic() + LIMIT
        while pattern is None or not re.search(pattern, self.seen):
            assert select.select([self.fd], [], [], max(0, end - time.monotonic()))[0], "%r did not come: %r" % (pattern, self.seen[-500:])
            try:
                piece = os.read(self.fd, 65536)
            except OSError:  # the other end is closed
                piece = b""
            if not piece:
                assert pattern is None, "%r did not come: %r" % (pattern, self.seen[-500:])
                return self
            self.seen += piece
        return self

    def press_ctrl_c(self, code):
        os.write(self.fd, b"\x03")
        self.until(None)
        self.process.wait(LIMIT)
        assert self.process.returncode == code, (self.process.returncode, self.seen[-500:])
        return self

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.fd)


@test
def progress_is_drawn_in_place_fits_and_is_taken_away(home):
    with Evil("silent", "/iroh-bytes/4") as evil:
        for columns, env in ((80, {}), (40, {}), (40, {"NO_COLOR": "1"}), (80, {"TERM": "dumb"})):
            with Terminal(home, "receive", "-o", "x", evil.ticket, columns=columns, env=env) as terminal:
                terminal.until(rb"\rreceiving|\r\x1b\[36mreceiving").press_ctrl_c(130)
                seen = terminal.seen
            assert (b"\x1b[36m" in seen) == (not env), seen
            last = seen.split(b"\r")
            assert all(len(re.sub(rb"\x1b\[[0-9;]*[mK]", b"", part).strip(b"\n^C")) < columns for part in last if b"receiving" in part), seen
            drawn = seen.rindex(b"receiving ")
            assert b"\r\x1b[K" in seen[drawn:] and b"interrupted" in seen[drawn:], seen  # taken away before the last words
            assert os.listdir(home) == [], os.listdir(home)


@test
def ctrl_c_ends_every_stage_as_documented(home):
    write(home + "/from/f", 10)
    ends = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with Terminal(home, "send", "-", stdin=ends.stdout) as terminal:  # while standard input comes
        ends.stdin.write(b"x" * 100)
        ends.stdin.flush()
        terminal_waits_for_spool(home)
        ends.stdin.write(b"x" * 100)  # a read that waits goes on
        ends.stdin.flush()
        terminal.press_ctrl_c(130)
        assert glob.glob(home + "/cache/kith/stdin-*") == []
    ends.kill()
    ends.wait()
    with Terminal(home, "send", *LOOPBACK, "from/f") as terminal:  # while it serves
        terminal.until(rb"kith receive blob").press_ctrl_c(0)
    with Terminal(home, "listen", *LOOPBACK) as terminal:  # while it waits
        terminal.until(rb"kith connect endpoint").press_ctrl_c(130)
    with Terminal(home, "ping", "--listen", *LOOPBACK) as terminal:
        terminal.until(rb"kith ping endpoint").press_ctrl_c(0)
    with Evil("refuse") as evil:
        evil.process.send_signal(signal.SIGSTOP)
        with Terminal(home, "receive", evil.ticket) as terminal:  # while it connects
            terminal.until(rb"connecting to").press_ctrl_c(130)
            assert b"interrupted" in terminal.seen
    with Evil("silent", "DUMBPIPEV0") as evil:
        with Terminal(home, "connect", "-v", evil.ticket) as terminal:  # in the middle of a pipe
            terminal.until(rb"connected to").press_ctrl_c(130)
        with Terminal(home, "connect", "--tcp", "127.0.0.1:0", evil.ticket) as terminal:
            terminal.until(rb"forwarding").press_ctrl_c(0)


def terminal_waits_for_spool(home):
    end = time.monotonic() + LIMIT
    while not any(os.path.getsize(f) for f in glob.glob(home + "/cache/kith/stdin-*/stdin")):
        assert time.monotonic() < end, "standard input was not read"
        time.sleep(0.005)


@test
def names_of_peers_do_not_steer_the_terminal(home):
    for number, name in enumerate(("c1\u009b31mx", "rtl\u202egpj.exe", "line\u2028end")):
        os.mkdir("%s/%d" % (home, number))
        with Evil("names", name.encode().hex()) as evil:
            with Terminal("%s/%d" % (home, number), "receive", evil.ticket) as terminal:
                terminal.until(None)
            assert b"\xc2\x9b" not in terminal.seen and b"\xe2\x80" not in terminal.seen and b"?" in terminal.seen, terminal.seen
            # Programs get the name as it is.
            assert run("%s/%d" % (home, number), "receive", "--force", evil.ticket).stdout == name.encode() + b"\n"
            assert json.loads(run("%s/%d" % (home, number), "receive", "--json", "--force", evil.ticket).stdout)["paths"] == [name]


@test
def qr_codes_are_drawn_for_the_character_set(home):
    write(home + "/f", 10)
    for env, drawn in (({"LC_ALL": "C.UTF-8"}, "█▀"), ({"LC_ALL": "C"}, "##")):
        done = subprocess.Popen([KITH, "send", "--qr", *LOOPBACK, "f"], stderr=subprocess.PIPE, cwd=home, env=dict(environment(home), **env))
        lines = []
        while not lines or not re.match(rb"kith receive ", lines[-1]):
            lines.append(done.stderr.readline())
            assert lines[-1], lines
        done.send_signal(signal.SIGINT)
        assert done.wait(LIMIT) == 0
        done.stderr.close()
        code = [line.decode().rstrip("\n") for line in lines[1:-1]]
        assert len(code) > 20 and len(set(map(len, code))) == 1 and all(c in "".join(code) for c in drawn), code
        assert env["LC_ALL"] != "C" or all(line.isascii() for line in code)


@test
def completion_knows_the_commands_options_and_files(home):
    write(home + "/some-file", 1)
    script = os.path.join(ROOT, "doc", "completion", "kith.bash")

    def complete(*words):
        program = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _kith; printf "%s\\n" "${COMPREPLY[@]}"'
        return run(home, "-c", program, "bash", script, *words, program="bash").stdout.decode().split()
    assert complete("kith", "re") == ["receive"] and "send" in complete("kith", "")
    assert "--force" in complete("kith", "receive", "--fo")
    assert complete("kith", "send", "some") == ["some-file"]
    assert complete("kith", "receive", "-o", "some") == ["some-file"]
    for command in ("send", "receive", "listen", "connect", "ping", "speed", "key", "ticket"):
        known = set(re.findall(r"--[a-z0-9-]+", run(home, command, "--help").stdout.decode().split("Exit codes")[0].split("\n\nFiles")[0]))
        offered = set(complete("kith", command, "-"))
        table = {m for line in run(home, command, "--help").stdout.decode().splitlines() for m in re.findall(r"^  (?:-\w, |    )(--[a-z0-9-]+)", line)}
        assert table <= offered, (command, table - offered)
        page = open(os.path.join(ROOT, "doc", "man", "kith-%s.1" % command)).read().replace("\\-", "-")
        assert all(option in page for option in table), (command, [o for o in table if o not in page])
        assert known


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


if __name__ == "__main__":
    sys.exit(main())
