#!/usr/bin/env python3
"""The local network (mDNS): kith and the Rust crate iroh-mdns-address-lookup 0.6.1 find and dial each other by id alone, on hosts
in network namespaces of this test's own, without relays and without anybody else."""
# Runs alone: the real peer forgets whom it does not hear for two seconds, and gives a search up after ten.
import base64, concurrent.futures, json, os, signal, sys, time

import networks
from peers import HERE, Process, Server, Tap, dial, find_agents

USER_DATA = "of the test"
SILENT = 15  # seconds: who says no goodbye is forgotten by then


class Case:
    """A group of checks on a network of its own. What they found is told when it is over, so that groups can run side by side."""

    def __init__(self, agents):
        self.agents, self.results, self.started = agents, [], []

    def report(self, ok, name, detail=""):
        self.results.append((ok, name, detail))

    def keep(self, thing):
        """It is ended with the case, in reverse order."""
        self.started.append(thing)
        return thing

    def end(self):
        while self.started:
            self.started.pop().end()

    def switch(self):
        return self.keep(networks.Switch())

    def host(self, switch, *addresses, route=True):
        host = self.keep(networks.Host())
        host.join(switch, "eth0", *addresses)
        if route:
            host.route("eth0")
        return host

    def pair(self):
        """Two hosts with IPv4 addresses, and all that the kernel gives for IPv6."""
        switch = self.switch()
        return self.host(switch, "10.7.0.1/24"), self.host(switch, "10.7.0.2/24")

    def agent(self, host, name, *options):
        return [*host.before, *self.agents[name], "--lookup", "mdns", *options]

    def serve(self, host, name):
        server = self.keep(Server(self.agent(host, name, "--user-data", USER_DATA)))
        if server.ticket is None:
            raise RuntimeError("%s does not serve: %s" % (name, server.output()))
        text = server.ticket[len("endpoint"):].upper()
        server.id = base64.b32decode(text + "=" * (-len(text) % 8))[1:33].hex()
        return server

    def dial(self, host, name, server, what):
        ok, output = dial(self.agent(host, name), server.id, "echo-bi", 100_000, limit=30)
        self.report(ok, what, output)

    def find(self, host, name, server, wanted, what):
        """An item of the lookup says `wanted`: a text, the beginning of an address."""
        looker = Process([*self.agent(host, name), "lookup", server.id])

        def fits(line):
            if not line.startswith("FOUND "):
                return False
            item = json.loads(line[len("FOUND "):])
            return item["provenance"] == "mdns" and item["user_data"] == USER_DATA and any(a.startswith("ip:" + wanted) for a in item["addrs"])
        line = looker.wait_line(fits, 15)
        looker.end(signal.SIGKILL)
        self.report(line is not None, what, looker.output())


class Ear(Process):
    """A program that holds port 5353 of a host, as a responder of the system does."""

    def __init__(self, host):
        super().__init__([*host.before, sys.executable, os.path.join(HERE, "mdns_ear.py")])
        if self.wait_line(lambda line: line == "READY", 10) is None:
            raise RuntimeError("no ear: " + self.output())

    def hears(self, identity, limit=10):
        label = base64.b32encode(bytes.fromhex(identity)).decode().rstrip("=").lower().encode().hex()
        return self.wait_line(lambda line: label in line, limit) is not None


class Memory(Process):
    """A kith endpoint that stays, and tells what it knows of an id."""

    def __init__(self, agent):
        super().__init__([*agent, "lookup", "-"])

    def knows(self, identity, limit_ms):
        with self.condition:
            after = len(self.lines)
        self.process.stdin.write("%s %d\n" % (identity, limit_ms))
        self.process.stdin.flush()
        line = self.wait_line(lambda text: text == "END" or text.startswith("FOUND "), 30, after)
        self.wait_line(lambda text: text == "END", 30, after)
        return line is not None and line != "END"

    def forgets(self, identity, limit):
        deadline = time.monotonic() + limit
        while self.knows(identity, 300):
            if time.monotonic() > deadline:
                return False
        return True


def pairs(case):
    """Each with each, on two hosts where a responder of the system runs already."""
    here, there = case.pair()
    ear, other = case.keep(Ear(here)), case.keep(Ear(there))
    for server_name in case.agents:
        server = case.serve(here, server_name)
        for name in case.agents:
            case.find(there, name, server, "10.7.0.1:", "%s sees address and text of %s" % (name, server_name))
            case.dial(there, name, server, "%s dials %s by id alone" % (name, server_name))
        case.report(ear.hears(server.id) and other.hears(server.id), "%s shares the port with a responder of the system" % server_name)
        case.report(case.keep(Ear(here)).hears(server.id), "a responder that starts later shares it, too", ear.output())
        server.end()


def one_machine(case):
    """Several endpoints on one host, and on one without any network."""
    here, there = case.pair()
    servers = {name: case.serve(here, name) for name in case.agents}
    for name in case.agents:
        for server_name, server in servers.items():
            case.dial(here, name, server, "%s dials %s on the same machine, where there is a second one" % (name, server_name))
    for server_name, server in servers.items():
        case.dial(there, next(iter(case.agents)), server, "both are found from another one: %s" % server_name)
    alone = case.keep(networks.Host())
    server = case.serve(alone, "kith")
    case.dial(alone, "kith", server, "kith dials kith on a machine without a network")


