"""latchkey hub device, twin and message, against a hub whose service runs."""
import base64
import json

import pytest

from lib.hubapi import Hub

NOT_FOUND, USAGE = 69, 64


@pytest.fixture(scope="module")
def service(module_service):
    module_service.cli("hub", "policy", "add", module_service.hub, "iothubowner")
    return module_service


@pytest.fixture(scope="module")
def hub(service):
    return Hub(service)


def cli(service, *words, **kwargs):
    return service.cli("hub", *words, **kwargs)


def audit(service, action, subject):
    lines = service.cli("audit", "list", "--json").stdout.splitlines()
    records = [json.loads(line) for line in lines]
    return [r for r in records if r["action"] == action and r["subject"] == subject]


def test_a_device_by_hand(service, hub, tmp_path):
    """Added, shown, let in by its key, disabled, enabled, removed; each is on record."""
    cli(service, "device", "add", service.hub, "cli-1", "--iot-edge")
    assert cli(service, "device", "add", service.hub, "cli-1", check=False).returncode != 0
    shown = json.loads(cli(service, "device", "show", service.hub, "cli-1", "--json").stdout)
    assert shown["enabled"] and shown["authentication"] == "sas" and shown["connected"] is False
    assert shown["messages"] == 0
    device = hub.device("GET", "cli-1").json()
    assert device["capabilities"] == {"iotEdge": True}
    keys = device["authentication"]["symmetricKey"]
    assert cli(service, "device", "key", service.hub, "cli-1").stdout.strip() == keys["primaryKey"]
    assert cli(service, "device", "key", service.hub, "cli-1",
               "--secondary").stdout.strip() == keys["secondaryKey"]
    text = cli(service, "device", "key", service.hub, "cli-1", "--connection-string").stdout.strip()
    assert text == f"HostName={service.hub};DeviceId=cli-1;SharedAccessKey={keys['primaryKey']}"
    told = json.loads(cli(service, "device", "key", service.hub, "cli-1", "--json").stdout)
    assert told == {"hub": service.hub, "deviceId": "cli-1", "key": "primary",
                    "deviceKey": keys["primaryKey"]}
    told = json.loads(cli(service, "device", "key", service.hub, "cli-1", "--secondary", "--json",
                          "--connection-string").stdout)
    assert told["key"] == "secondary"
    assert told["connectionString"].endswith(f";SharedAccessKey={keys['secondaryKey']}")
    assert cli(service, "device", "key", service.hub, "cli-1", "--roll", "--json",
               check=False).returncode == 64
    assert len(audit(service, "hub.device.reveal", "cli-1")) == 5
    everything = cli(service, "device", "show", service.hub, "cli-1").stdout + service.cli(
        "audit", "list", "--json").stdout
    assert keys["primaryKey"] not in everything
    token = hub.device_token(device)
    assert service.accepts(token)
    cli(service, "device", "disable", service.hub, "cli-1")
    assert not service.accepts(token)
    cli(service, "device", "enable", service.hub, "cli-1")
    assert service.accepts(token)
    cli(service, "device", "key", service.hub, "cli-1", "--roll")
    assert not service.accepts(token)
    after = hub.device("GET", "cli-1").json()["authentication"]["symmetricKey"]
    assert after["secondaryKey"] == keys["secondaryKey"] != after["primaryKey"]
    listed = [json.loads(line) for line in
              cli(service, "device", "list", service.hub, "--json").stdout.splitlines()]
    assert "cli-1" in [row["deviceId"] for row in listed]
    cli(service, "device", "remove", service.hub, "cli-1")
    assert hub.device("GET", "cli-1").status == 404
    for action in ("create", "disable", "enable", "update", "remove"):
        assert audit(service, f"hub.device.{action}", "cli-1"), action


def test_keys_that_are_brought(service, hub, tmp_path):
    """From files; what is no key, or both kinds of proof, is refused."""
    key = base64.b64encode(bytes(range(16))).decode()
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text(key + "\n")
    bad.write_text("AAAA\n")
    cli(service, "device", "add", service.hub, "cli-2", "--primary-key-file", good, "--disabled")
    device = hub.device("GET", "cli-2").json()
    assert device["authentication"]["symmetricKey"]["primaryKey"] == key
    assert device["status"] == "disabled"
    for words in (("--primary-key-file", bad), ("--primary-key-file", tmp_path / "none"),
                  ("--thumbprint", "abc"), ("--thumbprint", "ab" * 20, "--primary-key-file", good)):
        assert cli(service, "device", "add", service.hub, "cli-3", *words,
                   check=False).returncode != 0, words
    cli(service, "device", "add", service.hub, "cli-3", "--thumbprint", "ab" * 20)
    assert hub.device("GET", "cli-3").json()["authentication"]["type"] == "selfSigned"
    assert cli(service, "device", "key", service.hub, "cli-3", check=False).returncode != 0


