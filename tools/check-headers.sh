#!/usr/bin/env bash
# Every header compiles alone under gcc and clang; the public ones also as strict C99 and as C++.
set -uo pipefail
cd "$(dirname "$0")/.."

warnings=(-Wall -Wextra -Wconversion -Wshadow -Wvla -Werror)
read -ra libraries <<<"$(pkg-config --cflags libcrypto jansson libevent sqlite3 tss2-mu tss2-esys \
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

exit $failed
