#!/usr/bin/env python3
"""Measures kith beside the real iroh in alternating runs, prints a table, writes build/bench.json.

    bench/run.py [--build DIR] [--runs N] [--quick] [NAME...]

One core a side: the server runs on the first CPU, the dialling side on the second. Each row is the median of at least three
alternating runs, with minimum and maximum. Without the peers (tests/interop/build-peers.sh) their columns stay empty.
"""
import argparse, json, os, re, resource, shutil, signal, statistics, subprocess, sys, tempfile, time

import lookup
import relay

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PEERS = os.path.join(ROOT, "build-peers", "bin")


def pinned(cpu, command):
    return ["taskset", "-c", str(cpu)] + command if shutil.which("taskset") and os.cpu_count() > 1 else command


class Server:
    """A serving process; `with` starts it and ends it. Its CPU time is known afterwards."""

    def __init__(self, program):
        self.program = program

    def __enter__(self):
        self.process = subprocess.Popen(pinned(0, [self.program, "bench-serve"]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("READY "):
            raise RuntimeError("%s did not start: %r" % (self.program, line))
        self.ticket = line.split()[1]
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def resident(self):
        with open("/proc/%d/statm" % self.process.pid) as file:
            return int(file.read().split()[1]) * 4096


def dial(program, ticket, *words):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(pinned(1, [program, "bench-dial", ticket, *map(str, words)]), capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError("%s %s: %s" % (program, words, done.stderr.strip()))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = json.loads(done.stdout.strip().split("\n")[-1])
    result["cpu_seconds"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return result


def one(program, field, *words):
    with Server(program) as server:
        return dial(program, server.ticket, *words)[field]


def idle(program, count):
    """Bytes per held connection: (accepting side, dialling side)."""
    with Server(program) as server:
        before = server.resident()
        holder = subprocess.Popen(pinned(1, [program, "bench-dial", server.ticket, "idle", str(count)]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        dialling = json.loads(holder.stdout.readline())["bytes_per_connection"]
        accepting = (server.resident() - before) / count
        holder.stdin.close()
        holder.wait(timeout=60)
        return accepting, dialling


def cpu_per_gb(program, size, case="up"):
    """CPU seconds of both sides for one gigabyte on one stream."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with Server(program) as server:
        dial(program, server.ticket, case, size)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e9 / size


def verified_cpu_per_gb(kind, program, path, size):
    """CPU seconds of both sides for one gigabyte of a file, the provider's import counted."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    verified(kind, program, path, size)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e9 / size


def verified(kind, program, path, size):
    """Bytes per second of a verified receive of one file in memory, the provider's import not counted."""
    work = tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    environment = dict(os.environ, XDG_STATE_HOME=work, XDG_CACHE_HOME=work)
    try:
        provider_dir, receiver_dir = os.path.join(work, "a"), os.path.join(work, "b")
        os.mkdir(provider_dir)
        os.mkdir(receiver_dir)
        if kind == "kith":
            send = [program, "send", "--bind", "127.0.0.1:0", path]
            receive = [program, "receive", "-q"]
        else:
            send = [program, "send", "--relay", "disabled", "--ticket-type", "addresses", path]
            receive = [program, "receive", "--relay", "disabled"]
        log = os.path.join(work, "send.log")
        with open(log, "w") as output:
            provider = subprocess.Popen(pinned(0, send), stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=provider_dir, env=environment)
        try:
            ticket, deadline = None, time.monotonic() + 60
            while ticket is None:
                with open(log) as file:
                    found = re.findall(r"\bblob[a-z2-7]{60,}\b", file.read())
                ticket = found[-1] if found else None
                if time.monotonic() > deadline or provider.poll() is not None:
                    raise RuntimeError("%s gave no ticket: %s" % (program, open(log).read()))
                time.sleep(0.02)
            started = time.monotonic()
            done = subprocess.run(pinned(1, receive + [ticket]), cwd=receiver_dir, env=environment, capture_output=True, text=True, timeout=120)
            took = time.monotonic() - started
            if done.returncode != 0:
                raise RuntimeError("%s receive: %s" % (program, done.stderr[-500:]))
            return size / took
        finally:
            provider.send_signal(signal.SIGINT)
            try:
                provider.wait(timeout=10)
            except subprocess.TimeoutExpired:
                provider.kill()
                provider.wait()
    finally:
        shutil.rmtree(work, ignore_errors=True)


def alternate(runs, ours, theirs):
    """Runs the two by turns; a side that fails is told and left out."""
    samples = ([], [])
    for _ in range(runs):
        for side, measure in enumerate((ours, theirs)):
            if measure is None:
                continue
            try:
                samples[side].append(measure())
            except (RuntimeError, subprocess.TimeoutExpired, OSError, ValueError, KeyError) as error:
                print("    failed: %s" % str(error)[:300], file=sys.stderr)
    return samples


def summary(samples, scale):
    if not samples:
        return None
    scaled = sorted(value * scale for value in samples)
    return {"min": scaled[0], "median": statistics.median(scaled), "max": scaled[-1]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the data: to see that everything runs")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    kith, command = os.path.join(build, "bin", "kith-bench"), os.path.join(build, "bin", "kith")
    peer = os.path.join(PEERS, "kith-peer")
    peer = peer if os.path.exists(peer) else None
    sendme = os.path.join(PEERS, "sendme")
    sendme = sendme if os.path.exists(sendme) else None
    if peer is None or sendme is None:
        print("bench: real peers are missing: run tests/interop/build-peers.sh first; their columns stay empty", file=sys.stderr)
    scale = 10 if options.quick else 1
    size = 2_000_000_000 // scale
    held = 2000 // scale
    file_size = 1_000_000_000 // scale
    rows = []

    def row(name, unit, factor, better, ours, theirs, peer_name):
        if options.names and not any(word in name for word in options.names):
            return
        print("measuring: " + name, file=sys.stderr)
        mine, other = alternate(options.runs, ours, theirs)
        mine, other = summary(mine, factor), summary(other, factor)
        ratio = None
        if mine and other and mine["median"] and other["median"]:
            ratio = mine["median"] / other["median"]
        rows.append({"name": name, "unit": unit, "better": better, "kith": mine, "peer": other, "peer_name": peer_name, "ratio": ratio})

    def both(field, *words):
        return (lambda: one(kith, field, *words)), (lambda: one(peer, field, *words)) if peer else None

    iroh = "iroh 1.4.1"
    row("one stream, up", "Gbit/s", 8e-9, "higher", *both("bytes_per_second", "up", size), iroh)
    row("one stream, down", "Gbit/s", 8e-9, "higher", *both("bytes_per_second", "down", size), iroh)
    row("eight streams, up", "Gbit/s", 8e-9, "higher", *both("bytes_per_second", "up", size, 8), iroh)
    row("connects, one after another", "1/s", 1, "higher", *both("connects_per_second", "connects", 500 // scale, 1), iroh)
    row("connects, 64 at a time", "1/s", 1, "higher", *both("connects_per_second", "connects", 1024 // scale, 64 if scale == 1 else 16), iroh)
    row("echo latency p50", "us", 1e-3, "lower", *both("p50_ns", "latency", 5000 // scale), iroh)
    row("echo latency p99", "us", 1e-3, "lower", *both("p99_ns", "latency", 5000 // scale), iroh)
    row("idle connection, accepting side", "KiB", 1 / 1024, "lower", lambda: idle(kith, held)[0], (lambda: idle(peer, held)[0]) if peer else None, iroh)
    row("idle connection, dialling side", "KiB", 1 / 1024, "lower", lambda: idle(kith, held)[1], (lambda: idle(peer, held)[1]) if peer else None, iroh)
    row("CPU seconds per GB, both sides", "s", 1, "lower", lambda: cpu_per_gb(kith, size), (lambda: cpu_per_gb(peer, size)) if peer else None, iroh)
    row("multipath negotiated, one path / off", "s", 1, "lower", lambda: cpu_per_gb(kith, size), lambda: cpu_per_gb(kith, size, "up-single"), "kith without it")
    row("BLAKE3, one thread", "GB/s", 1e-9, "higher", *both("bytes_per_second", "blake3", 1 << 30), "blake3 crate 1")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as work:
        path = os.path.join(work, "film.bin")
        with open(path, "wb") as file:
            for _ in range(file_size // 1_000_000):
                file.write(os.urandom(1_000_000))
        row("verified receive of a file", "Gbit/s", 8e-9, "higher", lambda: verified("kith", command, path, file_size),
            (lambda: verified("sendme", sendme, path, file_size)) if sendme else None, "sendme 0.37.1")
        row("verified receive, CPU seconds per GB", "s", 1, "lower", lambda: verified_cpu_per_gb("kith", command, path, file_size),
            (lambda: verified_cpu_per_gb("sendme", sendme, path, file_size)) if sendme else None, "sendme 0.37.1")
        # Both parts right after each other, so that the machine's speed falls out of the quotient.
        row("verified receive of the bare stream's rate", "%", 100, "higher",
            lambda: verified("kith", command, path, file_size) / one(kith, "bytes_per_second", "down", file_size),
            (lambda: verified("sendme", sendme, path, file_size) / one(peer, "bytes_per_second", "down", file_size))
            if sendme and peer else None, "sendme, " + iroh)

    relay.rows(row, build, pinned, scale)
    lookup.rows(row, build, pinned, scale)

    def cell(part):
        return "%10.2f (%.2f-%.2f)" % (part["median"], part["min"], part["max"]) if part else "-"

    print("\n%-42s %-7s %28s %28s %7s" % ("", "unit", "kith median (min-max)", "peer median (min-max)", "ratio"))
    for entry in rows:
        print("%-42s %-7s %28s %28s %7s   %s" % (entry["name"], entry["unit"], cell(entry["kith"]), cell(entry["peer"]),
                                                 "%.2f" % entry["ratio"] if entry["ratio"] else "-", entry["peer_name"]))
    with open(os.path.join(build, "bench.json"), "w") as file:
        json.dump(rows, file, indent=1)
    print("\nwritten: " + os.path.relpath(os.path.join(build, "bench.json"), ROOT))
    return 0 if all(entry["kith"] for entry in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
