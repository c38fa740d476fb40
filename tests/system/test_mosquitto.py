"""Mosquitto as an IoT hub: what devices may do, what they may not, and what survives what."""
import base64
import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lib import sas
from lib.device import Device
from lib.https import Connection, request
from lib.hubbroker import OPERATOR, OPERATOR_PASSWORD, HubBroker
from lib.mqtt import API_VERSION, Closed
from lib.process import wait_until
from lib.service import BUILD, Service

REFUSED = 5
TWIN = "$iothub/twin"
BATCH = "application/vnd.microsoft.iothub.json"


class Hub:
    """A service and its broker, and what an operator's program does to the hub."""

    def __init__(self, directory, **settings):
        self.service = Service(directory / "service")
        self.broker = HubBroker(directory / "broker", self.service, **settings)
        self.service.start()
        self.broker.start().wait_service()
        self.name = self.service.hub

    def device(self, name):
        """A device that is registered and assigned."""
        device = Device(self.service, name)
        self.service.enroll(device)
        device.register()
        return device

    def tool(self, *words):
        tool = os.path.join(BUILD, "tests/support/hubtool")
        run = subprocess.run([tool, self.service.data, *words], capture_output=True, text=True,
                             timeout=60)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def send(self, device, body, properties=""):
        self.tool("send", self.name, device.device_id, properties, body)

    def desired(self, device, **members):
        self.tool("desired", self.name, device.device_id, json.dumps(members))

    def show(self, device):
        return json.loads(self.tool("show", self.name, device.device_id))

    def close(self):
        self.broker.stop()
        self.service.stop()


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    hub = Hub(tmp_path_factory.mktemp("hub"))
    yield hub
    hub.close()


@pytest.fixture
def own_hub(tmp_path):
    """One that a test may stop parts of."""
    hub = Hub(tmp_path)
    yield hub
    hub.close()


@pytest.fixture
def operator(hub):
    client = hub.broker.operator()
    yield client
    client.drop()


def events(device, props=""):
    return f"devices/{device.device_id}/messages/events/{props}"


def seen(hub, device, props=""):
    """The topic where an operator sees it."""
    return f"latchkey/{hub.name}/{device.device_id}/messages/events/{props}"


def connect(hub, client_id, user, password, **kwargs):
    """The return code; None when the broker closed without one."""
    client = hub.broker.client()
    try:
        return client.connect(client_id, user, password, **kwargs)
    except Closed:
        return None
    finally:
        client.drop()


# ---- telemetry


def test_telemetry(hub, operator):
    """What a device sends reaches an operator under its own name, properties and QoS kept."""
    device = hub.device("tel-1")
    client = hub.broker.device(device)
    props = "a=b&%24.ct=application%2Fjson&novalue&empty="
    client.publish(events(device), b"zero")
    client.publish(events(device, props), b"one", qos=1)
    client.publish(events(device, props + "/"), b"slash", qos=1)
    client.publish(events(device), os.urandom(256 * 1024), qos=1)
    assert operator.message()[:3] == (seen(hub, device), b"zero", 0)
    assert operator.message()[:3] == (seen(hub, device, props), b"one", 1)
    assert operator.message()[:3] == (seen(hub, device, props), b"slash", 1)
    assert len(operator.message()[1]) == 256 * 1024
    client.disconnect()


def test_retained(hub, operator):
    """The retain flag becomes a property; nothing is kept for who subscribes later."""
    device = hub.device("retain-1")
    client = hub.broker.device(device)
    client.publish(events(device), b"x", qos=1, retain=True)
    client.publish(events(device, "a=b"), b"y", qos=1, retain=True)
    assert operator.message()[0] == seen(hub, device, "mqtt-retain=true")
    assert operator.message()[0] == seen(hub, device, "a=b&mqtt-retain=true")
    late = hub.broker.operator(client_id="op/late")
    assert late.silent()
    late.drop()
    client.drop()


def test_will(hub, operator):
    """A last will is telemetry with a property, when the connection is lost and only then."""
    device = hub.device("will-1")
    for retain, more in (False, ""), (True, "mqtt-retain=true&"):
        client = hub.broker.device(device, will=(events(device), "gone", 1, retain))
        client.drop()
        assert operator.message()[:2] == (
            seen(hub, device, f"{more}iothub-MessageType=Will"), b"gone")
    client = hub.broker.device(device, will=(events(device, "a=b"), "gone", 0, False))
    client.disconnect()
    client = hub.broker.device(device, will=(events(device, "a=b"), "again", 0, False))
    other = hub.broker.device(device)  # takes its place, which ends a clean session
    assert operator.message()[:2] == (
        seen(hub, device, "a=b&iothub-MessageType=Will"), b"again")
    client.drop()
    other.disconnect()


