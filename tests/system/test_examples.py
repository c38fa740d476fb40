"""Examples that operators start from, against a real broker."""
import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from lib.device import Device
from lib.hubbroker import OPERATOR, OPERATOR_PASSWORD, HubBroker
from lib.process import wait_until
from lib.service import ROOT, Service

SCRIPT = os.path.join(ROOT, "examples/telemetry_to_sqlite.py")


class Archive:
    """mosquitto_sub and the example behind it, as its head says."""

    def __init__(self, broker, directory):
        self.settings = directory / "config"
        self.settings.mkdir(mode=0o700)
        self.path = directory / "telemetry.db"
        with open(self.settings / "mosquitto_sub", "x", encoding="utf-8",
                  opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(f"-h 127.0.0.1\n-p {broker.operator_port}\n-u {OPERATOR}\n"
                       f"-P {OPERATOR_PASSWORD}\n")
        self.words = ["mosquitto_sub", "-i", "op/archive", "-c", "-q", "1", "-t", "latchkey/#"]
        self.env = dict(os.environ, XDG_CONFIG_HOME=str(self.settings))
        subprocess.run([*self.words, "-E"], env=self.env, check=True, timeout=60)
        self.reader = self.script = None

    def start(self):
        self.reader = subprocess.Popen([*self.words, "-F", "%I %x %t"], env=self.env,
                                       stdout=subprocess.PIPE)
        self.script = subprocess.Popen([sys.executable, SCRIPT, self.path],
                                       stdin=self.reader.stdout)
        self.reader.stdout.close()

    def stop(self):
        """The reader ends, and then what reads from it, by itself."""
        if self.reader is not None:
            self.reader.send_signal(signal.SIGTERM)
            self.reader.wait(60)
            assert self.script.wait(60) == 0
            self.reader = None

    def rows(self, count):
        """Once there are that many: (hub, device id, properties, body), in order."""
        def look():
            with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as database:
                return database.execute(
                    "SELECT hub, device_id, properties, body FROM telemetry ORDER BY rowid").fetchall()

        def there():
            try:
                return len(look()) >= count
            except sqlite3.OperationalError:  # not made yet, or being written
                return False

        wait_until(there, f"{count} rows", timeout_s=60)
        rows = look()
        assert len(rows) == count, rows
        return [(hub, name, json.loads(properties), body) for hub, name, properties, body in rows]


@pytest.fixture
def stage(tmp_path):
    service = Service(tmp_path / "service")
    broker = HubBroker(tmp_path / "broker", service)
    service.start()
    broker.start().wait_service()
    archive = Archive(broker, tmp_path)
    yield service, broker, archive
    archive.stop()
    broker.stop()
    service.stop()


def shared_key_device(service, name):
    """A device that the hub's operator added: its ID is one that no registration has."""
    service.cli("hub", "device", "add", service.hub, name)
    device = Device(service, name)
    device.key = base64.b64decode(service.cli("hub", "device", "key", service.hub, name).stdout)
    device.hub, device.device_id = service.hub, name
    return device


def test_telemetry_to_sqlite(stage):
    """A row a message, with its properties decoded; what came while the archive was away, too."""
    service, broker, archive = stage
    pump = Device(service, "pump-1")
    service.enroll(pump)
    pump.register()
    odd = shared_key_device(service, "50%-off")
    archive.start()
    client = broker.device(pump)
    topic = f"devices/{pump.device_id}/messages/events/"
    client.publish(topic, '{"t": "21 °C"}', qos=1)
    client.publish(topic + "%24.ct=application%2Fjson&room=caf%C3%A9&bare&empty=", "[1]", qos=1)
    client.publish(topic, b"\xff\x00\x10", qos=1)
    client.publish(topic, "", qos=1)
    client.publish(topic + "a b=c d", "x" * (256 * 1024 - 7), qos=1)
    hub = service.hub
    rows = archive.rows(5)
    assert rows[:4] == [
        (hub, "pump-1", {}, '{"t": "21 °C"}'),
        (hub, "pump-1", {"$.ct": "application/json", "room": "café", "bare": None, "empty": ""},
         "[1]"),
        (hub, "pump-1", {}, b"\xff\x00\x10"), (hub, "pump-1", {}, "")]
    assert rows[4][2] == {"a b": "c d"} and len(rows[4][3]) == 256 * 1024 - 7
    second = broker.device(odd)
    second.publish(f"devices/{odd.device_id}/messages/events/", "cheap", qos=1)
    assert archive.rows(6)[5] == (hub, "50%-off", {}, "cheap")
    archive.stop()
    client.publish(topic + "n=1", "while it was away", qos=1)
    archive.start()
    assert archive.rows(7)[6] == (hub, "pump-1", {"n": "1"}, "while it was away")
    client.disconnect()
    second.disconnect()
