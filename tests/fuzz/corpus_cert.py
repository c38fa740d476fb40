#!/usr/bin/env python3
"""Write the seeds of cert_fuzz: small certificates for RSA and EC keys, made afresh by openssl.

usage: corpus_cert.py OUTPUT_DIRECTORY STAMP_FILE
"""
import pathlib
import subprocess
import sys

KEYS = {"rsa": ["rsa:2048"], "p256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "p384": ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"], "ed25519": ["ed25519"]}

out, stamp = (pathlib.Path(a) for a in sys.argv[1:3])
out.mkdir(parents=True, exist_ok=True)
for name, key in KEYS.items():
    subprocess.run(["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-keyout", "/dev/null",
                    "-outform", "DER", "-out", str(out / name), "-days", "30",
                    "-subj", "/O=Chip maker/CN=EK CA"], check=True, capture_output=True)
padded = (out / "p256").read_bytes() + b"\xff" * 64
(out / "padded").write_bytes(padded)
stamp.write_text("made\n")
