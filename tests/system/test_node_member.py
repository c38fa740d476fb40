"""The unmodified Azure SDK for Node registers devices that have no TPM, with latchkeyd."""
import base64
import json

import pytest

from lib import sas
from lib.authority import Authority
from lib.node import Device
from lib.service import Service


@pytest.fixture
def service(tmp_path, network, node_modules):
    """On the port that the SDK fixes, under the name that the network resolves."""
    service = Service(tmp_path / "service", network=network, listen=("127.0.0.1", 443))
    service.start()
    yield service
    service.stop()


def register(service, registration_id, *words):
    return Device(service, registration_id, *words).register()


def assert_refused(service, reason, registration_id, *words):
    Device(service, registration_id, *words).assert_refused(reason)


def assert_assigned(service, state, device_id):
    assert state["status"] == "assigned", state
    assert state["assignedHub"] == service.hub
    assert state["deviceId"] == device_id
    assert "tpm" not in state


def hub_token(service, device_id, key):
    return sas.hub_token(base64.b64decode(key), service.hub, device_id)


def keys_of(service, *words):
    return json.loads(service.cli(*words, "--json").stdout)


# ---- symmetric keys

def test_symmetric_key(service, tmp_path):
    """Either key registers, and is the key at the hub; another one and a disabled device do not."""
    service.cli("enrollment", "add", "--registration-id", "Sensor-1", "--symmetric-key")
    keys = keys_of(service, "enrollment", "keys", "sensor-1")
    for name in ("primaryKey", "secondaryKey"):
        assert len(base64.b64decode(keys[name])) == 64
        assert_assigned(service, register(service, "Sensor-1", "key", keys[name]), "Sensor-1")
        assert service.accepts(hub_token(service, "Sensor-1", keys[name]))
    other = base64.b64encode(bytes(64)).decode()
    assert not service.accepts(hub_token(service, "Sensor-1", other))
    assert_refused(service, "token.signature", "Sensor-1", "key", other)
    service.cli("enrollment", "disable", "Sensor-1")
    assert_refused(service, "enrollment.disabled", "Sensor-1", "key", keys["primaryKey"])
    assert_refused(service, "enrollment.unknown", "sensor-2", "key", keys["primaryKey"])


def test_symmetric_key_group(service, tmp_path):
    """A key derived from the group's, which was brought; a member that is shut out by itself."""
    key_file = tmp_path / "key"
    key_file.write_text(base64.b64encode(b"k" * 32).decode() + "\n")
    service.cli("group", "add", "fleet", "--symmetric-key", "--primary-key-file", key_file)
    key = service.cli("group", "device-key", "fleet", "DEV-1").stdout.strip()
    assert key == "f7fRTAF4k5CkPFAR5T2WaX96BDEMiBPwPNWYKFSgZto="
    assert_assigned(service, register(service, "dev-1", "key", key), "dev-1")
    assert service.accepts(hub_token(service, "dev-1", key))
    assert_refused(service, "group.none_fits", "dev-2", "key", key)
    assert keys_of(service, "group", "keys", "fleet")["primaryKey"] == key_file.read_text().strip()

    service.cli("enrollment", "add", "--registration-id", "dev-1", "--symmetric-key", "--disabled")
    assert_refused(service, "enrollment.disabled", "dev-1", "key", key)
    service.cli("enrollment", "remove", "dev-1")
    service.cli("group", "disable", "fleet")
    assert_refused(service, "group.disabled", "dev-1", "key", key)
    service.cli("group", "enable", "fleet")
    assert_assigned(service, register(service, "dev-1", "key", key), "dev-1")
    service.cli("group", "remove", "fleet")
    assert_refused(service, "enrollment.unknown", "dev-1", "key", key)
    audit = service.cli("audit", "list", "--json").stdout
    for action in ("group.create", "group.reveal", "group.update", "group.delete"):
        assert f'"{action}"' in audit, audit
    assert key not in audit and key not in service.log_text()


# ---- certificates

def test_certificate(service, tmp_path):
    """The enrolled certificate registers; another one of the same name and id does not."""
    cert, key = Authority(tmp_path, "Maker").issue("Pump-7")
    run = service.cli("enrollment", "add", "--registration-id", "pump-8", "--certificate", cert,
                      check=False)
    assert run.returncode != 0 and "common name" in run.stderr
    service.cli("enrollment", "add", "--registration-id", "pump-7", "--certificate", cert)
    shown = json.loads(service.cli("enrollment", "show", "pump-7", "--json").stdout)
    assert shown["attestation"] == "x509"
    assert shown["certificates"][0]["subject"] == "CN=Pump-7"
    assert_assigned(service, register(service, "pump-7", "cert", cert, key), "pump-7")

    (tmp_path / "foreign").mkdir()
    foreign = Authority(tmp_path / "foreign", "Maker").issue("Pump-7")
    assert_refused(service, "cert.unknown", "pump-7", "cert", *foreign)
    service.cli("enrollment", "disable", "pump-7")
    assert_refused(service, "enrollment.disabled", "pump-7", "cert", cert, key)


def test_certificate_group(service, tmp_path):
    """Devices of an authority, directly and through one below it; not those of another."""
    root = Authority(tmp_path, "Root")
    line = Authority(tmp_path, "Line4", root)
    leaf, leaf_key = line.issue("unit-2")
    chain = tmp_path / "chain.pem"
    chain.write_text(leaf.read_text() + line.cert.read_text())

    run = service.cli("group", "add", "wrong", "--signing-certificate", leaf, check=False)
    assert run.returncode != 0 and "no authority" in run.stderr
    service.cli("group", "add", "units", "--signing-certificate", root.cert)
    assert_assigned(service, register(service, "unit-1", "cert", *root.issue("unit-1")), "unit-1")
    assert_assigned(service, register(service, "unit-2", "cert", chain, leaf_key), "unit-2")
    assert_refused(service, "chain.unknown_signer", "unit-2", "cert", leaf, leaf_key)
    assert_refused(service, "cert.common_name", "unit-3", "cert", chain, leaf_key)

    (tmp_path / "foreign").mkdir()
    foreign = Authority(tmp_path / "foreign", "Other").issue("unit-1")
    assert_refused(service, "chain.unknown_signer", "unit-1", "cert", *foreign)
    listed = json.loads(service.cli("group", "list", "--json").stdout)
    assert listed["enrollmentGroupId"] == "units" and listed["attestation"] == "x509"
