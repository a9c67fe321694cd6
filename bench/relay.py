"""The rows of bench/run.py about relays: kith-relay and the real iroh-relay under the same load, by turns.

The relay runs on the first CPU, relay-load on the second. What counts is the relay's CPU time: the load on the other CPU, which
does both ends of every connection, may be what is slower.
"""
import collections, json, os, resource, subprocess, sys

from two import both_of

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RATES = {}  # (relay, tls) -> datagrams a second that relay and load can do together, measured before: latency is taken at half of the lowest


def files_max():
    """How many clients one process can hold here, if the limit may be raised as far as it goes."""
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300000, 300000))
    except (ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200


class Rig:
    def __init__(self, build, pinned):
        os.environ["KITH_BUILD"] = build
        sys.path.insert(0, os.path.join(ROOT, "tests", "interop"))
        import relays
        self.relays, self.pinned, self.load = relays, pinned, os.path.join(build, "bin", "relay-load")
        self.programs = relays.find_relays()[0]

    def run(self, program, tls, *words):
        with self.relays.Relay(program, tls=tls, before=self.pinned(0, [])) as relay:
            command = [self.load, "--port", str(relay.port), "--pid", str(relay.pid), *(["--tls", self.relays.ROOTS] if tls else []), *map(str, words)]
            done = subprocess.run(self.pinned(1, command), capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                raise RuntimeError("%s %s: %s" % (program, words, done.stderr.strip() or relay.output()[-300:]))
            return json.loads(done.stdout)

    def throughput(self, program, tls, seconds, second_field):
        """Datagrams for each second of CPU; what else was measured waits in second_field."""
        result = self.run(program, tls, "throughput", 10, seconds)
        RATES[program, tls] = min(result["packets_per_cpu_second"], result["packets_per_second"])
        second_field[program].append(result["gbit_per_cpu_second"])
        return result["packets_per_cpu_second"]

    def latency(self, program, tls, seconds, second_field):
        if (program, tls) not in RATES:
            self.throughput(program, tls, 2, collections.defaultdict(list))
        # The same for both relays; half of what the faster one can do is more than the load can send one by one.
        rate = min(rate for (_, is_tls), rate in RATES.items() if is_tls == tls) / 2
        result = self.run(program, tls, "latency", 10, seconds, round(rate))
        second_field[program].append(result["p99_ns"])
        return result["p50_ns"]

    def idle(self, program, tls, count, second_field):
        result = self.run(program, tls, "--sources", count // 20000, "idle", count)
        second_field[program].append(result["relay_cpu_us_per_connect"])
        return result["bytes_per_client"]


def rows(row, build, pinned, scale):
    """Adds the rows by `row`, the function of bench/run.py."""
    rig = Rig(build, pinned)
    kith, iroh = rig.programs.get("kith-relay"), rig.programs.get("iroh-relay")
    seconds, count, name = 5 if scale == 1 else 1, 10000 // scale, "iroh-relay 1.4.1"

    two = both_of(row, kith, iroh, name)

    for tls, said in ((False, "plain"), (True, "TLS")):
        two("relay %s, datagrams per CPU second" % said, lambda program, left: rig.throughput(program, tls, seconds, left), "1000", 1e-3, "higher",
            "relay %s, bits per CPU second" % said, "Gbit", 1, "higher")
        two("relay %s, latency p50 at half load" % said, lambda program, left: rig.latency(program, tls, seconds, left), "us", 1e-3, "lower",
            "relay %s, latency p99 at half load" % said, "us", 1e-3, "lower")
        two("relay %s, %d idle clients, each" % (said, count), lambda program, left: rig.idle(program, tls, count, left), "KiB", 1 / 1024, "lower",
            "relay %s, CPU of a client's coming" % said, "us", 1, "lower")
    many = min(100000 // scale, files_max()) & ~1
    if many > count:
        two("relay plain, %d idle clients, each" % many, lambda program, left: rig.idle(program, False, many, left), "KiB", 1 / 1024, "lower",
            "relay plain, %d, CPU of a client's coming" % many, "us", 1, "lower")
