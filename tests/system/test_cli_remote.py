"""latchkey against a service elsewhere: the same commands and the same answers, over the operators'
API; what is said when there is no way to it; imports."""
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from lib.device import Device
from lib.elsewhere import Elsewhere
from lib.process import Process, wait_until
from lib.service import HUB, SCOPE, Service, program
from lib.softtpm import SoftTpm
from lib.swtpm import free_port_pair
from test_enrollment_cli import devices, ek64, ek_id, write_csv

OWNER = "provisioningserviceowner"
USAGE, DATA, NETWORK, UNAVAILABLE, EXISTS = 64, 65, 68, 69, 73
AGAIN, PROTOCOL, REFUSED, CONFIG = 75, 76, 77, 78


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Its audit record does not grow by being read."""
    service = Service(tmp_path_factory.mktemp("service"), audit_reads=0)
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def remote(service):
    return Elsewhere(service)


def certificate(folder, name, ca=False):
    path = str(folder / f"{name}.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", os.devnull, "-out", path, "-days", "30", "-subj", f"/CN={name}",
         "-addext", f"basicConstraints=critical,CA:{'TRUE' if ca else 'FALSE'}"],
        check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def stocked(service, tmp_path_factory):
    """A service with something of everything that there is to read."""
    folder = tmp_path_factory.mktemp("stock")
    twin = folder / "twin.json"
    twin.write_text('{"tags":{"line":7},"properties":{"desired":{"n":1.5}}}')
    add = ["enrollment", "add", "--registration-id"]
    service.cli(*add, "Press-7", "--ek", ek64(1), "--ek", ek64(2), "--device-id", "D,7",
                "--hub", HUB, "--allocation", "static", "--disabled", "--initial-twin", twin,
                "--reprovision", "never")
    service.cli(*add, "hooked", "--ek", ek64(3), "--webhook", "https://hook.example.test/x?code=1")
    service.cli(*add, "shared", "--symmetric-key")
    service.cli(*add, "certified", "--certificate", certificate(folder, "certified"))
    service.cli("enrollment", "import", write_csv(folder / "m.csv", devices(3, 100)))
    service.cli("group", "add", "keys", "--symmetric-key", "--hub", HUB)
    service.cli("group", "add", "signed", "--signing-certificate",
                certificate(folder, "authority", ca=True), "--disabled")
    root = certificate(folder, "maker", ca=True)
    service.cli("trust", "add", "--root", root)
    fingerprint = json.loads(service.cli("trust", "list", "--json").stdout.splitlines()[0])
    service.cli("group", "add", "chips", "--ek-certificate", "--root", fingerprint["sha256"],
                "--quota", "5", "--vendor", "INTC")
    device = Device(service, "here", SoftTpm("ecc"))
    service.enroll(device)
    device.register()
    device.close()
    service.cli("policy", "add", "reader", "--rights", "EnrollmentRead,RegistrationStatusRead")
    service.cli("hub", "add", "second.example.test", "--weight", "5", "--region", "north")
    return service


READS = [
    ["enrollment", "list"], ["enrollment", "show", "PRESS-7"], ["enrollment", "show", "hooked"],
    ["enrollment", "show", "shared"], ["enrollment", "show", "certified"],
    ["enrollment", "show", "dev-000101"], ["enrollment", "keys", "shared"],
    ["group", "list"], ["group", "show", "keys"], ["group", "show", "signed"],
    ["group", "show", "chips"], ["group", "keys", "keys"],
    ["registration", "list"], ["registration", "show", "HERE"],
    ["hub", "list"], ["policy", "list"], ["policy", "show", "reader"],
    ["audit", "list"], ["audit", "list", "--after", "2", "--limit", "3"], ["audit", "verify"],
]


@pytest.mark.parametrize("words", READS, ids=" ".join)
@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_reads_are_the_same(stocked, remote, words, form):
    """Word for word, whichever way the store is reached."""
    here = stocked.cli(*words, *form)
    there = remote.cli(*words, *form)
    assert there.stdout == here.stdout
    assert here.stdout and there.stderr == here.stderr
    if form:
        for line in there.stdout.splitlines():
            json.loads(line)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_exports_are_the_same(stocked, remote, form):
    words = ["enrollment", "export", "--format", form]
    here, there = stocked.cli(*words), remote.cli(*words)
    assert there.stdout == here.stdout and there.stderr == here.stderr
    assert "2 enrollments of devices without a TPM are left out" in there.stderr


def test_device_keys_are_the_same(stocked, remote):
    words = ["group", "device-key", "keys", "Some-Device"]
    for form in ([], ["--json"]):
        assert remote.cli(*words, *form).stdout == stocked.cli(*words, *form).stdout


def test_listings_over_many_pages(make_service, tmp_path):
    """450 rows: every one, once, in the same order."""
    service = make_service(audit_reads=0)
    service.cli("enrollment", "import", write_csv(tmp_path / "m.csv", devices(450)))
    remote = Elsewhere(service)
    there = remote.cli("enrollment", "list", "--json").stdout
    assert there == service.cli("enrollment", "list", "--json").stdout
    assert there.count("\n") == 450
    records = remote.cli("audit", "list", "--json").stdout
    assert records == service.cli("audit", "list", "--json").stdout


def test_reads_are_recorded(make_service):
    """Who looked is in the audit record, unless the service's configuration says otherwise."""
    service = make_service()
    remote = Elsewhere(service)
    for words in (["hub", "list"], ["policy", "list"], ["registration", "list"], ["audit", "verify"],
                  ["audit", "list"]):
        remote.cli(*words)
    records = [json.loads(line) for line in service.cli("audit", "list", "--json").stdout.splitlines()]
    read = [r["action"] for r in records if r["actor"] == "policy:provisioningserviceowner"]
    assert read == ["hub.list", "policy.list", "registration.query", "audit.verify", "audit.list"]


