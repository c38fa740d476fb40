"""Signed manifests: the trust store, signatures by openssl, diff, resume, undo, export."""
import hashlib
import json
import os
import signal
import subprocess

import pytest

from lib.process import wait_until
from lib.service import Service, program
from test_enrollment_cli import devices, ek64, write_csv


def openssl(*words, **kwargs):
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, **kwargs)


class Factory:
    """A certification authority with a signing line, made by openssl."""

    def __init__(self, place, name):
        self.place = place / name
        self.place.mkdir()
        self.name = name
        self.ca = self.place / "ca.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", self.place / "ca.key", "-out", self.ca, "-days", "30",
                "-subj", f"/O={name}/CN=CA")

    def line(self, name, *dates, usage="digitalSignature"):
        """The name of a fresh signer. dates: -startdate and -enddate of `openssl ca`."""
        request, config = self.place / f"{name}.csr", self.place / "ca.cnf"
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", self.place / f"{name}.key",
                "-out", request, "-subj", f"/O={self.name}/CN={name}")
        (self.place / "index").touch()
        config.write_text("[ca]\ndefault_ca=a\n[a]\n"
                          f"database={self.place}/index\nrand_serial=yes\nnew_certs_dir={self.place}\n"
                          "default_md=sha256\npolicy=p\nunique_subject=no\nx509_extensions=x\n"
                          "default_crl_days=5\n"
                          f"[p]\norganizationName=supplied\ncommonName=supplied\n[x]\nkeyUsage={usage}\n")
        openssl("ca", "-batch", "-notext", "-config", config, "-cert", self.ca, "-keyfile",
                self.place / "ca.key", "-in", request, "-out", self.place / f"{name}.pem",
                *(dates or ("-days", "20")))
        return name

    def sign(self, line, path, *words):
        """A detached signature beside path."""
        signature = path.with_name(path.name + ".p7s")
        openssl("cms", "-sign", "-binary", "-in", path, "-signer", self.place / f"{line}.pem",
                "-inkey", self.place / f"{line}.key", "-outform", "DER", "-out", signature, *words)
        return signature

    def revoke(self, line):
        """Revoke a line's certificate; the list's file."""
        config, crl = self.place / "ca.cnf", self.place / "crl.pem"
        ca = ("-config", config, "-cert", self.ca, "-keyfile", self.place / "ca.key")
        openssl("ca", *ca, "-revoke", self.place / f"{line}.pem")
        openssl("ca", *ca, "-gencrl", "-out", crl)
        return crl


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    made = Factory(tmp_path_factory.mktemp("factory"), "Acme")
    made.line("line7")
    return made


@pytest.fixture
def service(tmp_path):
    return Service(tmp_path / "service")


@pytest.fixture
def enrollment(service):
    def run(*words, check=True, **kwargs):
        return service.cli("enrollment", *words, check=check, **kwargs)
    return run


@pytest.fixture
def refused(service):
    """A command that fails with this status and says this; nothing on stdout."""
    def run(status, message, *words, **kwargs):
        done = service.cli(*words, check=False, **kwargs)
        assert done.returncode == status, (done.returncode, done.stderr)
        assert message in done.stderr, done.stderr
        assert done.stdout == ""
    return run


@pytest.fixture
def audit(service):
    def read(action):
        lines = service.cli("audit", "list", "--json").stdout.splitlines()
        return [record for record in map(json.loads, lines) if record["action"] == action]
    return read


def trusted(service):
    return [json.loads(line) for line in service.cli("trust", "list", "--json").stdout.splitlines()]


def exported(enrollment):
    return enrollment("export", "--format", "jsonl").stdout.splitlines()


def ids(lines):
    return sorted(json.loads(line)["registrationId"] for line in lines)


def ids_of(count):
    """Of devices(count)."""
    return [f"dev-{i:06}" for i in range(count)]


# ---- what is trusted


