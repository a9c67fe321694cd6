#!/bin/sh
# Checks that need no build: format, layers, names, documented headers. Ends with 1 at the first that fails.
set -eu
cd "$(dirname "$0")/.."
git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
for check in tests/lint/test_*.py; do
    python3 "$check"
done
