#!/usr/bin/env python3
"""Write the seeds of auth_blob_fuzz: every blob of the known-answer vectors.

usage: corpus_auth_blob.py VECTORS/authentication-key.json OUTPUT_DIRECTORY STAMP_FILE
"""
import base64
import json
import pathlib
import sys

blobs, out, stamp = (pathlib.Path(a) for a in sys.argv[1:4])
out.mkdir(parents=True, exist_ok=True)
for i, case in enumerate(json.loads(blobs.read_text())):
    (out / f"blob-{i:02}").write_bytes(base64.b64decode(case["blob"]))
stamp.write_text("made\n")
