"""The operator's command line: init, scope, hub, key, policy, registration, audit."""
import base64
import json
import os
import re
import resource
import shutil
import sqlite3
import stat
import subprocess

import pytest

from lib.device import Device
from lib.process import wait_until
from lib.service import program
from lib.softtpm import SoftTpm

ORDINARY = 65534 if os.geteuid() == 0 else os.geteuid()  # a user without privileges
CANNOT_CREATE, DATA_ERROR, NOT_FOUND, REFUSED, CONFIG = 73, 65, 69, 77, 78


def latchkey(*words, config=None, **kwargs):
    env = dict(os.environ)
    env.pop("LATCHKEY_CONFIG", None)
    if config is not None:
        env["LATCHKEY_CONFIG"] = str(config)
    argv = [program("latchkey")] + [str(word) for word in words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, env=env, **kwargs)


def init(data, *more, **kwargs):
    run = latchkey("init", "--data-dir", data, "--json", *more, **kwargs)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture
def made(tmp_path):
    """A service that has just been made; nothing runs."""
    return init(tmp_path / "data", "--host", "dps.example.test")


def ask(made, *words, **kwargs):
    """Run a command on it that has to succeed."""
    run = latchkey(*words, config=made["config"], **kwargs)
    assert run.returncode == 0, (words, run.stdout, run.stderr)
    return run.stdout


def rows(made, *words):
    return [json.loads(line) for line in ask(made, *words, "--json").splitlines()]


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def as_user(uid):
    """Arguments for subprocess that make the child an ordinary user, when the tests run as root."""
    return {"user": uid, "group": uid, "extra_groups": []} if os.geteuid() == 0 else {}


def reachable(path):
    """path, when other users can get to it: pytest's folders are their owner's alone."""
    for folder in [path, *path.parents]:
        if os.stat(folder).st_uid == os.geteuid() and mode(folder) & 0o011 != 0o011:
            os.chmod(folder, mode(folder) | 0o011)
    return path


# ---- init


def test_init_makes_a_service(made):
    """Every file is there, what is secret is readable by its owner alone, and the values are said."""
    data = made["dataDir"]
    assert re.fullmatch("0ne[0-9A-F]{8}", made["idScope"])
    assert made["hub"] == "hub.dps.example.test"
    assert made["url"] == "https://dps.example.test"
    assert mode(data) == 0o700 and mode(os.path.join(data, "tls")) == 0o700
    for name in ("master.key", "latchkey.db", "tls/server.key"):
        assert mode(os.path.join(data, name)) == 0o600, name
    assert made["caFile"] == os.path.join(data, "tls/ca.pem")
    assert not [name for name in os.listdir(data) if name.endswith(("-wal", "-shm"))]
    assert rows(made, "scope", "list")[0]["scope"] == made["idScope"]
    hub, = rows(made, "hub", "list")
    assert (hub["name"], hub["kind"], hub["allocatable"]) == (made["hub"], "embedded", True)
    actions = [row["action"] for row in rows(made, "audit", "list")]
    assert actions == ["service.init", "scope.add", "policy.add", "hub.add"]


def test_init_says_what_to_do_next(tmp_path):
    """The text names the command of the device with URL, scope and CA file."""
    run = latchkey("init", "--data-dir", tmp_path / "data", "--host", "a.test", "--id-scope", "0neX",
                   "--listen", "127.0.0.1:8443")
    assert run.returncode == 0, run.stderr
    assert ("latchkey device register --url https://a.test:8443 --scope 0neX --ca-file ca.pem"
            in run.stdout)


def test_init_makes_the_owners_policy(tmp_path):
    """One policy with every right; its connection string, for the first host, is printed once, is in
    no file, and is the one that opens."""
    run = latchkey("init", "--data-dir", tmp_path / "data", "--host", "a.test", "--host", "b.test")
    assert run.returncode == 0 and "HostName" not in run.stderr
    line, = [line.strip() for line in run.stdout.splitlines() if "SharedAccessKey=" in line]
    key = re.fullmatch("HostName=a.test;SharedAccessKeyName=provisioningserviceowner;"
                       "SharedAccessKey=([A-Za-z0-9+/]{43}=)", line)[1]
    for folder, _, names in os.walk(tmp_path / "data"):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                content = file.read()
            assert key.encode() not in content and base64.b64decode(key) not in content, name
    made = {"config": tmp_path / "data" / "latchkeyd.conf"}
    assert ask(made, "policy", "show", "provisioningserviceowner", "--connection-string") == (
        line + "\n")
    policy, = rows(made, "policy", "list")
    assert len(policy["rights"].split(",")) == 6
    other = init(tmp_path / "other", "--host", "192.0.2.1")
    assert re.match("HostName=192.0.2.1;", other["connectionString"])
    assert key not in other["connectionString"]


