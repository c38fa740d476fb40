"""latchkeyd on PostgreSQL: the whole path, two instances, a server that dies, and moving there."""
import base64
import json
import os
import shutil
import sqlite3
import subprocess
import threading
import time

import pytest

from lib import dialects
from lib.device import Device
from lib.postgres import Postgres
from lib.process import wait_until
from lib.service import Service, program
from lib.serviceapi import Operator
from lib.softtpm import SoftTpm
from lib.swtpm import free_port_pair
from test_enrollment_cli import devices, write_csv


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    yield server
    server.close()


class Instance(Service):
    """Another latchkeyd on the same store, with the same master key and certificate."""

    def __init__(self, directory, first):  # pylint: disable=super-init-not-called
        self.directory, self.build, self.network, self.process = str(directory), None, None, None
        port = free_port_pair()
        self.address, self.admin_address = ("127.0.0.1", port), ("127.0.0.1", port + 1)
        self.log_path = os.path.join(self.directory, "latchkeyd.log")
        self.data = os.path.join(self.directory, "data")
        self.config_path = os.path.join(self.data, "latchkeyd.conf")
        shutil.copytree(first.data, self.data)
        self.configure(data_dir=self.data, listen="%s:%d" % self.address,
                       admin_listen="%s:%d" % self.admin_address)


@pytest.fixture
def service(tmp_path, postgres):
    service = Service(tmp_path / "one", store=postgres.database())
    service.start()
    yield service
    service.stop()


@pytest.fixture
def pair(tmp_path, service):
    second = Instance(tmp_path / "two", service)
    second.start()
    yield service, second
    second.stop()


def enrolled(service, registration_id, dialect=None):
    device = Device(service, registration_id, SoftTpm("ecc"), dialect)
    service.enroll(device)
    return device


@pytest.mark.parametrize("dialect", dialects.ALL, ids=lambda d: type(d).__name__)
def test_registers(service, dialect):
    """From 401 to assigned, twice, and the hub takes each key."""
    device = enrolled(service, "dev-1", dialect)
    for _ in range(2):
        device.register()
        assert service.accepts(device.hub_token())
    service.cli("audit", "verify")


def test_steps_on_different_instances(pair):
    """Challenge from one, token to the other, poll on the first, where it is refused on neither."""
    one, two = pair
    device = enrolled(one, "dev-1")
    flow = device.flow()
    token = device.dialect.token(flow, device.challenge(flow))
    device.close()
    device.service = two
    device.authorise(flow, token)
    device.close()
    device.service = one
    device.poll(flow, token)
    device.close()
    assert one.accepts(device.hub_token()) and two.accepts(device.hub_token())
    # A disabled enrollment is refused by both at once.
    one.cli("enrollment", "disable", "dev-1")
    for instance in pair:
        device.service = instance
        with pytest.raises(Exception) as refused:
            device.register()
        assert refused.value.answer.status == 401


def test_a_policy_is_out_at_both_at_once(pair):
    """Made at one instance it opens the other; a key that was rolled, and a policy that was removed, at
    one is refused by the other with its next request."""
    base = "/latchkey/v1/policies"
    owners = [Operator(instance) for instance in pair]
    made = owners[0].ask("PUT", base + "/tool", {"rights": "ServiceConfig"}).json()
    keys = [base64.b64decode(made[name]) for name in ("primaryKey", "secondaryKey")]
    there = [Operator(pair[1], "tool", key) for key in keys]
    assert [tool.ask("GET", base).status for tool in there] == [200, 200]
    assert owners[0].ask("POST", base + "/tool/roll", {"key": "primary"}).status == 200
    assert [tool.ask("GET", base).status for tool in there] == [401, 200]
    assert owners[0].ask("DELETE", base + "/tool").status == 204
    assert [tool.ask("GET", base).status for tool in there] == [401, 401]


def test_two_instances_side_by_side(pair):
    """Devices register at both at the same time: each is assigned, the chain is whole."""
    devices = [enrolled(pair[n % 2], f"dev-{n}") for n in range(10)]
    faults = []

    def run(n):
        try:
            for turn in range(3):
                devices[n].service = pair[(n + turn) % 2]
                devices[n].register()
        except Exception as fault:  # pylint: disable=broad-except
            faults.append(repr(fault))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(devices))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    for device in devices:
        assert pair[0].accepts(device.hub_token())
    pair[1].cli("audit", "verify")


