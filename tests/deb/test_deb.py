"""The Debian packages, in a clean Debian: built once, and once more with a higher version. The cases
are one story and run in its order."""
import glob
import hashlib
import json
import os
import re
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from root import Root, need_root, output

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
DEPLOY = os.path.join(TOP, "deploy")
NAMES = ["latchkey-server", "latchkey", "liblatchkey0", "liblatchkey-dev", "latchkey-mosquitto"]
LATER = "0.1.0+later1"
STORE, CONFIG = "/var/lib/latchkey/latchkey.db", "/etc/latchkey/latchkeyd.conf"
ID, HUB, WEST = "truck-0042", "hub.example.test", "west.example.test"
# Whoever publishes packages puts in an address of their own (DEBFULLNAME, DEBEMAIL, dch).
NO_ADDRESS_YET = "bogus-mail-host,bogus-mail-host-in-debian-changelog"


def build(folder):
    """Packages of meson.build's version in first/, and of a later one in later/."""
    env = dict(os.environ, DEB_BUILD_OPTIONS="noautodbgsym")
    # No network in the build.
    offline = ["unshare", "--net", os.path.join(TOP, "tools/deb.sh"), folder]
    for name, version in ("first", []), ("later", [LATER]):
        output([*offline, *version], env=env, timeout=900)
        os.mkdir(f"{folder}/{name}")
        for path in glob.glob(folder + "/*_*.*"):
            shutil.move(path, f"{folder}/{name}")


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """The folder of packages and the Debian to put them in, made side by side."""
    need_root()
    folder = str(tmp_path_factory.mktemp("packages"))
    with ThreadPoolExecutor() as pool:
        tree = pool.submit(Root, tmp_path_factory.mktemp("root") / "tree")
        packages = pool.submit(build, folder)
        packages.result()
        yield folder, tree.result()
    shutil.rmtree(tree.result().path)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def built(made):
    return made[0]


@pytest.fixture(scope="session")
def root(made):
    folder, tree = made
    for name in ("first", "later"):
        if not os.path.exists(tree.at("/root/" + name)):
            shutil.copytree(f"{folder}/{name}", tree.at("/root/" + name))
    return tree


def install(root, folder):
    files = " ".join(f"/root/{folder}/{name}_*.deb" for name in NAMES)
    return root.run(f"apt-get install -y -q --no-install-recommends {files}", network=True,
                    timeout=600)


def unit_command(root):
    """The unit's ExecStart, as its user with its one capability."""
    unit = root.read("/lib/systemd/system/latchkeyd.service")
    command, = re.findall(r"^ExecStart=(.*)$", unit, re.M)
    user, = re.findall(r"^User=(.*)$", unit, re.M)
    capability, = re.findall(r"^AmbientCapabilities=CAP_(.*)$", unit, re.M)
    return (f"setpriv --reuid {user} --regid {user} --init-groups --no-new-privs "
            f"--inh-caps=+{capability.lower()} --ambient-caps=+{capability.lower()} "
            f"--bounding-set=-all,+{capability.lower()} {command}")


def served(root, script):
    """Run script while the service runs; what both printed is the result."""
    return root.run(f"""
        {unit_command(root)} >/tmp/latchkeyd.log 2>&1 & service=$!
        n=0
        until curl -sf http://127.0.0.1:9464/readyz >/dev/null; do
            n=$((n + 1))
            if [ $n -gt 300 ] || ! kill -0 $service; then cat /tmp/latchkeyd.log; exit 1; fi
            sleep 0.1
        done
        {script}
        kill $service
        wait $service
        """)


