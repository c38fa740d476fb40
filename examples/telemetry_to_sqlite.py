#!/usr/bin/python3
"""Keep what devices send in a SQLite database, with their properties.

usage: mosquitto_sub -h BROKER -p 1884 -i op/archive -c -q 1 -t 'latchkey/#' -F '%I %x %t' |
           telemetry_to_sqlite.py FILE.db

User and password are in ~/.config/mosquitto_sub, lines "-u USER" and "-P PASSWORD", mode 0600: an
argument is seen by everyone on the machine. -i and -c let the broker keep what comes while this does
not run, and -q 1 has it sent until it was taken; what is in the pipe when this is killed is lost. A
line is the time, the body as hexadecimal, and the topic; a body that is UTF-8 is kept as text, another
as a blob.
"""
import json
import sqlite3
import sys
from urllib.parse import unquote

TABLE = """CREATE TABLE IF NOT EXISTS telemetry (
    received TEXT NOT NULL, hub TEXT NOT NULL, device_id TEXT NOT NULL,
    properties TEXT NOT NULL, body BLOB NOT NULL)"""


def properties_of(text):
    """{name: value}; a name without a value has None, and of names that come twice the last counts."""
    pairs = (member.partition("=") for member in text.split("&") if member)
    return {unquote(name): unquote(value) if equals else None for name, equals, value in pairs}


def body_of(data):
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def row_of(line):
    """(received, hub, device id, properties as JSON, body), or None when it is no telemetry."""
    received, body, topic = line.rstrip("\n").split(" ", 2)
    levels = topic.split("/", 5)
    if len(levels) != 6 or levels[0] != "latchkey" or levels[3:5] != ["messages", "events"]:
        return None
    return (received, levels[1], unquote(levels[2]),
            json.dumps(properties_of(levels[5]), sort_keys=True), body_of(bytes.fromhex(body)))


def main(path):
    with sqlite3.connect(path) as database:
        database.execute(TABLE)
        for line in sys.stdin.buffer:
            row = row_of(line.decode())
            if row is not None:
                database.execute("INSERT INTO telemetry VALUES (?, ?, ?, ?, ?)", row)
                database.commit()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
