"""The unmodified Azure SDK for Node registers with latchkeyd through a software TPM."""
import base64
import socket
import struct
from urllib.parse import unquote

import pytest

from lib.node import Device
from lib.process import wait_until
from lib.sas import escape
from lib.service import Service


@pytest.fixture
def service(tmp_path, network):
    """On the port that the SDK fixes, under the name that the network resolves."""
    service = Service(tmp_path / "service", network=network, listen=("127.0.0.1", 443))
    service.start()
    yield service
    service.stop()


@pytest.fixture
def device(bridge, node_modules, service):
    device = Device(service, "node-dev-1")
    service.cli("enrollment", "add", "--registration-id", device.registration_id, "--ek",
                device.keys()["ek"])
    return device


def tpm_clear(socket_path):
    """TPM2_Clear by the lockout hierarchy with its empty password, as raw bytes: the bridge serves
    the SDK, and tpm2-tools would need ports of its own."""
    session = struct.pack(">IHBH", 0x40000009, 0, 0, 0)
    body = struct.pack(">I", 0x4000000A) + struct.pack(">I", len(session)) + session
    command = struct.pack(">HII", 0x8002, 10 + len(body), 0x126) + body
    with socket.socket(socket.AF_UNIX) as tpm:
        tpm.settimeout(10)
        tpm.connect(socket_path)
        tpm.sendall(command)
        answer = tpm.recv(4096)
    assert answer[6:10] == b"\0\0\0\0", answer.hex()


def tampered(token):
    """The same token with one bit of its signature changed."""
    head, tail = token.split("&sig=")
    sig, rest = tail.split("&", 1)
    raw = bytearray(base64.b64decode(unquote(sig)))
    raw[0] ^= 1
    return f"{head}&sig={escape(base64.b64encode(raw).decode())}&{rest}"


def test_registers_and_registers_again(device, service, network, swtpm):
    """From 401 to assigned; the key in the TPM is the hub's; a second time; after TPM2_Clear."""
    first = device.register()
    assert first["state"]["assignedHub"] == service.hub
    assert first["state"]["deviceId"] == device.registration_id
    assert first["state"]["status"] == "assigned"
    assert service.accepts(first["token"])
    assert not service.accepts(tampered(first["token"]))

    second = device.register()
    assert second["state"]["deviceId"] == device.registration_id
    assert service.accepts(second["token"])
    wait_until(lambda: not service.accepts(first["token"]), "the first key retires")

    srk = device.keys()["srk"]
    ek = device.keys()["ek"]
    tpm_clear(swtpm.socket_path)
    third = device.register()
    keys = device.keys()
    assert keys["ek"] == ek and keys["srk"] != srk
    assert third["state"]["deviceId"] == device.registration_id
    assert service.accepts(third["token"])
    wait_until(lambda: not service.accepts(second["token"]), "the old owner's key retires")


def test_refused_when_disabled(device, service):
    """The SDK reads the refusal as the error that it is."""
    service.cli("enrollment", "disable", device.registration_id)
    device.assert_refused("enrollment.disabled")