def test_init_certificate_is_for_all_names(tmp_path):
    """The certificate verifies under the CA for each host and for the hub."""
    made = init(tmp_path / "data", "--host", "a.test", "--host", "192.0.2.7", "--hub", "h.b.test")
    leaf = os.path.join(made["dataDir"], "tls/server.pem")
    for name in ("a.test", "h.b.test"):
        subprocess.run(["openssl", "verify", "-CAfile", made["caFile"], "-verify_hostname", name,
                        leaf], check=True, capture_output=True)
    subprocess.run(["openssl", "verify", "-CAfile", made["caFile"], "-verify_ip", "192.0.2.7",
                    leaf], check=True, capture_output=True)


def test_init_configuration_is_complete(made):
    """Each key is in the file once, commented unless it was given; the program reads it again."""
    with open(made["config"], encoding="utf-8") as file:
        text = file.read()
    for key in ("data-dir", "store", "keyring", "listen", "admin-listen", "tls-cert", "tls-key",
                "workers", "log-level", "http-body-max"):
        assert len(re.findall(rf"^#?{key} = ", text, re.M)) == 1, key
    uncommented = re.sub(r"^#(?=[a-z-]+ = )", "", text, flags=re.M)
    with open(made["config"], "w", encoding="utf-8") as file:
        file.write(uncommented)
    assert ask(made, "scope", "list")


def test_init_refuses_to_overwrite(made, tmp_path):
    """Neither a service nor a folder with something in it nor a configuration file is touched."""
    before = {name: open(os.path.join(made["dataDir"], name), "rb").read()
              for name in ("master.key", "latchkey.db", "latchkeyd.conf")}
    run = latchkey("init", "--data-dir", made["dataDir"])
    assert run.returncode == CANNOT_CREATE and "overwritten" in run.stderr
    for name, content in before.items():
        assert open(os.path.join(made["dataDir"], name), "rb").read() == content
    config = tmp_path / "there.conf"
    config.write_text("mine")
    run = latchkey("init", "--data-dir", tmp_path / "other", "--config", config)
    assert run.returncode == CANNOT_CREATE
    assert config.read_text() == "mine" and not (tmp_path / "other").exists()


def test_init_takes_an_empty_folder(tmp_path):
    """As a package makes it; others lose their rights on it."""
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    config = tmp_path / "etc" / "latchkeyd.conf"
    made = init(data, "--config", config)
    assert made["config"] == str(config) and mode(data) == 0o700
    assert rows(made, "scope", "list")


