"""The scenario of service-api.md section 14.1 with the unmodified SDKs for Node: an operator makes
each kind of enrollment that the SDK's own end-to-end test and samples make, and devices of each kind
register."""
import base64
import hmac
import json
import sys
import uuid

import pytest

from conftest import HERE
from lib import sas
from lib.authority import Authority
from lib.node import Device, Sdk
from lib.process import wait_until
from lib.service import Service
from test_node_service import new_ek, tpm_enrollment
from test_node_tpm import tpm_clear

OTHER_HUB = "hub2.example.test"
HOOK_PORT = 8443


@pytest.fixture
def service(tmp_path, network):
    service = Service(tmp_path / "service", network=network, listen=("127.0.0.1", 443),
                      webhook_allow="127.0.0.1")
    service.configure(webhook_ca=service.ca_file)
    service.cli("hub", "add", OTHER_HUB)
    service.start()
    yield service
    service.stop()


@pytest.fixture
def sdk(node_modules, service):
    sdk = Sdk(service)
    yield sdk
    sdk.close()


@pytest.fixture
def hook(tmp_path, network, service):
    """A webhook that sends everybody to OTHER_HUB; gives what it was asked so far."""
    log, asked = tmp_path / "hook.log", tmp_path / "asked"
    asked.touch()
    answer = json.dumps({"iotHubHostName": OTHER_HUB, "payload": {"floor": 2}})
    process = network.start(
        [sys.executable, HERE + "/lib/hook.py", HOOK_PORT, service.data + "/tls/server.pem",
         service.data + "/tls/server.key", answer, asked], log, log)
    wait_until(lambda: b"ready" in log.read_bytes(), "the webhook is ready")
    yield lambda: [json.loads(line) for line in asked.read_text().splitlines()]
    process.close()


def key64():
    """A key as the SDK's test makes them: the text of a UUID."""
    return base64.b64encode(str(uuid.uuid4()).encode()).decode()


def new_id():
    return "e2e-node-deleteme-psc-" + str(uuid.uuid4())


def symmetric():
    return {"type": "symmetricKey", "symmetricKey": {"primaryKey": key64(), "secondaryKey": key64()}}


def x509(kind, certificate):
    return {"type": "x509", "x509": {kind: {"primary": {"certificate": certificate.read_text()}}}}


def policy(update, migrate):
    return {"updateHubAssignment": update, "migrateDeviceData": migrate}


# ---- the SDK's end-to-end test

class Kind:
    """The calls for individual enrollments or for groups."""

    def __init__(self, name, id_member):
        self.id_member = id_member
        self.put, self.get, self.delete, self.mechanism = (
            form.format(name) for form in ("createOrUpdate{}", "get{}", "delete{}",
                                           "get{}AttestationMechanism"))


INDIVIDUAL = Kind("IndividualEnrollment", "registrationId")
GROUP = Kind("EnrollmentGroup", "enrollmentGroupId")


def shapes(tmp_path):
    """(kind, enrollment) of each of the five."""
    maker = Authority(tmp_path, "test cert")
    certificate, _ = maker.issue("e2e-node-x509")
    return [
        (INDIVIDUAL, {
            **tpm_enrollment(new_id(), new_ek()), "provisioningStatus": "enabled",
            "capabilities": {"iotEdge": True}, "reprovisionPolicy": policy(True, True),
            "allocationPolicy": "custom", "customAllocationDefinition": {
                "webhookUrl": "https://web.hook", "apiVersion": "2018-11-01"}}),
        (INDIVIDUAL, {
            "registrationId": new_id(), "attestation": symmetric(), "provisioningStatus": "enabled",
            "reprovisionPolicy": policy(False, False), "allocationPolicy": "hashed"}),
        (GROUP, {
            "enrollmentGroupId": new_id(), "attestation": x509("signingCertificates", maker.cert),
            "provisioningStatus": "enabled", "reprovisionPolicy": policy(True, False),
            "allocationPolicy": "geoLatency"}),
        (GROUP, {
            "enrollmentGroupId": new_id(), "attestation": symmetric(),
            "provisioningStatus": "enabled", "reprovisionPolicy": policy(False, True),
            "allocationPolicy": "static"}),
        (INDIVIDUAL, {
            "registrationId": "e2e-node-x509",
            "attestation": x509("clientCertificates", certificate),
            "provisioningStatus": "enabled", "reprovisionPolicy": policy(True, True),
            "allocationPolicy": "hashed"}),
    ]


