#!/usr/bin/env python3
"""Write the seeds of sas_fuzz, dps_fuzz, manifest_fuzz and mqtt_name_fuzz: the vectors' tokens, and
one message or name of each kind.

usage: corpus_wire.py VECTORS/sas.json OUTPUT_DIRECTORY STAMP_FILE
"""
import base64
import json
import pathlib
import subprocess
import sys

vectors, out, stamp = (pathlib.Path(a) for a in sys.argv[1:4])



def certificate(name):
    """One certificate, made afresh by openssl, as base64 of DER."""
    der = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", "/dev/null", "-outform", "DER", "-days", "3650", "-subj", f"/CN={name}"],
        check=True, capture_output=True).stdout
    return base64.b64encode(der).decode()


MESSAGES = {
    "register-ek-certificate": json.dumps({"registrationId": "dev-1", "tpm": {
        "endorsementKey": "AToAAQALAAMAsgAg", "storageRootKey": "ARoAAQALAAMEcgAA",
        "endorsementKeyCertificate": certificate("EK"),
        "endorsementKeyCertificateChain": [certificate("EK CA"), certificate("EK CA 2")]}}),
    "register": '{"registrationId":"dev-1","tpm":{"endorsementKey":"AToAAQALAAMAsgAg",'
                '"storageRootKey":"ARoAAQALAAMEcgAA"},"payload":{"any":[1,true,null,"\\u00e9"]}}',
    "register-rust": '{"registrationId":"dev-1"}',
    "register-java": '{"payload":"{\\"a\\":1}"}',
    "challenge": '{"message":"Authorization required","authenticationKey":"ADQAIEIa",'
                 '"unencryptedAuthenticationKey":null,"keyName":"registration"}',
    "accepted": '{"operationId":"5.316aac5bdc130deb.b1e02da8","status":"assigning"}',
    "assigned": '{"operationId":"5.31.b1","status":"assigned","registrationState":{"tpm":'
                '{"authenticationKey":"ADQAIBza"},"registrationId":"dev-1","createdDateTimeUtc":'
                '"2022-08-31T22:02:50.5163352Z","assignedHub":"hub.example.test","deviceId":"dev-1",'
                '"status":"assigned","substatus":"initialAssignment","lastUpdatedDateTimeUtc":'
                '"2022-08-31T22:02:50.7370676Z","etag":"ImEi","payload":{"optional":"json"}}}',
    "failed": '{"status":"failed","registrationState":{"status":"failed","errorCode":400208,'
              '"errorMessage":"no hub"}}',
    "error": '{"errorCode":401002,"trackingId":"9f2c","message":"Unauthorized",'
             '"timestampUtc":"2019-03-15T19:43:02.7904455Z"}',
}

MANIFESTS = {
    "factory.csv": 'registrationId,endorsementKey,ekId,ekType,tpmKind\r\n'
                   'dev-1,AToAAQ==,,RSA-2048,software\r\n',
    "all.csv": 'registrationId,endorsementKey,deviceId,provisioningStatus,allocationPolicy,iotHubs,'
               'initialTwin,reprovisionPolicy\n'
               'd,ARo=;AToAAQ==,D,disabled,static,a.test b.test,"{""tags"":{""a"":\n1}}",never\n',
    "factory.jsonl": '{"registrationId":"dev-1","endorsementKey":"AToAAQ==","ekId":"",'
                     '"tpmKind":"discrete"}\n',
    "all.jsonl": '{"registrationId":"d","endorsementKeys":["ARo=","AToAAQ=="],"deviceId":"D",'
                 '"provisioningStatus":"enabled","allocationPolicy":"hashed","iotHubs":["a.test"],'
                 '"initialTwin":{"tags":{"a":1.5}},"reprovisionPolicy":"reset"}\n',
}

NAMES = {
    "user-node": "\nhub.example.test/dev-1/?api-version=2021-04-12&DeviceClientType=azure%2F1.18.4",
    "user-old": "\nHub.Example.test:8883/Dev.1/api-version=2016-11-14",
    "telemetry": "a.b\ndevices/a.b/messages/events/%24.mid=7&%24.ct=application%2Fjson&bare&e=/",
    "twin-get": "\n$iothub/twin/GET/?$rid=1",
    "reported": "\n$iothub/twin/PATCH/properties/reported/?$rid=1&$version=2",
    "method": "\n$iothub/methods/res/200/?$rid=0a",
    "devicebound": "+\ndevices/+/messages/devicebound/#",
    "answers": "\n$iothub/twin/res/#",
    "desired": "\n$iothub/twin/PATCH/properties/desired/#",
    "methods": "\n$iothub/methods/POST/#",
}

for folder in ("sas", "dps", "manifest", "mqtt_name"):
    (out / folder).mkdir(parents=True, exist_ok=True)
for i, case in enumerate(json.loads(vectors.read_text())["cases"]):
    (out / "sas" / f"case-{i:02}").write_text(case["authorization"])
for name, text in MESSAGES.items():
    (out / "dps" / name).write_text(text)
for name, text in MANIFESTS.items():
    (out / "manifest" / name).write_text(text)
for name, text in NAMES.items():
    (out / "mqtt_name" / name).write_text(text)
stamp.write_text("made\n")
