"""Real RabbitMQ as the broker of a hub: it asks the service about every device, over HTTPS."""
import base64
import hashlib
import itertools
import json
import os
import sys
import time
import zlib

import pytest

from lib import sas
from lib.netns import Network
from lib.process import wait_until
from lib.rabbitmq import RabbitMq
from lib.service import Service, program
from test_node_device import Device as NodeDevice

HERE = os.path.dirname(os.path.abspath(__file__))
SECRET = "9c1f6e0c2b7d4a58a3c5e1f0d2b4968790abcdef12345678"
PORT = 9465
REFUSED = 4  # CONNACK 4, as mosquitto's clients exit


class Stage:
    """One service with one RabbitMQ, in a network of their own."""

    def __init__(self, directory):
        (directory / "network").mkdir()
        self.directory = directory
        self.numbers = itertools.count()
        self.network = Network(str(directory / "network"), ["dps.example.test", "hub.example.test"])
        secret = directory / "secret"
        secret.write_text(SECRET + "\n")
        secret.chmod(0o600)
        self.service = Service(directory / "service", network=self.network,
                               listen=("127.0.0.1", 443), broker_listen=f"127.0.0.1:{PORT}",
                               broker_secret=secret)
        self.service.start()
        self.broker = RabbitMq(
            directory / "rabbitmq", self.network, self.service.hub,
            f"https://rabbitmq:{SECRET}@dps.example.test:{PORT}/auth/rabbitmq/{self.service.hub}",
            self.service.ca_file)

    def close(self):
        self.broker.close()
        self.service.stop()
        self.network.close()

    # ---- devices

    def register(self, name):
        """A device without a TPM, which registers with a key that it shares with the service."""
        key = hashlib.sha256(name.encode()).digest()
        path = self.directory / f"key-{next(self.numbers)}"
        path.write_text(base64.b64encode(key).decode())
        self.service.cli("enrollment", "add", "--registration-id", name, "--symmetric-key",
                         "--primary-key-file", path, "--device-id", name)
        resource = f"{self.service.scope}/registrations/{name}"
        token = sas.token(key, sas.escape(resource), sas.in_s(600), skn="registration")
        run = self.network.run(
            ["curl", "-sS", "--cacert", self.service.ca_file, "-X", "PUT", "-H",
             f"Authorization: {token}", "-H", "Content-Type: application/json", "-d",
             json.dumps({"registrationId": name}),
             f"https://{self.service.host}/{self.service.scope}/registrations/{name}/register"
             "?api-version=2021-06-01"])
        assert '"operationId"' in run.stdout, (run.stdout, run.stderr)
        return key

    def token(self, key, device_id, expiry=None, hub=None):
        return sas.hub_token(key, hub or self.service.hub, device_id, expiry)

    def argv(self, program, device_id, token, words, user=None, client_id=None):
        user = user or f"{self.service.hub}/{device_id}/?api-version=2021-04-12&DeviceClientType=x"
        return [program, "-h", self.service.hub, "-p", "8883", "--cafile", self.broker.ca_file,
                "-i", client_id or device_id, "-u", user, "-P", token, *words]

    def publish(self, device_id, token, topic, *words, **names):
        """The exit status of a client that publishes once with QoS 1."""
        run = self.network.run(self.argv("mosquitto_pub", device_id, token,
                                         ["-t", topic, "-m", "hello", "-q", "1", *words], **names))
        return run.returncode

    def subscribe(self, device_id, token, *filters, more=(), **names):
        """What a device gets: a running client and the file of what it printed."""
        path = self.directory / f"sub-{next(self.numbers)}"
        words = [word for f in filters for word in ("-t", f)]
        process = self.network.start(
            ["stdbuf", "-oL", *self.argv("mosquitto_sub", device_id, token,
                                         ["-q", "1", "-d", "-F", "%t %p", *words, *more], **names)],
            path, path)
        return process, path

    # ---- the operator

    def operator_publish(self, topic, body, *words):
        run = self.network.run(["mosquitto_pub", "-h", "127.0.0.1", "-u", "operator", "-P",
                                "secret", "-t", topic, "-m", body, "-q", "1", *words])
        assert run.returncode == 0, run.stderr

    def watch(self, *filters):
        path = self.directory / f"watch-{next(self.numbers)}"
        words = [word for f in filters for word in ("-t", f)]
        process = self.network.start(
            ["stdbuf", "-oL", "mosquitto_sub", "-h", "127.0.0.1", "-u", "operator", "-P", "secret",
             "-F", "%t %p", "-t", "ready", *words], path, path)
        wait_until(lambda: self.operator_publish("ready", "") or path.read_text(),
                   "the operator's client listens", every_s=0.3)
        return process, path


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    stage = Stage(tmp_path_factory.mktemp("rabbitmq"))
    yield stage
    stage.close()


