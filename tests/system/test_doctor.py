"""`latchkey doctor` against software TPMs in every state that it is meant to explain."""
import base64
import datetime
import json
import os
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from lib.service import program
from lib.swtpm import free_port_pair

CERT_RSA, CERT_ECC = "0x01c00002", "0x01c0000a"
# As makers define it (TCG EK Credential Profile 2.5, 2.2.1.4).
CERT_ATTRIBUTES = "ppwrite|writedefine|ppread|ownerread|authread|no_da|platformcreate"


class Tpm:
    """A software TPM with the tools of tpm2-tools and our doctor pointed at it."""

    def __init__(self, swtpm):
        self.tcti = swtpm.tcti

    def tool(self, name, *words, check=True):
        env = dict(os.environ, TPM2TOOLS_TCTI=self.tcti)
        run = subprocess.run([name, *[str(word) for word in words]], capture_output=True, text=True,
                             timeout=60, env=env)
        assert not check or run.returncode == 0, (name, words, run.stderr)
        return run

    def doctor(self, *words):
        """(exit code, {subject: finding}, whole answer)"""
        run = subprocess.run([program("latchkey"), "doctor", "--json", "--tcti", self.tcti,
                              *[str(word) for word in words]],
                             capture_output=True, text=True, timeout=60)
        assert run.stderr == "", run.stderr
        answer = json.loads(run.stdout)
        return run.returncode, {item["subject"]: item for item in answer["findings"]}, answer

    def show(self, *words):
        run = subprocess.run([program("latchkey"), "device", "show", "--json", "--tcti", self.tcti,
                              *[str(word) for word in words]],
                             capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    def handles(self):
        return self.tool("tpm2_getcap", "handles-persistent").stdout + self.tool(
            "tpm2_getcap", "handles-transient").stdout + self.tool(
            "tpm2_getcap", "handles-loaded-session").stdout

    def put_nv(self, index, content, path, attributes=CERT_ATTRIBUTES):
        path.write_bytes(content)
        self.tool("tpm2_nvdefine", index, "-C", "p", "-s", len(content), "-a", attributes)
        self.tool("tpm2_nvwrite", index, "-C", "p", "-i", path)


@pytest.fixture
def tpm(make_swtpm):
    return Tpm(make_swtpm("tpm", tcp=True))


def public_key(area):
    """The key in a base64 TPM2B_PUBLIC of an RSA-2048 or P-256 key."""
    area = base64.b64decode(area)
    if area[2:4] == b"\x00\x01":
        return rsa.RSAPublicNumbers(65537, int.from_bytes(area[-256:], "big")).public_key()
    assert area[2:4] == b"\x00\x23"
    x, y = area[-66:-34], area[-32:]
    return ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"),
                                         ec.SECP256R1()).public_key()


def certificate(key, issuer="Example TPM Maker"):
    """A maker's certificate for an EK, as DER."""
    maker = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime(2026, 1, 1)
    return (x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key).serial_number(7)
            .not_valid_before(now).not_valid_after(now + datetime.timedelta(days=3650))
            .sign(maker, hashes.SHA256()).public_bytes(serialization.Encoding.DER))


def test_fresh_tpm(tpm):
    """It can register, with a warning for being software; the doctor changes nothing in it."""
    before = tpm.handles()
    code, found, answer = tpm.doctor()
    assert code == 0 and answer["canRegister"] is True
    assert found["TPM"]["level"] == "warning" and "software" in found["TPM"]["text"]
    for subject in ("abilities", "passwords", "lockout", "room", "endorsement key",
                    "storage root key"):
        assert found[subject]["level"] == "ok", found[subject]
    assert "L-1" in found["endorsement key"]["text"]
    assert found["EK certificate"]["level"] == "note" and "none" in found["EK certificate"]["text"]
    assert "none yet" in found["identity key"]["text"]
    assert tpm.handles() == before


def test_for_people(tpm):
    """Without --json: one line a finding, and the verdict in words."""
    run = subprocess.run([program("latchkey"), "doctor", "--tcti", tpm.tcti], capture_output=True,
                         text=True, timeout=60)
    assert run.returncode == 0 and run.stdout.endswith(
        "This TPM can register; mind the warnings.\n")
    assert run.stdout.startswith("warning  TPM")


