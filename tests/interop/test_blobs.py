#!/usr/bin/env python3
"""Blobs between kith and the real iroh-blobs, both ways: sizes, ranges, a collection, a provider that dies, one that lies. TAP."""
import json, os, re, shutil, signal, subprocess, sys, tempfile

from peers import Process, Tap, content, find_agents, make_tree

GROUP = 16 * 1024
BIG = 100_000_000
SIZES = [0, 1, 1023, 1024, 1025, GROUP - 1, GROUP, GROUP + 1, (1 << 20) + 3, BIG]
RANGES = [(0, 1), (15, 17), (64, 128), (1000, 1024)] # chunks of the blob of 1 MiB + 3 bytes; the next one is its cut last chunk
LAST_CHUNK = (1024, 1025)


class Provider(Process):
    """An agent that serves files; `tickets` in the order of the paths. `command` may be given for a liar."""

    def __init__(self, agent, paths, command=("blobs-serve",)):
        super().__init__([*agent, *command, *paths])
        self.tickets, after = [], 0
        count = len(paths) if command == ("blobs-serve",) else 1
        for _ in range(count):
            line = self.wait_line(lambda text: text.startswith("READY "), limit=60, after=after)
            if line is None:
                break
            after = self.lines.index(line, after) + 1
            self.tickets.append(line.split()[1])
        self.is_ready = len(self.tickets) == count


