"""The questions of brokers that are not ours, by raw calls: who may ask, and EMQX's form."""
import base64
import json
import os
import shutil
import signal
import ssl
import subprocess
import urllib.parse
import zlib

import pytest

from lib import sas
from lib.device import Device
from lib.https import Connection
from lib.mosquitto import make_certificate
from lib.process import wait_until
from lib.service import Service, program
from lib.swtpm import free_port_pair

SECRET = "Zm9vYmFyYmF6cXV4-0123456789_abcdef.~"
CONFIG = 78


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    directory = tmp_path_factory.mktemp("service")
    (directory / "secret").write_text(SECRET)
    (directory / "secret").chmod(0o600)
    service = Service(directory / "service", broker_secret=directory / "secret")
    service.broker_address = ("127.0.0.1", free_port_pair())
    service.configure(broker_listen="%s:%d" % service.broker_address)
    service.start()
    yield service
    service.stop()


@pytest.fixture
def device(service, request):
    device = Device(service, f"auth.{zlib.crc32(request.node.name.encode()):08x}")
    service.enroll(device)
    device.register()
    return device


def ask(service, address, path, body, *headers, method="POST"):
    """(status, body) of one call over HTTPS."""
    connection = Connection(address, service.ca_file, service.host)
    try:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {service.host}", *headers]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        answer = connection.ask(("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b""))
        return answer.status, answer.body
    finally:
        connection.close()


BEARER = f"Authorization: Bearer {SECRET}"
JSON = "Content-Type: application/json"


def emqx(service, word, **members):
    status, body = ask(service, service.broker_address, f"/auth/emqx/{service.hub}/{word}",
                       json.dumps(members).encode(), BEARER, JSON)
    assert status == 200, (status, body)
    answer = json.loads(body)
    assert answer["is_superuser"] is False
    return answer


def names(service, device):
    return {"username": f"{service.hub}/{device.device_id}/?api-version=2021-04-12",
            "clientid": device.device_id}


# ---- who may ask


def basic(password):
    return "Authorization: Basic " + base64.b64encode(f"rabbitmq:{password}".encode()).decode()


@pytest.mark.parametrize("header", [
    "X-Nothing: 1", "Authorization: ", "Authorization: Bearer", "Authorization: Bearer x",
    f"Authorization: Bearer {SECRET}x", f"Authorization: Bearer {SECRET[:-1]}",
    f"Authorization: Bearer {SECRET.upper()}", f"Authorization: SharedAccessSignature {SECRET}",
    f"Authorization: {SECRET}", basic(""), basic(SECRET[1:]), f"X-Secret: {SECRET}"])
def test_strangers(service, device, header):
    """Without the secret every path, every body and every device looks alike."""
    form = urllib.parse.urlencode(dict(username=names(service, device)["username"],
                                       client_id=device.device_id,
                                       password=device.hub_token())).encode()
    answers = set()
    for path in ("/", "/metrics", "/auth/device", f"/auth/rabbitmq/{service.hub}/user",
                 "/auth/rabbitmq/other.test/user", f"/auth/emqx/{service.hub}/authn"):
        for body in (b"", form):
            status, text = ask(service, service.broker_address, path, body, header)
            answers.add((status, json.loads(text)["errorCode"]))
    assert answers == {(401, 401002)}


def test_secret_twice(service):
    """Two Authorization headers are none."""
    assert ask(service, service.broker_address, "/auth/device", b"{}", BEARER, BEARER)[0] == 401


def test_device_listener(service, device):
    """Devices' own listener has no such paths, with the secret or without."""
    form = urllib.parse.urlencode(dict(username=names(service, device)["username"],
                                       client_id=device.device_id,
                                       password=device.hub_token())).encode()
    for path in (f"/auth/rabbitmq/{service.hub}/user", "/auth/device"):
        for headers in ((), (BEARER,), (basic(SECRET),)):
            status, body = ask(service, service.address, path, form, *headers)
            assert status in (401, 404) and b"allow" not in body, (path, status, body)


def test_broker_listener_is_for_brokers(service):
    """With the secret, its paths and no others."""
    for path in ("/metrics", "/healthz", f"/{service.scope}/registrations/x/register", "/auth"):
        assert ask(service, service.broker_address, path, b"", BEARER)[0] == 404, path


def test_rabbitmq_form(service, device):
    """By POST and GET, with the secret or on the local listener."""
    fields = dict(username=names(service, device)["username"], client_id=device.device_id,
                  vhost="/", password=device.hub_token())
    path = f"/auth/rabbitmq/{service.hub}/user"
    # A '.' is in the id of these devices, which RabbitMQ cannot carry.
    form = urllib.parse.urlencode(fields)
    assert ask(service, service.broker_address, path, form.encode(), basic(SECRET)) == (200, b"deny")
    plain = Device(service, device.registration_id.replace(".", "-"))
    service.enroll(plain)
    plain.register()
    form = urllib.parse.urlencode(dict(
        fields, username=names(service, plain)["username"], client_id=plain.device_id,
        password=plain.hub_token()))
    assert ask(service, service.broker_address, path, form.encode(), basic(SECRET)) == (200, b"allow")
    assert ask(service, service.broker_address, f"{path}?{form}", None, basic(SECRET),
               method="GET") == (200, b"allow")
    assert service.admin("GET", f"{path}?{form}") == (200, b"allow")
    bad = form.replace("sig=", "sig=A").replace("sig%3D", "sig%3DA")
    assert service.admin("GET", f"{path}?{bad}") == (200, b"deny")
    assert plain.hub_token() not in service.log_text()


