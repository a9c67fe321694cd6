#!/usr/bin/env python3
"""Rules of the tree that no compiler checks: layers, the seam to the world, names of exported symbols, documentation.

Prints one TAP line for each rule."""
import os, re, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("KITH_BUILD", os.path.join(ROOT, "build"))

# doc/design: lower layers never include higher ones; each may include itself and include/kith.
LAYERS = {
    "base": [], "codec": ["base"], "crypto": ["base"], "tls": ["base", "codec", "crypto"],
    "quic": ["base", "codec", "crypto", "tls"], "rt": ["base"],
    "http": ["base", "codec"], "link": ["base", "codec", "tls", "rt", "http"], "relay": ["base", "codec", "crypto", "http"],
    "lookup": ["base", "codec", "crypto", "tls", "rt", "http", "link"],
    "endpoint": ["base", "codec", "crypto", "tls", "quic", "rt", "http", "link", "relay", "lookup"],
    "blobs": ["base", "codec", "crypto", "rt", "endpoint"],
    "zone": ["base", "codec", "crypto", "lookup"],
    "server": ["base", "codec", "crypto", "tls", "quic", "rt", "http", "link", "relay", "lookup", "zone"],
    "api": ["base", "codec", "crypto", "tls", "quic", "rt", "http", "link", "relay", "lookup", "endpoint", "blobs"],
    "serve": ["base", "codec", "crypto", "lookup", "server", "api"],
}
# Inside src/quic nothing below conn/ sees a connection.
QUIC_PARTS = {"wire": [], "guard": ["wire", "stream"], "recover": ["wire"], "stream": ["wire"], "path": ["wire", "recover"],
              "qlog": ["wire"]}
SEAM = re.compile(r"\b(clock_gettime|gettimeofday|time\s*\(\s*NULL|nanosleep|usleep|socket\s*\(|sendmsg|recvmsg|sendto|"
                  r"recvfrom|pthread_create|getrandom|randombytes_buf|rand\s*\(|uv_\w+)\b")

failures = 0
count = 0


def report(problems, rule):
    global failures, count
    count += 1
    print("%sok %d - %s" % ("not " if problems else "", count, rule))
    for problem in problems[:20]:
        print("#   " + problem)
    failures += bool(problems)


def skip(rule, why):
    global count
    count += 1
    print("ok %d - %s # SKIP %s" % (count, rule, why))


def sources(top):
    for directory, _, names in os.walk(os.path.join(ROOT, top)):
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(directory, name), ROOT)


def text(path):
    with open(os.path.join(ROOT, path), errors="replace") as file:
        return file.read()


def without_comments(code):
    return re.sub(r"/\*.*?\*/|//[^\n]*", lambda m: "\n" * m.group(0).count("\n"), code, flags=re.S)


def check_layers():
    problems, quic = [], []
    for path in sources("src"):
        parts = path.split(os.sep)
        layer = parts[1]
        for included in re.findall(r'^#include "([^"]+)"', text(path), re.M):
            first = included.split("/")[0]
            if first in LAYERS and first != layer and first not in LAYERS[layer]:
                problems.append("%s includes %s" % (path, included))
            if layer == "quic" and parts[2] in QUIC_PARTS and first == "quic" and not path.endswith("_test.c"):
                part = included.split("/")[1]
                if part != parts[2] and part not in QUIC_PARTS[parts[2]]:
                    quic.append("%s includes %s" % (path, included))
    report(problems, "lower layers never include higher ones")
    report(quic, "inside src/quic no part below conn/ sees a connection")


def check_apps():
    problems = []
    for top in ("apps", "examples"):
        for path in sources(top):
            for included in re.findall(r'^#include "([^"]+)"', text(path), re.M):
                if not os.path.exists(os.path.join(ROOT, os.path.dirname(path), included)):
                    problems.append("%s includes %s" % (path, included))
    report(problems, "programs and examples use only include/kith")


def check_seam():
    problems = []
    for path in sources("src"):
        if path.startswith(os.path.join("src", "rt")) or path.endswith("_test.c"):
            continue
        for number, line in enumerate(without_comments(text(path)).split("\n"), 1):
            if SEAM.search(line):
                problems.append("%s:%d: %s" % (path, number, line.strip()))
    report(problems, "no clock, socket, thread or random call outside src/rt")


