"""The unmodified operators' SDK for Node against latchkeyd (service-api.md section 14.1)."""
import base64
import json
import os
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization

from conftest import HERE
from lib.node import Sdk
from lib.service import Service
from lib.softtpm import SoftTpm


@pytest.fixture
def service(tmp_path, network):
    service = Service(tmp_path / "service", network=network, listen=("127.0.0.1", 443))
    service.start()
    yield service
    service.stop()


@pytest.fixture
def sdk(node_modules, service):
    sdk = Sdk(service)
    yield sdk
    sdk.close()


class Tpm:
    """A TPM whose keys a process inside the network can use too."""

    def __init__(self, directory):
        self.soft = SoftTpm("ecc")
        self.files = []
        for name, key in (("ek", self.soft.ek), ("srk", self.soft.srk)):
            path = os.path.join(str(directory), name + ".pem")
            with open(path, "wb") as file:
                file.write(key.private.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption()))
            self.files.append(path)

    @property
    def ek(self):
        return base64.b64encode(self.soft.ek.tpm2b).decode()


def tpm_enrollment(registration_id, ek, **more):
    return {"registrationId": registration_id,
            "attestation": {"type": "tpm", "tpm": {"endorsementKey": ek}}, **more}


def new_ek():
    return base64.b64encode(SoftTpm("ecc").ek.tpm2b).decode()


def test_individual_enrollment(sdk):
    """Create, conflict, update on an etag, stale etag, read, delete with and without an etag."""
    ek = new_ek()
    made = sdk.ok("createOrUpdateIndividualEnrollment",
                  tpm_enrollment("My:Dev.1_x", ek, deviceId="Truck 1".replace(" ", "_"),
                                 initialTwin={"tags": {"a": 1}, "properties": {"desired": {}}},
                                 aMemberOfALaterVersion={"x": 1}))
    assert made["registrationId"] == "My:Dev.1_x"
    assert made["attestation"]["tpm"]["endorsementKey"] == ek
    assert made["provisioningStatus"] == "enabled"
    assert made["allocationPolicy"] == "hashed"
    assert made["initialTwin"]["tags"] == {"a": 1}
    assert made["etag"].startswith('"') and made["etag"].endswith('"')
    assert "aMemberOfALaterVersion" not in made
    assert made["createdDateTimeUtc"].endswith("Z")

    again = sdk.refused("createOrUpdateIndividualEnrollment", tpm_enrollment("my:dev.1_X", ek))
    assert (again["name"], again["status"]) == ("DeviceAlreadyExistsError", 409)
    assert json.loads(again["body"])["errorCode"] // 1000 == 409

    changed = sdk.ok("createOrUpdateIndividualEnrollment", dict(made, provisioningStatus="disabled"))
    assert changed["provisioningStatus"] == "disabled"
    assert changed["etag"] != made["etag"]
    stale = sdk.refused("createOrUpdateIndividualEnrollment", made)
    assert (stale["name"], stale["status"]) == ("InvalidEtagError", 412)

    assert sdk.ok("getIndividualEnrollment", "MY:DEV.1_x")["etag"] == changed["etag"]
    wrong = sdk.refused("deleteIndividualEnrollment", "My:Dev.1_x", made["etag"])
    assert wrong["status"] == 412
    sdk.ok("deleteIndividualEnrollment", changed)
    gone = sdk.refused("getIndividualEnrollment", "My:Dev.1_x")
    assert gone["status"] == 404 and json.loads(gone["body"])["errorCode"] == 404201
    assert sdk.refused("deleteIndividualEnrollment", "My:Dev.1_x")["status"] == 404


def test_attestation_mechanism_of_a_tpm(sdk):
    """It names the endorsement key, and an enrollment may be called "query"."""
    ek = new_ek()
    sdk.ok("createOrUpdateIndividualEnrollment", tpm_enrollment("query", ek))
    mechanism = sdk.ok("getIndividualEnrollmentAttestationMechanism", "query")
    assert mechanism["type"] == "tpm"
    assert mechanism["tpm"]["endorsementKey"] == ek
    assert sdk.ok("getIndividualEnrollment", "query")["registrationId"] == "query"
    sdk.ok("deleteIndividualEnrollment", "query")


