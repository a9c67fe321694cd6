#!/usr/bin/env python3
"""What goes wrong with the kith program: one line that says what, why and what to do; the documented exit code; nothing half
written under its final name. Prints TAP lines."""
from programs import *


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
            ("like https://relay.example", "listen", "--relay", "relay.example"), ("like localhost:8080", "listen", "--tcp", "foo"),
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
    os.symlink("nowhere", home + "/dangling")
    for verb in ("show", "id", "new"):
        one_line(home, 5, "is a symbolic link to a file that is not there; remove the link", "key", verb, "--key", "dangling")


@test
def one_key_is_one_id_wherever_it_comes_from(home):
    key = run(home, "key", "new", "--key", home + "/key").stdout.decode().strip()
    secret = run(home, "key", "show", "--secret", "--key", home + "/key").stdout.decode().strip()
    assert run(home, "key", "id", env={"IROH_SECRET": secret}).stdout.decode().strip() == key
    run(home, "key", "new", "--key", home + "/other")
    for option, said in (([], True), (["-q"], False)):
        done = run(home, "connect", *option, "--key", home + "/other", "--timeout", "0.1", "--addr", "127.0.0.1:9", key, env={"IROH_SECRET": secret}, code=3)
        assert (b"--key is used, and IROH_SECRET is not looked at" in done.stderr) == said, done.stderr
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
        one_line(home, 1, "another program uses it; choose another port", "send", "--bind", "127.0.0.1:%d" % udp.getsockname()[1], "f")
        one_line(home, 1, "this machine has no such address", "send", "--bind", "192.0.2.1:0", "f")
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
    one_line(home, 3, "only its id is known; add --lookup, --addr", "connect", key)
    with Evil("refuse") as evil:
        one_line(home, 3, "refused the connection", "receive", evil.ticket)
    with Evil("close", "/iroh-bytes/4", "7", b"\x1b[31mevil\n\xc2\x9bx".hex()) as evil:
        done = one_line(home, 1, "closed the connection .code 7", "receive", evil.ticket)
        assert b"\x1b" not in done.stderr and b"\x9b" not in done.stderr, done.stderr
    with Evil("silent", "/iroh-bytes/4") as evil:
        one_line(home, 3, "sent nothing for too long that can be verified.*--stall SECONDS", "receive", "--stall", "0.2", evil.ticket)
    with Evil("lie") as evil:
        one_line(home, 4, "wrong bytes at chunk 0", "receive", "-o", "lie", evil.ticket)
    assert sorted(os.listdir(home)) == ["key"], os.listdir(home)


EVIL_NAMES = [b"", b".", b"..", b"../x", b"a/../../x", b"/tmp/x", b"a//b", b"a/", b"./a", b"a\0b", b"a\\..\\b", b"C:x", b"\x1b[31mx", b"c1\xc2\x9b31mx",
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
def two_receivers_in_one_place_do_not_mix(home):
    size = 60_000_000
    write(home + "/from/film", size)
    with Running(home, "send", *LOOPBACK, home + "/from/film") as sender:
        for way in ([], ["-o", "other"]):
            with Running(home, "receive", *way, sender.ticket()) as first:
                while first.process.poll() is None and sum(map(size_below, glob.glob(home + "/.kith-partial-*"))) < 1_000_000:
                    pass
                first.process.send_signal(signal.SIGSTOP)
                if glob.glob(home + "/.kith-partial-*/**/*.lock", recursive=True) + glob.glob(home + "/.kith-partial-*/.kith-*/lock"):
                    one_line(home, 1, "another receiver is fetching the same into the same place; wait for it", "receive", *way, sender.ticket())
                first.process.send_signal(signal.SIGCONT)
                first.wait(0)
            assert same(home + "/" + (way or ["", "film"])[1], home + "/from/film")
        sender.stop()
    assert sorted(set(os.listdir(home)) - {"cache"}) == ["film", "from", "other"], os.listdir(home)


@test
def one_that_gives_up_is_not_served(home):
    write(home + "/from/f", 10)
    write(home + "/f", 10, b"mine")
    with Running(home, "send", *LOOPBACK, "--once", home + "/from/f") as sender:
        one_line(home, 5, "--force replaces it", "receive", sender.ticket())
        sender.line("left early")
        assert sender.process.poll() is None
        run(home, "receive", "--force", sender.ticket())
        sender.wait(0)


@test
def a_killed_send_of_standard_input_leaves_nothing(home):
    with Running(home, "send", *LOOPBACK, "-", stdin=subprocess.PIPE) as sender:
        sender.process.stdin.write(b"x" * 3_000_000)
        sender.process.stdin.close()
        sender.ticket()
        sender.process.kill()
        sender.process.wait()
    assert os.listdir(home + "/cache/kith") == [], os.listdir(home + "/cache/kith")


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
    assert re.search("no space is left on that file system; make room.*run the same command again", lines[1]), lines
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
        other(5, "ermission denied; .*choose another place", "receive", "-o", "locked", sender.ticket())
        other(5, "ermission denied; .*choose another place", "receive", "-o", "locked/new", sender.ticket())
        other(5, "ermission denied; .*choose another place", "receive", "-o", "locked/new/x", sender.ticket())
        sender.stop()
    assert os.listdir(home + "/locked") == []
    os.chmod(home + "/mine/secret", 0)
    other(5, "permission denied; its owner must let you use it", "send", "mine/secret")
    other(5, "permission denied; its owner must let you use it", "send", "mine")
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

if __name__ == "__main__":
    sys.exit(main())
