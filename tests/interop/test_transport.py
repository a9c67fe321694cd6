#!/usr/bin/env python3
"""Every transport case over every pair of agents in which one side is kith, both ways round. Prints TAP lines.

Arguments: names of pairs (DIALLING-SERVING); none: all. Two pairs run at a time; the connections that are held idle run beside them.
"""
import concurrent.futures, os, subprocess, sys, threading

from peers import BIN, Process, Server, Tap, dial, find_agents

IDLE_SECONDS = int(os.environ.get("KITH_IDLE_SECONDS", "60"))
PAIRS_AT_ONCE = 2


def closes_with(**wanted):
    """A check of a server's output: one connection ended just so."""
    def check(server):
        return server.closed(**wanted) is not None
    return check


def was_resumed(server):
    return server.name != "kith" or server.closed(resumed=True) is not None


def had_early_data(server):
    return server.name != "kith" or server.closed(early=True) is not None


def saw_key_update(server):
    # kith as a server never begins an update here: what it counts was begun by the other side.
    return server.name != "kith" or server.closed(key_updates=lambda count: count >= 1) is not None


def saw_retry(server):
    # The other two agents serve nobody whose address was not proved, so a success says it.
    return server.name != "kith" or server.wait_line(lambda line: line == "RETRIED", 10) is not None


# name, arguments, the words that the dialling agent must print, what must be true of the server afterwards
CASES = [
    ("echo-bi", [5], "", None), ("echo-bi", [0], "", None), ("echo-bi", [100000], "", None), ("echo-uni", [5], "", None),
    ("echo-uni", [70000], "", None), ("up", [100000000], "", None), ("down", [100000000], "", None), ("streams", [1000], "", None),
    ("datagrams", [200], "", None),
    ("close", [7, "bye"], "", closes_with(kind="application", code=7, reason="bye")),
    ("close", [4611686018427387903, ""], "", closes_with(kind="application", code=4611686018427387903)),
    ("closed-by-peer", [], "", None), ("alpn-mismatch", [], "", None), ("wrong-key", [], "", None),
    ("resume", [], "", was_resumed), ("early", [], "EARLY accepted", had_early_data), ("key-update", [], "", saw_key_update),
]
# What a peer cannot do at all.
CANNOT = {("node", "early"): "the binding cannot dial with 0-RTT"}


def run_case(report, agents, pair, server, case):
    dialling, serving = pair
    name, words, said, check = case
    server.mark()
    ok, output = dial(agents[dialling], server.ticket or "", name, *words, limit=180)
    if ok and said not in output:
        ok = False
    if ok and check is not None and not check(server):
        ok = False
    report(ok, "%s -> %s: %s" % (dialling, serving, " ".join([name, *map(str, words)])), output + ("" if ok else server.output()[-1000:]))


def run_pair(report, agents, pair):
    dialling, serving = pair
    server = Server(agents[serving], name=serving)
    for case in CASES:
        if (dialling, case[0]) not in CANNOT:
            run_case(report, agents, pair, server, case)
    server.end()
    for mode, case in (("refuse", ("refused", [], "", None)), ("retry", ("echo-bi", [50000], "", saw_retry)),
                       ("retry", ("up", [50000], "", saw_retry))):
        server = Server(agents[serving], "--mode", mode, name=serving)
        run_case(lambda ok, name, output: report(ok, name + " (%s)" % mode, output), agents, pair, server, case)
        server.end()
    run_ignored(report, agents, pair)


def run_ignored(report, agents, pair):
    """A server that ignores its clients: they hear nothing, neither yes nor no."""
    dialling, serving = pair
    server = Server(agents[serving], "--mode", "ignore", name=serving)
    if dialling == "kith":
        ok, output = dial(agents[dialling], server.ticket or "", "ignored", 3)
    else:
        # The other agents have no limit of their own short enough.
        command = agents[dialling] + ["dial", server.ticket or "", "echo-bi"]
        client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        # Twice: it asked again, because it heard nothing.
        ok = server.wait_line(lambda line: line == "IGNORED", 20) is not None
        ok = ok and server.wait_line(lambda line: line == "IGNORED", 20, server.lines.index("IGNORED") + 1) is not None
        try:
            output = client.communicate(timeout=1)[0]
            ok = False
        except subprocess.TimeoutExpired:
            client.kill()
            output = client.communicate()[0]
    report(ok, "%s -> %s: ignored" % pair, output + server.output()[-1000:])
    server.end()


# What each agent's first packets show to everybody on the path. The peer of first-flight has the key of 32 zero bytes.
SNI = {"kith": None, "rust": None, "node": "7dl2ff6emqi2qol3l382krodedij45bn3nh479hqo14a32qpr8kg.iroh.invalid"}


def run_first_flight(report, agents, name):
    watcher = Process([os.path.join(BIN, "first-flight")])
    ready = watcher.wait_line(lambda line: line.startswith("READY ")) or "READY none"
    client = subprocess.Popen(agents[name] + ["dial", ready.split()[1], "echo-bi"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    whole = watcher.wait_line(lambda line: line.startswith("HELLO "), 40)
    client.kill()
    client.wait()
    watcher.end()
    said = watcher.output().split("\n")
    shown = [line.split(" ", 1)[1] for line in said if line.startswith("SNI ")]
    ok = whole is not None and shown == [SNI[name]] * (SNI[name] is not None) and "ALPN kith-test/echo" in said
    # 57: transport parameters, 19 and 20: raw public keys, 43: versions.
    numbers = next((line.split()[1:] for line in said if line.startswith("EXTENSIONS ")), [])
    report(ok and {"57", "19", "20", "43", "16"} <= set(numbers), "%s dials %s SNI" % (name, "with" if SNI[name] else "without"), "\n".join(said))


def run_idle(report, agents, pair):
    server = Server(agents[pair[1]], name=pair[1])
    run_case(report, agents, pair, server, ("idle", [IDLE_SECONDS], "", None))
    server.end()


def main():
    tap = Tap()
    lock = threading.Lock()
    agents, missing = find_agents()
    pairs = []

    def report(ok, name, output):
        with lock:
            tap.report(ok, name, output)

    # The slow ones first.
    for pair in (("node", "kith"), ("kith", "node"), ("rust", "kith"), ("kith", "rust"), ("kith", "kith")):
        absent = [name for name in pair if name in missing]
        if sys.argv[1:] and "%s-%s" % pair not in sys.argv[1:]:
            continue
        if absent:
            tap.skip("%s -> %s" % pair, missing[absent[0]])
        else:
            pairs.append(pair)
    if pairs:
        with concurrent.futures.ThreadPoolExecutor(len(pairs)) as idle, concurrent.futures.ThreadPoolExecutor(PAIRS_AT_ONCE) as busy:
            work = [idle.submit(run_idle, report, agents, pair) for pair in pairs]
            work += [busy.submit(run_pair, report, agents, pair) for pair in pairs]
            work += [busy.submit(run_first_flight, report, agents, name) for name in {pair[0]: None for pair in pairs}]
            for one in work:
                one.result()
    tap.end()


if __name__ == "__main__":
    main()
