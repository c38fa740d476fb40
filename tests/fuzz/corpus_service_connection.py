#!/usr/bin/env python3
"""Write the seeds of service_connection_fuzz: connection strings, and files of profiles.

usage: corpus_service_connection.py OUTPUT_DIRECTORY STAMP_FILE
"""
import pathlib
import sys

out, stamp = (pathlib.Path(a) for a in sys.argv[1:3])

PLAIN = "HostName=dps.example.test;SharedAccessKeyName=owner;SharedAccessKey=a2tra2tra2s="
SEEDS = {
    "plain": PLAIN,
    "port": PLAIN.replace(".test", ".test:8443"),
    "v6": "HostName=[::1]:443;SharedAccessKeyName=a;SharedAccessKey=AA==;",
    "hub": PLAIN + ";GatewayHostName=10.0.0.7:8443",
    "profile": f"# mine\n[one]\nconnection-string = {PLAIN}\nca-file = ca.pem\n",
    "profiles": f"\ufeff[two]\r\nca-file=/x\r\n\r\n[one]\r\nconnection-string={PLAIN}\r\n",
}

out.mkdir(parents=True, exist_ok=True)
for name, text in SEEDS.items():
    (out / name).write_text(text, encoding="utf-8", newline="")
stamp.write_text("made\n")
