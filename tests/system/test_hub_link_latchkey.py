"""Hubs elsewhere that are another Latchkey's: two services, one device, and its data on the way."""
import base64
import json
import os

import pytest

from lib import dialects, sas
from lib.device import Device
from lib.hubdouble import certificate
from lib.https import Connection, request
from lib.process import wait_until
from lib.service import Service
from lib.softtpm import SoftTpm

NODE = dialects.Node()
WEST = "west.example.test"
SLOW_S = 90


class Remote(Service):
    """The service that the hub belongs to; its certificate is the hub's."""

    def __init__(self, directory, **settings):
        super().__init__(directory, **settings)
        self.hub_ca, key = certificate(self.directory, WEST)
        self.configure(tls_cert=self.hub_ca, tls_key=key)
        self.cli("hub", "add", WEST)
        self.cli("hub", "policy", "add", WEST, "linker", "--rights",
                 "RegistryRead,RegistryWrite,ServiceConnect")
        shown = self.cli("hub", "policy", "show", WEST, "linker", "--connection-string").stdout
        self.connection_string = (shown.strip().rstrip(";")
                                  + ";GatewayHostName=127.0.0.1:%d" % self.address[1])

    def ask(self, method, path, body=None, **headers):
        """A call of the registry as an operator of the hub makes it."""
        fields = dict(part.split("=", 1) for part in self.connection_string.split(";"))
        token = sas.token(base64.b64decode(fields["SharedAccessKey"]), sas.escape(WEST),
                          sas.in_s(600), fields["SharedAccessKeyName"])
        data = b"" if body is None else json.dumps(body).encode()
        with Connection(self.address, self.hub_ca, WEST) as connection:
            return connection.ask(request(
                method, path + "?api-version=2021-04-12",
                [("Host", WEST), ("Authorization", token), ("Content-Type", "application/json"),
                 ("Content-Length", str(len(data))), *headers.items()], data))


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    made = Remote(tmp_path_factory.mktemp("remote")).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory, remote):
    directory = tmp_path_factory.mktemp("service")
    made = Service(directory, hub_call_ms=3000)
    string = os.path.join(str(directory), "string")
    with open(string, "w", encoding="utf-8") as file:
        file.write(remote.connection_string)
    made.cli("hub", "add", WEST, "--connection-string", string, "--ca-file", remote.hub_ca,
             "--no-allocation")
    made.start()
    yield made
    made.stop()


class Device2(Device):
    """One that waits longer: its hub is two services away."""

    def poll(self, flow, token, deadline_s=SLOW_S):
        return super().poll(flow, token, deadline_s)


def enrolled(service, name, hub, *more):
    device = Device2(service, name, SoftTpm("ecc"), NODE)
    service.enroll(device, "--allocation", "static", "--hub", hub, *more)
    return device


def test_the_hub_answers(service):
    assert "accepts this service: 0 devices" in service.cli("hub", "test", WEST).stdout


def test_registers_and_connects(service, remote):
    """The key in the device's TPM is the one that the other service has, also after a re-registration,
    and the one before it is good until the next."""
    device = enrolled(service, "far-1", WEST)
    state = device.register()
    assert (state["assignedHub"], state["substatus"]) == (WEST, "initialAssignment")
    first = device.key
    assert remote.accepts(device.hub_token(), WEST)
    state = device.register()
    assert state["substatus"] == "reprovisionedToInitialAssignment"
    assert device.key != first
    assert remote.accepts(device.hub_token(first), WEST)
    assert remote.accepts(device.hub_token(), WEST)

    device.tpm.clear()
    before = device.key
    device.register()
    assert remote.accepts(device.hub_token(), WEST)
    assert not remote.accepts(device.hub_token(before), WEST)


