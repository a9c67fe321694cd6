#!/usr/bin/env python3
"""The store of kith-dns and what may happen to it: killed in mid-write, a full disk, a torn file, a directory that cannot be written. TAP lines.

KITH_DNS_KILLS: how often it is killed, 50 by default. Each round puts packets of endpoints that no round had before, over 16 connections, kills the
server after a number of answers that the round's seed decides, starts it again on the same store and asks for every packet that was accepted; at the
end it is asked for those of all rounds."""
import os, random, shutil, socket, subprocess, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "interop"))
import lookups
from peers import BIN, Tap
from relays import free_port

TIME_US = "1795432028452851"
ROUND = 4096  # endpoints that a round may use
PROGRAM = os.path.join(BIN, "kith-dns")


def start(before=()):
    return lookups.LookupServer(PROGRAM, http_port=free_port(), dns_port=free_port(socket.SOCK_DGRAM), before=before)


def load(server, *words, **more):
    command = [os.path.join(BIN, "lookup-load"), "--http", str(server.http_port), "--time", TIME_US, "--conns", "16", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)


def missing(server, numbers):
    """What of these the server does not have."""
    check = load(server, "check", stdin=subprocess.PIPE)
    said = check.communicate("\n".join(map(str, numbers)) + "\n", timeout=300)[0].splitlines()
    if check.returncode != 0 or '"checked":%d' % len(numbers) not in said[-1]:
        raise RuntimeError("the check ended with %s: %s" % (check.returncode, said[-3:]))
    return [int(line.split()[1]) for line in said if line.startswith("missing ")]


def put(server, first, count):
    """What of so many puts was accepted, until one is not. And what the server then said."""
    putting = load(server, "acks", first, count, stderr=subprocess.PIPE)
    taken, said = putting.communicate(timeout=60)
    return [int(line) for line in taken.split()], said


def killed(tap):
    rounds, accepted, lost = int(os.environ.get("KITH_DNS_KILLS", 50)), [], []
    server = start()
    for number in range(rounds):
        wanted = random.Random(number).randrange(1, 200)
        putting, fresh = load(server, "acks", number * ROUND, ROUND), []
        for line in putting.stdout:
            fresh.append(int(line))
            if len(fresh) == wanted:
                server.process.process.kill()
        putting.wait(timeout=60)
        server.kill()
        server.start()
        lost += missing(server, fresh)
        accepted += fresh
    lost += missing(server, accepted)
    server.stop()
    tap.report(not lost and len(accepted) > rounds, "killed %d times while it wrote, it has all of %d packets that it accepted" % (rounds, len(accepted)), lost[:20])


def mounted(options):
    """What runs a program with a file system of its own in memory as the data directory. None: this machine allows no namespaces."""
    own = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])
    script = 'dir=$(sed -n \'s/^data_dir = "\\(.*\\)"/\\1/p\' "$3"); mkdir -p "$dir"; mount -t tmpfs -o %s none "$dir" && exec "$@"' % options
    allowed = all(shutil.which(word) for word in ("unshare", "nsenter", "mount")) and subprocess.run([*own, "true"], capture_output=True).returncode == 0
    return [*own, "sh", "-c", script, "sh"] if allowed else None


def remount(server, options):
    pid = str(server.process.process.pid)
    enter = ["nsenter", "--target", pid, "--mount"] + ([] if os.geteuid() == 0 else ["--user", "--preserve-credentials"])
    subprocess.run([*enter, "mount", "-o", "remount," + options, server.directory + "/data"], check=True)


def full(tap):
    name = "on a full disk a put says 5xx and changes nothing, all else goes on, and so do puts when there is room again"
    before = mounted("size=400k")
    if before is None:
        tap.skip(name, "this machine allows no namespaces")
        return
    server = start(before)
    taken, said = put(server, 0, ROUND)
    refused = "answered HTTP/1.1 507" in said or "answered HTTP/1.1 500" in said
    more, _ = put(server, ROUND, 500)  # some may fit, where few go together
    lost = missing(server, taken + more)
    remount(server, "size=20m")
    rest, said = put(server, 2 * ROUND, 500)
    lost += missing(server, taken + more + rest)
    log = server.process.output()
    server.stop()
    tap.report(0 < len(taken) < ROUND and refused and len(more) < 500 and not lost and len(rest) == 500 and log.count("cannot be written") == 1,
               name, (len(taken), refused, len(more), lost[:9], len(rest), said, log))


