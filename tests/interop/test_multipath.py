#!/usr/bin/env python3
"""Many paths in one connection, with real peers, both ways round: the engine of iroh alone (noq, every path in our hands), and iroh
as it is (crate and npm package), whose own policy opens and closes paths. Prints TAP lines.

Arguments: names of cases or parts of them; none: all.
"""
import concurrent.futures, json, os, sys, threading, time, traceback

from peers import BIN, PEERS, Process, Server, Tap, dial, find_agents

MB = 1 << 20
IDLE_SIZE_MAX = 16384  # bytes of an idle connection, as its own counter has it
KITH = ("kith", [os.path.join(BIN, "path-agent")])
NOQ = ("noq", [os.path.join(PEERS, "kith-peer"), "paths"])
HOSTS = ["127.0.0.1", "127.0.0.2", "[::1]"]
EIGHT_HOSTS = ["127.0.0.%d" % n for n in range(2, 10)]


class Failed(Exception):
    pass


def need(fact, text):
    if not fact:
        raise Failed(text)


def plain(address):
    """noq writes IPv4 addresses as its socket has them."""
    return address.replace("[::ffff:", "").replace("]", "") if address.startswith("[::ffff:") else address


class Agent(Process):
    """A path agent: `ask` sends a line and returns the answer, `event` waits for what happens; every line counts once."""

    def __init__(self, kind, *options, hosts=HOSTS):
        self.kind, command = kind
        self.hosts = hosts
        binds = [word for host in hosts for word in ("--bind", host + ":0")] if self.kind == "kith" else []
        super().__init__([*command, *binds, *map(str, options)])
        self.at = 0
        ready = self.event("ready")
        self.id = ready["id"]
        # In the order of the sockets of path-agent. noq has one socket for all.
        self.addresses = ready.get("addresses") or ["%s:%d" % (host, ready["port"]) for host in hosts]
        self.ticket = ready.get("ticket")

    def event(self, name, limit=30, after=None, **wanted):
        """The first event of this name from here on that says what is wanted; what came before it is not looked at again."""
        found = []

        def fits(line):
            if not line.startswith("{"):
                return False
            said = json.loads(line)
            if said.get("event") == name and all(said.get(key) == value for key, value in wanted.items()):
                found.append(said)
                return True
            return False
        if self.wait_line(fits, limit, self.at if after is None else after) is None:
            raise Failed("%s: no %s %s within %d s" % (self.kind, name, wanted or "", limit))
        return found[0]

    def mark(self):
        with self.condition:
            self.at = len(self.lines)

    def ask(self, line, must=True):
        """The answer to a line; the events that came with it are found from the mark before."""
        with self.condition:
            start = len(self.lines)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        word = line.split()[0]
        said = self.wait_line(lambda text: text.startswith('{"did":"%s"' % word), 30, start)
        need(said is not None, "%s does not answer to %s" % (self.kind, line))
        answer = json.loads(said)
        answer["start"] = start
        need(not must or answer["ok"], "%s: %s: %s" % (self.kind, line, answer.get("why")))
        return answer

    def paths(self):
        """Path id -> what is known of it."""
        answer = self.ask("status")
        said = answer if "paths" in answer else self.event("status", after=answer["start"])
        self.last = said
        return {path["path"]: {**path, "remote": plain(path["remote"])} for path in said["paths"]}

    def echo(self, size, limit=120, word="echo"):
        answer = self.ask("%s %d" % (word, size))
        return lambda: self.echoed(answer["start"], size, limit)

    def echoed(self, start, size, limit):
        said = self.event("echoed", limit, start, size=size)
        need(said["ok"], "%s: the echo of %d failed: %s" % (self.kind, size, said["why"]))
        return said

    def open(self, socket, remote, *more):
        """Opens a path from the socket of that number; returns its id once it is validated."""
        local = str(socket) if self.kind == "kith" else self.hosts[socket].strip("[]")
        words = [str(socket), remote] if self.kind == "kith" else [remote, local]
        answer = self.ask(" ".join(["open", *words, *more]))
        path = answer["path"] if "path" in answer else self.event("opening", after=answer["start"])["path"]
        self.event("path_validated", after=answer["start"], path=path)
        return path