# ---- changes


def show(service, *words):
    return json.loads(service.cli(*words, "--json").stdout)


def test_enrollments_are_changed(service, remote, tmp_path):
    """Each change is one in the store, under the policy's name."""
    twin = tmp_path / "twin.json"
    twin.write_text('{"tags":{"a":1}}')
    done = remote.cli("enrollment", "add", "--registration-id", "Remote-1", "--ek", ek64(11),
                      "--device-id", "D-1", "--hub", HUB, "--initial-twin", twin,
                      "--reprovision", "reset")
    assert done.stderr == f"latchkey: Remote-1 is enrolled in {SCOPE}\n" and not done.stdout
    got = show(service, "enrollment", "show", "remote-1")
    assert got["deviceId"] == "D-1" and got["iotHubs"] == [HUB] and got["initialTwin"]["tags"]
    assert got["reprovisionPolicy"] == "reset" and got["allocationPolicy"] == "default"
    done = remote.cli("enrollment", "disable", "remote-1")
    assert done.stderr == "latchkey: Remote-1 is disabled\n"
    after = show(service, "enrollment", "show", "remote-1")
    assert after.pop("etag") != got.pop("etag") and after.pop("updated") >= got.pop("updated")
    assert after == got | {"provisioningStatus": "disabled"}  # and nothing else was touched
    assert remote.cli("enrollment", "disable", "remote-1").stderr.endswith("disabled already\n")
    remote.cli("enrollment", "enable", "remote-1")
    done = remote.cli("enrollment", "add-ek", "remote-1", "--ek", ek64(12))
    assert done.stderr == "latchkey: Remote-1 accepts 2 endorsement keys\n"
    remote.cli("enrollment", "remove-ek", "remote-1", "--ek-id", ek_id(11))
    got = show(service, "enrollment", "show", "remote-1")
    assert [key["id"] for key in got["endorsementKeys"]] == [ek_id(12)]
    run = remote.cli("enrollment", "remove-ek", "remote-1", "--ek-id", ek_id(12), check=False)
    assert run.returncode == AGAIN and "it is the last one" in run.stderr
    assert remote.cli("enrollment", "remove", "REMOTE-1").stderr == "latchkey: Remote-1 is removed\n"
    assert service.cli("enrollment", "show", "remote-1", check=False).returncode == UNAVAILABLE
    actions = [json.loads(line) for line in service.cli("audit", "list", "--json").stdout.splitlines()]
    mine = [r["action"] for r in actions if r["subject"].lower() == "remote-1"]
    assert mine == ["enrollment.create"] + 4 * ["enrollment.update"] + ["enrollment.delete"]
    assert {r["actor"] for r in actions if r["subject"].lower() == "remote-1"} == {
        "policy:provisioningserviceowner"}


