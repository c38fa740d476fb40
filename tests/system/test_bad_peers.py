"""Bad peers: what they send is refused for its own reason, harms nobody and tells them nothing.

Each test runs against the release build and the sanitizer build. After each, the service still
runs, no sanitizer has spoken and an honest device registers.
"""
import base64
import contextlib
import json
import os
import resource
import socket
import ssl
import statistics
import time

import pytest

from conftest import HERE
from lib import dialects, https, sas, softtpm
from lib.device import Device
from lib.service import ROOT, Service
from lib.softtpm import SoftTpm
from lib.stranger import NODE, Stranger, bystander, shape

ASAN_BUILD = os.environ.get("LK_ASAN_BUILD", os.path.join(ROOT, "build-asan"))
VERSION = "?api-version=2021-06-01"


@pytest.fixture(scope="module", params=["release", "sanitizers"])
def service(request, tmp_path_factory):
    build = ASAN_BUILD if request.param == "sanitizers" else None
    service = Service(tmp_path_factory.mktemp(request.param), build=build)
    service.start()
    yield service
    service.cli("audit", "verify")
    service.stop()


@pytest.fixture(scope="module")
def victim(service):
    return bystander(service, "the-victim", SoftTpm("rsa"))


@pytest.fixture(scope="module")
def honest(service):
    """Enrolled; registers after each test."""
    device = Device(service, "honest", SoftTpm("ecc"), NODE)
    service.enroll(device)
    return device


@pytest.fixture
def stranger(service, victim, honest):
    yield Stranger(service, victim)
    assert service.process.running(), service.log_text()[-4000:]
    service.sanitizers_silent()
    for line in service.log_text().splitlines():
        json.loads(line)  # what a peer wrote has broken no line
    for secret in (base64.b64encode(victim.key).decode(), victim.last_token, "sig="):
        assert secret not in service.log_text()
    honest.register()
    assert service.accepts(honest.hub_token())
    assert service.accepts(victim.hub_token())


@pytest.fixture(scope="module")
def spare():
    """Keys that are nobody's."""
    return SoftTpm("ecc")


_count = 0


def enrolled(service, **kwargs):
    """A fresh device with an enrollment."""
    global _count
    _count += 1
    device = Device(service, f"bad-{_count}", SoftTpm("ecc"), NODE, **kwargs)
    service.enroll(device)
    return device


def challenged(device):
    """(flow, nonce key) of a device that has its challenge."""
    flow = device.flow()
    key = device.challenge(flow)
    device.close()
    return flow, key


# ---- who is not admitted --------------------------------------------------------------------------


def unadmitted(service, victim, spare):
    """name -> (flow, token, reason): every way of not being admitted."""
    cases = {}

    def case(name, reason, tpm=spare, registration_id="nobody-knows-it", token=None, **changes):
        flow = Device(service, registration_id, tpm, NODE).flow()
        for member, value in changes.items():
            setattr(flow, member, value)
        cases[name] = (flow, token, reason)
        return flow

    disabled = enrolled(service)
    service.cli("enrollment", "disable", disabled.registration_id)
    expired = enrolled(service)
    flow, key = challenged(expired)
    past = sas.token(key, sas.escape(NODE.resource(flow)), sas.in_s(-2), "registration")
    foreign = enrolled(service)
    foreign_flow, foreign_key = challenged(foreign)

    case("unknown scope", "scope.unknown", scope="0ne0000BAD0")
    case("unknown registration", "enrollment.unknown")
    case("another EK", "enrollment.ek_mismatch", registration_id=victim.registration_id)
    case("EK of another enrollment", "enrollment.unknown", tpm=victim.tpm)
    case("disabled", "enrollment.disabled", tpm=disabled.tpm,
         registration_id=disabled.registration_id)
    case("expired token", "token.expired", tpm=expired.tpm,
         registration_id=expired.registration_id, token=past)
    case("token of another registration", "token.resource", tpm=victim.tpm,
         registration_id=victim.registration_id, token=NODE.token(foreign_flow, foreign_key))
    victims = case("token signed with another key", "token.signature", tpm=victim.tpm,
                   registration_id=victim.registration_id)
    cases["token signed with another key"] = (
        victims, NODE.token(victims, foreign_key), "token.signature")
    nobodys = case("token for an unknown registration", "enrollment.unknown", tpm=victim.tpm)
    cases["token for an unknown registration"] = (
        nobodys, NODE.token(nobodys, foreign_key), "enrollment.unknown")
    return cases


def test_refusals_have_one_shape(stranger, service, victim, spare):
    """Byte for byte but for IDs and times, whoever is refused and why; the log knows why."""
    shapes = {}
    for name, (flow, token, reason) in unadmitted(service, victim, spare).items():
        with stranger.connect() as connection:
            answer = connection.ask(NODE.register(flow, token))
            stranger.refused(answer, reason)
            shapes[name] = shape(answer)
            # Each is a good request, so the connection goes on.
            assert connection.ask(NODE.register(flow, token)).status == 401
    assert len(set(shapes.values())) == 1, shapes


