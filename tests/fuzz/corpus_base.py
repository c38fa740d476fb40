#!/usr/bin/env python3
"""Write the seeds of json_fuzz, codec_fuzz and log_fuzz.

usage: corpus_base.py OUTPUT_DIRECTORY STAMP_FILE
"""
import pathlib
import sys

out, stamp = (pathlib.Path(a) for a in sys.argv[1:3])

SEEDS = {
    "json": [b'{"a":[1,-2.5e3,true,false,null,"x\\u00e9\\n\\"\\ud83d\\ude00"],"b":{"c":{}}}',
             b'{"a":1,"a":2}', b'[' * 17 + b']' * 17, b'"\\u0000"', b'{}x', b'"\xc0\x80"',
             b'{"a":"[[[[\\"[[["}', b'9223372036854775808', b'1e999'],
    "codec": [b"\x00Zm9vYmE=", b"\x00Zg==", b"\x00+/+/", b"\x00Zh==", b"\x01007fABff",
              b"\x02a%2fb%20c%00", b"\x03a+b%2B", b"\x0418446744073709551615"],
    "log": [b"plain", b'"}\n{\\\x1b[2J', "\u00e9\u2026\U0001f600\u0085".encode(), b"\xff\xed\xa0\x80",
            b"a" * 257, b"a" * 255 + b"\xc3\xa9"],
}

for folder, seeds in SEEDS.items():
    (out / folder).mkdir(parents=True, exist_ok=True)
    for i, seed in enumerate(seeds):
        (out / folder / f"seed-{i:02}").write_bytes(seed)
stamp.write_text("made\n")