def test_trust_store(service, refused, audit, factory, tmp_path):
    """Each kind in PEM and DER, several in one file, listed, recorded, and removed by its hash."""
    assert trusted(service) == []
    other = Factory(tmp_path, "Other")
    der = tmp_path / "ca.der"
    openssl("x509", "-in", factory.ca, "-outform", "DER", "-out", der)
    both = tmp_path / "both.pem"
    both.write_text(factory.ca.read_text() + "some words between\n" + other.ca.read_text())
    service.cli("trust", "add", "--factory", der)
    assert [(t["kind"], t["subject"]) for t in trusted(service)] == [("factory", "CN=CA,O=Acme")]
    done = service.cli("trust", "add", "--root", both)
    assert len(done.stdout.splitlines()) == 2
    got = {t["subject"]: t for t in trusted(service)}
    assert {t["kind"] for t in got.values()} == {"root"} and len(got) == 2
    want = openssl("x509", "-in", factory.ca, "-noout", "-fingerprint", "-sha256", text=True).stdout
    assert want.strip().split("=")[1].replace(":", "").lower() == got["CN=CA,O=Acme"]["sha256"]
    assert got["CN=CA,O=Acme"]["sha256"] in service.cli("trust", "list").stdout
    assert len(audit("trust.add")) == 3
    service.cli("trust", "remove", got["CN=CA,O=Acme"]["sha256"][:8].upper())
    assert [t["subject"] for t in trusted(service)] == ["CN=CA,O=Other"]
    assert audit("trust.remove")[0]["subject"] == "CN=CA,O=Acme"
    crl = factory.revoke(factory.line("crl-line"))
    service.cli("trust", "add", "--crl", crl)
    assert "crl" in {t["kind"] for t in trusted(service)}

    before = trusted(service)
    (tmp_path / "words").write_text("words\n")
    (tmp_path / "half.pem").write_text(factory.ca.read_text() + factory.ca.read_text()[:200])
    (tmp_path / "mixed.pem").write_text(factory.ca.read_text() + crl.read_text())
    (tmp_path / "key.pem").write_text((factory.place / "ca.key").read_text())
    (tmp_path / "empty").touch()
    refused(64, "say what they are trusted for", "trust", "add", factory.ca)
    refused(64, "cannot be", "trust", "add", "--crl", "--root", factory.ca)
    refused(74, "No such file", "trust", "add", "--root", tmp_path / "none")
    refused(65, "it is empty", "trust", "add", "--root", tmp_path / "empty")
    refused(65, "no certificate and no revocation list", "trust", "add", "--root",
            tmp_path / "words")
    refused(65, "no certificate and no revocation list", "trust", "add", "--factory",
            tmp_path / "half.pem")
    refused(65, "there is a revocation list in it", "trust", "add", "--factory",
            tmp_path / "mixed.pem")
    refused(65, "a private key", "trust", "add", "--factory", tmp_path / "key.pem")
    refused(65, "--crl is for lists", "trust", "add", "--crl", factory.ca)
    refused(65, "cannot certify others", "trust", "add", "--root", factory.place / "line7.pem")
    refused(64, "8 to 64 hexadecimal digits", "trust", "remove", "abc")
    refused(69, "nothing begins with", "trust", "remove", "0123456789")
    assert trusted(service) == before


# ---- signatures


@pytest.fixture
def manifest(tmp_path):
    return write_csv(tmp_path / "m.csv", devices(700))


def test_signed_import(service, enrollment, audit, factory, manifest):
    """A good signature, by a line of a trusted factory: who signed which bytes is recorded."""
    service.cli("trust", "add", "--factory", factory.ca)
    signature = factory.sign("line7", manifest)
    done = enrollment("import", manifest, "--signature", signature, "--dry-run")
    assert "signed by CN=line7,O=Acme" in done.stderr
    done = enrollment("import", manifest, "--signature", signature)
    assert done.stdout.startswith("700 enrollments imported")
    detail = audit("enrollment.import")[0]["detail"]
    detail = json.loads(detail) if isinstance(detail, str) else detail
    assert detail["signer"] == "CN=line7,O=Acme" and detail["rows"] == 700
    pem = openssl("x509", "-in", factory.place / "line7.pem", "-outform", "DER").stdout
    assert detail["signerSha256"] == hashlib.sha256(pem).hexdigest()
    assert detail["sha256"] == hashlib.sha256(manifest.read_bytes()).hexdigest()


