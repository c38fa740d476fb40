#!/usr/bin/python3
"""Keep what devices send in a SQLite database, with their properties.

usage: mosquitto_sub -h BROKER -p 1884 -i op/archive -c -q 1 -u USER -P PASSWORD \\
           -t 'latchkey/#' -F '%j' | telemetry_to_sqlite.py FILE.db

-i and -c let the broker keep what comes while this does not run; -q 1 has each message at least
once. "%j" is a JSON object a line, the body as hexadecimal where it is not text ("%x" would be always).
"""
import json
import sqlite3
import sys
from urllib.parse import unquote

TABLE = """CREATE TABLE IF NOT EXISTS telemetry (
    received TEXT NOT NULL, hub TEXT NOT NULL, device_id TEXT NOT NULL,
    properties TEXT NOT NULL, body TEXT NOT NULL)"""


def properties_of(text):
    """{name: value}; a name without a value has None, and of names that come twice the last counts."""
    pairs = (member.partition("=") for member in text.split("&") if member)
    return {unquote(name): unquote(value) if equals else None for name, equals, value in pairs}


def row_of(line):
    """(received, hub, device id, properties as JSON, body), or None when it is no telemetry."""
    message = json.loads(line)
    levels = message["topic"].split("/", 5)
    if len(levels) != 6 or levels[0] != "latchkey" or levels[3:5] != ["messages", "events"]:
        return None
    return (message["tst"], levels[1], unquote(levels[2]),
            json.dumps(properties_of(levels[5]), sort_keys=True), message["payload"])


def main(path):
    with sqlite3.connect(path) as database:
        database.execute(TABLE)
        for line in sys.stdin:
            row = row_of(line)
            if row is not None:
                database.execute("INSERT INTO telemetry VALUES (?, ?, ?, ?, ?)", row)
                database.commit()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
