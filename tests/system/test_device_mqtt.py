"""From a registration to MQTT: `latchkey device connect`, and the device in examples/."""
import json
import os
import subprocess
import sys
import time

import pytest

from lib.mosquitto import Mosquitto
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


def test_example_device(network, make_service, tmp_path):
    """The whole device: telemetry, a method, a desired property, and a token that is renewed."""
    log = tmp_path / "swtpm.log"
    (tmp_path / "tpm").mkdir()
    tpm = network.start(["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={tmp_path}/tpm",
                         "--server", "type=tcp,port=2321,disconnect", "--ctrl", "type=tcp,port=2322",
                         "--flags", "not-need-init,startup-clear"], log, log)
    started = [tpm]
    try:
        service = make_service(network=network)
        shown = wait_until(lambda: network.run(
            [program("latchkey"), "device", "show", "--manifest", "csv", "--header", "--tcti",
             "swtpm:port=2321"]).stdout, "the TPM answers")
        (tmp_path / "manifest.csv").write_text(shown)
        service.cli("enrollment", "import", tmp_path / "manifest.csv")
        broker = Mosquitto(tmp_path / "broker", network, service.hub)
        started.insert(0, broker)
        telemetry = broker.subscribe("devices/+/messages/events/#")
        started.insert(0, telemetry)
        results = broker.subscribe("$iothub/methods/res/#")
        started.insert(0, results)

        ca = tmp_path / "both.pem"
        ca.write_text(open(service.ca_file).read() + open(broker.ca_file).read())
        out = tmp_path / "device.out"
        device = network.start([os.path.join(BUILD, "examples/example-device"), service.url,
                                service.scope, ca, "20"], out, tmp_path / "device.err")
        started.insert(0, device)

        topic, body = telemetry.find("devices/")
        registration_id = shown.splitlines()[1].split(",")[0]
        assert topic == f"devices/{registration_id}/messages/events/%24.ct=application%2Fjson"
        assert 20 <= json.loads(body)["temperature"] < 25
        broker.publish("$iothub/methods/POST/blink/?$rid=7a", "{}")
        assert results.find("$iothub/methods/res/") == ("$iothub/methods/res/200/?$rid=7a",
                                                        '{"done":true}')
        broker.publish("$iothub/twin/PATCH/properties/desired/?$version=2", '{"rate":9}')
        wait_until(lambda: '{"rate":9}' in out.read_text(), "the desired property arrives")
        wait_until(lambda: out.read_text().count("connect: ") >= 2, "the token is renewed",
                   timeout_s=120)
        sent = len(telemetry.lines())
        wait_until(lambda: len(telemetry.lines()) > sent, "telemetry goes on", timeout_s=60)
        assert device.running(), (tmp_path / "device.err").read_text()
    finally:
        for process in started:
            try:
                process.close()
            except AssertionError:
                process.kill()