def test_bad_enrollments(sdk):
    """What is wrong is told by a 400 and a message that names it."""
    ek = new_ek()
    bad = [tpm_enrollment("dev", "not base64!"), tpm_enrollment("dev", "AAAA"),
           tpm_enrollment("ends-with-dot.", ek), tpm_enrollment("dev", ek, deviceId="a/b"),
           tpm_enrollment("dev", ek, provisioningStatus="perhaps"),
           tpm_enrollment("dev", ek, iotHubs=["not.linked.example"]),
           {"registrationId": "dev", "attestation": {"type": "tpm"}},
           {"registrationId": "dev"}]
    for answer in sdk.run(*[("createOrUpdateIndividualEnrollment", e) for e in bad]):
        assert answer["error"]["status"] == 400, answer
        body = json.loads(answer["error"]["body"])
        assert body["errorCode"] // 1000 == 400 and body["message"] and body["trackingId"], body
    assert sdk.refused("getIndividualEnrollment", "dev")["status"] == 404


def test_one_ek_one_enrollment(sdk, service):
    """A second enrollment with the same key is refused with the first one's name, and noticed."""
    ek = new_ek()
    sdk.ok("createOrUpdateIndividualEnrollment", tpm_enrollment("first", ek))
    clash = sdk.refused("createOrUpdateIndividualEnrollment", tpm_enrollment("second", ek))
    assert clash["status"] == 409 and "first" in json.loads(clash["body"])["message"]
    assert "ek_duplicate" in service.cli("audit", "list", "--json").stdout


def test_bulk(sdk):
    """Good items stand although others fail; more than ten, or one twice, fail as a whole."""
    items = [tpm_enrollment(f"bulk-{i}", new_ek()) for i in range(9)]
    result = sdk.ok("runBulkEnrollmentOperation",
                    {"mode": "create", "enrollments": items + [tpm_enrollment("bulk-9", "AAAA")]})
    assert result["isSuccessful"] is False
    assert [error["registrationId"] for error in result["errors"]] == ["bulk-9"]
    assert result["errors"][0]["errorCode"] // 1000 == 400

    stored = [sdk.ok("getIndividualEnrollment", f"bulk-{i}") for i in range(2)]
    result = sdk.ok("runBulkEnrollmentOperation", {
        "mode": "updateIfMatchETag",
        "enrollments": [dict(stored[0], provisioningStatus="disabled"),
                        dict(stored[1], etag='"stale"', provisioningStatus="disabled")]})
    assert [error["registrationId"] for error in result["errors"]] == ["bulk-1"]
    assert sdk.ok("getIndividualEnrollment", "bulk-0")["provisioningStatus"] == "disabled"
    assert sdk.ok("getIndividualEnrollment", "bulk-1")["provisioningStatus"] == "enabled"

    many = [tpm_enrollment(f"many-{i}", new_ek()) for i in range(11)]
    assert sdk.refused("runBulkEnrollmentOperation",
                       {"mode": "create", "enrollments": many})["status"] == 400
    assert sdk.refused("runBulkEnrollmentOperation",
                       {"mode": "create", "enrollments": [many[0], many[0]]})["status"] == 400
    assert sdk.refused("getIndividualEnrollment", "many-0")["status"] == 404

    result = sdk.ok("runBulkEnrollmentOperation", {"mode": "delete", "enrollments": items})
    assert result["isSuccessful"] is True and result["errors"] == []


def test_paging_while_it_changes(sdk, service, tmp_path):
    """1,200 rows, read in pages of 100 while others come and go: what stays is seen once."""
    ids = [f"page-{i:04}" for i in range(1200)]
    with open(tmp_path / "rows.jsonl", "w", encoding="ascii") as file:
        for registration_id in ids:
            file.write(json.dumps({"registrationId": registration_id,
                                   "endorsementKey": new_ek()}) + "\n")
    service.cli("enrollment", "import", tmp_path / "rows.jsonl")
    churn = subprocess.Popen(
        [sys.executable, "-c", CHURN, service.config_path, os.path.join(
            os.environ.get("LK_BUILD", os.path.join(HERE, "../../build")), "src/cli/latchkey"),
         new_ek()])
    try:
        answer = sdk.one("createIndividualEnrollmentQuery",
                         {"query": "SELECT * FROM enrollments"}, 100)
    finally:
        churn.kill()
        churn.wait()
    pages = answer["pages"]
    assert len(pages) >= 12 and all(len(page) <= 100 for page in pages), [len(p) for p in pages]
    seen = [row["registrationId"] for page in pages for row in page]
    assert len(seen) == len(set(seen))
    assert set(ids) <= set(seen)


