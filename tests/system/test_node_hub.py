"""The unmodified hub SDK for Node against a hub of latchkeyd: rows 1 to 6, 10 and 11 of iot-hub.md
section 10."""
import json
import subprocess

import pytest

from lib.node import command, env_of
from lib.process import wait_until
from lib.service import Service
from test_node_device import Device
from test_node_device import Hub as DeviceHub


class Registry:
    """Calls of azure-iothub under a policy's connection string: one process for all."""

    def __init__(self, service, policy="iothubowner"):
        self.service = service
        text = service.cli("hub", "policy", "show", service.hub, policy,
                           "--connection-string").stdout.strip()
        self.process = subprocess.Popen(
            service.network.command(command("hub_calls.js", text)), env=env_of(service),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **line):
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, (line, self.process.poll(), self.service.log_text()[-3000:])
        return json.loads(answer)

    def ok(self, method, *args):
        answer = self.ask(call=method, args=args)
        assert "error" not in answer, (method, args, answer)
        return answer.get("result")

    def refused(self, method, *args):
        answer = self.ask(call=method, args=args)
        assert "error" in answer, (method, args, answer)
        return answer["error"]

    def twins(self, text, page_size):
        return self.ask(query=text, pageSize=page_size)["pages"]

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(20)


@pytest.fixture
def service(tmp_path, network):
    service = Service(tmp_path / "service", network=network, listen=("127.0.0.1", 443))
    service.cli("hub", "policy", "add", service.hub, "iothubowner")
    service.start()
    yield service
    service.stop()


@pytest.fixture
def registry(node_modules, service):
    registry = Registry(service)
    yield registry
    registry.close()


def test_create_and_get(registry):
    """Row 1: create, create again, get; keys are generated."""
    made = registry.ok("create", {"deviceId": "dev-1"})
    assert made["authentication"]["symmetricKey"]["primaryKey"]
    again = registry.refused("create", {"deviceId": "dev-1"})
    assert (again["name"], again["status"]) == ("DeviceAlreadyExistsError", 409), again
    assert registry.ok("get", "dev-1")["etag"] == made["etag"]
    missing = registry.refused("get", "Dev-1")
    assert (missing["name"], missing["status"]) == ("DeviceNotFoundError", 404), missing


def test_update_and_delete(registry):
    """Row 2: If-Match with quotes around the star, and the body of a 404."""
    made = registry.ok("create", {"deviceId": "dev-2", "status": "enabled"})
    made["status"] = "disabled"
    assert registry.ok("update", made)["status"] == "disabled"
    registry.ok("delete", "dev-2")
    missing = registry.refused("delete", "dev-2")
    assert (missing["name"], missing["status"]) == ("DeviceNotFoundError", 404), missing
    assert json.loads(missing["body"])["Message"].startswith("ErrorCode:DeviceNotFound;")


def test_bulk(registry):
    """Row 3: add, update and remove, forced and on condition of an etag."""
    ids = [f"bulk-{i}" for i in range(20)]
    result = registry.ok("addDevices", [{"deviceId": i} for i in ids])
    assert result["isSuccessful"] is True, result
    devices = [registry.ok("get", i) for i in ids]
    result = registry.ok("updateDevices", [{**d, "status": "disabled"} for d in devices], False)
    assert result["isSuccessful"] is True, result
    stale = registry.refused("updateDevices", devices, False)
    assert stale["status"] == 400, stale
    errors = json.loads(stale["body"])["errors"]
    assert {e["errorCode"] for e in errors} == {"PreconditionFailed"} and len(errors) == 20
    assert registry.ok("updateDevices", devices, True)["isSuccessful"] is True
    assert registry.ok("get", ids[0])["status"] == "enabled"
    assert registry.refused("removeDevices", devices, False)["status"] == 400
    assert registry.ok("removeDevices", devices, True)["isSuccessful"] is True
    assert registry.refused("get", ids[0])["status"] == 404


def test_query(registry):
    """Row 4: pages of twins until there are no more."""
    ids = [f"query-{i}" for i in range(5)]
    registry.ok("addDevices", [{"deviceId": i} for i in ids])
    pages = registry.twins("SELECT * FROM devices", 2)
    assert [len(page) for page in pages] == [2, 2, 1], pages
    assert [twin["deviceId"] for page in pages for twin in page] == ids
    (page,) = registry.twins("SELECT * FROM devices WHERE deviceId = 'query-3'", 2)
    assert [twin["deviceId"] for twin in page] == ["query-3"]
    bad = registry.ask(query="SELECT name FROM devices", pageSize=2)["error"]
    assert (bad["name"], bad["status"]) == ("ArgumentError", 400), bad