def narrow(tap):
    """Starts on a disk that is full, or has room for some pages only; then on the same one with room."""
    name = "a disk that is full at the first start is an error that says so, and of what was begun nothing is in the way later"
    own = mounted("size=64k")
    if own is None:
        tap.skip(name, "this machine allows no namespaces")
        return
    script = """mount -t tmpfs -o size=64k none "$1" && cd "$1" || exit 9
for pages in 0 1 2 3 4 5; do
    rm -rf data *.toml filler; mkdir data
    head -c $((65536 - 4096 * (pages + 1))) /dev/zero > filler
    printf 'data_dir = "%s/data"\nhttp.port = 0\nhttp.bind_addr = "127.0.0.1"\ndns.port = 0\ndns.bind_addr = "127.0.0.1"\ndns.origins = ["a."]\n' "$1" > c.toml
    timeout --preserve-status 2 "$2" --no-metrics --workers 1 -c c.toml 2>&1 | tail -n 1 > /dev/shm/said.$$; echo "narrow: $(cat /dev/shm/said.$$)"
    rm filler
    timeout --preserve-status 1 "$2" --no-metrics --workers 1 -c c.toml > /dev/shm/said.$$ 2>&1; echo "wide $?: $(tail -n 1 /dev/shm/said.$$)"; rm /dev/shm/said.$$
done"""
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run([*own[:own.index("sh")], "sh", "-c", script, "sh", home, PROGRAM], capture_output=True, text=True, timeout=60)
    said = done.stdout.splitlines()
    first, then = [line for line in said if line.startswith("narrow")], [line for line in said if line.startswith("wide")]
    tap.report(len(first) == len(then) == 6 and any("no space" in line for line in first) and "Bus error" not in done.stdout + done.stderr and
               not any("cannot" in line for line in then), name, (said, done.stderr[-300:]))


def refuses(server, *words):
    """True if it ends with an error in which all the words are, and without a signal."""
    try:
        server.start()
    except RuntimeError as error:
        server.process.end()
        return server.process.process.returncode == 1 and all(word in str(error) for word in words)
    server.kill()
    return False


def torn(tap):
    server = start()
    taken, _ = put(server, 0, 1000)
    server.kill()
    path = os.path.join(server.directory, "data", "packets.mdb")
    with open(path, "rb") as file:
        whole = file.read()
    results = []
    for bad in (whole[:len(whole) // 2], whole[:5000], b"\0" * len(whole), b"something else\n" * 999, whole[:4096] + whole[8192:]):
        with open(path, "wb") as file:
            file.write(bad)
        results.append(refuses(server, "the store cannot be opened", "left as it is"))
        with open(path, "rb") as file:
            results.append(file.read() == bad)
    with open(path, "wb") as file:
        file.write(whole)
    server.start()
    lost = missing(server, taken)
    tap.report(len(taken) == 1000 and all(results) and not lost, "a store that is torn is refused with a clear error and left as it is", (results, lost[:9]))
    other = lookups.LookupServer.__new__(lookups.LookupServer)
    other.__dict__.update(server.__dict__, http_port=free_port())
    tap.report(refuses(other, "another process uses the data directory"), "two servers do not share a store", other.process.output())
    server.stop()


def unwritable(tap):
    server = start()
    server.kill()
    data = os.path.join(server.directory, "data")
    shutil.rmtree(data)
    with open(data, "w") as file:
        file.write("this is no directory")
    tap.report(refuses(server, data), "a data directory that is a file is told", server.process.output())
    os.unlink(data)
    name, server.before = "a data directory that may not be written is told", mounted("ro")
    if server.before is None:
        tap.skip(name, "this machine allows no namespaces")
    else:
        tap.report(refuses(server, data, "lock cannot be opened"), name, server.process.output())
    shutil.rmtree(server.directory)


def main():
    tap = Tap()
    if not os.path.exists(PROGRAM):
        tap.report(False, "kith-dns is built")
        tap.end()
    for part in (killed, full, narrow, torn, unwritable):
        part(tap)
    tap.end()


if __name__ == "__main__":
    main()