@pytest.mark.parametrize("topic", [
    "devices/will-other/messages/events/", "latchkey/hub.example.test/will-2/messages/events/",
    "$iothub/twin/GET/?$rid=1", "$iothub/twin/PATCH/properties/reported/?$rid=1", "anything",
    "$SYS/broker/x", "$CONTROL/x", "devices/will-2/messages/devicebound/"])
def test_foreign_will(hub, operator, topic):
    """A will to anything but the device's own telemetry goes nowhere."""
    device = hub.device("will-2") if not hasattr(hub, "will_2") else hub.will_2
    hub.will_2 = device
    client = hub.broker.device(device, will=(topic, "{}", 1, False))
    client.drop()
    wait_until(lambda: hub.broker.log_text().count("will of \"will-2\""), "it is dropped")
    assert operator.silent()


# ---- who may come in


def test_credentials(hub):
    """Names that do not fit each other, foreign hubs, wrong keys, no password, other protocols."""
    device = hub.device("cred-1")
    token, user = device.hub_token(), hub.broker.user_name("cred-1")
    old = f"{hub.name}/cred-1/api-version=2016-11-14"
    port = f"{hub.name.upper()}:{hub.broker.port}/cred-1/{API_VERSION}"
    with_port = sas.token(device.key, sas.escape(f"{hub.name}:8883/devices/cred-1"),
                          sas.in_s(600))
    assert connect(hub, "cred-1", user, token) == 0
    assert connect(hub, "cred-1", old, token, clean=False) == 0
    assert connect(hub, "cred-1", port, with_port) == 0
    for client_id, name, password in [
            ("cred-2", user, token), ("", user, token), ("Cred-1", user, token),
            ("cred-1/mod", f"{hub.name}/cred-1/mod/{API_VERSION}", token),
            ("cred-1", f"other.example.test/cred-1/{API_VERSION}", token),
            ("cred-1", f"{hub.name}/cred-1/", token), ("cred-1", f"{hub.name}/cred-1", token),
            ("cred-1", user, None), ("cred-1", user, ""), ("cred-1", user, "x" * 5000),
            ("cred-1", user, sas.hub_token(b"k" * 32, hub.name, "cred-1")),
            ("cred-1", user, sas.hub_token(device.key, "other.example.test", "cred-1")),
            ("cred-1", user, sas.hub_token(device.key, hub.name, "cred-2")),
            ("cred-1", user, sas.hub_token(device.key, hub.name, "cred-1", sas.in_s(-3600))),
            ("nobody", hub.broker.user_name("nobody"),
             sas.hub_token(device.key, hub.name, "nobody")),
            ("cred-1", OPERATOR, OPERATOR_PASSWORD), ("cred-1", None, None)]:
        assert connect(hub, client_id, name, password) == REFUSED, (client_id, name, password)
    assert connect(hub, "cred-1", user, token, level=3, name="MQIsdp") == REFUSED
    assert connect(hub, "cred-1", user, token, level=5) != 0
    assert connect(hub, "op/x", OPERATOR, "wrong") == REFUSED
    assert connect(hub, "op/x", "latchkey", "") == REFUSED


def test_second_connection(hub):
    """A second CONNECT of an identity ends the first connection."""
    device = hub.device("twice-1")
    first = hub.broker.device(device)
    second = hub.broker.device(device)
    assert first.wait_closed()
    second.ping()
    assert hub.show(device)["connected"]
    second.disconnect()
    wait_until(lambda: not hub.show(device)["connected"], "it is seen as gone")


def test_token_expiry(hub, operator):
    """The session ends with its token, and its will says so."""
    device = hub.device("expire-1")
    token = sas.hub_token(device.key, hub.name, device.device_id, sas.in_s(4))
    client = hub.broker.device(device, token=token, will=(events(device), "cut", 0, False))
    client.ping()
    assert client.wait_closed(60)
    assert operator.message()[1] == b"cut"


def test_bans(hub, operator):
    """Disabled: cut, at most a moment later, and not let in before it is enabled again. Deleted: the
    same, and a device of that name made anew inherits nothing."""
    device = hub.device("ban-1")
    client = hub.broker.device(device, will=(events(device), "banned", 0, False))
    client.ping()
    before = time.monotonic()
    hub.service.cli("hub", "disable-device", hub.name, device.device_id)
    assert client.wait_closed()
    print("cut after", time.monotonic() - before)
    assert operator.silent()  # who is banned has no last word
    user, token = hub.broker.user_name("ban-1"), device.hub_token()
    assert connect(hub, "ban-1", user, token) == REFUSED
    hub.service.cli("hub", "enable-device", hub.name, device.device_id)
    client = hub.broker.device(device, clean=False)
    assert client.subscribe("devices/ban-1/messages/devicebound/#") == [1]
    hub.service.cli("hub", "remove-device", hub.name, device.device_id)
    assert client.wait_closed()
    assert connect(hub, "ban-1", user, token) == REFUSED


