#!/usr/bin/env python3
"""The kith program on its streams and on a terminal: what goes where, words it understands, progress, Ctrl-C. Prints TAP lines."""
from programs import *


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
        terminal_waits_for_spool(home, terminal.process.pid)
        ends.stdin.write(b"x" * 100)  # a read that waits goes on
        ends.stdin.flush()
        terminal.press_ctrl_c(130)
        assert os.listdir(home + "/cache/kith") == []
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


def terminal_waits_for_spool(home, pid):
    end = time.monotonic() + LIMIT
    while not any(os.stat(f).st_size for f in glob.glob("/proc/%d/fd/*" % pid) if (home + "/cache/kith/") in os.readlink(f)):
        assert time.monotonic() < end, "standard input was not read"
        time.sleep(0.005)


@test
def names_of_peers_do_not_steer_the_terminal(home):
    for number, name in enumerate(("rtl\u202egpj.exe", "line\u2028end")):
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
    assert complete("kith", "rec") == ["receive"] and "send" in complete("kith", "")
    assert "--force" in complete("kith", "receive", "--fo")
    assert complete("kith", "send", "some") == ["some-file"]
    assert complete("kith", "receive", "-o", "some") == ["some-file"]
    for command in ("send", "receive", "listen", "connect", "ping", "speed", "lookup", "key", "ticket", "relay", "dns", "serve"):
        known = set(re.findall(r"--[a-z0-9-]+", run(home, command, "--help").stdout.decode().split("Exit codes")[0].split("\n\nFiles")[0]))
        offered = set(complete("kith", command, "-"))
        table = {m for line in run(home, command, "--help").stdout.decode().splitlines() for m in re.findall(r"^  (?:-\w, |    )(--[a-z0-9-]+)", line)}
        assert table <= offered, (command, table - offered)
        page = open(os.path.join(ROOT, "doc", "man", "kith-%s.1" % command)).read().replace("\\-", "-")
        assert all(option in page for option in table), (command, [o for o in table if o not in page])
        assert known


@test
def completion_is_right_for_the_other_shells(home):
    directory = os.path.join(ROOT, "doc", "completion")
    if not (shutil.which("zsh") and shutil.which("fish")):
        raise Skip("zsh and fish are not installed")
    run(home, "-n", directory + "/_kith", program="zsh")
    run(home, "--no-execute", directory + "/kith.fish", program="fish")

    def offered(line):
        done = run(home, "-c", "source %s/kith.fish; complete -C '%s'" % (directory, line), program="fish")
        return [word.split("\t")[0] for word in done.stdout.decode().splitlines()]
    assert offered("kith rec") == ["receive"] and "--force" in offered("kith receive --fo"), offered("kith rec")
    for server in ("relay", "dns", "serve"):
        table = re.findall(r"^  (?:-\w, |    )(--[a-z0-9-]+)", run(home, server, "--help").stdout.decode(), re.M)
        for line in ("kith-%s --", "kith %s --") if server != "serve" else ("kith %s --",):
            assert set(table) <= set(offered(line % server)), (line, set(table) - set(offered(line % server)))
        with open(directory + "/_kith") as file:
            zsh = re.search(r"^    %s\)$(.*?);;" % server, file.read(), re.M | re.S).group(1)
        assert set(table) == set(re.findall(r"'(--[a-z0-9-]+)\[", zsh)), server

if __name__ == "__main__":
    sys.exit(main())
