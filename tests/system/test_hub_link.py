"""Hubs elsewhere: the calls in order, and what becomes of a device when its hub misbehaves."""
import base64
import json
import os
import socket
import struct
import time

import pytest

from lib import dialects, sas
from lib.device import Device
from lib.elsewhere import Elsewhere
from lib.https import Connection, request
from lib.hubdouble import Hub
from lib.process import wait_until
from lib.service import Service
from lib.softtpm import SoftTpm

NODE = dialects.Node()
WEST, EAST = "west.example.test", "east.example.test"
CALL_MS = 1500
SLOW_S = 90  # nothing here is about speed


def hub_add(service, hub, directory, *options, command="add"):
    string = os.path.join(str(directory), hub.name + ".connection")
    with open(string, "w", encoding="utf-8") as file:
        file.write(hub.connection_string + "\n")
    return service.cli("hub", command, hub.name, "--connection-string", string, "--ca-file",
                       hub.ca_file, *options)


@pytest.fixture(scope="module")
def hubs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("hubs")
    made = {name: Hub(directory, name).start() for name in (WEST, EAST)}
    yield made
    for hub in made.values():
        hub.stop()


@pytest.fixture(scope="module")
def service(tmp_path_factory, hubs):
    directory = tmp_path_factory.mktemp("service")
    made = Service(directory, hub_call_ms=CALL_MS, hub_deadline_s=600, workers=2)
    for hub in hubs.values():
        hub_add(made, hub, directory, "--no-allocation")
    made.start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def fresh(hubs):
    """Both hubs are well before and after each test, and the breakers closed soon after."""
    for hub in hubs.values():
        hub.fault = None
        hub.released.clear()
        hub.taken()
    yield
    for hub in hubs.values():
        hub.fault = None
        hub.released.set()
        if hub.server is None:
            hub.start()


class Registration:
    """A device under way: registered, and polled by hand."""

    def __init__(self, service, registration_id, hub, twin=None, *more):
        self.service = service
        self.device = Device(service, registration_id, SoftTpm("ecc"), NODE)
        options = ["--allocation", "static", "--hub", hub]
        if twin is not None:
            options += ["--initial-twin", os.path.join(service.directory, "twin.json")]
            with open(options[-1], "w", encoding="utf-8") as file:
                json.dump(twin, file)
        service.enroll(self.device, *options, *more)
        self.flow = self.token = None

    def begin(self):
        """Both legs; within a time that no hub has a part in."""
        self.flow = self.device.flow()
        self.token = NODE.token(self.flow, self.device.challenge(self.flow))
        self.device.authorise(self.flow, self.token)
        return self

    def status(self):
        answer = self.device.ask(NODE.poll(self.flow, self.token))
        body = answer.json()
        if body["status"] == "assigning":
            assert answer.header("retry-after"), answer
        return body["status"]

    def end(self, deadline_s=SLOW_S):
        """The state once it is assigned; the key is in self.device.key."""
        state = self.device.poll(self.flow, self.token, deadline_s)
        self.device.close()
        return state

    def failure(self):
        def failed():
            body = self.device.ask(NODE.poll(self.flow, self.token)).json()
            assert body["status"] in ("assigning", "failed"), body
            return body["registrationState"] if body["status"] == "failed" else None
        state = wait_until(failed, "the registration fails", SLOW_S, every_s=0.5)
        self.device.close()
        return state

    def run(self):
        return self.begin().end()

    def move(self, hub):
        self.service.cli("enrollment", "set", self.device.registration_id, "--hub", hub)


def settled(service):
    """Nothing is left to be done at any hub."""
    wait_until(lambda: all(json.loads(service.cli("hub", "show", name, "--json").stdout)["errands"]
                           == 0 for name in (WEST, EAST)), "no errand is left", SLOW_S, every_s=0.5)


def metric(service, line):
    text = service.admin("GET", "/metrics")[1].decode()
    found = [row for row in text.splitlines() if row.startswith(line + " ")]
    return int(found[0].split(" ")[1]) if found else None


# ---- the calls, in order

