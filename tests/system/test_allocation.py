"""Which hub a device is given: by the client's network, and by webhooks good and bad."""
import http.server
import json
import ssl
import threading
import time

import pytest

from lib import dialects
from lib.device import Device
from lib.https import Connection
from lib.softtpm import SoftTpm

NODE = dialects.Node()
HUB, OTHER_HUB = "hub.example.test", "hub2.example.test"


class Webhook:
    """A web server whose answer depends on the path; keeps what it was asked."""

    def __init__(self, service):
        self.asked = []
        self.release = threading.Event()
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                webhook.asked.append((self.path, json.loads(body)))
                getattr(webhook, "answer_" + self.path.split("?")[0].strip("/"))(self)

            def say(self, status, body, **headers):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(service.data + "/tls/server.pem", service.data + "/tls/server.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def url(self, path):
        return f"https://localhost:{self.server.server_address[1]}{path}"

    def count(self, path):
        return sum(1 for asked, _ in self.asked if asked == path)

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    # ---- answers

    def answer_good(self, request):
        request.say(200, {"iotHubHostName": OTHER_HUB.upper(), "initialTwin": {"tags": {"a": 1}},
                          "payload": {"hello": ["device"]}})

    def answer_present(self, request):
        request.say(200, {"iotHubHostName": HUB, "payload": "stay"})

    def answer_lies(self, request):
        request.say(200, {"iotHubHostName": "elsewhere.example.test"})

    def answer_nobody(self, request):
        request.say(200, {"payload": 1})

    def answer_garbage(self, request):
        request.say(200, b"\xff{]")

    def answer_huge(self, request):
        request.say(200, b'{"iotHubHostName":"' + b"x" * 1000000 + b'"}')

    def answer_loop(self, request):
        request.say(302, b"", Location=request.path)

    def answer_no(self, request):
        request.say(400, b"none of ours")

    def answer_forbidden(self, request):
        request.say(403, b"")

    def answer_later(self, request):
        if self.count("/later") % 2 == 1:
            request.say(503, b"")
        else:
            self.answer_good(request)

    def answer_hang(self, request):
        self.release.wait(60)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    from lib.service import Service
    made = Service(tmp_path_factory.mktemp("service"), webhook_allow="127.0.0.1, hook.example.test",
                   client_regions="127.0.1.0/24=north 127.0.2.0/24=south 127.0.2.9=north")
    made.configure(webhook_ca=made.ca_file)
    made.cli("hub", "add", OTHER_HUB, "--region", "south")
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def webhook(service):
    made = Webhook(service)
    yield made
    made.close()


def device_of(service, registration_id, *options):
    device = Device(service, registration_id, SoftTpm("ecc"), NODE)
    service.enroll(device, *options)
    return device


def outcome(device, payload=None, deadline_s=20):
    """Register; the registrationState once it is not `assigning` any more."""
    flow = device.flow()
    flow.payload = payload
    token = NODE.token(flow, device.challenge(flow))
    began = time.monotonic()
    device.authorise(flow, token)
    assert time.monotonic() - began < 2
    while True:
        body = device.ask(NODE.poll(flow, token)).json()
        if body["status"] != "assigning":
            device.close()
            return body["registrationState"]
        assert time.monotonic() - began < deadline_s, "still assigning"
        time.sleep(0.2)


# ---- custom

def test_a_webhook_chooses(service, webhook):
    device = device_of(service, "custom-good", "--webhook", webhook.url("/good?code=secret"))
    state = outcome(device, payload={"model": "m1"})
    assert (state["status"], state["assignedHub"]) == ("assigned", OTHER_HUB), state
    assert state["substatus"] == "initialAssignment"
    assert state["payload"] == {"hello": ["device"]}
    path, asked = webhook.asked[-1]
    assert path == "/good?code=secret"
    assert sorted(asked["linkedHubs"]) == [HUB, OTHER_HUB]
    assert asked["individualEnrollment"]["registrationId"] == "custom-good"
    assert asked["individualEnrollment"]["allocationPolicy"] == "custom"
    assert asked["individualEnrollment"]["attestation"]["type"] == "tpm"
    context = asked["deviceRuntimeContext"]
    assert context["registrationId"] == "custom-good"
    assert context["payload"] == {"model": "m1"}
    assert context["tpm"]["endorsementKey"] == device.ek_base64
    assert context["tpm"]["storageRootKey"]
    assert "currentIotHubHostName" not in context
    shown = service.cli("enrollment", "show", "custom-good").stdout
    assert webhook.url("/good\n") in shown and "secret" not in shown
    shown = json.loads(service.cli("enrollment", "show", "custom-good", "--json").stdout)
    assert shown["customAllocationDefinition"] == {"webhookUrl": webhook.url("/good?code=secret"),
                                                   "apiVersion": "2021-10-01"}
    # The hub has the device, and it is asked again at the next registration.
    device.register()
    assert service.accepts(device.hub_token(), OTHER_HUB)
    context = webhook.asked[-1][1]["deviceRuntimeContext"]
    assert context["currentIotHubHostName"] == OTHER_HUB
    assert context["currentDeviceId"] == "custom-good"
    assert webhook.count("/good?code=secret") == 2


def test_never_passes_the_present_hub_only(service, webhook):
    device = device_of(service, "custom-never", "--webhook", webhook.url("/present"),
                       "--reprovision", "never")
    assert outcome(device)["assignedHub"] == HUB
    assert sorted(webhook.asked[-1][1]["linkedHubs"]) == [HUB, OTHER_HUB]
    state = outcome(device)
    assert webhook.asked[-1][1]["linkedHubs"] == [HUB]
    assert (state["assignedHub"], state["payload"]) == (HUB, "stay")


@pytest.mark.parametrize("path, code", [
    ("/lies", 400208), ("/nobody", 400207), ("/garbage", 400207), ("/huge", 400207),
    ("/loop", 400207), ("/no", 400207), ("/forbidden", 400209)])
def test_bad_answers_fail_clearly(service, webhook, path, code):
    device = device_of(service, "custom-" + path.strip("/"), "--webhook", webhook.url(path))
    state = outcome(device)
    assert (state["status"], state["errorCode"]) == ("failed", code), state
    assert state["errorMessage"].startswith("Custom allocation: "), state
    assert not state.get("assignedHub")
    assert webhook.count(path) == 1  # neither tried again nor followed


def test_a_second_try(service, webhook):
    device = device_of(service, "custom-later", "--webhook", webhook.url("/later"))
    assert outcome(device)["assignedHub"] == OTHER_HUB
    assert webhook.count("/later") == 2


def test_hosts_that_are_not_listed(service):
    for name, url in (("custom-net", "https://192.0.2.1/"), ("custom-meta", "http://169.254.169.254/"),
                      ("custom-v6", "https://[::1]/")):
        state = outcome(device_of(service, name, "--webhook", url))
        assert (state["status"], state["errorCode"]) == ("failed", 400209), state


def test_a_service_without_a_list_calls_nobody(make_service, webhook):
    service = make_service("plain")
    before = len(webhook.asked)
    state = outcome(device_of(service, "custom", "--webhook", webhook.url("/good")))
    assert (state["status"], state["errorCode"]) == ("failed", 400209), state
    assert len(webhook.asked) == before


def test_nobody_waits_for_a_webhook_that_hangs(service, webhook):
    slow = [device_of(service, f"custom-hang-{n}", "--webhook", webhook.url("/hang"))
            for n in range(8)]
    states = [None] * len(slow)

    def run(n):
        states[n] = outcome(slow[n])

    began = time.monotonic()
    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(slow))]
    for thread in threads:
        thread.start()
    quick = [device_of(service, f"quick-{n}") for n in range(3)]
    while any(state is None for state in states) and time.monotonic() - began < 5:
        for device in quick:
            start = time.monotonic()
            device.register()
            assert time.monotonic() - start < 2
    for thread in threads:
        thread.join()
    assert time.monotonic() - began < 20
    for state in states:
        assert (state["status"], state["errorCode"]) == ("failed", 400207), state
    assert webhook.count("/hang") == 2 * len(slow)