@pytest.mark.parametrize("size", [0, 100, 250, 700, 5000, 20000, 40000])
def test_init_leaves_nothing_half_done(tmp_path, size):
    """Files cannot grow past some bytes: wherever that strikes, what was made is removed again."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    made_for_us, mine = tmp_path / "new", tmp_path / "mine"
    mine.mkdir(mode=0o755)
    for data in (made_for_us, mine):
        # Python ignores SIGXFSZ, and so does the child: a write fails instead of killing it.
        run = latchkey("init", "--data-dir", data, "--config", tmp_path / "etc/l.conf",
                       preexec_fn=limit, restore_signals=False)
        assert run.returncode not in (0, 70), (run.stdout, run.stderr)
        assert run.stderr
    assert not made_for_us.exists() and not (tmp_path / "etc").exists()
    assert os.listdir(mine) == [] and mode(mine) == 0o755


def test_init_needs_a_clock(tmp_path):
    """With a clock that was never set nothing is made, and it says what to do."""
    source, shim = tmp_path / "clock.c", tmp_path / "clock.so"
    source.write_text("#include <time.h>\n"
                      "int clock_gettime(clockid_t id, struct timespec *ret)\n"
                      "{ (void)id; ret->tv_sec = 86400; ret->tv_nsec = 0; return 0; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source], check=True)
    data = tmp_path / "data"
    run = subprocess.run(
        [program("latchkey"), "init", "--data-dir", data], capture_output=True, text=True, timeout=60,
        env=dict(os.environ, LD_PRELOAD=str(shim), ASAN_OPTIONS="verify_asan_link_order=0"))
    assert run.returncode == 75 and not run.stdout
    assert "the clock says 1970-01-02T00:00:00.000Z" in run.stderr
    assert "set the clock first" in run.stderr
    assert not data.exists()


@pytest.mark.parametrize("options", [
    ["--id-scope", "a b"], ["--id-scope", "x" * 65], ["--host", "a b"], ["--hub", "nodot"],
    ["--listen", "nonsense"], ["--admin-listen", "192.0.2.1:1"], ["--tls-cert", "/dev/null"],
    ["--tls-cert", "/dev/null", "--tls-key", "/dev/null"], ["--listen", ":1\nworkers = 5"],
    ["extra"], ["--no-such-option"]])
def test_init_refuses_bad_values(tmp_path, options):
    run = latchkey("init", "--data-dir", tmp_path / "data", *options)
    assert run.returncode != 0 and run.stderr and not run.stdout
    assert not (tmp_path / "data").exists()


def test_init_with_a_given_certificate(tmp_path, made):
    """It is checked and used; no CA is made."""
    tls = os.path.join(made["dataDir"], "tls")
    other = init(tmp_path / "other", "--tls-cert", os.path.join(tls, "server.pem"),
                 "--tls-key", os.path.join(tls, "server.key"))
    assert "caFile" not in other and not os.path.exists(os.path.join(other["dataDir"], "tls"))
    with open(other["config"], encoding="utf-8") as file:
        assert f"\ntls-cert = {tls}/server.pem\n" in file.read()


def test_init_as_an_ordinary_user(tmp_path):
    """Nothing in it needs a privilege."""
    home = reachable(tmp_path) / "home"
    home.mkdir()
    os.chown(home, ORDINARY, -1)
    program_copy = shutil.copy(program("latchkey"), home / "latchkey")
    run = subprocess.run([program_copy, "init", "--data-dir", home / "data", "--json"],
                         capture_output=True, text=True, timeout=60, **as_user(ORDINARY))
    assert run.returncode == 0, run.stderr
    made = json.loads(run.stdout)
    run = subprocess.run([program_copy, "scope", "list", "--json", "--config", made["config"]],
                         capture_output=True, text=True, timeout=60, **as_user(ORDINARY))
    assert json.loads(run.stdout)["scope"] == made["idScope"]


def test_init_for_the_services_user(tmp_path):
    """root fills the folder of another user: that user owns all in it, also after a rotation."""
    data = reachable(tmp_path) / "data"
    data.mkdir()
    os.chown(data, ORDINARY, -1)
    made = init(data, "--config", tmp_path / "etc/latchkeyd.conf")
    ask(made, "key", "rotate")
    ask(made, "scope", "add")
    for folder, _, names in os.walk(data):
        for name in [folder] + [os.path.join(folder, name) for name in names]:
            assert os.stat(name).st_uid == ORDINARY, name
    assert os.stat(made["config"]).st_uid == os.geteuid()


# ---- what goes wrong is said with what to do


def test_no_configuration(tmp_path):
    run = latchkey("scope", "list", "--config", tmp_path / "none.conf")
    assert run.returncode == CONFIG and "latchkey init" in run.stderr


def test_bad_configuration_is_named(made):
    with open(made["config"], "a", encoding="utf-8") as file:
        file.write("no-such-key = 1\n")
    run = latchkey("scope", "list", config=made["config"])
    assert run.returncode == CONFIG
    assert made["config"] in run.stderr and "no-such-key" in run.stderr


def test_open_keyring_is_refused(made):
    key = os.path.join(made["dataDir"], "master.key")
    os.chmod(key, 0o644)
    run = latchkey("scope", "list", config=made["config"])
    assert run.returncode == CONFIG and key in run.stderr


def test_missing_database_is_named(made):
    os.unlink(os.path.join(made["dataDir"], "latchkey.db"))
    run = latchkey("scope", "list", config=made["config"])
    assert run.returncode == NOT_FOUND and "latchkey.db" in run.stderr
    assert not os.path.exists(os.path.join(made["dataDir"], "latchkey.db"))


def test_full_output_is_a_failure(made):
    with open("/dev/full", "w", encoding="utf-8") as full:
        run = subprocess.run([program("latchkey"), "hub", "list", "--config", made["config"]],
                             stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert run.returncode == 74 and "standard output" in run.stderr


def test_what_was_typed_is_escaped(made):
    """A terminal does not get to see control characters, not even the user's own."""
    run = latchkey("registration", "show", "x\x1b[31m\x9b\u202ey", config=made["config"])
    assert run.returncode == NOT_FOUND
    assert "\x1b" not in run.stderr and "\\x1b[31m" in run.stderr and run.stderr.isascii()


