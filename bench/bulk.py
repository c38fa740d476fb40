#!/usr/bin/env python3
"""Import a signed manifest into each engine, beside the raw insert rate of the same rows.

usage: bulk.py [--rows N] [--rounds N] [sqlite] [pgsql]

100,000 rows, three rounds; BULK_ROWS=1000000 in the environment for a million, one round, 3 GB of disk
and ten minutes. The report is also written to bench/report/bulk.json.

The floor puts the very rows that an import has stored into a fresh store of the same engine, tables,
indexes and durability: SQLite by prepared statements in transactions of 10,000 rows (bulk.c),
PostgreSQL by COPY in its binary form over one connection, in one transaction. An import reads the
manifest twice, verifies its signature, parses and judges every key and looks for conflicts besides.
Rounds of both alternate, and the median ratio counts. CPU time is of all processes that take part,
the database server's too; memory is the largest that the command line had.
"""
import argparse
import base64
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
os.environ.setdefault("LK_BUILD", BUILD)
sys.path.insert(0, os.path.join(TOP, "tests/system"))

from lib.postgres import Postgres  # noqa: E402
from lib.process import wait_until  # noqa: E402
from lib.service import Service, program  # noqa: E402

REPORT = os.path.join(TOP, "bench/report/bulk.json")
GOAL = 0.7
SMALL = 10000  # rows, for memory
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
# TPM2B_PUBLIC of an EK as the TCG's template L-1 has it, up to its modulus.
EK_HEAD = bytes.fromhex("013a0001000b000300b20020837197674484b3f81a90cc8d46a5d724fd52d76e06520b64"
                        "f2a1da1b331469aa00060080004300100800") + bytes(4) + b"\x01\x00"


def openssl(*words):
    subprocess.run(["openssl", *words], check=True, capture_output=True)


class Factory:
    """Who signs manifests."""

    def __init__(self, directory):
        self.ca, self.line = (os.path.join(directory, name) for name in ("ca", "line"))
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", self.ca + ".key", "-out", self.ca + ".pem", "-subj", "/O=bench/CN=CA")
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.line + ".key",
                "-out", self.line + ".pem", "-subj", "/O=bench/CN=line", "-CA", self.ca + ".pem",
                "-CAkey", self.ca + ".key", "-addext", "basicConstraints=critical,CA:false",
                "-addext", "keyUsage=critical,digitalSignature")

    def manifest(self, path, rows):
        """A signed manifest of so many rows, in no order of the IDs."""
        order = list(range(rows))
        random.Random(rows).shuffle(order)
        with open(path, "w", encoding="ascii") as file:
            file.write("registrationId,endorsementKey\n")
            for n in order:
                modulus = bytearray(os.urandom(256))
                modulus[0] |= 0xC0
                modulus[255] |= 1
                key = base64.b64encode(EK_HEAD + modulus).decode()
                file.write(f"dev-{n:08d},{key}\n")
        openssl("cms", "-sign", "-binary", "-in", path, "-signer", self.line + ".pem", "-inkey",
                self.line + ".key", "-outform", "DER", "-out", path + ".p7s")
        return path


def cpu_of(pid, reaped):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15 if reaped else 13])) * TICK_S


def measure(argv, server_cpu, **kwargs):
    """Run a command: its output, seconds, CPU seconds and largest memory in MiB."""
    largest = [0]

    def watch(pid):
        try:
            while True:
                with open(f"/proc/{pid}/status", encoding="ascii") as file:
                    largest[0] = max([largest[0]] + [int(line.split()[1]) for line in file
                                                     if line.startswith("VmHWM")])
                time.sleep(0.02)
        except OSError:
            pass  # it has ended

    server_s, start = server_cpu(), time.monotonic()
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             **kwargs)
    watcher = threading.Thread(target=watch, args=(child.pid,))
    watcher.start()
    out, err = child.communicate()
    seconds = time.monotonic() - start
    watcher.join()
    if child.returncode != 0:
        sys.exit(f"{' '.join(argv)}: {out}{err}")
    return out, seconds, server_cpu() - server_s, largest[0] / 1024


def run_of(rows, seconds, cpu_s, mib=0.0):
    return {"rows": rows, "seconds": seconds, "rows_per_s": rows / seconds,
            "cpu_us_a_row": cpu_s * 1e6 / rows, "mib": mib}


def own_cpu():
    """CPU time of the processes that we started and that have ended."""
    times = os.times()
    return times.children_user + times.children_system


