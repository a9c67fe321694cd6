#!/bin/sh
# The main job, end to end, on this machine alone: a server of our own (kith serve: relay, address discovery, lookup), and two
# endpoints that know nothing but each other's id. One sends a real file to the other.
# Usage: tools/demo.sh BUILD [MEGABYTES]
set -eu

build=$(cd "${1:-build}" && pwd)
megabytes=${2:-64}
kith=$build/bin/kith
work=$(mktemp -d "${TMPDIR:-/tmp}/kith-demo.XXXXXX")
server="" listener="" sender=""
finish() {
    for pid in $listener $sender $server; do
        kill "$pid" 2>/dev/null || true
    done
    wait
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# Nobody but the server below is asked, whatever the user's environment says.
unset KITH_RELAY KITH_LOOKUP KITH_RELAY_TOKEN IROH_SECRET || true
export XDG_STATE_HOME="$work/state" XDG_CACHE_HOME="$work/cache"

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# wait_for PID FILE PATTERN WHAT: until a line of FILE matches.
wait_for() {
    waited=0
    until grep -q "$3" "$2" 2>/dev/null; do
        kill -0 "$1" 2>/dev/null || { cat "$2" >&2; echo "demo: $4 ended early" >&2; exit 1; }
        waited=$((waited + 1))
        [ "$waited" -lt 600 ] || { cat "$2" >&2; echo "demo: nothing of $4 after 60 s" >&2; exit 1; }
        sleep 0.1
    done
}

say "1. Servers of our own, in one process: kith serve --dev"
mkdir "$work/from" "$work/to"
"$kith" serve --dev --any-port >"$work/options" 2>"$work/serve.log" &
server=$!
wait_for "$server" "$work/options" '^  --relay ' "kith serve"
options=$(sed -n 's/^  --relay /--relay /p' "$work/options")
sed -n 's/.*program: \(.* on 127\.0\.0\.1:.*\)/   \1/p' "$work/serve.log"
printf '   clients use: %s\n' "$options"
# shellcheck disable=SC2086 # options are words; exec: the number of the job is that of the program

say "2. A file of $megabytes MB of random bytes, and an endpoint that offers it: kith listen --publish all <film.bin"
head -c "${megabytes}000000" /dev/urandom >"$work/from/film.bin"
sum=$(sha256sum <"$work/from/film.bin")
printf '   sha256 %s\n' "${sum%% *}"
"$kith" key new --key "$work/a.key" >/dev/null 2>&1
id=$("$kith" key id --key "$work/a.key")
"$kith" listen $options --publish all --key "$work/a.key" <"$work/from/film.bin" >/dev/null 2>"$work/listen.log" &
listener=$!
wait_for "$listener" "$work/listen.log" '^kith connect ' "kith listen"
printf '   its id %s\n' "$id"

say "3. What the lookup server tells about this id: kith lookup ID"
tries=0
until "$kith" lookup $options "$id" >"$work/lookup.log" 2>&1 && grep -q ' relay ' "$work/lookup.log"; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat "$work/lookup.log" >&2; echo "demo: the id was not found, or without its relay" >&2; exit 1; }
    sleep 0.1
done
sed 's/^/   /' "$work/lookup.log"

say "4. Another endpoint knows the id alone: kith connect ID >film.bin"
"$kith" connect $options -v "$id" </dev/null >"$work/to/film.bin" 2>"$work/connect.log"
sed 's/^/   /' "$work/connect.log"

say "5. Is it the same file?"
got=$(sha256sum <"$work/to/film.bin")
printf '   sha256 %s\n' "${got%% *}"
[ "$got" = "$sum" ] || { echo "demo: another file came out" >&2; exit 1; }
echo "   yes, byte for byte"

say "6. With a ticket, which names the content too: kith send, kith receive TICKET"
(cd "$work/from" && exec "$kith" send $options film.bin) >/dev/null 2>"$work/send.log" &
sender=$!
wait_for "$sender" "$work/send.log" 'blob[a-z2-7]\{60,\}$' "kith send"
ticket=$(sed -n 's/.*\(blob[a-z2-7]\{60,\}\)$/\1/p' "$work/send.log" | tail -n 1)
rm "$work/to/film.bin"
(cd "$work/to" && "$kith" receive $options -v "$ticket") 2>&1 | sed 's/^/   /'
cmp "$work/from/film.bin" "$work/to/film.bin"
echo "   the same file again; every 16 KiB were verified against the BLAKE3 hash in the ticket as they came in"