def connected(client, server, address=0):
    client.ask("connect %s %s" % (server.id, server.addresses[address]))
    said = client.event("connected")
    server.event("connected")
    if client.kind == "kith":
        client.event("confirmed")
    client.echo(1000)()
    return said


class Pair:
    """Two agents, connected; ended, and their output shown, whatever happens."""

    def __init__(self, client, server, client_options=(), server_options=(), connect=True, hosts=HOSTS):
        self.server = Agent(server, *server_options, hosts=hosts)
        try:
            self.client = Agent(client, *client_options, hosts=hosts)
        except Failed:
            self.server.end()
            raise
        self.kith = self.client if client is KITH else self.server
        self.peer = self.server if client is KITH else self.client
        self.connect = connect

    def __enter__(self):
        if self.connect:
            try:
                connected(self.client, self.server)
            except Failed as failed:
                self.__exit__(Failed, failed, None)
                raise
        return self

    def __exit__(self, kind, value, trace):
        codes = [agent.end() for agent in (self.client, self.server)]
        failed = value if kind is not None else Failed("exit codes %s" % codes) if any(codes) else None
        if failed is not None:
            failed.output = "".join("-- %s\n%s\n" % (name, agent.output()[-3000:]) for name, agent in
                                    (("client " + self.client.kind, self.client), ("server " + self.server.kind, self.server)))
        if kind is None and failed is not None:
            raise failed


# ---- Cases with both sides in our hands: each gets the kinds of client and server. ----

def echo_goes_on(pair, chosen):
    """True if an echo went on this path both ways. On a busy machine it may seem silent for a moment: then others carry some."""
    before = pair.kith.paths()
    pair.client.echo(8 * MB)()
    after = pair.kith.paths()
    moved = [{path: after[path][way] - before[path][way] for path in after} for way in ("sent", "received")]
    return all(way[chosen] > 7 * MB and sum(way.values()) - way[chosen] < MB / 2 for way in moved)


def second_path(client, server):
    """A path to another address of the same family, and one of the other family; the data go where we put them."""
    with Pair(client, server) as pair:
        ids = [pair.client.open(1, pair.server.addresses[1]), pair.client.open(2, pair.server.addresses[2])]
        need(ids == [1, 2], "paths %s" % ids)
        for path in ids:
            pair.server.event("path_validated", path=path)
        for chosen in (1, 2, 0):
            for agent in (pair.client, pair.server):
                for path in (0, 1, 2):
                    agent.ask("%s %d" % ("available" if path == chosen else "backup", path))
            need(any(echo_goes_on(pair, chosen) for _ in range(6)), "path %d does not carry it: %s" % (chosen, pair.kith.paths()))
        return "8 MiB each way on each of three paths"


def status_is_told(client, server):
    """What one side makes of a path, the other side hears."""
    with Pair(client, server) as pair:
        path = pair.client.open(1, pair.server.addresses[1])
        pair.server.event("path_validated", path=path)
        pair.peer.ask("backup %d" % path)
        for _ in range(200):
            if pair.kith.paths()[path]["peer_backup"]:
                break
            time.sleep(0.02)
        need(pair.kith.paths()[path]["peer_backup"], "kith was not told")
        pair.kith.ask("backup %d" % path)
        if pair.peer.kind == "noq":
            pair.peer.event("peer_status", path=path, backup=True)


def primary_killed(client, server):
    """The path that carries the data dies in the middle: nothing is lost, and the transfer ends."""
    with Pair(client, server) as pair:
        pair.client.open(1, pair.server.addresses[1], "backup")
        pair.server.event("path_validated", path=1)
        pair.kith.ask("kill-at %d 0" % (8 * MB))
        started = time.monotonic()
        done = pair.client.echo(40 * MB)
        killed = pair.kith.event("killed")
        need(killed["ok"], "no such path")
        done()
        took = time.monotonic() - started
        paths = pair.kith.paths()
        need(paths[1]["sent"] > 20 * MB and paths[1]["received"] > 20 * MB, "path 1 did not carry the rest: %s" % paths)
        need(pair.kith.last["dropped"] > 0, "nothing was dropped")
        return "40 MiB, %.1f s in all" % took