def test_time_of_refusals(stranger, service, victim, spare, capsys):
    """Printed, not judged: a loaded machine says nothing. The medians should be close."""
    cases = unadmitted(service, victim, spare)
    times = {name: [] for name in cases}
    with stranger.connect() as connection:
        for _ in range(25):
            for name, (flow, token, _reason) in cases.items():
                data = NODE.register(flow, token)
                started = time.perf_counter()
                assert connection.ask(data).status == 401
                times[name].append((time.perf_counter() - started) * 1e6)
    stranger.flooded()
    with capsys.disabled():
        print()
        for name, values in times.items():
            middle = statistics.quantiles(values, n=4)
            print(f"  refused, {name:34} median {middle[1]:7.0f} us, quartiles "
                  f"{middle[0]:.0f} to {middle[2]:.0f}")
    assert all(len(values) == 25 for values in times.values())


# ---- bodies ---------------------------------------------------------------------------------------


def good_body(spare):
    flow = Flowing(spare)
    return dialects.register_body(flow)


class Flowing:
    """Just what a register body is made of."""

    def __init__(self, tpm, registration_id="bodies"):
        self.registration_id, self.payload = registration_id, None
        self.ek, self.srk = tpm.ek.tpm2b, tpm.srk.tpm2b


def malformed_json(good):
    text = json.dumps(good).encode()
    tpm = json.dumps(good["tpm"]).encode()
    return {
        "cut": text[:-1], "one brace": b"{", "array": b"[]", "null": b"null", "string": b'"x"',
        "number": b"17", "text": b"hello", "trailing": text + b"x", "two documents": text + text,
        "single quotes": text.replace(b'"', b"'"), "trailing comma": text[:-1] + b",}",
        "comment": text[:-1] + b"/* */}", "NaN": text[:-1] + b',"payload":NaN}',
        "bare word": text[:-1] + b',"payload":yes}', "leading zero": text[:-1] + b',"payload":01}',
        "huge number": text[:-1] + b',"payload":1e99999}',
        "deep array": text[:-1] + b',"payload":' + b"[" * 20000 + b"]" * 20000 + b"}",
        "deep object": text[:-1] + b',"payload":' + b'{"a":' * 9000 + b"1" + b"}" * 9000 + b"}",
        "deep unclosed": b"[" * 90000,
        "repeated registrationId": text[:-1] + b',"registrationId":"bodies"}',
        "repeated tpm": text[:-1] + b',"tpm":' + tpm + b"}",
        "repeated key inside tpm": text.replace(b'"tpm": {', b'"tpm": {"endorsementKey":"AA==",'),
        "repeated key in payload": text[:-1] + b',"payload":{"a":1,"a":2}}',
        "repeated key by escape": text[:-1] + b',"\\u0074pm":' + tpm + b"}",
        "invalid UTF-8": text.replace(b"bodies", b"bod\xff\xfees"),
        "overlong UTF-8": text.replace(b"bodies", b"bod\xc0\xafes"),
        "UTF-16": text.decode().encode("utf-16"), "lone surrogate": text.replace(
            b"bodies", b"bod\\ud800"),
        "NUL escape": text.replace(b"bodies", b"bodies\\u0000"),
        "NUL byte": text.replace(b"bodies", b"bod\x00ies"), "BOM": b"\xef\xbb\xbf" + text,
        "control character": text.replace(b"bodies", b"bod\ries"),
    }


def wrong_members(good):
    ek, srk = good["tpm"]["endorsementKey"], good["tpm"]["storageRootKey"]

    def body(**changes):
        return {name: value for name, value in (good | changes).items() if value is not Ellipsis}

    def tpm(**changes):
        return body(tpm={name: value for name, value in (good["tpm"] | changes).items()
                         if value is not Ellipsis})

    return {
        "id is a number": body(registrationId=17), "id is a list": body(registrationId=["bodies"]),
        "id of 64 KiB": body(registrationId="x" * 65536),
        "another id": body(registrationId="the-victim"),
        "tpm is a string": body(tpm=ek), "tpm is a list": body(tpm=[ek, srk]),
        "no EK": tpm(endorsementKey=...), "no SRK": tpm(storageRootKey=...),
        "EK is null": tpm(endorsementKey=None), "EK is a number": tpm(endorsementKey=1),
        "EK is an object": tpm(endorsementKey={}), "empty EK": tpm(endorsementKey=""),
        "empty SRK": tpm(storageRootKey=""),
        "EK without padding": tpm(endorsementKey=ek.rstrip("=")[:-1]),
        "EK with a line break": tpm(endorsementKey=ek[:64] + "\n" + ek[64:]),
        "EK with a blank": tpm(endorsementKey=ek + " "),
        "EK in URL alphabet": tpm(endorsementKey="-_" + ek[2:]),
        "EK with padding inside": tpm(endorsementKey=ek[:4] + "=" + ek[5:]),
        "EK in hexadecimal": tpm(endorsementKey=base64.b64decode(ek).hex() + "g"),
        "EK of 60 KiB": tpm(endorsementKey=base64.b64encode(bytes(45000)).decode()),
        "SRK of 60 KiB": tpm(storageRootKey=base64.b64encode(b"\xff" * 45000).decode()),
        "too much padding": tpm(storageRootKey=srk + "===="),
    }