# ---- scopes and hubs


def test_scopes(made):
    """Fresh and chosen ones; none twice; a command that needs one says which there are."""
    fresh = ask(made, "scope", "add").strip()
    assert re.fullmatch("0ne[0-9A-F]{8}", fresh)
    ask(made, "scope", "add", "my-scope")
    assert latchkey("scope", "add", "my-scope", config=made["config"]).returncode == CANNOT_CREATE
    assert latchkey("scope", "add", "a_b", config=made["config"]).returncode == 64
    assert {row["scope"] for row in rows(made, "scope", "list")} == {
        made["idScope"], fresh, "my-scope"}
    run = latchkey("registration", "list", config=made["config"])
    assert run.returncode != 0 and "my-scope" in run.stderr and "--scope" in run.stderr
    assert ask(made, "registration", "list", "--scope", "my-scope")
    run = latchkey("registration", "list", "--scope", "other", config=made["config"])
    assert run.returncode == NOT_FOUND and "my-scope" in run.stderr


def test_scope_hosts(made):
    """A scope is found by a host of its own, that no other has; words of paths are no scopes."""
    own, = rows(made, "scope", "list")
    assert own["host"] == "dps.example.test"
    two = ask(made, "scope", "add", "two", "--host", "TWO.example.test").strip()
    ask(made, "scope", "add", "three")
    hosts = {row["scope"]: row["host"] for row in rows(made, "scope", "list")}
    assert hosts == {own["scope"]: own["host"], two: "two.example.test", "three": ""}
    for words in (["add", "four", "--host", "two.example.test"],
                  ["set", "three", "--host", "Two.Example.Test"]):
        run = latchkey("scope", *words, config=made["config"])
        assert run.returncode == CANNOT_CREATE and "host" in run.stderr
    assert len(rows(made, "scope", "list")) == 3
    ask(made, "scope", "set", two, "--no-host")
    ask(made, "scope", "set", "three", "--host", "two.example.test")
    assert latchkey("scope", "set", "four", "--no-host",
                    config=made["config"]).returncode == NOT_FOUND
    for wrong in (["set", two], ["set", "--no-host"], ["set", two, "--host", "a b"],
                  ["add", "Enrollments"], ["add", "enrollmentgroups"], ["add", "REGISTRATIONS"]):
        assert latchkey("scope", *wrong, config=made["config"]).returncode == 64, wrong
    assert latchkey("init", "--data-dir", os.path.join(made["dataDir"], "x"), "--id-scope",
                    "enrollments").returncode == 64
    assert [(row["action"], row["scope"], row["detail"]) for row in rows(made, "audit", "list")][4:] == [
        ("scope.add", two, {"host": "TWO.example.test"}), ("scope.add", "three", ""),
        ("scope.set", two, {"host": ""}), ("scope.set", "three", {"host": "two.example.test"})]