def assert_same_terms(got, sent):
    """All that was sent is what is told, but for what only attestationmechanism and PUT tell."""
    for name in set(sent) - {"attestation"}:
        assert got[name] == sent[name], (name, got)
    assert got["attestation"]["type"] == sent["attestation"]["type"]
    assert got["etag"] and got["createdDateTimeUtc"] and got["lastUpdatedDateTimeUtc"]


def test_shapes(sdk, tmp_path):
    """Created, read, refused to be created again, updated, refused with the etag of before, asked
    for its attestation, and deleted by object, by id, and by id and etag: all five, one after the
    other and then all of them at a time."""
    made = shapes(tmp_path)
    for kind, sent in made:
        created = sdk.ok(kind.put, sent)
        assert_same_terms(created, sent)
        got = sdk.ok(kind.get, sent[kind.id_member])
        assert_same_terms(got, sent)
        secrets = json.dumps(got)
        assert "primaryKey" not in secrets and "BEGIN CERTIFICATE" not in secrets
        again = sdk.refused(kind.put, sent)
        assert (again["name"], again["status"]) == ("DeviceAlreadyExistsError", 409)

        updated = sdk.ok(kind.put, {**created, "provisioningStatus": "disabled"})
        assert_same_terms(updated, {**sent, "provisioningStatus": "disabled"})
        stale = sdk.refused(kind.put, created)
        assert (stale["name"], stale["status"]) == ("InvalidEtagError", 412)

        mechanism = sdk.ok(kind.mechanism, sent[kind.id_member])
        assert mechanism["type"] == sent["attestation"]["type"]
        if mechanism["type"] != "x509":
            assert mechanism == sent["attestation"]
        else:
            (certificates,) = mechanism["x509"].values()
            assert certificates["primary"]["info"]["sha256Thumbprint"]

        assert sdk.refused(kind.delete, sent[kind.id_member], created["etag"])["status"] == 412
        sdk.ok(kind.delete, updated)
        assert sdk.refused(kind.get, sent[kind.id_member])["status"] == 404
        created = sdk.ok(kind.put, sent)
        sdk.ok(kind.delete, sent[kind.id_member], created["etag"])
        sdk.ok(kind.put, sent)
        sdk.ok(kind.delete, sent[kind.id_member])

    for kind, sent in made:
        sdk.ok(kind.put, sent)
    assert len(sdk.rows("createIndividualEnrollmentQuery", {"query": "*"}, 2)) == 3
    assert len(sdk.rows("createEnrollmentGroupQuery", {"query": "*"}, 1)) == 2


# ---- its samples

def test_samples_of_enrollments(sdk, tmp_path):
    """What the SDK's samples send: a member that nobody knows, no keys, a group that is switched on
    afterwards, and queries that go on by the SDK's own count."""
    made = sdk.ok(INDIVIDUAL.put, {
        "registrationId": "sample-1", "deviceID": "sample-1", "provisioningStatus": "enabled",
        "attestation": {"type": "symmetricKey"}, "allocationPolicy": "custom",
        "customAllocationDefinition": {"webhookUrl": "https://web.hook/api/allocate?code=c",
                                       "apiVersion": "2019-03-31"}})
    keys = made["attestation"]["symmetricKey"]
    assert len(base64.b64decode(keys["primaryKey"])) == 64 and "deviceID" not in made
    assert sdk.ok(INDIVIDUAL.mechanism, "sample-1")["symmetricKey"] == keys

    group = sdk.ok(GROUP.put, {
        "enrollmentGroupId": "first", "provisioningStatus": "disabled",
        "attestation": x509("signingCertificates", Authority(tmp_path, "sample").cert)})
    enabled = sdk.ok(GROUP.put, {**group, "provisioningStatus": "enabled"})
    assert enabled["provisioningStatus"] == "enabled"
    assert enabled["attestation"] == group["attestation"]

    sdk.run(*[(INDIVIDUAL.put, tpm_enrollment(f"sample-t{i:02}", new_ek())) for i in range(24)])
    rows = sdk.rows("createIndividualEnrollmentQuery", {"query": "*"}, 10, plain=True)
    assert [row["registrationId"] for row in rows] == ["sample-1"] + [
        f"sample-t{i:02}" for i in range(24)]
    assert [row["enrollmentGroupId"] for row in
            sdk.rows("createEnrollmentGroupQuery", {"query": "*"}, 10, plain=True)] == ["first"]
    assert sdk.rows("createEnrollmentGroupDeviceRegistrationStateQuery", {"query": "*"}, "first",
                    10, plain=True) == []


