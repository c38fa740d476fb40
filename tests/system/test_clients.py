"""Every client's way of saying it, and every tolerance of device-protocol.md section 7."""
import base64
import json
import socket
import ssl
import time

import pytest

from lib import dialects, https, sas
from lib.device import Device, NotRegistered
from lib.softtpm import SoftTpm

NODE = dialects.Node()
C = dialects.C()


@pytest.fixture(scope="module")
def service(module_service):
    return module_service


@pytest.fixture(scope="module")
def tpm():
    """Making RSA keys takes time, so tests that are about something else take the cheap kind."""
    return SoftTpm("rsa")


def enrolled(service, registration_id, dialect=NODE, tpm=None):
    device = Device(service, registration_id, tpm or SoftTpm("ecc"), dialect)
    service.enroll(device)
    return device


def assert_identity(service, device):
    """What the device got is a key that the hub takes from it, for the identity it was told."""
    assert (device.hub, device.device_id) == (service.hub, device.registration_id)
    assert service.accepts(device.hub_token())
    assert not service.accepts(device.hub_token(bytes(32)))


@pytest.mark.parametrize("dialect", dialects.ALL, ids=lambda dialect: dialect.name)
def test_client_registers(service, dialect):
    """The whole flow as each client speaks it, with RSA keys as each client has them."""
    device = enrolled(service, f"whole-{dialect.name}", dialect, SoftTpm("rsa"))
    state = device.register()
    assert state["substatus"] == "initialAssignment"
    for member in ("createdDateTimeUtc", "lastUpdatedDateTimeUtc"):
        assert state[member].endswith("Z"), state
    assert state["etag"], state
    assert_identity(service, device)


@pytest.mark.parametrize("dialect", dialects.ALL, ids=lambda dialect: dialect.name)
def test_client_registers_again(service, dialect):
    """The same device; the old key is taken until the new one has been used, and never again."""
    device = enrolled(service, f"again-{dialect.name}", dialect)
    device.register()
    old = device.hub_token()
    assert service.accepts(old)
    device.register()
    assert service.accepts(old)
    assert service.accepts(device.hub_token())
    deadline = time.monotonic() + 5
    while service.accepts(old):
        assert time.monotonic() < deadline, "the old key outlives the first use of the new one"
        time.sleep(0.1)
    assert_identity(service, device)


def test_c_keeps_one_connection(service):
    """The C client dies of a closed connection: one carries challenge, register and all polls."""
    device = enrolled(service, "one-connection", C)
    flow = device.flow()
    with device.connect() as connection:
        challenge = connection.ask(C.register(flow))
        assert (challenge.status, challenge.reason) == (401, "Unauthorized")
        flow.key_name = challenge.json()["keyName"]
        assert flow.key_name == "registration"
        token = C.token(flow, device.tpm.open(
            base64.b64decode(challenge.json()["authenticationKey"])))
        accepted = connection.ask(C.register(flow, token))
        flow.operation_id = accepted.json()["operationId"]
        polls = [connection.ask(C.poll(flow, token)) for _ in range(3)]
        for answer in [challenge, accepted, *polls]:
            assert (answer.header("connection") or "keep-alive").lower() == "keep-alive", answer
        assert (accepted.status, accepted.reason) == (202, "Accepted")
        assert all(poll.json()["operationId"] == flow.operation_id for poll in polls)


def test_challenge_has_the_documented_members(service):
    """Without a status, which C would take for something else."""
    device = enrolled(service, "members")
    answer = device.ask(NODE.register(device.flow()))
    body = answer.json()
    assert set(body) == {"message", "authenticationKey", "unencryptedAuthenticationKey", "keyName"}
    assert body["unencryptedAuthenticationKey"] is None
    assert body["message"] == "Authorization required, resend request using supplied key"
    device.close()


@pytest.mark.parametrize("spelling", ["Case-ID.1:a", "CASE-ID.1:A", "case-id.1:a"])
def test_id_in_any_case(service, spelling, tpm):
    """Enrolled as Case-ID.1:a; each spelling in path and body is that device."""
    if "Case-ID" in spelling:
        service.enroll(Device(service, "Case-ID.1:a", tpm))
    for dialect in dialects.ALL:
        device = Device(service, spelling, tpm, dialect)
        device.register()
        assert device.device_id == "Case-ID.1:a"
        assert service.accepts(device.hub_token())


