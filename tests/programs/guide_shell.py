"""Follows an operators' page of doc/ as a new operator would: every command of it is run, in order, in a network namespace of its own where
Let's Encrypt is pebble. systemctl and journalctl are stand-ins that do with the installed unit what systemd does. TAP lines."""
import json, os, re, shutil, signal, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("KITH_BUILD", os.path.join(ROOT, "build")))
X509 = os.path.join(ROOT, "tests", "interop", "x509")

# What systemd does with the unit, as far as the pages use it.
SYSTEMCTL = """#!/usr/bin/env python3
import os, re, signal, socket, subprocess, sys, time
state = os.environ["GUIDE_STATE"]
unit = open("%s/%s.service" % (os.environ["GUIDE_UNITS"], sys.argv[-1])).read()
directory = "/var/lib/" + re.search(r"^StateDirectory=(.*)$", unit, re.M).group(1)
pid_file = state + "/pid"
verb = sys.argv[1]
if verb == "enable":
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(state + "/notify")
    sock.settimeout(20)
    words = re.search(r"^ExecStart=(.*)$", unit, re.M).group(1).split()
    given = dict(word.replace("%S", "/var/lib").split("=", 1) for word in re.findall(r"^Environment=(.*)$", unit, re.M))
    os.makedirs(directory, 0o700, exist_ok=True)
    done = subprocess.Popen([os.environ["GUIDE_BIN"] + "/" + os.path.basename(words[0]), *words[1:]], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=open(state + "/journal", "ab"), cwd=directory, start_new_session=True,
                            env=dict(os.environ, NOTIFY_SOCKET=state + "/notify", JOURNAL_STREAM="1:1", **given))
    open(pid_file, "w").write(str(done.pid))
    assert sock.recv(100) == b"READY=1"
elif verb == "reload":
    assert re.search(r"^ExecReload=/bin/kill -HUP \\$MAINPID$", unit, re.M)
    os.kill(int(open(pid_file).read()), signal.SIGHUP)
elif verb == "stop":
    pid = int(open(pid_file).read())
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + 30
    while os.path.exists("/proc/%d/stat" % pid) and open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until
        time.sleep(0.05)
"""
count = failures = 0


def report(ok, name, why=""):
    global count, failures
    count += 1
    failures += not ok
    print("%sok %d - %s" % ("" if ok else "not ", count, name), flush=True)
    if not ok:
        print("# " + why[-3000:].replace("\n", "\n# "), flush=True)