def test_devices_without_a_tpm(service, remote, tmp_path):
    """Keys that are given or made, and certificates, stay what they are through a change."""
    key = tmp_path / "key"
    key.write_text("a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")
    remote.cli("enrollment", "add", "--registration-id", "sym-1", "--symmetric-key",
               "--primary-key-file", key)
    keys = show(remote, "enrollment", "keys", "sym-1")
    assert keys["primaryKey"] == key.read_text() and len(keys["secondaryKey"]) == 88
    remote.cli("enrollment", "disable", "sym-1")
    assert show(service, "enrollment", "keys", "sym-1") == keys
    remote.cli("enrollment", "add", "--registration-id", "cert-1", "--certificate",
               certificate(tmp_path, "cert-1"))
    before = show(service, "enrollment", "show", "cert-1")
    remote.cli("enrollment", "disable", "cert-1")
    after = show(service, "enrollment", "show", "cert-1")
    assert after["certificates"] == before["certificates"] and len(after["certificates"]) == 1
    run = remote.cli("enrollment", "keys", "cert-1", check=False)
    assert run.returncode == USAGE and "its attestation is x509" in run.stderr


def test_groups_are_changed(service, remote, tmp_path):
    done = remote.cli("group", "add", "Remote-G", "--symmetric-key")
    assert done.stderr == f"latchkey: the group Remote-G is in {SCOPE}\n"
    remote.cli("group", "add", "remote-s", "--signing-certificate",
               certificate(tmp_path, "remote-s", ca=True))
    remote.cli("group", "disable", "remote-s")
    got = show(service, "group", "show", "remote-s")
    assert got["provisioningStatus"] == "disabled" and len(got["certificates"]) == 1
    remote.cli("group", "enable", "remote-s")
    for name in ("remote-g", "remote-s"):
        remote.cli("group", "remove", name)
    run = remote.cli("group", "show", "remote-g", check=False)
    assert run.returncode == UNAVAILABLE and "Enrollment group not found" in run.stderr
    run = remote.cli("group", "add", "chips-r", "--ek-certificate", "--root", "0" * 64)
    assert "once its roots are imported on the service's machine" in run.stderr
    assert show(service, "group", "show", "chips-r")["rules"]["roots"] == ["0" * 64]


def test_policies_are_changed(service, remote, tmp_path):
    """Made, rolled and removed with the same answers as on the machine itself, but for keys and
    times; and what is told opens the service."""
    def shape(run):
        value = json.loads(run.stdout)
        head, key = value.pop("connectionString").rsplit("SharedAccessKey=", 1)
        assert len(key) == 44
        for name in ("created", "updated"):
            assert value.pop(name)
        return value, head

    def opens(string):
        path = tmp_path / "string"
        path.write_text(string.replace("HostName=localhost;", f"HostName={remote.host};"))
        return remote.cli("policy", "list", "--connection", path, check=False,
                          env={"LATCHKEY_CONNECTION_STRING": None}).returncode

    name = "dash@board"
    add = ["policy", "add", name, "--rights", "serviceconfig, EnrollmentRead",
           "--connection-string", "--host", "localhost"]
    roll = ["policy", "roll", name, "--secondary", "--connection-string", "--host", "localhost"]
    seen = []
    for side in (service, remote):
        made, rolled = side.cli(*add, "--json"), side.cli(*roll, "--json")
        assert "secret" in made.stderr and "secret" in rolled.stderr
        strings = [json.loads(run.stdout)["connectionString"] for run in (made, rolled)]
        assert [opens(string) for string in strings] == [0, 0]
        text = side.cli(*roll).stdout
        assert opens(text) == 0 and opens(strings[1]) == REFUSED
        assert side.cli(*add, check=False).returncode == EXISTS
        seen.append([shape(made), shape(rolled), side.cli("policy", "remove", name).stdout])
        assert opens(text) == REFUSED
        for words in (["remove", name], ["roll", name, *roll[3:]]):
            run = side.cli("policy", *words, check=False)
            assert (run.returncode, run.stdout) == (UNAVAILABLE, ""), run
    assert seen[0] == seen[1]
    made = remote.cli("policy", "add", name, "--rights", "EnrollmentRead", "--connection-string")
    assert made.stdout.startswith(f"HostName={remote.host};SharedAccessKeyName={name};")
    assert made.stdout.count("\n") == 1
    service.cli("policy", "remove", name)
    for words in (add[:5], roll[:4]):
        run = remote.cli(*words, check=False)
        assert run.returncode == USAGE and "give --connection-string" in run.stderr
    run = remote.cli("policy", "show", OWNER, "--connection-string", check=False)
    assert run.returncode == USAGE and "works on the store itself" in run.stderr
    run = remote.cli("policy", "remove", OWNER, check=False)
    assert run.returncode == REFUSED and "last policy with every right" in run.stderr


