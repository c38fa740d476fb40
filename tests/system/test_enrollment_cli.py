"""latchkey enrollment: every command and every message, with the service not running."""
import base64
import csv
import hashlib
import json
import os
import pty
import random
import signal
import subprocess
import sys
import time

import pytest

from lib.service import HUB, SCOPE, Service, program

EK_HEAD = bytes.fromhex(
    "013a0001000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
    "000600800043001008000000000001" "00")
COLUMNS = ["registrationId", "endorsementKey", "deviceId", "provisioningStatus",
           "allocationPolicy", "iotHubs", "initialTwin", "reprovisionPolicy"]


def ek(number):
    """The EK public area of nobody's RSA-2048 key, a different one for each number."""
    modulus = bytearray(random.Random(number).randbytes(256))
    modulus[0] |= 0x80
    modulus[-1] |= 1
    return EK_HEAD + bytes(modulus)


def ek64(number):
    return base64.b64encode(ek(number)).decode()


def ek_id(number):
    """How Latchkey names a key: SHA-256 over algorithm, size, exponent and modulus."""
    head = bytes.fromhex("01" "00000800" "00010001")
    return hashlib.sha256(head + ek(number)[-256:]).hexdigest()


def write_csv(path, rows, header="registrationId,endorsementKey"):
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(header + "\n")
        file.writelines(",".join(row) + "\n" for row in rows)
    return path


def devices(count, first=0):
    return [(f"dev-{i:06}", ek64(i)) for i in range(first, first + count)]


@pytest.fixture
def service(tmp_path):
    """Made, not started."""
    return Service(tmp_path / "service")


@pytest.fixture
def enrollment(service):
    def run(*words, check=True, **kwargs):
        return service.cli("enrollment", *words, check=check, **kwargs)
    return run


@pytest.fixture
def refused(enrollment):
    """A command that fails with this status and says this; nothing on stdout."""
    def run(status, message, *words, **kwargs):
        done = enrollment(*words, check=False, **kwargs)
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


def show(enrollment, name):
    return json.loads(enrollment("show", name, "--json").stdout)


def listed(enrollment):
    return [json.loads(line)["registrationId"]
            for line in enrollment("list", "--json").stdout.splitlines()]


# ---- one at a time


def test_add_and_show(enrollment, audit, tmp_path):
    """What is given is what is shown, and the record names the key that is trusted."""
    twin = tmp_path / "twin.json"
    twin.write_text('{ "tags": {"line": 7} }\n')
    (tmp_path / "ek.txt").write_text(ek64(2) + "\n")
    done = enrollment("add", "--registration-id", "Press-7", "--ek", ek64(1),
                      "--ek", f"@{tmp_path}/ek.txt", "--device-id", "D,7", "--hub", HUB.upper(),
                      "--disabled", "--initial-twin", twin, "--reprovision", "never")
    assert "Press-7 is enrolled in 0ne00000001, disabled" in done.stderr
    got = show(enrollment, "PRESS-7")
    assert got["registrationId"] == "Press-7" and got["deviceId"] == "D,7"
    assert got["scope"] == SCOPE
    assert got["provisioningStatus"] == "disabled" and got["reprovisionPolicy"] == "never"
    assert got["iotHubs"] == [HUB] and got["initialTwin"] == {"tags": {"line": 7}}
    assert [key["public"] for key in got["endorsementKeys"]] == [ek64(1), ek64(2)]
    assert [key["id"] for key in got["endorsementKeys"]] == [ek_id(1), ek_id(2)]
    assert [key["type"] for key in got["endorsementKeys"]] == ["RSA-2048"] * 2
    text = enrollment("show", "press-7").stdout
    for word in ("Press-7", "D,7", "disabled", ek_id(1), ek_id(2), HUB, "never", "line"):
        assert word in text
    record, = audit("enrollment.create")
    assert record["subject"] == "Press-7" and record["scope"] == SCOPE
    assert ek_id(1) in json.dumps(record) and ek_id(2) in json.dumps(record)


