#!/usr/bin/env python3
"""Runs the examples: each server with each client, and the engine alone. Prints TAP lines."""
import os, subprocess, sys

BIN = os.path.join(os.environ.get("KITH_BUILD", "build"), "bin")
count = failures = 0


def report(ok, name, why=""):
    global count, failures
    count += 1
    failures += not ok
    print("%sok %d - %s" % ("" if ok else "not ", count, name))
    if not ok:
        print("# " + why.replace("\n", "\n# "))


def run(*words):
    return subprocess.run([os.path.join(BIN, words[0]), *words[1:]], capture_output=True, text=True, timeout=60)


for server in ("echo_server", "echo_server_loop"):
    serving = subprocess.Popen([os.path.join(BIN, server), "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ticket = serving.stdout.readline().strip()
    for client in ("echo_client", "echo_client_loop"):
        text = "to " + server
        done = run(client, ticket, text)
        report(done.returncode == 0 and done.stdout == text + "\n", "%s against %s" % (client, server), done.stdout + done.stderr)
    try:
        output, errors = serving.communicate(timeout=30)
        report(serving.returncode == 0, server + " ends after two connections", output + errors)
    except subprocess.TimeoutExpired:
        serving.kill()
        report(False, server + " ends after two connections", "it did not end")
done = run("echo_sans_io")
report(done.returncode == 0 and done.stdout == "hello\n", "the engine alone", done.stdout + done.stderr)
done = run("echo_client", "endpointnonsense")
report(done.returncode == 1 and "ticket" in done.stderr, "a wrong ticket is told in words", done.stderr)
print("1..%d" % count)
sys.exit(1 if failures else 0)