def test_hubs_are_changed(service, remote):
    """Linked, changed and removed as on the machine itself, with the same exit codes; one that is in
    use by an enrollment, a group or a device is removed by force only."""
    name = "changed.example.test"

    def rows():
        return [row | {"created": ""} for row in map(
            json.loads, service.cli("hub", "list", "--json").stdout.splitlines())]

    seen = []
    for side in (service, remote):
        states = []
        for words in (["add", "Changed.example.test", "--weight", "3", "--region", "north"],
                      ["set", name, "--no-allocation", "--region", "south"],
                      ["set", name, "--weight", "9", "--no-region", "--allocation"]):
            assert side.cli("hub", *words).stdout == ""
            states.append(rows())
        run = side.cli("hub", "add", name, check=False)
        assert run.returncode == EXISTS
        for kind, words in (("enrollment", ["--registration-id", "user"]), ("group", ["users"])):
            service.cli(kind, "add", *words, "--symmetric-key", "--hub", name)
            run = side.cli("hub", "remove", name, check=False)
            assert (run.returncode, "1 enrollments name" in run.stderr) == (REFUSED, True), run
            service.cli(kind, "remove", words[-1])
        service.cli("hub", "device", "add", name, "on-it")
        run = side.cli("hub", "remove", name, check=False)
        assert (run.returncode, "devices are assigned" in run.stderr) == (REFUSED, True), run
        assert side.cli("hub", "remove", name, "--force").stdout == ""
        states.append(rows())
        for words in (["remove", name], ["set", name, "--weight", "2"]):
            run = side.cli("hub", *words, check=False)
            assert (run.returncode, run.stdout) == (UNAVAILABLE, ""), run
        seen.append(states)
    assert seen[0] == seen[1]
    records = [json.loads(line) for line in service.cli("audit", "list", "--json").stdout.splitlines()]
    mine = [(r["action"], r["actor"].split(":")[0]) for r in records if r["subject"] == name
            and r["action"].startswith("hub.")]
    acts = ["hub.add", "hub.set", "hub.set", "hub.remove"]
    assert mine == [(act, "cli") for act in acts] + [(act, "policy") for act in acts]


def test_registrations_are_removed(service, remote):
    device = Device(service, "to-forget", SoftTpm("ecc"))
    service.enroll(device)
    device.register()
    device.close()
    remote.cli("registration", "remove", "to-forget")
    for side in (service, remote):
        run = side.cli("registration", "show", "to-forget", check=False)
        assert run.returncode == UNAVAILABLE and not run.stdout
    run = remote.cli("registration", "remove", "to-forget", check=False)
    assert run.returncode == UNAVAILABLE and "Registration not found" in run.stderr


def test_refusals_have_the_same_codes(service, remote):
    """What the store refuses, the service refuses, with its words and the same exit code."""
    service.cli("enrollment", "add", "--registration-id", "taken", "--ek", ek64(21))
    cases = [
        (EXISTS, ["enrollment", "add", "--registration-id", "TAKEN", "--ek", ek64(22)]),
        (EXISTS, ["enrollment", "add", "--registration-id", "other", "--ek", ek64(21)]),
        (UNAVAILABLE, ["enrollment", "show", "nobody"]),
        (UNAVAILABLE, ["enrollment", "enable", "nobody"]),
        (UNAVAILABLE, ["enrollment", "remove", "nobody"]),
        (UNAVAILABLE, ["enrollment", "keys", "nobody"]),
        (UNAVAILABLE, ["group", "remove", "nobody"]),
        (UNAVAILABLE, ["registration", "show", "nobody"]),
        (UNAVAILABLE, ["policy", "show", "nobody"]),
        (DATA, ["enrollment", "add", "--registration-id", "a/b", "--ek", ek64(23)]),
        (DATA, ["enrollment", "add", "--registration-id", "c", "--ek", ek64(23),
                "--hub", "unlinked.example.test"]),
        (USAGE, ["enrollment", "show"]),
        (USAGE, ["enrollment", "list", "--no-such-option"]),
    ]
    for code, words in cases:
        for side in (service, remote):
            run = side.cli(*words, check=False)
            assert (run.returncode, run.stdout) == (code, ""), (side, words, run)
            assert run.stderr.startswith("latchkey: ")


# ---- which service