class Guide:
    """
    One page. server: "relay"; hosts: /etc/hosts; address: one that this machine has beside loopback, or None; resolver: True: the
    machine asks itself for names, and so does the authority; needs: programs beside those that all pages need; wanted: what the
    output of each numbered piece must match.
    """

    def __init__(self, page, server, wanted, hosts="127.0.0.1 localhost\n::1 localhost\n", address=None, resolver=False, needs=()):
        self.page, self.server, self.wanted, self.hosts, self.address, self.resolver = page, server, wanted, hosts, address, resolver
        self.needs = needs

    def skip(self, why):
        print("ok 1 - %s # SKIP %s\n1..1" % (self.page, why))
        sys.exit(0)

    def outside(self):
        """Goes on inside namespaces of its own; skips where that is not possible."""
        if not (shutil.which("pebble") and shutil.which("pebble-challtestsrv")):
            self.skip("pebble is not installed")
        with open(os.path.join(BUILD, "CMakeCache.txt")) as cache:
            if re.search(r"^KITH_SANITIZE:[A-Z]+=.", cache.read(), re.M):
                self.skip("sanitizers are too slow for a page that waits in seconds")
        for word in ("unshare", "ip", "mount", "curl", "bash", *self.needs):
            if not shutil.which(word):
                self.skip(word + " is not installed")
        words = ["unshare", "--net", "--mount"] if os.geteuid() == 0 else ["unshare", "--net", "--mount", "--user", "--map-root-user"]
        if subprocess.run([*words, "sh", "-c", "ip link set lo up && mount -t tmpfs none /var/lib"], capture_output=True).returncode != 0:
            self.skip("no namespaces can be made here")
        os.execvp(words[0], [*words, sys.executable, os.path.abspath(sys.argv[0]), "inside"])

    def prepare(self, work):
        """Files, names and programs as the page supposes them; the environment for its commands."""
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        if self.address:
            subprocess.run(["ip", "address", "add", self.address, "dev", "lo"], check=True)
        write(work + "/hosts", self.hosts)
        subprocess.run(["mount", "--bind", work + "/hosts", "/etc/hosts"], check=True)
        if self.resolver:
            write(work + "/resolv.conf", "nameserver 127.0.0.1\n")
            subprocess.run(["mount", "--bind", work + "/resolv.conf", os.path.realpath("/etc/resolv.conf")], check=True)
        os.makedirs("/etc/kith", exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", "/etc/kith"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", "/var/lib"], check=True)
        os.mkdir(work + "/bin")
        for name in ("kith", "kith-" + self.server):
            os.symlink(os.path.join(BUILD, "bin", name), os.path.join(work, "bin", name))
        write(work + "/bin/systemctl", SYSTEMCTL, 0o755)
        write(work + "/bin/journalctl", '#!/bin/sh\ncat "$GUIDE_STATE/journal"\n', 0o755)
        return dict({name: value for name, value in os.environ.items() if not name.startswith(("IROH", "KITH_RELAY", "KITH_LOOKUP"))}, HOME=work,
                    PATH=work + "/bin:" + os.environ["PATH"], GUIDE_STATE=work, GUIDE_BIN=work + "/bin", GUIDE_UNITS=BUILD)

    def authority(self, work, environment):
        """pebble in place of Let's Encrypt; its root is what the world trusts. Returns what is to be ended."""
        config = {"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000", "certificate": X509 + "/cert.pem",
                             "privateKey": X509 + "/key.pem", "httpPort": 80, "tlsPort": 443, "ocspResponderURL": "", "externalAccountBindingRequired": False}}
        write(work + "/pebble.json", json.dumps(config))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        started = [] if self.resolver else [subprocess.Popen(["pebble-challtestsrv", "-dns01", "127.0.0.1:8053", "-http01", "", "-https01", "", "-tlsalpn01", "",
                                                              "-defaultIPv6", ""], **quiet)]
        started.append(subprocess.Popen(["pebble", "-config", work + "/pebble.json", "-dnsserver", "127.0.0.1:53" if self.resolver else "127.0.0.1:8053"],
                                        env=dict(os.environ, PEBBLE_VA_NOSLEEP="1", PEBBLE_WFE_NONCEREJECT="0"), **quiet))
        root = work + "/root.pem"
        for _ in range(200):
            if subprocess.run(["curl", "-sk", "--fail", "-o", root, "https://127.0.0.1:15000/roots/0"]).returncode == 0:
                break
            time.sleep(0.05)
        environment.update(KITH_ACME_URL="https://localhost:14000/dir", KITH_ACME_CA=X509 + "/cert.pem", CURL_CA_BUNDLE=root)
        store = "/etc/ssl/certs/ca-certificates.crt"  # what kith trusts
        if os.path.exists(store):
            subprocess.run(["mount", "--bind", root, store], check=True)
        return started

    def follow(self, environment, work):
        with open(os.path.join(ROOT, "doc", self.page)) as page:
            text = page.read()
        pieces = list(re.finditer(r"^```sh\n(.*?)^```$", text, re.M | re.S))
        shell = "set -euo pipefail\n" + "\n".join("printf '\\n=== %d\\n'\n%s" % (i, piece.group(1)) for i, piece in enumerate(pieces)) + "\nprintf '\\n=== end\\n'\n"
        # In the background nothing may end the shell before its time, and jobs are the page's %1.
        with open(work + "/output", "wb") as output:
            code = subprocess.run(["bash", "-m", "-c", shell], cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                  timeout=150).returncode
        with open(work + "/output") as output:
            said = dict(re.findall(r"^=== (\d+|end)\n(.*?)(?=^=== |\Z)", output.read(), re.M | re.S))
        for i, piece in enumerate(pieces):
            first = piece.group(1).strip().split("\n")[0][:60]
            reached = str(i + 1) in said or (i == len(pieces) - 1 and "end" in said)
            right = i not in self.wanted or re.search(self.wanted[i], said.get(str(i), ""))
            report(bool(reached and right), "doc/%s: %s" % (self.page, first), said.get(str(i), "not reached"))
        report(code == 0, "doc/%s: the commands end without an error" % self.page, str(code))

    def inside(self):
        with tempfile.TemporaryDirectory() as work:
            started = []
            try:
                environment = self.prepare(work)
                started = self.authority(work, environment)
                self.follow(environment, work)
            finally:
                for process in started:
                    process.kill()
                    process.wait()
                if os.path.exists(work + "/pid"):
                    try:
                        os.kill(int(open(work + "/pid").read()), signal.SIGKILL)
                    except ProcessLookupError:
                        pass
        print("1..%d" % count)
        sys.exit(1 if failures else 0)

    def run(self):
        self.inside() if sys.argv[1:] == ["inside"] else self.outside()


def write(path, text, mode=0o644):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
