#!/usr/bin/env python3
"""The Mainline DHT: kith and the Rust crates iroh-mainline-address-lookup 0.6.1 and n0-mainline 0.7.1, each as publisher and as
resolver, through nodes of each, in a network namespace of this test's own where there is nobody else."""
import concurrent.futures, os

import lookups
from peers import BIN, PEERS, Process, Tap

SECRET = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
ID = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
OTHER = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
AGENTS = {"kith": [os.path.join(BIN, "dht-agent")], "rust": [os.path.join(PEERS, "kith-peer")]}
NODES = 12


def command(agent, word, nodes, *words):
    """`dht-agent WORD`, `kith-peer dht-WORD`."""
    program = AGENTS[agent] + [word if agent == "kith" else "dht-" + word]
    for node in nodes:
        program += ["--bootstrap", node]
    return program + list(words)


class Network:
    """COUNT nodes of an agent that answer and store; `addresses`, where they are."""

    def __init__(self, agent, count, through=()):
        self.process = Process(command(agent, "node", through, str(count)))
        self.addresses = []
        for index in range(count):
            line = self.process.wait_line(lambda text: text.startswith("READY "), 30, index)
            if line is None:
                raise RuntimeError("no network of %s: %s" % (agent, self.process.output()))
            self.addresses.append(line.split()[1])

    def end(self):
        return self.process.end()


def resolve(agent, nodes, identity=ID, limit=60):
    """What an agent finds, line by line."""
    process = Process(command(agent, "resolve", nodes, identity))
    process.wait_line(lambda text: text == "END", limit)
    output = process.output()
    process.end()
    return output.split("\n"), output


def publish(agent, nodes, *words):
    process = Process(command(agent, "publish", nodes, SECRET, *words))
    line = process.wait_line(lambda text: text.startswith(("PUBLISHED ", "FAILED ")), 60)
    return process, line == "PUBLISHED " + ID


def cases(tap, name, nodes, agents):
    """Every publisher with every resolver; what a second publication tells replaces the first."""
    for publisher in agents:
        wanted = ["relay https://relay.example.com/", "ip 203.0.113.7:4433", "ip [2001:db8::1]:4433", "user-data of " + publisher, "END"]
        process, ok = publish(publisher, nodes, "--relay", "https://relay.example.com", "--ip", "203.0.113.7:4433", "--ip",
                              "[2001:db8::1]:4433", "--user-data", "of " + publisher)
        tap.report(ok, "%s: %s publishes" % (name, publisher), process.output())
        for resolver in agents:
            lines, output = resolve(resolver, nodes)
            tap.report(lines == wanted, "%s: %s published, %s finds it" % (name, publisher, resolver), output)
        process.end()
        process, ok = publish(publisher, nodes, "--ip", "198.51.100.9:7")
        tap.report(ok, "%s: %s publishes something else" % (name, publisher), process.output())
        for resolver in agents:
            lines, output = resolve(resolver, nodes)
            tap.report(lines == ["ip 198.51.100.9:7", "END"], "%s: %s finds what %s said last" % (name, resolver, publisher), output)
        process.end()
    for resolver in agents:
        lines, output = resolve(resolver, nodes, OTHER)
        tap.report("END" in lines and not [line for line in lines if line.startswith(("ip", "relay"))],
                   "%s: %s finds nothing of a key that nobody published" % (name, resolver), output)


def alone(tap, agents, name):
    network = Network(name, NODES)
    cases(tap, "nodes of " + name, network.addresses[:2], agents)
    network.end()


def mixed(tap, agents):
    rust = Network("rust", NODES // 2)
    kith = Network("kith", NODES // 2, rust.addresses[:1])
    cases(tap, "nodes of both", [kith.addresses[-1]], agents)
    cases(tap, "nodes of both, joined through a real one", [rust.addresses[-1]], agents)
    kith.end()
    rust.end()


def main():
    tap = Tap()
    agents = [name for name in AGENTS if os.path.exists(AGENTS[name][0])]
    reason = lookups.enter_own_network()
    if reason is None and "rust" not in agents:
        reason = "tests/interop/build-peers.sh has not built kith-peer"
    if reason:
        tap.skip("the DHT with real peers", reason)
        tap.end()
    with concurrent.futures.ThreadPoolExecutor(3) as pool:  # apart from one another; each publisher waits for 5 s before it begins
        for done in [pool.submit(alone, tap, agents, "rust"), pool.submit(alone, tap, agents, "kith"), pool.submit(mixed, tap, agents)]:
            done.result()
    tap.end()


if __name__ == "__main__":
    main()
