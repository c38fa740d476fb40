"""From a registration to MQTT: `latchkey device connect`, and the device in examples/."""
import json
import os
import subprocess
import sys
import time

import pytest

from lib.hubbroker import OPERATOR, OPERATOR_PASSWORD, HubBroker
from lib.mosquitto import Mosquitto, Operator
from lib.process import wait_until
from lib.service import BUILD, program
from lib.tpmdevice import TpmDevice

USAGE, DATA, UNAVAILABLE = 64, 65, 69
NAMES = ["HOST", "PORT", "CLIENT_ID", "USER_NAME", "PASSWORD", "RENEW", "EXPIRY"]


@pytest.fixture
def registered(module_service, make_swtpm, tmp_path):
    """A device of this service, and the file with what `device register --json` printed."""
    device = TpmDevice(module_service, make_swtpm("tpm", tcp=True))
    module_service.cli("enrollment", "add", "--ek", device.show()["endorsementKey"]["public"],
                       "--registration-id", device.show()["registrationId"])
    path = tmp_path / "registration.json"
    path.write_text(json.dumps(device.register()))
    return device, path


def test_settings(registered, module_service):
    """The same settings in each form; the password is one that the hub takes, and in no argument."""
    device, path = registered
    result = json.loads(path.read_text())
    before = int(time.time())
    shown = json.loads(device.latchkey("connect", "--registration", path, "--json").stdout)
    assert shown["host"] == module_service.hub and shown["port"] == 8883
    assert shown["clientId"] == result["deviceId"]
    assert shown["userName"].startswith(f"{module_service.hub}/{result['deviceId']}/?api-version=")
    assert before + 3600 <= shown["expiry"] <= int(time.time()) + 3600
    assert shown["renew"] == shown["expiry"] - 900
    assert module_service.accepts(shown["password"])

    names = ["--hub", result["assignedHub"], "--device-id", result["deviceId"]]
    printed = device.latchkey("connect", *names, "--port", "1234", "--ttl", "20", "--print").stdout
    script = printed + "".join(f'echo "$LATCHKEY_MQTT_{name}"\n' for name in NAMES)
    values = subprocess.run(["sh", "-eu"], input=script, capture_output=True, text=True,
                            timeout=30, check=True).stdout.splitlines()
    assert values[:4] == [shown["host"], "1234", shown["clientId"], shown["userName"]]
    assert module_service.accepts(values[4])
    assert int(values[6]) - int(values[5]) == 5

    look = ("import os, sys; p = os.environ['LATCHKEY_MQTT_PASSWORD']; print(sys.argv[1], p); "
            "sys.exit(8 if p in open('/proc/self/cmdline').read() else 7)")
    run = device.latchkey("connect", "--registration", path, "--client", "pump/2", "--",
                          sys.executable, "-c", look, "--json", check=False)
    assert run.returncode == 7, run.stderr
    word, password = run.stdout.split(" ", 1)
    assert word == "--json" and module_service.accepts(password.strip())


def test_settings_refused(registered, tmp_path):
    """What is missing, contradicts itself or is no registration is told."""
    device, path = registered
    other = tmp_path / "other.json"
    other.write_text('{"assignedHub": 7}')

    def refused(code, *words):
        run = device.latchkey("connect", *words, check=False)
        assert run.returncode == code, (words, run.returncode, run.stderr)
        assert run.stdout == "" and run.stderr.startswith("latchkey: "), (run.stdout, run.stderr)

    names = ["--hub", "hub.example.test", "--device-id", "d"]
    refused(USAGE, "--registration", path)
    refused(USAGE, "--registration", path, "--print", "--json")
    refused(USAGE, "--registration", path, "--json", "--", "true")
    refused(USAGE, "--print")
    refused(USAGE, "--hub", "h", "--print")
    refused(USAGE, "--registration", path, *names, "--print")
    refused(USAGE, *names, "--print", "--ttl", "19")
    refused(USAGE, *names, "--print", "--port", "65536")
    refused(USAGE, "--hub", "h:8883", "--device-id", "d", "--print")
    refused(DATA, "--registration", other, "--print")
    assert device.latchkey("connect", *names, "--", "/nonexistent", check=False).returncode != 0
    device.latchkey("forget")
    refused(UNAVAILABLE, *names, "--print")