def test_twin(service, hub):
    """Merged, replaced, on condition; what the device reported is not an operator's to change."""
    cli(service, "device", "add", service.hub, "cli-4")
    cli(service, "twin", "set", service.hub, "cli-4", input=json.dumps(
        {"tags": {"site": "north", "floor": 3}, "properties": {"desired": {"rate": 5}}}))
    shown = json.loads(cli(service, "twin", "show", service.hub, "cli-4").stdout)
    assert shown["tags"] == {"site": "north", "floor": 3}
    assert shown["properties"]["desired"]["rate"] == 5
    assert hub.ask("GET", "/twins/cli-4").json()["etag"] == shown["etag"]
    cli(service, "twin", "set", service.hub, "cli-4", "--etag", shown["etag"],
        input='{"tags":{"floor":null}}')
    stale = cli(service, "twin", "set", service.hub, "cli-4", "--etag", shown["etag"],
                input='{"tags":{}}', check=False)
    assert stale.returncode != 0 and stale.stderr
    cli(service, "twin", "set", service.hub, "cli-4", "--replace", input='{"tags":{"new":1}}')
    assert hub.ask("GET", "/twins/cli-4").json()["tags"] == {"new": 1}
    for text in ("", "[]", "{}", '{"tags":{"a.b":1}}', '{"tags":7}'):
        run = cli(service, "twin", "set", service.hub, "cli-4", input=text, check=False)
        assert run.returncode != 0 and "latchkey:" in run.stderr, text
    assert len(audit(service, "hub.twin.update", "cli-4")) == 3
    assert cli(service, "twin", "show", service.hub, "nobody", check=False).returncode == NOT_FOUND


def test_message(service, hub, tmp_path):
    """What is queued by hand is what the device takes."""
    cli(service, "device", "add", service.hub, "cli-5")
    body = tmp_path / "body"
    body.write_bytes(b"\x00\xffhello")
    cli(service, "message", "send", service.hub, "cli-5", "--body-file", body, "--property",
        "Alert=a & b=c", "--message-id", "m-1", "--content-type", "application/octet-stream")
    device = hub.device("GET", "cli-5").json()
    assert device["cloudToDeviceMessageCount"] == 1
    answer = hub.ask("GET", "/devices/cli-5/messages/devicebound", token=hub.device_token(device))
    assert answer.body == b"\x00\xffhello"
    assert answer.header("iothub-app-alert") == "a & b=c"
    assert answer.header("iothub-messageid") == "m-1"
    assert answer.header("iothub-contenttype") == "application/octet-stream"
    body.write_bytes(b"x" * (64 * 1024 + 1))
    for words in (("--body-file", body), ("--property", "novalue"), ("--property", "$.x=1"),
                  ("--expires-s", "0"), ("--expires-s", "172801")):
        assert cli(service, "message", "send", service.hub, "cli-5", *words, input="x",
                   check=False).returncode != 0, words
    assert cli(service, "message", "send", service.hub, "nobody", input="x",
               check=False).returncode == NOT_FOUND
    for _ in range(49):
        cli(service, "message", "send", service.hub, "cli-5", input="x")
    full = cli(service, "message", "send", service.hub, "cli-5", input="x", check=False)
    assert full.returncode != 0 and "50" in full.stderr, full


def test_mistakes(service):
    """A hub that there is not, an id that no device can have, a command that there is not."""
    for words in (("device", "show", "no.hub.example", "dev"), ("twin", "show", "no.hub.example", "d"),
                  ("device", "key", service.hub, "nobody")):
        assert cli(service, *words, check=False).returncode == NOT_FOUND, words
    for words in (("device",), ("device", "sing"), ("twin", "set"), ("message", "send", service.hub),
                  ("device", "key", service.hub, "a b")):
        assert cli(service, *words, check=False).returncode == USAGE, words
    assert "device" in cli(service, "--help").stdout
    assert "show-device" not in cli(service, "--help").stdout
    assert cli(service, "devices", service.hub).stdout == cli(service, "device", "list",
                                                              service.hub).stdout
