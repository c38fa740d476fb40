#!/usr/bin/env python3
"""Write the seeds of trust_file_fuzz: certificates and a revocation list, PEM and DER.

usage: corpus_trust_file.py OUTPUT_DIRECTORY STAMP_FILE
"""
import pathlib
import subprocess
import sys
import tempfile


def openssl(*words):
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True).stdout


def main():
    out, stamp = (pathlib.Path(a) for a in sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        place = pathlib.Path(name)
        key, pem, config = place / "key", place / "pem", place / "cnf"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", key, "-out", pem, "-subj", "/O=Maker/CN=Root")
        (place / "index").touch()
        config.write_text(f"[ca]\ndefault_ca=a\n[a]\ndatabase={place}/index\ndefault_md=sha256\n"
                          "default_crl_days=30\n")
        crl = openssl("ca", "-gencrl", "-config", config, "-cert", pem, "-keyfile", key)
        (place / "crl").write_bytes(crl)
        (out / "cert.pem").write_bytes(pem.read_bytes())
        (out / "cert.der").write_bytes(openssl("x509", "-in", pem, "-outform", "DER"))
        (out / "crl.pem").write_bytes(crl)
        (out / "crl.der").write_bytes(openssl("crl", "-in", place / "crl", "-outform", "DER"))
        (out / "both.pem").write_bytes(b"words\n" + pem.read_bytes() + crl + key.read_bytes())
    stamp.write_text("made\n")


main()