def test_no_tpm():
    """Nobody listens: that is what it says, and that is its exit code."""
    run = subprocess.run([program("latchkey"), "doctor", "--json", "--tcti",
                          f"swtpm:host=127.0.0.1,port={free_port_pair()}"],
                         capture_output=True, text=True, timeout=60)
    answer = json.loads(run.stdout)
    assert run.returncode == 69 and answer["canRegister"] is False
    assert answer["findings"][-1]["level"] == "stop"


def test_no_tpm_for_other_commands():
    """They say the same, not how the last of several attempts failed."""
    tcti = f"swtpm:host=127.0.0.1,port={free_port_pair()}"
    run = subprocess.run([program("latchkey"), "device", "show", "--tcti", tcti],
                         capture_output=True, text=True, timeout=60)
    assert run.returncode == 74
    assert f"the TPM at {tcti} cannot be reached" in run.stderr
    assert "refused" not in run.stderr


@pytest.mark.parametrize("padding", [0, 700])
def test_certificate_of_the_ek(tpm, tmp_path, padding):
    """It certifies the key in use, also when the index is larger than the certificate."""
    ek = tpm.show()["endorsementKey"]["public"]
    tpm.put_nv(CERT_RSA, certificate(public_key(ek)) + b"\xff" * padding, tmp_path / "nv")
    code, found, _ = tpm.doctor()
    assert code == 0
    assert found["EK certificate"]["level"] == "ok", found["EK certificate"]
    assert "Example TPM Maker" in found["EK certificate"]["text"]


def test_certificate_of_another_key(tpm, tmp_path):
    """The SDKs' key with an empty unique is not the one that the maker certified."""
    ek = tpm.show("--ek-recipe", "rsa2048")["endorsementKey"]["public"]
    tpm.put_nv(CERT_RSA, certificate(public_key(ek)), tmp_path / "nv")
    code, found, _ = tpm.doctor("--ek-recipe", "rsa2048-empty-unique")
    assert code == 0 and found["EK certificate"]["level"] == "warning"
    assert "ANOTHER" in found["EK certificate"]["advice"]
    code, _, answer = tpm.doctor("--ek-recipe", "ecc-p256")
    about = [item for item in answer["findings"] if item["subject"] == "EK certificate"]
    assert code == 0 and [item["level"] for item in about] == ["note", "note"]
    assert "another kind" in about[0]["advice"] and "none" in about[1]["text"]


def test_certificate_of_the_ecc_ek(tpm, tmp_path):
    ek = tpm.show("--ek-recipe", "ecc-p256")["endorsementKey"]["public"]
    tpm.put_nv(CERT_ECC, certificate(public_key(ek)), tmp_path / "nv")
    code, found, _ = tpm.doctor("--ek-recipe", "ecc-p256")
    assert code == 0 and found["EK certificate"]["level"] == "ok", found["EK certificate"]


@pytest.mark.parametrize("content", [b"\x00" * 64, b"0\x82\x10\x00short", b"\xff" * 1500],
                         ids=["zeros", "cut", "erased"])
def test_index_with_something_else(tpm, tmp_path, content):
    """No certificate: a note, and the rest goes on."""
    tpm.put_nv(CERT_RSA, content, tmp_path / "nv")
    code, found, _ = tpm.doctor()
    assert code == 0 and found["EK certificate"]["level"] == "note"
    assert found["storage root key"]["level"] == "ok"


def test_issuer_cannot_play_tricks(tpm, tmp_path):
    """The issuer's name is a stranger's text: no control character reaches the terminal."""
    ek = tpm.show()["endorsementKey"]["public"]
    tpm.put_nv(CERT_RSA, certificate(public_key(ek), "\x1b[2JMaker\x9b\n\u202e"), tmp_path / "nv")
    run = subprocess.run([program("latchkey"), "doctor", "--tcti", tpm.tcti], capture_output=True,
                         timeout=60)
    assert run.returncode == 0 and b"Maker" in run.stdout
    assert not any(byte < 32 and byte != 10 or byte > 126 for byte in run.stdout)


