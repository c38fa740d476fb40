#!/usr/bin/env bash
# Measures, in one run on this machine, what a registration has to cost (the floor) and what it
# costs latchkeyd, and prints both. The report is also written to bench/report/bench.json. Then it
# compares Mosquitto with and without latchkey_hub.so, look-ups in a large store with a small one, and
# imports with bare inserts.
#
# usage: bench/run.sh [--devices N] [--concurrency N] [--idle N]
#
# PERF=1 also records where latchkeyd spends its CPU time (needs perf) into bench/report/perf.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

devices=4000
concurrency=64
idle=1000
while (($# > 0)); do
    case $1 in
    --devices) devices=$2 ;;
    --concurrency) concurrency=$2 ;;
    --idle) idle=$2 ;;
    *) sed -n 's/^# usage: /usage: /p' "$0" >&2; exit 64 ;;
    esac
    shift 2
done

build=${BUILD:-build}
tools/deps.sh bench
ninja -C "$build" bench-programs >/dev/null
mkdir -p bench/report
ulimit -n "$(ulimit -Hn)" # idle connections take a descriptor at each end

work=$(mktemp -d "$(realpath "$build")/bench-XXXXXX") # not in /tmp: fsync has to be a real one
server=
cleanup() {
    [[ -z $server ]] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

read -r port admin_port < <(/usr/bin/python3 -c '
import socket
s = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(x.getsockname()[1] for x in s))')
cores=$(nproc)
scope=0ne00000001

echo "floor, one core alone and $cores cores at once ..."
floor() { # THREADS NAME
    mkdir "$work/floor_$2"
    "$build/bench/bench-floor" "$1" "$work/floor_$2" >"$work/floor_$2.json"
}
floor 1 alone
floor "$cores" before

echo "starting latchkeyd ..."
"$build/src/cli/latchkey" init --data-dir "$work/data" --id-scope "$scope" --host localhost \
    --hub hub.example.test --listen "127.0.0.1:$port" --admin-listen "127.0.0.1:$admin_port" \
    >"$work/init.log"
conf=$work/data/latchkeyd.conf
started=$EPOCHREALTIME
"$build/src/daemon/latchkeyd" --config "$conf" >"$work/latchkeyd.log" 2>&1 &
server=$!
if ! start_ms=$("$build/bench/bench-ready" "$admin_port" "$started"); then
    tail -n 20 "$work/latchkeyd.log"
    exit 1
fi
start_rss_kib=$(awk '/^VmRSS/ { print $2 }' "/proc/$server/status")

perf=
if [[ -n ${PERF:-} ]]; then
    perf record -q -F 1997 -p "$server" -o "$work/perf.data" 2>"$work/perf.log" &
    perf=$!
fi

echo "$devices devices register, $concurrency at a time ..."
# What differs from a client: keys are light (tests/support/softtpm.h), the poll comes at once, and
# the server's certificate is not checked against a CA.
if ! timeout 100 "$build/bench/bench-load" --port "$port" --admin-port "$admin_port" \
    --pid "$server" --scope "$scope" --devices "$devices" --concurrency "$concurrency" \
    --idle "$idle" --manifest "$work/manifest.jsonl" \
    --import "$build/src/cli/latchkey enrollment import --config $conf" >"$work/load.json"; then
    tail -n 20 "$work/latchkeyd.log"
    exit 1
fi
if [[ -n $perf ]]; then
    kill -INT "$perf" && wait "$perf" || true
    for sort in comm,dso comm,dso,symbol; do
        perf report -i "$work/perf.data" --no-children --percent-limit 0.3 --stdio -g none \
            --sort "$sort"
    done >bench/report/perf.txt 2>/dev/null
fi
floor "$cores" after
kill "$server" && wait "$server" || true
server=

/usr/bin/python3 bench/report.py "$work" "$start_ms" "$start_rss_kib" bench/report/bench.json
BUILD=$build /usr/bin/python3 bench/broker.py
BUILD=$build /usr/bin/python3 bench/large.py
BUILD=$build /usr/bin/python3 bench/bulk.py
if [[ -n ${PERF:-} ]]; then
    printf '\nWhere its CPU time went, by thread and library (more in bench/report/perf.txt)\n'
    awk '/%/ && !/^#/ { print "  " $0; if (++n == 10) exit }' bench/report/perf.txt
fi