class Sqlite:
    name = "SQLite"

    def __init__(self, directory):
        self.directory, self.made = directory, 0

    def service(self):
        self.made += 1
        return Service(os.path.join(self.directory, f"sqlite-{self.made}"))

    def cpu(self):
        return own_cpu()

    def settle(self):
        os.sync()

    def forget(self, service):
        shutil.rmtree(service.directory)

    def floor(self, source, target):
        files = [os.path.join(s.data, "latchkey.db") for s in (source, target)]
        out = measure([os.path.join(BUILD, "bench/bench-bulk"), *files], self.cpu)[0]
        told = json.loads(out)
        return run_of(told["rows"], told["seconds"], told["cpu_us"] * told["rows"] / 1e6)

    def close(self):
        pass


class Pgsql:
    name = "PostgreSQL"

    def __init__(self, directory):
        self.directory, self.made = directory, 0
        self.server = Postgres()
        self.urls = {}

    def service(self):
        self.made += 1
        url = self.server.database()
        service = Service(os.path.join(self.directory, f"pgsql-{self.made}"), store=url)
        self.urls[service] = url
        return service

    def cpu(self):
        """Ours and the server's: of its sessions that have ended, and of those that live."""
        pid = self.server.process.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = file.read().split()
        live = 0.0
        for child in children:
            try:
                live += cpu_of(child, False)
            except OSError:
                pass  # it has ended meanwhile, and is in the next look
        return own_cpu() + cpu_of(pid, True) + live

    def settle(self):
        self.server.sql("CHECKPOINT")
        os.sync()

    def forget(self, service):
        name = self.urls.pop(service).split("/")[3].split("?")[0]
        self.server.sql(f"DROP DATABASE {name} WITH (FORCE)")
        shutil.rmtree(service.directory)

    def psql(self, service, *commands):
        words = [word for command in commands for word in ("-c", command)]
        return ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *words, self.urls[service]]

    def floor(self, source, target):
        files = {t: os.path.join(self.directory, t) for t in ("enrollment", "enrollment_ek")}
        subprocess.run(self.psql(source, *(f"\\copy {t} TO '{f}' (FORMAT binary)"
                                           for t, f in files.items())), check=True, cwd="/")
        rows = int(self.server.sql("SELECT count(*) FROM enrollment",
                                   self.urls[source].split("/")[3].split("?")[0]).stdout)
        self.settle()
        copies = [f"\\copy {t} FROM '{f}' (FORMAT binary)" for t, f in files.items()]
        _, seconds, cpu_s, _ = measure(self.psql(target, "BEGIN", *copies, "COMMIT"), self.cpu,
                                       cwd="/")
        return run_of(rows, seconds, cpu_s)

    def close(self):
        self.server.close()


def latchkey(engine, service, rows, *words):
    argv = [program("latchkey"), "enrollment", *words]
    _, seconds, cpu_s, mib = measure(argv, engine.cpu,
                                     env=dict(os.environ, LATCHKEY_CONFIG=service.config_path))
    return run_of(rows, seconds, cpu_s, mib)


def ready(engine, factory):
    service = engine.service()
    service.cli("trust", "add", "--factory", factory.ca + ".pem")
    engine.settle()
    return service


def one_round(engine, factory, manifest, rows):
    """An import and its floor."""
    service, bare = ready(engine, factory), ready(engine, factory)
    done = latchkey(engine, service, rows, "import", manifest, "--signature", manifest + ".p7s")
    engine.settle()
    floor = engine.floor(service, bare)
    if floor["rows"] != rows:
        sys.exit(f"{floor['rows']} rows were stored of {rows}")
    engine.forget(service)
    engine.forget(bare)
    return done, floor


def steps(engine, factory, manifest, rows):
    """What is done with a manifest, on one store."""
    signed = ("import", manifest, "--signature", manifest + ".p7s")
    service = ready(engine, factory)
    told = {"dry run, all rows new": latchkey(engine, service, rows, *signed, "--dry-run"),
            "import": latchkey(engine, service, rows, *signed),
            "dry run, all rows there": latchkey(engine, service, rows, *signed, "--dry-run"),
            "undo": latchkey(engine, service, rows, "undo", "2")}
    engine.forget(service)
    return told


