#!/usr/bin/env python3
"""Clients that abuse a relay, while two honest ones exchange datagrams: these lose none, and the relay does not grow. Prints TAP lines.

The honest clients ask for much less than their share of the relay (relay-load, at a fixed rate), so that what they lose they lose by the
abuse; and in the cases of the share for more than it. Nothing here depends on the machine's speed but how much abuse there is.
Arguments: words; a case runs if one of them is in its name. KITH_MEASURE_REFERENCE=1 measures the real iroh-relay beside ours, not judged.
"""
# Runs alone: who floods takes all the CPU there is, and what the others lose is judged.
import json, os, socket, struct, subprocess, sys, threading, time

import raw_relay
from peers import BIN, Tap
from raw_relay import PING, SEND, SEND_BATCH, Closed, Key, RawRelay, connected
from relays import MEASURES_REFERENCE, Relay, find_relays

LOAD = os.path.join(BIN, "relay-load")
RATE, SECONDS = 2000, 2
ABUSER = "127.0.9.9"
GROWTH_MAX = 96 << 20  # of the relay's memory, whatever is thrown at it
CASES = []


def case(run):
    CASES.append((run.__name__.replace("_", " "), run))
    return run


def message(frame):
    """A masked WebSocket message (with a mask of zeros), for buffers that are made once."""
    size = len(frame)
    head = bytes([0x82, 0x80 | size]) if size < 126 else bytes([0x82, 0xFE]) + struct.pack(">H", size)
    return head + bytes(4) + frame


class Abuse:
    """Threads that do something again and again until the end; what goes wrong for them is their own trouble."""

    def __init__(self, relay):
        self.relay, self.is_over, self.threads, self.held, self.bytes = relay, False, [], [], 0

    def client(self):
        client = connected(self.relay.port, source=ABUSER)
        self.held.append(client)
        return client

    def again(self, step, times=1):
        def run():
            while not self.is_over:
                try:
                    step()
                except (OSError, Closed, ValueError):
                    time.sleep(0.01)
        for _ in range(times):
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            self.threads.append(thread)

    def end(self):
        self.is_over = True
        for client in self.held:
            try:
                getattr(client, "sock", client).shutdown(socket.SHUT_RDWR)  # wakes those who write and read
            except OSError:
                pass
            client.close()
        for thread in self.threads:
            thread.join(timeout=3)


@case
def nobody(abuse):
    pass