def inbound_killed(client, server):
    """The path dies that only the other side sends on: kith has nothing of its own in flight there that could miss its answer."""
    with Pair(client, server) as pair:
        pair.client.open(1, pair.server.addresses[1])
        pair.server.event("path_validated", path=1)
        pair.kith.ask("backup 0")
        pair.peer.ask("backup 1")
        pair.client.echo(MB)()
        pair.kith.ask("kill-at %d 0" % (4 * MB))
        done = pair.client.echo(24 * MB)
        need(pair.kith.event("killed")["ok"], "no such path")
        started = time.monotonic()
        done()
        took = time.monotonic() - started
        need(pair.kith.paths()[1]["received"] > 16 * MB, "path 1 did not carry the rest")
        return "%.1f s after it died" % took


def open_when_allowed(client, socket, remote):
    """Who has no path id left says so at once, and wants to be asked again."""
    for attempt in range(100):
        try:
            return client.open(socket, remote)
        except Failed:
            if attempt == 99:
                raise
            time.sleep(0.05)


def wait_for_one_path(agent):
    """What was abandoned drains for three probe timeouts; then it must be gone."""
    for _ in range(500):
        if list(agent.paths()) == [0]:
            return
        time.sleep(0.02)
    raise Failed("paths left: %s" % list(agent.paths()))


def generations(client, server, count=100):
    """Paths are opened and abandoned, again and again, by either side: ids go on, data go on."""
    with Pair(client, server) as pair:
        for generation in range(1, count + 1):
            socket = 1 + generation % 2
            path = open_when_allowed(pair.client, socket, pair.server.addresses[socket])
            need(path == generation, "generation %d has path %d" % (generation, path))
            pair.server.event("path_validated", path=path)
            closer, other = (pair.client, pair.server) if generation % 4 < 2 else (pair.server, pair.client)
            if generation % 10 == 0:
                pair.client.echo(100000)()
            closer.ask("abandon %d" % path)
            other.event("path_abandoned", path=path)
            for agent in (pair.client, pair.server):
                agent.mark()
        pair.client.echo(MB)()
        wait_for_one_path(pair.kith)
        return "%d paths opened and abandoned, %d bytes of memory after it" % (count, pair.kith.last["memory"])


def idle_memory(client, server):
    """What a busy connection needed is given back a moment later, also when the last packets were all the other side's."""
    with Pair(client, server) as pair:
        pair.client.echo(MB)()
        for _ in range(100):
            time.sleep(0.1)
            pair.kith.paths()
            if pair.kith.last["memory"] <= IDLE_SIZE_MAX:
                return "%d bytes" % pair.kith.last["memory"]
        raise Failed("%d bytes after an echo of 1 MiB" % pair.kith.last["memory"])