# ---- EMQX 5, as its documentation has the calls


def test_emqx_log_on(service, device):
    """Allowed until the token ends; everything else is a plain deny."""
    who = names(service, device)
    expiry = sas.in_s(900)
    token = sas.hub_token(device.key, device.hub, device.device_id, expiry)
    assert emqx(service, "authn", **who, password=token) == {
        "result": "allow", "is_superuser": False, "expire_at": expiry}
    deny = {"result": "deny", "is_superuser": False}
    late = sas.hub_token(device.key, device.hub, device.device_id, sas.in_s(-60))
    assert emqx(service, "authn", **who, password=late)["expire_at"] > sas.in_s(120)
    old = sas.hub_token(device.key, device.hub, device.device_id, sas.in_s(-400))
    other = sas.hub_token(b"k" * 32, device.hub, device.device_id)
    for password in (old, other, "", "undefined"):
        assert emqx(service, "authn", **who, password=password) == deny
    assert emqx(service, "authn", **dict(who, clientid="x"), password=token) == deny
    assert emqx(service, "authn", username="undefined", clientid="x", password=token) == deny
    assert emqx(service, "authn") == deny
    status, body = ask(service, service.broker_address, f"/auth/emqx/{service.hub}/authn", b"{",
                       BEARER, JSON)
    assert (status, json.loads(body)) == (200, deny)


def test_emqx_rights(service, device):
    """Each device its own topics, as long as it is not banned."""
    who = names(service, device)
    own = {"action": "publish", "topic": f"devices/{device.device_id}/messages/events/a=b",
           "qos": "1", "retain": "false"}
    assert emqx(service, "authz", **who, **own)["result"] == "allow"
    assert emqx(service, "authz", **who, action="subscribe",
                topic=f"devices/{device.device_id}/messages/devicebound/#")["result"] == "allow"
    for action, topic in (("publish", "devices/other/messages/events/"), ("subscribe", "#"),
                          ("subscribe", "devices/+/messages/devicebound/#"),
                          ("subscribe", "devices/other/messages/devicebound/#"),
                          ("subscribe", "$iothub/twin/res/#"), ("publish", "$SYS/x"),
                          ("publish", "$iothub/twin/GET/?$rid=1")):
        assert emqx(service, "authz", **who, action=action, topic=topic)["result"] == "deny", topic
    service.cli("hub", "device", "disable", service.hub, device.device_id)
    assert emqx(service, "authz", **who, **own)["result"] == "deny"
    assert emqx(service, "authn", **who, password=device.hub_token())["result"] == "deny"


# ---- configuration


def test_reload(tmp_path):
    """A new certificate is on this listener too, and the stop waits for nobody."""
    (tmp_path / "secret").write_text(SECRET)
    service = Service(tmp_path / "service", broker_secret=tmp_path / "secret")
    address = ("127.0.0.1", free_port_pair())
    service.configure(broker_listen="%s:%d" % address)
    service.start()
    try:
        (tmp_path / "fresh").mkdir()
        make_certificate(tmp_path / "fresh", service.host)
        for name in ("server.pem", "server.key"):
            shutil.copy(tmp_path / "fresh" / name, os.path.join(service.data, "tls", name))
        os.kill(service.process.pid, signal.SIGHUP)

        def renewed():
            try:
                Connection(address, tmp_path / "fresh/ca.pem", service.host).close()
                return True
            except ssl.SSLCertVerificationError:
                return False
        wait_until(renewed, "the new certificate")
        held = Connection(address, tmp_path / "fresh/ca.pem", service.host)
    finally:
        service.stop()
    held.close()


@pytest.mark.parametrize("secret,words", [
    (None, "expected a file"), ("", "32 to 256"), ("x" * 31, "32 to 256"), ("x" * 257, "32 to 256"),
    ("x" * 31 + "/", "32 to 256"), (SECRET + "\n\n", "32 to 256")])
def test_bad_secrets(tmp_path, secret, words):
    """A broker-listen without a good secret: the check and the start say so."""
    service = Service(tmp_path / "service", broker_listen="127.0.0.1:0")
    if secret is not None:
        (tmp_path / "secret").write_text(secret)
        service.configure(broker_secret=tmp_path / "secret")
    for more in ("--check-config",), ():
        run = subprocess.run([program("latchkeyd"), *more, "--config", service.config_path],
                             capture_output=True, text=True, timeout=60)
        assert run.returncode == CONFIG, (more, run)
        assert "broker-secret" in run.stderr and words in run.stderr, run.stderr
