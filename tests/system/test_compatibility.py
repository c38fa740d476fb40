"""The tables of members in doc/COMPATIBILITY.md against what is sent and what is answered."""
import base64
import datetime
import os
import re

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lib import dialects
from lib.authority import Authority
from lib.device import Device
from lib.service import ROOT, Service
from lib.serviceapi import Operator
from lib.softtpm import SoftTpm
from test_access import Member, symmetric
from test_allocation import Webhook, outcome

NODE = dialects.Node()
ANSWERED, TAKEN = ("same", "differs", "more"), ("same", "differs", "more", "ignored")


def tables():
    """{heading of the first column: {member: verdict}} of the tables whose rows are members."""
    found, rows = {}, None
    with open(os.path.join(ROOT, "doc/COMPATIBILITY.md"), encoding="utf-8") as file:
        for line in file:
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not line.startswith("|"):
                rows = None
            elif rows is None:
                rows = found.setdefault(cells[0], {})
            else:
                row = re.fullmatch(r"`([A-Za-z0-9.]+)`", cells[0])
                if row:
                    assert row[1] not in rows, f"{row[1]} is told twice"
                    rows[row[1]] = cells[1]
    return found


TABLES = tables()


def told(table, *verdicts):
    """Members of a table with one of these verdicts."""
    rows = TABLES[table]
    assert set(rows.values()) <= {*TAKEN, "not supported"}, (table, rows)
    return {member for member, verdict in rows.items() if verdict in verdicts}


def members(value, free=(), prefix=""):
    """Names of all members, with dots, of an object or of all objects in an array; of free ones not
    what is in them."""
    if isinstance(value, list):
        return set().union(*[members(item, free, prefix) for item in value])
    if not isinstance(value, dict):
        return {prefix.rstrip(".")}
    names = set()
    for name, member in value.items():
        path = prefix + name
        names |= {path} if path in free else members(member, free, path + ".")
    return names


def text(key):
    return base64.b64encode(key.tpm2b).decode()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("service"), webhook_allow="127.0.0.1")
    service.configure(webhook_ca=service.ca_file)
    service.cli("hub", "add", "hub2.example.test")
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def webhook(service):
    webhook = Webhook(service)
    yield webhook
    webhook.close()


@pytest.fixture(scope="module")
def operator(service):
    return Operator(service)


FREE = ("initialTwin.tags", "initialTwin.properties.desired", "optionalDeviceInformation",
        "payload", "registrationState", "attestation.tpm.ekCertificate")
NEWER = {"trustBundleId": "t", "clientCertificateIssuancePolicy": {"certificateAuthorityName": "c"},
         "credentialPolicyName": "p"}


def whole(webhook, attestation, **more):
    """An enrollment or group with every member beside its id and device."""
    return {"attestation": attestation, "capabilities": {"iotEdge": True},
            "provisioningStatus": "enabled",
            "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": True},
            "allocationPolicy": "custom", "iotHubs": ["hub2.example.test"],
            "customAllocationDefinition": {"webhookUrl": webhook.url("/good"),
                                           "apiVersion": "2021-10-01"},
            "initialTwin": {"tags": {"a": 1}, "properties": {"desired": {"b": 2}}, "version": 3},
            **NEWER, **more}


def tpm_attestation(*tpms, **more):
    return {"type": "tpm", "tpm": {
        "endorsementKey": text(tpms[0].ek), "endorsementKeys": [text(tpm.ek) for tpm in tpms],
        "storageRootKey": text(tpms[0].srk), "pinStorageRootKey": True, **more}}


def certificates(kind, authority, name=None):
    def slot(certificate):
        return {"certificate": certificate.read_text()}

    own = authority.cert if name is None else authority.issue(name)[0]
    return {"type": "x509", "x509": {kind: {"primary": slot(own), "secondary": slot(authority.cert)}}}