@pytest.fixture
def devices(stage, request):
    """Two devices that are registered and let in: (name, key) each."""
    names = [f"rmq{letter}-{zlib.crc32(request.node.name.encode()):08x}" for letter in "ab"]
    return [(name, stage.register(name)) for name in names]


def events(name, bag=""):
    return f"devices/{name}/messages/events/{bag}"


def devicebound(name):
    return f"devices/{name}/messages/devicebound/#"


# ---- what works


def test_tpm_device(stage, tmp_path):
    """From the TPM to the operator: the key that came by the registration signs in the TPM."""
    network, service = stage.network, stage.service
    log = tmp_path / "swtpm.log"
    (tmp_path / "tpm").mkdir()
    tpm = network.start(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={tmp_path}/tpm",
                         "--server", "type=tcp,port=2321,disconnect", "--ctrl", "type=tcp,port=2322",
                         "--flags", "not-need-init,startup-clear"], log, log)

    def device(verb, *words):
        return network.run([program("latchkey"), "device", verb, "--tcti", "swtpm:port=2321",
                            *words])

    watcher, seen = stage.watch("devices/+/messages/events/#")
    try:
        manifest = tmp_path / "manifest.csv"
        manifest.write_text(wait_until(
            lambda: device("show", "--manifest", "csv", "--header").stdout, "the TPM answers"))
        service.cli("enrollment", "import", manifest)
        run = device("register", "--url", f"https://{service.host}", "--scope", service.scope,
                     "--ca-file", service.ca_file, "--json", "--quiet")
        assert run.returncode == 0, run.stderr
        (tmp_path / "hub.json").write_text(run.stdout)
        m = json.loads(device("connect", "--registration", tmp_path / "hub.json", "--json").stdout)
        topic = events(m["clientId"], "%24.ct=application%2Fjson")
        assert stage.publish(m["clientId"], m["password"], topic, user=m["userName"]) == 0
        # RabbitMQ's own: dots of a topic come out as slashes.
        wait_until(lambda: f"{topic.replace('.', '/')} hello\n" in seen.read_text(), "telemetry")
    finally:
        watcher.close()
        tpm.close()


def test_shared_key_device(stage, devices):
    """Telemetry goes out, a message for the device comes in, and only what is its own."""
    (name, key), (other, other_key) = devices
    watcher, seen = stage.watch("devices/#")
    mine, got = stage.subscribe(name, stage.token(key, name), devicebound(name))
    theirs, other_got = stage.subscribe(other, stage.token(other_key, other), devicebound(other))
    try:
        for path in got, other_got:
            wait_until(lambda: "Subscribed" in path.read_text(), "the device is there")
        stage.operator_publish(f"devices/{name}/messages/devicebound/a=b", "for you")
        wait_until(lambda: "a=b for you" in got.read_text(), "the message arrives")
        stage.operator_publish(f"devices/{other}/messages/devicebound/", "for the other")
        wait_until(lambda: "for the other" in other_got.read_text(), "the other's message")
        assert "for the other" not in got.read_text() and "for you" not in other_got.read_text()
    finally:
        mine.close()
        theirs.close()
    assert stage.publish(name, stage.token(key, name), events(name, "a=b&c")) == 0
    assert stage.publish(name, stage.token(key, name), events(name)[:-1]) == 0
    wait_until(lambda: events(name, "a=b&c hello\n") in seen.read_text(), "telemetry")
    watcher.close()


