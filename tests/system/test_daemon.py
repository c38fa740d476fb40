"""latchkeyd as a process: checked, started, probed, reloaded and stopped."""
import base64
import contextlib
import ctypes
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import time

import pytest

from lib import dialects, https
from lib.device import Device
from lib.https import Connection
from lib.process import Process, wait_until
from lib.service import ROOT, Service, program
from lib.softtpm import SoftTpm
from lib.swtpm import free_port_pair
from lib.tpmdevice import TpmDevice

ASAN_BUILD = os.environ.get("LK_ASAN_BUILD", os.path.join(ROOT, "build-asan"))
POLL = "/{}/registrations/nobody/operations/1?api-version=2021-06-01"


@pytest.fixture(params=["plain", "sanitizers"])
def build(request):
    """Which build runs: what starts and stops is worth the leak checker's eye."""
    return ASAN_BUILD if request.param == "sanitizers" else None


@pytest.fixture
def service(make_service, build):
    return make_service(build=build)


@pytest.fixture(scope="module")
def idle(tmp_path_factory):
    """A data directory and a configuration, nothing running."""
    return Service(tmp_path_factory.mktemp("idle"))


def latchkeyd(*words, build=None):
    return subprocess.run([program("latchkeyd", build), *map(str, words)], capture_output=True,
                          text=True, timeout=60)


def connect(service, **kwargs):
    return Connection(service.address, service.ca_file, service.host, **kwargs)


def poll_request(service, *more):
    """A request that anyone may make and that is refused."""
    return https.request("GET", POLL.format(service.scope),
                         [("Host", service.host), ("Authorization", "none"), *more])


def event(service, name, count=1, timeout_s=20):
    """The lines of the log with this event, once there are count of them."""
    def find():
        lines = [line for line in service.log() if line["event"] == name]
        return len(lines) >= count and lines
    return wait_until(find, f"{count} x {name} in the log", timeout_s=timeout_s)


def certificate_make(service, days=30):
    """A new certificate by itself in the place of the old; returns its DER bytes."""
    folder = os.path.join(service.data, "tls")
    key, cert = os.path.join(folder, "server.key"), os.path.join(folder, "server.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key + ".new", "-out", cert + ".new", "-days", str(days),
         "-subj", "/CN=new", "-addext", f"subjectAltName=DNS:{service.host}"],
        check=True, capture_output=True)
    os.rename(key + ".new", key)
    os.rename(cert + ".new", cert)
    shutil.copy(cert, service.ca_file)
    with open(cert, encoding="ascii") as file:
        return ssl.PEM_cert_to_DER_cert(file.read())


# ---- the command line


def test_help_names_every_key():
    """--help is made from the table that the parser uses."""
    run = latchkeyd("--help")
    assert run.returncode == 0
    for key in ("data-dir", "admin-listen", "drain-ms", "http-connections-per-net"):
        assert f"\n  {key}\n" in run.stdout


@pytest.mark.parametrize("words", [["--nope"], ["--config"], ["extra"], ["--check-config", "x"]])
def test_wrong_usage(words):
    run = latchkeyd(*words)
    assert (run.returncode, run.stdout) == (64, "")
    assert run.stderr


def test_version():
    run = latchkeyd("--version")
    assert run.returncode == 0 and run.stdout.startswith("latchkeyd ")


# ---- --check-config


def check(service, build=None):
    return latchkeyd("--check-config", "--config", service.config_path, build=build)


def test_check_config_good(idle, build):
    run = check(idle, build)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == f"{idle.config_path}: good\n"


def test_check_config_tells_file_line_and_key(tmp_path):
    """The first mistake in the file, with where it is and what was expected."""
    service = Service(tmp_path)
    with open(service.config_path, encoding="utf-8") as file:
        line = file.read().count("\n") + 1
    with open(service.config_path, "a", encoding="utf-8") as file:
        file.write("wokers = 2\n")
    run = check(service)
    assert run.returncode == 78
    assert run.stderr == f'latchkeyd: {service.config_path}:{line}: unknown key "wokers"\n'
    run = latchkeyd("--check-config", "--config", tmp_path / "none")
    assert run.returncode == 78 and "No such file" in run.stderr