def test_hubs(made):
    ask(made, "hub", "add", "Second.Example.Test", "--weight", "7", "--no-allocation")
    assert latchkey("hub", "add", "second.example.test",
                    config=made["config"]).returncode == CANNOT_CREATE
    for wrong in (["nodot"], ["a.b", "--weight", "0"], ["a.b", "--weight", "1001"], ["a b.c"], []):
        assert latchkey("hub", "add", *wrong, config=made["config"]).returncode == 64, wrong
    hub, = [row for row in rows(made, "hub", "list") if row["name"] == "second.example.test"]
    assert hub["weight"] == 7 and not hub["allocatable"]
    assert rows(made, "hub", "devices", "second.example.test") == []
    assert latchkey("hub", "devices", "third.test", config=made["config"]).returncode == NOT_FOUND
    ask(made, "hub", "remove", "second.example.test")
    assert [row["name"] for row in rows(made, "hub", "list")] == [made["hub"]]
    assert latchkey("hub", "remove", "second.example.test",
                    config=made["config"]).returncode == NOT_FOUND


def test_as_many_hubs_as_are_served(made):
    for number in range(49):
        ask(made, "hub", "add", f"h{number}.example.test")
    run = latchkey("hub", "add", "one-more.example.test", config=made["config"])
    assert run.returncode != 0 and "as many as can be served" in run.stderr
    assert len(rows(made, "hub", "list")) == 50


def test_token_that_is_none(made, tmp_path):
    """Refused with the hub's reason and its own exit code; read from a file or from stdin."""
    words = ["hub", "check-token", "--hub", made["hub"], "--json"]
    run = latchkey(*words, config=made["config"], input="nonsense\n")
    assert run.returncode == REFUSED and json.loads(run.stdout)["accepted"] is False
    token = tmp_path / "token"
    token.write_text(f"SharedAccessSignature sr={made['hub']}%2Fdevices%2Fnobody&sig="
                     "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D&se=9000000000")
    run = latchkey(*words, "--token-file", token, config=made["config"])
    assert run.returncode == REFUSED and json.loads(run.stdout)["accepted"] is False
    run = latchkey(*words, "--token-file", tmp_path / "none", config=made["config"])
    assert run.returncode == 74


# ---- keys


def test_key_rotation(made):
    """A key is added, the old one stays and issues on for the grace time, neither is shown."""
    old, = rows(made, "key", "list")
    assert old["issuing"]
    new = ask(made, "key", "rotate").strip()
    listed = rows(made, "key", "list")
    assert [key["id"] for key in listed] == [old["id"], new]
    assert [key["issuing"] for key in listed] == [True, False]
    with open(os.path.join(made["dataDir"], "master.key"), encoding="ascii") as file:
        secrets = [line.split()[2] for line in file if not line.startswith("#")]
    assert len(secrets) == 2
    shown = ask(made, "key", "list") + ask(made, "key", "list", "--json")
    assert not any(secret in shown for secret in secrets)
    last = rows(made, "audit", "list")[-1]
    assert (last["action"], last["subject"]) == ("key.rotate", new)
    assert mode(os.path.join(made["dataDir"], "master.key")) == 0o600


# ---- policies


def connection(made, *words):
    return ask(made, "policy", "show", *words, "--connection-string").strip()


def test_policies(made):
    """Added with rights in any case, listed, shown without a key, removed; names are exact."""
    ask(made, "policy", "add", "dash", "--rights", "enrollmentread, RegistrationStatusRead")
    assert latchkey("policy", "add", "dash", "--rights", "EnrollmentRead",
                    config=made["config"]).returncode == CANNOT_CREATE
    ask(made, "policy", "add", "Dash", "--rights", "EnrollmentWrite")
    listed = {row["name"]: row["rights"] for row in rows(made, "policy", "list")}
    assert set(listed) == {"Dash", "dash", "provisioningserviceowner"}
    assert listed["dash"] == "EnrollmentRead,RegistrationStatusRead"
    shown, = rows(made, "policy", "show", "dash")
    assert set(shown) == {"name", "scope", "rights", "created", "updated"}
    text = ask(made, "policy", "show", "dash")
    assert "EnrollmentRead" in text and shown["created"] in text and "SharedAccessKey" not in text
    ask(made, "policy", "remove", "dash")
    for words in (["show", "dash"], ["remove", "dash"], ["roll", "dash", "--primary"],
                  ["show", "dash", "--connection-string"]):
        assert latchkey("policy", *words, config=made["config"]).returncode == NOT_FOUND, words
    assert len(rows(made, "policy", "list")) == 2
    for wrong in (["add", "x"], ["add", "x", "--rights", ""], ["add", "x", "--rights", "All"],
                  ["add", "a b", "--rights", "EnrollmentRead"],
                  ["add", "x" * 65, "--rights", "EnrollmentRead"], ["roll", "Dash"],
                  ["roll", "Dash", "--primary", "--secondary"], ["show"], ["show", "Dash", "--primary"],
                  ["show", "Dash", "--connection-string", "--host", "a b"]):
        assert latchkey("policy", *wrong, config=made["config"]).returncode == 64, wrong