def registrations(service, directory, name, devices, before=None):
    """Devices register, two at a time; before is run when they are enrolled. Latencies in ms."""
    script, go = (os.path.join(directory, f"{name}.{end}") for end in ("sh", "go"))
    with open(script, "w", encoding="ascii") as file:
        file.write(f"{program('latchkey')} enrollment import --config {service.config_path} $1\n"
                   f"touch {go}.wanted; until [ -e {go} ]; do sleep 0.05; done\n")
    load = subprocess.Popen(
        [os.path.join(BUILD, "bench/bench-load"), "--port", str(service.address[1]),
         "--admin-port", str(service.admin_address[1]), "--pid", str(service.process.pid),
         "--scope", service.scope, "--manifest", os.path.join(directory, name + ".jsonl"),
         "--import", f"sh {script}", "--devices", str(devices), "--warm-up", "20",
         "--concurrency", "2", "--idle", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    wait_until(lambda: os.path.exists(go + ".wanted"), "devices are enrolled", timeout_s=60)
    child = before() if before else None
    with open(go, "w", encoding="ascii"):
        pass
    out = load.communicate()[0]
    told = json.loads(out)
    return {"p50_ms": told["registration"]["p50_us"] / 1e3,
            "p99_ms": told["registration"]["p99_us"] / 1e3, "failed": told["failed"],
            "devices": told["devices"], "under_way": child is None or child.poll() is None}, child


def beside(engine, factory, directory, manifest, devices):
    """Registrations at a fresh service, without an import and beside one."""
    told = {}
    for name in ("quiet", "loaded"):
        service = ready(engine, factory).start()
        argv = [program("latchkey"), "enrollment", "import", manifest, "--signature",
                manifest + ".p7s", "--config", service.config_path]

        def begin():
            child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(1)
            return child

        try:
            told[name], child = registrations(service, directory, name, devices,
                                              begin if name == "loaded" else None)
            if child is not None and child.wait() != 0:
                sys.exit("the import beside registrations failed")
        finally:
            service.stop()
        engine.forget(service)
        for end in (".go", ".go.wanted"):
            os.remove(os.path.join(directory, name + end))
    return told["quiet"], told["loaded"]


def measure_engine(engine, factory, directory, rows, rounds):
    manifest = factory.manifest(os.path.join(directory, "m.csv"), rows)
    small = factory.manifest(os.path.join(directory, "small.csv"), min(SMALL, rows))
    told = {"rounds": []}
    for _ in range(rounds):
        done, floor = one_round(engine, factory, manifest, rows)
        told["rounds"].append({"import": done, "floor": floor, "load": os.getloadavg()[0]})
    told["ratio"] = statistics.median(r["floor"]["seconds"] / r["import"]["seconds"]
                                      for r in told["rounds"])
    told["cpu_ratio"] = statistics.median(r["floor"]["cpu_us_a_row"] / r["import"]["cpu_us_a_row"]
                                          for r in told["rounds"])
    service = ready(engine, factory)
    told["small"] = latchkey(engine, service, min(SMALL, rows), "import", small)
    engine.forget(service)
    told["steps"] = steps(engine, factory, manifest, rows)
    told["quiet"], told["beside"] = beside(engine, factory, directory, manifest,
                                           max(100, rows // 1000))
    return told


def print_report(engine, told):
    def row(name, *cells):
        print(f"  {name:<38}" + "".join(f"{cell:>22}" for cell in cells))

    print(f"\n{engine.name}: {told['steps']['import']['rows']} signed rows")
    for r in told["rounds"]:
        for name in ("import", "floor"):
            row(name, f"{r[name]['rows_per_s']:.0f} rows/s",
                f"{r[name]['cpu_us_a_row']:.1f} us CPU a row", f"load {r['load']:.1f}")
    row("ratio to the floor", f"{told['ratio']:.2f}", f"CPU {told['cpu_ratio']:.2f}",
        f"goal: {GOAL}")
    for name, r in {f"import of {told['small']['rows']}": told["small"], **told["steps"]}.items():
        row(name, f"{r['rows_per_s']:.0f} rows/s", f"{r['cpu_us_a_row']:.1f} us CPU a row",
            f"{r['mib']:.0f} MiB")
    for name, text in (("quiet", "registrations, two at a time"), ("beside", "beside an import")):
        r = told[name]
        row(text, f"p50 {r['p50_ms']:.1f} ms", f"p99 {r['p99_ms']:.1f} ms",
            f"{r['failed']} of {r['devices']} failed")
    if not told["beside"]["under_way"]:
        print("  (the import ended before the registrations did)")


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].replace("usage: ", ""))
    parser.add_argument("--rows", type=int, default=int(os.environ.get("BULK_ROWS", 100000)))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("engines", nargs="*", default=["sqlite", "pgsql"])
    o = parser.parse_args()
    rounds = o.rounds or (3 if o.rows <= 200000 else 1)
    report = {}
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="bulk-") as directory:
        factory = Factory(directory)
        for name in o.engines:
            engine = {"sqlite": Sqlite, "pgsql": Pgsql}[name](directory)
            try:
                report[name] = measure_engine(engine, factory, directory, o.rows, rounds)
                print_report(engine, report[name])
            finally:
                engine.close()
    os.makedirs(os.path.dirname(REPORT), exist_ok=True)
    with open(REPORT, "w", encoding="ascii") as file:
        json.dump(report, file, indent=1)
    print(f"\nwritten to {REPORT}")


main()
