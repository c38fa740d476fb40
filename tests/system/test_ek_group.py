"""A group that admits TPMs by their maker's certificate: from the chip's NV memory to a hub."""
import datetime
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

from lib.process import wait_until
from lib.serviceapi import Operator
from lib.tpmdevice import TpmDevice
from test_doctor import CERT_RSA, Tpm, public_key

DAY = datetime.timedelta(days=1)
TCG = "2.23.133"
REFUSED = 77


def name_of(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Maker:
    """A TPM maker: a root, and certificates of endorsement keys."""

    def __init__(self, name, path):
        self.name, self.path = name_of(name), path / name
        self.path.mkdir()
        self.key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.utcnow()
        self.root = (x509.CertificateBuilder().subject_name(self.name).issuer_name(self.name)
                     .public_key(self.key.public_key()).serial_number(1)
                     .not_valid_before(now - DAY).not_valid_after(now + 365 * DAY)
                     .add_extension(x509.BasicConstraints(True, None), True)
                     .sign(self.key, hashes.SHA256()))

    def write(self, name, item):
        path = self.path / name
        path.write_bytes(item.public_bytes(serialization.Encoding.PEM))
        return path

    def fingerprint(self):
        return self.root.fingerprint(hashes.SHA256()).hex()

    def certify(self, device, serial=7, until=300 * DAY):
        """As chips carry it: no subject, and a critical alternative name with the attributes."""
        attributes = [x509.NameAttribute(ObjectIdentifier(f"{TCG}.2.{i}"), value) for i, value in
                      ((1, "id:54455354"), (2, "TPM 9000"), (3, "id:00020008"))]
        san = x509.SubjectAlternativeName([x509.DirectoryName(x509.Name(attributes))])
        now = datetime.datetime.utcnow()
        key = public_key(device.show()["endorsementKey"]["public"])
        return (x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(self.name)
                .public_key(key).serial_number(serial)
                .not_valid_before(now - 2 * DAY).not_valid_after(now + until)
                .add_extension(x509.BasicConstraints(False, None), True)
                .add_extension(san, True)
                .add_extension(x509.ExtendedKeyUsage([ObjectIdentifier(f"{TCG}.8.1")]), False)
                .sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))

    def revoke(self, serial):
        now = datetime.datetime.utcnow()
        gone = (x509.RevokedCertificateBuilder().serial_number(serial)
                .revocation_date(now - DAY).build())
        return self.write("crl.pem", x509.CertificateRevocationListBuilder()
                          .issuer_name(self.name).last_update(now - DAY)
                          .next_update(now + 30 * DAY).add_revoked_certificate(gone)
                          .sign(self.key, hashes.SHA256()))


@pytest.fixture
def maker(tmp_path):
    return Maker("maker", tmp_path)


@pytest.fixture
def service(make_service):
    return make_service()


@pytest.fixture
def make_device(service, make_swtpm, tmp_path):
    """A device under its derived ID, with what certify makes for it in its NV memory, padded."""
    def make(name, certify):
        device = TpmDevice(service, make_swtpm(name, tcp=True))
        put(device, certify(device), tmp_path / f"{name}.der")
        return device

    return make


def put(device, cert, path):
    Tpm(device.tpm).put_nv(CERT_RSA, cert + b"\xff" * 64, path)


def group_add(service, maker, *more):
    service.cli("trust", "add", "--root", maker.write("root.pem", maker.root))
    service.cli("group", "add", "chips", "--ek-certificate", "--root", maker.fingerprint(), *more)


def register(device, check=True):
    run = device.latchkey("register", "--url", device.service.url, "--scope", device.service.scope,
                          "--ca-file", device.service.ca_file, "--deadline", "60", "--json",
                          "--ek-cert", *device.id_options, check=check)
    return json.loads(run.stdout) if check else run


def expect_refused(device, why):
    """With one answer for all reasons to the device, and this one in the operator's log."""
    run = register(device, check=False)
    assert run.returncode == REFUSED, (run.returncode, run.stderr)
    assert why not in run.stderr
    wait_until(lambda: f'"{why}"' in device.service.log_text(), f"a refusal for {why}")


def test_admitted(service, maker, make_device):
    """Without an enrollment, to a hub that takes its token; and again, as the same device."""
    group_add(service, maker, "--vendor", "TEST", "--model", "TPM 9000", "--firmware-min",
              "id:00020000")
    device = make_device("tpm", maker.certify)
    result = register(device)
    assert result["status"] == "assigned" and result["deviceId"] == result["registrationId"]
    assert service.accepts(device.token(result))
    again = register(device)
    assert again["deviceId"] == result["deviceId"]
    assert not device.handles()["transient"]