def test_policy_keys(made):
    """The connection string is printed when asked for only, with a warning, and the asking is
    recorded; a rolled key is another one, and the other of the two stays."""
    name = "provisioningserviceowner"
    assert connection(made, name) == made["connectionString"]
    run = latchkey("policy", "show", name, "--connection-string", config=made["config"])
    assert "secret" in run.stderr and "SharedAccessKey=" not in run.stderr
    primary, secondary = connection(made, name), connection(made, name, "--secondary")
    assert primary != secondary
    ask(made, "policy", "roll", name, "--secondary")
    assert connection(made, name) == primary
    rolled = connection(made, name, "--secondary")
    assert rolled not in (primary, secondary)
    ask(made, "policy", "roll", name, "--primary")
    assert connection(made, name, "--secondary") == rolled
    assert connection(made, name, "--primary") != primary
    assert connection(made, name, "--host", "x.test").startswith("HostName=x.test;")
    document, = rows(made, "policy", "show", name, "--connection-string")
    assert document["connectionString"] == connection(made, name)
    records = rows(made, "audit", "list")
    assert [row["detail"]["key"] for row in records if row["action"] == "policy.roll"] == [
        "secondary", "primary"]
    assert {row["subject"] for row in records if row["action"] == "policy.reveal"} == {name}
    assert "SharedAccessKey" not in ask(made, "audit", "list")


def test_policy_of_a_scope(made):
    """A policy belongs to one scope; without a host for the connection string the cure is told."""
    ask(made, "scope", "add", "two")
    run = latchkey("policy", "list", config=made["config"])
    assert run.returncode == 64 and "--scope" in run.stderr
    ask(made, "policy", "add", "p", "--scope", "two", "--rights", "EnrollmentRead")
    assert [row["name"] for row in rows(made, "policy", "list", "--scope", "two")] == ["p"]
    before = len(rows(made, "audit", "list"))
    run = latchkey("policy", "show", "p", "--scope", "two", "--connection-string",
                   config=made["config"])
    assert run.returncode == 64 and "scope set" in run.stderr and run.stdout == ""
    assert len(rows(made, "audit", "list")) == before
    ask(made, "scope", "set", "two", "--host", "two.example.test")
    assert connection(made, "p", "--scope", "two").startswith("HostName=two.example.test;")


# ---- audit


def many_records(made, count):
    for _ in range(count):
        ask(made, "scope", "add")


def head_of(made):
    return json.loads(ask(made, "audit", "verify", "--json"))["head"]


def change(made, sql, *values):
    """What somebody with access to the database would do."""
    with sqlite3.connect(os.path.join(made["dataDir"], "latchkey.db")) as database:
        assert database.execute(sql, values).rowcount > 0
    database.close()


def verdict(made, *more):
    run = latchkey("audit", "verify", "--json", *more, config=made["config"])
    return run.returncode, json.loads(run.stdout)


def test_audit_is_whole(made):
    """Count and head; the head of now is in the chain later."""
    before = head_of(made)
    many_records(made, 3)
    code, got = verdict(made, "--expect", before)
    assert (code, got["intact"], got["records"]) == (0, True, 7)
    assert got["head"].split(":")[0] == "7" and got["head"] != before
    assert latchkey("audit", "verify", "--expect", "7:abc", config=made["config"]).returncode == 64


@pytest.mark.parametrize("column,value", [
    ("actor", "cli:nobody"), ("action", "scope.remove"), ("scope", ""), ("subject", "x"),
    ("detail", "{}"), ("time_ms", 1), ("hash", bytes(32))])
def test_audit_finds_a_changed_field(made, column, value):
    many_records(made, 3)
    change(made, f"UPDATE audit SET {column} = ? WHERE seq = 5", value)
    code, got = verdict(made)
    assert (code, got["intact"], got["record"]) == (DATA_ERROR, False, 5)


