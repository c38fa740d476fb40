"""A client of the operators' API that sends what it is told (service-api.md)."""
import base64
import json
from urllib.parse import quote

from lib import sas
from lib.https import Connection, request

VERSION = "2021-10-01"


class Operator:
    """Signs with a policy of the service's own; key and name may be a test's."""

    def __init__(self, service, policy="provisioningserviceowner", key=None):
        self.service = service
        self.policy = policy
        self.key = key or self.key_of(policy)

    def key_of(self, policy, *words):
        text = self.service.cli("policy", "show", policy, "--connection-string", *words,
                                "--host", self.service.host).stdout.strip()
        members = dict(part.split("=", 1) for part in text.split(";"))
        assert members["SharedAccessKeyName"] == policy, members
        return base64.b64decode(members["SharedAccessKey"], validate=True)

    def token(self, sr=None, expiry=None, skn=None):
        return sas.token(self.key, sr or sas.escape(self.service.host), expiry or sas.in_s(3600),
                         skn or self.policy)

    def ask(self, method, path, body=None, *, token=None, version=VERSION, headers=(), host=None,
            raw=None):
        """path is sent as it is. body is JSON; raw is bytes instead. token "" sends none."""
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        head = [("Host", host or self.service.host), ("Content-Length", len(data)), *headers]
        if token != "":
            head.append(("Authorization", token or self.token()))
        if data and not any(name == "Content-Type" for name, _ in headers):
            head.append(("Content-Type", "application/json; charset=utf-8"))
        target = path if version is None else f"{path}?api-version={version}"
        with Connection(self.service.address, self.service.ca_file, self.service.host) as link:
            answer = link.ask(request(method, target, head, data))
        self.check_error(answer)
        return answer

    @staticmethod
    def check_error(answer):
        """Every error has the body and the headers of section 9."""
        assert answer.request_id, answer
        if answer.status < 300:
            return
        body = answer.json()
        assert body["errorCode"] // 1000 == answer.status, answer
        assert answer.header("x-ms-error-code") == str(body["errorCode"]), answer
        assert body["trackingId"] == answer.request_id and body["message"], answer
        assert body["timestampUtc"].endswith("Z"), answer

    def put(self, enrollment, etag=None, **kwargs):
        headers = [] if etag is None else [("If-Match", etag)]
        path = "/enrollments/" + quote(enrollment["registrationId"], safe="")
        return self.ask("PUT", path, enrollment, headers=headers, **kwargs)

    def query(self, path, text="SELECT *", count=None, continuation=None):
        headers = [] if count is None else [("x-ms-max-item-count", count)]
        if continuation is not None:
            headers.append(("x-ms-continuation", continuation))
        return self.ask("POST", path, {"query": text}, headers=headers)

    def all(self, path, text="SELECT *", count=None, continuation=None):
        """Every row of a query, over its pages, from a continuation on."""
        rows = []
        while True:
            answer = self.query(path, text, count, continuation)
            assert answer.status == 200, answer
            rows += answer.json()
            continuation = answer.header("x-ms-continuation")
            if continuation is None:
                return rows
            assert continuation