def test_group_through_the_api(service, maker, make_device):
    """
    Its rules come and go as JSON: what they admit registers and is a row of the group's, what an
    update leaves out of them counts for nobody any more, and a group that is off admits nobody.
    """
    operator = Operator(service)
    service.cli("trust", "add", "--root", maker.write("root.pem", maker.root))

    def body(status="enabled", **rules):
        return {"enrollmentGroupId": "chips", "provisioningStatus": status,
                "attestation": {"type": "tpm", "tpm": {"ekCertificate": {
                    "roots": [maker.fingerprint()], **rules}}}}

    def put(sent, etag=None):
        headers = [("If-Match", etag)] if etag else []
        return operator.ask("PUT", "/enrollmentGroups/chips", sent, headers=headers)

    made = put(body(vendors=["TEST"], firmwareMin="id:00020000", quota=1))
    assert made.status == 200, made
    rules = made.json()["attestation"]["tpm"]["ekCertificate"]
    assert rules == {"roots": [maker.fingerprint()], "vendors": ["TEST"],
                     "firmwareMin": "id:00020000", "quota": 1}
    shown = operator.ask("POST", "/enrollmentGroups/chips/attestationmechanism").json()
    assert shown == {"type": "tpm", "tpm": {"ekCertificate": rules}}

    device = make_device("one", maker.certify)
    result = register(device)
    assert result["status"] == "assigned"
    rows = operator.all("/registrations/Chips/query")
    assert [row["registrationId"] for row in rows] == [result["registrationId"]]
    assert rows == [operator.ask("GET", "/registrations/" + result["registrationId"]).json()]
    expect_refused(make_device("two", maker.certify), "group.quota")

    got = operator.ask("GET", "/enrollmentGroups/chips").json()
    assert put(body(quota=0), got["etag"]).status == 400
    assert put(body(roots=[]), "*").status == 200
    expect_refused(device, "group.no_roots")
    assert put(body("disabled"), "*").status == 200
    expect_refused(device, "group.disabled")
    assert put(body(), "*").status == 200
    assert register(device)["status"] == "assigned"


def test_without_certificate(service, maker, make_device):
    """The group is asked for nothing when the device does not send it."""
    group_add(service, maker)
    device = make_device("tpm", maker.certify)
    assert device.register(check=False).returncode == REFUSED


def test_other_root(service, maker, make_device, tmp_path):
    """A maker whom nobody trusts, under the name of one who is."""
    group_add(service, maker)
    (tmp_path / "other").mkdir()
    impostor = Maker("maker", tmp_path / "other")
    expect_refused(make_device("a", impostor.certify), "ek_cert.signature")
    stranger = Maker("stranger", tmp_path)
    expect_refused(make_device("b", stranger.certify), "ek_cert.chain")


def test_revoked(service, maker, make_device):
    """From the import of the list on, without a restart."""
    group_add(service, maker)
    device = make_device("tpm", lambda d: maker.certify(d, serial=42))
    register(device)
    service.cli("trust", "add", "--crl", maker.revoke(42))
    expect_refused(device, "ek_cert.revoked")


def test_expired(service, maker, make_device):
    group_add(service, maker)
    expect_refused(make_device("tpm", lambda d: maker.certify(d, until=-DAY)), "ek_cert.expired")


def test_quota(service, maker, make_device):
    """One device more than the quota; the one within it may come back."""
    group_add(service, maker, "--quota", "1")
    first = make_device("first", maker.certify)
    register(first)
    expect_refused(make_device("second", maker.certify), "group.quota")
    register(first)


def test_duplicate(service, maker, make_device):
    """One TPM under two names."""
    group_add(service, maker, "--any-registration-id")
    device = make_device("tpm", maker.certify)
    device.id_options = ["--registration-id", "first-name"]
    register(device)
    device.id_options = ["--registration-id", "second-name"]
    expect_refused(device, "group.ek_registered")
    (line,) = [line for line in service.log() if line["event"] == "ek.duplicate"]
    assert (line["registration_id"], line["registered_as"]) == ("second-name", "first-name"), line
    assert "\nlatchkey_ek_duplicates_total 1\n" in service.admin("GET", "/metrics")[1].decode()
    records = [json.loads(text) for text in
               service.cli("audit", "list", "--json").stdout.splitlines()]
    (record,) = [r for r in records if r["action"] == "registration.ek_duplicate"]
    assert record["subject"] == "second-name", record
    assert record["detail"]["registeredAs"] == "first-name", record
    service.cli("registration", "remove", "first-name")
    register(device)


def test_window(service, maker, make_device):
    group_add(service, maker, "--not-after", "2020-01-01T00:00:00Z")
    expect_refused(make_device("tpm", maker.certify), "group.ended")


def test_disabled_enrollment_wins(service, maker, make_device):
    """A device that was disabled does not come back by its certificate."""
    group_add(service, maker, "--any-registration-id")
    device = make_device("tpm", maker.certify)
    service.cli("enrollment", "add", "--registration-id", "sold", "--ek",
                device.show()["endorsementKey"]["public"], "--disabled")
    device.id_options = ["--registration-id", "elsewhere"]
    expect_refused(device, "group.ek_enrolled")


def test_group_needs_its_root(service, maker):
    """A group is not made with a root that is not there, or without one."""
    run = service.cli("group", "add", "chips", "--ek-certificate", "--root", maker.fingerprint(),
                      check=False)
    assert run.returncode != 0 and "trust add --root" in run.stderr
    assert service.cli("group", "add", "chips", "--ek-certificate", check=False).returncode == 64
    group_add(service, maker, "--quota", "5")
    shown = json.loads(service.cli("group", "show", "chips", "--json").stdout)
    assert shown["attestation"] == "ekCertificate"
    assert shown["rules"] == {"roots": [maker.fingerprint()], "quota": 5}