def test_malformed_json(stranger, spare):
    """400 for each; the parser's limits hold."""
    for name, body in malformed_json(good_body(spare)).items():
        answer = stranger.register_body("bodies", body)
        assert (answer.status, answer.json()["errorCode"]) == (400, 400004), (name, answer)
        stranger.logged(answer, "body.form")


def test_wrong_members(stranger, spare):
    """400 for each, with its own reason in the log."""
    for name, body in wrong_members(good_body(spare)).items():
        answer = stranger.register_body("bodies", json.dumps(body).encode())
        assert (answer.status, answer.json()["errorCode"]) == (400, 400004), (name, answer)
        reasons = [line["reason"] for line in stranger.service.log_of(answer.request_id)]
        assert len(reasons) == 1 and reasons[0].split(".")[0] in ("body", "ek", "srk", "key"), (
            name, reasons)


def test_large_body(stranger, service, spare):
    """1 MiB: refused before it is read, or after; and one byte past the limit."""
    for size in (1 << 20, 98304 + 1):
        with stranger.connect() as connection:
            head = https.request("PUT", f"/{service.scope}/registrations/bodies/register{VERSION}",
                                 [("Host", service.host), ("Content-Type", dialects.JSON_UTF8),
                                  ("Content-Length", str(size))])
            connection.send(head)
            with contextlib.suppress(OSError):
                connection.send(b" " * size)
            answer = stranger.harmless(connection.read())
            assert answer.status == 413, answer
            assert connection.closed()
    exactly = json.dumps(good_body(spare)).encode().ljust(98304)
    assert stranger.register_body("bodies", exactly).status == 401


def test_payload_past_its_limit(stranger, spare):
    """64 KiB of custom payload are the documented most."""
    body = good_body(spare) | {"payload": "x" * 65600}
    answer = stranger.register_body("bodies", dialects.compact(body))
    assert answer.status in (400, 413), answer


# ---- keys -----------------------------------------------------------------------------------------

BAD, REFUSED = 400, 401
BAD_KEYS = {
    "empty": (BAD, None), "size field only": (BAD, "malformed"),
    "zero size": (BAD, "malformed"), "truncated by one byte": (BAD, "malformed"),
    "one trailing byte": (BAD, "malformed"), "size field one too small": (BAD, "malformed"),
    "TPMT_PUBLIC without its size": (BAD, "malformed"), "PEM text": (BAD, "malformed"),
    "RSA-1024": (BAD, "rsa_bits_unsupported"), "even modulus": (BAD, "modulus_even"),
    "modulus with a clear top bit": (BAD, "modulus_top_bit_clear"),
    "modulus zero": (BAD, "modulus_top_bit_clear"), "modulus one": (BAD, "modulus_top_bit_clear"),
    "keyBits 2048 with a 255-byte modulus": (BAD, "modulus_length"),
    "exponent 3": (BAD, "exponent_unsupported"), "exponent 1": (BAD, "exponent_unsupported"),
    "even exponent": (BAD, "exponent_unsupported"),
    "EK without fixedTPM": (REFUSED, "fixed_tpm_clear"),
    "SRK without fixedTPM (could be a software key)": (REFUSED, "fixed_tpm_clear"),
    "EK without fixedParent": (REFUSED, "fixed_parent_clear"),
    "SRK without fixedParent (could be a software key)": (REFUSED, "fixed_parent_clear"),
    "EK without restricted": (REFUSED, "restricted_clear"),
    "SRK without restricted (could be a software key)": (REFUSED, "restricted_clear"),
    "EK without decrypt": (REFUSED, "decrypt_clear"),
    "SRK without decrypt (could be a software key)": (REFUSED, "decrypt_clear"),
    "EK without sensitiveDataOrigin": (REFUSED, "sensitive_data_origin_clear"),
    "SRK without sensitiveDataOrigin (could be a software key)": (
        REFUSED, "sensitive_data_origin_clear"),
    "sign set": (REFUSED, "sign_set"), "a signing key": (REFUSED, "decrypt_clear"),
    "encryptedDuplication set on a fixed key": (REFUSED, "encrypted_duplication_set"),
    "policy digest of another length": (BAD, "policy_length"),
    "reserved attribute bit set": (REFUSED, "reserved_attribute_set"),
    "unknown algorithm 0x0042": (BAD, "type_unsupported"),
    "SHA-1 as name algorithm": (BAD, "name_alg_unsupported"),
    "no symmetric algorithm": (BAD, "symmetric_unsupported"),
    "AES-CBC": (BAD, "symmetric_unsupported"), "AES key of 64 bits": (BAD, "symmetric_unsupported"),
    "P-256 point not on the curve": (BAD, "point_off_curve"),
    "P-256 point at zero": (BAD, "point_off_curve"),
    "P-256 x longer than the field": (BAD, "point_length"),
    "P-256 x not reduced (p + 1)": (BAD, "point_off_curve"),
    "curve 0x0010 (BN P-256)": (BAD, "curve_unsupported"),
    "a keyed-hash object": (BAD, "type_unsupported"),
}


