#!/usr/bin/env python3
"""Compare Mosquitto with latchkey_hub.so and, else set up the same, with a password file and an ACL.

usage: broker.py [--messages-each N]

Devices (bench-mqtt) send telemetry over TLS, 20 messages at a time, and one operator reads all of it.
Rates are what generator and broker reach on the same cores; CPU time is the broker's alone, and of a
connect latchkeyd's too. Rounds of both alternate, and the median counts.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("LK_BUILD", os.path.join(TOP, os.environ.get("BUILD", "build")))
sys.path.insert(0, os.path.join(TOP, "tests/system"))

from lib import sas  # noqa: E402
from lib.hubapi import Hub  # noqa: E402
from lib.hubbroker import OPERATOR, OPERATOR_PASSWORD, HubBroker  # noqa: E402
from lib.process import Process, wait_until  # noqa: E402
from lib.service import Service  # noqa: E402
from lib.swtpm import free_port_pair  # noqa: E402

DEVICES = 100
ROUNDS = 5
WHAT = {"connect": "connects", "qos0": "messages, QoS 0", "qos1": "messages, QoS 1"}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(*pids):
    """User and kernel time of processes, all threads of them."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total * TICK_S


class WithHub:
    """latchkeyd, and Mosquitto as `latchkey hub mosquitto-config` sets it up."""

    filters = "latchkey/#"

    def __init__(self, directory):
        self.service = Service(os.path.join(directory, "service"))
        self.service.cli("hub", "policy", "add", self.service.hub, "iothubowner")
        self.broker = HubBroker(os.path.join(directory, "hub"), self.service)
        with open(self.broker.config, encoding="ascii") as file:
            text = file.read().replace("log_type all", "log_type information")
        with open(self.broker.config, "w", encoding="ascii") as file:
            file.write(text)
        self.service.start()
        self.broker.start().wait_service()
        self.port, self.operator_port = self.broker.port, self.broker.operator_port
        self.ca_file, self.host = self.broker.ca_file, self.service.hub
        self.pids = [self.broker.process.pid, self.service.process.pid]
        keys = Hub(self.service).create_all({f"dev-{n}": b"k" * 32 for n in range(DEVICES)})
        self.tokens = [sas.hub_token(key, self.host, name) for name, key in keys.items()]

    def login(self, n):
        return f"dev-{n}", self.broker.user_name(f"dev-{n}"), self.tokens[n]

    def close(self):
        self.broker.stop()
        self.service.stop()


class Bare:
    """The same but for the plugin: a password for each device, and an ACL of the same topics."""

    filters = "devices/#"

    def __init__(self, directory, other):
        directory = os.path.join(directory, "bare")
        os.makedirs(directory)
        self.port = free_port_pair()
        self.operator_port = self.port + 1
        self.ca_file, self.host = other.ca_file, other.host
        passwords, acl, log = (os.path.join(directory, x) for x in ("passwords", "acl", "log"))
        for n, user in enumerate([f"dev-{n}" for n in range(DEVICES)] + [OPERATOR]):
            subprocess.run(["mosquitto_passwd", "-b", *([] if n else ["-c"]), passwords, user,
                            OPERATOR_PASSWORD], check=True, timeout=60)
        with open(acl, "w", encoding="ascii") as file:
            file.write(f"user {OPERATOR}\ntopic read devices/#\n"
                       "pattern write devices/%u/messages/events/#\n")
        with open(other.broker.config, encoding="ascii") as file:
            lines = [line for line in file.read().splitlines() if not line.startswith("plugin")]
        swapped = {f"password_file {other.broker.passwords}":
                       f"password_file {passwords}\nacl_file {acl}",
                   f"persistence_location {other.broker.directory}/":
                       f"persistence_location {directory}/",
                   f"listener {other.operator_port} 127.0.0.1":
                       f"listener {self.operator_port} 127.0.0.1",
                   f"listener {other.port}": f"listener {self.port}"}
        assert set(swapped) <= set(lines), lines
        config = os.path.join(directory, "mosquitto.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write("\n".join(swapped.get(line, line) for line in lines) + "\n")
        self.process = Process(["mosquitto", "-c", config], log, log)
        wait_until(lambda: " running" in open(log, encoding="utf-8").read(), "mosquitto runs")
        self.pids = [self.process.pid]

    def login(self, n):
        return f"dev-{n}", f"dev-{n}", OPERATOR_PASSWORD

    def close(self):
        self.process.close()


def logins(side, path):
    """What bench-mqtt reads: the operator, and every device."""
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{side.filters}\t{OPERATOR}\t{OPERATOR_PASSWORD}\n")
        for n in range(DEVICES):
            file.write("\t".join(side.login(n)) + "\n")
    return path


def measure(side, path, messages):
    """{what: (how many a second, CPU time of each in us)}"""
    beside = cpu_s(*side.pids[1:])
    run = subprocess.run([os.path.join(os.environ["LK_BUILD"], "bench/bench-mqtt"), str(side.port),
                          str(side.operator_port), str(side.pids[0]), path, str(messages)],
                         capture_output=True, text=True, timeout=300)
    if run.returncode != 0:
        sys.exit(run.stderr)
    got = {what: (f["per_s"], f["broker_us"]) for what, f in json.loads(run.stdout).items()}
    # latchkeyd has nothing to do with telemetry.
    per_s, broker_us = got["connect"]
    got["connect"] = per_s, broker_us + (cpu_s(*side.pids[1:]) - beside) / DEVICES * 1e6
    return got


def compare(rounds):
    """rounds are of (bare, hub)."""
    for what, text in WHAT.items():
        for figure, unit in (0, "/s"), (1, "us CPU"):
            plain, ours = (statistics.median(r[side][what][figure] for r in rounds)
                           for side in (0, 1))
            ratio = ours / plain if figure == 0 else plain / ours
            print(f"  {text:<24} {ours:>9.{figure}f} {unit:<6}  bare {plain:>9.{figure}f}  "
                  f"ratio {ratio:.2f}")


def main():
    parser = argparse.ArgumentParser(usage="broker.py [--messages-each N]")
    parser.add_argument("--messages-each", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        hub = WithHub(directory)
        bare = Bare(directory, hub)
        try:
            paths = {side: logins(side, os.path.join(directory, f"logins-{n}"))
                     for n, side in enumerate((bare, hub))}
            print(f"\nMosquitto with latchkey_hub.so: {DEVICES} devices over TLS, "
                  f"{options.messages_each} messages each (goal: messages at least 0.9 of bare)",
                  flush=True)
            compare([[measure(side, paths[side], options.messages_each) for side in (bare, hub)]
                     for _ in range(ROUNDS)])
        finally:
            bare.close()
            hub.close()


main()
