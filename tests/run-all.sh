#!/usr/bin/env bash
# Builds with gcc and clang, runs every test there is and ends with "N passed, N failed".
#
# usage: tests/run-all.sh [STEP...]     steps: format gcc clang asan headers man fuzz deb system
set -uo pipefail
cd "$(dirname "$0")/.."

passed=0
failed=0

add() { # add PASSED FAILED
    passed=$((passed + $1))
    failed=$((failed + $2))
}

heading() {
    printf '\n== %s\n' "$*"
}

# A check that passes or fails as a whole; its output is shown when it fails.
check() { # check NAME COMMAND...
    local name=$1 log
    shift
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then
        echo "ok: $name"
        add 1 0
    else
        tail -n 60 "$log"
        echo "FAILED: $name"
        add 0 1
    fi
    rm -f "$log"
}

configure() { # configure DIR MESON-OPTION...
    local dir=$1
    shift
    if [[ -f $dir/build.ninja ]]; then
        meson configure "$dir" "$@" >/dev/null
    else
        meson setup "$dir" "$@"
    fi
}

build() { # build DIR MESON-OPTION...
    configure "$@" && ninja -C "$1"
}

unit_tests() { # unit_tests DIR TIMEOUT-MULTIPLIER
    local counted
    rm -f "$1/meson-logs/testlog.json"
    meson test -C "$1" --no-rebuild --print-errorlogs -t "$2" | tail -n 80
    if counted=$(tests/count.py meson "$1/meson-logs/testlog.json"); then
        add ${counted}
    else
        add 0 1
    fi
}

build_gcc() {
    check "build with gcc" env CC=gcc bash -c "$(declare -f configure build); build build"
}

build_asan() {
    check "build with sanitizers" env CC=gcc bash -c "$(declare -f configure build)
        build build-asan -Db_sanitize=address,undefined -Db_lundef=false"
}

step_gcc() {
    heading "gcc: build with warnings as errors, unit tests"
    build_gcc
    unit_tests build 1
}

step_clang() {
    heading "clang: build with warnings as errors"
    check "build with clang" env CC=clang bash -c "$(declare -f configure build); build build-clang"
}

step_asan() {
    heading "address and undefined-behaviour sanitizers: unit tests"
    build_asan
    unit_tests build-asan 3
}

step_fuzz() {
    heading "fuzz targets, a few seconds each"
    check "fuzz targets" tests/fuzz/run.sh 3
}

step_headers() {
    heading "headers: each compiles alone, the public ones as C++ too"
    check "headers" tools/check-headers.sh
}

step_format() {
    heading "format"
    check "clang-format" bash -c \
        'set -o pipefail; git ls-files "*.c" "*.h" | xargs -r clang-format --dry-run -Werror'
}

step_man() {
    heading "manual pages: complete, and what the programs say"
    check "manual pages" tools/check-man.sh build
}

# pytest_cases FOLDER [OPTION...]
pytest_cases() {
    local report counted
    report=$(mktemp)
    LK_BUILD=$PWD/build LK_ASAN_BUILD=$PWD/build-asan \
        /usr/bin/python3 -m pytest -q --durations=8 -p no:cacheprovider --junitxml "$report" "$@"
    if counted=$(tests/count.py pytest "$report"); then
        add ${counted}
    else
        add 0 1
    fi
    rm -f "$report"
}

step_deb() {
    heading "Debian packages: built, and installed in a clean Debian"
    pytest_cases tests/deb
}

step_system() {
    heading "system tests: both builds, real parts around them"
    build_gcc
    build_asan
    pytest_cases tests/system -n 3 --dist loadfile # they wait more than they work
}

export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=0:detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
tools/deps.sh build test || exit 1

steps=("$@")
((${#steps[@]})) || steps=(format gcc clang asan headers man fuzz deb system)
started=$SECONDS
for step in "${steps[@]}"; do
    step_started=$SECONDS
    "step_$step"
    echo "-- $step: $((SECONDS - step_started)) s"
done

printf '\nall of it took %d s\n' $((SECONDS - started))
echo "$passed passed, $failed failed"
((failed == 0 && passed > 0))
