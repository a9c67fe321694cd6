#!/usr/bin/env python3
"""Compiles the C of doc/api.md, all pieces in order, with guide_main.c around them, and runs it. The README's client must be
the example that it names. Prints TAP lines."""
import os, re, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("KITH_BUILD", os.path.join(ROOT, "build")))


def pieces(name):
    with open(os.path.join(ROOT, name)) as page:
        return re.findall(r"^```c\n(.*?)^```$", page.read(), re.M | re.S)


def setting(name):
    with open(os.path.join(BUILD, "CMakeCache.txt")) as cache:
        found = re.search(r"^%s:[A-Z]+=(.*)$" % name, cache.read(), re.M)
    return found.group(1) if found else ""


def fail(name, why):
    print("not ok 1 - " + name + "\n# " + why[-3000:].replace("\n", "\n# ") + "\n1..1")
    sys.exit(1)


with open(os.path.join(ROOT, "examples", "echo_client.c")) as file:
    example = file.read()
shown = pieces("README.md")
if len(shown) != 1 or not example.endswith(shown[0]):
    fail("the README shows examples/echo_client.c as it is", "they differ")
with tempfile.TemporaryDirectory() as work:
    with open(os.path.join(work, "guide.inc"), "w") as file:
        file.write("\n".join(pieces("doc/api.md")))
    program = os.path.join(work, "guide")
    sanitize = setting("KITH_SANITIZE")
    words = [setting("CMAKE_C_COMPILER") or "cc", "-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror", "-g", "-I", work,
             "-I", os.path.join(ROOT, "include"), *(["-fsanitize=" + sanitize] if sanitize else []), "-o", program,
             os.path.join(ROOT, "tests", "programs", "guide_main.c"), "-pthread", "-L", BUILD + "/lib", "-lkith-server", "-lkith", "-Wl,-rpath," + BUILD + "/lib"]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        fail("the guide's C compiles", done.stderr)
    with open(os.path.join(work, "said"), "w+") as said:
        try:
            code = subprocess.run([program, work], stdout=subprocess.PIPE, stderr=said, text=True, timeout=120, stdin=subprocess.DEVNULL)
            output, code = code.stdout, code.returncode
        except subprocess.TimeoutExpired as late:
            output, code = (late.stdout or b"").decode() + "not ok 0 - the guide: it did not end\n", 1
        print(output, end="")
        if code != 0:
            said.seek(0)
            print("# " + said.read()[-3000:].replace("\n", "\n# "))
    sys.exit(code)