def test_new_key_cuts_the_old_ones_session(hub):
    """A device that is registered anew, as after TPM2_Clear: who holds the old key is cut."""
    device = hub.device("rekey-1")
    client = hub.broker.device(device)
    old = device.hub_token()
    again = Device(hub.service, "rekey-1", tpm=device.tpm)
    again.register()
    assert again.key != device.key
    client.ping()  # until the new key is used: the answer with it may have been lost
    fresh = hub.broker.client()
    assert fresh.connect("rekey-1", hub.broker.user_name("rekey-1"), again.hub_token()) == 0
    assert client.wait_closed()
    assert connect(hub, "rekey-1", hub.broker.user_name("rekey-1"), old) == REFUSED
    fresh.ping()
    fresh.disconnect()


# ---- what is not a device's


@pytest.fixture
def intruder(hub):
    if not hasattr(hub, "intruder"):
        hub.intruder = hub.device("intruder")
        hub.victim = hub.device("victim")
    client = hub.broker.device(hub.intruder)
    yield client
    client.drop()


@pytest.mark.parametrize("topic", [
    "devices/victim/messages/events/", "devices/victim/messages/devicebound/",
    "devices/intruder/messages/devicebound/", "devices/intruder/messages/eventsx/",
    "devices/intruder/", "devices/intruder/../victim/messages/events/",
    "/devices/intruder/messages/events/", "Devices/intruder/messages/events/",
    "devices/INTRUDER/messages/events/", "latchkey/hub.example.test/victim/messages/events/",
    "latchkey/hub.example.test/intruder/messages/events/", "$iothub/twin/res/200/?$rid=1",
    "$iothub/twin/PATCH/properties/desired/?$version=1", "$iothub/twin/PUT/?$rid=1",
    "$iothub/methods/POST/reboot/?$rid=1", "$iothub/methods/res/200/", "$iothub/twin/GET/",
    "$iothub/twin/GET/?$rid=", "$iothub/methods/res/x/?$rid=1", "x", "/", "$CONTROL/dynamic-security/v1",
    "$SYS/broker/connection/x/state", "devices/intruder/messages/events/a%zz"])
def test_forbidden_publish(hub, intruder, operator, topic):
    """Publishing anywhere else closes the connection, and nobody gets it."""
    victim = hub.broker.device(hub.victim)
    assert victim.subscribe("devices/victim/messages/devicebound/#", TWIN + "/res/#",
                            TWIN + "/PATCH/properties/desired/#",
                            "$iothub/methods/POST/#") == [1] * 4
    intruder.publish(topic, b"{}")
    assert intruder.wait_closed()
    assert victim.silent(0.3) and operator.messages.empty()
    victim.ping()
    victim.drop()


@pytest.mark.parametrize("topic", ["$SYS/broker/load", "$share/g/devices/victim/messages/events/"])
def test_broker_topics(hub, intruder, operator, topic):
    """The broker itself drops these, before it asks anyone."""
    intruder.publish(topic, b"{}", qos=1)
    intruder.ping()
    assert operator.silent()


@pytest.mark.parametrize("name", [
    "#", "+", "+/#", "/#", "devices/#", "devices/+/messages/events/#",
    "devices/victim/messages/devicebound/#", "devices/+/messages/devicebound/#",
    "devices/intruder/#", "devices/intruder/messages/events/#", "devices/intruder/messages/+/#",
    "devices/intruder/messages/devicebound/+", "devices/intruder/messages/devicebound/",
    "devices/intruder/messages/devicebound", "latchkey/#", "latchkey/+/+/messages/events/#",
    "$SYS/#", "$SYS/broker/clients/connected", "$CONTROL/#", "$iothub/#", "$iothub/+/res/#",
    "$iothub/twin/#", "$iothub/twin/res/+", "$iothub/twin/GET/#", "$iothub/methods/#",
    "$iothub/methods/res/#", "$share/g/#", "$share/g/latchkey/#", "$share/g/$iothub/twin/res/#",
    "$share/g/devices/intruder/messages/devicebound/#", "$share/g/$SYS/#", "$latchkey/#"])