def test_certificate_that_the_owner_guards(tpm, tmp_path):
    """An index that only the owner reads: with the owner's password it is read."""
    ek = tpm.show()["endorsementKey"]["public"]
    tpm.put_nv(CERT_RSA, certificate(public_key(ek)), tmp_path / "nv",
               "ppwrite|ppread|ownerread|no_da|platformcreate")
    tpm.tool("tpm2_changeauth", "-c", "o", "secret")
    password = tmp_path / "password"
    password.write_text("secret\n")
    code, found, _ = tpm.doctor("--owner-password-file", password)
    assert code == 0 and found["EK certificate"]["level"] == "ok", found["EK certificate"]


def test_passwords(tpm, tmp_path):
    """Missing: told before anything is tried. Given: all is well. Wrong: told, after one try."""
    tpm.tool("tpm2_changeauth", "-c", "o", "owner")
    tpm.tool("tpm2_changeauth", "-c", "e", "endorsement")
    code, found, answer = tpm.doctor()
    assert code == 69 and not answer["canRegister"]
    assert found["owner password"]["level"] == "stop"
    assert found["endorsement password"]["level"] == "stop"
    assert "endorsement key" not in found
    owner, endorsement, wrong = tmp_path / "o", tmp_path / "e", tmp_path / "w"
    owner.write_text("owner\n")
    endorsement.write_text("endorsement")
    wrong.write_text("wrong")
    code, found, _ = tpm.doctor("--owner-password-file", owner,
                                "--endorsement-password-file", endorsement)
    assert code == 0 and found["endorsement key"]["level"] == "ok"
    code, found, _ = tpm.doctor("--owner-password-file", owner,
                                "--endorsement-password-file", wrong)
    assert code == 69 and found["endorsement key"]["level"] == "stop"
    assert "password is wrong" in found["endorsement key"]["advice"]


def test_lockout(tpm):
    """Failed tries are counted, and a TPM in lockout cannot register."""
    tpm.tool("tpm2_dictionarylockout", "-s", "-n", 3, "-t", 1000, "-l", 1000)
    tpm.tool("tpm2_nvdefine", "0x1500010", "-C", "o", "-s", 4, "-p", "right",
             "-a", "authread|authwrite")
    for _ in range(2):
        assert tpm.tool("tpm2_nvwrite", "0x1500010", "-C", "0x1500010", "-P", "wrong", "-i",
                        "/etc/hostname", check=False).returncode != 0
    code, found, _ = tpm.doctor()
    assert code == 0 and found["lockout"]["level"] == "warning"
    assert found["lockout"]["text"].startswith("2 of 3 ")
    tpm.tool("tpm2_nvwrite", "0x1500010", "-C", "0x1500010", "-P", "wrong", "-i", "/etc/hostname",
             check=False)
    code, found, answer = tpm.doctor()
    assert code == 69 and not answer["canRegister"] and found["lockout"]["level"] == "stop"


def test_objects_left_behind(tpm):
    """A program that leaves its objects in the TPM is what stops the next."""
    for _ in range(2):
        tpm.tool("tpm2_createprimary", "-C", "o", "-G", "ecc", "-Q")
    _, found, _ = tpm.doctor()
    assert found["room"]["level"] == "warning" and "tpm2_flushcontext" in found["room"]["advice"]


def test_foreign_key_at_the_handle(tpm, tmp_path):
    """A key that no service takes, at the EK's handle: told, with the way out."""
    tpm.tool("tpm2_createprimary", "-C", "e", "-G", "ecc", "-c", tmp_path / "key.ctx", "-Q")
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", tmp_path / "key.ctx", "0x81010001")
    tpm.tool("tpm2_flushcontext", "-t")
    code, found, _ = tpm.doctor()
    assert code == 69 and found["endorsement key"]["level"] == "stop"
    code, found, _ = tpm.doctor("--ek-recipe", "rsa2048")
    assert code == 0 and found["endorsement key"]["level"] == "ok"
