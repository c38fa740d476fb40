#!/usr/bin/env python3
"""Compare what a lookup costs in a large store with what it costs in a small one.

usage: large.py [--small N] [--large N] [--registered N] [--lookups N] [--work FOLDER]

Two SQLite stores are filled with enrollments (10,000 and 1,000,000; LARGE_ROWS=10000000 in the
environment for ten million, 9 GB and some minutes), of which up to --registered have a registration.
bench-large then looks random devices up in each: by EK, by registration ID, their registration, and a
page of 100 behind one. Counted are CPU time, read system calls, bytes read, bytes from the disk and
page faults, of the thread that reads; the report is also written to bench/report/large.json.

  first   after the file was dropped from the kernel's cache, nothing cached at all
  again   the same devices once more
  busy    again, with a commit between every BUSY lookups, which empties the connection's page cache,
          as registrations do
"""
import argparse
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(TOP, os.environ.get("BUILD", "build"), "bench/bench-large")
REPORT = os.path.join(TOP, "bench/report/large.json")
SCOPE = "0ne00000001"
KINDS = {"ek": "enrollment by EK", "id": "enrollment by registration ID",
         "registration": "registration", "page": "page of 100 enrollments"}
BUSY = 16  # lookups between two commits: five registrations of three reads each
GOAL = 1.5
CHUNK = 200000  # rows of one statement

NUMBERS = "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last} - 1) "
ENROLLMENT = NUMBERS + f"""INSERT INTO enrollment (scope, lower_id, id, device_id, enabled, allocation,
 update_hub, migrate, hubs, eks, initial_twin, etag, created_ms, updated_ms, import_id, import_line)
 SELECT '{SCOPE}', printf('device-%09d', i), printf('device-%09d', i), '', 1, 0, 1, 1, '',
 CAST(ek_id(i) || x'013c' || randomblob(316) AS BLOB), x'', lower(hex(randomblob(16))),
 1700000000000, 1700000000000, 1, i + 1 FROM n"""
IMPORT = ("INSERT INTO import (id, scope, source, state, row_count, begun_ms, touched_ms)"
          f" VALUES (1, '{SCOPE}', 'bench', 0, 0, 1700000000000, 1700000000000)")
IMPORTED = "UPDATE import SET state = 1, row_count = ?"
EKS = f"""INSERT INTO enrollment_ek SELECT '{SCOPE}', substr(eks, 1, 32), nr FROM enrollment
 ORDER BY substr(eks, 1, 32)"""
REGISTRATION = NUMBERS + f"""INSERT INTO registration (scope, lower_id, id, generation, status,
 substatus, operation_id, hub, device_id, ek_id, srk_pub, srk_name, auth_key, token_hash, nonce_key_id,
 nonce_epoch, nonce_generation, attested_ms, created_ms, updated_ms, error_code, error_message, etag,
 payload) SELECT '{SCOPE}', printf('device-%09d', i), printf('device-%09d', i), 1, 2, 1,
 lower(hex(randomblob(20))), 'hub.example.test', printf('device-%09d', i), ek_id(i), randomblob(318),
 randomblob(34), randomblob(620), randomblob(32), 1, 1, 1, 1700000000000, 1700000000000, 1700000000000,
 0, '', lower(hex(randomblob(16))), x'' FROM n"""


def ek_id(number):
    return hashlib.sha256(b"ek-%d" % number).digest()


def fill(path, rows, registered):
    """Rows in the order of their keys, indexes of registrations at the end: quick to make."""
    subprocess.run([PROGRAM, "make", f"sqlite:{path}"], check=True)
    db = sqlite3.connect(path, isolation_level=None)
    db.create_function("ek_id", 1, ek_id, deterministic=True)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA journal_mode = MEMORY")
    db.execute("PRAGMA cache_size = -400000")
    indexes = db.execute("SELECT name, sql FROM sqlite_schema WHERE tbl_name = 'registration'"
                         " AND type = 'index' AND sql IS NOT NULL").fetchall()
    for name, _ in indexes:
        db.execute(f"DROP INDEX {name}")
    db.execute(IMPORT)
    for text, count in ((ENROLLMENT, rows), (REGISTRATION, registered)):
        for first in range(0, count, CHUNK):
            db.execute(text.format(first=first, last=min(first + CHUNK, count)))
    db.execute(EKS)
    db.execute(IMPORTED, (rows,))
    for _, sql in indexes:
        db.execute(sql)
    db.execute("PRAGMA journal_mode = WAL")
    db.close()