def test_twins(registry):
    """Row 5: read, merge, and a stale etag."""
    registry.ok("create", {"deviceId": "twin-1"})
    twin = registry.ok("getTwin", "twin-1")
    assert twin["properties"]["desired"]["$version"] == 1
    patch = {"tags": {"site": "north"}, "properties": {"desired": {"rate": 5}}}
    after = registry.ok("updateTwin", "twin-1", patch, twin["etag"])
    assert after["tags"] == {"site": "north"} and after["properties"]["desired"]["rate"] == 5
    stale = registry.refused("updateTwin", "twin-1", patch, twin["etag"])
    assert (stale["name"], stale["status"]) == ("InvalidEtagError", 412), stale
    after = registry.ok("updateTwin", "twin-1", {"tags": {"site": None}}, "*")
    assert after["tags"] == {}
    assert registry.refused("getTwin", "twin-2")["name"] == "DeviceNotFoundError"


def test_list_and_statistics(registry):
    """Row 6: the list with a slash at its end, and what is counted."""
    registry.ok("addDevices", [{"deviceId": "a"}, {"deviceId": "b", "status": "disabled"}])
    assert [device["deviceId"] for device in registry.ok("list")] == ["a", "b"]
    assert registry.ok("getRegistryStatistics") == {
        "totalDeviceCount": 2, "enabledDeviceCount": 1, "disabledDeviceCount": 1}


def test_rights(registry, service):
    """A policy that only reads is told so as the SDK tells it."""
    service.cli("hub", "policy", "add", service.hub, "registryRead")
    registry.ok("create", {"deviceId": "dev-1"})
    reader = Registry(service, "registryRead")
    try:
        assert reader.ok("get", "dev-1")["deviceId"] == "dev-1"
        assert reader.refused("create", {"deviceId": "dev-2"})["name"] == "UnauthorizedError"
        assert reader.refused("getTwin", "dev-1")["name"] == "UnauthorizedError"
    finally:
        reader.close()


def test_method_of_a_device_that_there_is_not(registry):
    """It is told as that, and not as one that is off."""
    missing = registry.ask(invoke="dev-2", params={"methodName": "reboot"})
    assert missing["error"]["name"] == "DeviceNotFoundError", missing


# ---- with a broker and the unmodified device SDK behind it


def test_methods_and_messages_from_sdk_to_sdk(tmp_path, network, node_modules):
    """Rows 10 and 11: a method is called by one SDK and answered by the other, a message is taken;
    a device that is off is told as that."""
    hub = DeviceHub(tmp_path, network)
    hub.service.cli("hub", "policy", "add", hub.name, "iothubowner")
    registry, device = Registry(hub.service), Device(hub)
    try:
        made = registry.ok("create", {"deviceId": "node-1"})
        key = made["authentication"]["symmetricKey"]["primaryKey"]
        off = registry.ask(invoke="node-1", params={"methodName": "reboot"})["error"]
        assert off["status"] == 404 and "DeviceNotOnline" in off["body"], off
        device.do("open", connectionString=f"HostName={hub.name};DeviceId=node-1;"
                                           f"SharedAccessKey={key}")
        device.do("onMethod", name="reboot", status=207, payload={"done": [1, None]})
        device.do("onMessage")

        def call():
            answer = registry.ask(invoke="node-1", params={
                "methodName": "reboot", "payload": {"delay": 5}, "responseTimeoutInSeconds": 20})
            return answer if "error" not in answer else None

        answer = wait_until(call, "the device listens for methods", timeout_s=60, every_s=1)
        assert answer["result"] == {"status": 207, "payload": {"done": [1, None]}}
        method = device.event("method")
        assert (method["name"], method["payload"]) == ("reboot", {"delay": 5})
        hub.service.cli("hub", "message", "send", hub.name, "node-1", "--property", "k=v",
                        "--message-id", "m-1", input="hello")
        got = device.event("message")
        assert (got["body"], got["id"]) == ("hello", "m-1")
        assert {"key": "k", "value": "v"} in got["properties"]
        assert registry.ok("get", "node-1")["connectionState"] == "Connected"
        registry.ok("delete", "node-1")
        device.event("disconnect")
    finally:
        device.end()
        registry.close()
        hub.close()
