#!/usr/bin/env python3
"""Print what bench/run.sh measured as a table, and write it as JSON.

usage: report.py FOLDER START_MS START_RSS_KIB OUTPUT.json
"""
import json
import os
import pathlib
import subprocess
import sys

GOAL = 1.1


def cpu_model():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return os.uname().machine


def first_line(*command):
    try:
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def collect(folder, start_ms, start_rss_kib):
    floor = {name: json.loads((folder / f"floor_{name}.json").read_text())
             for name in ("alone", "before", "after")}
    load = json.loads((folder / "load.json").read_text())
    # The service was measured with every core busy, so its floor is the one of busy cores, taken
    # before and after, since the machine may have changed its mind in between.
    def middle(name):
        return (floor["before"][name] + floor["after"][name]) / 2

    # A commit is shared by as many registrations as shared one in the run.
    commit_us = middle("rows_us") + middle("commit_us") * load["commits"] / max(load["jobs"], 1)
    floor_us = middle("crypto_us") + commit_us
    connection_us = middle("connection_us") - middle("handshake_us")
    ticks_us = load["server_user_us"] + load["server_sys_us"]
    sys_us = load["server_cpu_us"] * load["server_sys_us"] / ticks_us if ticks_us else 0
    return {
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(),
                    "openssl": first_line("openssl", "version"),
                    "commit": first_line("git", "rev-parse", "--short", "HEAD")},
        "floor": floor,
        "load": load,
        "floor_cpu_us": floor_us,
        "floor_commit_us": commit_us,
        "floor_connection_us": connection_us,
        "server_cpu_us": load["server_cpu_us"],
        "ratio": load["server_cpu_us"] / floor_us,
        "ratio_with_connection": load["server_cpu_us"] / (floor_us + connection_us),
        "goal": GOAL,
        "server_sys_us": sys_us,
        "server_user_us": load["server_cpu_us"] - sys_us,
        "registrations_per_s": load["devices"] / load["seconds"],
        "registrations_per_s_and_core": 1e6 / load["server_cpu_us"],
        "floor_registrations_per_s_and_core": 1e6 / floor_us,
        "idle_kib_per_1000": load["idle_kib"] * 1000 / max(load["idle_connections"], 1),
        "start_ms": start_ms,
        "start_rss_kib": start_rss_kib,
    }


def print_report(r):
    floor, load, n = r["floor"]["before"], r["load"], r["load"]["devices"]

    def row(name, value, unit, note=""):
        print(f"  {name:<44} {value:>9} {unit:<6} {note}".rstrip())

    def heading(text):
        print(f"\n{text}")

    print(f"\n{r['machine']['cpu']}, {r['machine']['cores']} cores, {r['machine']['openssl']}, "
          f"commit {r['machine']['commit']}")
    heading("Floor: CPU time that a registration has to cost (every core busy)")
    row("TLS 1.3 handshake, P-256, the server's side", f"{floor['handshake_us']:.1f}", "us",
        f"{1e6 / floor['handshake_us']:.0f}/s and core")
    for key, text in (("oaep", "RSA-2048 OAEP"), ("hmac", "HMAC-SHA256"), ("digest", "SHA-256")):
        row(f"{floor[key + '_count']} x {text}",
            f"{floor[key + '_count'] * floor[key + '_us']:.1f}", "us",
            f"{floor[key + '_us']:.2f} each")
    row("SQLite: three rows, a share of a commit", f"{r['floor_commit_us']:.1f}", "us",
        f"{floor['rows_us']:.1f} and {floor['commit_us']:.0f} a commit, shared as in the run")
    row("together, before and after the load", f"{r['floor_cpu_us']:.0f}", "us",
        f"without SQLite {r['floor']['before']['crypto_us']:.0f} and "
        f"{r['floor']['after']['crypto_us']:.0f}; "
        f"{r['floor']['alone']['crypto_us']:.0f} on one core alone")
    row("not in it: the connection's TCP and records", f"{r['floor_connection_us']:.0f}", "us",
        "accept, handshake, three requests, close: nothing waits")
    heading(f"latchkeyd: {n} whole registrations, {load['concurrency']} at a time, "
            "each on a fresh connection")
    row("server CPU a registration", f"{r['server_cpu_us']:.0f}", "us",
        f"user {r['server_user_us']:.0f}, kernel {r['server_sys_us']:.0f}")
    row("ratio to the floor", f"{r['ratio']:.2f}", "", f"goal: at most {r['goal']}")
    row("ratio with the connection in the floor", f"{r['ratio_with_connection']:.2f}", "")
    row("registrations, beside the load generator", f"{r['registrations_per_s']:.0f}", "/s",
        f"{load['seconds']:.1f} s; the generator took {load['load_cpu_us']:.0f} us CPU each")
    row("registrations a core of its own could do", f"{r['registrations_per_s_and_core']:.0f}",
        "/s", f"floor: {r['floor_registrations_per_s_and_core']:.0f}")
    heading("Latency that a device sees (generator and service share the cores)")
    for key, text in (("connect", "TCP and TLS"), ("challenge", "first register: challenge"),
                      ("register", "second register, with a durable commit"),
                      ("poll", "poll"), ("registration", "whole registration, device's work too")):
        row(text, f"{load[key]['p50_us'] / 1e3:.1f}", "ms", f"p99 {load[key]['p99_us'] / 1e3:.1f}")
    heading("What stands between ratio and floor")
    row("kernel: TCP, files, waking up", f"{r['server_sys_us']:.0f}", "us")
    row("user code beyond the floor", f"{r['server_user_us'] - r['floor_cpu_us']:.0f}", "us",
        "parsing, JSON, records, SQLite, libevent, OpenSSL's own overhead")
    row("commits", f"{load['commits'] / n:.3f}", "each",
        f"{load['commits']:.0f} for {load['jobs']:.0f} jobs, "
        f"{load['jobs'] / max(load['commits'], 1):.1f} a commit")
    row("requests", f"{load['requests'] / n:.2f}", "each",
        f"{load['handshakes'] / n:.2f} handshakes")
    heading("Memory and start")
    row(f"1,000 idle TLS connections", f"{r['idle_kib_per_1000'] / 1024:.1f}", "MiB",
        f"measured with {load['idle_connections']}")
    row("resident, ready and idle", f"{r['start_rss_kib'] / 1024:.1f}", "MiB",
        f"{load['rss_kib'] / 1024:.1f} after the load")
    row("start until /readyz", f"{r['start_ms']:.0f}", "ms")
    if load["failed"]:
        print(f"\n{load['failed']} registrations FAILED")


def main():
    folder, start_ms, start_rss_kib, output = sys.argv[1:5]
    report = collect(pathlib.Path(folder), float(start_ms), float(start_rss_kib))
    print_report(report)
    pathlib.Path(output).write_text(json.dumps(report, indent=1) + "\n")
    print(f"\nwritten to {output}")


main()
