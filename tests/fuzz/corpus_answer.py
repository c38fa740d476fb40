#!/usr/bin/env python3
"""Write the seeds of answer_fuzz: one answer of each kind.

usage: corpus_answer.py VECTORS/public-area.json OUTPUT_DIRECTORY STAMP_FILE
"""
import base64
import json
import pathlib
import sys

vectors, out, stamp = (pathlib.Path(a) for a in sys.argv[1:4])


def first_hex(value):
    """The longest hexadecimal text in the vectors: a whole public area."""
    if isinstance(value, str):
        return [value] if len(value) > 400 and all(c in "0123456789abcdef" for c in value) else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [found for one in inner for found in first_hex(one)]


KEYS = first_hex(json.loads(vectors.read_text()))
EK = base64.b64encode(bytes.fromhex(KEYS[0])).decode() if KEYS else "AToAAQ=="
TIMES = {"createdDateTimeUtc": "2026-01-02T03:04:05.6789000Z",
         "lastUpdatedDateTimeUtc": "2026-01-02T03:04:05.6789000Z"}
DETAILS = {"scope": "0ne00000001", "allocationIsDefault": True, "reprovisionIsDefault": True,
           "import": {"id": 1, "line": 2}}
SEEDS = {
    "tpm": {"attestation": {"tpm": {"endorsementKey": EK}, "type": "tpm"}, "registrationId": "d",
            "capabilities": {"iotEdge": False}, "provisioningStatus": "enabled",
            "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": True},
            "allocationPolicy": "hashed", "etag": "\"a\"", "latchkey": DETAILS, **TIMES},
    "keys": {"attestation": {"symmetricKey": {}, "type": "symmetricKey"}, "registrationId": "d",
             "enrollmentGroupId": "g", "etag": "\"a\"", "latchkey": DETAILS, **TIMES},
    "x509": {"attestation": {"x509": {"clientCertificates": {"primary": {"info": {}}}},
                             "type": "x509"}, "registrationId": "d",
             "latchkey": {"scope": "s", "certificates": {"primary": "MIIB"}}, **TIMES},
    "registration": {"registrationId": "d", "assignedHub": "hub.test", "deviceId": "d",
                     "status": "assigned", "substatus": "initialAssignment", "etag": "\"a\"",
                     "payload": {"a": 1}, "errorCode": 400208, "errorMessage": "no hub",
                     "latchkey": {"scope": "s", "generation": 3, "operationId": "1.a",
                                  "attestedDateTimeUtc": "2026-01-02T03:04:05Z",
                                  "endorsementKeyId": "00" * 32}, **TIMES},
    "hub": {"name": "hub.test", "kind": "embedded", "weight": 1, "allocatable": True, "region": "",
            **TIMES},
    "policy": {"name": "p", "scope": "s", "rights": "EnrollmentRead,ServiceConfig", **TIMES},
    "made": {"name": "p", "scope": "s", "rights": " enrollmentRead ,DeviceConnect",
             "primaryKey": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=", "secondaryKey": "AA==",
             **TIMES},
    "link": {"weight": 7, "allocatable": False, "region": "north-1", "authorities": "PEM",
             "connectionString": "HostName=h.test;SharedAccessKeyName=p;SharedAccessKey=AAAA"},
    "removal": {"identities": 500, "left": True},
    "roll": {"key": "secondary"},
    "record": {"seq": 1, "time": "2026-01-02T03:04:05Z", "actor": "a", "action": "b", "scope": "",
               "subject": "\u00ff", "detail": "{}", "hash": "00" * 32},
    "import": {"id": 7, "state": "finished", "rows": 1000, "source": "sha256:" + "ab" * 32 + " m.csv",
               "begunDateTimeUtc": "2026-01-02T03:04:05Z",
               "touchedDateTimeUtc": "2026-01-02T03:04:05Z"},
    "undone": {"unfinished": False, "gone": 998, "kept": 2, "left": True},
    "cursor": {"seq": 9, "hash": "ff" * 32, "more": True},
}

out.mkdir(parents=True, exist_ok=True)
for name, value in SEEDS.items():
    (out / name).write_text(json.dumps(value, separators=(",", ":")), encoding="utf-8")
stamp.write_text("made\n")
