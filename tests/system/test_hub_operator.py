"""What an operator does to devices at an embedded hub: bans, access policies, whose a device ID is."""
import base64
import hmac
import json

import pytest

from lib import sas
from lib.device import Device, NotRegistered
from lib.https import Connection
from lib.softtpm import SoftTpm

NOT_FOUND, EXISTS, USAGE = 69, 73, 64


@pytest.fixture(scope="module")
def service(module_service):
    return module_service


def enrolled(service, name, *more):
    device = Device(service, name, SoftTpm("ecc"))
    service.enroll(device, *more)
    return device


def rows(service, *words):
    return [json.loads(line) for line in service.cli(*words, "--json").stdout.splitlines()]


def audit(service, action, subject):
    return [row for row in rows(service, "audit", "list")
            if row["action"] == action and row["subject"] == subject]


def shown(service, name):
    identity, = rows(service, "hub", "show-device", service.hub, name)
    return identity


# ---- bans


def test_ban(service):
    """One command and the device is out of both; the other one, and it is back with what it had."""
    device = enrolled(service, "ban-1")
    device.register()
    token = device.hub_token()
    told = service.cli("enrollment", "disable", "ban-1", "--ban", "--reason", "stolen").stderr
    assert f"ban-1 is banned at {service.hub}" in told
    assert not service.accepts(token) and shown(service, "ban-1")["enabled"] is False
    with pytest.raises(NotRegistered):
        device.register()
    record, = audit(service, "hub.device.ban", "ban-1")
    assert record["detail"] == {"hub": service.hub, "deviceId": "ban-1", "reason": "stolen"}
    assert "nothing to do" in service.cli("enrollment", "disable", "ban-1", "--ban",
                                          "--reason", "stolen").stderr
    assert "let in again" in service.cli("enrollment", "enable", "ban-1").stderr
    assert service.accepts(token)
    device.register()
    assert len(audit(service, "hub.device.unban", "ban-1")) == 1


def test_disable_alone_leaves_the_hub(service):
    """As ever: what the device has stays, until it is banned."""
    device = enrolled(service, "ban-2")
    device.register()
    service.cli("enrollment", "disable", "ban-2")
    assert service.accepts(device.hub_token())
    assert "disabled already" in service.cli("enrollment", "disable", "ban-2", "--ban").stderr
    assert not service.accepts(device.hub_token())


def test_ban_is_not_the_hubs_own_disable(service):
    """A device that the hub's operator disabled is let in by nobody else."""
    device = enrolled(service, "ban-3")
    assert "at no hub" in service.cli("enrollment", "disable", "ban-3", "--ban").stderr
    service.cli("enrollment", "enable", "ban-3")
    device.register()
    service.cli("hub", "disable-device", service.hub, "ban-3")
    service.cli("enrollment", "disable", "ban-3", "--ban")
    service.cli("enrollment", "enable", "ban-3")
    assert not service.accepts(device.hub_token())
    service.cli("hub", "enable-device", service.hub, "ban-3")
    assert service.accepts(device.hub_token())


def test_reason_is_judged(service):
    """120 bytes of text, and only with --ban."""
    enrolled(service, "ban-4")
    disable = ["enrollment", "disable", "ban-4"]
    for words in (["--reason", "x"], ["--ban", "--reason", "r" * 121], ["--ban", "--reason", "a\nb"]):
        assert service.cli(*disable, *words, check=False).returncode == USAGE
    service.cli(*disable, "--ban", "--reason", "r" * 120)


def register_member(service, group_key, name):
    """A device of a group with shared keys; the key that it has at its hub."""
    key = hmac.digest(group_key, name.encode(), "sha256")
    path = f"/{service.scope}/registrations/{name}/register?api-version=2021-06-01"
    token = sas.token(key, sas.escape(f"{service.scope}/registrations/{name}"), sas.in_s(3600),
                      "registration")
    body = json.dumps({"registrationId": name})
    connection = Connection(service.address, service.ca_file, service.host)
    answer = connection.ask((f"PUT {path} HTTP/1.1\r\nHost: {service.host}\r\n"
                             f"Authorization: {token}\r\nContent-Type: application/json\r\n"
                             f"Content-Length: {len(body)}\r\n\r\n{body}").encode())
    connection.close()
    return answer.status, key


def test_ban_of_a_group(service, tmp_path):
    """Every device that it has admitted, more than one batch of them, and back."""
    key_file = tmp_path / "key"
    group_key = b"g" * 32
    key_file.write_text(base64.b64encode(group_key).decode())
    service.cli("group", "add", "fleet", "--symmetric-key", "--primary-key-file", key_file)
    names = [f"member-{i:03}" for i in range(210)]
    tokens = {}
    for name in names:
        status, key = register_member(service, group_key, name)
        assert status == 202
        tokens[name] = sas.hub_token(key, service.hub, name)
    sample = (names[0], names[199], names[200], names[-1])
    assert all(service.accepts(tokens[name]) for name in sample)
    told = service.cli("group", "disable", "fleet", "--ban").stderr
    assert "210 of its devices are banned" in told
    assert not any(service.accepts(tokens[name]) for name in sample)
    assert register_member(service, group_key, names[0])[0] == 401
    told = service.cli("group", "enable", "fleet").stderr
    assert "210 of its devices are let in again" in told
    assert all(service.accepts(tokens[name]) for name in sample)