def public_area_vectors():
    with open(os.path.join(HERE, "../data/vectors/public-area.json"), encoding="utf-8") as file:
        return json.load(file)


def test_bad_keys(stranger, service):
    """Each EK and SRK of the vectors that must not be taken, for its own reason, on an enrolled
    registration ID."""
    device = enrolled(service)
    for vector in public_area_vectors()["invalid"]:
        status, why = BAD_KEYS[vector["reason"]]
        flow = device.flow()
        setattr(flow, vector["role"], base64.b64decode(vector["tpm2b_public"]))
        answer = stranger.register(flow)
        judge = stranger.bad_request if status == BAD else stranger.refused
        judge(answer, f"{vector['role']}.{why}" if why else "body.form")


def test_keys_cut_and_stretched(stranger, service):
    """Every truncation of EK and SRK, and bytes behind them."""
    device = enrolled(service)
    for role in ("ek", "srk"):
        whole = getattr(device.flow(), role)
        for bad in [whole[:at] for at in range(1, len(whole), 5)] + [whole + b"\0", whole + whole]:
            flow = device.flow()
            setattr(flow, role, bad)
            stranger.bad_request(stranger.register(flow), f"{role}.malformed")


def test_srk_is_the_ek(stranger, service):
    device = enrolled(service)
    flow = device.flow()
    flow.srk = flow.ek
    answer = stranger.register(flow)
    assert answer.status == 401
    assert stranger.service.log_of(answer.request_id)[0]["reason"].startswith("srk.")


def test_software_key_as_srk(stranger, service):
    """A key that is honest about being made outside a TPM."""
    device = enrolled(service)
    for attributes in (softtpm.USER_WITH_AUTH | softtpm.RESTRICTED | softtpm.DECRYPT,
                       softtpm.USER_WITH_AUTH | softtpm.DECRYPT):
        flow = device.flow()
        flow.srk = softtpm.ecc_key(attributes).tpm2b
        stranger.refused(stranger.register(flow), "srk.fixed_tpm_clear")


def test_known_ek_with_own_srk(stranger, service, victim, spare):
    """A peer that knows a device's EK gets a challenge, which only that device's TPM can open, and
    that TPM only if the SRK is its own."""
    flow = victim.flow()
    flow.srk = spare.srk.tpm2b
    with stranger.connect() as connection:
        body = connection.ask(NODE.register(flow)).json()
    blob = base64.b64decode(body["authenticationKey"])
    for ek, srk in ((spare.ek, spare.srk), (victim.tpm.ek, victim.tpm.srk)):
        with pytest.raises((softtpm.Refused, ValueError)):
            softtpm.authentication_key_open(ek, srk, blob)
    stranger.refused(stranger.register(flow, NODE.token(flow, bytes(32))), "token.signature")


# ---- tokens ---------------------------------------------------------------------------------------


def test_token_for_another_srk(stranger, service, spare):
    """The challenge was for one SRK; the answer may not smuggle in another."""
    device = enrolled(service)
    flow, key = challenged(device)
    flow.srk = spare.srk.tpm2b
    stranger.refused(stranger.register(flow, NODE.token(flow, key)), "token.signature")


def test_replayed_token(stranger, service):
    """A completed attestation ends its nonce key: what was overheard opens nothing afterwards."""
    device = enrolled(service)
    flow, key = challenged(device)
    token = NODE.token(flow, key)
    device.authorise(flow, token)
    device.poll(flow, token)
    first = flow.operation_id
    device.register()
    stranger.refused(stranger.register(flow, token), "token.signature")
    later = sas.token(key, sas.escape(NODE.resource(flow)), sas.in_s(7200), "registration")
    stranger.refused(stranger.register(flow, later), "token.signature")
    answer = stranger.ask(NODE.poll(flow, token))
    assert answer.status in (401, 404), answer
    assert first.encode() not in answer.body
    assert service.accepts(device.hub_token())
    device.close()


def test_same_nonce_with_another_token(stranger, service):
    """The retry window is for the same request, not for the same key."""
    device = enrolled(service)
    flow, key = challenged(device)
    device.authorise(flow, NODE.token(flow, key))
    other = sas.token(key, sas.escape(NODE.resource(flow)), sas.in_s(7201), "registration")
    stranger.refused(stranger.register(flow, other), "token.replayed")
    device.close()