CHURN = """
import os, subprocess, sys
config, latchkey, ek = sys.argv[1:]
env = dict(os.environ, LATCHKEY_CONFIG=config)
for n in range(1000):
    name = "page-%04d-x" % (n * 37 % 1200)
    subprocess.run([latchkey, "enrollment", "add", "--registration-id", name, "--ek", ek], env=env,
                   capture_output=True)
    subprocess.run([latchkey, "enrollment", "remove", name], env=env, capture_output=True)
"""


def test_query_language(sdk):
    """Conditions are ANDed; what is not served is a clear 400."""
    made = [tpm_enrollment(f"q-{i}", new_ek(), provisioningStatus="disabled" if i % 2 else "enabled")
            for i in range(6)]
    sdk.run(*[("createOrUpdateIndividualEnrollment", e) for e in made])

    def ids(query):
        return [row["registrationId"] for row in
                sdk.rows("createIndividualEnrollmentQuery", {"query": query}, 2)]

    assert ids("*") == [f"q-{i}" for i in range(6)]
    assert ids("SELECT * FROM enrollments WHERE provisioningStatus = 'disabled' AND "
               "registrationId > 'q-1'") == ["q-3", "q-5"]
    assert ids("SELECT * WHERE attestation.type = 'x509'") == []
    bad = sdk.one("createIndividualEnrollmentQuery", {"query": "SELECT deviceId"}, 2)["error"]
    assert bad["status"] == 400 and "expected" in json.loads(bad["body"])["message"]


def test_registration_state(sdk, network, service, tmp_path):
    """A device's record, its deletion, and the first registration again after it."""
    tpm = Tpm(tmp_path)
    sdk.ok("createOrUpdateIndividualEnrollment", tpm_enrollment("reg-1", tpm.ek, deviceId="Truck"))

    def register():
        run = network.run([sys.executable, os.path.join(HERE, "lib/register_once.py"), service.host,
                           443, service.ca_file, service.scope, "reg-1", *tpm.files])
        assert run.returncode == 0, (run.stdout, run.stderr)
        return json.loads(run.stdout)

    assert sdk.refused("getDeviceRegistrationState", "reg-1")["status"] == 404
    register()
    state = sdk.ok("getDeviceRegistrationState", "REG-1")
    assert (state["status"], state["deviceId"], state["assignedHub"]) == (
        "assigned", "Truck", service.hub)
    assert "tpm" not in state
    shown = sdk.ok("getIndividualEnrollment", "reg-1")["registrationState"]
    assert shown["status"] == "assigned"
    sdk.ok("deleteDeviceRegistrationState", "reg-1")
    gone = sdk.refused("getDeviceRegistrationState", "reg-1")
    assert gone["status"] == 404 and json.loads(gone["body"])["errorCode"] == 404202
    register()


def test_no_update_is_lost(sdk):
    """1,000 updates of one enrollment by 16 at a time, each on condition of its etag."""
    sdk.ok("createOrUpdateIndividualEnrollment",
           tpm_enrollment("counted", new_ek(),
                          initialTwin={"tags": {"count": 0}, "properties": {"desired": {}}}))
    report = json.loads(sdk.node("service_race.js", "counted", "1000", "16", timeout=300)[0])
    assert report["refused"] > 0, "nobody raced"
    assert sdk.ok("getIndividualEnrollment", "counted")["initialTwin"]["tags"]["count"] == 1000


def test_wrong_credentials(sdk, service):
    """A wrong key, an unknown policy, a right that is missing: unauthorised, and the log says why."""
    host, name, key = sdk.connection_string.split(";")
    wrong = base64.b64encode(b"x" * 32).decode()
    service.cli("policy", "add", "reader", "--rights", "EnrollmentRead")
    reader = service.cli("policy", "show", "reader", "--connection-string").stdout.strip()
    for text, call, reason in (
            (f"{host};{name};SharedAccessKey={wrong}", ("getIndividualEnrollment", "a"),
             "token.signature"),
            (f"{host};SharedAccessKeyName=nobody;{key}", ("getIndividualEnrollment", "a"),
             "policy.unknown"),
            (reader, ("createOrUpdateIndividualEnrollment", tpm_enrollment("a", new_ek())),
             "policy.right_missing")):
        other = Sdk(service, text)
        error = other.refused(*call)
        other.close()
        assert (error["name"], error["status"]) == ("UnauthorizedError", 401), error
        body = json.loads(error["body"])
        assert body["errorCode"] == 401002
        assert reason in json.dumps(service.log_of(body["trackingId"]))
    other = Sdk(service, reader)
    assert other.refused("getIndividualEnrollment", "a")["status"] == 404
    other.close()