def test_forbidden_subscribe(intruder, name):
    """No filter but the four of the table."""
    assert intruder.subscribe(name) == [0x80]
    intruder.unsubscribe(name)
    intruder.ping()


def test_allowed_subscribe(hub, intruder):
    """The four filters, with QoS 1 at most; others in the same packet are refused alone."""
    own = ["devices/intruder/messages/devicebound/#", TWIN + "/res/#",
           TWIN + "/PATCH/properties/desired/#", "$iothub/methods/POST/#"]
    assert intruder.subscribe(*own, qos=0) == [0] * 4
    assert intruder.subscribe(*own, qos=2) == [1] * 4
    assert intruder.subscribe(own[0], "#", own[1], qos=1) == [1, 0x80, 1]


def test_quality_2(hub, intruder):
    """A publish with QoS 2 closes the connection."""
    intruder.publish(events(hub.intruder), b"x", qos=2)
    assert intruder.wait_closed()


def test_too_large(hub, intruder, operator):
    """A byte more than 256 KB, and much more than that."""
    for length in 256 * 1024 + 1, 2000000:
        client = hub.broker.device(hub.victim)
        try:
            client.publish(events(hub.victim), b"x" * length)
        except OSError:
            pass
        assert client.wait_closed()
        client.drop()
    assert operator.silent()


def test_operators(hub):
    """Operators read telemetry, also as a group, and nothing else; they publish nothing."""
    client = hub.broker.operator("latchkey/#", "$SYS/broker/#", "$share/g/latchkey/#")
    for name in "#", "devices/#", "$iothub/#", "$share/g/#", "$CONTROL/#", "+/+/#":
        assert client.subscribe(name) == [0x80], name
    device = hub.device("op-1")
    for topic in seen(hub, device), events(device), TWIN + "/res/200/?$rid=1", "x":
        client.publish(topic, b"{}", qos=1)
    client.ping()
    client.drop()


# ---- twins


def test_twin(hub):
    """Get, reported patch, errors, and a desired update of another process."""
    device = hub.device("twin-1")
    client = hub.broker.device(device)
    assert client.subscribe(TWIN + "/res/#", TWIN + "/PATCH/properties/desired/#",
                            qos=0) == [0, 0]
    client.publish(TWIN + "/GET/?$rid=a%20b", b" ")
    topic, body, *_ = client.message()
    assert topic == TWIN + "/res/200/?$rid=a%20b"
    assert json.loads(body) == {"desired": {"$version": 1}, "reported": {"$version": 1}}

    client.publish(TWIN + "/PATCH/properties/reported/?$rid=2", b'{"t":21,"x":{"y":null}}', qos=1)
    topic, body, *_ = client.message()
    assert (topic, body) == (TWIN + "/res/204/?$rid=2&$version=2", b"")
    assert hub.show(device)["reported"] == {"t": 21, "x": {}}
    for bad in b"", b"[]", b"{", b'{"a":1}{', b'{"$x":1}', b'{"a":"' + b"x" * 5000 + b'"}', b"\xff":
        client.publish(TWIN + "/PATCH/properties/reported/?$rid=3", bad)
        topic, body, *_ = client.message()
        assert topic == TWIN + "/res/400/?$rid=3", (bad, topic)
        assert json.loads(body)["errorCode"] == 400004

    hub.desired(device, color="red")
    topic, body, *_ = client.message()
    assert topic == TWIN + "/PATCH/properties/desired/?$version=2"
    assert json.loads(body) == {"color": "red", "$version": 2}
    client.unsubscribe(TWIN + "/PATCH/properties/desired/#")
    hub.desired(device, color="blue")
    client.publish(TWIN + "/GET/?$rid=4")
    topic, body, *_ = client.message()
    assert topic == TWIN + "/res/200/?$rid=4"
    assert json.loads(body)["desired"] == {"color": "blue", "$version": 3}
    client.disconnect()


def test_twins_of_others(hub, intruder):
    """Requests are about the device that makes them, and answers go to it alone."""
    victim = hub.broker.device(hub.victim)
    for client in intruder, victim:
        client.subscribe(TWIN + "/res/#", TWIN + "/PATCH/properties/desired/#")
    intruder.publish(TWIN + "/PATCH/properties/reported/?$rid=same", b'{"who":"intruder"}')
    assert intruder.message()[0].startswith(TWIN + "/res/204/?$rid=same")
    hub.desired(hub.victim, secret=1)
    assert victim.message()[1].startswith(b'{"secret":1')
    assert intruder.silent() and victim.messages.empty()
    assert hub.show(hub.victim)["reported"] == {}
    victim.drop()