def rooted(service, folder):
    """Rules for EKs' certificates, whose root is imported."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "maker")])
    now = datetime.datetime.utcnow()
    root = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
            .public_key(key.public_key()).serial_number(1).not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=9))
            .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
    path = folder / "root.pem"
    path.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    service.cli("trust", "add", "--root", path)
    return {"type": "tpm", "tpm": {"ekCertificate": {
        "roots": [root.fingerprint(hashes.SHA256()).hex()]}}}


def expand_slots(names):
    """The rows say "as primary" of secondary certificates."""
    secondary = {name for name in names if name.endswith("Certificates.secondary")}
    return (names - secondary) | {
        name.replace(".primary.", ".secondary.") for row in secondary
        for name in names if name.startswith(row.replace(".secondary", ".primary."))}


def test_enrollments_and_groups(service, operator, webhook, tmp_path):
    """Every member that is taken is told, those that are ignored are not, and there are no others:
    over an enrollment of each kind and a group of each, by PUT, GET and attestationmechanism."""
    maker = Authority(tmp_path, "maker")
    tpm, second = SoftTpm("ecc"), SoftTpm("ecc")
    device = Device(service, "cm-tpm", tpm, NODE)
    keys = {"type": "symmetricKey", "symmetricKey": {
        "primaryKey": base64.b64encode(b"p" * 32).decode(),
        "secondaryKey": base64.b64encode(b"s" * 32).decode()}}

    def own(attestation):
        return whole(webhook, attestation, deviceId="Cm-1",
                     optionalDeviceInformation={"maker": {"name": "x"}})

    sent, seen = set(), set()
    for path, body in (
            ("/enrollments/cm-tpm", own(tpm_attestation(tpm, second))),
            ("/enrollments/cm-key", own(keys)),
            ("/enrollments/cm-cert", own(certificates("clientCertificates", maker, "cm-cert"))),
            ("/enrollmentGroups/cm-g-key", whole(webhook, keys)),
            ("/enrollmentGroups/cm-g-cert",
             whole(webhook, certificates("signingCertificates", maker))),
            ("/enrollmentGroups/cm-g-tpm", whole(webhook, rooted(service, tmp_path)))):
        put = operator.ask("PUT", path, body)
        assert put.status == 200, (path, put)
        if path == "/enrollments/cm-tpm":
            assert outcome(device)["status"] == "assigned"
        got = operator.ask("GET", path)
        mechanism = operator.ask("POST", path + "/attestationmechanism")
        assert got.status == mechanism.status == 200, path
        sent |= members(body, FREE)
        seen |= members(put.json(), FREE) | members(got.json(), FREE)
        seen |= members({"attestation": mechanism.json()}, FREE)

    def individual(names):
        """A group's own names for what an enrollment has too."""
        return {name.replace("signingCertificates", "clientCertificates") for name in names} - {
            "enrollmentGroupId"}

    table = "IndividualEnrollment"
    group = told("EnrollmentGroup", "more")
    expected = expand_slots(told(table, *ANSWERED)) | group
    # What is written and not read, and the reverse.
    write_only = {name for name in expected if name.endswith(".certificate")}
    assert "enrollmentGroupId" in seen
    assert individual(seen) == expected - write_only, sorted(
        individual(seen) ^ (expected - write_only))
    read_only = {name for name in expected if ".info." in name} | {
        "registrationId", "registrationState", "etag", "createdDateTimeUtc",
        "lastUpdatedDateTimeUtc"}
    ignored = {name.split(".")[0] if name.split(".")[0] in NEWER else name
               for name in individual(sent) - expected}
    assert expected - read_only == individual(sent) & expected
    assert ignored == told(table, "ignored")
    assert told("EnrollmentGroup") == set()


def test_registration_states(service, operator, webhook):
    """Over one that was assigned by a webhook and one that failed: no other members, by GET, in the
    enrollment and by query."""
    table = "DeviceRegistrationState"
    seen = set()
    operator.put({"registrationId": "cm-failed", "allocationPolicy": "static", "attestation": {
        "type": "tpm", "tpm": {"endorsementKey": text(FAILED.ek)}}})
    assert outcome(Device(service, "cm-failed", FAILED, NODE))["status"] == "failed"
    operator.put({"registrationId": "cm-good", **whole(webhook, {
        "type": "tpm", "tpm": {"endorsementKey": text(GOOD.ek)}})})
    assert outcome(Device(service, "cm-good", GOOD, NODE))["status"] == "assigned"
    for name in ("cm-failed", "cm-good"):
        state = operator.ask("GET", f"/registrations/{name}").json()
        assert operator.ask("GET", f"/enrollments/{name}").json()["registrationState"] == state
        seen |= members(state, ("payload",))
    assert seen == told(table, *ANSWERED), sorted(seen ^ told(table, *ANSWERED))
    for row in operator.all("/enrollments/query"):
        assert "registrationState" not in row


FAILED, GOOD = SoftTpm("ecc"), SoftTpm("ecc")