def test_node_sdk(stage, devices, node_modules):
    """The unmodified device SDK for Node: telemetry, a message for it, and the error of a wrong key."""
    (name, key), (_, other_key) = devices
    watcher, seen = stage.watch("devices/#")

    def connect(secret):
        device = NodeDevice(stage)
        answer = device.try_do("open", connectionString=(
            f"HostName={stage.service.hub};DeviceId={name};SharedAccessKey="
            f"{base64.b64encode(secret).decode()}"))
        return device, answer

    device, answer = connect(key)
    try:
        assert "error" not in answer, answer
        device.do("send", body="from Node", properties={"a": "b"}, id="7")
        wait_until(lambda: f"{events(name)}%24/mid=7&" in seen.read_text() and
                   "from Node" in seen.read_text(), "telemetry")
        device.do("onMessage")
        # The SDK does not tell when it has subscribed, and RabbitMQ keeps nothing until then.
        wait_until(lambda: stage.operator_publish(f"devices/{name}/messages/devicebound/a=b",
                                                  "to Node") or not device.events.empty(),
                   "the message", timeout_s=60, every_s=1)
        got = device.event("message")
        assert got["body"] == "to Node" and got["properties"] == [{"key": "a", "value": "b"}], got
    finally:
        device.end()
        watcher.close()
    device, answer = connect(other_key)
    device.end()
    assert answer["error"] == "UnauthorizedError", answer


def test_user_name_forms(stage, devices):
    """With a port, the older form, and in capital letters."""
    (name, key), _ = devices
    hub = stage.service.hub
    for user in (f"{hub}:8883/{name}/?api-version=2021-04-12", f"{hub}/{name}/api-version=2016-11-14",
                 f"{hub.upper()}/{name}/?api-version=2020-09-30"):
        assert stage.publish(name, stage.token(key, name), events(name), user=user) == 0, user


# ---- who is not let in


def test_refused(stage, devices):
    """Wrong key, other names, another hub, out of date, nothing at all: each is told to the log."""
    (name, key), (other, other_key) = devices
    hub = stage.service.hub
    good = stage.token(key, name)
    user = f"{hub}/{name}/?api-version=2021-04-12"
    cases = [
        ("token.signature", dict(token=stage.token(other_key, name))),
        ("token.resource", dict(token=stage.token(other_key, other))),
        ("client.client_id", dict(token=good, client_id=other)),
        ("client.client_id", dict(token=good, client_id=name.upper())),
        ("client.client_id", dict(token=good, user=f"{hub}/{other}/?api-version=2021-04-12")),
        ("client.hub", dict(token=good, user=f"other.test/{name}/?api-version=2021-04-12")),
        ("token.resource", dict(token=stage.token(key, name, hub="other.test"))),
        ("token.expired", dict(token=stage.token(key, name, expiry=sas.in_s(-400)))),
        ("client.user_name", dict(token=good, user=name)),
        ("client.user_name", dict(token=good, user=f"/:{user}")),
        ("token.malformed", dict(token="x")),
        ("device.unknown", dict(token=stage.token(key, "nobody"), client_id="nobody",
                                user=f"{hub}/nobody/?api-version=2021-04-12")),
    ]
    for reason, names in cases:
        seen = len(stage.service.log())
        token = names.pop("token")
        names.setdefault("user", user)
        assert stage.publish(name, token, events(name), **names) == REFUSED, (reason, names)
        lines = wait_until(lambda: [line for line in stage.service.log()[seen:]
                                    if line.get("broker") == "rabbitmq"], "a line in the log")
        assert {line["reason"] for line in lines} == {reason}, (reason, names, lines)
        time.sleep(0.2)  # the log's budget
    assert stage.publish(name, good, events(name)) == 0


def test_id_that_is_several_words(stage):
    """A '.' in an id would be a '/' to RabbitMQ: such a device is refused, and the log says so."""
    key = stage.register("rmq.dots")
    assert stage.publish("rmq.dots", stage.token(key, "rmq.dots"), events("rmq.dots")) == REFUSED
    assert any(line.get("reason") == "client.device_id" for line in stage.service.log())


