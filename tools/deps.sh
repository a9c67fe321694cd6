#!/bin/sh
# Installs what kith needs from Debian's packages (12 and 13). Does nothing, and needs no network, when all is there.
#   tools/deps.sh            what `make` and `make demo` need
#   tools/deps.sh test       and what `make test` needs
#   tools/deps.sh ci         and what the full run needs (second compiler, sanitizers, other QUIC implementations)
set -eu

build="gcc g++ libc6-dev make cmake ninja-build pkg-config libgnutls28-dev nettle-dev libsodium-dev libidn2-dev libuv1-dev libjansson-dev libqrencode-dev libhttp-parser-dev libtomlplusplus-dev libseccomp-dev libc-ares-dev liblmdb-dev"
if [ "$(dpkg --print-architecture 2>/dev/null || echo other)" = amd64 ]; then
    build="$build libipsec-mb-dev"
fi
# cmocka is tiny, and building the tests is part of the default build.
build="$build libcmocka-dev"
# libunistring-dev: what `pkg-config --static` names for GnuTLS and libidn2, whose packages do not bring it along.
test="python3 libunistring-dev bind9-dnsutils"
command -v node >/dev/null 2>&1 || test="$test nodejs npm"
ci="clang clang-format llvm valgrind ngtcp2-client ngtcp2-server gnutls-bin pebble fish zsh knot-dnsutils ldnsutils dnsviz zonemaster-cli"
if [ "${1:-}" = ci ]; then
    # The sanitizer runtimes belong to one version of clang: ask for the one that Debian's `clang` stands for.
    version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9][0-9]*\).*/\1/p' | head -n 1)
    [ -z "$version" ] || ci="$ci libclang-rt-$version-dev"
fi

want=$build
case "${1:-}" in
"") ;;
test) want="$want $test" ;;
ci) want="$want $test $ci" ;;
*) echo "usage: tools/deps.sh [test|ci]" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "deps: this is not a Debian system; install the equivalents of: $want" >&2
    exit 0
fi
missing=""
for package in $want; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing="$missing $package"
done
if [ -z "$missing" ]; then
    exit 0
fi
echo "deps: installing$missing"
as_root=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "deps: not root and no sudo: run as root: apt-get install$missing" >&2; exit 1; }
    as_root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086
$as_root apt-get install -y -qq --no-install-recommends $missing
