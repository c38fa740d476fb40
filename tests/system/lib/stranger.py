"""A peer without manners: raw bytes to a service, and what comes back judged."""
import base64
import re
import time

from lib import dialects, https
from lib.device import Device
from lib.https import Connection

NODE = dialects.Node()
LOGGED_PER_S = 15  # the service writes at most 20 lines a second about requests that are bad


class Stranger:
    """Talks to service; victim (lib.device.Device, registered) is whom it must learn nothing of."""

    second, asked = 0, 0  # this second of the monotonic clock, and what was asked in it

    def __init__(self, service, victim):
        self.service = service
        self.secrets = [victim.registration_id, victim.ek_base64, victim.hub, victim.operation_id,
                        base64.b64encode(victim.key).decode()]

    def pace(self):
        """
        Stay below the rate at which the service begins to leave lines out of its log. All of a
        run's strangers count together: the second that one test ends in is the next one's first.
        """
        while int(time.monotonic()) == Stranger.second and Stranger.asked >= LOGGED_PER_S:
            time.sleep(0.02)
        if int(time.monotonic()) != Stranger.second:
            Stranger.second, Stranger.asked = int(time.monotonic()), 0
        Stranger.asked += 1

    def connect(self, **kwargs):
        return Connection(self.service.address, self.service.ca_file, self.service.host, **kwargs)

    def flooded(self):
        """Called after more than the log takes in a second: let that second end."""
        time.sleep(1.001 - time.monotonic() % 1)

    def ask(self, data):
        """One answer to these bytes on a connection of their own."""
        self.pace()
        with self.connect() as connection:
            return self.harmless(connection.ask(data))

    def put(self, target, body, token=None, headers=()):
        """A register-like request to a raw target."""
        return self.ask(https.request("PUT", target, [
            ("Host", self.service.host), ("Content-Type", dialects.JSON_UTF8),
            ("Content-Length", str(len(body))), *headers,
            *([("Authorization", token)] if token is not None else [])], body))

    def register(self, flow, token=None):
        """A well-formed register of a flow that may be wrong in itself."""
        return self.ask(NODE.register(flow, token))

    def register_body(self, registration_id, body, token=None):
        """A register with a raw body."""
        return self.put(f"/{self.service.scope}/registrations/{registration_id}/register"
                        "?api-version=2021-06-01", body, token)

    def harmless(self, answer):
        """Nothing of the victim is in it."""
        for secret in self.secrets:
            assert secret.encode() not in answer.head + answer.body, answer
        return answer

    def bad_request(self, answer, reason):
        """400 with a JSON error, and the reason in the log under the answer's request ID."""
        assert answer.status == 400, answer
        assert answer.json()["errorCode"] == 400004, answer
        self.logged(answer, reason)

    def refused(self, answer, reason):
        """The one refusal."""
        assert answer.status == 401, answer
        assert answer.json()["errorCode"] == 401002, answer
        assert "authenticationKey" not in answer.json()
        self.logged(answer, reason)

    def logged(self, answer, reason):
        lines = self.service.log_of(answer.request_id)
        assert [line.get("reason") for line in lines] == [reason], (reason, lines)

    def closes(self, data, statuses):
        """
        The connection ends after at most one answer, whose status is one of these (None: no
        answer). So nothing behind the first request is taken for a second one.
        """
        with self.connect(timeout_s=30) as connection:
            try:
                connection.send(data)
                answer = self.harmless(connection.read())
            except (EOFError, OSError):
                answer = None
            assert (answer.status if answer else None) in statuses, answer
            assert connection.closed(), "still open, or another answer"
            return answer


def shape(answer):
    """The bytes of an answer without what differs between any two: IDs and times."""
    text = (answer.head + answer.body).decode()
    text = re.sub(r"(?i)(x-ms-request-id: )[0-9a-f]{32}", r"\1ID", text)
    text = re.sub(r'("trackingId":")[0-9a-f-]+', r"\1ID", text)
    text = re.sub(r'("timestampUtc":")[-0-9T:.]+Z', r"\1TIME", text)
    return re.sub(r"(?i)(\ndate: )[^\r]+", r"\1TIME", text)


def bystander(service, registration_id, tpm):
    """An enrolled and registered device that keeps its operation's ID."""
    device = Device(service, registration_id, tpm, NODE)
    service.enroll(device)
    flow = device.flow()
    token = NODE.token(flow, device.challenge(flow))
    device.authorise(flow, token)
    device.poll(flow, token)
    device.close()
    device.operation_id = flow.operation_id
    device.last_token = token
    return device
