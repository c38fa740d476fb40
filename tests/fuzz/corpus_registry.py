#!/usr/bin/env python3
"""Write the seeds of registry_fuzz.

usage: corpus_registry.py OUTPUT_DIRECTORY STAMP_FILE
"""
import pathlib
import sys

out, stamp = (pathlib.Path(a) for a in sys.argv[1:])

SEEDS = {
    "device": '{"deviceId":"dev-1","generationId":"637","etag":"NzQ2ODU=","status":"enabled",'
              '"statusReason":null,"connectionState":"Connected","authentication":{"type":"sas",'
              '"symmetricKey":{"primaryKey":"MDEyMzQ1Njc4OWFiY2RlZg==","secondaryKey":"ZmVk"},'
              '"x509Thumbprint":{"primaryThumbprint":"0a1B","secondaryThumbprint":null}},'
              '"capabilities":{"iotEdge":true},"deviceScope":"ms-azure-iot-edge://x"}',
    "twin": '{"deviceId":"dev-1","etag":"AAAA=","version":3,"tags":{"site":{"a":1}},"properties":'
            '{"desired":{"n":[1,{"x":null}],"$metadata":{"$lastUpdated":"2026"},"$version":2},'
            '"reported":{"$version":1}}}',
    "done": '{"isSuccessful":true,"errors":[],"warnings":[]}',
    "failed": '{"isSuccessful":false,"errors":[{"deviceId":"dev-1","errorCode":'
              '"DeviceAlreadyExists","errorStatus":"x"}],"warnings":null}',
    "number": '{"isSuccessful":false,"errors":[{"errorCode":409001}]}',
    "error": '{"Message":"ErrorCode:DeviceNotFound;E2E-7f is not registered",'
             '"ExceptionMessage":"Tracking ID:0"}',
    "error2": '{"Message":"{\\"errorCode\\":404001,\\"message\\":\\"x\\"}"}',
    "statistics": '{"totalDeviceCount":17,"enabledDeviceCount":16,"disabledDeviceCount":1}',
}

out.mkdir(parents=True, exist_ok=True)
for name, text in SEEDS.items():
    (out / name).write_text(text)
stamp.write_text("made\n")
