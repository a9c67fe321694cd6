#!/bin/sh
# Fuzzes every target for so many seconds each: tools/fuzz.sh [SECONDS] [TARGET...]. New inputs go to build-fuzz/corpus;
# a crash is left in build-fuzz/crashes and ends the run with 1.
set -eu
seconds=${1:-60}
[ $# -eq 0 ] || shift
cd "$(dirname "$0")/.."
test -f build-fuzz/build.ninja || cmake -S . -B build-fuzz -G Ninja -DCMAKE_C_COMPILER=clang -DKITH_FUZZ=ON -DKITH_SANITIZE=address,undefined >/dev/null
cmake --build build-fuzz -j "$(nproc)"
mkdir -p build-fuzz/crashes
status=0
for program in build-fuzz/bin/fuzz-*; do
    name=${program##*/fuzz-}
    if [ $# -gt 0 ]; then
        case " $* " in *" $name "*) ;; *) continue ;; esac
    fi
    mkdir -p "build-fuzz/corpus/$name"
    echo "fuzz: $name for $seconds s"
    "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="build-fuzz/crashes/$name-" "build-fuzz/corpus/$name" "fuzz/corpus/$name" 2>"build-fuzz/$name.log" || status=1
    grep -E "stat::number_of_executed_units|stat::new_units_added|SUMMARY|ERROR" "build-fuzz/$name.log" || true
done
exit $status