def test_a_byte_order_mark_begins_no_key(tmp_path):
    """What some editors put before the first line is taken by the service and the command line."""
    service = Service(tmp_path)
    with open(service.config_path, "rb") as file:
        text = file.read()
    with open(service.config_path, "wb") as file:
        file.write(b"\xef\xbb\xbf" + text)
    assert check(service).returncode == 0
    assert service.cli("scope", "list").stdout


def test_check_config_admin_stays_on_loopback(tmp_path):
    service = Service(tmp_path, admin_listen="0.0.0.0:9464")
    run = check(service)
    assert run.returncode == 78
    assert "admin-listen: expected a loopback address" in run.stderr


def test_check_config_tells_every_problem(tmp_path):
    """Certificate, keyring and store are all looked at."""
    service = Service(tmp_path)
    os.chmod(os.path.join(service.data, "master.key"), 0o640)
    with open(os.path.join(service.data, "tls/server.key"), "w", encoding="ascii") as file:
        file.write("no key\n")
    run = check(service)
    assert run.returncode not in (0, 1)
    assert "latchkeyd: certificate: " in run.stderr and "server.key" in run.stderr
    assert "latchkeyd: keyring: " in run.stderr and "0600" in run.stderr
    os.chmod(os.path.join(service.data, "master.key"), 0o600)
    os.unlink(os.path.join(service.data, "latchkey.db"))
    run = check(service)
    assert "latchkeyd: store: " in run.stderr and "latchkey.db" in run.stderr


def test_check_config_warns_before_a_certificate_expires(tmp_path):
    """A certificate with some days left is good, and told."""
    service = Service(tmp_path)
    certificate_make(service, days=5)
    run = check(service)
    assert run.returncode == 0
    assert "note: the certificate is out of date after 20" in run.stderr
    certificate_make(service, days=15)
    assert check(service).stderr == ""


def test_check_config_tells_who_may_touch_what(tmp_path):
    """Files that are open to others are told; a key that is none is named with what was expected."""
    service = Service(tmp_path)
    key, store = (os.path.join(service.data, name) for name in ("tls/server.key", "latchkey.db"))
    os.chmod(key, 0o644)
    os.chmod(store, 0o660)
    run = check(service)
    assert run.returncode == 0
    assert f"note: {key}: expected mode 0640 or less, got 0644" in run.stderr
    assert f"note: {store}: expected mode 0600, got 0660" in run.stderr
    service.configure(tls_key=service.ca_file)
    run = check(service)
    assert run.returncode == 78
    assert f"{service.ca_file}: expected the certificate's private key, PEM" in run.stderr


def test_check_config_names_a_damaged_store(tmp_path):
    service = Service(tmp_path)
    store = os.path.join(service.data, "latchkey.db")
    with open(store, "wb") as file:
        file.write(bytes(range(256)) * 64)
    run = check(service)
    assert run.returncode == 74
    assert f"store: {store}: file is not a database" in run.stderr


# ---- starting


def test_start_fails_with_a_reason(tmp_path, build):
    """Nothing is half started: the reason is in the log and in the exit status."""
    service = Service(tmp_path, build=build)
    with socket.create_server(service.address):
        service.start(wait=False)
        wait_until(lambda: not service.process.running(), "it ends")
    assert service.process.child.returncode not in (0, -signal.SIGSEGV, -signal.SIGABRT)
    line = service.log()[-1]
    assert (line["event"], line["level"]) == ("service.failed", "error")
    assert line["reason"].startswith("listen: ")
    service.sanitizers_silent()


def test_start_on_a_read_only_store(tmp_path):
    """A service that could answer no device does not start as if all were well."""
    service = Service(tmp_path)
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && "$@"'
    unshare = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    for words, said in ((["--check-config"], "cannot be written"), ([], "read-only")):
        run = subprocess.run([*unshare, "sh", "-c", script, "sh", service.data,
                              program("latchkeyd"), "--config", service.config_path, *words],
                             capture_output=True, text=True, timeout=60)
        assert run.returncode == 74, run.stderr
        assert "latchkey.db" in run.stderr and said in run.stderr


