"""A hub elsewhere, in the test's own process: the registry's REST with faults on demand (iot-hub.md 2).

It keeps devices and twins, checks every token and every precondition, and records the calls in
order. `fault` is asked before each call: it may answer in the hub's stead, wait, or break off.
"""
import base64
import hmac
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from urllib.parse import parse_qs, unquote, urlsplit


def certificate(directory, host):
    """(certificate, key): a self-signed one for host, which is its own authority."""
    cert, key = os.path.join(directory, host + ".pem"), os.path.join(directory, host + ".key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={host}",
         "-addext", f"subjectAltName=DNS:{host}"], check=True, capture_output=True)
    return cert, key


class Hub:
    """name is its host name. Started and stopped as often as a test likes: what it keeps stays."""

    policy, key = "owner", b"k" * 32

    def __init__(self, directory, name):
        self.name = name
        self.ca_file, self._key_file = certificate(str(directory), name)
        self.calls = []  # "METHOD /path", in order
        self.devices, self.twins = {}, {}
        self.open = []
        self.fault = None  # f(hub, handler, method, path) -> True when it has answered
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.etag = 0
        self.server = None
        with socket.socket() as probe:  # kept across restarts
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    @property
    def connection_string(self):
        key = base64.b64encode(self.key).decode()
        return (f"HostName={self.name};SharedAccessKeyName={self.policy};SharedAccessKey={key};"
                f"GatewayHostName=127.0.0.1:{self.port}")

    # ---- the server

    def start(self):
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def setup(self):
                hub.open.append(self.request)
                super().setup()

            def handle_any(self):
                hub.handle(self)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_any

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request, client_address):
                pass  # peers that break off are part of the tests

        self.server = Server(("127.0.0.1", self.port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca_file, self._key_file)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def stop(self):
        if self.server is not None:
            self.released.set()
            self.server.shutdown()
            self.thread.join()
            self.server.server_close()
            for connection in self.open:  # those that are kept for the next request too
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            self.open.clear()
            self.server = None

    # ---- answers

    def say(self, request, status, body=None, **headers):
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        if status != 204:
            request.send_header("Content-Type", "application/json; charset=utf-8")
            request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    def refuse(self, request, status, name, **headers):
        self.say(request, status, {"Message": f"ErrorCode:{name};as iot-hub.md 2.6 has it",
                                   "ExceptionMessage": "Tracking ID:0-TimeStamp:0"},
                 iothub_errorcode=name, **headers)

    # ---- requests

    def authorised(self, request):
        header = request.headers.get("Authorization", "")
        scheme, _, rest = header.partition(" ")
        fields = {name: value[0] for name, value in parse_qs(rest).items()}
        if scheme != "SharedAccessSignature" or set(fields) != {"sr", "sig", "se", "skn"}:
            return False
        raw_sr = dict(part.split("=", 1) for part in rest.split("&"))["sr"]
        signature = hmac.digest(self.key, f"{raw_sr}\n{fields['se']}".encode(), "sha256")
        return (fields["skn"] == self.policy and fields["sr"] == self.name
                and int(fields["se"]) > time.time()
                and hmac.compare_digest(base64.b64decode(fields["sig"]), signature))

    def handle(self, request):
        url = urlsplit(request.path)
        length = int(request.headers.get("Content-Length", 0))
        body = request.rfile.read(length)
        with self.lock:
            self.calls.append(f"{request.command} {url.path}")
        if self.fault is not None and self.fault(self, request, request.command, url.path):
            return
        assert request.headers["Host"].split(":")[0] == self.name, request.headers
        assert parse_qs(url.query)["api-version"] == ["2021-04-12"], url
        if not self.authorised(request):
            self.refuse(request, 401, "IotHubUnauthorizedAccess")
            return
        with self.lock:
            self.answer(request, url.path, json.loads(body) if body else None)

    def answer(self, request, path, body):
        method, parts = request.command, path.strip("/").split("/")
        match = request.headers.get("If-Match")
        device_id = unquote(parts[1]) if len(parts) == 2 else None
        if (method, path) == ("GET", "/statistics/devices"):
            self.say(request, 200, {"totalDeviceCount": len(self.devices),
                                    "enabledDeviceCount": len(self.devices),
                                    "disabledDeviceCount": 0})
        elif (method, path) == ("POST", "/devices"):
            self.bulk(request, body)
        elif parts[0] not in ("devices", "twins") or device_id is None:
            self.refuse(request, 404, "IotHubNotFound")
        elif device_id not in self.devices:
            self.refuse(request, 404, "DeviceNotFound")
        elif match not in (None, '"*"', '"%s"' % self.devices[device_id]["etag"]):
            self.refuse(request, 412, "PreconditionFailed")
        elif (method, parts[0]) == ("GET", "devices"):
            self.say(request, 200, self.devices[device_id])
        elif (method, parts[0]) == ("PUT", "devices"):
            self.put(request, device_id, body, match)
        elif (method, parts[0]) == ("DELETE", "devices"):
            del self.devices[device_id], self.twins[device_id]
            self.say(request, 204)
        elif (method, parts[0]) == ("GET", "twins"):
            self.say(request, 200, self.twin(device_id))
        elif (method, parts[0]) == ("PATCH", "twins"):
            self.patch(request, device_id, body)
        else:
            self.refuse(request, 400, "ArgumentInvalid")

    def _etag(self):
        self.etag += 1
        return f"e{self.etag}=="

    def bulk(self, request, body):
        assert isinstance(body, list) and len(body) == 1, body
        item = body[0]
        assert item["importMode"] == "create" and item["status"] == "enabled", item
        assert set(item) <= {"id", "importMode", "status", "authentication", "tags", "properties",
                             "capabilities"}, item
        if item["id"] in self.devices:
            self.say(request, 400, {"isSuccessful": False, "warnings": [], "errors": [
                {"deviceId": item["id"], "errorCode": "DeviceAlreadyExists",
                 "errorStatus": "409"}]})
            return
        self.devices[item["id"]] = {
            "deviceId": item["id"], "generationId": "1", "etag": self._etag(), "status": "enabled",
            "statusReason": None, "connectionState": "Disconnected",
            "authentication": item["authentication"], "capabilities": item["capabilities"]}
        properties = item.get("properties", {})
        assert set(properties) <= {"desired"}, item
        self.twins[item["id"]] = {"tags": item.get("tags", {}),
                                  "desired": properties.get("desired", {})}
        self.say(request, 200, {"isSuccessful": True, "errors": [], "warnings": []})

    def put(self, request, device_id, body, match):
        assert match is not None, "an unconditional PUT"
        assert body["deviceId"] == device_id, body
        self.devices[device_id].update(authentication=body["authentication"],
                                       status=body["status"], etag=self._etag())
        self.say(request, 200, self.devices[device_id])

    def twin(self, device_id):
        kept = self.twins[device_id]
        return {"deviceId": device_id, "etag": "AAAA=", "version": 3, "tags": kept["tags"],
                "properties": {"desired": dict(kept["desired"], **{
                    "$metadata": {"$lastUpdated": "2026-01-01T00:00:00Z"}, "$version": 2}),
                    "reported": {"$version": 1, "$metadata": {}}}}

    def patch(self, request, device_id, body):
        self.twins[device_id]["tags"].update(body.get("tags", {}))
        self.twins[device_id]["desired"].update(body.get("properties", {}).get("desired", {}))
        self.say(request, 200, self.twin(device_id))

    # ---- what a test asks

    def keys(self, device_id):
        """(primary, secondary), as bytes."""
        keys = self.devices[device_id]["authentication"]["symmetricKey"]
        return tuple(base64.b64decode(keys[name]) for name in ("primaryKey", "secondaryKey"))

    def taken(self):
        """The calls since this was last asked."""
        with self.lock:
            calls, self.calls = self.calls, []
        return calls