def test_profiles(service, remote, tmp_path):
    """A file of the user's own, that nobody else may read, with the authority beside it."""
    folder = tmp_path / "latchkey"
    folder.mkdir()
    path = folder / "profiles.conf"
    shutil.copy(service.ca_file, folder / "ca.pem")
    path.write_text(f"[factory]\nconnection-string = {remote.string}\nca-file = ca.pem\n")
    path.chmod(0o600)
    env = {"XDG_CONFIG_HOME": str(tmp_path), "LATCHKEY_CONNECTION_STRING": None,
           "LATCHKEY_CA_FILE": None}
    want = remote.cli("hub", "list").stdout
    assert remote.cli("hub", "list", "--profile", "factory", env=env).stdout == want
    assert remote.cli("hub", "list", env=env | {"LATCHKEY_PROFILE": "factory"}).stdout == want
    run = remote.cli("hub", "list", "--profile", "other", env=env, check=False)
    assert run.returncode == CONFIG and f"{path}: there is no profile [other]" in run.stderr
    path.chmod(0o644)
    run = remote.cli("hub", "list", "--profile", "factory", env=env, check=False)
    assert run.returncode == REFUSED and "chmod 600" in run.stderr
    assert "SharedAccessKey" not in run.stderr


def test_connection_from_a_file(service, remote, tmp_path):
    path = tmp_path / "connection"
    path.write_text(remote.string + "\n")
    env = {"LATCHKEY_CONNECTION_STRING": None, "LATCHKEY_CA_FILE": None}
    want = remote.cli("hub", "list").stdout
    words = ["hub", "list", "--ca-file", service.ca_file, "--connection"]
    assert remote.cli(*words, path, env=env).stdout == want
    assert remote.cli(*words, "-", env=env, input=remote.string).stdout == want
    path.write_text("HostName=x;SharedAccessKey=" + "A" * 44)
    run = remote.cli(*words, path, env=env, check=False)
    assert run.returncode == CONFIG and "SharedAccessKeyName: is missing" in run.stderr
    assert "AAAA" not in run.stderr


def test_an_address_is_a_host(tmp_path):
    """IPv6 in brackets, as the connection string of a service without a name has it."""
    port = free_port_pair()
    made = json.loads(subprocess.run(
        [program("latchkey"), "init", "--data-dir", tmp_path / "data", "--listen", f"[::1]:{port}",
         "--admin-listen", "none", "--json"], check=True, capture_output=True, text=True).stdout)
    log = tmp_path / "log"
    process = Process([program("latchkeyd"), "--config", made["config"]], log, log)
    try:
        wait_until(lambda: b"service.started" in log.read_bytes(), "it started")
        string = made["connectionString"]
        for host in (f"[::1]:{port}", f"localhost:{port}"):
            run = subprocess.run(
                [program("latchkey"), "hub", "list", "--connection", "-", "--ca-file",
                 made["caFile"], "--json"], capture_output=True, text=True, timeout=60,
                input=changed(string, HostName=host))
            assert run.returncode == 0, run.stderr
            assert json.loads(run.stdout)["name"] == made["hub"]
    finally:
        assert process.close() == 0


def test_which_one_is_told(service, remote, tmp_path):
    """--config is this machine's; two choices, and what needs the store, are refused in words."""
    assert remote.cli("hub", "list", "--config", service.config_path).stdout
    run = remote.cli("hub", "list", "--config", service.config_path, "--profile", "x", check=False)
    assert run.returncode == USAGE and "only one of --config, --profile" in run.stderr
    run = remote.cli("hub", "list", "--ca-file", "x", check=False,
                     env={"LATCHKEY_CONNECTION_STRING": None,
                          "LATCHKEY_CONFIG": service.config_path})
    assert run.returncode == USAGE and "--ca-file goes with" in run.stderr
    for words in (["trust", "list"], ["scope", "list"], ["key", "list"],
                  ["hub", "devices", "a.b"], ["hub", "policy", "list", "a.b"],
                  ["policy", "show", "x", "--connection-string"]):
        run = remote.cli(*words, check=False)
        assert run.returncode == USAGE, (words, run)
        assert "this command works on the store itself" in run.stderr
        assert "$LATCHKEY_CONNECTION_STRING" in run.stderr
    run = remote.cli("enrollment", "list", "--scope", SCOPE, check=False)
    assert run.returncode == USAGE and "--scope is for the store of this machine" in run.stderr


# ---- no way to it


def changed(string, **members):
    parts = dict(part.split("=", 1) for part in string.split(";"))
    return ";".join(f"{name}={value}" for name, value in (parts | members).items())


