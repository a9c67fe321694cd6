#!/usr/bin/env bash
# Builds the real peers once per run into build-peers/: the Rust agent, the relay and lookup servers, sendme and dumbpipe; and installs the npm package.
# What cannot be had on this machine is left out and said; the tests then skip it, or fail where every peer is demanded.
#   build-peers.sh         all of them
#   build-peers.sh node    only the npm package, for which no compiler is needed; one try, for it may be that there is no network
set -uo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
out=$root/build-peers
mkdir -p "$out/bin"
status=0

install_node() {
    test -d node/node_modules/@number0/iroh && return
    command -v npm >/dev/null 2>&1 || { echo "build-peers: no npm: the peer @number0/iroh is left out"; return 1; }
    (cd node && npm install --no-audit --no-fund --silent "$@") && test -d node/node_modules/@number0/iroh ||
        { echo "build-peers: the npm package @number0/iroh could not be fetched: its tests are skipped"; return 1; }
}

if [ "${1:-}" = node ]; then
    install_node --fetch-retries=0
    exit
fi
install_node || status=1

enough_rust() {
    command -v cargo >/dev/null 2>&1 && rustc --version | awk '{ split($2, v, "."); exit !(v[1] > 1 || v[2] >= 91) }'
}
if enough_rust; then
    export CARGO_TARGET_DIR=$out/target
    (cd rust && cargo build --release --quiet) && cp "$out/target/release/kith-peer" "$out/bin/" || status=1
    test -x "$out/bin/iroh-dns-server" || cargo install --quiet --version 1.4.1 --root "$out" iroh-dns-server || status=1
    test -x "$out/bin/iroh-relay" || cargo install --quiet --version 1.4.1 --features server --root "$out" iroh-relay || status=1
    for program in sendme@0.37.1 dumbpipe@0.40.1; do
        name=${program%@*}
        test -x "$out/bin/$name" || cargo install --quiet --version "${program#*@}" --root "$out" "$name" || status=1
    done
else
    echo "build-peers: rustc 1.91 or newer is not here: kith-peer, iroh-relay, iroh-dns-server, sendme and dumbpipe are left out"
    status=1
fi
exit $status
