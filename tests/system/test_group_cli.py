"""Groups, and enrollments of devices without a TPM, at the command line."""
import base64
import json

import pytest

from lib.service import Service
from test_enrollment_cli import ek64


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Not started: the command line works on the store."""
    return Service(tmp_path_factory.mktemp("service"))


def fails(service, *words, **kwargs):
    run = service.cli(*words, check=False, **kwargs)
    assert run.returncode != 0 and run.stdout == "", run
    return run.stderr


def key_file(folder, length):
    path = folder / f"key-{length}"
    path.write_text(base64.b64encode(b"x" * length).decode())
    return path


def test_one_way_of_proof(service):
    """Exactly one way has to be given, and key files go with keys only."""
    add = ["enrollment", "add", "--registration-id", "one"]
    assert "or in place of --ek" in fails(service, *add)
    assert "only one of" in fails(service, *add, "--symmetric-key", "--certificate", "x.pem")
    assert "only one of" in fails(service, *add, "--symmetric-key", "--ek", "AAAA")
    assert "key files go with" in fails(service, *add, "--certificate", "x.pem",
                                        "--primary-key-file", "x")
    assert "is needed" in fails(service, "group", "add", "one")
    assert "x.pem" in fails(service, *add, "--certificate", "/nowhere/x.pem")


def test_lengths_of_keys(service, tmp_path):
    """16 to 64 bytes; the name of the file is told, never what is in it."""
    add = ["enrollment", "add", "--symmetric-key", "--registration-id"]
    for length in (0, 15, 65):
        path = key_file(tmp_path, length)
        error = fails(service, *add, "len", "--primary-key-file", path)
        assert "16 to 64 bytes" in error and str(path) in error
        assert length == 0 or path.read_text() not in error
    for length in (16, 64):
        path = key_file(tmp_path, length)
        service.cli(*add, f"len-{length}", "--secondary-key-file", path)
        keys = json.loads(service.cli("enrollment", "keys", f"len-{length}", "--json").stdout)
        assert keys["secondaryKey"] == path.read_text()
        assert len(base64.b64decode(keys["primaryKey"])) == 64
    from_stdin = service.cli(*add, "stdin", "--primary-key-file", "-", input=path.read_text() + "\n")
    assert from_stdin.returncode == 0
    assert path.read_text() in service.cli("enrollment", "keys", "stdin").stdout


def test_groups(service):
    """From add to remove; names in any letter case; what there is not."""
    service.cli("group", "add", "Fleet", "--symmetric-key", "--hub", service.hub.upper())
    assert "already" in fails(service, "group", "add", "FLEET", "--symmetric-key")
    assert "linked" in fails(service, "group", "add", "g2", "--symmetric-key", "--hub", "no.test")
    assert "no name of a group" in fails(service, "group", "add", "a b", "--symmetric-key")
    shown = json.loads(service.cli("group", "show", "fleet", "--json").stdout)
    assert shown["enrollmentGroupId"] == "Fleet" and shown["iotHubs"] == [service.hub]
    assert "Key" not in json.dumps(shown).replace("symmetricKey", "")
    assert "attestation       symmetricKey" in service.cli("group", "show", "fleet").stdout
    assert "disabled" in service.cli("group", "disable", "fleet").stderr
    assert "already" in service.cli("group", "disable", "fleet").stderr
    assert "Fleet" in service.cli("group", "list").stdout
    assert "no registration ID" in fails(service, "group", "device-key", "fleet", "a b")
    first = service.cli("group", "device-key", "fleet", "d-1").stdout
    assert first == service.cli("group", "device-key", "fleet", "D-1").stdout
    assert first != service.cli("group", "device-key", "fleet", "d-2").stdout
    service.cli("group", "remove", "fleet")
    for command in ("show", "enable", "disable", "remove", "keys"):
        assert "there is no group" in fails(service, "group", command, "fleet")
    assert service.cli("group", "list", "--json").stdout == ""


def test_terms(service, tmp_path):
    """How devices are given to hubs: the same options for groups and enrollments, at add and set.
    What is not named stays; the query of a webhook's URL, often a secret, is in no record."""
    hook = "https://hook.example.test/choose?code=secret"
    twin = tmp_path / "twin.json"
    twin.write_text('{"tags": {"floor": 2}}')
    service.cli("hub", "add", "hub2.example.test")
    for kind, named, name, extra in (
            ("group", "enrollmentGroupId", "line", ["line"]),
            ("enrollment", "registrationId", "dev", ["--registration-id", "dev"])):
        def shown():
            return json.loads(service.cli(kind, "show", name, "--json").stdout)

        add = [kind, "add", *extra, "--symmetric-key"]
        assert "goes with --allocation custom" in fails(service, *add, "--allocation", "custom")
        assert "goes with --webhook" in fails(service, *add, "--webhook-api-version", "1")
        assert "exactly one hub" in fails(service, *add, "--allocation", "static")
        service.cli(*add, "--webhook", hook, "--reprovision", "never", "--initial-twin", twin)
        terms = shown()
        assert terms[named] == name and terms["allocationPolicy"] == "custom"
        assert terms["customAllocationDefinition"] == {"webhookUrl": hook,
                                                       "apiVersion": "2021-10-01"}
        assert terms["reprovisionPolicy"] == "never" and terms["iotHubs"] == []
        assert terms["initialTwin"] == {"tags": {"floor": 2}}

        change = [kind, "set", name]
        assert "what to change" in fails(service, *change)
        assert "only one of" in fails(service, *change, "--hub", service.hub, "--any-hub")
        assert "linked" in fails(service, *change, "--hub", "no.example.test")
        assert "--webhook goes with" in fails(service, *change, "--allocation", "custom")
        assert shown() == terms
        service.cli(*change, "--hub", service.hub, "--hub", "HUB2.example.test")
        assert shown()["iotHubs"] == [service.hub, "hub2.example.test"]
        assert shown()["customAllocationDefinition"] == terms["customAllocationDefinition"]
        service.cli(*change, "--webhook", hook + "2", "--webhook-api-version", "2019-03-31")
        assert shown()["customAllocationDefinition"] == {"webhookUrl": hook + "2",
                                                         "apiVersion": "2019-03-31"}
        text = service.cli(kind, "show", name).stdout
        assert "https://hook.example.test/choose\n" in text and "secret" not in text
        service.cli(*change, "--allocation", "geoLatency", "--any-hub", "--reprovision", "reset")
        assert "customAllocationDefinition" not in shown() and shown()["iotHubs"] == []
        assert (shown()["allocationPolicy"], shown()["reprovisionPolicy"]) == ("geoLatency", "reset")
        assert shown()["initialTwin"] == {"tags": {"floor": 2}}
        service.cli(*change, "--allocation", "default")
        assert shown()["allocationPolicy"] == "default"
    assert "there is no group" in fails(service, "group", "set", "none", "--any-hub")
    audit = service.cli("audit", "list", "--json").stdout
    updates = [json.loads(line) for line in audit.splitlines() if '"group.update"' in line]
    assert [u["detail"].get("webhook") for u in updates if u["subject"] == "line"] == [
        "https://hook.example.test/choose", "https://hook.example.test/choose", None, None]
    assert '"enrollment.update"' in audit and "secret" not in audit


def test_other_commands(service):
    """A device with a key takes no endorsement key; a manifest leaves it out and says so."""
    service.cli("enrollment", "add", "--registration-id", "keyed", "--symmetric-key")
    assert "symmetricKey" in service.cli("enrollment", "show", "keyed").stdout
    add_ek = ["enrollment", "add-ek", "keyed", "--ek", ek64(1)]
    assert "not by a TPM" in fails(service, *add_ek)
    service.cli("enrollment", "add", "--registration-id", "chip", "--ek", ek64(1))
    assert "tpm" in fails(service, "enrollment", "keys", "chip")
    export = service.cli("enrollment", "export")
    assert "chip" in export.stdout and "keyed" not in export.stdout
    assert "left out" in export.stderr