def check_headers():
    problems = []
    for path in list(sources("include")) + list(sources("src")):
        if not path.endswith(".h"):
            continue
        done = subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-fsyntax-only", "-I", "include", "-I", "src", "-x", "c", path],
                              cwd=ROOT, capture_output=True, text=True)
        if done.returncode != 0:
            problems.append("%s: %s" % (path, done.stderr.strip().split("\n")[0]))
    report(problems, "every header compiles alone")


def check_documentation():
    problems = []
    for path in sources("include"):
        lines = text(path).split("\n")
        for i, line in enumerate(lines):
            if re.match(r"^KITH_API\b.*\bkith_\w+\s*\(", line):
                above = i - 1
                # A group of short prototypes may share the comment above the first of them.
                while above >= 0 and (lines[above].startswith(("KITH_API", " " * 8)) or re.match(r"^KITH_\w+$", lines[above])):
                    above -= 1
                if above < 0 or not lines[above].rstrip().endswith("*/"):
                    problems.append("%s:%d: %s" % (path, i + 1, line[:90]))
    report(problems, "every public function stands below a comment")


def check_symbols():
    exported, declared = {}, {"libkith.so": set(), "libkith-server.so": set()}
    for name in declared:
        library = os.path.join(BUILD, "lib", name)
        if not os.path.exists(library):
            skip("exported symbols", "no shared library in " + BUILD)
            return
        names = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True).stdout.split("\n")
        exported[name] = {line.split()[-1] for line in names if line.strip()}
    for path in sources("include"):
        name = "libkith-server.so" if os.path.basename(path) in ("relay.h", "dns.h") else "libkith.so"
        declared[name].update(re.findall(r"^KITH_API\b[^;]*?\b(kith_\w+)\s*\(", without_comments(text(path)), re.M | re.S))
    report([n for names in exported.values() for n in sorted(names) if not re.match(r"^kith_[a-z]", n)], "only public names are exported")
    report(sorted(n for name in declared for n in declared[name] - exported[name]), "every declared public function exists")
    report(sorted(exported["libkith.so"] & exported["libkith-server.so"]), "no function is in both libraries")


def check_words():
    problems = []
    for path in list(sources("src")) + list(sources("apps")) + list(sources("include")):
        for number, line in enumerate(text(path).split("\n"), 1):
            if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line):
                problems.append("%s:%d: %s" % (path, number, line.strip()[:80]))
    report(problems, "nothing is left marked as unfinished")


def check_pages():
    """What a page calls by its name must be there: an identifier in backquotes is one of the source, a link leads somewhere."""
    known = set()
    for top in ("include", "src", "apps", "examples", "tests", "sim", "bench"):
        for path in sources(top):
            known.update(re.findall(r"\b\w+\b", text(path)))
    problems = []
    pages = ["README.md"] + [os.path.join("doc", name) for name in sorted(os.listdir(os.path.join(ROOT, "doc"))) if name.endswith(".md")]
    for page in pages:
        content = re.sub(r"^```.*?^```", "", text(page), flags=re.M | re.S)
        for name in re.findall(r"`((?:KITH|kith)_\w+|[a-z]+(?:_[a-z]+)+)`", content):
            if name not in known and not os.path.exists(os.path.join(BUILD, "bin", name)):
                problems.append("%s: %s" % (page, name))
        for target in re.findall(r"\]\(([^)#:]+)\)", content):
            if not os.path.exists(os.path.join(ROOT, os.path.dirname(page), target)):
                problems.append("%s: no file %s" % (page, target))
    report(problems, "pages name what is there")


def check_format():
    """Other versions of clang-format lay out some lines differently: this one is Debian 12's."""
    try:
        version = subprocess.run(["clang-format", "--version"], capture_output=True, text=True).stdout
    except FileNotFoundError:
        version = ""
    if "version 14." not in version:
        skip("layout of the code", "clang-format 14 is not here")
        return
    files = subprocess.run(["git", "ls-files", "*.c", "*.h"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    done = subprocess.run(["clang-format", "--dry-run", "-Werror"] + files, cwd=ROOT, capture_output=True, text=True)
    report([line for line in done.stderr.split("\n") if "error:" in line], "the code is laid out as .clang-format says")


for check in (check_format, check_layers, check_apps, check_seam, check_headers, check_documentation, check_symbols, check_words, check_pages):
    check()
print("1..%d" % count)
sys.exit(1 if failures else 0)