@pytest.mark.parametrize("words", [("-outform", "PEM"), ("-nocerts", "-md", "sha512"),
                                   ("-keyid",)])
def test_signature_forms(service, enrollment, factory, manifest, words):
    """The line itself is trusted, not its factory; the signature comes in each form, by stdin."""
    service.cli("trust", "add", "--factory", factory.place / "line7.pem")
    signature = factory.sign("line7", manifest, *words)
    done = enrollment("import", "-", "--signature", signature, input=manifest.read_text())
    assert done.stdout.startswith("700 enrollments imported")


def test_bad_signatures(service, refused, enrollment, audit, factory, manifest, tmp_path):
    """Each is refused for its own reason, and nothing was staged."""
    imported = ("enrollment", "import", manifest, "--signature")
    signature = factory.sign("line7", manifest)
    refused(77, "no factory certificate is trusted", *imported, signature)
    service.cli("trust", "add", "--root", factory.ca)
    refused(77, "no factory certificate is trusted", *imported, signature)
    service.cli("trust", "add", "--factory", factory.ca)

    stranger = Factory(tmp_path, "Stranger")
    stranger.line("line7")
    refused(77, "CN=line7,O=Stranger: unable to get local issuer", *imported,
            stranger.sign("line7", manifest))
    factory.line("late", "-startdate", "20200101000000Z", "-enddate", "20210101000000Z")
    refused(77, "CN=late,O=Acme: certificate has expired", *imported,
            factory.sign("late", manifest))
    factory.line("server", usage="digitalSignature\nextendedKeyUsage=serverAuth")
    refused(77, "extended key usage", *imported, factory.sign("server", manifest))
    factory.line("cipher", usage="keyEncipherment")
    refused(77, "key usage does not include digitalSignature", *imported,
            factory.sign("cipher", manifest))
    refused(65, "exactly one signer", *imported,
            factory.sign("line7", manifest, "-signer", factory.place / "server.pem", "-inkey",
                         factory.place / "server.key"))
    refused(65, "no signed attributes", *imported, factory.sign("line7", manifest, "-noattr"))
    small = write_csv(tmp_path / "small.csv", devices(1))
    refused(65, "a file of its own", *imported, factory.sign("line7", small, "-nodetach"))

    signature = factory.sign("line7", manifest)
    whole = signature.read_bytes()
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        signature.write_bytes(whole[:cut])
        refused(65, "no CMS (PKCS#7) signature", *imported, signature)
    signature.write_bytes(bytes(65537))
    refused(65, "no detached signature is so long", *imported, signature)
    refused(74, "No such file", *imported, tmp_path / "none.p7s")

    signature.write_bytes(whole)
    other = write_csv(tmp_path / "n.csv", devices(700, 1))
    refused(77, "over something else", "enrollment", "import", other, "--signature", signature)
    tampered = manifest.read_text().replace("dev-000500,", "dev-999999,")
    manifest.write_text(tampered)
    refused(77, "over something else", *imported, signature)

    service.cli("trust", "add", "--crl", factory.revoke("line7"))
    refused(77, "certificate revoked", *imported, signature)
    assert exported(enrollment) == []
    assert audit("enrollment.import") == []
    assert enrollment("imports", "--json").stdout == ""
    factory.line("line7")  # for the other tests


def test_signature_required(service, refused, enrollment, factory, manifest):
    """An operator who insists gets no unsigned manifest in, not even in a dry run."""
    service.configure(import_signature_required=1)
    service.cli("trust", "add", "--factory", factory.ca)
    refused(77, "asks for signed manifests", "enrollment", "import", manifest)
    refused(77, "asks for signed manifests", "enrollment", "import", manifest, "--dry-run")
    done = enrollment("import", manifest, "--signature", factory.sign("line7", manifest))
    assert done.stdout.startswith("700 enrollments imported")


