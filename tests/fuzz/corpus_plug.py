#!/usr/bin/env python3
"""Write the seeds of plug_fuzz and telemetry_fuzz.

usage: corpus_plug.py OUTPUT_DIRECTORY STAMP_FILE
"""
import pathlib
import struct
import sys

out, stamp = (pathlib.Path(a) for a in sys.argv[1:])


def text(value):
    return struct.pack(">H", len(value)) + value


def frame(kind, *fields):
    body = bytes([kind]) + b"".join(fields)
    return struct.pack(">I", len(body)) + body


ID, SERIAL, FLAGS, NUMBER = text(b"dev-1"), b"\0" * 7 + b"\1", b"\0\0\0\2", b"\0" * 8
TAG, WORD = b"t" * 16, text(b"0123456789abcdef")
SEEDS = {
    "plug": {
        "hello": frame(1, text(b"hub.example.test"), SERIAL, FLAGS, NUMBER, TAG),
        "ask": frame(3, ID, text(b"hub.example.test/dev-1/?api-version=2021-04-12"),
                     text(b"SharedAccessSignature sr=x&sig=y&se=1")),
        "verdict": frame(4, ID, FLAGS, NUMBER, WORD, WORD, TAG, text(b"")),
        "session": frame(5, ID, SERIAL, FLAGS, NUMBER, WORD, WORD, TAG) +
        frame(6, ID, SERIAL, FLAGS) + frame(7, ID, SERIAL) + frame(8, ID, SERIAL),
        "request": frame(9, ID, SERIAL, text(b"$iothub/twin/GET/?$rid=1"),
                         struct.pack(">I", 2) + b"{}"),
    },
    "telemetry": {
        "plain": b"dev-1\ndevices/dev-1/messages/events/",
        "props": b"dev:1%\ndevices/dev:1%/messages/events/a=b&%24.ct=application%2Fjson&x",
        "slash": b"$SYS\ndevices/$SYS/messages/events/a=\xc3\xa4/b/",
    },
}

for folder, seeds in SEEDS.items():
    (out / folder).mkdir(parents=True, exist_ok=True)
    for name, data in seeds.items():
        (out / folder / name).write_bytes(data)
stamp.write_text("made\n")