def test_add_defaults(enrollment):
    """The least that can be given."""
    enrollment("add", "--registration-id", "a", "--ek", ek64(1))
    got = show(enrollment, "a")
    assert got["deviceId"] == "a" and got["provisioningStatus"] == "enabled"
    assert got["allocationPolicy"] == "default" and got["reprovisionPolicy"] == "migrate"
    assert got["iotHubs"] == [] and "initialTwin" not in got and "import" not in got


def test_add_refused(refused, enrollment, audit, tmp_path):
    """Each mistake has its own message, and changes nothing."""
    add = ("add", "--registration-id", "dev-1", "--ek", ek64(1))
    (tmp_path / "bad.json").write_text('{"a":1,"a":2}')
    (tmp_path / "array.json").write_text("[]")
    refused(64, "--registration-id and --ek are needed", "add", "--registration-id", "dev-1")
    refused(64, "--registration-id and --ek are needed", "add", "--ek", ek64(1))
    refused(65, "is no registration ID", "add", "--registration-id", "a/b", "--ek", ek64(1))
    refused(65, "\"\\x1b[2J\" is no registration ID", "add", "--registration-id", "\x1b[2J",
            "--ek", ek64(1))
    refused(65, "is no registration ID", "add", "--registration-id", "x" * 129, "--ek", ek64(1))
    refused(65, "is not base64", "add", "--registration-id", "dev-1", "--ek", "not base64")
    refused(65, "ek.malformed", "add", "--registration-id", "dev-1", "--ek", "AAAA")
    refused(65, "ek.malformed", "add", "--registration-id", "dev-1", "--ek",
            base64.b64encode(ek(1) + b"\0").decode())
    refused(73, "ek.repeated", *add, "--ek", ek64(1))
    refused(64, "--ek cannot be", *add, *sum((["--ek", ek64(i)] for i in range(2, 10)), []))
    refused(74, "No such file", "add", "--registration-id", "dev-1", "--ek", "@/nowhere/ek.txt")
    refused(64, "--device-id cannot be", *add, "--device-id", "a b")
    refused(64, "--hub cannot be", *add, "--hub", "hub:8883")
    refused(65, "iotHubs: hub9.example.test is not a linked hub", *add, "--hub",
            "hub9.example.test")
    refused(64, "--reprovision cannot be", *add, "--reprovision", "always")
    refused(65, "JSON member given twice", *add, "--initial-twin", tmp_path / "bad.json")
    refused(65, "not an object", *add, "--initial-twin", tmp_path / "array.json")
    refused(69, "there is no ID scope \"0neX\"", *add, "--scope", "0neX")
    refused(64, "one argument too many", *add, "dev-2")
    refused(64, "no option", *add, "--colour", "red")
    assert listed(enrollment) == [] and audit("enrollment.create") == []


def test_add_conflicts(enrollment, refused):
    """An ID in any case and a key in any spelling belong to one enrollment."""
    enrollment("add", "--registration-id", "Dev-1", "--ek", ek64(1))
    refused(73, "Dev-1 has that registration ID", "add", "--registration-id", "dev-1",
            "--ek", ek64(2))
    spelt = bytearray(ek(1))
    spelt[54:58] = (65537).to_bytes(4, "big")
    refused(73, "Dev-1 accepts that endorsement key", "add", "--registration-id", "dev-2",
            "--ek", base64.b64encode(spelt).decode())
    assert listed(enrollment) == ["Dev-1"]


