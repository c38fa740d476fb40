#!/usr/bin/env python3
"""Write the seeds of ek_cert_fuzz: certificates with the TCG's attributes, made afresh by openssl.

usage: corpus_ek_cert.py OUTPUT_DIRECTORY STAMP_FILE
"""
import pathlib
import subprocess
import sys
import tempfile

# In such a section OpenSSL drops what stands before the first full stop.
CONFIG = """
[req]
distinguished_name = dn
prompt = no
[dn]
CN = EK
[ek]
basicConstraints = critical,CA:FALSE
keyUsage = critical,keyEncipherment
extendedKeyUsage = 2.23.133.8.1
subjectAltName = critical,dirName:tcg
[bare]
subjectAltName = dirName:tcg
[tcg]
tpm.2.23.133.2.1 = id:54455354
tpm.2.23.133.2.2 = TPM 9000
tpm.2.23.133.2.3 = id:00020008
"""
KEYS = {"rsa": ["rsa:2048"], "p256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        "p384": ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"]}

out, stamp = (pathlib.Path(a) for a in sys.argv[1:3])
out.mkdir(parents=True, exist_ok=True)
with tempfile.NamedTemporaryFile("w", suffix=".cnf") as config:
    config.write(CONFIG)
    config.flush()
    for name, key in KEYS.items():
        for form in ("ek", "bare"):
            subprocess.run(["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-keyout",
                            "/dev/null", "-outform", "DER", "-out", str(out / (name + form)),
                            "-days", "3650", "-config", config.name, "-extensions", form],
                           check=True, capture_output=True)
(out / "padded").write_bytes((out / "p256ek").read_bytes() + b"\xff" * 64)
stamp.write_text("made\n")