def test_changed_after_verification(service, enrollment, factory, tmp_path):
    """The file is replaced in place while it is read for the second time."""
    service.cli("trust", "add", "--factory", factory.ca)
    path = write_csv(tmp_path / "m.csv", devices(20000))
    text = path.read_text()
    evil = text.replace(ek64(19999), ek64(777777))
    assert len(evil) == len(text) and evil != text
    argv = [program("latchkey"), "enrollment", "import", str(path), "--signature",
            str(factory.sign("line7", path))]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=dict(os.environ, LATCHKEY_CONFIG=service.config_path))
    wait_rows(enrollment, 256)
    with open(path, "r+", encoding="utf-8") as file:
        file.write(evil)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 77 and out == b"", (child.returncode, out, err)
    assert b"was changed while it was read" in err
    assert exported(enrollment) == []


def test_export_signs_and_returns(service, enrollment, factory, tmp_path):
    """What one service exports and a factory signs goes into another, and comes out the same."""
    for form in ("csv", "jsonl"):
        first = Service(tmp_path / f"first-{form}")
        first.cli("enrollment", "import", write_csv(tmp_path / "m.csv", devices(300)))
        path = tmp_path / f"export.{form}"
        path.write_text(first.cli("enrollment", "export", "--format", form).stdout)
        second = Service(tmp_path / f"second-{form}")
        second.cli("trust", "add", "--factory", factory.ca)
        second.cli("enrollment", "import", path, "--signature", factory.sign("line7", path))
        assert second.cli("enrollment", "export", "--format", form).stdout == path.read_text()


# ---- what would change


def test_diff(service, enrollment, tmp_path):
    """Counts and rows of a dry run; the same manifest again changes nothing."""
    path = write_csv(tmp_path / "m.csv", devices(300))
    enrollment("import", path)
    enrollment("disable", "dev-000007")
    rows = devices(302) + [("dev-other", ek64(5)), ("dev-000300", ek64(900)), ("bad/id", ek64(901))]
    path = write_csv(tmp_path / "n.csv", rows)
    done = enrollment("import", path, "--dry-run", check=False)
    assert done.returncode == 65
    assert done.stdout == "new 2, changed 1, same 299, conflicting 2, otherwise bad 1\n"
    assert "with --update these are changed" in done.stderr
    assert "dev-000007 has, but another provisioningStatus" in done.stderr
    done = enrollment("import", path, "--dry-run", "--json", check=False)
    *told, counts = map(json.loads, done.stdout.splitlines())
    assert counts == {"dryRun": True, "new": 2, "changed": 1, "same": 299, "conflicting": 2,
                      "bad": 1, "signer": None}
    by_id = {row["registrationId"]: row for row in told[:-2]}
    assert by_id["dev-000000"] == {"line": 2, "registrationId": "dev-000000", "row": "same"}
    assert by_id["dev-000007"]["row"] == "changed"
    assert by_id["dev-000301"]["row"] == "new"
    assert by_id["dev-other"]["row"] == "conflicting"
    assert [row["row"] for row in told[-2:]] == ["conflicting", "bad"]
    text = enrollment("import", path, "--dry-run", "--verbose", "--skip-bad").stdout.splitlines()
    assert any(line.startswith("changed      line 9         dev-000007: ") for line in text)
    assert text[-2] == "new 2, changed 1, same 299, conflicting 2, otherwise bad 1"
    done = enrollment("import", path, "--skip-bad")
    assert done.stdout.startswith("2 enrollments imported")
    assert "299 rows say what is enrolled already" in done.stderr


# ---- interrupted, listed, undone

ROWS = 60000  # enough to be caught in the middle


def imports(enrollment):
    return [json.loads(line) for line in enrollment("imports", "--json").stdout.splitlines()]


