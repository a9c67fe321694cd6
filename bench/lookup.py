"""The rows of bench/run.py about lookup servers: kith-dns and the real iroh-dns-server under the same load, by turns.

The server runs on the first CPU, lookup-load on the second. Both count: what is done in a second, and the server's CPU time for each.
A put of kith-dns is answered when it is on the disk; the other one answers before it writes.
"""
import json, os, subprocess, sys

from two import both_of

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Rig:
    def __init__(self, build, pinned):
        os.environ["KITH_BUILD"] = build
        sys.path.insert(0, os.path.join(ROOT, "tests", "interop"))
        import lookups, relays
        self.lookups, self.free_port, self.pinned = lookups, relays.free_port, pinned
        self.load = os.path.join(build, "bin", "lookup-load")
        self.programs = lookups.find_servers()[0]

    def run(self, program, *steps):
        """What lookup-load says of each step, with one server for all of them."""
        server = self.lookups.LookupServer(program, http_port=self.free_port(), dns_port=self.free_port(self.lookups.socket.SOCK_DGRAM),
                                           before=self.pinned(0, []))
        try:
            return [self.step(server, *step) for step in steps]
        finally:
            server.stop()

    def step(self, server, *words):
        command = [self.load, "--http", server.http_port, "--dns", server.dns_port, "--pid", server.process.process.pid, *words]
        done = subprocess.run(self.pinned(1, list(map(str, command))), capture_output=True, text=True, timeout=900, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise RuntimeError("%s %s: %s" % (server.name, words, done.stderr.strip() or server.process.output()[-300:]))
        return json.loads(done.stdout)

    def puts(self, program, count, second_field):
        result, = self.run(program, ("fill", 0, count))
        second_field[program].append(result["server_cpu_us_per_put"])
        return result["puts_per_second"]

    def queries(self, program, count, seconds, second_field):
        _, result = self.run(program, ("fill", 0, count), ("ask", count, seconds))
        second_field[program].append(result["server_cpu_us_per_query"])
        return result["queries_per_second"]

    def memory(self, program, count, second_field):
        filled, asked = self.run(program, ("fill", 0, count), ("ask", count, 1))
        second_field[program].append(asked["server_cpu_us_per_query"])
        return filled["resident"] / count


def rows(row, build, pinned, scale):
    """Adds the rows by `row`, the function of bench/run.py."""
    rig = Rig(build, pinned)
    kith, iroh, name = rig.programs.get("kith-dns"), rig.programs.get("iroh-dns-server"), "iroh-dns-server 1.4.1"
    count, seconds = 50000 // scale, 4 if scale == 1 else 1

    two = both_of(row, kith, iroh, name)
    two("lookup server, puts", lambda program, left: rig.puts(program, count, left), "1000/s", 1e-3, "higher",
        "lookup server, CPU of a put", "us", 1, "lower")
    two("lookup server, DNS queries", lambda program, left: rig.queries(program, count, seconds, left), "1000/s", 1e-3, "higher",
        "lookup server, CPU of a query", "us", 1, "lower")
    many = 1000000 // scale
    two("lookup server, %d records, memory of each" % many, lambda program, left: rig.memory(program, many, left), "bytes", 1, "lower",
        "lookup server, %d records, CPU of a query" % many, "us", 1, "lower")