def test_id_percent_encoded(service):
    """C# encodes what it would not need to; an escape stands for its character everywhere."""

    class Escapes(dialects.Node):
        def path_id(self, flow):
            return "".join("%%%02x" % byte for byte in flow.registration_id.encode())

    device = enrolled(service, "esc.a_b:c-d", Escapes())
    device.register()
    assert_identity(service, device)


@pytest.mark.parametrize("version", [
    "2018-04-01", "2018-09-01-preview", "2018-11-01", "2019-03-31", "2021-06-01", "2021-10-01",
    "2025-07-01-preview", "2026-11-01", "2031-12-24"])
def test_api_versions(service, version):
    """Old, current and unknown later ones behave as one."""
    dialect = dialects.Node()
    dialect.api_version = version
    device = enrolled(service, f"version-{version}", dialect)
    device.register()
    assert_identity(service, device)


def test_forced_registration(service):
    """The query of C#'s generated client and of Node's request type."""
    dialect = dialects.Node()
    dialect.api_version += "&forceRegistration=true"
    device = enrolled(service, "forced", dialect)
    device.register()
    assert_identity(service, device)


def test_rust_polls_with_an_expired_token(service):
    """One token for all polls; it ends while the operation is young."""
    dialect = dialects.Rust()
    dialect.token_life_s = 2
    device = enrolled(service, "rust-expired", dialect)
    flow = device.flow()
    token = dialect.token(flow, device.challenge(flow))
    device.authorise(flow, token)
    time.sleep(3.1)
    device.poll(flow, token)
    assert_identity(service, device)


def test_rust_registers_on_one_connection_too(service):
    """Its second register has no tpm; that must not depend on which connection carries it."""
    dialect = dialects.Rust()
    dialect.fresh_connections = False
    device = enrolled(service, "rust-one-connection", dialect)
    device.register()
    assert_identity(service, device)


def test_rust_after_a_change_of_srk(service):
    """The register without tpm means the keys of the challenge that its token answers."""
    device = enrolled(service, "rust-cleared", dialects.Rust())
    device.register()
    device.tpm.clear()
    device.register()
    assert_identity(service, device)


@pytest.mark.parametrize("payload", [
    {"any": {"json": [1, 2.5, None, True]}}, "text \u00e9\U0001f511", 17, [], False],
    ids=lambda payload: type(payload).__name__)
def test_payload(service, payload):
    """Any JSON value, on both registers."""
    device = enrolled(service, f"payload-{type(payload).__name__}")
    flow = device.flow()
    flow.payload = payload
    token = NODE.token(flow, device.challenge(flow))
    device.authorise(flow, token)
    device.poll(flow, token)
    assert_identity(service, device)
    device.close()


def test_java_payload_is_a_string(service):
    device = enrolled(service, "payload-java", dialects.Java())
    flow = device.flow()
    flow.payload = {"model": "x"}
    token = device.dialect.token(flow, device.challenge(flow))
    device.authorise(flow, token)
    device.poll(flow, token)
    assert_identity(service, device)
    device.close()


def token_forms(key, resource):
    """Spellings of one authorisation."""
    upper, lower, expiry = sas.escape(resource), sas.escape_lower(resource), sas.in_s(600)
    whole = sas.token(key, upper, expiry, "registration")
    members = whole.split(" ", 1)[1].split("&")
    return {
        "scheme-lower": whole.replace("SharedAccessSignature", "sharedaccesssignature"),
        "scheme-upper": whole.replace("SharedAccessSignature", "SHAREDACCESSSIGNATURE"),
        "reversed": "SharedAccessSignature " + "&".join(reversed(members)),
        "no-skn": sas.token(key, upper, expiry),
        "empty-skn": sas.token(key, upper, expiry, ""),
        "raw-sr": sas.token(key, resource, expiry, "registration"),
        "lower-hex": sas.token(key, lower, expiry, "registration", sas.escape_lower),
        "mixed-hex": sas.token(key, lower, expiry, "registration"),
        "lower-sr": sas.token(key, sas.escape(resource.lower()), expiry, "registration"),
        "upper-sr": sas.token(key, sas.escape(resource.upper()), expiry, "registration"),
        "far-expiry": sas.token(key, upper, sas.in_s(86400 * 365), "registration"),
    }