def fails(remote, code, message, *words, **env):
    run = remote.cli(*(words or ["enrollment", "list"]), check=False, env=env)
    assert (run.returncode, run.stdout) == (code, ""), run
    assert message in run.stderr, run.stderr
    key = remote.string.split("SharedAccessKey=")[1]
    assert key not in run.stderr
    return run.stderr


def test_wrong_key_policy_and_right(stocked, remote):
    wrong = changed(remote.string, SharedAccessKey="a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=")
    told = fails(remote, REFUSED, "Unauthorized", LATCHKEY_CONNECTION_STRING=wrong)
    assert remote.host in told and "the policy's name or key is wrong" in told
    fails(remote, REFUSED, "Unauthorized",
          LATCHKEY_CONNECTION_STRING=changed(remote.string, SharedAccessKeyName="nobody"))
    reader = Elsewhere(stocked, "reader")
    assert reader.cli("enrollment", "list").stdout == remote.cli("enrollment", "list").stdout
    assert reader.cli("registration", "list").stdout
    for words in (["enrollment", "remove", "hooked"], ["enrollment", "keys", "shared"],
                  ["hub", "list"], ["policy", "list"], ["audit", "list"], ["audit", "verify"],
                  ["registration", "remove", "here"]):
        fails(reader, REFUSED, "lacks the right", *words)


def test_unreachable(remote):
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
        told = fails(remote, NETWORK, nobody,
                     LATCHKEY_CONNECTION_STRING=changed(remote.string, HostName=nobody))
    assert "is the host name right" in told
    fails(remote, NETWORK, "nowhere.invalid", LATCHKEY_CONNECTION_STRING=changed(
        remote.string, HostName="nowhere.invalid"))


def test_wrong_authority(service, remote, tmp_path):
    """Another CA, no CA, a name that the certificate has not, a CA file that is not there."""
    other = certificate(tmp_path, "other", ca=True)
    assert "not that of the service's authority" in fails(
        remote, PROTOCOL, "certificate", LATCHKEY_CA_FILE=other)
    assert "--ca-file" in fails(remote, PROTOCOL, "certificate", LATCHKEY_CA_FILE=None)
    address = changed(remote.string, HostName="127.0.0.1:%d" % service.address[1])
    fails(remote, PROTOCOL, "127.0.0.1", LATCHKEY_CONNECTION_STRING=address)
    fails(remote, 74, "cannot read the CA file", LATCHKEY_CA_FILE=str(tmp_path / "none"))