class ExampleStage:
    """The device of examples/, with what it needs in a network: a TPM, and a service where it is
    enrolled. close() ends all that was started, the last first."""

    def __init__(self, network, make_service, directory):
        self.network, self.directory, self.started = network, directory, []
        log = directory / "swtpm.log"
        (directory / "tpm").mkdir()
        self.keep(network.start(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={directory}/tpm", "--server",
             "type=tcp,port=2321,disconnect", "--ctrl", "type=tcp,port=2322", "--flags",
             "not-need-init,startup-clear"], log, log))
        self.service = make_service(network=network)
        shown = wait_until(lambda: network.run(
            [program("latchkey"), "device", "show", "--manifest", "csv", "--header", "--tcti",
             "swtpm:port=2321"]).stdout, "the TPM answers")
        (directory / "manifest.csv").write_text(shown)
        self.service.cli("enrollment", "import", directory / "manifest.csv")
        self.device_id = shown.splitlines()[1].split(",")[0]
        self.out = directory / "device.out"

    def keep(self, process):
        self.started.insert(0, process)
        return process

    def run_device(self, broker_ca):
        """With tokens of twenty seconds, and trust in service and broker."""
        ca = self.directory / "both.pem"
        ca.write_text(open(self.service.ca_file).read() + open(broker_ca).read())
        return self.keep(self.network.start(
            [os.path.join(BUILD, "examples/example-device"), self.service.url, self.service.scope,
             ca, "20"], self.out, self.directory / "device.err"))

    def says(self, words, times=1):
        wait_until(lambda: self.out.read_text().count(words) >= times, words, timeout_s=120)

    def close(self):
        for process in self.started:
            try:
                process.close()
            except AssertionError:
                process.kill()


@pytest.fixture
def example(network, make_service, tmp_path):
    stage = ExampleStage(network, make_service, tmp_path)
    yield stage
    stage.close()


def test_example_device(example):
    """The whole device: telemetry, a method, a desired property, and a token that is renewed."""
    broker = example.keep(Mosquitto(example.directory / "broker", example.network,
                                    example.service.hub))
    telemetry = example.keep(broker.operator.subscribe("devices/+/messages/events/#"))
    results = example.keep(broker.operator.subscribe("$iothub/methods/res/#"))
    device = example.run_device(broker.ca_file)
    topic, body = telemetry.find("devices/")
    assert topic == f"devices/{example.device_id}/messages/events/%24.ct=application%2Fjson"
    assert 20 <= json.loads(body)["temperature"] < 25
    broker.operator.publish("$iothub/methods/POST/blink/?$rid=7a", "{}")
    assert results.find("$iothub/methods/res/") == ("$iothub/methods/res/200/?$rid=7a",
                                                    '{"done":true}')
    broker.operator.publish("$iothub/twin/PATCH/properties/desired/?$version=2", '{"rate":9}')
    example.says('{"rate":9}')
    example.says("connect: ", times=2)
    sent = len(telemetry.lines())
    wait_until(lambda: len(telemetry.lines()) > sent, "telemetry goes on", timeout_s=60)
    assert device.running(), (example.directory / "device.err").read_text()


def test_example_device_at_a_hub(example):
    """The same at our own hub: the token of the TPM lets it in, a renewed one too, none after a ban.
    In between its operator wishes for a property."""
    service, hub = example.service, example.service.hub
    name = example.device_id
    broker = HubBroker(example.directory / "broker", service, network=example.network,
                       device_port=8883)
    service.stop()
    service.configure(mqtt_socket=broker.socket)
    service.start()
    broker.start()
    try:
        broker.wait_service()
        operator = Operator(broker.directory, example.network, "-p", str(broker.operator_port),
                            "-u", OPERATOR, "-P", OPERATOR_PASSWORD)
        telemetry = example.keep(operator.subscribe("latchkey/#"))
        device = example.run_device(broker.ca_file)
        topic, body = telemetry.find(f"latchkey/{hub}/{name}/messages/events/")
        assert topic.endswith("/messages/events/%24.ct=application%2Fjson"), topic
        assert 20 <= json.loads(body)["temperature"] < 25
        service.cli("hub", "twin", "set", hub, name,
                    input='{"properties":{"desired":{"rate":9}}}')
        example.says('"rate":9')
        example.says("connect: Connection Accepted.", times=2)
        sent = len(telemetry.lines())
        wait_until(lambda: len(telemetry.lines()) > sent, "telemetry goes on", timeout_s=60)
        service.cli("hub", "device", "disable", hub, name)
        example.says("connect: Connection Refused")
        assert device.running(), (example.directory / "device.err").read_text()
    finally:
        for process in example.started[:2]:
            process.close()
        broker.stop()