def test_samples_with_a_key_that_is_none(sdk):
    """The samples' endorsement key "a" is refused here, one by one and in bulk, by its own code; a
    bulk with one id twice has no result at all."""
    def sample(registration_id, **tpm):
        return {"registrationId": registration_id, "provisioningStatus": "disabled",
                "attestation": {"type": "tpm", **tpm}}

    first, second = (sample(name, tpm={"endorsementKey": "a"}) for name in ("first", "second"))
    error = sdk.refused(INDIVIDUAL.put, first)
    assert (error["name"], error["status"]) == ("ArgumentError", 400)
    assert json.loads(error["body"])["errorCode"] == 400201
    bulk = {"mode": "create", "enrollments": [first, second, second]}
    assert sdk.refused("runBulkEnrollmentOperation", bulk)["status"] == 400
    bulk["enrollments"] = [first, sample("third"), tpm_enrollment("fourth", new_ek())]
    result = sdk.ok("runBulkEnrollmentOperation", bulk)
    assert result["isSuccessful"] is False
    assert [(e["registrationId"], e["errorCode"]) for e in result["errors"]] == [
        ("first", 400201), ("third", 400201)]
    made = sdk.ok(INDIVIDUAL.get, "fourth")
    result = sdk.ok("runBulkEnrollmentOperation", {"mode": "delete", "enrollments": [made]})
    assert result == {"isSuccessful": True, "errors": []}


# ---- devices of each kind

def assert_assigned(service, state, device_id, hub):
    assert (state["status"], state["deviceId"], state["assignedHub"]) == ("assigned", device_id, hub)


def state_of(sdk, registration_id):
    return sdk.ok("getDeviceRegistrationState", registration_id)


def test_tpm_with_a_webhook(sdk, service, network, bridge, swtpm, hook):
    """Shape one: the webhook chooses the hub, sees the enrollment and what was proved, and its
    payload reaches the device. TPM2_Clear, deletion of the state, and being disabled."""
    device = Device(service, "scene-tpm")
    keys = device.keys()
    sdk.ok(INDIVIDUAL.put, {
        **tpm_enrollment("scene-tpm", keys["ek"]), "deviceId": "Truck-7",
        "capabilities": {"iotEdge": True}, "allocationPolicy": "custom",
        "customAllocationDefinition": {"webhookUrl": f"https://localhost:{HOOK_PORT}/a?code=c",
                                       "apiVersion": "2018-11-01"}})
    first = device.register()
    assert_assigned(service, first["state"], "Truck-7", OTHER_HUB)
    assert first["state"]["payload"] == {"floor": 2}
    assert service.accepts(first["token"], OTHER_HUB)
    (asked,) = hook()
    assert asked["path"] == "/a?code=c"
    told = asked["body"]["individualEnrollment"]
    assert told["attestation"] == {"type": "tpm", "tpm": {"endorsementKey": keys["ek"]}}
    assert told["capabilities"] == {"iotEdge": True}
    assert sorted(asked["body"]["linkedHubs"]) == sorted([service.hub, OTHER_HUB])
    context = asked["body"]["deviceRuntimeContext"]
    assert context == {"registrationId": "scene-tpm", "tpm": {
        "endorsementKey": keys["ek"], "storageRootKey": keys["srk"]}}

    state = state_of(sdk, "scene-tpm")
    assert (state["status"], state["substatus"]) == ("assigned", "initialAssignment")
    assert state["payload"] == {"floor": 2} and "tpm" not in state
    tpm_clear(swtpm.socket_path)
    second = device.register()
    assert service.accepts(second["token"], OTHER_HUB)
    assert not service.accepts(first["token"], OTHER_HUB)
    context = hook()[-1]["body"]["deviceRuntimeContext"]
    assert (context["currentIotHubHostName"], context["currentDeviceId"]) == (OTHER_HUB, "Truck-7")
    assert context["tpm"]["storageRootKey"] != keys["srk"]
    assert state_of(sdk, "scene-tpm")["substatus"] == "reprovisionedToInitialAssignment"

    sdk.ok("deleteDeviceRegistrationState", "scene-tpm")
    assert sdk.refused("getDeviceRegistrationState", "scene-tpm")["status"] == 404
    device.register()
    made = sdk.ok(INDIVIDUAL.get, "scene-tpm")
    assert made["registrationState"]["status"] == "assigned"
    disabled = sdk.ok(INDIVIDUAL.put, {**made, "provisioningStatus": "disabled"})
    device.assert_refused("enrollment.disabled")
    sdk.ok(INDIVIDUAL.delete, disabled)
    device.assert_refused("enrollment.unknown")
    assert state_of(sdk, "scene-tpm")["status"] == "assigned"