def test_disabled_at_its_hub_stays_so(service, remote):
    device = enrolled(service, "far-disabled", WEST)
    device.register()
    shown = remote.ask("GET", "/devices/far-disabled").json()
    assert remote.ask("PUT", "/devices/far-disabled", dict(shown, status="disabled"),
                      **{"If-Match": '"*"'}).status == 200
    device.register()
    shown = remote.ask("GET", "/devices/far-disabled").json()
    assert shown["status"] == "disabled"
    assert base64.b64decode(shown["authentication"]["symmetricKey"]["primaryKey"]) == device.key
    assert not remote.accepts(device.hub_token(), WEST)


def test_moves_with_its_data(service, remote):
    """There, with the initial twin; back, with what it has become; and there again."""
    twin = os.path.join(service.directory, "twin.json")
    with open(twin, "w", encoding="utf-8") as file:
        json.dump({"tags": {"site": "a"}, "properties": {"desired": {"n": 1}}}, file)
    device = enrolled(service, "far-moves", WEST, "--initial-twin", twin)
    device.register()
    kept = remote.ask("GET", "/twins/far-moves").json()
    assert (kept["tags"], kept["properties"]["desired"]["n"]) == ({"site": "a"}, 1)
    assert remote.ask("PATCH", "/twins/far-moves", {"tags": {"floor": 3}, "properties": {
        "desired": {"n": 2, "deep": {"er": [1, 2]}}}}).status == 200

    service.cli("enrollment", "set", "far-moves", "--hub", service.hub)
    state = device.register()
    assert (state["assignedHub"], state["substatus"]) == (service.hub, "deviceDataMigrated")
    assert service.accepts(device.hub_token())
    wait_until(lambda: remote.ask("GET", "/devices/far-moves").status == 404,
               "the old identity is gone", SLOW_S, every_s=0.3)

    service.cli("enrollment", "set", "far-moves", "--hub", WEST)
    state = device.register()
    assert (state["assignedHub"], state["substatus"]) == (WEST, "deviceDataMigrated")
    assert remote.accepts(device.hub_token(), WEST)
    kept = remote.ask("GET", "/twins/far-moves").json()
    desired = {name: value for name, value in kept["properties"]["desired"].items()
               if not name.startswith("$")}
    assert kept["tags"] == {"site": "a", "floor": 3}
    assert desired == {"n": 2, "deep": {"er": [1, 2]}}


def test_the_hub_is_killed(service, remote):
    """kill -9 of the service that has the hub, with devices waiting: all get there."""
    devices = [enrolled(service, f"far-killed-{i}", WEST) for i in range(4)]
    remote.kill9()
    flows = []
    for device in devices:
        flow = device.flow()
        token = NODE.token(flow, device.challenge(flow))
        device.authorise(flow, token)
        flows.append((device, flow, token))
    remote.start()
    for device, flow, token in flows:
        device.poll(flow, token)
        device.close()
        assert remote.accepts(device.hub_token(), WEST)


def test_a_key_that_is_rolled(service, remote):
    """The policy's key is replaced: devices wait until the operator has brought the new one."""
    device = enrolled(service, "far-rolled", WEST)
    remote.cli("hub", "policy", "roll", WEST, "linker", "--primary")
    flow = device.flow()
    token = NODE.token(flow, device.challenge(flow))
    device.authorise(flow, token)
    wait_until(lambda: any(line["event"] == "hub.errand_failed" and line["error"] == "refused"
                           for line in service.log()), "the hub refuses", SLOW_S)
    failed = service.cli("hub", "test", WEST, check=False)
    assert failed.returncode == 77 and "credential" in failed.stderr
    shown = remote.cli("hub", "policy", "show", WEST, "linker", "--connection-string").stdout
    remote.connection_string = (shown.strip().rstrip(";")
                                + ";GatewayHostName=127.0.0.1:%d" % remote.address[1])
    service.cli("hub", "set", WEST, "--connection-string", "-", "--ca-file", remote.hub_ca,
                input=remote.connection_string)
    device.poll(flow, token)
    device.close()
    assert remote.accepts(device.hub_token(), WEST)