def test_start_without_a_store(tmp_path):
    """An absent database is not made anew: that would lose every device without a word."""
    service = Service(tmp_path)
    os.unlink(os.path.join(service.data, "latchkey.db"))
    service.start(wait=False)
    wait_until(lambda: not service.process.running(), "it ends")
    assert service.log()[-1]["reason"].startswith("store: ")
    assert not os.path.exists(os.path.join(service.data, "latchkey.db"))


def test_process_is_hardened(make_service):
    """No core file, no debugger by the same user, and every descriptor that the limit allows."""
    service = make_service()
    with open(f"/proc/{service.process.pid}/limits", encoding="ascii") as file:
        limits = {line[:25].strip(): line[25:].split()[:2] for line in file}
    assert limits["Max core file size"][0] == "0"
    assert limits["Max open files"][0] == limits["Max open files"][1]
    assert os.stat(f"/proc/{service.process.pid}/mem").st_uid == 0


def test_workers_share_the_port(make_service):
    """Every worker's socket is served."""
    service = make_service(workers=4)
    assert event(service, "service.started")[0]["workers"] == 4
    for _ in range(40):
        with connect(service) as connection:
            assert connection.ask(poll_request(service)).status in (400, 401)


def test_any_port_is_told(tmp_path):
    """Port 0 picks one, the same for all workers, and the log says which."""
    service = Service(tmp_path, listen=("127.0.0.1", 0), admin_listen="127.0.0.1:0", workers=3)
    service.start(wait=False)
    try:
        started = event(service, "service.started")[0]
        service.address = ("127.0.0.1", started["port"])
        service.admin_address = ("127.0.0.1", started["admin_port"])
        for _ in range(12):
            with connect(service) as connection:
                assert connection.ask(poll_request(service)).status in (400, 401)
        assert service.admin("GET", "/healthz")[0] == 200
    finally:
        service.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_second_instance_needs_a_local_listener_of_its_own(make_service, tmp_path, host):
    """The local port is one process's: a second one says so and ends, and the first goes on."""
    first = make_service()
    port = free_port_pair()
    first.configure(admin_listen=f"{host}:{port}")
    first.stop()
    first.start(wait=False)
    event(first, "service.started", 2)
    second = Service(tmp_path / "second", admin_listen=f"{host}:{port}",
                     listen=first.address)
    second.start(wait=False)
    wait_until(lambda: not second.process.running(), "the second ends")
    assert second.process.child.returncode == 74
    failed = second.log()[-1]
    assert failed["event"] == "service.failed"
    assert failed["reason"] == f"admin-listen: {host}:{port}: Address already in use"
    second.process = None
    with connect(first) as connection:
        assert connection.ask(poll_request(first)).status in (400, 401)


def test_no_local_listener(tmp_path):
    """"none" switches it off; the service works and stops without it."""
    service = Service(tmp_path, admin_listen="none")
    service.start(wait=False)
    try:
        assert event(service, "service.started")[0]["admin_port"] == 0
        with connect(service) as connection:
            assert connection.ask(poll_request(service)).status in (400, 401)
        with pytest.raises(OSError):
            service.admin("GET", "/healthz")
    finally:
        service.stop()


# ---- probes


def test_probes(service):
    assert service.admin("GET", "/healthz") == (200, b'{"status":"ok","reasons":[]}')
    assert service.admin("GET", "/readyz") == (200, b'{"status":"ready","reasons":[]}')
    assert service.admin("HEAD", "/readyz") == (200, b"")
    assert service.admin("POST", "/readyz", b"{}")[0] == 405
    assert service.admin("GET", "/")[0] == 404
    assert service.admin("GET", "/auth/device")[0] == 405
    assert service.admin("POST", "/auth/device", b"[]")[0] == 400


def metrics(service):
    status, body = service.admin("GET", "/metrics")
    assert status == 200
    lines = [line for line in body.decode().splitlines() if not line.startswith("#")]
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines}