# ---- messages to devices


def test_messages(hub):
    """Queued while the device is away, delivered in order with QoS 1, gone once it has them."""
    device = hub.device("c2d-1")
    for number in range(3):
        hub.send(device, f"message {number}", f"n={number}")
    client = hub.broker.device(device, keep_alive=4)
    assert hub.show(device)["waiting"] == 3
    filter_name = f"devices/{device.device_id}/messages/devicebound/#"
    assert client.subscribe(filter_name) == [1]
    for number in range(3):
        topic, body, qos, dup = client.message()
        assert topic == f"devices/{device.device_id}/messages/devicebound/n={number}"
        assert (body, qos, dup) == (f"message {number}".encode(), 1, False)
    assert hub.show(device)["waiting"] == 3  # it has them, as far as nobody knows
    time.sleep(2.5)
    client.publish(events(device), b"alive", qos=1)
    wait_until(lambda: hub.show(device)["waiting"] == 0, "they are complete")
    hub.send(device, "while it is there")
    assert client.message()[1] == b"while it is there"

    def pinged_out():
        client.ping()
        return hub.show(device)["waiting"] == 0

    wait_until(pinged_out, "complete by staying connected", timeout_s=60, every_s=0.4)
    assert client.messages.empty()
    client.disconnect()


def test_unsettled_message_comes_again(hub):
    """A device that is lost without a PUBACK gets the message on its next connection."""
    device = hub.device("c2d-2")
    client = hub.broker.device(device, acknowledge=False)
    filter_name = f"devices/{device.device_id}/messages/devicebound/#"
    client.subscribe(filter_name)
    hub.send(device, "twice")
    assert client.message()[1] == b"twice"
    client.drop()
    client = hub.broker.device(device)
    assert client.silent()  # not before it subscribes
    client.subscribe(filter_name)
    assert client.message()[1] == b"twice"
    client.disconnect()


def test_durable_session(hub):
    """Subscriptions and what was not acknowledged outlive the connection of a durable session."""
    device = hub.device("c2d-3")
    client = hub.broker.device(device, clean=False, acknowledge=False)
    filter_name = f"devices/{device.device_id}/messages/devicebound/#"
    client.subscribe(filter_name)
    hub.send(device, "first")
    assert client.message()[1] == b"first"
    client.drop()
    wait_until(lambda: not hub.show(device)["connected"], "it is seen as gone")
    hub.send(device, "second")
    client = hub.broker.device(device, clean=False)
    assert client.session_present
    got = [client.message(), client.message()]
    assert [(m[1], m[3]) for m in got] == [(b"first", True), (b"second", False)]
    assert client.silent()
    client.disconnect()


def test_messages_with_quality_0(hub):
    """A subscription with QoS 0 gets them with QoS 0."""
    device = hub.device("c2d-4")
    client = hub.broker.device(device)
    client.subscribe(f"devices/{device.device_id}/messages/devicebound/#", qos=0)
    hub.send(device, "zero")
    assert client.message()[1:3] == (b"zero", 0)
    client.disconnect()


# ---- with the hub's REST


class Rest:
    """Calls of a hub's operators, or of a device with its token."""

    def __init__(self, hub, token=None):
        self.hub, self.device_token = hub, token
        if token is None:
            text = hub.tool("policy", hub.name, "iothubowner").strip()
            self.key = base64.b64decode(text.split("SharedAccessKey=")[1])

    def ask(self, method, path, body=b"", *headers, content_type="application/json",
            length=None):
        """length is announced, and the body sent, whatever that has."""
        token = self.device_token or sas.token(self.key, sas.escape(self.hub.name), sas.in_s(600),
                                               "iothubowner")
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        service = self.hub.service
        with Connection(service.address, service.ca_file, service.host, timeout_s=60) as connection:
            return connection.ask(request(method, f"{path}?api-version=2021-04-12", [
                ("Host", self.hub.name), ("Authorization", token),
                ("Content-Type", content_type),
                ("Content-Length", len(data) if length is None else length), *headers], data))


@pytest.fixture(scope="module")
def rest(hub):
    return Rest(hub)


