#!/usr/bin/env python3
"""Installs into an empty directory and uses it as a stranger would: pkg-config, CMake, C++, shared and static. TAP lines."""
import glob, os, shutil, subprocess, sys, tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("KITH_BUILD", os.path.join(ROOT, "build")))
SIZE_MAX = 1 << 20 # of libkith.so, stripped, without its dependencies
count = failures = 0


def report(done, name, wanted=True):
    global count, failures
    ok = done.returncode == 0 and wanted
    count += 1
    failures += not ok
    print("%sok %d - %s" % ("" if ok else "not ", count, name))
    if not ok:
        print("# " + (done.stdout + done.stderr)[-1500:].replace("\n", "\n# "))
    return ok


def run(*words, **more):
    return subprocess.run(words, capture_output=True, text=True, **more)


def sanitizers():
    with open(os.path.join(BUILD, "CMakeCache.txt")) as cache:
        for line in cache:
            if line.startswith("KITH_SANITIZE:") and line.strip().split("=", 1)[1]:
                return True
    return False


if sanitizers():
    print("ok 1 - installation # SKIP a build with sanitizers is not one to install")
    print("1..1")
    sys.exit(0)

with tempfile.TemporaryDirectory() as work:
    root = os.path.join(work, "root")
    report(run("cmake", "--install", BUILD, "--prefix", "/opt/kith", env=dict(os.environ, DESTDIR=root)), "install to DESTDIR and PREFIX")
    prefix = os.path.join(root, "opt/kith")
    found = glob.glob(prefix + "/lib/**/kith.pc", recursive=True)
    libdir = os.path.dirname(os.path.dirname(found[0])) if found else ""
    environment = dict(os.environ, PKG_CONFIG_PATH=os.path.join(libdir, "pkgconfig"), LD_LIBRARY_PATH=libdir)
    flags = run("pkg-config", "--cflags", "--libs", "kith", env=environment)
    report(flags, "pkg-config knows the installed library", prefix in flags.stdout)
    done = run("strip", "-o", os.path.join(work, "stripped.so"), os.path.join(libdir, "libkith.so"))
    if report(done, "the shared library can be stripped"):
        size = os.path.getsize(os.path.join(work, "stripped.so"))
        report(done, "and has %d KiB then: less than %d" % (size >> 10, SIZE_MAX >> 10), size < SIZE_MAX)
    example = os.path.join(ROOT, "examples", "echo_sans_io.c")
    program = os.path.join(work, "shared")
    done = run("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o", program, example, *flags.stdout.split())
    if report(done, "a strict C11 program builds with these flags alone"):
        done = run(program, env=environment)
        report(done, "and runs", done.stdout == "hello\n")
    static = run("pkg-config", "--static", "--cflags", "--libs", "kith", env=environment).stdout
    program = os.path.join(work, "static")
    words = [word for word in static.split() if word != "-lkith"]
    done = run("cc", "-std=c11", "-o", program, example, "-I", os.path.join(prefix, "include"), os.path.join(libdir, "libkith.a"), *words)
    if report(done, "a program links the static library"):
        report(run(program), "and runs without the shared one")
    relay = os.path.join(ROOT, "examples", "relay.c")
    flags = run("pkg-config", "--cflags", "--libs", "kith-server", env=environment)
    program = os.path.join(work, "relay")
    done = run("cc", "-std=c11", "-o", program, relay, *flags.stdout.split())
    report(done, "a relay inside a program builds with the flags of kith-server")
    static = run("pkg-config", "--static", "--cflags", "--libs", "kith-server", env=environment).stdout
    words = [word for word in static.split() if word not in ("-lkith", "-lkith-server")]
    archives = [os.path.join(libdir, name) for name in ("libkith-server.a", "libkith.a")]
    report(run("cc", "-std=c11", "-o", program, relay, *archives, *words), "and with the static libraries")
    needs = run("readelf", "-d", os.path.join(libdir, "libkith.so")).stdout
    report(done, "an endpoint does not carry the servers' database", "libuv" in needs and "lmdb" not in needs)
    header = os.path.join(work, "headers.cc")
    with open(header, "w") as file:
        file.write("#include <kith/kith.h>\n#include <kith/relay.h>\n#include <kith/dns.h>\nint main() { return kith_version() == nullptr; }\n")
    if shutil.which("c++"):
        done = run("c++", "-std=c++17", "-Wall", "-Wextra", "-fsyntax-only", header, "-I", os.path.join(prefix, "include"))
        report(done, "the headers are good C++")
    project = os.path.join(work, "project")
    os.mkdir(project)
    with open(os.path.join(project, "CMakeLists.txt"), "w") as file:
        file.write("cmake_minimum_required(VERSION 3.25)\nproject(user C)\nfind_package(kith 0.1 REQUIRED)\n"
                   "add_executable(user %s)\ntarget_link_libraries(user PRIVATE kith::kith)\n"
                   "add_executable(alone %s)\ntarget_link_libraries(alone PRIVATE kith::kith-static)\n"
                   "add_executable(relay %s)\ntarget_link_libraries(relay PRIVATE kith::kith-server)\n"
                   "add_executable(relay-alone %s)\ntarget_link_libraries(relay-alone PRIVATE kith::kith-server-static)\n"
                   % (example, example, relay, relay))
    done = run("cmake", "-S", project, "-B", project + "/build", "-DCMAKE_PREFIX_PATH=" + prefix, env=environment)
    if report(done, "CMake finds the package"):
        report(run("cmake", "--build", project + "/build"), "and builds against it, shared and static")
    report(run(os.path.join(prefix, "bin", "kith"), "version"), "the installed program finds its library")
    done = run("man", "-l", os.path.join(prefix, "share/man/man1/kith.1")) if os.path.exists("/usr/bin/man") else None
    if done is not None:
        report(done, "the man page can be read")
print("1..%d" % count)
sys.exit(1 if failures else 0)
