#!/usr/bin/env bash
# Builds every fuzz target with clang and sanitizers into build-fuzz, and runs each for a while from
# its seeds and what earlier runs found. Targets are the tests of Meson's suite "fuzz": a new one is
# picked up by being there. Inputs that crash stay in build-fuzz/crashes.
#
# usage: tests/fuzz/run.sh [SECONDS_EACH] [TARGET...]      default: 60 seconds, every target
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-60}
shift || true
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 64; }
out=build-fuzz

if [[ ! -f $out/build.ninja ]]; then
    CC=clang meson setup "$out" -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
fi
ninja -C "$out" build.ninja # so that targets added since are known
/usr/bin/python3 tests/fuzz/targets.py "$out" build | xargs ninja -C "$out"

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
mkdir -p "$out/crashes" "$out/found" "$out/fuzz-logs"

run_one() { # run_one OUT SECONDS PROGRAM SEEDS...
    local out=$1 seconds=$2 program=$3 name
    shift 3
    name=$(basename "$program" _fuzz)
    mkdir -p "$out/found/$name"
    if "$program" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=1 \
        -artifact_prefix="$out/crashes/$name-" "$out/found/$name" "$@" \
        >"$out/fuzz-logs/$name.log" 2>&1; then
        echo "ok: $name: $(tail -n 1 "$out/fuzz-logs/$name.log")"
    else
        tail -n 60 "$out/fuzz-logs/$name.log"
        echo "FAILED: $name (log: $out/fuzz-logs/$name.log)"
        return 1
    fi
}
export -f run_one

/usr/bin/python3 tests/fuzz/targets.py "$out" run "$@" |
    xargs -P "$(nproc)" -L 1 bash -c 'run_one "$@"' run_one "$out" "$seconds"
