#!/usr/bin/env python3
"""Write the seeds of http_fuzz: requests as the SDKs of devices send them, and awkward ones.

usage: corpus_http.py OUTPUT_DIRECTORY STAMP_FILE
"""
import pathlib
import sys

out, stamp = (pathlib.Path(a) for a in sys.argv[1:3])
out.mkdir(parents=True, exist_ok=True)

C_SDK = (b"%s /0ne00000000/registrations/dev-1/%s?api-version=2021-06-01 HTTP/1.1\r\n"
         b"Host: provision.example.test:443\r\nUserAgent: prov_device_client/1.0\r\n"
         b"Accept: application/json\r\nContent-Type: application/json; charset=utf-8\r\n"
         b"Connection: keep-alive\r\n"
         b"Authorization: SharedAccessSignature sr=0ne%%2fregistrations%%2fdev-1&sig=a%%3d&se=1&skn=\r\n"
         b"content-length: %d\r\n\r\n%s")
PLAIN = b"PUT /a HTTP/1.1\r\nHost: h\r\n"
seeds = {
    "register": C_SDK % (b"PUT", b"register", 24, b'{"registrationId":"dev"}'),
    "poll": C_SDK % (b"GET", b"operations/5.316aac5bdc130deb.b1e0", 0, b""),
    "get-body": b"GET /a%20b?c HTTP/1.1\r\nHost: [::1]:8443\r\nContent-Length: 2\r\n\r\n{}",
    "chunked": PLAIN + b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: v\r\n\r\nGET ",
    "continue": PLAIN + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    "http-1.0": b"\r\nGET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "both": PLAIN + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "twice": PLAIN + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "folded": PLAIN + b"X: a\r\n b\r\n\r\n",
    "empty-value": PLAIN + b"X:\r\nY: \t \r\n\r\n",
    "upgrade": PLAIN + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "connect": b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n",
    "absolute": b"GET https://h/a HTTP/1.1\r\nHost: h\r\n\r\n",
    "h2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
for name, request in seeds.items():
    for cut in (0, 7):
        (out / f"{name}-{cut}").write_bytes(bytes([cut]) + request)
stamp.write_text("made\n")