def hub_token(hub, device_id, key):
    return sas.hub_token(base64.b64decode(key), hub, device_id)


def test_symmetric_individual(sdk, service):
    """Shape two: either key registers and opens the hub; new keys take the place of both."""
    made = sdk.ok(INDIVIDUAL.put, {
        "registrationId": "scene-key", "attestation": symmetric(), "allocationPolicy": "hashed",
        "reprovisionPolicy": policy(False, False), "iotHubs": [service.hub]})
    keys = made["attestation"]["symmetricKey"]
    for name in ("primaryKey", "secondaryKey"):
        state = Device(service, "scene-key", "key", keys[name]).register()
        assert_assigned(service, state, "scene-key", service.hub)
        assert service.accepts(hub_token(service.hub, "scene-key", keys[name]))
    changed = sdk.ok(INDIVIDUAL.put, {**made, "attestation": symmetric()})
    Device(service, "scene-key", "key", keys["primaryKey"]).assert_refused("token.signature")
    fresh = changed["attestation"]["symmetricKey"]["primaryKey"]
    Device(service, "scene-key", "key", fresh).register()
    assert service.accepts(hub_token(service.hub, "scene-key", fresh))
    assert not service.accepts(hub_token(service.hub, "scene-key", keys["primaryKey"]))


def test_x509_group(sdk, service, tmp_path):
    """Shape three: members by their certificates, through an authority below; their states by
    query; one of them shut out by an enrollment of its own; the authority's successor."""
    root, successor = Authority(tmp_path, "test cert"), Authority(tmp_path, "next cert")
    line = Authority(tmp_path, "line", root)
    group = sdk.ok(GROUP.put, {
        "enrollmentGroupId": "scene-line", "attestation": x509("signingCertificates", root.cert),
        "reprovisionPolicy": policy(True, False), "allocationPolicy": "geoLatency",
        "iotHubs": [OTHER_HUB]})
    devices = {}
    for name in ("scene-c1", "scene-c2"):
        certificate, key = line.issue(name)
        chain = tmp_path / (name + "-chain.pem")
        chain.write_text(certificate.read_text() + line.cert.read_text())
        devices[name] = Device(service, name, "cert", chain, key)
        assert_assigned(service, devices[name].register(), name, OTHER_HUB)
    query = ("createEnrollmentGroupDeviceRegistrationStateQuery", {"query": "SELECT *"},
             "Scene-Line", 1)
    states = sdk.rows(*query)
    assert [state["registrationId"] for state in states] == ["scene-c1", "scene-c2"]
    assert all(state["assignedHub"] == OTHER_HUB for state in states)

    sdk.ok(INDIVIDUAL.put, {"registrationId": "scene-c1", "provisioningStatus": "disabled",
                            "attestation": x509("clientCertificates", line.cert)})
    devices["scene-c1"].assert_refused("enrollment.disabled")
    devices["scene-c2"].register()
    both = x509("signingCertificates", root.cert)
    both["x509"]["signingCertificates"]["secondary"] = {"certificate": successor.cert.read_text()}
    group = sdk.ok(GROUP.put, {**group, "attestation": both})
    joined = Device(service, "scene-c3", "cert", *successor.issue("scene-c3"))
    joined.register()
    devices["scene-c2"].register()
    sdk.ok(GROUP.put, {**group, "attestation": x509("signingCertificates", successor.cert)})
    joined.register()
    devices["scene-c2"].assert_refused("chain.unknown_signer")
    sdk.ok("deleteDeviceRegistrationState", "scene-c2")
    assert [state["registrationId"] for state in sdk.rows(*query)] == ["scene-c1", "scene-c3"]


