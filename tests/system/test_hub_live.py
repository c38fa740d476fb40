"""A hub's HTTPS surface with a broker and devices behind it: methods, telemetry, messages, desired
properties, presence and bans, each as both sides see it."""
import json
import subprocess
import threading

import pytest

from lib.device import Device
from lib.hubapi import name
from lib.livehub import LiveHub
from lib.process import wait_until
from lib.service import program

METHODS = "$iothub/methods/POST/"


class Live(LiveHub):
    """What operators and devices do with it."""

    def device(self, device_id):
        """A registered device."""
        device = Device(self.service, device_id)
        self.service.enroll(device)
        device.register()
        return device

    def call(self, device_id, method="reboot", response_s=20, **more):
        return self.hub.ask("POST", f"/twins/{device_id}/methods", {
            "methodName": method, "responseTimeoutInSeconds": response_s, **more})


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    live = Live(tmp_path_factory.mktemp("live"))
    yield live
    live.close()


class Answering:
    """A device that answers each method with the same."""

    def __init__(self, client, status, payload):
        self.client, self.status, self.payload = client, status, payload
        self.calls = []
        assert client.subscribe(METHODS + "#") == [1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        topic, body = self.client.message(60)[:2]
        self.calls.append((topic, body))
        rid = topic.split("$rid=")[1]
        self.client.publish(f"$iothub/methods/res/{self.status}/?$rid={rid}", self.payload)


def test_a_method_is_answered(live):
    """Row 10 of section 10, by REST: the payload reaches the device, its answer the operator."""
    device = live.device("method-1")
    client = live.broker.device(device)
    answering = Answering(client, 207, b'{"done":[1,null]}')
    answer = live.call("method-1", payload={"delay": 5})
    assert answer.status == 200, answer
    assert answer.json() == {"status": 207, "payload": {"done": [1, None]}}
    (topic, body), = answering.calls
    assert topic.startswith(METHODS + "reboot/?$rid=") and json.loads(body) == {"delay": 5}
    client.disconnect()


def test_a_method_by_the_command_line(live):
    """The same, without a connection string: on the service's own machine."""
    device = live.device("method-2")
    client = live.broker.device(device)
    answering = Answering(client, 200, b'"well"')
    run = live.service.cli("hub", "method", "call", live.hub.hub, "method-2", "status",
                           "--payload-file", "-", input='{"a":1}')
    assert json.loads(run.stdout) == {"status": 200, "payload": "well"}
    assert json.loads(answering.calls[0][1]) == {"a": 1}
    client.disconnect()
    offline = live.service.cli("hub", "method", "call", live.hub.hub, "method-2", "status",
                               check=False)
    assert offline.returncode != 0 and "not connected" in offline.stderr, offline


def test_methods_that_are_not_answered(live):
    """Offline, deaf and silent devices, each with its own code; a late one within its time."""
    device = live.device("method-3")
    offline = live.call("method-3")
    assert offline.status == 404 and name(offline) == "DeviceNotOnline", offline
    client = live.broker.device(device)
    deaf = live.call("method-3")
    assert deaf.status == 404 and name(deaf) == "DeviceNotOnline", deaf
    assert client.subscribe(METHODS + "#") == [1]
    silent = live.call("method-3", response_s=5)
    assert silent.status == 504 and name(silent) == "GatewayTimeout", silent
    client.disconnect()

    late = {}
    caller = threading.Thread(target=lambda: late.update(
        answer=live.call("method-3", connectTimeoutInSeconds=60)))
    caller.start()
    client = live.broker.device(device)
    Answering(client, 200, b"1")
    caller.join(90)
    assert late["answer"].status == 200, late
    client.disconnect()


def test_a_device_cannot_forge_our_answer(live):
    """What is not JSON is a bad answer, not a part of ours."""
    client = live.broker.device(live.device("method-4"))
    Answering(client, 200, b'1},"status":0,"x":{"y":1')
    answer = live.call("method-4")
    assert answer.status == 502 and name(answer) == "BadDeviceResponse", answer
    client.disconnect()


def test_telemetry_by_https(live):
    """A device without MQTT is seen by the same consumers, with its properties."""
    device = live.device("https-1")
    operator = live.broker.operator()
    path = "/devices/https-1/messages/events"
    sent = live.hub.ask("POST", path, raw=b"20.5", token=device.hub_token(), headers=[
        ("iothub-to", path), ("iothub-app-Alert", "a b"), ("IoTHub-MessageId", "m-1")])
    assert sent.status == 204, sent
    topic, body = operator.message()[:2]
    start = f"latchkey/{live.hub.hub}/https-1/messages/events/"
    assert topic.startswith(start) and body == b"20.5"
    assert sorted(topic[len(start):].split("&")) == ["%24.mid=m-1", "Alert=a%20b"]
    batch = live.hub.ask("POST", path, [{"body": "MQ=="}, {"body": "Mg==", "properties": {
        "iothub-app-n": "2"}}], token=device.hub_token(),
        headers=[("Content-Type", "application/vnd.microsoft.iothub.json")])
    assert batch.status == 204, batch
    got = {operator.message()[:2] for _ in range(2)}
    assert got == {(start, b"1"), (start + "n=2", b"2")}
    operator.disconnect()


def test_messages_to_a_connected_device(live):
    """Row 11, by REST: sent while it is away and while it is there. That it goes on sending shows
    that it has them: a plugin of Mosquitto is not told of acknowledgements."""
    device = live.device("c2d-1")
    path = "/devices/c2d-1/messages/devicebound"
    assert live.hub.ask("POST", path, raw=b"early").status == 204
    client = live.broker.device(device)
    assert client.subscribe("devices/c2d-1/messages/devicebound/#") == [1]
    assert client.message()[1] == b"early"
    assert live.hub.ask("POST", path, raw=b"now", headers=[("iothub-app-k", "v")]).status == 204
    topic, body = client.message()[:2]
    assert body == b"now" and "k=v" in topic

    def done():
        client.publish("devices/c2d-1/messages/events/", b"1", qos=1)
        return live.hub.device("GET", "c2d-1").json()["cloudToDeviceMessageCount"] == 0

    wait_until(done, "both are done", timeout_s=60, every_s=0.5)
    client.disconnect()


def test_desired_properties_and_presence(live):
    """A change of the twin is pushed; what the device reports is read; both sides know who is on."""
    device = live.device("twin-1")
    assert live.hub.device("GET", "twin-1").json()["connectionState"] == "Disconnected"
    client = live.broker.device(device)
    assert client.subscribe("$iothub/twin/PATCH/properties/desired/#") == [1]
    wait_until(lambda: live.hub.device("GET", "twin-1").json()["connectionState"] == "Connected",
               "it is connected")
    assert live.hub.ask("GET", "/statistics/service").json()["connectedDeviceCount"] >= 1
    ids = [row["deviceId"] for row in live.hub.all(
        "SELECT * FROM devices WHERE connectionState = 'Connected'")]
    assert "twin-1" in ids
    live.hub.ask("PATCH", "/twins/twin-1", {"properties": {"desired": {"rate": 7}}})
    topic, body = client.message()[:2]
    pushed = json.loads(body)
    assert pushed["rate"] == 7 and f"$version={pushed['$version']}" in topic
    client.publish("$iothub/twin/PATCH/properties/reported/?$rid=1", b'{"rate":7}')
    wait_until(lambda: live.hub.ask("GET", "/twins/twin-1").json()["properties"]["reported"].get(
        "rate") == 7, "it is reported")
    client.disconnect()
    wait_until(lambda: live.hub.device("GET", "twin-1").json()["connectionState"] ==
               "Disconnected", "it is gone")
    assert live.hub.device("GET", "twin-1").json()["lastActivityTime"] > "2020"


@pytest.mark.parametrize("how", ["disable", "delete", "bulk"])
def test_a_change_cuts_the_session(live, how):
    """Disabled or deleted by REST, the device's connection ends, and it does not come back."""
    device_id = f"cut-{how}"
    device = live.device(device_id)
    client = live.broker.device(device)
    if how == "disable":
        answer = live.hub.device("PUT", device_id, {"status": "disabled"},
                                 headers=[("If-Match", "*")])
    elif how == "delete":
        answer = live.hub.device("DELETE", device_id)
    else:
        answer = live.hub.bulk({"id": device_id, "importMode": "Delete"})
    assert answer.status in (200, 204), answer
    client.wait_closed(30)
    again = live.broker.client()
    assert again.connect(device_id, live.broker.user_name(device_id), device.hub_token()) != 0
    again.drop()


def test_without_its_broker(live, tmp_path):
    """Last in the file: the broker ends; methods and telemetry are told so, the rest goes on."""
    device = live.device("alone-1")
    live.broker.stop()
    wait_until(lambda: live.call("alone-1", response_s=5).status == 503, "it is noticed")
    answer = live.hub.ask("POST", "/devices/alone-1/messages/events", raw=b"1",
                          token=device.hub_token())
    assert answer.status == 503 and name(answer) == "ServiceUnavailable", answer
    assert live.hub.ask("GET", "/twins/alone-1").status == 200
    assert live.hub.ask("POST", "/devices/alone-1/messages/devicebound", raw=b"1").status == 204
    run = subprocess.run([program("latchkey"), "hub", "method", "call", live.hub.hub, "alone-1",
                          "m", "--config", live.service.config_path], capture_output=True,
                         text=True, timeout=60)
    assert run.returncode == 75 and "broker" in run.stderr, run
