"""A fleet at its hub, while everything below it is killed and comes back. LK_FLEET is its size."""
import os
import threading
import time
from collections import defaultdict

import pytest

from lib.fleet import Fleet
from lib.livehub import LiveHub
from lib.mqtt import Closed
from lib.postgres import Postgres
from lib.process import wait_until

SIZE = int(os.environ.get("LK_FLEET", "300"))


class Seen:
    """What an operator reads, through any number of brokers' lives."""

    def __init__(self, broker):
        self.broker, self.stopping = broker, False
        self.numbers = defaultdict(set)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self.stopping:
            try:
                client = self.broker.operator(client_id="op/archive", clean=False)
                while True:
                    topic, body = client.message(3600)[:2]
                    self.numbers[topic.split("/")[2]].add(int(body))
            except (Closed, OSError, AssertionError):
                time.sleep(0.05)

    def missing(self, fleet):
        """{device: acknowledged numbers that the operator has not got}"""
        lost = {m.device_id: set(range(m.acked)) - self.numbers[m.device_id]
                for m in fleet.members.values()}
        return {name: numbers for name, numbers in lost.items() if numbers}


class Site(LiveHub):
    """On PostgreSQL."""

    def __init__(self, directory):
        self.postgres = Postgres()
        super().__init__(directory, store=self.postgres.database())

    def devices(self, count):
        """{id: key} of new devices."""
        return self.hub.create_all({f"fleet-{n}": os.urandom(32) for n in range(count)})

    def desire(self, fleet, number):
        """A desired property for each device, by the operator's HTTPS call."""
        for name in fleet.members:
            def patched(name=name):
                return self.hub.ask("PATCH", f"/twins/{name}", {
                    "properties": {"desired": {"n": number}}}).status == 200
            wait_until(patched, "the twin is changed", 60, 0.5)

    def close(self):
        super().close()
        self.postgres.close()


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


def test_everything_is_killed_once(site):
    """Nothing acknowledged is lost, nobody is cut who need not be, and everybody comes back."""
    seen = Seen(site.broker)
    fleet = Fleet(site.broker, site.devices(SIZE), every_s=max(1.0, SIZE / 500))
    try:
        fleet.wait_online()
        fleet.wait_message()
        connections = fleet.connections()

        site.service.kill9()
        fleet.wait_message()
        site.service.start()
        site.broker.wait_service()
        site.desire(fleet, 1)
        fleet.wait(lambda m: m.desired == 1, "each device has what was wished of it")

        site.postgres.kill9()
        fleet.wait_message()
        site.postgres.start()
        site.desire(fleet, 2)
        fleet.wait(lambda m: m.desired == 2, "and again")
        assert fleet.connections() == connections

        wait_until(lambda: not seen.missing(fleet), "the operator has it all", 60, 0.5)
        site.broker.kill9()
        site.desire(fleet, 3)
        site.broker.start()
        fleet.wait_online()
        fleet.wait(lambda m: m.desired == 3, "each device reads what it missed")
        fleet.wait_message()
    finally:
        seen.stopping = True
        fleet.close()
    wait_until(lambda: not seen.missing(fleet), "the operator has it all", 60, 0.5)
    site.service.cli("audit", "verify")