def test_methods(hub, rest):
    """Asked over REST, answered over MQTT; of a device that is away, or stays silent."""
    device = hub.device("method-1")
    path = "/twins/method-1/methods"
    call = {"methodName": "reboot", "payload": {"delay": 5}, "responseTimeoutInSeconds": 30}
    away = rest.ask("POST", path, call)
    assert away.status == 404 and away.header("iothub-errorcode") == "DeviceNotOnline", away
    client = hub.broker.device(device)
    assert client.subscribe("$iothub/methods/POST/#", qos=0) == [0]
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(rest.ask, "POST", path, call)
        topic, body, *_ = client.message()
        head, rid = topic.split("/?$rid=")
        assert head == "$iothub/methods/POST/reboot"
        assert json.loads(body) == {"delay": 5}
        client.publish(f"$iothub/methods/res/207/?$rid={rid}", b'{"done":[1]}')
        got = answer.result(60)
    assert got.status == 200 and got.json() == {"status": 207, "payload": {"done": [1]}}
    silent = rest.ask("POST", path, dict(call, responseTimeoutInSeconds=5))
    assert silent.status == 504, silent
    client.drop()
    late = dict(call, connectTimeoutInSeconds=60)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(rest.ask, "POST", path, late)
        time.sleep(1)
        client = hub.broker.device(device)
        client.subscribe("$iothub/methods/POST/#", qos=0)
        rid = client.message()[0].split("$rid=")[1]
        client.publish(f"$iothub/methods/res/200/?$rid={rid}", b"null")
        got = answer.result(60)
    assert got.json() == {"status": 200, "payload": None}
    client.disconnect()


def test_operators_calls_reach_devices(hub, rest):
    """A message, an update of the twin, a look at the connection, a ban."""
    device = hub.device("rest-1")
    client = hub.broker.device(device)
    client.subscribe("devices/rest-1/messages/devicebound/#", TWIN + "/PATCH/properties/desired/#")
    sent = rest.ask("POST", "/devices/rest-1/messages/devicebound", b"hi",
                    ("iothub-app-k", "v"), ("IoTHub-MessageId", "m-1"))
    assert sent.status in (200, 204), sent
    topic, body, *_ = client.message()
    assert body == b"hi" and "k=v" in topic and "%24.mid=m-1" in topic, topic
    patch = rest.ask("PATCH", "/twins/rest-1", {"properties": {"desired": {"a": {"b": 1}}}},
                     ("If-Match", '"*"'))
    assert patch.status == 200, patch
    assert json.loads(client.message()[1]) == {"a": {"b": 1}, "$version": 2}
    assert rest.ask("GET", "/devices/rest-1").json()["connectionState"] == "Connected"
    shown = rest.ask("GET", "/devices/rest-1").json()
    banned = rest.ask("PUT", "/devices/rest-1", dict(shown, status="disabled"),
                      ("If-Match", '"*"'))
    assert banned.status == 200, banned
    assert client.wait_closed()
    wait_until(lambda: rest.ask("GET", "/devices/rest-1").json()["connectionState"] ==
               "Disconnected", "it is seen as gone")


def test_telemetry_over_https(hub, operator):
    """What a device posts is where operators find what others publish."""
    device = hub.device("https-1")
    sender = Rest(hub, device.hub_token())
    sent = sender.ask("POST", "/devices/https-1/messages/events", b"posted",
                      ("iothub-app-k", "v w"))
    assert sent.status == 204, sent
    topic, body, *_ = operator.message()
    assert topic.startswith(seen(hub, device)) and "k=v%20w" in topic
    assert body == b"posted"
    # An id that has no topics in MQTT can be heard too, and under no other device's name.
    Rest(hub).ask("PUT", "/devices/a%23b", {"deviceId": "a#b", "authentication": {
        "type": "sas", "symmetricKey": {"primaryKey": base64.b64encode(b"k" * 32).decode(),
                                        "secondaryKey": base64.b64encode(b"l" * 32).decode()}}})
    odd = Rest(hub, sas.hub_token(b"k" * 32, hub.name, "a#b"))
    assert odd.ask("POST", "/devices/a%23b/messages/events", b"odd").status == 204
    assert operator.message()[0].startswith(f"latchkey/{hub.name}/a%23b/messages/events/")


