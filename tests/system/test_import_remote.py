"""Imports at a service elsewhere: listed and undone from another machine."""
import json

import pytest

from lib.elsewhere import Elsewhere
from test_enrollment_cli import devices, ek64, write_csv

UNAVAILABLE, REFUSED = 69, 77


@pytest.fixture
def service(make_service):
    return make_service(audit_reads=0)


@pytest.fixture
def remote(service):
    return Elsewhere(service)


def rows(side, *words):
    return [json.loads(line) for line in side.cli(*words, "--json").stdout.splitlines()]


def test_listed_and_undone(service, remote, tmp_path):
    """The same list, and an undo that keeps what was changed, under the policy's name."""
    service.cli("enrollment", "import", write_csv(tmp_path / "a.csv", devices(100)))
    service.cli("enrollment", "import", write_csv(tmp_path / "b.csv", devices(1200, 100)))
    for form in ([], ["--json"]):
        there = remote.cli("enrollment", "imports", *form)
        assert there.stdout == service.cli("enrollment", "imports", *form).stdout and there.stdout
    service.cli("enrollment", "disable", "dev-000100")
    service.cli("enrollment", "remove", "dev-000101")
    done = remote.cli("enrollment", "undo", 2)
    assert done.stdout == "import 2 is undone: 1198 enrollments removed\n"
    assert "1 enrollments were changed since and are kept" in done.stderr
    left = [row["registrationId"] for row in rows(service, "enrollment", "list")]
    assert left == [f"dev-{i:06}" for i in range(101)]
    assert [i["id"] for i in rows(remote, "enrollment", "imports")] == [1]
    record = [r for r in rows(service, "audit", "list") if r["action"] == "enrollment.undo"][-1]
    assert record["actor"] == "policy:provisioningserviceowner"
    run = remote.cli("enrollment", "undo", 2, check=False)
    assert run.returncode == UNAVAILABLE and f"there is no import 2 in {remote.host}" in run.stderr
    assert "100 enrollments removed" in remote.cli("enrollment", "undo", 1, "--force").stdout
    service.cli("enrollment", "add", "--registration-id", "again", "--ek", ek64(500))


def test_rights(service, tmp_path):
    """Who may read may list, and undo nothing; who may neither is told nothing."""
    service.cli("enrollment", "import", write_csv(tmp_path / "a.csv", devices(3)))
    service.cli("policy", "add", "reader", "--rights", "EnrollmentRead")
    service.cli("policy", "add", "other", "--rights", "RegistrationStatusRead")
    assert len(rows(Elsewhere(service, "reader"), "enrollment", "imports")) == 1
    run = Elsewhere(service, "reader").cli("enrollment", "undo", 1, check=False)
    assert run.returncode == REFUSED and not run.stdout
    run = Elsewhere(service, "other").cli("enrollment", "imports", check=False)
    assert run.returncode == REFUSED and not run.stdout
    assert len(rows(service, "enrollment", "list")) == 3
