#!/usr/bin/env python3
"""Runs every test program and closes with 'N passed, N failed, N skipped'.

    tests/run.py [--build DIR] [--only KIND,...] [--jobs N] [--demand-peers] [--add-to FILE] [NAME...]

Kinds: unit (test-*), fuzz (corpus replays), sim (scenarios), program (examples and commands), interop (real peers), lint.
Several run at a time, what they say stays whole and in a fixed order. --jobs: so many at most (1: one after another). A file that another
one would disturb, or that would disturb others, says so in a line of its own, '# Runs alone: WHY'; it runs after the others of its group.
A program reports its cases as cmocka does, or as TAP lines ('ok 1 - name', 'not ok 2 - name', 'ok 3 - name # SKIP why').
--demand-peers makes a skipped interop case a failure. --add-to keeps a running sum over several runs in FILE.
"""
import argparse, collections, concurrent.futures, glob, json, os, re, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CMOCKA_OK = re.compile(r"^\[\s+OK \] (.*)")
CMOCKA_BAD = re.compile(r"^\[  (?:FAILED|ERROR)\s*\] (.*)")
TAP = re.compile(r"^(not )?ok\b(?:\s+\d+)?(?:\s*-)?\s*(.*)")
ALONE = re.compile(r"^# Runs alone: .", re.M)
TIME_LIMIT = {"unit": 900, "fuzz": 300, "sim": 1200, "program": 600, "interop": 2400, "lint": 120}
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# What runs side by side, and how many of it: programs and peers wait for one another most of the time, and those that take longest stand
# first, so that short ones fill the end. sim-run uses the CPUs itself.
GROUPS = ((("unit", "fuzz"), CPUS), (("sim",), 1), (("interop", "program"), CPUS + 1), (("lint",), 1))

Suite = collections.namedtuple("Suite", "kind name command is_alone", defaults=[False])
Result = collections.namedtuple("Result", "suite passed failed skipped output seconds")


def suites(build, kinds):
    """Every test program there is, in a fixed order."""
    found = []
    bins = os.path.join(build, "bin")
    for path in sorted(glob.glob(os.path.join(bins, "test-*"))):
        found.append(Suite("unit", os.path.basename(path), [path]))
        if path.endswith("test-crypto"):  # once more with each lower instruction set, and with the other library
            for limit in ("KITH_CPU=portable", "KITH_CPU=sse41", "KITH_CPU=avx2", "KITH_AEAD=gnutls"):
                found.append(Suite("unit", "test-crypto " + limit, ["env", limit, path]))
    for path in sorted(glob.glob(os.path.join(bins, "replay-*"))):
        name = os.path.basename(path)[len("replay-"):]
        found.append(Suite("fuzz", "replay-" + name, [path, os.path.join(ROOT, "fuzz", "corpus", name)]))
    for path in sorted(glob.glob(os.path.join(bins, "sim-*"))):
        found.append(Suite("sim", os.path.basename(path), [path]))
    for kind, where in (("program", "tests/programs"), ("interop", "tests/interop"), ("lint", "tests/lint")):
        for path in sorted(glob.glob(os.path.join(ROOT, where, "test_*.py"))):
            with open(path) as file:
                is_alone = ALONE.search(file.read()) is not None
            found.append(Suite(kind, os.path.relpath(path, ROOT), [sys.executable, path], is_alone))
    return [suite for suite in found if suite.kind in kinds]


def run_suite(suite, environment):
    """Runs one, and reads the names of its cases from what it printed."""
    kind, name, passed, failed, skipped = suite.kind, suite.name, [], [], []
    started = time.monotonic()
    try:
        done = subprocess.run(suite.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=TIME_LIMIT[kind], env=environment, cwd=ROOT, stdin=subprocess.DEVNULL)
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as late:
        output = (late.stdout or b"").decode(errors="replace") if isinstance(late.stdout, bytes) else (late.stdout or "")
        output += "\nstopped after %d s" % TIME_LIMIT[kind]
        code = -1
    for line in output.splitlines():
        if (match := CMOCKA_OK.match(line)):
            passed.append(match.group(1))
        elif (match := CMOCKA_BAD.match(line)) and not re.match(r"\d+ test", match.group(1)):
            if match.group(1) not in failed:
                failed.append(match.group(1))
        elif (match := TAP.match(line)):
            (failed if match.group(1) else skipped if "# SKIP" in match.group(2) else passed).append(match.group(2))
    if kind == "fuzz" and code == 0:
        passed.append(name)
    if code != 0 and not failed:
        failed.append("%s (exit code %d)" % (name, code))
    if code == 0 and not passed and not skipped:
        failed.append(name + " (reported no case)")
    return Result(suite, passed, failed, skipped, output, time.monotonic() - started)


def tell(result):
    """Prints what a person needs to see."""
    lines = result.output.splitlines()
    print("%-9s %-34s %4d passed, %d failed, %d skipped  (%.1f s)" % (
        result.suite.kind, result.suite.name, len(result.passed), len(result.failed), len(result.skipped), result.seconds), flush=True)
    for line in lines:
        if result.suite.kind == "sim" and line.startswith("# ") and " seeded runs of " in line:
            print("    " + line[2:])
    for case in result.skipped:
        print("    skipped: " + case)
    if result.failed:
        for case in result.failed:
            print("    FAILED: " + case)
        print("    ---- output, last lines ----")
        print("\n".join("    " + line for line in lines[-80:]), flush=True)


def run_all(chosen, jobs_max, environment):
    """The results, each as soon as those before it are there."""
    for kinds, jobs in GROUPS:
        group = [suite for kind in kinds for suite in chosen if suite.kind == kind]
        for some, width in (([suite for suite in group if not suite.is_alone], min(jobs, jobs_max)), ([suite for suite in group if suite.is_alone], 1)):
            with concurrent.futures.ThreadPoolExecutor(width) as pool:
                for result in pool.map(lambda suite: run_suite(suite, environment), some):
                    tell(result)
                    yield result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--only", default="unit,fuzz,sim,program,interop,lint")
    parser.add_argument("--jobs", type=int, default=CPUS + 1)
    parser.add_argument("--demand-peers", action="store_true")
    parser.add_argument("--add-to")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    environment = dict(os.environ, KITH_BUILD=build, KITH_DEMAND_PEERS="1" if options.demand_peers else "")
    environment.setdefault("KITH_LOOKUP", "none")  # nobody outside of this machine hears of a test
    peers = os.path.join(ROOT, "build-peers", "bin") # the programs that users have, where they were built
    if os.path.isdir(peers):
        environment.setdefault("KITH_PEERS", peers)
    totals = [0, 0, 0]
    chosen = [suite for suite in suites(build, options.only.split(",")) if not options.names or any(word in suite.name for word in options.names)]
    for result in run_all(chosen, max(1, options.jobs), environment):
        failed, skipped = result.failed, result.skipped
        if options.demand_peers and result.suite.kind == "interop" and skipped:
            failed, skipped = failed + ["skipped: " + case for case in skipped], []
        for i, cases in enumerate((result.passed, failed, skipped)):
            totals[i] += len(cases)
    if sum(totals) == 0:
        print("no test was found", file=sys.stderr)
        return 1
    if options.add_to:
        if os.path.exists(options.add_to):
            with open(options.add_to) as file:
                totals = [a + b for a, b in zip(totals, json.load(file))]
        with open(options.add_to, "w") as file:
            json.dump(totals, file)
    print("%d passed, %d failed, %d skipped" % tuple(totals), flush=True)
    return 1 if totals[1] else 0


if __name__ == "__main__":
    sys.exit(main())