def test_audit_finds_a_removed_record(made):
    many_records(made, 3)
    change(made, "DELETE FROM audit WHERE seq = 5")
    code, got = verdict(made)
    assert code == DATA_ERROR and got["record"] == 5


def test_audit_finds_the_last_record_changed(made):
    many_records(made, 1)
    change(made, "UPDATE audit SET subject = 'x' WHERE seq = (SELECT max(seq) FROM audit)")
    assert verdict(made)[0] == DATA_ERROR


def test_audit_finds_a_cut_tail_by_the_kept_head(made):
    """Without the kept head nothing in the database shows it, and so it is documented."""
    many_records(made, 3)
    kept = head_of(made)
    change(made, "DELETE FROM audit WHERE seq >= 6")
    assert verdict(made)[0] == 0
    code, got = verdict(made, "--expect", kept)
    assert code == DATA_ERROR and got["record"] == 6
    many_records(made, 3)  # the chain grows past the kept head, with other records
    code, got = verdict(made, "--expect", kept)
    assert code == DATA_ERROR and got["record"] == 7


def test_audit_list_pages(made):
    """More records than a page holds come out once each and in order, from any start."""
    with sqlite3.connect(os.path.join(made["dataDir"], "latchkey.db")) as database:
        database.executemany(
            "INSERT INTO audit VALUES (?, 1, 'a\x1b[0m', 'b', '', 'c', '', zeroblob(32))",
            [(seq,) for seq in range(5, 604)])
    database.close()
    assert [row["seq"] for row in rows(made, "audit", "list")] == list(range(1, 604))
    assert [row["seq"] for row in rows(made, "audit", "list", "--after", "100", "--limit", "400")
            ] == list(range(101, 501))
    assert "\x1b" not in ask(made, "audit", "list")
    assert "\x1b" not in ask(made, "audit", "list", "--json")
    assert verdict(made)[1]["record"] == 5


# ---- with the service running


def service_rows(service, *words):
    return [json.loads(line) for line in service.cli(*words, "--json").stdout.splitlines()]


def test_registered_devices(make_service):
    """What the operator sees of devices that registered, and how they are forgotten."""
    service = make_service()
    devices = [Device(service, f"dev-{number}", SoftTpm("ecc")) for number in range(3)]
    for device in devices:
        service.enroll(device)
        device.register()
    listed = service_rows(service, "registration", "list")
    assert [row["registrationId"] for row in listed] == ["dev-0", "dev-1", "dev-2"]
    assert {(row["status"], row["assignedHub"]) for row in listed} == {("assigned", service.hub)}
    shown, = service_rows(service, "registration", "show", "DEV-1")
    assert shown["registrationId"] == "dev-1" and shown["generation"] == 1
    assert re.fullmatch("[0-9a-f]{64}", shown["endorsementKeyId"])
    assert "dev-1" in service.cli("registration", "show", "dev-1").stdout

    identities = service_rows(service, "hub", "devices", service.hub)
    assert [row["deviceId"] for row in identities] == ["dev-0", "dev-1", "dev-2"]
    identity, = service_rows(service, "hub", "show-device", service.hub, "dev-2")
    assert identity["enabled"] and identity["secondaryKey"] == "none"
    everything = "".join(service.cli(*words).stdout for words in (
        ("hub", "devices", service.hub, "--json"), ("hub", "show-device", service.hub, "dev-2"),
        ("registration", "show", "dev-2", "--json"), ("audit", "list", "--json")))
    key = base64.b64encode(devices[2].key).decode()
    assert key not in everything and devices[2].key.hex() not in everything

    service.cli("registration", "remove", "dev-0")
    assert service.cli("registration", "remove", "dev-0", check=False).returncode == NOT_FOUND
    assert service.cli("registration", "show", "dev-0", check=False).returncode == NOT_FOUND
    assert len(service_rows(service, "registration", "list")) == 2
    assert devices[0].register()["status"] == "assigned"
    shown, = service_rows(service, "registration", "show", "dev-0")
    assert shown["generation"] > 1  # so no challenge from before counts again
    actions = [(row["action"], row["subject"]) for row in service_rows(service, "audit", "list")]
    assert ("registration.remove", "dev-0") in actions
    assert service_rows(service, "audit", "verify")[0]["intact"]


