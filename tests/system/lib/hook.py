#!/usr/bin/python3
"""A webhook for networks of a test's own: one answer to everything, what it was asked in a file.

usage: hook.py PORT CERTIFICATE KEY ANSWER-JSON ASKED-FILE

Appends each request to ASKED-FILE, one line of JSON: {"path", "body"}. Prints "ready" first.
"""
import http.server
import json
import ssl
import sys


def main(port, certificate, key, answer, asked):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with open(asked, "a", encoding="utf-8") as file:
                file.write(json.dumps({"path": self.path, "body": body}) + "\n")
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())

    server = http.server.HTTPServer(("127.0.0.1", int(port)), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print("ready", flush=True)
    server.serve_forever()


main(*sys.argv[1:])