def broken_tokens(key, resource):
    """name -> (token, reason): signed with the right key, and still not to be taken."""
    sr, se = sas.escape(resource), sas.in_s(600)
    good = sas.token(key, sr, se, "registration")
    sig = sas.escape(sas.signature(key, sr, se))
    expired = sas.token(key, sr, sas.in_s(-2), "registration")
    raw = bytearray(base64.b64decode(sas.signature(key, sr, se)))
    raw[31] ^= 1
    changed = sas.escape(base64.b64encode(raw).decode())
    scope, _, registration_id = resource.split("/")

    def signed(other):
        return sas.token(key, sas.escape(other), se, "registration")

    malformed, resource_, signature = "token.malformed", "token.resource", "token.signature"
    return {
        "empty": ("", malformed), "word": ("x", malformed), "scheme only": (
            "SharedAccessSignature", malformed), "scheme and blank": (
                "SharedAccessSignature ", malformed),
        "bearer": (good.replace("SharedAccessSignature", "Bearer"), malformed),
        "basic": ("Basic dXNlcjpwYXNz", malformed),
        "no sr": (good.replace(f"sr={sr}&", ""), malformed),
        "no sig": (good.replace(f"&sig={sig}", ""), malformed),
        "no se": (good.replace(f"&se={se}", ""), malformed),
        "empty sig": (good.replace(sig, ""), malformed),
        "short sig": (good.replace(sig, "AAAA"), malformed),
        "sig is not base64": (good.replace(sig, "!" + sig[1:]), malformed),
        "sig changed": (good.replace(sig, changed), signature),
        "sig of all zeros": (good.replace(sig, sas.escape(base64.b64encode(bytes(32)).decode())),
                             signature),
        "se later than signed": (good.replace(f"se={se}", f"se={se + 1}"), signature),
        "expired": (expired, "token.expired"),
        "expired and se changed": (expired.replace(expired.split("&se=")[1].split("&")[0], str(se)),
                                   signature),
        "se is text": (good.replace(f"se={se}", "se=soon"), malformed),
        "se negative": (good.replace(f"se={se}", "se=-1"), malformed),
        "se with plus": (good.replace(f"se={se}", f"se=+{se}"), malformed),
        "se of 40 digits": (good.replace(f"se={se}", "se=" + "9" * 40), malformed),
        "se repeated": (good + f"&se={se}", malformed), "sr repeated": (good + f"&sr={sr}",
                                                                       malformed),
        "unknown member": (good + "&x=1", malformed),
        "broken escape": (good.replace("%2F", "%2"), malformed),
        "NUL escape": (good.replace(f"sr={sr}", f"sr={sr}%00"), malformed),
        "policy's skn": (sas.token(key, sr, se, "provisioningserviceowner"), "token.key_name"),
        "other registration": (signed(f"{scope}/registrations/other"), resource_),
        "other scope": (signed(f"0neFFFFFFFF/registrations/{registration_id}"), resource_),
        "prefix": (signed(resource[:-1]), resource_),
        "longer": (signed(resource + "/operations"), resource_),
        "scope only": (signed(scope), resource_), "twice encoded": (
            signed(sas.escape(resource)), resource_),
        "signed decoded": (good.replace(sig, sas.escape(sas.signature(key, resource, se))),
                           signature),
        "64 KiB minus": (good + "&x=" + "y" * 8000, malformed),
    }


def test_broken_tokens(stranger, service):
    """Signed by the device itself, and wrong all the same; on register and on look-up."""
    device = enrolled(service)
    flow, key = challenged(device)
    for name, (token, reason) in broken_tokens(key, NODE.resource(flow)).items():
        answer = stranger.register(flow, token) if token else stranger.ask(
            NODE.register(flow, "x").replace(b"Authorization: x\r\n", b"Authorization:\r\n"))
        assert answer.status == 401, (name, answer)
        stranger.refused(answer, reason)
    # None of them has used up the challenge.
    device.authorise(flow, NODE.token(flow, key))
    device.close()


def test_two_authorizations(stranger, service):
    """Which one counts is nobody's to guess."""
    device = enrolled(service)
    flow, key = challenged(device)
    token = NODE.token(flow, key)
    line = f"Authorization: {token}\r\n".encode()
    answer = stranger.ask(NODE.register(flow, token).replace(line, line + line))
    assert answer.status in (400, 401), answer


# ---- operations -----------------------------------------------------------------------------------