def get(agent, ticket, out, *words, limit=120, before=()):
    """(exit code, output) of one get."""
    try:
        done = subprocess.run([*agent, "blobs-get", *before, ticket, out, *words], capture_output=True, text=True, timeout=limit,
                              stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as late:
        return -1, "no end after %d s: %s" % (limit, late.stdout)
    return done.returncode, done.stdout + done.stderr


def result_of(output):
    """What kith-agent said about its get: the numbers of its DONE or FAILED line."""
    match = re.search(r"^(?:DONE|FAILED) (\{.*\})$", output, re.M)
    return json.loads(match.group(1)) if match else {}


def same_file(path, wanted):
    if not os.path.exists(path):
        return "%s is missing" % path
    with open(path, "rb") as file:
        return "" if file.read() == wanted else "%s differs" % path


def test_pair(tap, agents, getting, serving, work):
    pair = "%s gets from %s: " % (getting, serving)
    source = os.path.join(work, "source-" + serving)
    os.makedirs(source)
    paths = []
    for size in SIZES:
        paths.append(os.path.join(source, "f%d" % size))
        with open(paths[-1], "wb") as file:
            file.write(content(size))
    files = make_tree(source)
    provider = Provider(agents[serving], paths + [os.path.join(source, "tree")])
    if not provider.is_ready:
        tap.report(False, pair + "serves", provider.output())
        provider.end()
        return
    out = os.path.join(work, "out-" + getting + "-" + serving)
    os.makedirs(out)
    for size, ticket in zip(SIZES, provider.tickets):
        path = os.path.join(out, "f%d" % size)
        code, output = get(agents[getting], ticket, path)
        problem = same_file(path, content(size)) if code == 0 else output
        tap.report(not problem, pair + "%d bytes" % size, problem)
    whole = content(SIZES[8])
    for first, last in [*RANGES, LAST_CHUNK]:
        name = pair + "chunks %d to %d of %d bytes" % (first, last, SIZES[8])
        path = os.path.join(out, "r%d" % first)
        code, output = get(agents[getting], provider.tickets[8], path, "%d..%d" % (first, last))
        problem = same_file(path, whole[first * 1024:last * 1024]) if code == 0 else output
        if not problem and getting == "kith" and result_of(output).get("wire", 1 << 30) > (last - first + 32) * 1024 + 4096:
            problem = "more was asked for than the range: " + output
        tap.report(not problem, name, problem)
    code, output = get(agents[getting], provider.tickets[-1], os.path.join(out, "collection"))
    problem = "" if code == 0 else output
    for name, data in files.items():
        problem = problem or same_file(os.path.join(out, "collection", name), data)
    tap.report(not problem, pair + "a collection of %d files" % len(files), problem)
    provider.end()
    shutil.rmtree(out)
    shutil.rmtree(source)


def check_rest(output, size, least):
    """A problem, unless this get took at least `least` bytes from what was there and fetched only the rest."""
    result = result_of(output)
    # Beside the payload: 64 bytes for each pair of hashes, one pair a group; nothing else of size.
    rest = size - result.get("resumed", 0)
    if result.get("resumed", 0) < least:
        return "only %s bytes were kept, not %d: %s" % (result.get("resumed"), least, output)
    if result["wire"] > rest + rest // GROUP * 64 + 64 * 1024:
        return "%d bytes came over the wire for a rest of %d" % (result["wire"], rest)
    return ""


def test_death(tap, agents, serving, work):
    """The provider is killed in the middle; another one has the same file: only what is missing comes from there."""
    name = "kith gets from %s, which is killed in the middle, and then only the rest from another" % serving
    path, out = os.path.join(work, "mortal-" + serving), os.path.join(work, "survivor-" + serving)
    with open(path, "wb") as file:
        file.write(content(BIG))
    first, second = Provider(agents[serving], [path]), Provider(agents[serving], [path])
    stop_at = 20_000_000
    if not first.is_ready or not second.is_ready:
        tap.report(False, name, first.output() + second.output())
    else:
        getter = Process([*agents["kith"], "blobs-get", "--stop-at", str(stop_at), first.tickets[0], out])
        _, status = os.waitpid(getter.process.pid, os.WUNTRACED)
        stopped = os.WIFSTOPPED(status)
        first.process.kill()
        first.process.wait()
        if stopped:
            getter.process.send_signal(signal.SIGCONT)
        line = getter.wait_line(lambda text: text.startswith(("DONE", "FAILED")), limit=60)
        problem = "" if stopped and line and line.startswith("FAILED") else "the first get: %s" % getter.output()
        if not problem and os.path.exists(out):
            problem = "something half-written has the final name"
        if not problem:
            code, output = get(agents["kith"], second.tickets[0], out)
            problem = output if code != 0 else check_rest(output, BIG, stop_at - 64 * GROUP) or same_file(out, content(BIG))
        getter.end(limit=30)
        tap.report(not problem, name, problem)
    first.end()
    second.end()


def test_lie(tap, agents, serving, work):
    """One byte of an answer is wrong: kith names the chunk, keeps what was right, and gets the rest from the honest one."""
    name = "kith gets from a liar before %s: " % serving
    size = 5_000_000
    path, out = os.path.join(work, "truth-" + serving), os.path.join(work, "told-" + serving)
    with open(path, "wb") as file:
        file.write(content(size))
    honest = Provider(agents[serving], [path])
    lie_at = 3_333_333
    liar = Provider(agents["kith"], [honest.tickets[0], str(lie_at)], ("blobs-lie",)) if honest.is_ready else honest
    if not liar.is_ready:
        tap.report(False, name + "serves", liar.output())
    else:
        code, output = get(agents["kith"], liar.tickets[0], out)
        result = result_of(output)
        tap.report(code == 1 and result.get("error", "").endswith("HASH") and not os.path.exists(out),
                   name + "the error is HASH, and nothing gets the final name", output)
        # The answer is 8 bytes of size, then per group of 16 KiB the group and about one pair of hashes before it.
        chunk = re.search(r"chunks? (\d+)", output)
        group = (lie_at - 8) // (GROUP + 64)
        tap.report(chunk is not None and abs(int(chunk.group(1)) // 16 - group) <= 1, name + "the chunk is named", output)
        code, output = get(agents["kith"], honest.tickets[0], out)
        problem = output if code != 0 else check_rest(output, size, (group - 2) * GROUP) or same_file(out, content(size))
        tap.report(not problem, name + "what was right is kept, the rest comes from the honest one", problem)
    if liar is not honest:
        liar.end()
    honest.end()


def main():
    tap = Tap()
    agents, missing = find_agents()
    pairs = [("kith", "kith"), ("kith", "rust"), ("rust", "kith")]
    with tempfile.TemporaryDirectory(prefix="kith-blobs-") as work:
        for getting, serving in pairs:
            absent = [name for name in (getting, serving) if name in missing]
            if absent:
                tap.skip("%s gets from %s" % (getting, serving), missing[absent[0]])
            else:
                test_pair(tap, agents, getting, serving, work)
        for serving in ("kith", "rust"):
            if serving in missing:
                tap.skip("kith gets from %s, which dies or lies" % serving, missing[serving])
                continue
            test_death(tap, agents, serving, work)
            test_lie(tap, agents, serving, work)
    tap.end()


if __name__ == "__main__":
    main()