def derived(key, registration_id):
    """As the SDK's sample for groups derives it."""
    mac = hmac.digest(base64.b64decode(key), registration_id.encode(), "sha256")
    return base64.b64encode(mac).decode()


def test_symmetric_group(sdk, service, hook):
    """Shape four: static, which assigns nobody until its hub is named; members by either derived
    key; then a webhook, which is told the group and no key."""
    group = sdk.ok(GROUP.put, {
        "enrollmentGroupId": "Scene-Fleet", "attestation": symmetric(),
        "reprovisionPolicy": policy(True, True), "allocationPolicy": "static"})
    keys = sdk.ok(GROUP.mechanism, "scene-fleet")["symmetricKey"]
    assert keys == group["attestation"]["symmetricKey"]
    first = Device(service, "scene-m1", "key", derived(keys["primaryKey"], "scene-m1"))
    assert first.try_register().returncode == 1
    state = state_of(sdk, "scene-m1")
    assert (state["status"], state["errorCode"]) == ("failed", 400208), state
    group = sdk.ok(GROUP.put, {**sdk.ok(GROUP.get, "scene-fleet"), "iotHubs": [service.hub]})
    assert_assigned(service, first.register(), "scene-m1", service.hub)
    second = Device(service, "scene-m2", "key", derived(keys["secondaryKey"], "scene-m2"))
    assert_assigned(service, second.register(), "scene-m2", service.hub)
    assert service.accepts(hub_token(service.hub, "scene-m2",
                                     derived(keys["primaryKey"], "scene-m2")))
    Device(service, "scene-m3", "key", derived(keys["primaryKey"], "scene-m1")).assert_refused(
        "group.none_fits")

    service.cli("group", "set", "scene-fleet", "--any-hub", "--webhook",
                f"https://localhost:{HOOK_PORT}/group?code=c")
    moved = first.register()
    assert_assigned(service, moved, "scene-m1", OTHER_HUB)
    assert (moved["substatus"], moved["payload"]) == ("deviceDataMigrated", {"floor": 2})
    (asked,) = hook()
    told = asked["body"]["enrollmentGroup"]
    assert told["enrollmentGroupId"] == "Scene-Fleet"
    assert told["attestation"] == {"type": "symmetricKey"}
    assert told["customAllocationDefinition"]["webhookUrl"].endswith("/group?code=c")
    assert "individualEnrollment" not in asked["body"]
    assert asked["body"]["deviceRuntimeContext"] == {
        "registrationId": "scene-m1", "symmetricKey": {}, "currentIotHubHostName": service.hub,
        "currentDeviceId": "scene-m1"}
    for key in keys.values():
        assert key not in json.dumps(asked)


def test_x509_individual(sdk, service, tmp_path):
    """Shape five: the enrolled certificate and its successor, and no other of the same maker."""
    maker = Authority(tmp_path, "maker")
    certificate, key = maker.issue("scene-x")
    made = sdk.ok(INDIVIDUAL.put, {
        "registrationId": "scene-x", "deviceId": "Pump", "iotHubs": [service.hub],
        "attestation": x509("clientCertificates", certificate)})
    info = made["attestation"]["x509"]["clientCertificates"]["primary"]["info"]
    assert info["subjectName"] == "CN=scene-x" and info["version"] == 3, info
    device = Device(service, "scene-x", "cert", certificate, key)
    assert_assigned(service, device.register(), "Pump", service.hub)
    (tmp_path / "renewed").mkdir()
    renewed = Authority(tmp_path / "renewed", "maker").issue("scene-x")
    other = Device(service, "scene-x", "cert", *renewed)
    other.assert_refused("cert.unknown")
    kept = made["attestation"]
    kept["x509"]["clientCertificates"]["secondary"] = {"certificate": renewed[0].read_text()}
    made = sdk.ok(INDIVIDUAL.put, {**made, "attestation": kept})
    other.register()
    device.register()
    assert state_of(sdk, "scene-x")["deviceId"] == "Pump"