def test_first_and_again(service, hubs):
    west = hubs[WEST]
    r = Registration(service, "order-1", WEST,
                     {"tags": {"site": "a"}, "properties": {"desired": {"n": 1}}})
    state = r.run()
    assert (state["assignedHub"], state["substatus"]) == (WEST, "initialAssignment")
    assert west.taken() == ["POST /devices"]
    first = r.device.key
    assert west.keys("order-1")[0] == first
    assert west.twins["order-1"] == {"tags": {"site": "a"}, "desired": {"n": 1}}
    assert west.devices["order-1"]["authentication"]["type"] == "sas"

    state = r.run()
    assert (state["assignedHub"], state["substatus"]) == (WEST, "reprovisionedToInitialAssignment")
    assert west.taken() == ["GET /devices/order-1", "PUT /devices/order-1"]
    assert west.keys("order-1") == (r.device.key, first)  # the old key stays for a while
    assert r.device.key != first
    assert west.twins["order-1"]["tags"] == {"site": "a"}

    del west.devices["order-1"], west.twins["order-1"]
    assert r.run()["substatus"] == "initialAssignment"
    assert west.taken() == ["GET /devices/order-1", "POST /devices"]
    assert west.keys("order-1")[0] == r.device.key


def test_old_key_dies_with_a_cleared_tpm(service, hubs):
    west = hubs[WEST]
    r = Registration(service, "order-clear", WEST)
    r.run()
    before = r.device.key
    r.device.tpm.clear()
    r.run()
    assert west.keys("order-clear")[0] == r.device.key
    assert before not in west.keys("order-clear")


def test_moves(service, hubs):
    west, east = hubs[WEST], hubs[EAST]
    r = Registration(service, "move-1", WEST, {"tags": {"site": "a"}})
    r.run()
    west.twins["move-1"]["desired"]["grown"] = [1, {"x": 2}]
    west.devices["move-1"]["capabilities"] = {"iotEdge": True}
    settled(service)
    west.taken()
    order = []
    for hub in (west, east):
        hub.fault = lambda hub, request, method, path: order.append((hub.name, method, path))
    r.move(EAST)
    state = r.run()
    assert (state["assignedHub"], state["substatus"]) == (EAST, "deviceDataMigrated")
    settled(service)
    assert order == [(WEST, "GET", "/devices/move-1"), (WEST, "GET", "/twins/move-1"),
                     (EAST, "POST", "/devices"), (WEST, "DELETE", "/devices/move-1")]
    assert "move-1" not in west.devices
    assert east.twins["move-1"] == {"tags": {"site": "a"}, "desired": {"grown": [1, {"x": 2}]}}
    assert east.devices["move-1"]["capabilities"] == {"iotEdge": True}
    assert east.keys("move-1")[0] == r.device.key

    # With a reset: the initial twin, and the old identity is read only for its etag.
    service.cli("enrollment", "set", "move-1", "--reprovision", "reset")
    order.clear()
    r.move(WEST)
    assert r.run()["substatus"] == "deviceDataReset"
    settled(service)
    assert order == [(WEST, "POST", "/devices"), (EAST, "GET", "/devices/move-1"),
                     (EAST, "DELETE", "/devices/move-1")]
    assert west.twins["move-1"] == {"tags": {"site": "a"}, "desired": {}}

    # To the hub of our own, and away from it again.
    order.clear()
    r.move(service.hub)
    assert r.run()["assignedHub"] == service.hub
    settled(service)
    assert order == [(WEST, "GET", "/devices/move-1"), (WEST, "DELETE", "/devices/move-1")]
    assert service.accepts(r.device.hub_token())
    order.clear()
    r.move(EAST)
    assert r.run()["assignedHub"] == EAST
    settled(service)
    assert order == [(EAST, "POST", "/devices")]
    assert not service.accepts(r.device.hub_token(), service.hub)


def test_a_shared_key_device_is_left_alone(service, hubs, tmp_path):
    west = hubs[WEST]
    primary, secondary = b"p" * 32, b"s" * 32
    for name, key in (("primary", primary), ("secondary", secondary)):
        (tmp_path / name).write_bytes(base64.b64encode(key))
    service.cli("enrollment", "add", "--registration-id", "member-1", "--symmetric-key",
                "--primary-key-file", tmp_path / "primary", "--secondary-key-file",
                tmp_path / "secondary", "--allocation", "static", "--hub", WEST)
    device = Member(service, "member-1", primary)
    assert device.run()["substatus"] == "initialAssignment"
    assert west.taken() == ["POST /devices"]
    assert west.keys("member-1") == (primary, secondary)
    assert device.run()["substatus"] == "reprovisionedToInitialAssignment"
    assert west.taken() == ["GET /devices/member-1"]


