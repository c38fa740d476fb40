#!/usr/bin/env bash
# Every header compiles alone under gcc and clang; the public ones also as strict C99 and as C++.
# What the shared library exports is what its map lists and what the public headers declare.
#
# usage: tools/check-headers.sh [BUILD_DIRECTORY]      default: build, configured when it is not
set -uo pipefail
cd "$(dirname "$0")/.."

warnings=(-Wall -Wextra -Wconversion -Wshadow -Wvla -Werror)
read -ra libraries <<<"$(pkg-config --cflags libcrypto jansson libevent sqlite3 libpq tss2-mu tss2-esys \
    tss2-tctildr libcurl cmocka)"
ours=(-Iinclude -Isrc -Itests -D_GNU_SOURCE "${libraries[@]}")
failed=0

try() { # try HEADER COMPILER OPTION...
    local header=$1
    shift
    # Included twice, so that a missing guard shows.
    if ! printf '#include "%s"\n#include "%s"\n' "$header" "$header" |
        "$@" -fsyntax-only -; then
        echo "FAILED: $header with $1 ${*: -1}"
        failed=1
    fi
}

while IFS= read -r header; do
    for compiler in gcc clang; do
        try "$PWD/$header" "$compiler" -x c -std=gnu17 "${warnings[@]}" -Wno-unused-function \
            "${ours[@]}"
    done
done < <(git ls-files 'include/*.h' 'src/*.h' 'tests/support/*.h')

while IFS= read -r header; do
    header=${header#include/}
    try "$header" gcc -x c -std=c99 -pedantic "${warnings[@]}" -Iinclude
    # Without -Wshadow: lk_tpm_info is a struct and a function, which C++ calls shadowing.
    try "$header" g++ -x c++ -std=c++11 -pedantic -Wall -Wextra -Wconversion -Werror -Iinclude
done < <(git ls-files 'include/*.h')

same() { # same WHAT FILE   (compares FILE with the exported symbols)
    if ! diff -u --label "$1" --label "$library" "$2" "$scratch/symbols"; then
        echo "FAILED: $1 and exported symbols differ"
        failed=1
    fi
}

build=${1:-build}
library=src/device/liblatchkey.so.0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
[[ -f $build/build.ninja ]] || CC=gcc meson setup "$build" >/dev/null
if ! meson compile -C "$build" latchkey:shared_library >"$scratch/log" 2>&1; then
    cat "$scratch/log"
    echo "FAILED: $library does not build"
    exit 1
fi
nm -D --defined-only "$build/$library" |
    awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$scratch/symbols"
sed -n 's/^ *\(lk_[a-z0-9_]*\);$/\1/p' src/device/latchkey.map | sort >"$scratch/map"
# A declaration may go over several lines: they are joined, and the name is what stands before "(".
grep -hv '^#' include/latchkey/*.h | tr '\n' ' ' | grep -o 'LK_EXPORT[^;(]*(' |
    grep -o 'lk_[a-z0-9_]* *($' | tr -d ' (' | sort >"$scratch/headers"
[[ -s $scratch/symbols ]] || { echo "FAILED: $library exports nothing"; failed=1; }
same src/device/latchkey.map "$scratch/map"
same "public headers" "$scratch/headers"

exit $failed
