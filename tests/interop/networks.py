"""Hosts in network namespaces, joined by switches (bridges): for tests that need a local network of their own."""
import os, shutil, subprocess, sys

INSIDE = "KITH_TEST_NETWORK"


def enter_switch():
    """Runs this script once more in a network namespace where its switches will be; returns inside. Returns a reason where that is
    not possible, else None."""
    if os.environ.get(INSIDE):
        return None
    if not all(shutil.which(word) for word in ("unshare", "nsenter", "ip")):
        return "unshare, nsenter or ip is not installed"
    words = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])
    probe = "ip link add kith0 type bridge && ip link add kith1 type veth peer name kith2"
    if subprocess.run([*words, "sh", "-c", probe], capture_output=True).returncode != 0:
        return "this machine allows no namespaces with bridges"
    os.execvpe(words[0], [*words, sys.executable, *sys.argv], dict(os.environ, **{INSIDE: "1"}))


def run(*words):
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)


class Switch:
    """A bridge that passes everything on, multicast too."""
    count = 0

    def __init__(self):
        Switch.count += 1
        self.name, self.ports = "switch%d" % Switch.count, 0
        run("ip", "link", "add", self.name, "type", "bridge", "mcast_snooping", "0")
        run("ip", "link", "set", self.name, "up")

    def end(self):
        run("ip", "link", "delete", self.name)


class Host:
    """A network namespace with loopback. `before` runs a command in it."""

    def __init__(self):
        # No test of duplicate addresses: it takes two seconds, and whoever makes the network knows that there are none.
        script = "ip link set lo up; echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; echo ready; exec cat"
        self.process = subprocess.Popen(["unshare", "--net", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise RuntimeError("no namespace")
        self.before = ["nsenter", "--net", "--target", str(self.process.pid)]

    def run(self, *words):
        run(*self.before, *words)

    def join(self, switch, name, *addresses, ipv6=True):
        """An interface on a switch, with these addresses (and prefix lengths). Returns when it is up."""
        switch.ports += 1
        port = "%sp%d" % (switch.name, switch.ports)
        run("ip", "link", "add", port, "type", "veth", "peer", "name", name, "netns", str(self.process.pid))
        run("ip", "link", "set", port, "master", switch.name, "up")
        if not ipv6:
            self.run("sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/%s/disable_ipv6" % name)
        self.run("ip", "link", "set", name, "up")
        for address in addresses:
            self.run("ip", "address", "add", address, "dev", name)

    def route(self, name):
        """Everything that is not on a link goes by this interface: the groups too, where a program names no interface."""
        self.run("ip", "route", "add", "default", "dev", name)

    def end(self):
        self.process.stdin.close()
        self.process.wait()
