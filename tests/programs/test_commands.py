#!/usr/bin/env python3
"""The kith program as its users see it: streams, exit codes, files, pipes, forwarding. Loopback and temporary files only.

Real sendme and dumbpipe take part where KITH_PEERS (a directory) or the search path has them. Prints TAP lines."""
from programs import *


@test
def usage_errors_give_exit_code_2(home):
    for arguments in (["nonsense"], ["send"], ["send", "a", "b"], ["receive", "blobxyz"], ["send", "--nonsense", "a"],
                      ["listen", "--custom-alpn", "zz"], ["connect", "notaticket"], ["ping", "--count", "x", "y"],
                      ["listen", "--tcp", "1:2", "--unix", "p"], []):
        done = run(home, *arguments, code=2)
        assert done.stdout == b"" and done.stderr != b"", arguments


@test
def relays_that_cannot_be_are_refused_with_words(home):
    for words, relay in ((b"like https://relay.example", ("nonsense",)), (b"like https://relay.example", ("https://a.example,,",)),
                         (b"like https://relay.example", ("ftp://a.example",)), (b"no other relay option", ("none", "--relay-only")),
                         (b"too many relays", (",".join("https://r%d.example" % n for n in range(17)),))):
        done = run(home, "listen", "--relay", *relay, code=2)
        assert words in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    for words, *options in ((b"needs --relay", "--relay-only"), (b"name the relay, too", "--relay-token", "x")):
        done = run(home, "listen", *options, code=2)
        assert words in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    done = run(home, "ping", "--listen", "--relay-ca", home + "/none", code=5)
    assert b"--relay-ca" in done.stderr
    open(home + "/empty", "w").close()
    with open(home + "/broken", "w") as file:
        file.write("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    for path, words in (("/etc/hostname", b"PEM"), (home + "/broken", b"PEM"), (home + "/empty", b"empty")):
        done = run(home, "ping", "--listen", "--relay-ca", path, "--relay", "https://relay.example", code=1)
        assert words in done.stderr and b"--relay-ca " + path.encode() in done.stderr, done.stderr


@test
def relay_that_is_not_there_is_told_of(home):
    with Running(home, "listen", "--relay", "http://127.0.0.1:9", "--timeout", "0.5", "--tcp", "127.0.0.1:1") as listener:
        ticket = listener.ticket()
        told = json.loads(run(home, "ticket", "--json", ticket).stdout)
        assert told["relays"] == [] and told["addresses"], told  # what nobody can be reached through is not told
        listener.stop()
    for command in (("listen",), ("ping", "--listen"), ("send", "/etc/hostname")):  # a ticket without any address is of no use
        done = run(home, *command, "--relay", "http://127.0.0.1:9", "--relay-only", "--timeout", "0.5", code=3)
        assert re.search(rb"nobody could reach us: .*127.0.0.1:9 refuses connections", done.stderr) and b"endpoint" not in done.stderr, done.stderr


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
    assert os.listdir(home + "/cache/kith") == []


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
def a_target_is_looked_up_at_each_connection(home):
    script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
    write(home + "/hosts", 0)
    if subprocess.run(["unshare", "-m", "sh", "-c", script, "x", home + "/hosts", "true"], capture_output=True).returncode != 0:
        raise Skip("nothing can be mounted over /etc/hosts here")

    def names(address):
        with open(home + "/hosts", "w") as file:  # in place: it is mounted
            file.write("%s target.test\n" % address)
    names("127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.2", one.getsockname()[1])) as two:
        for server, word in ((one, b"one"), (two, b"two")):
            threading.Thread(target=lambda server=server, word=word: greet(server, word), daemon=True).start()
        with Running(home, "-m", "sh", "-c", script, "x", home + "/hosts", KITH, "listen", *LOOPBACK, "--tcp", "target.test:%d" % one.getsockname()[1],
                     program="unshare") as listener:
            with Running(home, "connect", "--tcp", "127.0.0.1:0", listener.ticket()) as connector:
                port = int(connector.line(r"forwarding \S*:(\d+) to").group(1))
                assert said(port) == b"one"
                names("127.0.0.2")
                assert said(port) == b"two"
                os.truncate(home + "/hosts", 0)  # no answer: as at the start
                assert said(port) == b"one"
                connector.stop()
            listener.stop()


def greet(server, word):
    while True:
        client, _ = server.accept()
        client.sendall(word)
        client.close()


def said(port):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(LIMIT)
        return client.recv(10)


@test
def speed_measures_both_directions(home):
    with Running(home, "speed", "--listen", *LOOPBACK) as server:
        for streams in ("1", "4"):
            done = run(home, "speed", "--json", "--time", "0.3", "--streams", streams, server.ticket())
            events = {e.get("direction", e["event"]): e for e in map(json.loads, done.stdout.splitlines())}
            assert events["up"]["bytes"] > 0 and events["down"]["bytes"] > 0 and events["round_trip"]["min_ms"] > 0
        done = run(home, "speed", "--json", "--time", "2.5", "--up", server.ticket())
        told = [e for e in map(json.loads, done.stdout.splitlines()) if e["event"] == "interval"]
        assert len(told) == 2 and all(e["direction"] == "up" and e["bytes"] > 0 for e in told), told
        assert told[0]["from_seconds"] == 0 and told[1]["from_seconds"] == told[0]["to_seconds"] >= 1, told
        assert re.search(rb"  up  .* in 0.0 to 1.\d s\n", run(home, "speed", "--time", "1.5", "--up", server.ticket()).stdout)
        assert b" to 1" not in run(home, "speed", "-q", "--time", "1.5", "--up", server.ticket()).stdout
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

if __name__ == "__main__":
    sys.exit(main())
