#!/usr/bin/env python3
"""Compare Mosquitto with latchkey_hub.so and, else set up the same, with a password file and an ACL.

usage: broker.py [--messages N] [--connects N]

Devices are clients over TLS that send telemetry of 100 bytes, and one operator reads all of it. Rates
are what generator and broker reach on the same cores; CPU time is the broker's alone, and of a
connect latchkeyd's too. Rounds of both alternate, and the middle one of three counts.
"""
import argparse
import base64
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("LK_BUILD", os.path.join(TOP, os.environ.get("BUILD", "build")))
sys.path.insert(0, os.path.join(TOP, "tests/system"))

from lib import mqtt, sas  # noqa: E402
from lib.hubapi import Hub  # noqa: E402
from lib.hubbroker import OPERATOR, OPERATOR_PASSWORD, HubBroker  # noqa: E402
from lib.process import Process, wait_until  # noqa: E402
from lib.service import Service  # noqa: E402
from lib.swtpm import free_port_pair  # noqa: E402

DEVICES = 8
ROUNDS = 3
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

    name = "latchkey_hub.so"

    def __init__(self, directory):
        self.service = Service(os.path.join(directory, "service"))
        self.service.cli("hub", "policy", "add", self.service.hub, "iothubowner")
        self.broker = HubBroker(os.path.join(directory, "hub"), self.service)
        with open(self.broker.config, encoding="ascii") as file:
            text = file.read().replace("log_type all", "log_type error")
        with open(self.broker.config, "w", encoding="ascii") as file:
            file.write(text + "log_type information\n")
        self.service.start()
        self.broker.start().wait_service()
        self.port, self.operator_port = self.broker.port, self.broker.operator_port
        self.ca_file, self.host = self.broker.ca_file, self.service.hub
        self.pids = [self.broker.process.pid, self.service.process.pid]
        key = b"k" * 32
        text = base64.b64encode(key).decode()
        answer = Hub(self.service).bulk(*({
            "id": f"dev-{n}", "importMode": "create", "authentication": {
                "type": "sas", "symmetricKey": {"primaryKey": text, "secondaryKey": text}}}
            for n in range(DEVICES)))
        assert answer.status == 200, answer
        self.tokens = [sas.hub_token(key, self.host, f"dev-{n}") for n in range(DEVICES)]

    def login(self, n):
        return f"dev-{n}", self.broker.user_name(f"dev-{n}"), self.tokens[n]

    def close(self):
        self.broker.stop()
        self.service.stop()


class Bare:
    """The same but for the plugin: a password for each device, and an ACL of the same topics."""

    name = "bare Mosquitto"

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


def messages(side, qos, path, count):
    """Messages a second, and the broker's CPU time a message in us."""
    broker = side.pids[0]
    reader = subprocess.Popen(
        ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(side.operator_port), "-u", OPERATOR, "-P",
         OPERATOR_PASSWORD, "-i", "op/bench", "-q", str(qos), "-F", "x", "-t",
         "latchkey/#" if isinstance(side, WithHub) else "devices/#"], stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    used, started = cpu_s(broker), time.monotonic()
    senders = []
    for n in range(DEVICES):
        client_id, user, password = side.login(n)
        with open(path, "rb") as lines:
            senders.append(subprocess.Popen(
                ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(side.port), "--cafile", side.ca_file,
                 "--insecure", "-i", client_id, "-u", user, "-P", password, "-q", str(qos), "-t",
                 f"devices/{client_id}/messages/events/", "-l"], stdin=lines))
    try:
        for sender in senders:
            assert sender.wait(300) == 0
        seconds = time.monotonic() - started
        last = None
        while last is None or cpu_s(broker) - last > TICK_S:  # what is still on its way
            last = cpu_s(broker)
            time.sleep(0.3)
    finally:
        for process in (*senders, reader):
            process.terminate()
            process.wait()
    return count / seconds, (cpu_s(broker) - used) / count * 1e6


def connects(side, count):
    """Connects a second, and CPU time a connect in us, of the broker and what it asks."""
    used, started = cpu_s(*side.pids), time.monotonic()

    def lane(n):
        for _ in range(count // DEVICES):
            client = mqtt.Client(("127.0.0.1", side.port), side.ca_file, side.host)
            assert client.connect(*side.login(n)) == 0
            client.disconnect()

    with ThreadPoolExecutor(DEVICES) as pool:
        for done in [pool.submit(lane, n) for n in range(DEVICES)]:
            done.result()
    return count / (time.monotonic() - started), (cpu_s(*side.pids) - used) / count * 1e6


def compare(what, hub, bare, measure):
    rounds = [(measure(bare), measure(hub)) for _ in range(ROUNDS)]

    def middle(side, figure):
        return statistics.median(r[side][figure] for r in rounds)

    for figure, unit in (0, "/s"), (1, "us CPU"):
        plain, ours = middle(0, figure), middle(1, figure)
        ratio = ours / plain if figure == 0 else plain / ours
        print(f"  {what:<24} {ours:>9.0f} {unit:<6}  bare {plain:>9.0f}  ratio {ratio:.2f}",
              flush=True)


def main():
    parser = argparse.ArgumentParser(usage="broker.py [--messages N] [--connects N]")
    parser.add_argument("--messages", type=int, default=40000)
    parser.add_argument("--connects", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "lines")
        with open(path, "w", encoding="ascii") as file:
            file.write(("x" * 100 + "\n") * (options.messages // DEVICES))
        hub = WithHub(directory)
        bare = Bare(directory, hub)
        try:
            print("\nMosquitto with latchkey_hub.so (goal: messages at least 0.9 of bare)")
            for qos in 0, 1:
                compare(f"messages, QoS {qos}", hub, bare,
                        lambda side, qos=qos: messages(side, qos, path, options.messages))
            compare("connects, TLS", hub, bare, lambda side: connects(side, options.connects))
        finally:
            bare.close()
            hub.close()


main()