def test_metrics(service):
    """Counters move with what happens, and the certificate's end is the certificate's."""
    before = metrics(service)
    with connect(service) as connection:
        cert = ssl.cert_time_to_seconds(connection.tls.getpeercert()["notAfter"])
        connection.ask(poll_request(service))
    after = metrics(service)
    assert after["latchkey_http_requests_total"] > before["latchkey_http_requests_total"]
    assert after["latchkey_tls_certificate_expiry_seconds"] == cert
    assert after["latchkey_keyring_keys"] == 1
    assert after["latchkey_workers_stuck"] == 0
    assert after["process_resident_memory_bytes"] > 1e6
    assert abs(after["process_start_time_seconds"] - time.time()) < 300


def test_the_device_listener_has_no_probes(make_service):
    """What is for this machine is not for strangers."""
    service = make_service()
    for path in ("/metrics", "/healthz", "/readyz", "/auth/device"):
        with connect(service) as connection:
            answer = connection.ask(https.request("GET", path, [("Host", service.host)]))
            assert answer.status == 404, (path, answer)


def test_health_listener_has_the_probes_alone(make_service):
    """Balancers on other machines are told whether to send devices, and nothing else."""
    port = free_port_pair()
    service = make_service(health_listen=f"127.0.0.1:{port}")

    def ask(method, path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(method, path, headers={"Host": "balancer"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    assert ask("GET", "/readyz") == (200, b'{"status":"ready","reasons":[]}')
    assert ask("GET", "/healthz") == (200, b'{"status":"ok","reasons":[]}')
    for method, path in (("GET", "/metrics"), ("POST", "/auth/device"), ("GET", "/")):
        assert ask(method, path)[0] == 404
    assert [line["health_port"] for line in service.log()
            if line["event"] == "service.started"] == [port]


def test_not_ready_while_the_store_is_locked(make_service):
    """A store that takes no writes is told, and forgotten when it is over; reads go on."""
    service = make_service()
    time.sleep(1.1)  # the last answer counts for a second
    database = sqlite3.connect(os.path.join(service.data, "latchkey.db"), isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    try:
        status, body = service.admin("GET", "/readyz")
        assert status == 503
        assert "the store takes no writes" in json.loads(body)["reasons"][0]
        assert service.admin("GET", "/healthz")[0] == 200
    finally:
        database.execute("ROLLBACK")
        database.close()
    wait_until(service._ready, "ready again")


def test_not_ready_while_the_disk_is_full(tmp_path):
    """Files that cannot grow are what a full disk is: told by /readyz, and over when there is room."""
    service = Service(tmp_path)
    service.process = Process([program("latchkeyd"), "--config", service.config_path],
                              service.log_path, service.log_path, restore_signals=False)
    try:
        wait_until(service._ready, "it is ready", timeout_s=60)
        unlimited = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE,
                                     (0, resource.RLIM_INFINITY))

        def told():
            status, body = service.admin("GET", "/readyz")
            return status == 503 and json.loads(body)["reasons"]

        # The last answer counts for a second. What was said before the limit may still be.
        reasons = wait_until(told, "it is told")
        assert len(reasons) == 1
        assert reasons[0].startswith("the store takes no writes: the database failed: "), reasons
        assert service.admin("GET", "/healthz")[0] == 200
        with connect(service) as connection:  # reading goes on
            assert connection.ask(poll_request(service)).status in (400, 401)
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, unlimited)
        wait_until(service._ready, "ready again")
    finally:
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE,
                         (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        service.stop()
    assert service.cli("hub", "list", "--json").stdout.count("\n") == 1  # nothing is left of it


def test_stuck_loops_are_told(make_service):
    """A worker that hangs shows in the probes, until it turns again."""
    service = make_service(build=ASAN_BUILD, workers=1)  # the plain one lets nobody stop its threads
    tasks = f"/proc/{service.process.pid}/task"
    names = {int(task): open(f"{tasks}/{task}/comm", encoding="ascii").read().strip()
             for task in os.listdir(tasks)}
    worker = next(task for task, name in names.items() if name == "worker")
    with stopped_thread(worker):
        wait_until(lambda: service.admin("GET", "/healthz")[0] == 503, "it is told", timeout_s=30)
        status, body = service.admin("GET", "/readyz")
        assert status == 503 and "1 of 1 event loops do not turn" in body.decode()
    wait_until(lambda: service.admin("GET", "/healthz")[0] == 200, "it turns again")


@contextlib.contextmanager
def stopped_thread(thread):
    """Stop one thread of a child of ours, the others run on (ptrace: SEIZE, INTERRUPT, DETACH)."""
    libc = ctypes.CDLL(None, use_errno=True)

    def ptrace(request):
        assert libc.ptrace(request, thread, None, None) == 0, os.strerror(ctypes.get_errno())
    ptrace(0x4206)
    ptrace(0x4207)
    assert os.waitpid(thread, 0x40000000)[0] == thread
    try:
        yield
    finally:
        ptrace(17)


# ---- reload


def hup(service):
    os.kill(service.process.pid, signal.SIGHUP)


def test_reload_takes_a_certificate_under_open_connections(service):
    """What is open goes on under the old certificate; what comes new sees the new one."""
    with connect(service) as old:
        before = old.tls.getpeercert(binary_form=True)
        assert old.ask(poll_request(service)).status in (400, 401)
        fresh = certificate_make(service)
        hup(service)
        event(service, "config.reloaded")
        assert old.ask(poll_request(service)).status in (400, 401)

        def renewed():
            with connect(service) as new:
                return new.tls.getpeercert(binary_form=True) == fresh
        wait_until(renewed, "every worker has the new certificate")
        assert all(renewed() for _ in range(10))
        assert before != fresh
        assert old.ask(poll_request(service)).status in (400, 401)
    assert metrics(service)["latchkey_reloads_total"] == 1


def spoil_config(service):
    service.configure(log_level="loud")
    return "log-level: expected error, warning, info or debug"


def spoil_certificate(service):
    with open(os.path.join(service.data, "tls/server.pem"), "w", encoding="ascii") as file:
        file.write("nothing\n")
    return "server.pem"


def spoil_key(service):
    """A key of another certificate."""
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-out", service.data + "/tls/server.key"],
                   check=True, capture_output=True)
    return "server"


def spoil_keyring(service):
    with open(os.path.join(service.data, "master.key"), "a", encoding="ascii") as file:
        file.write("more\n")
    return "master.key:"


@pytest.mark.parametrize("spoil", [spoil_config, spoil_certificate, spoil_key, spoil_keyring])
def test_bad_reload_keeps_everything(service, spoil):
    """Nothing of a bad reload is taken, also not its good parts; the log says what is wrong."""
    with connect(service) as connection:
        before = connection.tls.getpeercert(binary_form=True)
    words = spoil(service)
    if spoil is not spoil_config:
        service.configure(log_level="debug")
    hup(service)
    line = event(service, "config.rejected")[0]
    assert words in line["reason"] and line["level"] == "error"
    for _ in range(6):
        with connect(service) as connection:
            assert connection.tls.getpeercert(binary_form=True) == before
            assert connection.ask(poll_request(service)).status in (400, 401)
    assert not [line for line in service.log() if line["level"] == "debug"]
    assert metrics(service)["latchkey_reloads_failed_total"] == 1
    assert service.admin("GET", "/readyz")[0] == 200


def test_reload_log_level_and_what_needs_a_restart(service):
    """A reload takes the level at once, and tells which keys it cannot take."""
    service.configure(log_level="debug", drain_ms=4321, challenge_epoch_s=60)
    hup(service)
    event(service, "config.reloaded")
    assert {line["key"] for line in event(service, "config.needs_restart", 2)} == {
        "drain-ms", "challenge-epoch-s"}
    assert [line["key"] for line in event(service, "config.changed")] == ["log-level"]
    service.configure(log_level="error")
    hup(service)
    wait_until(lambda: metrics(service)["latchkey_reloads_total"] == 2, "second reload")
    before = len(service.log())
    with connect(service) as connection:
        connection.ask(poll_request(service))
    assert len(service.log()) == before


def test_keyring_rotation_reaches_the_service(service):
    """No signal is needed, and a challenge that was given out before is answered after."""
    device = Device(service, "rotating")
    service.enroll(device)
    flow = device.flow()
    key = device.challenge(flow)
    service.cli("key", "rotate")
    assert event(service, "keyring.loaded")[0]["keyring_keys"] == 2
    token = device.dialect.token(flow, key)
    device.authorise(flow, token)
    device.poll(flow, token)
    device.close()
    assert metrics(service)["latchkey_keyring_keys"] == 2


def test_a_foreign_keyring_is_not_taken(service, tmp_path):
    """Another service's master key would make the store unreadable: the one in use stays."""
    other = Service(tmp_path / "other")
    device = Device(service, "stays")
    service.enroll(device)
    shutil.copy(os.path.join(other.data, "master.key"), os.path.join(service.data, "foreign"))
    os.rename(os.path.join(service.data, "foreign"), os.path.join(service.data, "master.key"))
    line = event(service, "keyring.rejected")[0]
    assert "expected the first key to be the one that is in use" in line["reason"]
    device.register()


# ---- housekeeping


def test_a_dead_import_is_dropped(tmp_path, build):
    """What an import left behind that was cut off goes by itself, more rows than one step takes."""
    service = Service(tmp_path / "s", build=build)
    keys = [base64.b64encode(SoftTpm("ecc").ek.tpm2b).decode() for _ in range(1100)]
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("registrationId,endorsementKey\n" +
                        "".join(f"dev-{i},{key}\n" for i, key in enumerate(keys)))
    service.cli("enrollment", "import", manifest)
    database = sqlite3.connect(os.path.join(service.data, "latchkey.db"), isolation_level=None)
    database.execute("UPDATE import SET state = 0, touched_ms = touched_ms - 2 * 86400000")

    def left():
        return database.execute("SELECT count(*) FROM enrollment").fetchone()[0]
    try:
        assert left() == 1100
        service.start()
        wait_until(lambda: left() == 0, "it is dropped", timeout_s=40)
        wait_until(lambda: database.execute("SELECT count(*) FROM import").fetchone()[0] == 0,
                   "nothing of it is left")
    finally:
        database.close()
        service.stop()
    service.cli("enrollment", "import", manifest)


# ---- stopping


SLOW_BODY = b'{"tpm":{}}'


def half_request(service):
    """A connection with a request whose body has not come yet."""
    connection = connect(service)
    connection.send(https.request(
        "PUT", f"/{service.scope}/registrations/slow/register?api-version=2021-06-01",
        [("Host", service.host), ("Content-Type", "application/json"),
         ("Content-Length", str(len(SLOW_BODY)))], SLOW_BODY[:4]))
    return connection


def test_sigterm_drains(service):
    """A request under way is answered, idle ones are closed, new ones are not taken, and it ends."""
    idle_one = connect(service)
    idle_one.ask(poll_request(service))
    with half_request(service) as slow:
        time.sleep(0.3)
        os.kill(service.process.pid, signal.SIGTERM)
        event(service, "service.stopping")
        status, body = service.admin("GET", "/readyz")
        assert status == 503 and "the service is stopping" in body.decode()
        assert service.admin("GET", "/healthz")[0] == 200
        assert idle_one.closed()
        with pytest.raises(OSError):
            connect(service, timeout_s=3)
        assert service.process.running()
        slow.send(SLOW_BODY[4:])
        answer = slow.read()
        assert answer.status == 400 and answer.header("connection") == "close", answer
        assert slow.closed()
    wait_until(lambda: not service.process.running(), "it ends", timeout_s=5)
    assert service.process.child.returncode == 0
    assert service.log()[-1]["event"] == "service.stopped"


def test_sigterm_when_idle_is_quick(service):
    before = time.monotonic()
    os.kill(service.process.pid, signal.SIGINT)
    wait_until(lambda: not service.process.running(), "it ends", timeout_s=10)
    assert time.monotonic() - before < 5
    assert service.process.child.returncode == 0


def test_drain_has_an_end(make_service, build):
    """A peer that does not finish is cut after drain-ms."""
    service = make_service(build=build, drain_ms=700)
    with half_request(service) as slow:
        time.sleep(0.3)
        before = time.monotonic()
        os.kill(service.process.pid, signal.SIGTERM)
        wait_until(lambda: not service.process.running(), "it ends", timeout_s=10)
        assert 0.6 < time.monotonic() - before < 5
        assert slow.closed()
    assert service.process.child.returncode == 0


def test_second_sigterm_ends_at_once(make_service):
    service = make_service(drain_ms=60000)
    with half_request(service):
        time.sleep(0.3)
        os.kill(service.process.pid, signal.SIGTERM)
        event(service, "service.stopping")
        os.kill(service.process.pid, signal.SIGTERM)
        wait_until(lambda: not service.process.running(), "it ends", timeout_s=5)
    assert service.process.child.returncode == 1
    assert service.log()[-1]["event"] == "service.stopped"
    service.process = None


# ---- systemd


def test_systemd_is_told(tmp_path):
    """READY when devices are served, RELOADING around a reload, WATCHDOG, STOPPING."""
    service = Service(tmp_path / "s")
    path = str(tmp_path / "notify")
    told = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(20)

        def until(word):
            while not any(word in line for line in told):
                told.extend(notify.recv(4096).decode().split("\n"))

        service.process = Process([program("latchkeyd"), "--config", service.config_path],
                                  service.log_path, service.log_path,
                                  env=dict(os.environ, NOTIFY_SOCKET=path))
        try:
            until("READY=1")
            assert service._ready()
            until("WATCHDOG=1")
            told.clear()
            hup(service)
            until("READY=1")
            assert told[0] == "RELOADING=1" and told[1].startswith("MONOTONIC_USEC=")
            os.kill(service.process.pid, signal.SIGTERM)
            until("STOPPING=1")
            wait_until(lambda: not service.process.running(), "it ends")
        finally:
            service.stop()


# ---- the whole way


def test_device_registers(service, make_swtpm):
    """`latchkey device register` on a TPM of its own, from nothing to a hub that knows it."""
    device = TpmDevice(service, make_swtpm("tpm", tcp=True), "whole-way")
    manifest = os.path.join(service.directory, "manifest.csv")
    with open(manifest, "w", encoding="utf-8") as file:
        file.write(device.manifest())
    service.cli("enrollment", "import", manifest)
    result = device.register()
    assert (result["assignedHub"], result["deviceId"]) == (service.hub, "whole-way")
    status, answer = service.device_check(device.token(result))
    assert (status, answer["deviceId"], answer["key"]) == (200, "whole-way", "primary")
    assert answer["expiry"] > time.time()

    line = event(service, "registration.assigned")[0]
    assert (line["scope"], line["registration_id"], line["hub"], line["device_id"], line["status"],
            line["operation"]) == (service.scope, "whole-way", service.hub, "whole-way", 200, "poll")
    assert len(line["request_id"]) == 32 and line["peer"] == "127.0.0.1"
    assert line["duration_us"] > 0


def test_refusals_are_logged_once_with_the_answers_id(service):
    """Each refused request has one line, found by the id that the peer was given."""
    device = Device(service, "unknown-device")
    with connect(service) as connection:
        answer = connection.ask(dialects.ALL[0].register(device.flow()))
    assert (answer.status, answer.json()["errorCode"]) == (401, 401002)
    assert answer.json()["trackingId"] == answer.request_id
    lines = service.log_of(answer.request_id)
    assert len(lines) == 1
    assert (lines[0]["event"], lines[0]["registration_id"], lines[0]["status"]) == (
        "registration.refused", "unknown-device", 401)
    assert lines[0]["reason"] and lines[0]["scope"] == service.scope


def test_a_flood_does_not_fill_the_log(make_service):
    """Refusals are all answered, some told, and the rest counted in a line when it is over."""
    service = make_service(workers=1)
    flow = Device(service, "flood").flow()
    data = dialects.ALL[0].register(flow)
    with connect(service) as connection:
        answers = [connection.ask(data).status for _ in range(200)]
    assert set(answers) == {401}
    suppressed = sum(line["lines"] for line in event(service, "log.suppressed"))
    told = len(event(service, "registration.refused"))
    assert told + suppressed == 200 and told < 150
