#!/usr/bin/env python3
"""Write the seeds of config_fuzz: a file of every form, and one that sets every key.

usage: corpus_config.py OUTPUT_DIRECTORY STAMP_FILE
"""
import pathlib
import sys

out, stamp = (pathlib.Path(a) for a in sys.argv[1:])

SEEDS = {
    "small": "data-dir = data\nlisten = [::1]:443\nadmin-listen = none\nlog-level = debug\n",
    "forms": "# all\r\n\r\n\tstore=sqlite:a.db\r\n keyring = %d/k\r\nworkers = 4",
    "every": "\n".join([
        "data-dir = /d", "store = sqlite:/s", "keyring = k", "listen = a.example:443",
        "admin-listen = 127.0.0.1:9464", "tls-cert = c", "tls-key = /k", "workers = 0",
        "challenge-epoch-s = 600", "audit-refusals-per-s = 20", "drain-ms = 10000",
        "log-target = journald", "log-level = warning", "http-head-max = 16384",
        "http-headers-max = 64", "http-body-max = 98304", "http-handshake-ms = 10000",
        "http-head-ms = 10000", "http-body-ms = 20000", "http-idle-ms = 75000",
        "http-write-ms = 20000", "http-connections-max = 8192",
        "http-connections-per-net = 2048"]),
    "twice": "workers = 1\nworkers = 1\n",
}

out.mkdir(parents=True, exist_ok=True)
for name, text in SEEDS.items():
    (out / name).write_bytes(text.encode())
stamp.write_text("made\n")