def traversal(client, server):
    """Both sides name an address, the client asks for a round: probes go both ways and a path comes out of it."""
    with Pair(client, server) as pair:
        pair.server.ask("candidate %s" % pair.server.addresses[1])
        said = pair.client.event("candidates_changed")
        need(pair.client.kind != "kith" or said["added"] and said["address"] == pair.server.addresses[1], "news: %s" % said)
        answer = pair.client.ask("candidates")
        said = answer if "addresses" in answer else pair.client.event("candidates", after=answer["start"])
        need([plain(address) for address in said["addresses"]] == [pair.server.addresses[1]], "candidates %s" % said["addresses"])
        pair.client.ask("candidate %s" % pair.client.addresses[1])
        before = pair.kith.last["migrations"] if pair.kith.paths() else 0
        pair.client.ask("punch")
        for _ in range(500):  # several may come of it: the other side's probes are answered, and open paths too
            found = [path for path, known in pair.client.paths().items() if known["remote"] == pair.server.addresses[1]]
            if found:
                break
            time.sleep(0.01)
        need(found, "no path to the candidate")
        new = found[0]
        for agent in (pair.client, pair.server):
            agent.event("path_validated", after=0, path=new)
        pair.kith.paths()
        need(pair.kith.last["migrations"] == before, "a probe moved a path")
        for agent in (pair.client, pair.server):
            for path in agent.paths():
                agent.ask("%s %d" % ("available" if path == new else "backup", path))
        pair.client.echo(4 * MB)()
        need(pair.kith.paths()[new]["received"] > 3 * MB, "the new path carries nothing")
        pair.server.ask("uncandidate %s" % pair.server.addresses[1])
        said = pair.client.event("candidates_changed", after=answer["start"])
        need(pair.client.kind != "kith" or not said["added"], "news: %s" % said)
        return "path %d to %s" % (new, pair.server.addresses[1])


def key_update(client, server):
    """Keys are changed again and again while two paths carry data: one side sends on the first path, the other on the second."""
    options = ["--key-update", "700"]
    with Pair(client, server, options if client is KITH else [], options if server is KITH else []) as pair:
        pair.client.open(1, pair.server.addresses[1])
        pair.server.event("path_validated", path=1)
        pair.kith.ask("backup 0")
        pair.peer.ask("backup 1")
        for _ in range(6):
            done = pair.client.echo(8 * MB)
            if pair.peer.kind == "noq":
                pair.peer.ask("keys")
            done()
        paths = pair.kith.paths()
        updates = pair.kith.last["key_updates"]
        need(updates >= 6, "only %d updates" % updates)
        need(paths[0]["received"] > 20 * MB and paths[1]["sent"] > 20 * MB, "elsewhere: %s" % paths)
        return "%d updates" % updates


def observed(client, server):
    """Each side tells the other where it is seen, on each path, in both families."""
    options = ["--observed", "both"]
    with Pair(client, server, options, options) as pair:
        for path in (1, 2):
            pair.client.open(path, pair.server.addresses[path])
            pair.server.event("path_validated", path=path)
        ours = pair.kith.addresses
        for path in (0, 1, 2):
            for _ in range(200):
                told = pair.kith.paths()[path]
                if told["observed"] != "none":
                    break
                time.sleep(0.02)
            if pair.client is pair.kith:  # a path of the client leaves from the socket that was named
                need(told["observed"] == ours[path], "seen at %s, not %s" % (told["observed"], ours[path]))
            else:
                need(told["observed"] in ours, "seen at %s" % told["observed"])
            if pair.peer.kind == "noq":
                said = pair.peer.event("observed", after=0, path=path)
                need(plain(said["address"]) == told["remote"], "noq hears %s, is %s" % (said["address"], told["remote"]))


def one_way_observed(client, server):
    """kith only sends reports, then only receives them; the other side the reverse."""
    for ours, theirs in (("send", "receive"), ("receive", "send")):
        options = [["--observed", ours if kind is KITH else theirs] for kind in (client, server)]
        with Pair(client, server, *options) as pair:
            pair.client.echo(1000)()
            told = pair.kith.paths()[0]["observed"]
            if ours == "send":
                pair.peer.event("observed", after=0)
                need(told == "none", "a report that nobody asked for: %s" % told)
            else:
                need(told in pair.kith.addresses, "told %s" % told)


def without(client, server):
    """Whoever has none of it is served as before: the extensions off on one side, then on the other."""
    for ours, theirs in ((["--paths", "0", "--traversal", "0"], []), ([], ["--paths", "0"]), ([], ["--traversal", "0"]),
                         (["--traversal", "0"], []), (["--paths", "1"], []), ([], ["--paths", "1"])):
        options = [ours, theirs] if client is KITH else [theirs, ours]
        with Pair(client, server, *options) as pair:
            pair.client.echo(2 * MB)()
            answer = pair.kith.ask("punch" if "--traversal" in ours + theirs else "open any 127.0.0.2:9", must=False)
            need(not answer["ok"], "%s %s: kith could do it all the same" % (ours, theirs))
            need(list(pair.kith.paths()) == [0], "more than one path")