def test_banned(stage, devices):
    """A disabled device is not let in, and no longer once its operator has cut it; enabled again,
    it comes back."""
    (name, key), _ = devices
    token = stage.token(key, name)
    assert stage.publish(name, token, events(name)) == 0
    client, got = stage.subscribe(name, token, devicebound(name))
    wait_until(lambda: "Subscribed" in got.read_text(), "the device is there")
    stage.service.cli("hub", "device", "disable", stage.service.hub, name)
    # Who connects by the same client ID takes its place, and RabbitMQ asks about who comes back.
    stage.operator_publish("cut", "", "-i", name)
    wait_until(lambda: f"CONNACK ({REFUSED})" in got.read_text() or not client.running(),
               "it is cut and not let in again")
    client.kill()
    assert stage.publish(name, token, events(name)) == REFUSED
    stage.service.cli("hub", "device", "enable", stage.service.hub, name)
    assert stage.publish(name, token, events(name)) == 0


def test_mqtt_only(stage, devices):
    """A device's token opens nothing but MQTT: no AMQP, where topics have other rules."""
    (name, key), _ = devices

    def log_on(user, password):
        run = stage.network.run([sys.executable, os.path.join(HERE, "lib/amqp_login.py"), user,
                                 password])
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    assert log_on("operator", "secret") == "in"
    user = f"{stage.service.hub}/{name}/?api-version=2021-04-12"
    assert log_on(user, stage.token(key, name)) == "refused"
    assert stage.service.log()[-1]["reason"] == "client.client_id"


# ---- what a device that is let in may not do


def test_topics_of_others(stage, devices):
    """Nothing that a device publishes outside its own telemetry gets anywhere."""
    (name, key), (other, _) = devices
    token = stage.token(key, name)
    watcher, seen = stage.watch("devices/#", "$iothub/#", "amq/#", "loose")
    try:
        for topic in (events(other), events(other, "a=b"), f"devices/{name}x/messages/events/",
                      f"devices/{name}", f"devices/{name}/messages/devicebound/",
                      f"devices/{other}/messages/devicebound/", "$iothub/twin/GET/?$rid=1",
                      "$iothub/methods/res/200/?$rid=1", "$iothub/methods/POST/x/?$rid=1", "loose",
                      f"devices.{other}.messages.events/"):
            assert stage.publish(name, token, topic) != 0, topic
        # The will of a client that is cut off is published, if anywhere, to its own topic.
        for topic, may in ((events(other, "will"), False), (events(name, "will"), True)):
            client, got = stage.subscribe(name, token, devicebound(name), more=[
                "--will-topic", topic, "--will-payload", "last words"])
            wait_until(lambda: "Subscribed" in got.read_text(), "the client is there")
            client.kill()
            if may:
                wait_until(lambda: f"{topic} last words" in seen.read_text(), "the will")
        stage.operator_publish("loose", "the operator's")
        wait_until(lambda: "the operator's" in seen.read_text(), "everything before has arrived")
        text = seen.read_text()
        assert "hello" not in text and f"{events(other)}will last" not in text, text
    finally:
        watcher.close()


def test_filters_of_others(stage, devices):
    """No subscription but its own gives a device anything."""
    (name, key), (other, _) = devices
    token = stage.token(key, name)
    filters = ["#", "+/#", "devices/#", "devices/+/messages/devicebound/#", devicebound(other),
               f"devices/{name}/#", f"devices/{name}/messages/#", events(name, "#"),
               events(other, "#"), f"devices/{name}/messages/devicebound/+", "$iothub/twin/res/#",
               "$iothub/methods/POST/#", f"$share/g/{devicebound(other)}", "devices/*/messages/#"]
    for wanted in filters:
        client, got = stage.subscribe(name, token, wanted)
        # A refusal is a closed connection here, after which this client tries again.
        wait_until(lambda: "SUBACK" in got.read_text() or
                   got.read_text().count("sending CONNECT") >= 2, wanted)
        stage.operator_publish(f"devices/{other}/messages/devicebound/x=y", "not for you")
        stage.operator_publish(events(other, "x=y"), "not for you either")
        time.sleep(0.3)
        client.kill()
        assert "not for you" not in got.read_text(), (wanted, got.read_text())


def test_service_away(stage, devices):
    """Nobody is let in while the service is away, and everybody again once it is back."""
    (name, key), _ = devices
    token = stage.token(key, name)
    stage.service.stop()
    assert stage.publish(name, token, events(name)) != 0
    stage.service.start()
    assert stage.publish(name, token, events(name)) == 0
