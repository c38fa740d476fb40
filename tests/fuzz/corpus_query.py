#!/usr/bin/env python3
"""Write the seeds of query_fuzz.

usage: corpus_query.py OUTPUT_DIRECTORY STAMP_FILE
"""
import pathlib
import sys

QUERIES = [
    "*", "SELECT *", "SELECT * FROM enrollments", "SELECT * FROM enrollmentGroups;",
    "select * from deviceRegistrations where status = 'assigned' and assignedHub <> \"a.b\"",
    "SELECT * WHERE registrationId >= 'a' AND registrationId < 'b' AND deviceId != 'it''s'",
    "SELECT * WHERE createdDateTimeUtc > '2026-01-02T03:04:05.678+01:00' AND iotHubs = 'one.example'",
    "SELECT * WHERE provisioningStatus = 'enabled' AND attestation.type = 'tpm'",
    "SELECT * FROM devices WHERE deviceId = 'dev-1' AND connectionState = 'connected'",
]

out, stamp = (pathlib.Path(a) for a in sys.argv[1:3])
out.mkdir(parents=True, exist_ok=True)
for i, query in enumerate(QUERIES):
    (out / f"query-{i}").write_text(query)
stamp.write_text("made\n")