def test_bulk(operator):
    """A request of each kind, and a result with an error."""
    items = [symmetric("cm-bulk-1"), {"registrationId": "cm-bulk-2"}]
    sent = {"mode": "Create", "enrollments": items}
    result = operator.ask("POST", "/enrollments", sent).json()
    groups = {"mode": "create", "enrollmentGroups": [symmetric("cm-bulk", "enrollmentGroupId")]}
    assert operator.ask("POST", "/enrollmentGroups", groups).json()["isSuccessful"] is True
    named = set(sent) | set(groups) | members(result)
    assert named == told("bulk", *ANSWERED), sorted(named ^ told("bulk", *ANSWERED))


def test_device_api(service, operator, webhook):
    """All that a register may hold is taken; the answers hold what the table says: assigned by a
    webhook, failed, of a TPM and of a key, and an error."""
    sent = told("register, look-up", *TAKEN)
    tpm = SoftTpm("ecc")
    device = Device(service, "cm-dev", tpm, NODE)
    operator.put({"registrationId": "cm-dev", **whole(webhook, {
        "type": "tpm", "tpm": {"endorsementKey": text(tpm.ek)}})})
    body = {"registrationId": "CM-dev", "csr": "AAAA", "payload": [1, {"a": None}], "tpm": {
        "endorsementKey": text(tpm.ek), "storageRootKey": text(tpm.srk),
        "endorsementKeyCertificate": "AAAA", "endorsementKeyCertificateChain": ["AAAA"]}}
    assert members(body, ("payload", "tpm.endorsementKeyCertificateChain")) == sent

    flow = device.flow()
    device.dialect = type("Whole", (dialects.Node,), {
        "register": lambda self, flow, token=None: self.put(flow, dialects.compact(body), token)})()
    token = NODE.token(flow, device.challenge(flow))
    seen = members(device.authorise(flow, token).json())
    device.close()
    state = outcome(device, payload=[1])
    assert state["status"] == "assigned" and state["payload"] == {"hello": ["device"]}
    operator.put({"registrationId": "cm-dev-2", "allocationPolicy": "static", "attestation": {
        "type": "tpm", "tpm": {"endorsementKey": text(FAILED_DEVICE.ek)}}})
    failed = outcome(Device(service, "cm-dev-2", FAILED_DEVICE, NODE))
    assert failed["status"] == "failed"
    key = operator.put(symmetric("cm-dev-3")).json()["attestation"]["symmetricKey"]["primaryKey"]
    member = Member(service, "cm-dev-3", base64.b64decode(key)).register()
    poll, look_up = member.questions(member.token())
    seen |= members(poll.json()) | members({"registrationState": look_up.json()})
    for body in (state, failed):
        seen |= members({"registrationState": body}, ("registrationState.payload",))
    table = "answers to register, poll and look-up"
    expected = told(table, *ANSWERED) - {"registrationState"}
    assert seen == expected, sorted(seen ^ expected)


FAILED_DEVICE = SoftTpm("ecc")


def test_errors(service, operator):
    """Of both APIs, with the code in a header too."""
    table = "errors, of both APIs"
    stranger = Member(service, "cm-nobody", b"k" * 32)
    for answer in (operator.ask("GET", "/enrollments/cm-nobody"), stranger.put(stranger.token()),
                   stranger.put("nonsense")):
        assert members(answer.json()) == told(table, *ANSWERED), answer
        assert answer.header("x-ms-error-code") == str(answer.json()["errorCode"])


def endpoints():
    """(methods, path) of the table of endpoints."""
    found = []
    with open(os.path.join(ROOT, "doc/COMPATIBILITY.md"), encoding="utf-8") as file:
        lines = file.read().split("### Endpoints", 1)[1].split("\n###", 1)[0].splitlines()
    for line in lines:
        row = re.match(r"\| ((?:`[A-Z]+`, )*)`([A-Z]+) (/[^`]*)` \| (\w+)", line)
        if row:
            found.append((re.findall("[A-Z]+", row[1]) + [row[2]], row[3]))
    return found


def test_endpoints(operator):
    """Each path knows the methods that the table says, and no other."""
    table = endpoints()
    assert len(table) == 10
    for methods, path in table:
        answer = operator.ask("OPTIONS", re.sub(r"\{\w+\}", "none", path))
        assert answer.status == 204, answer
        allowed = set(answer.header("allow").split(", ")) - {"OPTIONS"}
        # "query" may be an enrollment's name.
        own = {"PUT", "GET", "DELETE"} if path.count("/") == 2 and path.endswith("/query") else set()
        assert allowed == set(methods) | own, (path, allowed)
    for path in ("/certificateAuthorities/a", "/trustBundles/a"):
        assert operator.ask("GET", path).status == 404