def test_disable_enable_remove(enrollment, refused, audit):
    """Each change once, with its record; a repetition changes nothing."""
    enrollment("add", "--registration-id", "Dev-1", "--ek", ek64(1))
    etag = show(enrollment, "dev-1")["etag"]
    assert "Dev-1 is disabled\n" in enrollment("disable", "DEV-1").stderr
    assert show(enrollment, "dev-1")["provisioningStatus"] == "disabled"
    assert show(enrollment, "dev-1")["etag"] != etag
    assert "Dev-1 is disabled already" in enrollment("disable", "dev-1").stderr
    assert "Dev-1 is enabled\n" in enrollment("enable", "dev-1").stderr
    assert show(enrollment, "dev-1")["provisioningStatus"] == "enabled"
    assert len(audit("enrollment.update")) == 2
    assert "Dev-1 is removed" in enrollment("remove", "dev-1").stderr
    assert [record["subject"] for record in audit("enrollment.delete")] == ["Dev-1"]
    for command in ("show", "disable", "enable", "remove"):
        refused(69, "there is no enrollment dev-1 in 0ne00000001", command, "dev-1")
        refused(64, "an argument is missing", command)
    enrollment("add", "--registration-id", "dev-2", "--ek", ek64(1))


def test_accepted_keys(enrollment, refused, audit):
    """Keys come and go; the last one stays."""
    enrollment("add", "--registration-id", "dev-1", "--ek", ek64(1))
    enrollment("add", "--registration-id", "dev-2", "--ek", ek64(9))
    done = enrollment("add-ek", "dev-1", "--ek", ek64(2), "--ek", ek64(3))
    assert "dev-1 accepts 3 endorsement keys" in done.stderr
    refused(73, "ek.repeated", "add-ek", "dev-1", "--ek", ek64(2))
    refused(73, "dev-2 accepts that endorsement key", "add-ek", "dev-1", "--ek", ek64(9))
    refused(69, "there is no enrollment nobody", "add-ek", "nobody", "--ek", ek64(4))
    refused(64, "--ek is needed", "add-ek", "dev-1")
    enrollment("remove-ek", "dev-1", "--ek-id", ek_id(1).upper())
    refused(69, "does not accept such a key", "remove-ek", "dev-1", "--ek-id", ek_id(1))
    enrollment("remove-ek", "dev-1", "--ek-id", ek_id(3))
    refused(75, "it is the last one", "remove-ek", "dev-1", "--ek-id", ek_id(2))
    refused(64, "--ek-id cannot be", "remove-ek", "dev-1", "--ek-id", "abc")
    refused(64, "--ek-id is needed", "remove-ek", "dev-1")
    assert [key["id"] for key in show(enrollment, "dev-1")["endorsementKeys"]] == [ek_id(2)]
    details = [json.dumps(record) for record in audit("enrollment.update")]
    assert sum("endorsementKeyAdded" in text for text in details) == 2
    assert sum("endorsementKeyRemoved" in text for text in details) == 2
    enrollment("add", "--registration-id", "dev-3", "--ek", ek64(1))  # it is free again


def test_list_pages(enrollment, tmp_path):
    """More than one page, in order of the ID, each once."""
    write_csv(tmp_path / "m.csv", devices(450))
    enrollment("import", tmp_path / "m.csv")
    assert listed(enrollment) == [f"dev-{i:06}" for i in range(450)]
    table = enrollment("list").stdout.splitlines()
    assert table[0].startswith("REGISTRATION ID") and len(table) == 451


def test_several_scopes(service, enrollment, refused):
    """With two scopes one must be chosen; the same ID and key can be in both."""
    enrollment("add", "--registration-id", "dev-1", "--ek", ek64(1))
    service.cli("scope", "add", "0ne00000002")
    refused(64, "there are several ID scopes", "list")
    enrollment("add", "--registration-id", "dev-1", "--ek", ek64(1), "--scope", "0ne00000002")
    enrollment("remove", "dev-1", "--scope", SCOPE)
    assert "dev-1" in enrollment("list", "--scope", "0ne00000002").stdout


# ---- manifests