def test_poll_of_another_device(stranger, service, victim):
    """Another's operation with the own token: unknown, with nothing of it. Without a token or with
    its owner's name: refused."""
    device = enrolled(service)
    flow, key = challenged(device)
    token = NODE.token(flow, key)
    device.authorise(flow, token)
    own = flow.operation_id
    flow.operation_id = victim.operation_id
    answer = stranger.ask(NODE.poll(flow, token))
    assert (answer.status, answer.json()["errorCode"]) == (404, 404201), answer
    flow.operation_id = own
    stranger.refused(stranger.ask(NODE.poll(flow, None)), "token.missing")
    for reason, registration_id in (("token.resource", victim.registration_id),
                                    ("token.resource", "nobody-knows-it")):
        flow.registration_id = registration_id
        stranger.refused(stranger.ask(NODE.poll(flow, token)), reason)
    flow.registration_id = victim.registration_id
    flow.operation_id = victim.operation_id
    stranger.refused(stranger.ask(NODE.poll(flow, NODE.token(flow, key))), "token.signature")
    flow.registration_id = device.registration_id
    for bad in ("x", "0" * 63, "0" * 64, "a" * 5000, "%00", "..", "%2e%2e%2f" + own, own + "0",
                own[:-1], own + "%00"):
        flow.operation_id = bad
        answer = stranger.ask(NODE.poll(flow, token))
        assert answer.status in (400, 404), (bad, answer)
    flow.operation_id = own
    device.poll(flow, token)
    assert service.accepts(device.hub_token())
    device.close()


# ---- paths and ids --------------------------------------------------------------------------------


def test_long_ids(stranger, service, spare):
    """128 characters are an ID, 129 are not."""
    flow = Device(service, "x" * 128, spare, NODE).flow()
    stranger.refused(stranger.register(flow), "enrollment.unknown")
    flow.registration_id = "x" * 129
    answer = stranger.register(flow)
    assert (answer.status, answer.json()["errorCode"]) == (400, 400004), answer
    flow = Device(service, "nobody-knows-it", spare, NODE).flow()
    flow.scope = "s" * 64
    stranger.refused(stranger.register(flow), "scope.unknown")
    flow.scope = "s" * 65
    assert stranger.register(flow).status == 400


@pytest.mark.parametrize("trick", [
    "%00", "the-victim%00", "%00the-victim", "the-victim%00x", "..", "%2e%2e", "..%2fthe-victim",
    "x%2f..%2fthe-victim", "the-victim%2fregister", "the-victim%2F", "the-victim%20", "the-victim+",
    "the-victim%3f", "the-victim%23", "the-victim;x=1", "the-victim%0a", "the-victim%0d%0ax:%20y",
    "the-victim%", "the-victim%2", "the-victim%zz", "%c0%af", "%ff", "the%E2%80%8B-victim",
    "the-victim.", "the-victim_", "%74he-victim%5f", "%u0074he-victim", "the-victim'--",
    "the-victim\\", "%25%37%34he-victim", "", "%D1%82", "*", "the-victim\u00e9"])
def test_tricks_in_ids(stranger, service, spare, trick):
    """None of them is the victim or anybody; each has a whole answer."""
    body = dialects.compact(dialects.register_body(Flowing(spare, "the-victim")))
    answer = stranger.register_body(trick, body)
    assert answer.status in (400, 401, 404), answer
    if answer.status == 401:
        assert answer.json()["errorCode"] == 401002
    assert answer.request_id


def targets(scope):
    register = f"registrations/bodies/register{VERSION}"
    return [
        "/", "//", "*", "/..", "/../../etc/passwd", f"//{scope}/{register}",
        f"/{scope}//{register}", f"/./{scope}/{register}", f"/{scope}/../{scope}/{register}",
        f"/{scope}/registrations", f"/{scope}/registrations/", f"/{scope}/registrations/bodies",
        f"/{scope}/registrations/bodies/register/{VERSION}",
        f"/{scope}/registrations/bodies/REGISTER{VERSION}",
        f"/{scope}/registrations/bodies/operations{VERSION}",
        f"/{scope}/registrations/bodies/operations/{VERSION}",
        f"/{scope}/registrations/bodies/unregister{VERSION}", f"/{scope}\\{register}",
        f"/{scope}/registrations/bodies%2Fregister{VERSION}",
        f"/%2f{scope}/{register}", "/%", "/%0", "/%00", "/?", "/#", "/metrics", "/healthz",
        "/readyz", "/auth/device", "/" + "a" * 9000, "/" + "a/" * 4000, "/" + "%41" * 3000,
        "/enrollments/the-victim?api-version=2021-10-01", "/devices/the-victim",
    ]


