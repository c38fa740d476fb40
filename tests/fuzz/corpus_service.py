#!/usr/bin/env python3
"""Write the seeds of enrollment_json_fuzz, service_path_fuzz, service_continuation_fuzz and
ek_rules_fuzz, with the vectors' keys and certificates made afresh by openssl.

usage: corpus_service.py VECTORS/public-area.json OUTPUT_DIRECTORY STAMP_FILE
"""
import base64
import json
import pathlib
import subprocess
import sys

vectors, out, stamp = (pathlib.Path(a) for a in sys.argv[1:4])
AREAS = json.loads(vectors.read_text())["valid"]
EKS = [area["tpm2b_public"] for area in AREAS if area["role"] == "ek"]
SRK = next(area["tpm2b_public"] for area in AREAS if area["role"] == "srk")
ROOT = "00112233445566778899aabbccddeeff" * 2
RULES = {"roots": [ROOT], "issuers": ["CN=Maker, O=\"x\\u00e9\""], "vendors": ["id:49465800", "INTC"],
         "models": ["SLB9670"], "firmwareMin": "id:1", "firmwareMax": "id:00070055", "quota": 1000,
         "notBefore": "2026-01-01T00:00:00Z", "notAfter": "2027-01-01T00:00:00.5+01:00",
         "anyRegistrationId": True}


def certificate(name, ca):
    """One certificate as base64 of DER."""
    der = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", "/dev/null", "-outform", "DER", "-days", "3650", "-subj", f"/CN={name}", "-addext",
         f"basicConstraints=critical,CA:{'TRUE' if ca else 'FALSE'}"],
        check=True, capture_output=True).stdout
    return base64.b64encode(der).decode()


def individual(attestation, **more):
    return {"registrationId": "dev-1", "attestation": attestation, **more}


def tpm(**members):
    return {"type": "tpm", "tpm": members}


def symmetric(**members):
    return {"type": "symmetricKey", "symmetricKey": members}


def x509(**members):
    return {"type": "x509", "x509": members}


KEY = base64.b64encode(b"k" * 32).decode()
EVERYTHING = {
    "deviceId": "Dev#1", "etag": '"0123"', "capabilities": {"iotEdge": True},
    "provisioningStatus": "disabled",
    "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": False},
    "allocationPolicy": "custom", "iotHubs": ["a.example", "b.example"],
    "customAllocationDefinition": {"webhookUrl": "https://a.example/?code=1",
                                   "apiVersion": "2019-03-31"},
    "initialTwin": {"tags": {"a": [1, 2.5, None]}, "properties": {"desired": {"b": {}}}},
    "optionalDeviceInformation": {"maker": "\u00e9"}, "registrationState": {}, "unknown": [[]]}
ONES = {
    "tpm": individual(tpm(endorsementKey=EKS[0])),
    "tpm-all": individual(tpm(endorsementKey=EKS[0], endorsementKeys=EKS, storageRootKey=SRK,
                              pinStorageRootKey=True), **EVERYTHING),
    "symmetric": individual(symmetric(primaryKey=KEY), iotHubHostName="a.example"),
    "symmetric-none": individual({"type": "symmetricKey"}),
    "x509": individual(x509(clientCertificates={
        "primary": {"certificate": certificate("dev-1", False)},
        "secondary": {"certificate": certificate("dev-1", False)}})),
    "x509-kept": individual(x509(clientCertificates={"primary": {"info": {"version": 3}}})),
    "group-symmetric": {"enrollmentGroupId": "g", "attestation": symmetric(), "iotHubs": []},
    "group-x509": {"enrollmentGroupId": "g", "attestation": x509(signingCertificates={
        "primary": {"certificate": certificate("Line A", True)}})},
    "group-rules": {"enrollmentGroupId": "g", "attestation": tpm(ekCertificate=RULES)},
}
BODIES = {
    **ONES,
    "bulk": {"mode": "updateIfMatchEtag", "enrollments": [ONES["tpm"], ONES["symmetric"], {}]},
    "bulk-delete": {"mode": "delete", "enrollments": [{"registrationId": "a"}]},
    "bulk-groups": {"mode": "create", "enrollmentGroups": [ONES["group-rules"],
                                                           ONES["group-symmetric"]]},
}
PATHS = ["/enrollments/My%3ADev.1_x?api-version=2021-10-01", "/enrollments/?api-version=2019-03-31",
         "/enrollments/query?api-version=2018-09-01-preview", "/latchkey/v1/imports/7", "/enrollmentGroups/g?a=b&api-version=x",
         "/enrollmentgroups/g/attestationmechanism?api-version=2021-06-01",
         "/registrations/g/query/?API-VERSION=2018-04-01", "/registrations/r", "/enrollments//x"]
TOKENS = ["SELECT *\ndev-1\n0001", "*\ndev-1", "SELECT * FROM enrollments\na\n0",
          "*\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAZGV2LTE="]
RULE_TEXTS = [RULES, {"roots": [ROOT]}, {"roots": [], "quota": 1}, {"firmwareMin": "id:20008"}]


def write(folder, seeds):
    (out / folder).mkdir(parents=True, exist_ok=True)
    for i, (name, text) in enumerate(seeds):
        (out / folder / f"{i:02}-{name}").write_text(text)


write("enrollment_json", ((name, json.dumps(body)) for name, body in BODIES.items()))
write("service_path", (("path", path) for path in PATHS))
write("service_continuation", (("token", token) for token in TOKENS))
write("ek_rules", (("rules", json.dumps(rules)) for rules in RULE_TEXTS))
stamp.write_text("made\n")