def test_import_factory_manifest(enrollment, audit, tmp_path):
    """Columns as `device show --manifest csv` writes them; a software TPM is warned about."""
    path = tmp_path / "m.csv"
    write_csv(path, [("dev-1", ek64(1), ek_id(1), "RSA-2048", "discrete"),
                     ("dev-2", ek64(2), "", "RSA-2048", "software"),
                     ("dev-3", ek64(3), ek_id(3).upper(), "RSA-2048", "firmware")],
              "registrationId,endorsementKey,ekId,ekType,tpmKind")
    done = enrollment("import", path)
    assert done.stdout == "3 enrollments imported into 0ne00000001, import 1\n"
    assert "warning: 1 of the rows are of a software TPM" in done.stderr
    assert show(enrollment, "dev-3")["import"] == {"id": 1, "line": 4}
    record, = audit("enrollment.import")
    assert record["subject"] == str(path)
    assert '"rows":3' in json.dumps(record["detail"]).replace("\\", "").replace(" ", "")


def test_import_jsonl_from_stdin(enrollment):
    """No name to guess by: the first character says it."""
    rows = [{"registrationId": "dev-1", "endorsementKeys": [ek64(1), ek64(2)], "iotHubs": [HUB],
             "initialTwin": {"tags": {"ü": "\"x\","}}, "deviceId": "D1"},
            {"registrationId": "dev-2", "endorsementKey": ek64(3), "deviceId": None}]
    text = "\n" + "".join(json.dumps(row) + "\n" for row in rows)
    done = enrollment("import", "-", input=text)
    assert done.stdout.startswith("2 enrollments imported")
    assert show(enrollment, "dev-1")["initialTwin"] == rows[0]["initialTwin"]
    done = enrollment("import", "-", "--format", "csv", input=text, check=False)
    assert done.returncode == 65 and "expected quotes around the whole field" in done.stderr


def test_import_names_every_bad_row(enrollment, audit, tmp_path):
    """Line, field and what was expected, for each; nothing is half-applied."""
    path = tmp_path / "m.csv"
    rows = [("dev-1", ek64(1), "", "", ""),
            ("dev/2", ek64(2), "", "", ""),
            ("dev-3", "AAAA", "", "", ""),
            ("dev-4", "%%", "", "", ""),
            ("DEV-1", ek64(5), "", "", ""),
            ("dev-6", ek64(1), "", "", ""),
            ("dev-7", ek64(7), "on", "", ""),
            ("dev-8", ek64(8), "", "hub9.example.test", ""),
            ("dev-9", ek64(9), "", "", ek_id(1)),
            ("dev-10",),
            ("dev-11", ek64(11), "", "", "")]
    write_csv(path, rows,
              "registrationId,endorsementKey,provisioningStatus,iotHubs,ekId")
    done = enrollment("import", path, check=False)
    assert done.returncode == 65 and done.stdout == ""
    want = [(3, "registrationId: expected", "not \"dev/2\""),
            (4, "endorsementKey: ", "ek.malformed"),
            (5, "endorsementKey: expected base64", "not \"%%\""),
            (6, "registrationId: the same registration ID", "as in line 2 (dev-1)"),
            (7, "endorsementKey: the same key", "as in line 2 (dev-1)"),
            (8, "provisioningStatus: expected enabled or disabled", "not \"on\""),
            (9, "iotHubs: hub9.example.test", "not a linked hub"),
            (10, "ekId: ", "not the identity of the endorsement key"),
            (11, "expected 5 fields", "")]
    lines = done.stderr.splitlines()
    assert len(lines) == len(want) + 1, done.stderr
    for line, (number, what, rest) in zip(lines, want):
        assert f"m.csv, line {number}: {what}" in line and rest in line, line
    assert "nothing was imported: 9 of 11 rows are bad" in lines[-1]
    assert listed(enrollment) == [] and audit("enrollment.import") == []

    done = enrollment("import", path, "--skip-bad")
    assert done.stdout.startswith("2 enrollments imported")
    assert "9 bad rows were skipped" in done.stderr
    assert listed(enrollment) == ["dev-1", "dev-11"]
    done = enrollment("import", path, "--skip-bad")
    assert done.stdout.startswith("0 enrollments imported")
    assert "2 rows say what is enrolled already" in done.stderr
    assert "the same registration ID as the enrollment dev-1 has, but another" in done.stderr