def test_largest_over_https(hub, operator):
    """Telemetry and a method's payload as large as they may be, and one byte more; nothing else."""
    device = hub.device("large-1")
    rest, sender = Rest(hub), Rest(hub, device.hub_token())
    path = "/devices/large-1/messages/events"
    largest = os.urandom(256 * 1024)
    assert sender.ask("POST", path, largest).status == 204
    assert operator.message()[1] == largest
    batch = [{"body": base64.b64encode(largest).decode(), "properties": {}}]
    assert sender.ask("POST", path, batch, content_type=BATCH).status == 204
    assert operator.message()[1] == largest
    over = sender.ask("POST", path, largest + b"x")
    assert over.status == 413 and over.header("iothub-errorcode") == "MessageTooLarge", over
    assert sender.ask("POST", path, length=384 * 1024 + 1).status == 413
    assert rest.ask("PUT", "/devices/large-1", length=96 * 1024 + 1).status == 413
    call = {"methodName": "m", "payload": "p" * (128 * 1024 - 2), "responseTimeoutInSeconds": 30}
    client = hub.broker.device(device)
    client.subscribe("$iothub/methods/POST/#", qos=0)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(rest.ask, "POST", "/twins/large-1/methods", call)
        topic, body, *_ = client.message()
        assert json.loads(body) == call["payload"]
        client.publish("$iothub/methods/res/200/?$rid=" + topic.split("$rid=")[1], b"1")
        assert answer.result(60).status == 200
    call["payload"] += "p"
    assert rest.ask("POST", "/twins/large-1/methods", call).status == 413
    client.drop()


def metrics(hub):
    text = hub.service.admin("GET", "/metrics")[1].decode()
    return {line.rsplit(" ", 1)[0]: int(line.rsplit(" ", 1)[1]) for line in text.splitlines()
            if line.startswith("latchkey_broker_")}


def test_metrics(own_hub):
    """Brokers, devices, log-ons by how they ended, messages by kind, what waits, and cut sessions."""
    hub = own_hub
    device, banned = hub.device("meter-1"), hub.device("meter-2")
    hub.service.cli("hub", "disable-device", hub.name, "meter-2")
    before = metrics(hub)
    assert before["latchkey_broker_links"] == 1 and before["latchkey_broker_sessions"] == 0
    wrong = sas.hub_token(b"x" * 32, hub.name, "meter-1")
    assert connect(hub, "meter-1", hub.broker.user_name("meter-1"), wrong) == REFUSED
    assert connect(hub, "meter-2", hub.broker.user_name("meter-2"), banned.hub_token()) == REFUSED
    client = hub.broker.device(device)
    client.subscribe("devices/meter-1/messages/devicebound/#", "$iothub/methods/POST/#",
                     TWIN + "/res/#", qos=1)
    hub.send(device, "hello")
    assert client.message()[1] == b"hello"
    client.publish(TWIN + "/GET/?$rid=1", b"")
    assert client.message()[0] == TWIN + "/res/200/?$rid=1"
    assert Rest(hub, device.hub_token()).ask("POST", "/devices/meter-1/messages/events",
                                             b"x").status == 204
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(Rest(hub).ask, "POST", "/twins/meter-1/methods",
                             {"methodName": "m", "responseTimeoutInSeconds": 60})
        topic = client.message()[0]
        now = metrics(hub)
        assert now["latchkey_broker_waiting"] == 1 and now["latchkey_broker_sessions"] == 1
        client.publish("$iothub/methods/res/200/?$rid=" + topic.split("$rid=")[1], b"1")
        assert answer.result(60).status == 200
    hub.service.cli("hub", "disable-device", hub.name, "meter-1")
    assert client.wait_closed()
    now = wait_until(lambda: metrics(hub) if metrics(hub)["latchkey_broker_sessions"] == 0 else None,
                     "the session is gone")
    name = "latchkey_broker_logins_total{result=\"%s\"}"
    assert {x: now[name % x] - before[name % x] for x in (
        "accepted", "refused_token", "refused_device", "refused_name", "failed")} == {
            "accepted": 1, "refused_token": 1, "refused_device": 1, "refused_name": 0, "failed": 0}
    name = "latchkey_broker_messages_total{kind=\"%s\"}"
    assert {x: now[name % x] - before[name % x] for x in (
        "cloud_to_device", "method", "telemetry", "request")} == {
            "cloud_to_device": 1, "method": 1, "telemetry": 1, "request": 2}
    assert now["latchkey_broker_sessions_cut_total"] == 1 and now["latchkey_broker_waiting"] == 0
    hub.broker.stop()
    wait_until(lambda: metrics(hub)["latchkey_broker_links"] == 0, "the broker is gone")


# ---- restarts