def test_the_id_of_another(service, hubs):
    """An enrollment that names another's device ID gets nothing, and the hub is not asked."""
    west = hubs[WEST]
    owner = Registration(service, "owned-1", WEST)
    owner.run()
    west.taken()
    thief = Registration(service, "thief-1", WEST, None, "--device-id", "owned-1").begin()
    assert thief.failure()["errorCode"] == 400209
    assert west.taken() == [] and west.keys("owned-1")[0] == owner.device.key
    told = [line for line in service.log() if line["event"] == "registration.device_id_taken"]
    assert told[-1]["owner_registration_id"] == "owned-1", told


# ---- a hub that fails

def test_dead_then_alive(service, hubs):
    """The device is answered at once and told assigning, until the hub is back."""
    west = hubs[WEST]
    west.stop()
    r = Registration(service, "dead-1", WEST).begin()
    again = Registration(service, "dead-2", WEST).begin()
    time.sleep(3)
    assert r.status() == "assigning"
    west.start()
    for one in (r, again):
        assert one.end()["assignedHub"] == WEST
        assert west.keys(one.device.registration_id)[0] == one.device.key


def test_one_dead_the_other_unaffected(service, hubs):
    """A hub that takes every call and answers none holds up nobody else, not even in numbers."""
    west = hubs[WEST]

    def hang(hub, request, method, path):
        hub.released.wait(60)
        return False
    west.fault = hang
    waiting = [Registration(service, f"hang-{i}", WEST).begin() for i in range(20)]
    for i in range(5):
        assert Registration(service, f"fine-{i}", EAST).run()["assignedHub"] == EAST
    assert Registration(service, "fine-own", service.hub).run()["assignedHub"] == service.hub
    assert all(one.status() == "assigning" for one in waiting[:3])
    west.fault = None
    west.released.set()
    for one in waiting:
        assert one.end()["assignedHub"] == WEST
        assert west.keys(one.device.registration_id)[0] == one.device.key


def test_breaker_opens_and_closes(service, hubs):
    """After failures in a row the hub is called by one errand at a time; a success ends that."""
    west = hubs[WEST]
    state = 'latchkey_hub_breaker_state{hub="%s"}' % WEST
    opened = 'latchkey_hub_breaker_opened_total{hub="%s"}' % WEST
    before = metric(service, opened) or 0
    west.fault = lambda hub, request, *_: hub.refuse(request, 500, "ServerError") or True
    waiting = [Registration(service, f"breaker-{i}", WEST).begin() for i in range(8)]
    wait_until(lambda: metric(service, opened) == before + 1, "the breaker opens", SLOW_S)
    assert metric(service, state) in (1, 2)
    wait_until(lambda: any(line["event"] == "hub.not_called" and line["hub"] == WEST
                           for line in service.log()), "the log says so", SLOW_S)
    west.fault = None
    for one in waiting:
        one.end()
    assert metric(service, state) == 0
    assert metric(service, 'latchkey_hub_calls_total{hub="%s",result="faulty"}' % WEST) >= 5
    assert any(line["event"] == "hub.recovered" for line in service.log())


def once(answer):
    """A fault that strikes the first call only; answer(hub, request) answers it."""
    struck = []

    def fault(hub, request, method, path):
        if struck:
            return False
        struck.append(1)
        answer(hub, request)
        return True
    return fault


def half(hub, request):
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"isSucc")
    request.close_connection = True


def garbage(hub, request):
    request.wfile.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    request.close_connection = True


def reset(hub, request):
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.close_connection = True
    request.connection.close()


def huge(hub, request):
    request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n")
    try:
        for _ in range(1000):
            request.wfile.write(b" " * 90000)
    except OSError:
        pass
    request.close_connection = True


def slow(hub, request):
    try:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(200):
            request.wfile.write(b" ")
            request.wfile.flush()
            time.sleep(0.1)
    except OSError:
        pass
    request.close_connection = True