def drop_cache(path):
    """What the kernel has cached of a file."""
    os.sync()
    for name in (path, f"{path}-wal"):
        if os.path.exists(name):
            fd = os.open(name, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def look(path, kind, rows, registered, lookups, commit_every):
    out = subprocess.run([PROGRAM, "look", f"sqlite:{path}", kind, str(rows), str(registered),
                          str(lookups), str(commit_every)], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def measure(path, rows, registered, lookups):
    """{kind: {"first"|"again"|"busy": counted}}"""
    found = {}
    for kind in KINDS:
        drop_cache(path)
        first, again = look(path, kind, rows, registered, lookups, 0)
        busy = look(path, kind, rows, registered, lookups, BUSY)[1]
        found[kind] = {"first": first, "again": again, "busy": busy}
    return found


def ratio(large, small):
    return large / small if small else float("inf") if large else 1.0


def print_report(report):
    small, large = report["small"], report["large"]
    print(f"\nSQLite, {small['rows']:,} and {large['rows']:,} enrollments ({large['registered']:,}"
          f" registered; {large['file_bytes'] / 1e9:.1f} GB, filled in {large['fill_s']:.0f} s):"
          f" a lookup")
    print(f"  {'':<32}{'state':<7}{'CPU us':>18}{'reads':>16}{'KiB read':>18}{'KiB disk':>18}"
          f"{'faults':>14}")
    for kind, text in KINDS.items():
        for state in ("first", "again", "busy"):
            a, b = small["cost"][kind][state], large["cost"][kind][state]
            cells = []
            for name, unit, width in (("cpu_us", 1, 18), ("read_calls", 1, 16),
                                      ("read_bytes", 1024, 18), ("disk_bytes", 1024, 18),
                                      ("faults", 1, 14)):
                pair = f"{a[name] / unit:.1f} > {b[name] / unit:.1f}"
                cells.append(f"{pair:>{width}}")
            print(f"  {text if state == 'first' else '':<32}{state:<7}{''.join(cells)}"
                  f"   CPU x{ratio(b['cpu_us'], a['cpu_us']):.2f}")
    print(f"  goal: at most x{GOAL}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--small", type=int, default=10000)
    parser.add_argument("--large", type=int, default=int(os.environ.get("LARGE_ROWS", 1000000)))
    parser.add_argument("--registered", type=int, default=2500000)
    parser.add_argument("--lookups", type=int, default=5000)
    parser.add_argument("--work", default=os.path.dirname(os.path.dirname(PROGRAM)),
                        help="folder for the stores, which are removed afterwards")
    return parser.parse_args()


def main():
    args = arguments()
    report = {"goal": GOAL, "lookups": args.lookups}
    with tempfile.TemporaryDirectory(prefix="large-", dir=args.work) as folder:
        os.environ["SQLITE_TMPDIR"] = folder
        for name, rows in (("small", args.small), ("large", args.large)):
            path = os.path.join(folder, f"{name}.db")
            registered = min(rows, args.registered)
            print(f"filling a store with {rows:,} enrollments ...", flush=True)
            begun = time.monotonic()
            fill(path, rows, registered)
            report[name] = {"rows": rows, "registered": registered, "path": path,
                            "fill_s": time.monotonic() - begun, "file_bytes": os.path.getsize(path)}
        for name in ("small", "large"):
            store = report[name]
            store["cost"] = measure(store.pop("path"), store["rows"], store["registered"],
                                    args.lookups)
    print_report(report)
    os.makedirs(os.path.dirname(REPORT), exist_ok=True)
    with open(REPORT, "w", encoding="ascii") as file:
        json.dump(report, file, indent=1)
        file.write("\n")
    print(f"\nwritten to {os.path.relpath(REPORT)}")


if __name__ == "__main__":
    sys.exit(main())