def test_paths(stranger, service, spare):
    """What is no path of ours is refused as such, with a whole answer."""
    body = dialects.compact(dialects.register_body(Flowing(spare)))
    for target in targets(service.scope):
        answer = stranger.put(target, body)
        assert answer.status in (400, 401, 404, 405, 414, 431), (target, answer)
    for method in ("GET", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW", "put"):
        answer = None
        with stranger.connect() as connection:
            connection.send(https.request(
                method, f"/{service.scope}/registrations/bodies/register{VERSION}",
                [("Host", service.host), ("Content-Length", "0")]))
            with contextlib.suppress(EOFError, ConnectionError):
                answer = stranger.harmless(connection.read())
        assert answer is None or answer.status in (204, 400, 401, 404, 405, 501), (method, answer)


# ---- framing --------------------------------------------------------------------------------------


def framing(host, target, body):
    """name -> bytes: requests with two readings. Behind each stands a second request."""
    second = https.request("GET", "/second", [("Host", host)])
    length = str(len(body))
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)

    def put(*headers, rest=body):
        return https.request("PUT", target, [("Host", host), ("Content-Type", dialects.JSON_UTF8),
                                             *headers], rest) + second

    te, cl = "Transfer-Encoding", "Content-Length"
    return {
        "CL then TE": put((cl, length), (te, "chunked"), rest=chunked),
        "TE then CL": put((te, "chunked"), (cl, length), rest=chunked),
        "CL 0 and TE": put((cl, "0"), (te, "chunked"), rest=chunked),
        "CL and TE identity": put((cl, length), (te, "identity")),
        "two lengths": put((cl, length), (cl, "0")),
        "two equal lengths": put((cl, length), (cl, length)),
        "lengths in a list": put((cl, f"{length}, {length}")),
        "length with plus": put((cl, "+" + length)), "length negative": put((cl, "-1")),
        "length hexadecimal": put((cl, "0x10")), "length empty": put((cl, "")),
        "length with blank inside": put((cl, "1 0")), "length overflows": put((cl, "9" * 30)),
        "length is 2^64": put((cl, str(2 ** 64))), "length is text": put((cl, "ten")),
        "TE twice": put((te, "chunked"), (te, "identity"), rest=chunked),
        "TE twice chunked": put((te, "chunked"), (te, "chunked"), rest=chunked),
        "TE unknown": put((te, "gzip, chunked"), rest=chunked),
        "TE not last": put((te, "chunked, gzip"), rest=chunked),
        "TE with a tail": put((te, "chunkedx"), rest=chunked),
        "TE in quotes": put((te, '"chunked"'), rest=chunked),
        "blank before colon": put((f"{te} ", "chunked"), (cl, length), rest=chunked),
        "blank before colon of length": put((f"{cl} ", length)),
        "folded header": put(("X", f"y\r\n {te}: chunked"), (cl, length)),
        "NUL in a header": put(("X", "a\0b"), (cl, length)),
        "CR in a header": put(("X", f"a\r{te}: chunked"), (cl, length)),
        "chunk size negative": put((te, "chunked"), rest=b"-1\r\n\r\n0\r\n\r\n"),
        "chunk size huge": put((te, "chunked"), rest=b"f" * 17 + b"\r\nx\r\n0\r\n\r\n"),
        "chunk size 2^64": put((te, "chunked"), rest=b"10000000000000000\r\nx\r\n0\r\n\r\n"),
        "chunk size missing": put((te, "chunked"), rest=b"\r\nx\r\n0\r\n\r\n"),
        "chunk size 0x": put((te, "chunked"), rest=b"0x3\r\nabc\r\n0\r\n\r\n"),
        "chunk longer than said": put((te, "chunked"), rest=b"2\r\nabcdef\r\n0\r\n\r\n"),
        "two hosts": put(("Host", "other"), (cl, length)),
        "no host": https.request("PUT", target, [(cl, length)], body) + second,
        "bare LF request line": f"PUT {target} HTTP/1.1\nHost: {host}\n\n".encode() + second,
        "no version": f"PUT {target}\r\n\r\n".encode() + second,
        "version 3": f"PUT {target} HTTP/3.0\r\nHost: {host}\r\n\r\n".encode() + second,
        "version 1.1.1": f"PUT {target} HTTP/1.1.1\r\nHost: {host}\r\n\r\n".encode() + second,
        "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + second,
        "header without colon": put(("X", "y\r\nno colon here"), (cl, length)),
        "header without a name": put(("", "y"), (cl, length)),
        "head too long": put(("X", "y" * 20000), (cl, length)),
        "too many headers": put(*[(f"X-{n}", "y") for n in range(300)], (cl, length)),
        "NUL bytes": bytes(64) + second, "TLS in TLS": b"\x16\x03\x01\x02\x00" + bytes(600),
        "noise": bytes(range(256)) * 8,
    }


def test_framing(stranger, service, spare):
    """Requests that two readers could read in two ways end the connection: at most one answer, an
    error, and what stands behind is never taken for a request."""
    body = dialects.compact(dialects.register_body(Flowing(spare)))
    target = f"/{service.scope}/registrations/bodies/register{VERSION}"
    open_ended = {"bare LF request line"}  # lenient or not, it may wait for the rest
    for name, data in framing(service.host, target, body).items():
        try:
            stranger.closes(data, (None, 400, 413, 414, 431, 501, 505))
        except AssertionError as error:
            if name not in open_ended:
                raise AssertionError(f"{name}: {error}") from error


