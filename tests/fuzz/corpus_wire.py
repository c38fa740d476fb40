#!/usr/bin/env python3
"""Write the seeds of sas_fuzz, dps_fuzz and manifest_fuzz: the vectors' tokens, and one message of
each kind.

usage: corpus_wire.py VECTORS/sas.json OUTPUT_DIRECTORY STAMP_FILE
"""
import json
import pathlib
import sys

vectors, out, stamp = (pathlib.Path(a) for a in sys.argv[1:4])

MESSAGES = {
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

for folder in ("sas", "dps", "manifest"):
    (out / folder).mkdir(parents=True, exist_ok=True)
for i, case in enumerate(json.loads(vectors.read_text())["cases"]):
    (out / "sas" / f"case-{i:02}").write_text(case["authorization"])
for name, text in MESSAGES.items():
    (out / "dps" / name).write_text(text)
for name, text in MANIFESTS.items():
    (out / "manifest" / name).write_text(text)
stamp.write_text("made\n")