def wait_rows(enrollment, rows):
    """Until an import has staged so many."""
    wait_until(lambda: any(i["rows"] >= rows for i in imports(enrollment)), "rows are staged",
               timeout_s=60)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_resume(service, enrollment, refused, audit, factory, tmp_path, number):
    """Killed or interrupted in the middle, nothing is to be seen; resumed, everything is there."""
    path = write_csv(tmp_path / "m.csv", devices(ROWS))
    signature = factory.sign("line7", path)
    service.cli("trust", "add", "--factory", factory.ca)
    argv = [program("latchkey"), "enrollment", "import", str(path), "--signature", str(signature)]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=dict(os.environ, LATCHKEY_CONFIG=service.config_path))
    wait_rows(enrollment, 256)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert out == b""
    if number == signal.SIGINT:
        assert child.returncode == 75
        assert f"latchkey enrollment import --resume 1 {path}".encode() in err
    left, = imports(enrollment)
    assert left["state"] == "unfinished" and 0 < left["rows"] < ROWS
    assert left["source"] == str(path)
    assert left["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert exported(enrollment) == [] and audit("enrollment.import") == []

    other = write_csv(tmp_path / "n.csv", devices(ROWS, 1))
    refused(73, "go on with --resume 1", "enrollment", "import", path)
    refused(75, "import 1 is of another file", "enrollment", "import", other, "--resume", 1)
    refused(69, "no such unfinished import", "enrollment", "import", path, "--resume", 2)
    refused(64, "exclude each other", "enrollment", "import", path, "--resume", 1, "--dry-run")
    done = enrollment("import", path, "--resume", 1, "--signature", signature)
    assert done.stdout == f"{ROWS} enrollments imported into 0ne00000001, import 1\n"
    assert [i["state"] for i in imports(enrollment)] == ["finished"]
    assert ids(exported(enrollment)) == ids_of(ROWS)
    assert len(audit("enrollment.import")) == 1
    service.cli("audit", "verify")


def test_undo(service, enrollment, refused, audit, tmp_path):
    """What was changed since stays, unless it is forced; another import is not touched."""
    enrollment("import", write_csv(tmp_path / "a.csv", devices(100)))
    enrollment("import", write_csv(tmp_path / "b.csv", devices(3000, 100)))
    assert [(i["id"], i["rows"]) for i in imports(enrollment)] == [(2, 3000), (1, 100)]
    assert "finished" in enrollment("imports").stdout
    enrollment("disable", "dev-000107")
    enrollment("remove", "dev-000108")
    refused(69, "there is no import 9", "enrollment", "undo", 9)
    refused(64, "the number of an import", "enrollment", "undo", "b.csv")
    done = enrollment("undo", 2)
    assert done.stdout == "import 2 is undone: 2998 enrollments removed\n"
    assert "1 enrollments were changed since and are kept" in done.stderr
    assert len(exported(enrollment)) == 101
    record, = audit("enrollment.undo")
    detail = record["detail"]
    detail = json.loads(detail) if isinstance(detail, str) else detail
    assert detail == {"import": 2, "rows": 2998, "kept": 1, "unfinished": False}
    assert [i["id"] for i in imports(enrollment)] == [1]
    refused(69, "there is no import 2", "enrollment", "undo", 2)
    enrollment("disable", "dev-000001")
    assert "100 enrollments removed" in enrollment("undo", 1, "--force").stdout
    assert len(exported(enrollment)) == 1
    done = enrollment("import", tmp_path / "b.csv", "--skip-bad")
    assert done.stdout.startswith("2999 enrollments imported")


def test_give_up(service, enrollment, tmp_path):
    """An interrupted import can be given up; then the file is imported as if for the first time."""
    path = write_csv(tmp_path / "m.csv", devices(ROWS))
    child = subprocess.Popen([program("latchkey"), "enrollment", "import", str(path)],
                             env=dict(os.environ, LATCHKEY_CONFIG=service.config_path))
    wait_rows(enrollment, 256)
    child.kill()
    child.wait()
    assert "import 1 is given up" in enrollment("undo", 1).stdout
    assert imports(enrollment) == []
    assert enrollment("import", path).stdout.startswith(f"{ROWS} enrollments imported")