# ---- whose a device ID is


def failure_of(device):
    """The state of a registration that the service refuses to carry out."""
    flow = device.flow()
    token = device.dialect.token(flow, device.challenge(flow))
    device.authorise(flow, token)
    with pytest.raises(AssertionError):
        device.poll(flow, token)
    body = device.ask(device.dialect.poll(flow, token)).json()
    device.close()
    return body["registrationState"]


def test_a_device_id_is_its_owners(service):
    """A second enrollment with a device's ID gets nothing of it until the first one is removed."""
    first = enrolled(service, "own-1", "--device-id", "truck-7")
    second = enrolled(service, "own-2", "--device-id", "truck-7")
    first.register()
    before = shown(service, "truck-7")
    state = failure_of(second)
    assert state["status"] == "failed" and state["errorCode"] == 400209
    assert "assignedHub" not in state and "tpm" not in state
    assert shown(service, "truck-7") == before and service.accepts(first.hub_token())
    line = service.log_text().split("registration.device_id_taken")[1].splitlines()[0]
    assert '"registration_id":"own-2"' in line and '"owner_registration_id":"own-1"' in line
    service.cli("enrollment", "remove", "own-1")
    assert failure_of(second)["errorCode"] == 400209
    service.cli("registration", "remove", "own-1")
    second.register()
    assert second.device_id == "truck-7" and service.accepts(second.hub_token())
    assert not service.accepts(first.hub_token())
    assert shown(service, "truck-7")["generationId"] != before["generationId"]


# ---- access policies


def test_policies(service):
    """Added, listed, told, rolled and removed, each with a record; names that tools expect."""
    hub = service.hub
    policy = ["hub", "policy"]
    service.cli(*policy, "add", hub, "iothubowner")
    service.cli(*policy, "add", hub, "reader", "--rights", "RegistryRead")
    assert service.cli(*policy, "add", hub, "reader", "--rights", "RegistryRead",
                       check=False).returncode == EXISTS
    assert service.cli(*policy, "add", hub, "other", check=False).returncode == USAGE
    assert service.cli(*policy, "add", hub, "other", "--rights", "EnrollmentRead",
                       check=False).returncode == USAGE
    assert service.cli(*policy, "add", "no.hub.test", "service", check=False).returncode == NOT_FOUND
    listed = {row["name"]: row["rights"] for row in rows(service, *policy, "list", hub)}
    assert listed == {"iothubowner": "RegistryRead,RegistryWrite,ServiceConnect,DeviceConnect",
                      "reader": "RegistryRead"}
    told = service.cli(*policy, "show", hub, "reader", "--connection-string").stdout.strip()
    assert told.startswith(f"HostName={hub};SharedAccessKeyName=reader;SharedAccessKey=")
    second = service.cli(*policy, "show", hub, "reader", "--connection-string", "--secondary").stdout
    assert second.strip() != told
    service.cli(*policy, "roll", hub, "reader", "--primary")
    assert service.cli(*policy, "show", hub, "reader", "--connection-string").stdout.strip() != told
    assert service.cli(*policy, "show", hub, "reader", "--connection-string",
                       "--secondary").stdout == second
    plain = service.cli(*policy, "show", hub, "reader").stdout
    assert "RegistryRead" in plain and "SharedAccessKey" not in plain
    service.cli(*policy, "remove", hub, "reader")
    assert service.cli(*policy, "show", hub, "reader", check=False).returncode == NOT_FOUND
    assert [len(audit(service, f"hub.policy.{verb}", "reader"))
            for verb in ("add", "reveal", "roll", "remove")] == [1, 4, 1, 1]


def test_policy_speaks_for_devices(service):
    """A token of a policy with DeviceConnect that names the device is as good as its own."""
    device = enrolled(service, "policy-1")
    device.register()
    service.cli("hub", "policy", "add", service.hub, "device")
    service.cli("hub", "policy", "add", service.hub, "service")

    def accepted(name, policy):
        told = service.cli("hub", "policy", "show", service.hub, policy,
                           "--connection-string").stdout.strip()
        key = base64.b64decode(told.split("SharedAccessKey=")[1])
        resource = sas.escape(f"{service.hub}/devices/{name}")
        return service.accepts(sas.token(key, resource, sas.in_s(3600), policy))

    assert accepted("policy-1", "device")
    assert not accepted("policy-1", "service") and not accepted("policy-none", "device")
    service.cli("hub", "disable-device", service.hub, "policy-1")
    assert not accepted("policy-1", "device")