def test_no_tls_there(remote, tmp_path):
    """A server that speaks something else."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        def answer():
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
                peer.recv(4096)
        thread = threading.Thread(target=answer)
        thread.start()
        fails(remote, PROTOCOL, "localhost", LATCHKEY_CONNECTION_STRING=changed(
            remote.string, HostName=f"localhost:{server.getsockname()[1]}"))
        thread.join(20)


def test_expired_certificate(remote, tmp_path):
    """A service whose certificate is out of date: it says so, and that it has to be renewed."""
    config, serial = tmp_path / "ca.conf", tmp_path / "serial"
    (tmp_path / "index").write_text("")
    serial.write_text("01\n")
    config.write_text(f"[ca]\ndefault_ca=d\n[d]\ndatabase={tmp_path}/index\nserial={serial}\n"
                      f"new_certs_dir={tmp_path}\ndefault_md=sha256\npolicy=p\nunique_subject=no\n"
                      "[p]\ncommonName=supplied\n[e]\nsubjectAltName=DNS:localhost\n")
    key, request, made = tmp_path / "server.key", tmp_path / "request", tmp_path / "server.pem"
    authority, authority_key = tmp_path / "ca.pem", tmp_path / "ca.key"

    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *ec, "-keyout", authority_key, "-out", authority, "-days", "30",
            "-subj", "/CN=authority")
    openssl("req", *ec, "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    openssl("ca", "-batch", "-config", config, "-cert", authority, "-keyfile", authority_key,
            "-in", request, "-out", made, "-notext", "-extensions", "e",
            "-startdate", "20200101000000Z", "-enddate", "20210101000000Z")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    with socket.create_server(("127.0.0.1", 0)) as server:
        def answer():
            peer, _ = server.accept()
            with contextlib.suppress(OSError), context.wrap_socket(peer, server_side=True) as tls:
                tls.recv(4096)
        thread = threading.Thread(target=answer)
        thread.start()
        told = fails(remote, PROTOCOL, "expired", LATCHKEY_CA_FILE=str(authority),
                     LATCHKEY_CONNECTION_STRING=changed(
                         remote.string, HostName=f"localhost:{server.getsockname()[1]}"))
        thread.join(20)
    assert "needs a new certificate" in told


# ---- imports


def test_import_of_a_thousand_rows_with_a_bad_one(make_service, tmp_path):
    """Nothing is sent while a row is bad; it is named by its line. Without it all are taken."""
    service = make_service()
    remote = Elsewhere(service)
    rows = devices(1000)
    rows[499] = ("dev-000499", "AAAA")
    manifest = write_csv(tmp_path / "m.csv", rows)
    run = remote.cli("enrollment", "import", manifest, check=False)
    assert (run.returncode, run.stdout) == (DATA, "")
    assert f"{manifest}, line 501: endorsementKey" in run.stderr
    assert "nothing was imported: 1 of 1000 rows are bad" in run.stderr
    assert remote.cli("enrollment", "list", "--json").stdout == ""

    run = remote.cli("enrollment", "import", manifest, "--dry-run", "--skip-bad", "--json")
    assert json.loads(run.stdout.splitlines()[-1]) == {
        "dryRun": True, "new": 999, "changed": 0, "same": 0, "conflicting": 0, "bad": 1,
        "signer": None}
    assert len(run.stdout.splitlines()) == 1001

    run = remote.cli("enrollment", "import", manifest, "--skip-bad")
    assert run.stdout == f"999 enrollments imported into {remote.host}\n"
    assert "line 501" in run.stderr and "1 bad rows were skipped" in run.stderr
    assert remote.cli("enrollment", "list", "--json").stdout.count("\n") == 999

    # Again, with the row put right: what is there is passed over.
    run = remote.cli("enrollment", "import", write_csv(tmp_path / "m.csv", devices(1000)))
    assert run.stdout == f"1 enrollments imported into {remote.host}\n"
    assert "999 rows say what is enrolled already" in run.stderr
    here = service.cli("enrollment", "export").stdout
    assert remote.cli("enrollment", "export").stdout == here and here.count("\n") == 1001


def test_import_goes_on_after_an_interruption(make_service, tmp_path):
    """The service goes away in the middle; the same command finishes the work, each row once."""
    service = make_service()
    remote = Elsewhere(service)
    manifest = write_csv(tmp_path / "m.csv", devices(3000))
    argv = [program("latchkey"), "enrollment", "import", manifest]
    child = subprocess.Popen(argv, env=remote.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True)
    wait_until(lambda: "dev-000099" in service.cli("enrollment", "list").stdout, "some are there",
               timeout_s=60)
    service.kill9()
    service.process = None
    out, err = child.communicate(timeout=120)
    assert (child.returncode, out) == (NETWORK, ""), err
    assert "interrupted after" in err and "The same command goes on from there" in err
    service.start()
    run = remote.cli("enrollment", "import", manifest)
    assert "rows say what is enrolled already" in run.stderr
    assert remote.cli("enrollment", "list", "--json").stdout.count("\n") == 3000
    created = [r for r in map(json.loads, service.cli("audit", "list", "--json").stdout.splitlines())
               if r["action"] == "enrollment.create"]
    assert len(created) == 3000


def test_import_into_a_service_that_takes_fewer_rows_at_a_time(make_service, tmp_path):
    service = make_service(bulk_max=3)
    remote = Elsewhere(service)
    rows = devices(25)
    rows[12] = ("dev-000012", ek64(3))  # a key that an earlier row has
    run = remote.cli("enrollment", "import", write_csv(tmp_path / "m.csv", rows), check=False)
    assert run.returncode == DATA and "line 14: The endorsement key is that of" in run.stderr
    assert run.stdout == f"24 enrollments imported into {remote.host}\n"
    assert remote.cli("enrollment", "list", "--json").stdout.count("\n") == 24


def test_import_is_stopped_by_hand(make_service, tmp_path):
    service = make_service()
    remote = Elsewhere(service)
    manifest = write_csv(tmp_path / "m.csv", devices(3000))
    child = subprocess.Popen([program("latchkey"), "enrollment", "import", manifest],
                             env=remote.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True)
    wait_until(lambda: "dev-000050" in service.cli("enrollment", "list").stdout, "some are there",
               timeout_s=60)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=120)
    assert (child.returncode, out) == (AGAIN, ""), err
    assert "The same command goes on from there" in err


CHANGES = "registrationId,endorsementKey,provisioningStatus,deviceId"


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_import_updates(make_service, tmp_path, where):
    """--update changes what is there, a dry run shows how, conflicts by key are still refused, and
    undo takes back what was new only."""
    service = make_service()
    side = service if where == "here" else Elsewhere(service)
    side.cli("enrollment", "import", write_csv(tmp_path / "first.csv", devices(25)))
    rows = [(name, key, "", "") for name, key in devices(30)]
    rows[3] = ("DEV-000003", ek64(3), "disabled", "D-3")
    rows[17] = ("dev-000017", ek64(917), "", "")
    manifest = write_csv(tmp_path / "second.csv", rows, CHANGES)
    run = side.cli("enrollment", "import", manifest, check=False)
    assert run.returncode == DATA and "line 5: registrationId" in run.stderr
    if where == "here":
        assert "with --update these are changed" in run.stderr
    else:  # it was sent: what is new is there
        assert "2 rows were not imported" in run.stderr
        for i in range(25, 30):
            side.cli("enrollment", "remove", f"dev-{i:06}")

    run = side.cli("enrollment", "import", manifest, "--update", "--dry-run", "--verbose")
    lines = run.stdout.splitlines()
    assert [line for line in lines if line.startswith("changed")] == [
        "changed      line 5         DEV-000003: the same registration ID as the enrollment "
        "dev-000003 has, but another registrationId, deviceId, provisioningStatus",
        "changed      line 19        dev-000017: the same registration ID as the enrollment "
        "dev-000017 has, but another endorsementKey"]
    assert "new 5, changed 2, same 23, conflicting 0, otherwise bad 0" in lines
    assert show(service, "enrollment", "show", "dev-000003")["provisioningStatus"] == "enabled"

    run = side.cli("enrollment", "import", manifest, "--update", "--json")
    counts = json.loads(run.stdout.splitlines()[-1])
    number = counts.pop("import", None)
    assert (number is not None) == (where == "here")
    assert counts == {"dryRun": False, "new": 5, "changed": 2, "same": 23, "conflicting": 0, "bad": 0,
                      "signer": None, "updated": 2}
    got = show(service, "enrollment", "show", "dev-000003")
    assert got["registrationId"] == "DEV-000003" and got["deviceId"] == "D-3"
    assert got["provisioningStatus"] == "disabled"
    got = show(service, "enrollment", "show", "dev-000017")
    assert [key["id"] for key in got["endorsementKeys"]] == [ek_id(917)]
    updates = [r for r in map(json.loads, service.cli("audit", "list", "--json").stdout.splitlines())
               if r["action"] == "enrollment.update"]
    assert [r["subject"] for r in updates] == ["DEV-000003", "dev-000017"]

    taken = write_csv(tmp_path / "third.csv", [("dev-000004", ek64(5))])
    run = side.cli("enrollment", "import", taken, "--update", check=False)
    assert run.returncode == DATA and "line 2" in run.stderr and "dev-000005" in run.stderr
    got = show(service, "enrollment", "show", "dev-000004")
    assert [key["id"] for key in got["endorsementKeys"]] == [ek_id(4)]

    if where == "here":
        service.cli("enrollment", "undo", number)
        assert service.cli("enrollment", "show", "dev-000027", check=False).returncode == UNAVAILABLE
        assert show(service, "enrollment", "show", "dev-000003")["deviceId"] == "D-3"


def test_import_here_with_a_bad_row_changes_nothing(make_service, tmp_path):
    """With --update too, a manifest with a bad row is refused before anything is changed."""
    service = make_service()
    service.cli("enrollment", "import", write_csv(tmp_path / "first.csv", devices(5)))
    rows = [("dev-000001", ek64(1), "disabled", ""), ("dev-000009", "AAAA", "", "")]
    manifest = write_csv(tmp_path / "second.csv", rows, CHANGES)
    run = service.cli("enrollment", "import", manifest, "--update", check=False)
    assert run.returncode == DATA and "nothing was imported: 1 of 2 rows are bad" in run.stderr
    assert show(service, "enrollment", "show", "dev-000001")["provisioningStatus"] == "enabled"


def test_import_elsewhere_says_what_it_cannot_do(remote, tmp_path):
    manifest = write_csv(tmp_path / "m.csv", devices(1, 7000))
    run = remote.cli("enrollment", "import", manifest, "--signature", "x", check=False)
    assert run.returncode == USAGE and "run the import on the service's machine" in run.stderr
    run = remote.cli("enrollment", "import", manifest, "--resume", "1", check=False)
    assert run.returncode == USAGE and "goes on by itself" in run.stderr