def server_opens(client, server):
    """A server opens no path, whichever of the two it is."""
    with Pair(client, server) as pair:
        for agent, address in ((pair.server, pair.client.addresses[1]),):
            words = "open 1 %s" % address if agent.kind == "kith" else "open %s" % address
            answer = agent.ask(words, must=False)
            need(not answer["ok"], "a server opened a path")
        pair.client.echo(1000)()


def eight_paths(client, server):
    """As many paths as both allow, each between addresses of its own; all carry data. Then one goes, and the next id is used."""
    with Pair(client, server, hosts=EIGHT_HOSTS) as pair:
        for n in range(1, 8):
            path = pair.client.open(n, pair.server.addresses[n], "backup")
            need(path == n, "path %d in the place of %d" % (path, n))
            pair.server.event("path_validated", path=path)
        for agent in (pair.client, pair.server):
            need(sorted(agent.paths()) == list(range(8)), "%s has %s" % (agent.kind, sorted(agent.paths())))
        answer = pair.client.ask("open any 127.0.0.1:9" if pair.client.kind == "kith" else "open 127.0.0.1:9 any", must=False)
        need(not answer["ok"], "a ninth path was opened")
        for chosen in range(8):
            for agent in (pair.client, pair.server):
                for path in range(8):
                    agent.ask("%s %d" % ("available" if path == chosen else "backup", path))
            need(any(echo_goes_on(pair, chosen) for _ in range(6)), "path %d does not carry it: %s" % (chosen, pair.kith.paths()))
        pair.server.ask("abandon 3")
        pair.client.event("path_abandoned", path=3)
        path = open_when_allowed(pair.client, 3, pair.server.addresses[3])
        need(path == 8, "path %d and not 8" % path)
        pair.server.event("path_validated", path=8)
        pair.client.echo(MB)()
        return "8 MiB each way on each of eight paths"


def last_path(client, server):
    """Neither side gives up its last path. When each gives up another one, unheard by the other, none is left: a new one in time, here
    at once, saves the connection; without one it ends after three probe timeouts of the initial round trip."""
    took = None
    for opens in (True, False) if NOQ in (client, server) else (True,):
        with Pair(client, server) as pair:
            for agent in (pair.client, pair.server):
                need(not agent.ask("abandon 0", must=False)["ok"], "%s gave up its last path" % agent.kind)
            pair.client.open(1, pair.server.addresses[1])
            pair.server.event("path_validated", path=1)
            for path in (0, 1):
                pair.kith.ask("kill %d" % path)
            pair.kith.ask("abandon 0")
            pair.peer.ask("abandon 1")
            started = time.monotonic()
            pair.kith.ask("revive")
            if opens:
                pair.client.open(2, pair.server.addresses[2])
                pair.client.echo(MB)()
                continue
            pair.kith.event("closed", 30)
            took = time.monotonic() - started
            need(1 < took < 8, "it ended after %.1f s" % took)
    return took and "ended %.1f s after the last path" % took


BOTH = [second_path, eight_paths, last_path, status_is_told, primary_killed, inbound_killed, generations, idle_memory, traversal, key_update, observed, without, server_opens]
NOQ_ONLY = [one_way_observed]


# ---- Cases with iroh, whose own policy decides: as a server it leaves paths alone, as a client it keeps one of them. ----

