#!/usr/bin/env python3
"""Every transport case over every pair of agents in which one side is kith, both ways round. Prints TAP lines."""
import os, sys

from peers import Server, Tap, dial, find_agents

# name, arguments, what the server must print about the end of the connection (None: nothing is asked)
CASES = [
    ("echo-bi", [5], None), ("echo-bi", [0], None), ("echo-bi", [100000], None), ("echo-uni", [5], None), ("echo-uni", [70000], None),
    ("up", [100000000], None), ("down", [100000000], None), ("streams", [1000], None), ("datagrams", [200], None),
    ("close", [7, "bye"], {"kind": "application", "code": 7, "reason": "bye"}),
    ("close", [4611686018427387903, ""], {"kind": "application", "code": 4611686018427387903}),
    ("closed-by-peer", [], None), ("alpn-mismatch", [], None), ("wrong-key", [], None), ("resume", [], None), ("early", [], None),
    ("key-update", [], None), ("idle", [int(os.environ.get("KITH_IDLE_SECONDS", "60"))], None),
]
# What a peer cannot do, with the reason: not a failure of kith.
CANNOT = {
    ("node", "dial", "early"): "the binding has no 0-RTT",
    ("rust", "dial", "close 4611686018427387903"): "the agent passes codes of 32 bits",
}


def run_pair(tap, agents, serving, dialling):
    server = Server(agents[serving])
    if server.ticket is None:
        tap.report(False, "%s serves" % serving, server.output())
        return
    for case, words, expected in CASES:
        name = "%s -> %s: %s" % (dialling, serving, " ".join([case, *map(str, words)]))
        if (dialling, "dial", case) in CANNOT or (dialling, "dial", " ".join([case, *map(str, words[:1])])) in CANNOT:
            continue
        before = len(server.lines)
        ok, output = dial(agents[dialling], server.ticket, case, *words, limit=180)
        if ok and expected is not None:
            closed = server.closed(after=before)
            if closed is None or any(closed.get(key) != value for key, value in expected.items()):
                ok, output = False, "the server says %s; %s" % (closed, output)
        if ok and case == "early" and serving == "rust" and "EARLY accepted" not in output:
            ok = False # the real peer accepts early data; ours must have offered it rightly
        tap.report(ok, name, output)
    server.end()


def run_modes(tap, agents, serving, dialling):
    for mode, case in (("refuse", "refused"), ("retry", "echo-bi"), ("retry", "up")):
        server = Server(agents[serving], "--mode", mode)
        ok, output = dial(agents[dialling], server.ticket or "", case, *([] if case == "refused" else [50000]))
        tap.report(ok, "%s -> %s, which %ss: %s" % (dialling, serving, "refuse" if mode == "refuse" else "retrie", case), output + ("" if ok else server.output()))
        server.end()


def main():
    tap = Tap()
    agents, missing = find_agents()
    pairs = [("kith", "kith"), ("kith", "rust"), ("rust", "kith"), ("kith", "node"), ("node", "kith")]
    only = sys.argv[1:]
    for serving, dialling in pairs:
        if only and "%s-%s" % (dialling, serving) not in only:
            continue
        absent = [name for name in (serving, dialling) if name in missing]
        if absent:
            tap.skip("%s -> %s" % (dialling, serving), missing[absent[0]])
            continue
        run_pair(tap, agents, serving, dialling)
        run_modes(tap, agents, serving, dialling)
    tap.end()


if __name__ == "__main__":
    main()