def test_import_dry_run(enrollment, audit, tmp_path):
    """Everything is checked, nothing stays."""
    write_csv(tmp_path / "m.csv", devices(600))
    done = enrollment("import", "--dry-run", tmp_path / "m.csv")
    assert done.stdout == ("new 600, changed 0, same 0, conflicting 0, otherwise bad 0\n"
                           "600 rows could be imported into 0ne00000001; dry run, nothing was\n")
    assert listed(enrollment) == [] and audit("enrollment.import") == []
    write_csv(tmp_path / "n.csv", devices(600) + devices(1))
    done = enrollment("import", "--dry-run", tmp_path / "n.csv", check=False)
    assert done.returncode == 65 and "the same registration ID as in line 2" in done.stderr


def test_import_unusable_files(refused, tmp_path):
    """No file, a folder, no header, unknown columns, an unknown form."""
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "bad.csv").write_text("registrationId,endorsmentKey\n")
    (tmp_path / "bad.jsonl").write_text('{"registrationId":"a","colour":"red"}\n')
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    refused(74, "No such file", "import", tmp_path / "none.csv")
    refused(74, "Is a directory", "import", tmp_path)
    refused(64, "--format cannot be", "import", tmp_path / "bad.csv", "--format", "xml")
    refused(64, "an argument is missing", "import")
    refused(65, "line 1: expected a row of column names", "import", tmp_path / "empty.csv")
    refused(65, "line 1: endorsmentKey: no such column", "import", tmp_path / "bad.csv")
    refused(65, "line 1: colour: no such member", "import", tmp_path / "bad.jsonl")
    refused(65, "line 1: ", "import", tmp_path / "binary")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_export_round_trips(enrollment, refused, tmp_path, form):
    """What is exported, removed and imported again is exported as the same bytes."""
    (tmp_path / "twin.json").write_text('{"tags":{"a":"x,\\"y\\"\\n","ü":[1,2.5,null]}}')
    enrollment("add", "--registration-id", "B:2", "--ek", ek64(1), "--ek", ek64(2),
               "--device-id", "-d,;$'", "--hub", HUB, "--initial-twin", tmp_path / "twin.json",
               "--reprovision", "reset")
    enrollment("add", "--registration-id", "a", "--ek", ek64(3), "--disabled")
    before = [show(enrollment, name) for name in ("a", "b:2")]
    text = enrollment("export", "--format", form).stdout
    enrollment("remove", "a")
    enrollment("remove", "b:2")
    enrollment("import", "-", "--format", form, input=text)
    assert enrollment("export", "--format", form).stdout == text
    for old, new in zip(before, [show(enrollment, name) for name in ("a", "b:2")]):
        for gone in ("etag", "created", "updated"):
            old.pop(gone), new.pop(gone)
        new.pop("import")
        assert old == new
    refused(64, "--format cannot be", "export", "--format", "xml")


def test_export_is_csv_to_others(enrollment, tmp_path):
    """Python's reader takes the same fields out of it."""
    (tmp_path / "twin.json").write_text('{"tags":{"a":"x,\\"y\\""}}')
    enrollment("add", "--registration-id", "a", "--ek", ek64(1), "--initial-twin",
               tmp_path / "twin.json")
    rows = list(csv.reader(enrollment("export").stdout.splitlines()))
    assert rows[0] == COLUMNS
    assert rows[1] == ["a", ek64(1), "", "enabled", "", "", '{"tags":{"a":"x,\\"y\\""}}', ""]


# ---- large ones


# A process's peak begins with what its parent had when it forked, so a small one stands between.
MEASURE = """
import os, subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(child.pid, 0)
child.returncode = status
print(usage.ru_maxrss)
sys.exit(status != 0)
"""


