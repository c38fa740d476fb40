"""A device in software: the whole flow against a service, or any step of it with a fault.

service is anything with address (host, port), host (name in the certificate), ca_file and scope.
"""
import base64
import time

from lib import dialects, sas
from lib.https import Connection
from lib.softtpm import SoftTpm


class Flow:
    """What the messages of one registration are made of. A test may change any member."""

    def __init__(self, service, registration_id, tpm):
        self.host = service.host
        self.scope = service.scope
        self.registration_id = registration_id
        self.ek = tpm.ek.tpm2b
        self.srk = tpm.srk.tpm2b
        self.payload = None
        self.key_name = None
        self.operation_id = None


class NotRegistered(Exception):
    """The service answered otherwise than with the next step; answer is what it said."""

    def __init__(self, answer):
        super().__init__(repr(answer))
        self.answer = answer


class Device:
    """tpm None makes one. key, hub and device_id are set once it is assigned."""

    def __init__(self, service, registration_id, tpm=None, dialect=None):
        self.service = service
        self.registration_id = registration_id
        self.tpm = tpm or SoftTpm()
        self.dialect = dialect or dialects.ALL[0]
        self.key = self.hub = self.device_id = self.state = None
        self._connection = None

    @property
    def ek_base64(self):
        return base64.b64encode(self.tpm.ek.tpm2b).decode()

    def connect(self, **kwargs):
        return Connection(self.service.address, self.service.ca_file, self.service.host, **kwargs)

    def ask(self, data):
        """Over the flow's connection, or a new one as the dialect has it."""
        if self._connection is None or self.dialect.fresh_connections:
            self.close()
            self._connection = self.connect()
        return self._connection.ask(data)

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def flow(self):
        return Flow(self.service, self.registration_id, self.tpm)

    def challenge(self, flow):
        """First register; the nonce key."""
        answer = self.ask(self.dialect.register(flow))
        if answer.status != 401 or "authenticationKey" not in answer.json():
            raise NotRegistered(answer)
        body = answer.json()
        assert "status" not in body and "errorCode" not in body, body
        flow.key_name = body["keyName"]
        return self.tpm.open(base64.b64decode(body["authenticationKey"], validate=True))

    def authorise(self, flow, token):
        """Second register; sets the operation."""
        answer = self.ask(self.dialect.register(flow, token))
        if answer.status != 202:
            raise NotRegistered(answer)
        body = answer.json()
        assert body["status"] == "assigning", body
        assert 1 <= int(answer.header("retry-after")) <= 5, answer
        flow.operation_id = body["operationId"]
        return answer

    def poll(self, flow, token, deadline_s=20):
        """Until it is assigned; reads and opens the hub's key."""
        deadline = time.monotonic() + deadline_s
        while True:
            answer = self.ask(self.dialect.poll(flow, token))
            if answer.status not in (200, 202):
                raise NotRegistered(answer)
            body = answer.json()
            if body["status"] == "assigned":
                return self._assigned(flow, body)
            assert body["status"] == "assigning", body
            assert body["registrationState"]["registrationId"], body
            assert time.monotonic() < deadline, "still assigning"
            time.sleep(0.2)

    def _assigned(self, flow, body):
        state = body["registrationState"]
        assert body["operationId"] == flow.operation_id, body
        assert state["status"] == "assigned", body
        assert state["registrationId"].lower() == self.registration_id.lower(), body
        self.key = self.tpm.open(base64.b64decode(state["tpm"]["authenticationKey"], validate=True))
        self.hub, self.device_id, self.state = state["assignedHub"], state["deviceId"], state
        return state

    def register(self):
        """All of it; registrationState."""
        flow = self.flow()
        try:
            token = self.dialect.token(flow, self.challenge(flow))
            self.authorise(flow, token)
            return self.poll(flow, token)
        finally:
            self.close()

    def hub_token(self, key=None):
        return sas.hub_token(key or self.key, self.hub, self.device_id)