class ToIroh:
    """kith, connected to an iroh endpoint at its IPv4 address; `second` is the other one."""

    def __init__(self, agents, name, *options):
        self.server, self.client = Server(agents[name], "--bind", "127.0.0.1:0", "--bind", "[::1]:0", name=name), Agent(KITH, *options)

    def __enter__(self):
        try:
            need(self.server.ticket, "no server")
            answer = self.client.ask("ticket " + self.server.ticket)
            said = self.client.event("ticket", after=answer["start"])
            first, self.second = sorted(said["addresses"])
            self.client.ask("connect %s %s" % (said["id"], first))
            self.client.event("confirmed")
        except Failed as failed:
            self.__exit__(Failed, failed, None)
            raise
        return self.client

    def __exit__(self, kind, value, trace):
        code = self.client.end()
        self.server.end()
        failed = value if kind is not None else Failed("exit code %s" % code) if code != 0 else None
        if failed is not None:
            failed.output = "-- kith\n%s\n-- %s\n%s\n" % (self.client.output()[-3000:], self.server.name, self.server.output()[-1000:])
        if kind is None and failed is not None:
            raise failed


def iroh_second_path(agents, name):
    """kith opens a second path, moves data over it, and goes on there when the first one dies."""
    link = ToIroh(agents, name)
    with link as client:
        path = open_when_allowed(client, 2, link.second)
        before = client.paths()
        client.ask("backup 0")
        client.echo(4 * MB)()
        after = client.paths()
        need(after[path]["sent"] - before[path]["sent"] > 3 * MB, "sent elsewhere: %s" % after)
        client.ask("available 0")
        client.ask("backup %d" % path)
        client.ask("kill-at %d 0" % MB)
        started = time.monotonic()
        client.echo(6 * MB)()
        took = time.monotonic() - started
        last = client.paths()[path]  # the npm agent answers when it has everything: all was sent before the path died
        need(last["sent"] + last["received"] - after[path]["sent"] - after[path]["received"] > 3 * MB, "it did not carry the rest")
        need(client.last["dropped"] > 0, "nothing was dropped")
        return "6 MiB in %.1f s" % took


def iroh_inbound_killed(agents, name):
    """The path dies on which kith only receives: it has nothing in flight that could miss its answer, and iroh waits for 15 s."""
    link = ToIroh(agents, name, "--alpn", "kith-test/source")
    with link as client:
        open_when_allowed(client, 2, link.second)
        client.echo(MB, word="fetch")()
        client.ask("kill-at %d busiest" % (4 * MB))
        done = client.echo(24 * MB, word="fetch")
        need(client.event("killed")["ok"], "no such path")
        started = time.monotonic()
        done()
        return "%.1f s after it died" % (time.monotonic() - started)


def iroh_key_update(agents, name):
    """Keys change while data go out on one path, then on the other."""
    link = ToIroh(agents, name, "--key-update", "300")
    with link as client:
        path = open_when_allowed(client, 2, link.second)
        for unused in (0, path) * 20:  # a path that just lost a lot counts as silent for a moment: then the other one is used
            client.ask("backup %d" % unused)
            client.ask("available %d" % (path - unused))
            client.echo(2 * MB)()
            sent = {id: known["sent"] for id, known in client.paths().items()}
            if min(sent.values()) > MB / 2 and client.last["key_updates"] >= 6:
                break
        need(client.last["key_updates"] >= 6, "only %d updates" % client.last["key_updates"])
        need(min(sent.values()) > MB / 2, "sent %s" % sent)
        return "%d updates" % client.last["key_updates"]


def iroh_generations(agents, name, count=100):
    """kith opens a path and abandons it, again and again."""
    link = ToIroh(agents, name)
    with link as client:
        for generation in range(1, count + 1):
            path = open_when_allowed(client, 2, link.second)
            need(path == generation, "generation %d has path %d" % (generation, path))
            client.ask("abandon %d" % path)
            if generation % 10 == 0:
                client.echo(100000)()
            client.mark()
        wait_for_one_path(client)


