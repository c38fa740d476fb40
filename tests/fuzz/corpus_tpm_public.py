#!/usr/bin/env python3
"""Write the seeds of tpm_public_fuzz: every public area of the known-answer vectors.

usage: corpus_tpm_public.py VECTORS/public-area.json OUTPUT_DIRECTORY STAMP_FILE
"""
import base64
import json
import pathlib
import sys

areas, out, stamp = (pathlib.Path(a) for a in sys.argv[1:4])
out.mkdir(parents=True, exist_ok=True)
vectors = json.loads(areas.read_text())
for kind in ("valid", "invalid"):
    for i, area in enumerate(vectors[kind]):
        (out / f"{kind}-{i:02}").write_bytes(base64.b64decode(area["tpm2b_public"]))
stamp.write_text("made\n")