def whole_frames(frame, size=1 << 18):
    return message(frame) * (size // len(message(frame)) + 1)


def flood(make, reads=True, count=2):
    """Clients that send frames at full rate; the stream of frames is kept whole across partial writes."""
    def run(abuse):
        def start():
            client = abuse.client()
            client.sock.settimeout(1)
            frames, at = whole_frames(make(client)), 0
            period = len(message(make(client)))

            def write():
                nonlocal client, at, frames
                try:
                    sent = client.sock.send(memoryview(frames)[at:])
                    at = (at + sent) % period
                    abuse.bytes += sent
                except TimeoutError:
                    pass
                except OSError:
                    client.close()
                    if abuse.is_over:
                        return
                    client, at = abuse.client(), 0
                    client.sock.settimeout(1)
                    frames = whole_frames(make(client))

            def read():
                if not client.sock.recv(1 << 20):
                    time.sleep(0.01)
            abuse.again(write)
            if reads:
                abuse.again(read)
        for _ in range(count):
            start()
    return run


UNKNOWN = bytes([9]) * 32
# Of each kind, what an honest client gets at least of what it would be if all got the same bytes (more beside tiny datagrams, which
# take more of the relay's time for each byte); and how many turns in which the relay takes
# TURN_FRAMES from each client a lone datagram takes at most (the median: what the scheduler does now and then is not the relay's).
TURNS_MAX, TURN_FRAMES = 4, (64 << 10) / 1242
FLOODS = (("datagrams to themselves", "self", 0.8), ("datagrams to nobody", "nobody", 0.8), ("tiny datagrams to nobody", "tiny", 1.3))
for said, run in (
        ("datagrams to oneself", flood(lambda client: bytes([SEND]) + client.key.public + bytes(1201))),
        ("datagrams to oneself that are never read", flood(lambda client: bytes([SEND]) + client.key.public + bytes(1201), reads=False, count=4)),
        ("datagrams to unknown ids", flood(lambda client: bytes([SEND]) + UNKNOWN + bytes(1201))),
        ("tiny datagrams to unknown ids", flood(lambda client: bytes([SEND]) + UNKNOWN + bytes(2))),
        ("batches of 64 KiB to oneself that are never read", flood(lambda client: bytes([SEND_BATCH]) + client.key.public + b"\0\x04\xb0" + bytes(65000), False)),
        ("pings", flood(lambda client: bytes([PING]) + b"pingping")),
        ("pings whose pongs are never read", flood(lambda client: bytes([PING]) + b"pingping", reads=False, count=4))):
    CASES.append(("a flood of " + said, run))


@case
def messages_of_1_mib(abuse):
    def step():
        with connected(abuse.relay.port, source=ABUSER) as client:
            client.send(bytes([SEND]) + UNKNOWN + bytes(1 << 20))
            client.is_closed(1)
    abuse.again(step, 3)


@case
def garbage_after_the_upgrade(abuse):
    def step():
        with RawRelay(abuse.relay.port, source=ABUSER) as client:
            client.upgrade()
            client.sock.sendall(os.urandom(20000))
            client.is_closed(1)
    abuse.again(step, 3)


@case
def garbage_in_place_of_a_request(abuse):
    def step():
        with RawRelay(abuse.relay.port, source=ABUSER) as client:
            client.sock.sendall(os.urandom(50000))
            client.is_closed(1)
    abuse.again(step, 3)


@case
def a_request_that_never_ends(abuse):
    def step():
        with RawRelay(abuse.relay.port, source=ABUSER) as client:
            client.sock.sendall(b"GET /relay HTTP/1.1\r\n")
            for i in range(2000):
                client.sock.sendall(b"X-%d: %s\r\n" % (i, b"y" * 1000))
    abuse.again(step, 3)


def raw_connections(abuse, count, first):
    for _ in range(count):
        try:
            sock = socket.create_connection(("127.0.0.1", abuse.relay.port), timeout=2, source_address=(ABUSER, 0))
            sock.sendall(first)
        except OSError:
            continue  # turned away: that is an answer too
        abuse.held.append(sock)


@case
def slow_loris_upgrades_by_the_thousand(abuse):
    raw_connections(abuse, 2000, b"GET /relay HTTP/1.1\r\nHost: ")

    def step():
        for sock in list(abuse.held):
            try:
                sock.send(b"x")
            except OSError:
                pass
        time.sleep(0.3)
    abuse.again(step)


@case
def thousands_of_silent_connections(abuse):
    raw_connections(abuse, 3000, b"")


@case
def thousands_of_upgrades_without_a_proof(abuse):
    raw_connections(abuse, 3000, b"GET /relay HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: iroh-relay-v2\r\n\r\n")


@case
def wrong_proofs_one_after_another(abuse):
    def step():
        with RawRelay(abuse.relay.port, source=ABUSER) as client:
            client.upgrade()
            client.authenticate(Key(bytes(32)), signature=b"\1" * 64)
    abuse.again(step, 3)


@case
def connections_of_one_key_by_the_hundred(abuse):
    key = Key()

    def step():
        client = connected(abuse.relay.port, key, source=ABUSER)
        abuse.held.append(client)
        if len(abuse.held) > 300:
            abuse.held.pop(0).close()
    abuse.again(step, 2)


def resident(pid):
    with open("/proc/%d/statm" % pid) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def exchange(relay, *words):
    """What two honest clients see."""
    done = subprocess.run([LOAD, "--port", str(relay.port), "--pid", str(relay.pid), *map(str, words)], capture_output=True, text=True, timeout=90,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        return None, done.stderr
    return json.loads(done.stdout), done.stdout


def run_case(tap, name, program, said, run):
    title = "%s: %s" % (name, said)
    if sys.argv[1:] and not any(word in title for word in sys.argv[1:]):
        return
    with Relay(program) as relay:
        before, abuse = resident(relay.pid), Abuse(relay)
        try:
            run(abuse)
            time.sleep(0.3)
            told, output = exchange(relay, "latency", 1, SECONDS, RATE)
            grown = resident(relay.pid) - before
            still_takes = connected(relay.port).ping()
        except (OSError, Closed, subprocess.TimeoutExpired) as error:
            told, output, grown, still_takes = None, "%s: %s" % (type(error).__name__, error), 0, False
        abuse.end()
        ok = told is not None and still_takes and told["lost"] <= SECONDS * RATE // 100 and grown <= GROWTH_MAX \
            and relay.process.process.poll() is None
        note = "failed: %s" % output.strip()[:200] if told is None else "lost %d of %d, p99 %.1f ms, grew by %.1f MB, abuse of %.0f MB" % (
            told["lost"], SECONDS * RATE, told["p99_ns"] / 1e6, grown / 1e6, abuse.bytes / 1e6)
        if name != "kith-relay" and not ok:
            title, ok = title + " (the reference fails here)", True
        tap.report(ok, "%s # %s" % (title, note), output + relay.output()[-1500:])


def run_share(tap, name, program, said, kind, share_min):
    """Two honest pairs that want more than their share, and four abusers, all driven by turns by one thread, at a relay that is
    slower than they are: it has one CPU together with them, and yields to them."""
    title = "%s: the share of honest clients beside as many that flood with %s" % (name, said)
    if sys.argv[1:] and not any(word in title for word in sys.argv[1:]):
        return
    cpu = str(min(os.sched_getaffinity(0)))
    with Relay(program, before=["taskset", "-c", cpu, "nice", "-n", "15"]) as relay:
        words = [LOAD, "--port", str(relay.port), "--pid", str(relay.pid), "--window", "256", "--abusers", "4", "--abuse", kind, "share", "2", "3"]
        done = subprocess.run(["taskset", "-c", cpu, *words], capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            tap.report(name != "kith-relay", title + " # failed", done.stderr + relay.output()[-1500:])
            return
        told = json.loads(done.stdout)
        equal = (told["honest_mean"] + told["abuser_mean"]) / 2
        share, turns = told["honest_min"] / equal, told["flooded_p50_ns"] / 1e9 * equal / TURN_FRAMES
        # What delays them now and then without a flood, too, is not the flood's.
        other = told["quiet_p99_ns"] / 1e9 * equal / TURN_FRAMES
        ok = share >= share_min and turns - other <= TURNS_MAX
        tap.report(ok or name != "kith-relay", "%s # honest %.0f/s, abusers %.0f/s each: %.2f of an equal share; datagrams of others %.2f ms, "
                   "%.1f turns (p99 %.1f ms), x %.0f of those without a flood" % (
                       title, told["honest_min"], told["abuser_mean"], share, told["flooded_p50_ns"] / 1e6, turns, told["flooded_p99_ns"] / 1e6,
                       told["flooded_p50_ns"] / max(1, told["quiet_p50_ns"])), done.stdout)


def main():
    tap = Tap()
    raw_relay.allow_descriptors(8000)
    relays, missing = find_relays()
    if not MEASURES_REFERENCE:
        relays.pop("iroh-relay", None)
        missing.pop("iroh-relay", None)
    if raw_relay.SODIUM is None or not os.path.exists(LOAD):
        missing, relays = {**missing, "all": "no libsodium for signatures, or relay-load is not built"}, {}
    for name, why in missing.items():
        tap.skip(name, why)
    for name, program in relays.items():
        for said, run in CASES:
            run_case(tap, name, program, said, run)
        for said, kind, share_min in FLOODS:
            run_share(tap, name, program, said, kind, share_min)
    tap.end()


if __name__ == "__main__":
    main()