def test_urls_are_checked(service):
    device = Device(service, "custom-url", SoftTpm("ecc"), NODE)
    for url in ("ftp://host/", "https://user@host/", "https:///path", "host", "https://a b/"):
        run = service.cli("enrollment", "add", "--registration-id", "custom-url", "--ek",
                          device.ek_base64, "--webhook", url, check=False)
        assert run.returncode == 64, (url, run)
    run = service.cli("enrollment", "add", "--registration-id", "custom-url", "--ek",
                      device.ek_base64, "--allocation", "custom", check=False)
    assert run.returncode == 64


# ---- geoLatency

def register_from(device, source):
    device.connect = lambda: Connection(device.service.address, device.service.ca_file,
                                        device.service.host, source=source)
    return device.register()["assignedHub"]


def test_hubs_of_the_clients_region(service):
    """south has a hub of its own; north and the rest have none, and get any."""
    names = [f"geo-{n}" for n in range(12)]
    devices = [device_of(service, name, "--allocation", "geoLatency") for name in names]
    assert {register_from(device, "127.0.2.1") for device in devices} == {OTHER_HUB}
    for source in ("127.0.1.1", "127.0.2.9", "127.0.0.1"):
        hubs = {device.registration_id: register_from(device, source) for device in devices}
        assert set(hubs.values()) == {HUB, OTHER_HUB}
    hashed = device_of(service, "geo-not", "--hub", HUB)
    assert register_from(hashed, "127.0.2.1") == HUB


def test_the_scopes_policy(make_service):
    service = make_service("regions", region="south")
    service.cli("hub", "add", OTHER_HUB)
    service.cli("hub", "set", OTHER_HUB, "--region", "south")
    assert service.cli("hub", "set", HUB, check=False).returncode == 64
    assert service.cli("hub", "set", "hub3.example.test", "--no-region", check=False).returncode
    devices = [device_of(service, f"scope-{n}") for n in range(12)]
    assert {device.register()["assignedHub"] for device in devices} == {HUB, OTHER_HUB}
    service.cli("scope", "set", service.scope, "--allocation", "geoLatency")
    assert "geoLatency" in service.cli("scope", "list").stdout
    assert {device.register()["assignedHub"] for device in devices} == {OTHER_HUB}
    service.cli("hub", "set", OTHER_HUB, "--no-region", "--no-allocation", "--weight", "7")
    assert {device.register()["assignedHub"] for device in devices} == {HUB}