def test_service_restart(own_hub):
    """Connected devices stay, telemetry flows, new logins end without a verdict and succeed later;
    a ban and an update made meanwhile arrive."""
    hub = own_hub
    a, b, c = (hub.device(f"restart-{x}") for x in "abc")
    operator = hub.broker.operator()
    clients = {x: hub.broker.device(x) for x in (a, b)}
    for client in clients.values():
        client.subscribe(TWIN + "/res/#", TWIN + "/PATCH/properties/desired/#")
    hub.desired(a, n=0)
    assert json.loads(clients[a].message()[1])["n"] == 0
    hub.service.kill9()
    clients[a].publish(events(a), b"no service", qos=1)
    assert operator.message()[1] == b"no service"
    user = hub.broker.user_name(c.device_id)
    for _ in range(3):
        assert connect(hub, c.device_id, user, c.hub_token()) is None
    hub.service.cli("hub", "disable-device", hub.name, b.device_id)
    hub.desired(a, n=1)
    clients[a].publish(TWIN + "/GET/?$rid=waits", b"")
    assert clients[b].is_open()
    hub.service.start()
    assert clients[b].wait_closed()
    got = {clients[a].message()[0], clients[a].message()[0]}
    assert got == {TWIN + "/PATCH/properties/desired/?$version=3", TWIN + "/res/200/?$rid=waits"}
    hub.broker.device(c).disconnect()
    clients[a].ping()
    assert hub.show(a)["connected"] and not hub.show(b)["connected"]
    for client in clients.values():
        client.drop()


def test_broker_restart(own_hub):
    """Killed and started again, the broker is the hub again; messages that it lost come again."""
    hub = own_hub
    device = hub.device("broker-1")
    client = hub.broker.device(device, clean=False, acknowledge=False)
    client.subscribe(f"devices/{device.device_id}/messages/devicebound/#")
    hub.send(device, "kept")
    assert client.message()[1] == b"kept"
    wait_until(lambda: hub.show(device)["connected"], "it is seen")
    hub.broker.kill9()
    assert client.wait_closed()
    wait_until(lambda: not hub.show(device)["connected"], "it is seen as gone")
    hub.broker.start()
    client = hub.broker.device(device, clean=False)
    client.subscribe(f"devices/{device.device_id}/messages/devicebound/#")
    assert client.message()[1] == b"kept"
    client.disconnect()


def test_broker_reload(hub):
    """SIGHUP keeps devices whatever became of their tokens' passwords, and operators that still are."""
    device = hub.device("reload-1")
    token = sas.hub_token(device.key, hub.name, device.device_id, sas.in_s(3600))
    client, operator = hub.broker.device(device, token=token), hub.broker.operator()
    durable = hub.device("reload-2")
    hub.broker.device(durable, clean=False).drop()
    hub.broker.reload()
    client.publish(events(device), b"after", qos=1)
    assert operator.message()[1] == b"after"
    hub.broker.device(durable, clean=False).disconnect()
    client.disconnect()
    operator.disconnect()


def test_second_service_waits(own_hub, tmp_path):
    """Of two services with one socket the second takes over when the first ends."""
    hub = own_hub
    device = hub.device("standby-1")
    client = hub.broker.device(device)
    second = Service.__new__(Service)
    second.__dict__.update(hub.service.__dict__)
    second.config_path = os.path.join(hub.service.data, "second.conf")
    second.log_path = os.path.join(str(tmp_path), "second.log")
    with open(hub.service.config_path, encoding="utf-8") as file:
        text = file.read()
    with open(second.config_path, "w", encoding="utf-8") as file:
        file.write(text)
    second.configure(admin_listen="none")
    second.start(wait=False)
    wait_until(lambda: any(x.get("event") == "broker.waiting" for x in second.log()), "it waits")
    hub.service.stop()
    wait_until(lambda: any(x.get("event") == "broker.ready" for x in second.log()), "it takes over")
    client.ping()
    hub.broker.device(device).disconnect()
    assert second.process.close() == 0
    second.process = None


# ---- strangers


def test_stranger_at_the_socket(hub):
    """What is not the protocol ends a connection and nothing else."""
    import socket
    for junk in b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\x01\x05", b"\xff" * 64, b"\0\0\0\0" * 20:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(hub.broker.socket)
            peer.sendall(junk)
            peer.settimeout(30)
            assert peer.recv(100) == b""
    mode = os.stat(hub.broker.socket).st_mode & 0o777
    assert mode == 0o660
    device = hub.device("stranger-1")
    hub.broker.device(device).disconnect()


def test_refusals_are_logged(hub):
    """Each with its reason, without the token."""
    device = hub.device("log-1")
    token = sas.hub_token(b"x" * 32, hub.name, "log-1")
    time.sleep(1.1)
    assert connect(hub, "log-1", hub.broker.user_name("log-1"), token) == REFUSED
    lines = wait_until(lambda: [x for x in hub.service.log()
                                if x.get("event") == "hub.device_refused"
                                and x.get("device_id") == "log-1"], "it is in the log")
    assert lines[-1]["reason"] == "token.signature"
    for text in hub.service.log_text(), hub.broker.log_text():
        assert token not in text and device.hub_token()[-40:] not in text