def test_server_restarts_while_devices_register(service, postgres):
    """kill -9 of the database in the middle: no device is refused for good, none loses its key."""
    devices = [enrolled(service, f"dev-{n}") for n in range(6)]
    faults = []

    def run(device):
        deadline = time.monotonic() + 120
        done = 0
        while done < 4:
            try:
                device.register()
                done += 1
            except Exception as fault:  # pylint: disable=broad-except
                device.close()
                status = getattr(getattr(fault, "answer", None), "status", 503)
                if status < 500 or time.monotonic() > deadline:
                    faults.append(repr(fault))
                    return
                time.sleep(0.2)

    threads = [threading.Thread(target=run, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    for _ in range(2):
        time.sleep(0.7)
        postgres.kill9()
        postgres.start()
    for thread in threads:
        thread.join()
    assert faults == []
    for device in devices:
        assert service.accepts(device.hub_token())
    service.cli("audit", "verify")
    assert service.process.running()


def test_not_ready_without_the_database(service, postgres):
    """While the server is gone /readyz says so and a device is told to come back; then it is well."""
    device = enrolled(service, "dev-1")
    postgres.kill9()
    try:
        wait_until(lambda: service.admin("GET", "/readyz")[0] == 503, "not ready", timeout_s=60)
    finally:
        postgres.start()
    wait_until(lambda: service.admin("GET", "/readyz")[0] == 200, "ready again", timeout_s=60)
    device.register()


def test_migrate_from_sqlite(tmp_path, postgres):
    """A service with registered devices moves: they are known there, keys and all."""
    service = Service(tmp_path / "s")
    service.start()
    device = enrolled(service, "dev-1")
    device.register()
    service.stop()
    url = postgres.database()
    told = json.loads(service.cli("store", "migrate", "--to", url, "--json").stdout)
    assert told["rows"] > 5
    again = service.cli("store", "migrate", "--to", url, check=False)
    assert again.returncode != 0 and "expected an empty store" in again.stderr
    service.configure(store=url)
    service.start()
    assert service.accepts(device.hub_token())
    device.register()
    assert service.accepts(device.hub_token())
    service.cli("audit", "verify")
    log = service.cli("audit", "list", "--json").stdout
    assert "store.migrate" in log
    service.stop()


@pytest.mark.parametrize("kind", ["sqlite", "pgsql"])
def test_backup_and_restore(tmp_path, postgres, kind):
    """Taken while the service runs; what it holds afterwards is what the restored one does not."""
    service = Service(tmp_path / "s", store=postgres.database() if kind == "pgsql" else None)
    service.start()
    device = enrolled(service, "dev-1")
    device.register()
    backup = tmp_path / "backup.db"
    service.cli("store", "backup", backup)
    assert os.stat(backup).st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == ["backup.db", "s"]
    status = json.loads(service.cli("store", "status", "--json").stdout)
    assert status["enrollments"] == 1 and status["registrations"]["assigned"] == 1
    assert "agrees" in service.cli("store", "verify").stdout
    twice = service.cli("store", "backup", backup, check=False)
    assert twice.returncode != 0 and "not there yet" in twice.stderr
    enrolled(service, "dev-2")
    service.stop()
    service.configure(store=f"sqlite:{backup}")
    service.start()
    assert service.accepts(device.hub_token())
    ids = [json.loads(line)["registrationId"]
           for line in service.cli("enrollment", "list", "--json").stdout.splitlines()]
    assert ids == ["dev-1"]
    device.register()
    service.cli("audit", "verify")
    service.stop()
    store = sqlite3.connect(backup)
    store.execute("UPDATE registration_count SET total = total + 1")
    store.commit()
    store.close()
    wrong = service.cli("store", "verify", "--json", check=False)
    assert wrong.returncode == 65
    assert json.loads(wrong.stdout)["kept"] == json.loads(wrong.stdout)["found"] + 1
    assert "counted anew" in service.cli("store", "verify", "--repair").stderr
    assert "agrees" in service.cli("store", "verify").stdout
    assert "store.recount" in service.cli("audit", "list").stdout


def test_import_killed_and_resumed(service, tmp_path, postgres):
    """An import that is killed in the middle is taken up again: no row is lost, none is there twice,
    and a device registers while it lies there."""
    rows = 60000
    path = write_csv(tmp_path / "m.csv", devices(rows))

    def imports():
        return [json.loads(line)
                for line in service.cli("enrollment", "imports", "--json").stdout.splitlines()]

    child = subprocess.Popen([program("latchkey"), "enrollment", "import", str(path)],
                             env=dict(os.environ, LATCHKEY_CONFIG=service.config_path))
    wait_until(lambda: any(i["rows"] > 0 for i in imports()), "rows are staged", timeout_s=60)
    child.kill()
    child.wait()
    left, = imports()
    assert left["state"] == "unfinished" and 0 < left["rows"] < rows
    assert service.cli("enrollment", "list", "--json").stdout == ""
    enrolled(service, "another").register()
    done = service.cli("enrollment", "import", path, "--resume", left["id"])
    assert done.stdout.startswith(f"{rows} enrollments imported")
    names = [json.loads(line)["registrationId"] for line in
             service.cli("enrollment", "export", "--format", "jsonl").stdout.splitlines()]
    assert sorted(names) == ["another"] + [f"dev-{i:06}" for i in range(rows)]
    database = "t%d" % postgres.databases
    keys = "SELECT count(*), count(DISTINCT ek_id) FROM enrollment_ek"
    assert postgres.sql(keys, database).stdout.strip() == f"{rows + 1}|{rows + 1}"
    assert "agrees" in service.cli("store", "verify").stdout
    assert "enrollments removed" in service.cli("enrollment", "undo", left["id"]).stdout
    assert postgres.sql(keys, database).stdout.strip() == "1|1"


def test_password_in_url_is_refused(tmp_path, postgres):
    url = postgres.database().replace("latchkey@", "latchkey:secret@")
    service = Service(tmp_path / "s")
    run = service.cli("store", "migrate", "--to", url, check=False)
    assert run.returncode == 64 and "passfile" in run.stderr and "secret" not in run.stderr
    service.configure(store=url)
    run = service.cli("enrollment", "list", check=False)
    assert run.returncode != 0 and "passfile" in run.stderr and "secret" not in run.stderr