@pytest.mark.parametrize("form", list(token_forms(b"", "")))
def test_token_forms(service, form):
    """Order, case and skn of a token are the client's choice."""
    device = enrolled(service, f"Token-{form}")
    flow = device.flow()
    token = token_forms(device.challenge(flow), NODE.resource(flow))[form]
    device.authorise(flow, token)
    device.poll(flow, token)
    assert_identity(service, device)
    device.close()


@pytest.mark.parametrize("change", [str.lower, str.upper], ids=["lower", "upper"])
def test_header_names_in_any_case(service, change):
    class Cased(dialects.Node):
        def headers(self, flow, token, length):
            return [(change(name), value) for name, value in super().headers(flow, token, length)]

    device = enrolled(service, f"headers-{change.__name__}", Cased())
    device.register()
    assert_identity(service, device)


def test_few_headers(service):
    """No User-Agent, no Accept, a content type without charset."""
    class Bare(dialects.Node):
        def headers(self, flow, token, length):
            return ([("Host", flow.host), ("Content-Length", str(length)),
                     ("Content-Type", "application/json")] +
                    ([("Authorization", token)] if token else []))

    device = enrolled(service, "bare", Bare())
    device.register()
    assert_identity(service, device)


def test_unknown_members_and_spelling_of_json(service):
    """Members of later versions, white space and escapes in the body."""
    class Spelled(dialects.Node):
        def put(self, flow, body, token):
            text = json.dumps(json.loads(body) | {"clientCertificateCsr": None, "x": {"y": []}},
                              indent=3).replace("/", "\\/").replace("tpm", "\\u0074pm")
            return super().put(flow, text.encode(), token)

    device = enrolled(service, "spelled", Spelled())
    device.register()
    assert_identity(service, device)


def test_repeated_register_is_the_same_operation(service):
    """A client that lost the answer asks again with the same token."""
    device = enrolled(service, "repeated")
    flow = device.flow()
    token = NODE.token(flow, device.challenge(flow))
    device.authorise(flow, token)
    first = flow.operation_id
    device.close()
    device.authorise(flow, token)
    assert flow.operation_id == first
    device.poll(flow, token)
    key = device.key
    device.poll(flow, token)
    assert device.key == key
    assert_identity(service, device)
    device.close()


def test_two_challenges_before_a_token(service):
    """A client that lost a challenge may answer either."""
    device = enrolled(service, "two-challenges")
    flow = device.flow()
    first = NODE.token(flow, device.challenge(flow))
    device.challenge(flow)
    device.authorise(flow, first)
    device.poll(flow, first)
    assert_identity(service, device)
    device.close()


def test_look_up(service):
    """POST on the registration with the token that made it: the bare state."""
    device = enrolled(service, "look-up")
    flow = device.flow()
    token = NODE.token(flow, device.challenge(flow))
    device.authorise(flow, token)
    target = f"/{flow.scope}/registrations/{flow.registration_id}?api-version=2021-06-01"
    body = dialects.compact(dialects.register_body(flow))

    def look_up(authorization):
        return device.ask(https.request(
            "POST", target, NODE.headers(flow, authorization, len(body)), body))

    answer = look_up(token)
    assert answer.status == 200, answer
    state = answer.json()
    assert state["registrationId"] == "look-up" and state["status"] == "assigned", state
    assert state["assignedHub"] == service.hub and state["deviceId"] == "look-up", state
    assert "operationId" not in state, state
    nobody = look_up(None)
    assert nobody.status == 401 and nobody.json()["errorCode"] == 401002, nobody
    device.close()


def test_tls_1_2(service):
    """The oldest version that clients still bring."""
    context = ssl.create_default_context(cafile=service.ca_file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(service.address, timeout=10) as tcp:
        with context.wrap_socket(tcp, server_hostname=service.host) as tls:
            assert tls.version() == "TLSv1.2"


def test_id_of_128_characters(service):
    device = enrolled(service, "x" * 128)
    device.register()
    assert_identity(service, device)


def test_enrolled_otherwise_is_refused(service):
    """The tolerances end here: a good flow of a device that nobody enrolled."""
    device = Device(service, "nobody", SoftTpm("ecc"), NODE)
    with pytest.raises(NotRegistered) as refused:
        device.register()
    assert refused.value.answer.status == 401
    assert refused.value.answer.json()["errorCode"] == 401002
