#!/usr/bin/env python3
"""One connection of kith's engine over several paths, with real peers. Prints TAP lines.

kith is the program `paths` here (paths.c): it has two sockets, 127.0.0.1 and 127.0.0.2, and opens paths itself, which the peers'
programs leave to their own policy. As a server it names its second socket as a candidate; the peer's client then punches a path to
it, and gives it up again since the first one is direct already.
"""
import os, re, subprocess

from peers import BIN, Server, Process, Tap, dial, find_agents

PATHS = os.path.join(BIN, "paths")
BYTES = 30_000_000


def sent(output, path):
    found = re.search(r"^PATH %d .* sent (\d+) " % path, output, re.M)
    return int(found.group(1)) if found else 0


# what a case must have said
CASES = {
    "second": lambda said: sent(said, 1) >= BYTES and sent(said, 0) < 100_000,
    "kill": lambda said: int(re.search(r"^TOOK (\d+) ms", said, re.M).group(1)) < 10_000 and sent(said, 1) > BYTES // 2,
    "keys": lambda said: int(re.search(r"key_updates (\d+)", said).group(1)) >= 5,
    "punch": lambda said: int(re.search(r"^PROBES (\d+)", said, re.M).group(1)) > 0,
    "generations": lambda said: len(re.findall(r"^VALIDATED ", said, re.M)) == 100,
}


def run_dial(tap, agents, name):
    server = Server(agents[name], name=name)
    for case, fits in CASES.items():
        try:
            done = subprocess.run([PATHS, "dial", server.ticket or "", case], capture_output=True, text=True, timeout=90,
                                  stdin=subprocess.DEVNULL)
            said, code = done.stdout + done.stderr, done.returncode
        except subprocess.TimeoutExpired:
            said, code = "no end after 90 s", 1
        tap.report(code == 0 and "ANSWER %d " % BYTES in said and fits(said), "kith -> %s: %s" % (name, case), said)
    server.end()


def run_serve(tap, agents, name):
    server = Process([PATHS, "serve"])
    ready = server.wait_line(lambda line: line.startswith("READY "))
    ok, output = dial(agents[name], ready.split()[1] if ready else "", "idle", 4, limit=60)
    server.wait_line(lambda line: line.startswith("CLOSED "))
    said = server.output()
    ok = ok and "OPENED 1" in said and re.search("ABANDONED [01] code 0x3e by peer", said) and "CLOSED KITH_ERR_CLOSED_BY_PEER" in said
    server.process.terminate()
    server.end()
    tap.report(ok, "%s -> kith: a punched path" % name, output + said)


def main():
    tap = Tap()
    agents, missing = find_agents()
    for name in ("rust", "node"):
        if name in missing:
            tap.skip("paths with %s" % name, missing[name])
        else:
            run_dial(tap, agents, name)
            run_serve(tap, agents, name)
    tap.end()


if __name__ == "__main__":
    main()