FAULTS = {
    "half": half, "garbage": garbage, "reset": reset, "huge": huge, "slow": slow,
    "no json": lambda hub, request: hub.say(request, 200, b"\xff{]"),
    "no result": lambda hub, request: hub.say(request, 200, {"hello": "world"}),
    "failed without a reason": lambda hub, request: hub.say(
        request, 200, {"isSuccessful": False, "errors": []}),
    "redirect": lambda hub, request: hub.say(request, 302, b"", Location="/devices"),
    "a web server's 404": lambda hub, request: hub.say(request, 404, b"<html>not here</html>"),
    "throttled": lambda hub, request: hub.refuse(request, 429, "ThrottlingException",
                                                 Retry_After="1"),
    "throttled in the result": lambda hub, request: hub.say(
        request, 400, {"isSuccessful": False, "errors": [
            {"deviceId": "x", "errorCode": "ThrottlingException", "errorStatus": "429"}]}),
    "down": lambda hub, request: hub.refuse(request, 503, "ServiceUnavailable", Retry_After="1"),
    "down until a date": lambda hub, request: hub.refuse(
        request, 503, "ServiceUnavailable", Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"),
    "deep": lambda hub, request: hub.say(request, 200, b"[" * 100000),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_got_over(service, hubs, fault):
    west = hubs[WEST]
    west.fault = once(FAULTS[fault])
    r = Registration(service, "fault-" + fault.replace(" ", "-").replace("'", ""), WEST)
    assert r.run()["assignedHub"] == WEST
    assert west.taken().count("POST /devices") >= 2
    assert west.keys(r.device.registration_id)[0] == r.device.key


def test_done_but_not_answered(service, hubs):
    """The hub carries the create out and the answer is lost: found, recognised, not made twice."""
    west = hubs[WEST]
    done = []

    original = west.say

    def say(request, status, body=None, **headers):
        if not done and request.command == "POST" and status == 200:
            done.append(1)
            request.close_connection = True
            return
        original(request, status, body, **headers)
    west.say = say
    try:
        r = Registration(service, "lost-1", WEST)
        assert r.run()["substatus"] == "initialAssignment"
    finally:
        west.say = original
    assert done
    assert west.taken() == ["POST /devices", "POST /devices", "GET /devices/lost-1"]
    assert west.keys("lost-1")[0] == r.device.key


def test_changed_between_read_and_update(service, hubs):
    """412: read again, and no key is written over what somebody else wrote meanwhile."""
    west = hubs[WEST]
    r = Registration(service, "raced-1", WEST)
    r.run()
    west.taken()
    raced = []

    def fault(hub, request, method, path):
        if method == "PUT" and not raced:
            raced.append(1)
            hub.devices["raced-1"]["etag"] = "another"
        return False
    west.fault = fault
    r.run()
    assert west.taken() == ["GET /devices/raced-1", "PUT /devices/raced-1", "GET /devices/raced-1",
                            "PUT /devices/raced-1"]
    assert west.keys("raced-1")[0] == r.device.key


LIES = {
    "another device": lambda device: dict(device, deviceId="somebody-else"),
    "another key": lambda device: dict(device, authentication={
        "type": "sas", "symmetricKey": {"primaryKey": base64.b64encode(b"x" * 32).decode(),
                                        "secondaryKey": ""}}),
    "no etag": lambda device: {name: device[name] for name in device if name != "etag"},
    "an etag that is a header": lambda device: dict(device, etag="e\r\nX-Evil: 1"),
    "a key of a megabyte": lambda device: dict(device, authentication={
        "symmetricKey": {"primaryKey": "A" * 100000}}),
    "a list": lambda device: [device],
}


@pytest.mark.parametrize("lie", LIES)
def test_lies(service, hubs, lie):
    """What a hub says is judged: the device is not told that it is assigned on the ground of it."""
    west = hubs[WEST]
    r = Registration(service, "lie-" + lie.replace(" ", "-"), WEST)
    r.run()
    device_id = r.device.registration_id

    def fault(hub, request, method, path):
        if method == ("PUT" if lie == "another key" else "GET"):
            hub.say(request, 200, LIES[lie](hub.devices[device_id]))
            return True
        return False
    west.fault = fault
    r.begin()
    wait_until(lambda: len(west.calls) >= 4, "it is tried again", SLOW_S)
    assert r.status() == "assigning"
    west.fault = None
    r.end()
    assert west.keys(device_id)[0] == r.device.key


def test_never_before_the_hub_has_the_key(service, hubs):
    """While the hub has not taken the key, no poll shows assigned; also after it was taken."""
    west = hubs[WEST]
    entered = []

    def hold(hub, request, method, path):
        if method == "POST":
            entered.append(1)
            hub.released.wait(0.7)
        return False
    west.fault = hold
    r = Registration(service, "order-key", WEST).begin()
    wait_until(lambda: entered, "the hub is called", SLOW_S)
    while "order-key" not in west.devices:
        assert r.status() == "assigning" or "order-key" in west.devices
    r.end()
    assert west.keys("order-key")[0] == r.device.key


# ---- the operator's part

@pytest.fixture()
def impatient(tmp_path, hubs):
    made = Service(tmp_path / "impatient", hub_call_ms=CALL_MS, hub_deadline_s=8, workers=1)
    for hub in hubs.values():
        hub_add(made, hub, tmp_path, "--no-allocation")
    made.start()
    yield made
    made.stop()


def test_refused_is_the_operators(impatient, hubs, tmp_path):
    """401: assigning, an error in the log, a metric; failed with a code after the deadline; and well
    again once the operator has brought the new key."""
    west = hubs[WEST]
    west.key, old = b"n" * 32, west.key
    try:
        r = Registration(impatient, "refused-1", WEST).begin()
        assert r.status() == "assigning"
        state = r.failure()
        assert state["errorCode"] == 400209, state
        wait_until(lambda: any(line["event"] == "hub.assignment_given_up"
                               and line["error"] == "refused" for line in impatient.log()),
                   "the log says so", SLOW_S)
        assert metric(impatient, 'latchkey_hub_calls_total{hub="%s",result="refused"}' % WEST) >= 1
        failed = impatient.cli("hub", "test", WEST, check=False)
        assert failed.returncode != 0 and "credential" in failed.stderr, failed
        text = impatient.log_text() + failed.stderr
        assert base64.b64encode(west.key).decode() not in text and base64.b64encode(old).decode() not in text
        hub_add(impatient, west, tmp_path, command="set")
        assert "accepts" in impatient.cli("hub", "test", WEST).stdout
        assert r.run()["assignedHub"] == WEST
    finally:
        west.key = old


def test_dead_fails_at_the_deadline(impatient, hubs):
    hubs[WEST].stop()
    r = Registration(impatient, "given-up", WEST).begin()
    state = r.failure()
    assert state["errorCode"] == 503001, state
    hubs[WEST].start()
    assert r.run()["assignedHub"] == WEST


def test_what_the_hub_never_takes(service, hubs):
    hubs[WEST].fault = once(lambda hub, request: hub.say(request, 400, {
        "isSuccessful": False, "errors": [{"deviceId": "x", "errorCode": "ArgumentInvalid"}]}))
    state = Registration(service, "unfit-1", WEST).begin().failure()
    assert state["errorCode"] == 400209 and "ArgumentInvalid" in state["errorMessage"], state


def test_hub_test_explains(service, hubs, tmp_path):
    west = hubs[WEST]
    done = service.cli("hub", "test", WEST)
    told = json.loads(service.cli("hub", "test", WEST, "--json").stdout)
    assert told["accepted"] is True and told["hub"] == WEST and "devices" in told
    assert "accepts this service" in done.stdout
    west.stop()
    failed = service.cli("hub", "test", WEST, check=False)
    assert failed.returncode == 68 and "not reached" in failed.stderr, failed
    west.start()
    wrong = Service(tmp_path / "wrong")
    string = tmp_path / "string"
    string.write_text(west.connection_string)
    wrong.cli("hub", "add", WEST, "--connection-string", string)  # without the authority
    failed = wrong.cli("hub", "test", WEST, check=False)
    told = wrong.cli("hub", "test", WEST, "--json", check=False)
    assert told.returncode == failed.returncode != 0
    assert json.loads(told.stdout)["accepted"] is False and json.loads(told.stdout)["error"]
    assert failed.returncode == 76 and "certificate was not accepted" in failed.stderr, failed
    wrong.configure(hub_ca_file=west.ca_file)
    assert "accepts" in wrong.cli("hub", "test", WEST).stdout
    failed = wrong.cli("hub", "test", wrong.hub, check=False)
    assert "embedded" in failed.stderr


def test_the_string_is_secret(service, hubs, tmp_path):
    west = hubs[WEST]
    secret = base64.b64encode(west.key).decode()
    for words in (("show", WEST), ("show", WEST, "--json"), ("list",), ("list", "--json")):
        text = service.cli("hub", *words).stdout
        assert secret not in text and "SharedAccessKey=" not in text
    shown = json.loads(service.cli("hub", "show", WEST, "--json").stdout)
    assert (shown["kind"], shown["policy"], shown["ownAuthorities"]) == ("http", "owner", True)
    with open(service.data + "/latchkey.db", "rb") as file:
        stored = file.read()
    assert secret.encode() not in stored and west.key not in stored
    assert secret not in service.log_text()
    assert secret not in service.cli("audit", "list", "--json", check=False).stdout

    refused = service.cli("hub", "add", "new.example.test", "--connection-string",
                          west.connection_string, check=False)
    assert refused.returncode == 64 and secret not in refused.stderr, refused
    bad = tmp_path / "bad"
    for text, word in [("", "is missing"), ("HostName=a.test", "is missing"),
                       ("x=y", "expected HostName="), ("a" * 2000, "at most 1024 bytes"),
                       (west.connection_string, "another hub"),
                       ("HostName=new.example.test;DeviceId=d;SharedAccessKey=QUFB", "device"),
                       ("HostName=new.example.test;SharedAccessKeyName=p;SharedAccessKey=???",
                        "base64")]:
        bad.write_text(text)
        refused = service.cli("hub", "add", "new.example.test", "--connection-string", bad,
                              check=False)
        assert refused.returncode != 0 and word in refused.stderr, (text, refused)
        assert secret not in refused.stderr


# ---- linked over the network

def gateway(hub, address):
    """The hub, as one whose connection string says that it is at address."""
    class At:
        name, ca_file = hub.name, hub.ca_file
        connection_string = hub.connection_string.replace("127.0.0.1:", address + ":")
    return At


def test_linked_over_the_network(make_service, hubs, tmp_path):
    """A hub that an operator links through the API is called where hub-allow lists its address, and
    nowhere else, whatever its string says; one that was linked on the machine, anywhere. The string
    is told by nothing."""
    west, east = hubs[WEST], hubs[EAST]
    made = make_service("network", hub_call_ms=CALL_MS, hub_deadline_s=600, hub_allow="127.0.0.1",
                        workers=1)
    remote = Elsewhere(made)
    hub_add(remote, west, tmp_path, "--weight", "7", "--no-allocation")
    hub_add(remote, gateway(east, "127.0.0.2"), tmp_path, "--no-allocation")
    assert Registration(made, "far-1", WEST).run()["assignedHub"] == WEST
    probe = made.cli("hub", "test", EAST, check=False)
    assert probe.returncode == 77 and "allow-list" in probe.stderr, probe
    east.taken()
    r = Registration(made, "far-2", EAST).begin()
    wait_until(lambda: "not on the allow-list" in made.log_text(), "the address is refused", SLOW_S)
    assert r.status() == "assigning" and east.taken() == []
    hub_add(remote, east, tmp_path, command="set")
    assert r.end()["assignedHub"] == EAST and "POST /devices" in east.taken()
    for side, code in ((made, 68), (remote, 77)):  # nobody listens there: tried, and not tried
        hub_add(side, gateway(west, "127.0.0.2"), tmp_path, command="set")
        assert made.cli("hub", "test", WEST, check=False).returncode == code
    told = "".join([remote.cli("hub", "list", "--json").stdout, made.log_text(),
                    remote.cli("audit", "list", "--json").stdout])
    for text in (base64.b64encode(west.key).decode(), "SharedAccessKey", "127.0.0.2"):
        assert text not in told


def test_not_linked_over_the_network_by_default(make_service, hubs, tmp_path):
    """Without a list no hub elsewhere can be linked so; a bad string is not quoted."""
    west = hubs[WEST]
    remote = Elsewhere(make_service("closed"))
    run = remote.cli("hub", "add", WEST, "--connection-string", "-", check=False,
                     input=west.connection_string)
    assert run.returncode == 65 and "hub-allow" in run.stderr and not run.stdout
    for text, word in (("x=y", "expected HostName="), (west.connection_string + ";DeviceId=d", "device's")):
        run = remote.cli("hub", "add", WEST, "--connection-string", "-", check=False, input=text)
        assert run.returncode == 65 and word in run.stderr, run
        assert base64.b64encode(west.key).decode() not in run.stderr
    assert len(remote.cli("hub", "list", "--json").stdout.splitlines()) == 1


# ---- processes that die

def test_killed_between_call_and_commit(tmp_path, hubs):
    """kill -9 after the hub has the key and before the registration says so: taken up again."""
    west = hubs[WEST]
    made = Service(tmp_path / "killed", hub_call_ms=CALL_MS, workers=1)
    hub_add(made, west, tmp_path)
    made.start()
    r = Registration(made, "killed-1", WEST)
    original = west.say

    def say(request, status, body=None, **headers):
        if request.command == "POST" and status == 200 and made.process is not None:
            made.kill9()
            made.process = None
        original(request, status, body, **headers)
    west.say = say
    try:
        r.begin()
        wait_until(lambda: made.process is None, "the service is killed", SLOW_S)
    finally:
        west.say = original
    r.device.close()
    assert "killed-1" in west.devices
    west.taken()
    made.start()
    assert r.status() == "assigning"  # nothing was lost, nothing was told
    r.end()
    assert west.keys("killed-1")[0] == r.device.key
    assert west.taken() == ["POST /devices", "GET /devices/killed-1"]

    # And again in the middle of an update.
    killed = []

    def fault(hub, request, method, path):
        if method == "PUT" and not killed:
            killed.append(1)
            made.kill9()
            made.process = None
        return False
    west.fault = fault
    before = r.device.key
    r.begin()
    wait_until(lambda: killed, "the service is killed", SLOW_S)
    r.device.close()
    west.fault = None
    made.start()
    r.end()
    assert west.keys("killed-1") == (r.device.key, before)
    made.stop()


def test_killed_with_a_dead_hub(tmp_path, hubs):
    """The hub is dead, the service is killed, both come back: every device has its hub."""
    west = hubs[WEST]
    made = Service(tmp_path / "both", hub_call_ms=CALL_MS, workers=2)
    hub_add(made, west, tmp_path)
    made.start()
    west.stop()
    waiting = [Registration(made, f"both-{i}", WEST).begin() for i in range(6)]
    for one in waiting:
        one.device.close()
    made.kill9()
    west.start()
    made.start()
    for one in waiting:
        assert one.end()["assignedHub"] == WEST
        assert west.keys(one.device.registration_id)[0] == one.device.key
    made.stop()


def test_stop_while_a_hub_hangs(tmp_path, hubs):
    """SIGTERM ends within its time although a hub does not answer; the next start goes on."""
    west = hubs[WEST]
    made = Service(tmp_path / "stop", hub_call_ms=CALL_MS, workers=1)
    hub_add(made, west, tmp_path)
    made.start()

    def hang(hub, request, method, path):
        hub.released.wait(60)
        return False
    west.fault = hang
    r = Registration(made, "stop-1", WEST).begin()
    wait_until(lambda: west.calls, "the hub is called", SLOW_S)
    r.device.close()
    made.stop()
    west.fault = None
    west.released.set()
    made.start()
    r.end()
    assert west.keys("stop-1")[0] == r.device.key
    made.stop()


class Member:
    """A device with a shared key."""

    def __init__(self, service, registration_id, key):
        self.service, self.id, self.key = service, registration_id, key
        self.runs = 0

    def run(self):
        self.runs += 1  # another token each time: the same one again is the same request
        path = f"/{self.service.scope}/registrations/{self.id}"
        sr = sas.escape(path[1:])
        headers = [("Host", self.service.host), ("Content-Type", "application/json"),
                   ("Authorization", sas.token(self.key, sr, sas.in_s(3600 + self.runs), "registration"))]
        body = json.dumps({"registrationId": self.id}).encode()
        with Connection(self.service.address, self.service.ca_file, self.service.host) as c:
            answer = c.ask(request("PUT", path + "/register?api-version=2021-06-01",
                                   headers + [("Content-Length", str(len(body)))], body))
            assert answer.status == 202, answer
            operation = answer.json()["operationId"]

            def assigned():
                body = c.ask(request("GET", f"{path}/operations/{operation}?api-version=2021-06-01",
                                     headers)).json()
                assert body["status"] in ("assigning", "assigned"), body
                return body["registrationState"] if body["status"] == "assigned" else None
            return wait_until(assigned, "it is assigned", SLOW_S, every_s=0.2)