def peak_kb(service, *words):
    """Peak resident set of one latchkey command, in KiB."""
    argv = [sys.executable, "-c", MEASURE, program("latchkey"), "enrollment", *map(str, words)]
    env = dict(os.environ, LATCHKEY_CONFIG=service.config_path,
               ASAN_OPTIONS="quarantine_size_mb=1")  # a sanitizer build keeps what was freed
    run = subprocess.run(argv, stdout=subprocess.PIPE, env=env, timeout=120, check=True)
    return int(run.stdout)


def test_import_memory_is_flat(service, enrollment, tmp_path):
    """Ten times the rows take no more memory than the database's own cache grows by."""
    write_csv(tmp_path / "small.csv", devices(2000))
    write_csv(tmp_path / "large.csv", devices(20000, 2000))
    small = peak_kb(service, "import", tmp_path / "small.csv")
    large = peak_kb(service, "import", tmp_path / "large.csv")
    assert large - small < 20000, (small, large)  # the file alone is 8,900 KiB, its rows 200,000
    assert large < 80000
    out = peak_kb(service, "export")
    assert out < 80000
    assert len(enrollment("export").stdout.splitlines()) == 22001


def test_import_interrupted(service, enrollment, audit, tmp_path):
    """Ctrl-C in the middle leaves nothing, and the same file can be imported right after."""
    path = write_csv(tmp_path / "m.csv", devices(20000))
    argv = [program("latchkey"), "enrollment", "import", "-"]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE,
                             env=dict(os.environ, LATCHKEY_CONFIG=service.config_path))
    with open(path, "rb") as file:
        child.stdin.write(file.read(2_000_000))
        child.stdin.flush()
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 75 and out == b"", (child.returncode, err)
    assert b"interrupted: nothing was imported" in err
    assert listed(enrollment) == [] and audit("enrollment.import") == []
    assert enrollment("import", path).stdout.startswith("20000 enrollments imported")


def test_import_pipe_killed(service, enrollment, tmp_path):
    """kill -9 before the end of a pipe leaves nothing: what it gives is judged whole first."""
    path = write_csv(tmp_path / "m.csv", devices(3000))
    child = subprocess.Popen([program("latchkey"), "enrollment", "import", "-"],
                             stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                             env=dict(os.environ, LATCHKEY_CONFIG=service.config_path))
    with open(path, "rb") as file:
        child.stdin.write(file.read(1_000_000))
        child.stdin.flush()
    time.sleep(0.5)
    child.kill()
    child.wait()
    child.stdin.close()
    assert listed(enrollment) == []
    assert enrollment("import", path).stdout.startswith("3000 enrollments imported")


def test_progress_bar_is_for_terminals(service, enrollment, tmp_path):
    """A bar on a terminal, gone at the end; none in a pipe."""
    path = write_csv(tmp_path / "m.csv", devices(1000))
    assert "#" not in enrollment("import", "--dry-run", path).stderr
    master, slave = pty.openpty()
    child = subprocess.Popen([program("latchkey"), "enrollment", "import", str(path)],
                             stdout=subprocess.PIPE, stderr=slave,
                             env=dict(os.environ, LATCHKEY_CONFIG=service.config_path))
    out, _ = child.communicate(timeout=60)
    os.close(slave)
    seen = os.read(master, 65536)
    os.close(master)
    assert child.returncode == 0 and out.startswith(b"1000 enrollments imported")
    assert b"[##############################] 1000 rows, 0 bad" in seen
    assert seen.endswith(b"\r\x1b[K")


def test_service_sees_changes(make_service):
    """With the service running on the same store."""
    service = make_service()
    service.cli("enrollment", "add", "--registration-id", "dev-1", "--ek", ek64(1))
    assert "dev-1" in service.cli("enrollment", "list").stdout
    service.cli("enrollment", "disable", "dev-1")
    service.cli("audit", "verify")
