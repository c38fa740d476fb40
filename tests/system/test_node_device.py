"""Unmodified Azure device clients for Node at a hub in Mosquitto (iot-hub.md section 10)."""
import base64
import json
import os
import queue
import subprocess
import threading

import pytest

from lib import sas
from lib.hubbroker import OPERATOR, OPERATOR_PASSWORD, HubBroker
from lib.node import Device as NodeDevice
from lib.node import command, env_of
from lib.process import wait_until
from lib.service import BUILD, Service

TIMEOUT_S = 60


class Hub:
    """A service on port 443 and its broker on port 8883, in a network of the test's own."""

    def __init__(self, directory, network):
        self.network = network
        self.service = Service(directory / "service", network=network, listen=("127.0.0.1", 443))
        self.name = self.service.hub
        self.broker = HubBroker(directory / "broker", self.service, network=network,
                                device_port=8883)
        self.service.start()
        self.broker.start().wait_service()

    def tool(self, *words):
        run = subprocess.run([os.path.join(BUILD, "tests/support/hubtool"), self.service.data,
                              *words], capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def enroll(self, registration_id):
        """An enrollment with a shared key; the key. The hub's identity gets it when it registers."""
        key = base64.b64encode(os.urandom(32)).decode()
        path = os.path.join(self.service.directory, registration_id + ".key")
        with open(path, "w", encoding="ascii") as file:
            file.write(key + "\n")
        self.service.cli("enrollment", "add", "--registration-id", registration_id,
                         "--symmetric-key", "--primary-key-file", path)
        return key

    def close(self):
        self.broker.stop()
        self.service.stop()


class Device:
    """hub_device.js: one process, a line for each thing to do."""

    def __init__(self, hub):
        self.process = subprocess.Popen(
            hub.network.command(command("hub_device.js", hub.broker.ca_file)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.results, self.events = queue.Queue(), queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            got = json.loads(line)
            (self.events if "event" in got else self.results).put(got)

    def try_do(self, what, **more):
        self.process.stdin.write(json.dumps(dict(more, do=what)) + "\n")
        self.process.stdin.flush()
        return self.results.get(timeout=TIMEOUT_S)

    def do(self, what, **more):
        answer = self.try_do(what, **more)
        assert "error" not in answer, answer
        return answer["result"]

    def event(self, kind):
        """The next thing that came by itself; it has to be of that kind."""
        got = self.events.get(timeout=TIMEOUT_S)
        assert got["event"] == kind, got
        return got

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(20)


@pytest.fixture
def hub(tmp_path, network, node_modules):
    hub = Hub(tmp_path, network)
    yield hub
    hub.close()


@pytest.fixture
def make_device(hub):
    made = []

    def make():
        made.append(Device(hub))
        return made[-1]

    yield make
    for device in made:
        device.end()


@pytest.fixture
def registered(hub):
    """A device with a shared key, registered by the SDK: its connection string."""
    key = hub.enroll("node-hub-1")
    state = NodeDevice(hub.service, "node-hub-1", "key", key).register()
    assert state["assignedHub"] == hub.name
    return f"HostName={hub.name};DeviceId=node-hub-1;SharedAccessKey={key}"


def test_device(hub, registered, make_device, tmp_path):
    """Rows 7, 9, 11 and 14: telemetry, twin, messages, one connection of an identity."""
    out = tmp_path / "sub"
    reader = hub.network.start(
        ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(hub.broker.operator_port), "-u", OPERATOR,
         "-P", OPERATOR_PASSWORD, "-t", "latchkey/#", "-q", "1", "-C", "1", "-F", "%t|%p"],
        out, tmp_path / "sub.err")
    wait_until(lambda: "latchkey/# (QoS 1)" in hub.broker.log_text(), "the operator listens")
    device = make_device()
    device.do("open", connectionString=registered)
    device.do("send", body='{"t":21}', id="m-1", properties={"a b": "c&d"})
    topic, body = wait_until(lambda: out.read_text(), "telemetry").strip().split("|")
    assert body == '{"t":21}'
    start = f"latchkey/{hub.name}/node-hub-1/messages/events/"
    assert topic.startswith(start)
    assert sorted(topic[len(start):].split("&")) == [
        "%24.ct=application%2Fjson", "%24.mid=m-1", "a%20b=c%26d"]
    reader.close()

    properties = device.do("getTwin")
    assert properties["desired"] == {"$version": 1}
    device.do("onDesired")
    device.do("report", patch={"firmware": "1.0", "x": {"y": 1}})
    assert json.loads(hub.tool("show", hub.name, "node-hub-1"))["reported"] == {
        "firmware": "1.0", "x": {"y": 1}}
    answer = device.try_do("report", patch={"bad": "x" * 5000})
    assert answer["error"], answer
    device.event("desired")  # the SDK tells what is there when one begins to listen
    hub.tool("desired", hub.name, "node-hub-1", '{"interval":5}')
    assert device.event("desired")["delta"] == {"interval": 5, "$version": 2}

    device.do("onMessage")
    hub.tool("send", hub.name, "node-hub-1", "%24.mid=c-1&k=v", "hello")
    got = device.event("message")
    assert (got["body"], got["id"]) == ("hello", "c-1")
    assert {"key": "k", "value": "v"} in got["properties"]

    second = make_device()
    second.do("open", connectionString=registered)
    device.event("disconnect")
    second.do("send", body="{}")


def test_method(hub, registered, make_device):
    """Row 10: the operators' SDK asks, the device's SDK answers; 404 while it is away."""
    text = hub.tool("policy", hub.name, "iothubowner").strip()
    asker = subprocess.Popen(
        hub.network.command(command("hub_method.js", text, "node-hub-1")),
        env=env_of(hub.service), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(**call):
        asker.stdin.write(json.dumps(call) + "\n")
        asker.stdin.flush()

    def answer():
        return json.loads(asker.stdout.readline())

    call = {"methodName": "reboot", "payload": {"delay": 5}, "responseTimeoutInSeconds": 30}
    ask(**call)
    assert answer()["status"] == 404
    device = make_device()
    device.do("open", connectionString=registered)
    device.do("onMethod", name="reboot", status=203, payload={"done": True})
    ask(connectTimeoutInSeconds=30, **call)
    got = device.event("method")
    assert (got["name"], got["payload"]) == ("reboot", {"delay": 5})
    assert answer()["result"] == {"status": 203, "payload": {"done": True}}
    asker.stdin.close()
    asker.stdout.close()
    asker.wait(20)


def test_refused(hub, registered, make_device):
    """Row 8: a wrong key, a disabled device and an expired token are an UnauthorizedError."""
    key = registered.split("SharedAccessKey=")[1]
    wrong = registered.replace(key, base64.b64encode(b"k" * 32).decode())
    expired = sas.hub_token(base64.b64decode(key), hub.name, "node-hub-1", sas.in_s(-3600))
    assert make_device().try_do("open", connectionString=wrong)["error"] == "UnauthorizedError"
    assert make_device().try_do("open", token=expired)["error"] == "UnauthorizedError"
    hub.service.cli("hub", "disable-device", hub.name, "node-hub-1")
    assert make_device().try_do("open",
                                connectionString=registered)["error"] == "UnauthorizedError"


def test_short_lived_token(hub, registered, make_device):
    """Row 15: the hub closes the connection when the token expires."""
    key = base64.b64decode(registered.split("SharedAccessKey=")[1])
    device = make_device()
    device.do("open", token=sas.hub_token(key, hub.name, "node-hub-1", sas.in_s(6)))
    device.do("send", body="{}")
    device.event("disconnect")


def test_tpm(hub, bridge, make_device):
    """Row 12: provisioned by the TPM, then at the hub with the key that is in the TPM."""
    node = NodeDevice(hub.service, "node-tpm-1")
    hub.service.cli("enrollment", "add", "--registration-id", "node-tpm-1", "--ek",
                    node.keys()["ek"])
    assert node.register()["state"]["assignedHub"] == hub.name
    device = make_device()
    device.do("open", hub=hub.name, deviceId="node-tpm-1")
    device.do("send", body="{}")
    assert json.loads(hub.tool("show", hub.name, "node-tpm-1"))["connected"]
