"""Signed manifests: the trust store, signatures by openssl, diff, resume, undo, export."""
import json
import os
import signal
import subprocess
import time

import pytest

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
