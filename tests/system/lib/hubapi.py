"""A client of a hub's HTTPS surface that sends what it is told (iot-hub.md sections 2, 3 and 7)."""
import base64
import json
from urllib.parse import quote

from lib import sas
from lib.https import Connection, request

VERSION = "2021-04-12"
BULK_MAX = 100


class Hub:
    """Signs with a policy of the hub; policy and key may be a test's."""

    def __init__(self, service, policy="iothubowner", hub=None):
        self.service = service
        self.hub = hub or service.hub
        self.policy = policy
        self.key = self.key_of(policy)

    def connection_string(self, policy, *words):
        return self.service.cli("hub", "policy", "show", self.hub, policy, "--connection-string",
                                *words).stdout.strip()

    def key_of(self, policy):
        members = dict(part.split("=", 1) for part in self.connection_string(policy).split(";"))
        assert members["HostName"] == self.hub and members["SharedAccessKeyName"] == policy, members
        return base64.b64decode(members["SharedAccessKey"], validate=True)

    def token(self, sr=None, expiry=None, skn=None):
        return sas.token(self.key, sr or sas.escape(self.hub), expiry or sas.in_s(3600),
                         skn or self.policy)

    def ask(self, method, path, body=None, *, token=None, version=VERSION, headers=(), host=None,
            raw=None):
        """path is sent as it is, with its query. body is JSON; raw is bytes instead. token "" sends
        none."""
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        head = [("Host", host or self.hub), ("Content-Length", len(data)), *headers]
        if token != "":
            head.append(("Authorization", token or self.token()))
        if data and not any(name == "Content-Type" for name, _ in headers):
            head.append(("Content-Type", "application/json; charset=utf-8"))
        if version is not None:
            path += ("&" if "?" in path else "?") + f"api-version={version}"
        with Connection(self.service.address, self.service.ca_file, self.service.host) as link:
            answer = link.ask(request(method, path, head, data))
        self.check_error(answer)
        return answer

    @staticmethod
    def check_error(answer):
        """Every error has the body and the header of section 2.6, but a bulk's result."""
        assert answer.request_id, answer
        if answer.status < 300 or b"isSuccessful" in answer.body:
            return
        body = answer.json()
        name = answer.header("iothub-errorcode")
        code, text = body["Message"].split(";", 1)
        assert name and code == f"ErrorCode:{name}" and text, answer
        assert answer.request_id in body["ExceptionMessage"], answer

    def device(self, method, device_id, body=None, **kwargs):
        return self.ask(method, "/devices/" + quote(device_id, safe=""), body, **kwargs)

    def create(self, device_id, **more):
        """The new device, as it is answered."""
        answer = self.device("PUT", device_id, {"deviceId": device_id, **more})
        assert answer.status == 200, answer
        return answer.json()

    def bulk(self, *items):
        return self.ask("POST", "/devices", list(items))

    def create_all(self, keys):
        """New devices of {id: key}, which has to be both keys of each; returns it."""
        items = []
        for device_id, key in keys.items():
            text = base64.b64encode(key).decode()
            items.append({"id": device_id, "importMode": "create", "authentication": {
                "type": "sas", "symmetricKey": {"primaryKey": text, "secondaryKey": text}}})
        for at in range(0, len(items), BULK_MAX):
            answer = self.bulk(*items[at:at + BULK_MAX])
            assert answer.status == 200, answer
        return keys

    def query(self, text="SELECT * FROM devices", count=None, continuation=None):
        headers = [] if count is None else [("x-ms-max-item-count", count)]
        if continuation is not None:
            headers.append(("x-ms-continuation", continuation))
        return self.ask("POST", "/devices/query", {"query": text}, headers=headers)

    def all(self, text="SELECT * FROM devices", count=None):
        """Every row of a query, over its pages."""
        rows, continuation = [], None
        while True:
            answer = self.query(text, count, continuation)
            assert answer.status == 200, answer
            rows += answer.json()
            continuation = answer.header("x-ms-continuation")
            if continuation is None:
                return rows
            assert continuation

    def device_token(self, device, slot="primaryKey", device_id=None):
        """A device's own token, from what create() answered."""
        key = base64.b64decode(device["authentication"]["symmetricKey"][slot])
        return sas.hub_token(key, self.hub, device_id or device["deviceId"])


def name(answer):
    return answer.header("iothub-errorcode")
