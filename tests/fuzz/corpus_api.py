#!/usr/bin/env python3
"""Write the seeds of path_fuzz, hub_props_fuzz, hub_json_fuzz, hub_auth_fuzz, broker_ask_fuzz, webhook_fuzz and
allow_fuzz.

usage: corpus_api.py OUTPUT_DIRECTORY STAMP_FILE
"""
import pathlib
import sys

out, stamp = (pathlib.Path(a) for a in sys.argv[1:])

SEEDS = {
    "path": {
        "register": "/0ne00000001/registrations/dev-1/register?api-version=2021-06-01",
        "poll": "/0ne00000001/registrations/My%3aDev.1_x/operations/5.31.b1?"
                "api-version=2018-09-01-preview&x=y",
        "lookup": "/0ne00000001/registrations/d+e?forceRegistration=true&api-version=2019-03-31",
        "hub": "/devices/My%25Dev/messages/devicebound/a-b/abandon?api-version=2021-04-12&top=7",
        "twin": "/twins/dev/methods/?reject&api-version=2020-09-30",
        "tricks": "/%2e%2e/./..//%2F/a%00b/%zz?api-version=&api-version",
    },
    "hub_props": {
        "sdk": "%24.mid=m-1&%24.ct=application%2Fjson&alert=true&bare&e=",
        "odd": "a%3A%20b=%0D%0A&k=%C3%A9&%24.x=1&&%zz",
    },
    "hub_json": {
        "device": '0{"deviceId":"dev-1","etag":"x","status":"disabled","statusReason":"why",'
                  '"authentication":{"type":"sas","symmetricKey":{"primaryKey":'
                  '"AAAAAAAAAAAAAAAAAAAAAA==","secondaryKey":""}},"capabilities":{"iotEdge":true}}',
        "x509": '0{"deviceId":"dev-1","authentication":{"x509Thumbprint":{"primaryThumbprint":'
                '"0123456789abcdef0123456789ABCDEF01234567"}}}',
        "import": '1{"id":"d","importMode":"UpdateIfMatchETag","eTag":"x","twinETag":"y","tags":'
                  '{"a":null},"properties":{"desired":{"n":1.5},"reported":{}}}',
        "twin": '2{"tags":{"a":{"b":[1,"x"]}},"properties":{"desired":{"$version":1},"reported":7}}',
        "method": '3{"methodName":"reboot","payload":{"x":[null]},"responseTimeoutInSeconds":5,'
                  '"connectTimeoutInSeconds":0}',
    },
    "hub_auth": {
        "ask": '{"hub":"hub.example.test","token":"SharedAccessSignature sr=hub.example.test%2F'
               'devices%2Fdev-1&sig=uRT%2FSKmuN9kHCTbm1TvE6LnBbyVRGz4xSYJuYqODNSk%3D&'
               'se=1900000000"}',
        "odd": '{"token":7,"hub":null,"x":[{}]}',
    },
    "broker_ask": {  # the first byte modulo 6 picks the question
        "user": "0username=hub.example.test%2Fdev-1%2F%3Fapi-version%3D2021-04-12%26x%3Dy"
                "&password=Shared+x%26&vhost=%2F&client_id=dev-1",
        "vhost": "1username=hub.example.test%2Fdev-1%2F%3Fapi-version%3D2021-04-12&vhost=%2F&"
                 "ip=127.0.0.1&tags=",
        "resource": "2username=hub.example.test%2Fdev-1%2F%3Fapi-version%3D2021-04-12&"
                    "resource=queue&name=mqtt-subscription-dev-1qos1&permission=configure",
        "topic": "3username=hub.example.test%2Fdev-1%2F%3Fapi-version%3D2021-04-12&"
                 "name=amq.topic&permission=write&routing_key=devices.dev-1.messages.events.a%3Db",
        "authn": '4{"username":"hub.example.test/dev-1/?api-version=2021-04-12",'
                 '"clientid":"dev-1","password":"x"}',
        "authz": '5{"username":"hub.example.test/dev-1/?api-version=2021-04-12",'
                 '"clientid":"dev-1","action":"publish","qos":"1",'
                 '"topic":"devices/dev-1/messages/events/a=b"}',
    },
    "webhook": {
        "whole": '{"iotHubHostName":"hub.example.test","initialTwin":{"tags":{"a":1},'
                 '"properties":{"desired":{}}},"payload":{"x":[true,null,"\u00e4"]}}',
        "odd": '{"iotHubHostName":7,"initialTwin":[],"payload":null}',
    },
    "allow": {
        "allow": "hook.example.test, 10.0.0.0/8 2001:db8::/32 127.0.0.1 ::1",
        "regions": "10.0.0.0/8=north 10.1.0.0/16=south,2001:db8::/32=six",
    },
}

for folder, seeds in SEEDS.items():
    (out / folder).mkdir(parents=True, exist_ok=True)
    for name, text in seeds.items():
        (out / folder / name).write_bytes(text.encode())
stamp.write_text("made\n")