def test_many_requests_in_one_write(stranger, service, spare):
    """Pipelining is legal: each has its own answer, in order."""
    flow = Flowing(spare, "nobody-knows-it")
    flow.host, flow.scope = service.host, service.scope
    with stranger.connect() as connection:
        connection.send(NODE.register(flow) * 20)
        answers = [connection.read() for _ in range(20)]
    assert {answer.status for answer in answers} == {401}
    assert len({answer.request_id for answer in answers}) == 20
    stranger.flooded()


def test_plain_text_on_the_tls_port(stranger, service):
    """Neither HTTP nor noise instead of a handshake does harm."""
    for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", bytes(range(256)) * 20, b"\x16\x03\x01"):
        with socket.create_connection(service.address, timeout=20) as tcp:
            tcp.sendall(data)
            if len(data) > 3:
                with contextlib.suppress(ConnectionError):
                    while tcp.recv(4096):
                        pass


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_old_tls_is_refused(service, stranger):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(service.address, timeout=20) as tcp:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(tcp, server_hostname=service.host)


# ---- many and slow --------------------------------------------------------------------------------

SLOW_LIMIT_MS = 2500


@pytest.fixture(scope="module")
def hasty(service, tmp_path_factory):
    """The same build with short time limits."""
    hasty = Service(tmp_path_factory.mktemp("hasty"), build=service.build,
                    http_handshake_ms=SLOW_LIMIT_MS, http_head_ms=SLOW_LIMIT_MS,
                    http_body_ms=SLOW_LIMIT_MS)
    hasty.start()
    yield hasty
    hasty.stop()


class Trickler:
    """Sends its bytes one by one for as long as the peer lets it."""

    def __init__(self, stranger, data, over_tls):
        self.data, self.sent = data, 0
        self.connection = stranger.connect(timeout_s=1) if over_tls else None
        self.socket = self.connection.tls if over_tls else socket.create_connection(
            stranger.service.address, timeout=1)
        self.ended_s = None
        self.started = time.monotonic()

    def step(self):
        if self.ended_s is not None:
            return
        try:
            self.socket.send(self.data[self.sent:self.sent + 1])
            self.sent += 1
            self.socket.settimeout(0.001)
            if self.socket.recv(4096) == b"":
                raise EOFError
        except TimeoutError:
            return
        except Exception as error:  # whatever way the peer ended it
            if type(error).__name__ == "SSLWantReadError":
                return
            self.ended_s = time.monotonic() - self.started
            self.socket.close()


def client_hello(host):
    """The first flight of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=host)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_slow_peers(hasty, stranger, spare):
    """Trickled handshakes, heads and bodies are cut at the limit on the whole, however steadily the
    bytes come; meanwhile honest devices get through."""
    device = Device(hasty, "hurried", SoftTpm("ecc"), NODE)
    hasty.enroll(device)
    slow_to = Stranger(hasty, bystander(hasty, "the-victim", spare))
    body = b" " * 5000
    head = https.request("PUT", f"/{hasty.scope}/registrations/bodies/register{VERSION}",
                         [("Host", hasty.host), ("Content-Type", dialects.JSON_UTF8),
                          ("Content-Length", str(len(body)))])
    slow = [Trickler(slow_to, client_hello(hasty.host), False) for _ in range(10)]
    slow += [Trickler(slow_to, b"", False) for _ in range(10)]
    slow += [Trickler(slow_to, head, True) for _ in range(10)]
    for _ in range(10):
        slow.append(Trickler(slow_to, body, True))
        slow[-1].connection.send(head)
    deadline = time.monotonic() + SLOW_LIMIT_MS / 1000 * 4 + 10
    honest_s = []
    while any(one.ended_s is None for one in slow) and time.monotonic() < deadline:
        for one in slow:
            one.step()
        started = time.monotonic()
        device.register()
        honest_s.append(time.monotonic() - started)
        time.sleep(0.1)
    assert [one.sent for one in slow if one.ended_s is None] == []
    assert max(honest_s) < SLOW_LIMIT_MS / 1000, honest_s
    assert hasty.accepts(device.hub_token())


def test_2000_idle_connections(stranger, service, honest):
    """They cost memory and nothing else: an honest device gets through at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    idle = []
    try:
        for number in range(2000):
            connection = stranger.connect()
            idle.append(connection)
            if number % 4 == 0:  # some have been used before
                connection.send(https.request("GET", "/idle", [("Host", service.host)]))
        started = time.monotonic()
        for _ in range(5):
            honest.register()
        took_s = time.monotonic() - started
        for number, connection in enumerate(idle):
            if number % 4 == 0:
                assert connection.read().status == 404
        assert took_s < 10, took_s
        assert service.accepts(honest.hub_token())
        idle[-1].send(https.request("GET", "/still-there", [("Host", service.host)]))
        assert idle[-1].read().status == 404
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
