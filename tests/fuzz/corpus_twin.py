#!/usr/bin/env python3
"""Write the seeds of twin_fuzz: desired properties, a patch and a replacement, each ended by a NUL.

usage: corpus_twin.py OUTPUT_DIRECTORY STAMP_FILE
"""
import json
import pathlib
import sys

TRIPLES = [
    ({}, {}, {}),
    ({"a": 1, "b": {"c": [1, {"d": None}]}}, {"a": None, "b": {"c": 2, "e": {}}}, {"b": {"e": 1}}),
    ({"o": {"x": {"y": {"z": 1}}}}, {"o": {"x": 3}}, {"o": {"x": {"y": None, "w": "t"}}}),
    ({"$version": 9, "$metadata": {}, "n": 4503599627370496}, {"n": -1.5e300}, {"n": True}),
    ({"t": "v" * 100, "é": "ü"}, {"é": {"ü": None}}, {"a b": 1}),
]

out, stamp = (pathlib.Path(a) for a in sys.argv[1:3])
out.mkdir(parents=True, exist_ok=True)
for i, triple in enumerate(TRIPLES):
    text = "\0".join(json.dumps(part, ensure_ascii=False) for part in triple)
    (out / f"twin-{i}").write_bytes(text.encode())
stamp.write_text("made\n")