def digest(root, path):
    with open(root.at(path), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


TPM = """
    mkdir -p /tmp/tpm
    swtpm socket --tpm2 --tpmstate dir=/tmp/tpm --server type=tcp,port=2321,bindaddr=127.0.0.1 \
        --ctrl type=tcp,port=2322,bindaddr=127.0.0.1 --flags not-need-init,startup-clear \
        >/tmp/swtpm.log 2>&1 & tpm=$!
    export TPM2TOOLS_TCTI=swtpm:host=127.0.0.1,port=2321
    n=0
    until latchkey device show --tcti $TPM2TOOLS_TCTI >/dev/null 2>&1; do
        n=$((n + 1)); [ $n -lt 300 ]; sleep 0.1
    done
    """


def test_lintian_finds_no_error(built):
    changes, = glob.glob(built + "/first/*.changes")
    output(["lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags",
            NO_ADDRESS_YET, changes])


def test_installs_and_makes_no_keys(root):
    said = install(root, "first")
    assert "latchkeyd is not configured yet and has no keys" in said
    assert root.run("stat -c '%U %G %a' /var/lib/latchkey").split() == ["latchkey", "latchkey", "700"]
    assert os.listdir(root.at("/var/lib/latchkey")) == []
    assert os.listdir(root.at("/etc/latchkey")) == []
    assert not glob.glob(root.at("/etc/systemd/system/*/latchkeyd.service")) # not enabled


def test_programs_and_manual_pages_are_there(root):
    for program in ("latchkey", "latchkeyd"):
        assert re.search(r"0\.1\.0", root.run(program + " --version"))
    root.run("latchkey help; latchkeyd --help; ldd /usr/lib/*/latchkey/latchkey_hub.so")
    files = root.run("dpkg -L " + " ".join(NAMES))
    for page in os.listdir(os.path.join(TOP, "doc/man")):
        assert f"/{page}.gz\n" in files, page


def test_a_device_registers(root):
    root.run(f"""latchkey init --data-dir /var/lib/latchkey --config {CONFIG} --host localhost \
        --hub {HUB} --id-scope 0ne00000001 >/dev/null""")
    said = served(root, TPM + f"""
        latchkey device show --tcti $TPM2TOOLS_TCTI --manifest csv --header --registration-id {ID} \
            >/tmp/manifest.csv
        setpriv --reuid latchkey --regid latchkey --init-groups \
            latchkey enrollment import - </tmp/manifest.csv
        latchkey device register --tcti $TPM2TOOLS_TCTI --url https://localhost \
            --scope 0ne00000001 --registration-id {ID} --ca-file /var/lib/latchkey/tls/ca.pem
        kill $tpm
        """)
    assert HUB in said and ID in said


def queries():
    """Each expression of dashboard and alerts."""
    with open(DEPLOY + "/grafana/latchkey.json", encoding="utf-8") as file:
        panels = json.load(file)["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert len(found) > 20
    with open(DEPLOY + "/prometheus/alerts.yml", encoding="utf-8") as file:
        text = file.read()
    assert text.count("- alert: ") == len(re.findall(r"^ +expr: ", text, re.M)) > 10
    return found, text


def test_alerts_do_what_they_say(root):
    shutil.copytree(DEPLOY + "/prometheus", root.at("/root/prometheus"))
    said = root.run("""cd /root/prometheus
        promtool check rules alerts.yml
        promtool test rules alerts_test.yml""")
    assert "SUCCESS" in said
    with open(DEPLOY + "/prometheus/alerts_test.yml", encoding="utf-8") as file:
        tested = set(re.findall(r'alertname="(\w+)"', file.read()))
    assert tested == set(re.findall(r"- alert: (\w+)", queries()[1])), "an alert without a test"


def test_the_dashboards_queries_are_promql(root):
    rules = {"groups": [{"name": "dashboard", "rules": [
        {"record": f"panel:{i}", "expr": query.replace("$__rate_interval", "1m")}
        for i, query in enumerate(queries()[0])]}]}
    root.write("/root/dashboard.yml", json.dumps(rules)) # JSON is YAML
    root.run("promtool check rules /root/dashboard.yml")


def test_metrics_of_dashboard_and_alerts_exist(root):
    """Asked of a service that has also called a hub elsewhere, which is not there."""
    root.write("/root/west", f"HostName={WEST};SharedAccessKeyName=service;"
                             "SharedAccessKey=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n", 0o600)
    as_service = "setpriv --reuid latchkey --regid latchkey --init-groups"
    page = served(root, TPM + f"""
        {as_service} latchkey hub add {WEST} --connection-string - </root/west >/dev/null
        {as_service} latchkey enrollment set {ID} --hub {WEST} --allocation static >/dev/null
        latchkey device register --tcti $TPM2TOOLS_TCTI --url https://localhost --quiet \
            --scope 0ne00000001 --registration-id {ID} --ca-file /var/lib/latchkey/tls/ca.pem \
            >/dev/null 2>&1 & device=$!
        n=0
        until curl -sf http://127.0.0.1:9464/metrics >/tmp/page &&
            grep -q '^latchkey_hub_calls_total' /tmp/page; do
            n=$((n + 1)); [ $n -lt 600 ]; sleep 0.1
        done
        kill $device
        {as_service} latchkey enrollment set {ID} --hub {HUB} --allocation static >/dev/null
        cat /tmp/page
        promtool check metrics </tmp/page >&2 || [ $? -eq 3 ]
        kill $tpm
        """)
    there = set(re.findall(r"^# TYPE (\w+) ", page, re.M))
    assert len(there) == len(re.findall(r"^# TYPE ", page, re.M)), "a name is given twice"
    dashboard, alerts = queries()
    named = set(re.findall(r"\b(?:latchkey|process)_\w+", "\n".join(dashboard) + "".join(
        re.findall(r"expr:(?:.*\n)(?: {10,}.*\n)*", alerts))))
    assert len(named) > 20
    assert {re.sub(r"_bucket$", "", name) for name in named} - there == set()


def test_an_application_builds(root):
    root.run("""cd /tmp
        cp /usr/share/doc/liblatchkey-dev/examples/device.c .
        gcc -std=gnu99 -Wall -Wextra -Werror device.c -o device \
            $(pkg-config --cflags --libs latchkey libmosquitto)
        ldd ./device | grep -q 'liblatchkey.so.0 => /' """)


def test_the_broker_takes_the_plugin(root):
    root.run("echo 'mqtt-socket = /run/latchkey/broker.sock' >>" + CONFIG)
    root.run("install -d -o latchkey -g latchkey /run/latchkey; adduser --quiet mosquitto latchkey"
             if os.path.exists(root.at("/usr/sbin/adduser")) else
             "install -d -o latchkey -g latchkey /run/latchkey; usermod -aG latchkey mosquitto")
    said = served(root, f"""
        install -d -o mosquitto -g mosquitto /tmp/broker
        mosquitto_passwd -c -b /tmp/broker/operators archive secret
        install -o mosquitto -m 600 /var/lib/latchkey/tls/server.key /tmp/broker/hub.key
        install -m 644 /var/lib/latchkey/tls/server.pem /tmp/broker/hub.pem
        chown -R mosquitto /tmp/broker
        latchkey hub mosquitto-config {HUB} --cert /tmp/broker/hub.pem --key /tmp/broker/hub.key \
            --passwords /tmp/broker/operators >/tmp/broker/hub.conf
        mosquitto -c /tmp/broker/hub.conf >/tmp/broker/log 2>&1 & broker=$!
        n=0
        until grep -q 'connected to the service' /tmp/broker/log; do
            n=$((n + 1))
            if [ $n -gt 300 ] || ! kill -0 $broker; then cat /tmp/broker/log; exit 1; fi
            sleep 0.1
        done
        cat /tmp/broker/log
        kill $broker
        wait $broker || true
        """)
    assert "this broker is the hub " + HUB in said


def previous_schema(root):
    """The store as it was one schema step before: the same rows in tables of that step."""
    steps = sorted(glob.glob(TOP + "/src/store/schema/sqlite-*.sql"))[:-1]
    new, old = sqlite3.connect(root.at(STORE)), sqlite3.connect(root.at("/root/old.db"))
    for step in steps:
        with open(step, encoding="utf-8") as file:
            old.executescript(file.read())
    # Triggers count rows that come in; those of the copy are counted already.
    triggers = old.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        old.execute(f"DROP TRIGGER {name}")
    tables = old.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"
                         " AND name NOT LIKE 'sqlite_%'").fetchall()
    for (table,) in tables:
        columns = {row[1] for row in new.execute(f"PRAGMA table_info({table})")}
        both = [row[1] for row in old.execute(f"PRAGMA table_info({table})") if row[1] in columns]
        rows = new.execute(f"SELECT {','.join(both)} FROM {table}").fetchall()
        old.execute(f"DELETE FROM {table}")
        old.executemany(f"INSERT INTO {table} ({','.join(both)}) VALUES"
                        f" ({','.join('?' * len(both))})", rows)
    for _, sql in triggers:
        old.execute(sql)
    application, = new.execute("PRAGMA application_id").fetchone()
    old.execute(f"PRAGMA application_id = {application}")
    old.execute(f"PRAGMA user_version = {len(steps)}")
    old.commit()
    old.execute("PRAGMA journal_mode = WAL")
    old.close()
    new.close()
    return len(steps)


def test_an_upgrade_keeps_configuration_and_data(root):
    """Of a store of the version before, too, which the new service takes a step further."""
    before = previous_schema(root)
    root.run(f"rm -f {STORE}-wal {STORE}-shm; install -o latchkey -g latchkey -m 600 /root/old.db "
             + STORE)
    kept = {path: digest(root, path) for path in (CONFIG, STORE, "/var/lib/latchkey/master.key")}
    said = install(root, "later")
    assert "not configured yet" not in said
    assert root.run("dpkg-query -W -f '${Version}' latchkey-server") == LATER
    assert kept == {path: digest(root, path) for path in kept}
    as_service = "setpriv --reuid latchkey --regid latchkey --init-groups"
    said = served(root, f"""{as_service} latchkey enrollment show {ID}
        {as_service} latchkey registration show {ID}
        {as_service} latchkey audit verify""")
    assert ID in said
    store = sqlite3.connect(root.at(STORE))
    assert store.execute("PRAGMA user_version").fetchone()[0] == before + 1
    assert store.execute("SELECT count(*) FROM enrollment").fetchone()[0] == 1
    store.close()


def test_removal_keeps_everything(root):
    root.run("dpkg --remove latchkey-server latchkey-mosquitto liblatchkey-dev")
    assert not os.path.exists(root.at("/usr/sbin/latchkeyd"))
    assert not glob.glob(root.at("/usr/lib/*/latchkey/latchkey_hub.so"))
    for path in (CONFIG, STORE, "/var/lib/latchkey/master.key"):
        assert os.path.exists(root.at(path)), path


def test_purge_keeps_store_and_keys_and_says_so(root):
    root.write("/etc/latchkey/master.key.cred", "sealed\n")
    said = root.run("dpkg --purge latchkey-server latchkey-mosquitto")
    assert "kept /var/lib/latchkey" in said and "kept /etc/latchkey" in said
    assert not os.path.exists(root.at(CONFIG))
    for path in (STORE, "/var/lib/latchkey/master.key", "/etc/latchkey/master.key.cred"):
        assert os.path.exists(root.at(path)), path
    assert "latchkey:" in root.read("/etc/passwd") # whose files they are


def test_purge_leaves_nothing_where_nothing_was(root):
    root.run("rm -rf /var/lib/latchkey /etc/latchkey")
    install(root, "later")
    said = root.run("dpkg --purge latchkey-server")
    assert "kept" not in said
    assert not os.path.exists(root.at("/var/lib/latchkey"))
    assert not os.path.exists(root.at("/etc/latchkey"))
