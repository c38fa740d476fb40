#!/usr/bin/env python3
"""Write the seeds of cms_fuzz: signatures by openssl, each behind the certificate to trust.

usage: corpus_cms.py OUTPUT_DIRECTORY STAMP_FILE
"""
import pathlib
import subprocess
import sys
import tempfile

SIGNED = b"registrationId,endorsementKey\n"
KEYS = {"rsa": ["rsa:2048"], "p256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]}
FORMS = {"der": ["-outform", "DER"], "pem": ["-outform", "PEM"],
         "nocerts": ["-outform", "DER", "-nocerts", "-md", "sha512"],
         "whole": ["-outform", "DER", "-nodetach"], "noattr": ["-outform", "DER", "-noattr"],
         "stream": ["-outform", "DER", "-stream"]}


def openssl(*words, stdin=b""):
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True,
                          input=stdin).stdout


def main():
    out, stamp = (pathlib.Path(a) for a in sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        key, pem = pathlib.Path(place) / "key", pathlib.Path(place) / "pem"
        for name, kind in KEYS.items():
            openssl("req", "-x509", "-newkey", *kind, "-nodes", "-keyout", key, "-out", pem,
                    "-days", "3650", "-subj", "/O=Maker/CN=Line 7",
                    "-addext", "keyUsage=digitalSignature")
            der = openssl("x509", "-in", pem, "-outform", "DER")
            for form, words in FORMS.items():
                signature = openssl("cms", "-sign", "-binary", "-signer", pem, "-inkey", key, *words,
                                    stdin=SIGNED)
                (out / f"{name}-{form}").write_bytes(len(der).to_bytes(2, "big") + der + signature)
    stamp.write_text("made\n")


main()