def test_token_check_retires_the_previous_key(make_service):
    """Both keys are good after a re-registration until the new one is used, by hand as at the hub."""
    service = make_service()
    device = Device(service, "dev", SoftTpm("ecc"))
    service.enroll(device)
    device.register()
    old = device.hub_token()
    device.register()

    def check(token):
        run = service.cli("hub", "check-token", "--hub", service.hub, "--json", check=False,
                          input=token)
        assert run.returncode in (0, REFUSED)
        return json.loads(run.stdout)

    assert check(old)["key"] == "secondary"
    identity, = service_rows(service, "hub", "show-device", service.hub, "dev")
    assert identity["secondaryKey"] == "previous key"
    assert check(device.hub_token())["key"] == "primary"
    assert check(old)["accepted"] is False and not service.accepts(old)
    identity, = service_rows(service, "hub", "show-device", service.hub, "dev")
    assert identity["secondaryKey"] == "none"


def test_device_is_cut_off_at_its_hub(make_service):
    """Disabled it is refused, also after it has registered again; removed it gets a new identity."""
    service = make_service()
    device = Device(service, "dev", SoftTpm("ecc"))
    service.enroll(device)
    device.register()
    for verb in ("disable-device", "enable-device", "remove-device"):
        for words in ((service.hub, "nobody"), (service.hub, "no body"), ("no.hub", "dev")):
            assert service.cli("hub", verb, *words, check=False).returncode == NOT_FOUND
    service.cli("hub", "disable-device", service.hub, "dev")
    assert not service.accepts(device.hub_token())
    device.register()
    assert not service.accepts(device.hub_token())
    service.cli("hub", "enable-device", service.hub, "dev")
    assert service.accepts(device.hub_token())
    before, = service_rows(service, "hub", "devices", service.hub)
    service.cli("hub", "remove-device", service.hub, "dev")
    assert not service.accepts(device.hub_token())
    assert service_rows(service, "hub", "devices", service.hub) == []
    device.register()
    after, = service_rows(service, "hub", "devices", service.hub)
    assert service.accepts(device.hub_token())
    assert after["generationId"] != before["generationId"]
    assert [row["action"] for row in service_rows(service, "audit", "list")
            if row["action"].startswith("hub.device.")] == [
                "hub.device.disable", "hub.device.enable", "hub.device.remove"]


def test_hub_in_use_stays(make_service):
    """A hub is not removed from under its devices or an enrollment that names it, unless told."""
    service = make_service()
    device = Device(service, "dev", SoftTpm("ecc"))
    service.enroll(device)
    device.register()
    service.cli("hub", "add", "named.example.test")
    named = Device(service, "named", SoftTpm("ecc"))
    service.enroll(named, "--hub", "named.example.test")
    for hub in (service.hub, "named.example.test"):
        assert service.cli("hub", "remove", hub, check=False).returncode == REFUSED
    assert named.register()["assignedHub"] == "named.example.test"
    service.cli("hub", "remove", service.hub, "--force")
    assert [row["name"] for row in service_rows(service, "hub", "list")] == ["named.example.test"]
    assert not service.accepts(device.hub_token())
    assert device.register()["assignedHub"] == "named.example.test"
    removal, = [row for row in service_rows(service, "audit", "list")
                if row["action"] == "hub.remove"]
    assert removal["detail"] == {"forced": True, "identities": 1, "enrollments": 0}
    assert service_rows(service, "audit", "verify")[0]["intact"]


def test_commands_while_the_service_runs(make_service):
    """The same commands, at the same time as the service, each seen by the other."""
    service = make_service()
    before = json.loads(service.cli("audit", "verify", "--json").stdout)
    service.cli("scope", "add", "second")
    service.cli("hub", "add", "second.example.test")
    service.cli("key", "rotate")
    after = json.loads(service.cli("audit", "verify", "--json", "--expect", before["head"]).stdout)
    assert after["records"] == before["records"] + 3
    assert service.admin("GET", "/readyz")[0] == 200
    wait_until(lambda: any("keyring" in json.dumps(line) for line in service.log()),
               "the service tells that it took the new keyring", timeout_s=20)
    service.stop()
    assert json.loads(service.cli("audit", "verify", "--json").stdout)["intact"]