def iroh_dials(agents, name):
    """An iroh endpoint dials kith at one address; kith names another: a round, a path, and iroh keeps one of the two."""
    server = Agent(KITH, "--ticket", "1")
    results, other = [], server.addresses[1]
    worker = threading.Thread(target=lambda: results.append(dial(agents[name], server.ticket, "idle", 3, limit=60)))
    try:
        worker.start()
        server.event("confirmed")
        answer = server.ask("candidate " + other)
        path = server.event("path_opened", after=answer["start"], local=other)["path"]
        gone = server.event("path_abandoned", after=answer["start"])  # whichever of the two it likes less
        if gone["path"] != path:
            server.event("path_validated", after=0, path=path)
        need(gone["by_peer"] and gone["code"] == 0x3e, "abandoned otherwise: %s" % gone)
        server.ask("uncandidate " + other)
        worker.join()
        need(results[0][0], "%s: %s" % (name, results[0][1].split("Stack backtrace")[0]))
        closed = server.event("closed", after=0)
        need(closed["by_peer"] and closed["code"] == 0, "closed: %s" % closed)
        need(server.end() == 0, "exit code of path-agent")
    except Failed as failed:
        failed.output = server.output()[-3000:]
        raise
    finally:
        server.end()
        worker.join()


def iroh_punch(agents, name):
    """kith, as the client, asks iroh for a round: it names a socket of its own, and learns of the server's."""
    link = ToIroh(agents, name)
    with link as client:
        for _ in range(500):
            answer = client.ask("candidates")
            told = client.event("candidates", after=answer["start"])["addresses"]
            if link.second in told:
                break
            time.sleep(0.01)
        need(link.second in told, "iroh named %s" % told)
        client.ask("candidate " + client.addresses[2])
        answer = client.ask("punch")
        path = client.event("path_opened", after=answer["start"], remote=link.second)["path"]
        client.event("path_validated", after=answer["start"], path=path)
        client.ask("backup 0")
        client.ask("available %d" % path)
        before = client.paths()[path]["sent"]
        client.echo(2 * MB)()
        need(client.paths()[path]["sent"] - before > MB, "the new path carries nothing")
        need(client.last["migrations"] == 0, "a probe moved a path")


def iroh_without(agents, name):
    """A kith with none of it serves iroh and is served by it."""
    off = ["--paths", "0", "--traversal", "0"]
    with ToIroh(agents, name, *off) as client:
        client.echo(MB)()
        need(not client.ask("open any 127.0.0.2:9", must=False)["ok"], "a path without multipath")
    server = Agent(KITH, *off)
    try:
        ok, output = dial(agents[name], server.ticket, "echo-bi", MB)
        need(ok, "%s: %s" % (name, output))
        need(all("path_opened" not in line for line in server.lines if line), "a path was opened")
    finally:
        server.end()


IROH = [iroh_second_path, iroh_inbound_killed, iroh_key_update, iroh_generations, iroh_punch, iroh_dials, iroh_without]


def run_one(report, name, work):
    started = time.monotonic()
    try:
        said = work()
        report(True, "%s (%.1f s%s)" % (name, time.monotonic() - started, ", " + said if said else ""), "")
    except Failed as failed:
        report(False, name, "%s\n%s" % (getattr(failed, "output", ""), failed))
    except Exception:
        report(False, name, traceback.format_exc())


def main():
    tap, lock = Tap(), threading.Lock()
    agents, missing = find_agents()
    work = []

    def report(ok, name, output):
        with lock:
            tap.report(ok, name, output)

    def add(name, thing, lacking=None):
        if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
            return
        if lacking in missing:
            tap.skip(name, missing[lacking])
        else:
            work.append((name, thing))

    for client, server in ((KITH, NOQ), (NOQ, KITH), (KITH, KITH)):
        lacking = "rust" if NOQ in (client, server) else None
        for case in BOTH + (NOQ_ONLY if lacking else []):
            add("%s -> %s: %s" % (client[0], server[0], case.__name__), lambda case=case, c=client, s=server: case(c, s), lacking)
    for name in ("rust", "node"):
        for case in IROH:
            add("%s: %s" % (name, case.__name__), lambda case=case, name=name: case(agents, name), name)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(run_one, report, name, thing) for name, thing in work]:
            one.result()
    tap.end()


if __name__ == "__main__":
    main()