def several_interfaces(case):
    """A host between two switches; the real peer speaks only where its default route is, kith everywhere."""
    left, right = case.switch(), case.switch()
    between = case.keep(networks.Host())
    between.join(left, "eth0", "10.7.0.1/24")
    between.join(right, "eth1", "10.8.0.1/24")
    hosts = {"left": case.host(left, "10.7.0.2/24"), "right": case.host(right, "10.8.0.2/24")}
    server = case.serve(between, "kith")
    for side, host in hosts.items():
        for name in case.agents:
            case.dial(host, name, server, "%s on the %s dials kith that has two interfaces, and no route" % (name, side))
        for name in case.agents:
            other = case.serve(host, name)
            case.dial(between, "kith", other, "kith with two interfaces dials %s on the %s" % (name, side))
            other.end()


def only_ipv6(case):
    """The real peer asks by IPv4 only, if it has a socket for it, and answers by either: it is found, but finds nobody here."""
    switch = case.switch()
    here, there = (case.host(switch, "2001:db8:7::%d/64" % n, route=False) for n in (1, 2))
    for host in (here, there):
        host.run("ip", "-6", "route", "add", "default", "dev", "eth0")
    for name in case.agents:
        server = case.serve(here, name)
        case.find(there, "kith", server, "[2001:db8:7::1]:", "kith sees %s where there is only IPv6" % name)
        case.dial(there, "kith", server, "kith dials %s where there is only IPv6" % name)
        server.end()
    switch = case.switch()
    here, there = case.host(switch, route=False), case.host(switch, route=False)
    server = case.serve(here, "kith")
    case.dial(there, "kith", server, "kith dials kith where there are only link-local addresses")


def leaving(case):
    """Who goes is forgotten: at once with a goodbye, else after a while."""
    here, there = case.pair()
    memory = case.keep(Memory(case.agent(there, "kith")))
    watch = None
    if "rust" in case.agents:
        watch = case.keep(Process([*there.before, *case.agents["rust"], "mdns-watch"]))
        watch.wait_line(lambda line: line == "READY", 10)
    for name in case.agents:
        for way, number, limit in (("goes", None, 2 if name == "kith" else SILENT), ("is killed", signal.SIGKILL, SILENT)):
            if (name, way) == ("kith", "is killed"):
                continue  # its word holds for two minutes: what follows from that is simulated
            server = case.serve(here, name)
            case.report(memory.knows(server.id, 5000), "kith knows %s before it %s" % (name, way), memory.output())
            if watch:
                line = watch.wait_line(lambda text: text.startswith("DISCOVERED") and server.id in text, 10)
                case.report(line is not None and USER_DATA in line, "rust hears of %s before it %s" % (name, way), watch.output())
            server.end(number)
            case.report(memory.forgets(server.id, limit), "kith forgets %s when it %s" % (name, way), memory.output())
            if watch:
                line = watch.wait_line(lambda text: text.startswith("EXPIRED") and server.id in text, 10)
                case.report(line is not None, "rust forgets %s when it %s" % (name, way), watch.output())


def moving(case):
    """An endpoint whose host gets another address is found there by those who knew the old one."""
    here, there = case.pair()
    memory = case.keep(Memory(case.agent(there, "kith")))
    servers = {name: case.serve(here, name) for name in case.agents}
    for name, server in servers.items():
        case.report(memory.knows(server.id, 5000), "kith knows %s before it moves" % name, memory.output())
    here.run("ip", "address", "delete", "10.7.0.1/24", "dev", "eth0")
    here.run("ip", "address", "add", "10.7.0.77/24", "dev", "eth0")
    here.run("ip", "route", "replace", "default", "dev", "eth0")
    for name, server in servers.items():
        for looker in case.agents:
            case.find(there, looker, server, "10.7.0.77:", "%s moved, and %s sees where to" % (name, looker))
            case.dial(there, looker, server, "%s dials %s that moved" % (looker, name))


CASES = (pairs, one_machine, several_interfaces, only_ipv6, leaving, moving)


def run_case(function, agents):
    case = Case(agents)
    try:
        function(case)
    except Exception as error:  # told as a failure of this group, and the others go on
        case.report(False, function.__name__, repr(error))
    finally:
        case.end()
    return case.results


def main():
    tap = Tap()
    why = networks.enter_switch()
    if why:
        tap.skip("the local network", why)
        tap.end()
    found, missing = find_agents()
    agents = {name: command for name, command in found.items() if name != "node"}
    if "rust" in missing:
        tap.skip("the local network with the real peer", missing["rust"])
    chosen = [case for case in CASES if len(sys.argv) < 2 or case.__name__ in sys.argv[1:]]
    with concurrent.futures.ThreadPoolExecutor(len(CASES)) as pool:
        for results in pool.map(lambda case: run_case(case, agents), chosen):
            for result in results:
                tap.report(*result)
    tap.end()


if __name__ == "__main__":
    main()
