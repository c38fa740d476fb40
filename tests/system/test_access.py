"""Who may do what: policies and their rights, scopes and hosts, and that no device's credential opens
the operators' API and no operator's a device's (service-api.md section 12). What tokens may look
like is in test_service_api.py."""
import base64
import hmac
import json

import pytest

from lib import dialects, sas
from lib.authority import Authority
from lib.device import Device
from lib.https import Connection, request
from lib.service import Service
from lib.serviceapi import VERSION, Operator
from lib.softtpm import SoftTpm

RIGHTS = ("ServiceConfig", "EnrollmentRead", "EnrollmentWrite", "DeviceConnect",
          "RegistrationStatusRead", "RegistrationStatusWrite")
OWNER = "provisioningserviceowner"
OTHER_SCOPE, OTHER_HOST = "0ne00000002", "other.example.test"
NODE = dialects.Node()
QUERY = {"query": "*"}
POLICIES, HUBS = "/latchkey/v1/policies", "/latchkey/v1/hubs"


def symmetric(name, member="registrationId"):
    return {member: name, "attestation": {"type": "symmetricKey"}}


def bulk(*names):
    return {"mode": "create", "enrollments": [symmetric(name) for name in names]}


# (rights, method, path, body, action in the audit record, its subject), in an order in which each
# does what it says; the device "acc-key" has registered.
CALLS = [
    ("EnrollmentWrite", "PUT", "/enrollments/own-1", symmetric("own-1"), "enrollment.create",
     "own-1"),
    ("EnrollmentRead", "GET", "/enrollments/own-1", None, "enrollment.read", "own-1"),
    ("EnrollmentRead", "POST", "/enrollments/query", QUERY, "enrollment.query", ""),
    ("EnrollmentWrite", "POST", "/enrollments/own-1/attestationmechanism", None,
     "enrollment.read_attestation", "own-1"),
    ("EnrollmentWrite", "POST", "/enrollments", bulk("own-2"), "enrollment.create", "own-2"),
    ("EnrollmentWrite", "DELETE", "/enrollments/own-1", None, "enrollment.delete", "own-1"),
    ("EnrollmentWrite", "DELETE", "/enrollments/own-2", None, "enrollment.delete", "own-2"),
    ("EnrollmentWrite", "PUT", "/enrollmentGroups/own-3", symmetric("own-3", "enrollmentGroupId"),
     "group.create", "own-3"),
    ("EnrollmentRead", "GET", "/enrollmentGroups/own-3", None, "group.read", "own-3"),
    ("EnrollmentRead", "POST", "/enrollmentGroups/query", QUERY, "group.query", ""),
    ("EnrollmentWrite", "POST", "/enrollmentGroups/own-3/attestationmechanism", None,
     "group.read_attestation", "own-3"),
    ("EnrollmentWrite", "POST", "/enrollmentGroups",
     {"mode": "delete", "enrollmentGroups": [symmetric("own-3", "enrollmentGroupId")]},
     "group.delete", "own-3"),
    ("RegistrationStatusRead", "GET", "/registrations/acc-key", None, "registration.read",
     "acc-key"),
    ("RegistrationStatusRead", "POST", "/registrations/acc-group/query", QUERY,
     "registration.query", "acc-group"),
    ("RegistrationStatusWrite", "DELETE", "/registrations/acc-key", None, "registration.remove",
     "acc-key"),
    ("ServiceConfig", "PUT", "/latchkey/v1/policies/own-4", {"rights": "EnrollmentRead"},
     "policy.add", "own-4"),
    ("ServiceConfig", "POST", "/latchkey/v1/policies/own-4/roll", {"key": "primary"},
     "policy.roll", "own-4"),
    ("ServiceConfig", "DELETE", "/latchkey/v1/policies/own-4", None, "policy.remove", "own-4"),
    ("ServiceConfig+EnrollmentWrite", "PUT", HUBS + "/own-5.test", {"allocatable": False},
     "hub.add", "own-5.test"),
    ("ServiceConfig+EnrollmentWrite", "PATCH", HUBS + "/own-5.test", {"weight": 3}, "hub.set",
     "own-5.test"),
    ("ServiceConfig+EnrollmentWrite+RegistrationStatusWrite", "DELETE", HUBS + "/own-5.test", None,
     "hub.remove", "own-5.test"),
]


def records(service):
    lines = service.cli("audit", "list", "--json").stdout.splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("service"))
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def operator(service):
    return Operator(service)


# ---- devices, one of each kind, that have registered

def derived(key, registration_id):
    return hmac.digest(key, registration_id.encode(), "sha256")


class Member:
    """A device without a TPM, by raw requests. cert is (certificate file, key file)."""

    def __init__(self, service, registration_id, key=None, cert=None):
        self.service, self.registration_id = service, registration_id
        self.key, self.cert = key, cert
        self.operation_id = None

    def token(self):
        return None if self.key is None else sas.token(
            self.key, sas.escape(f"{self.service.scope}/registrations/{self.registration_id}"),
            sas.in_s(600), "registration")

    def ask(self, method, rest, token, body=None, cert=None):
        """A request to this registration, on a connection of its own."""
        data = b"" if body is None else json.dumps(body).encode()
        head = [("Host", self.service.host), ("Content-Type", dialects.JSON_UTF8),
                ("Content-Length", len(data))]
        if token is not None:
            head.append(("Authorization", token))
        target = (f"/{self.service.scope}/registrations/{self.registration_id}{rest}"
                  "?api-version=2021-06-01")
        with Connection(self.service.address, self.service.ca_file, self.service.host,
                        cert=cert) as link:
            return link.ask(request(method, target, head, data))

    def put(self, token, cert=None):
        return self.ask("PUT", "/register", token, {"registrationId": self.registration_id}, cert)

    def questions(self, token, cert=None):
        """Poll and look-up."""
        return [self.ask("GET", f"/operations/{self.operation_id}", token, cert=cert),
                self.ask("POST", "", token, {"registrationId": self.registration_id}, cert)]

    def every_request(self, token, cert=None):
        """The answers to register, poll and look-up with this credential."""
        return [self.put(token, cert), *self.questions(token, cert)]

    def register(self):
        answer = self.put(self.token(), self.cert)
        assert answer.status == 202, answer
        self.operation_id = answer.json()["operationId"]
        assert [a.status for a in self.questions(self.token(), self.cert)] == [200, 200]
        return self


@pytest.fixture(scope="module")
def devices(service, operator, tmp_path_factory):
    """By kind of credential: a TPM, a key, a group's key, a certificate, a group's certificate."""
    folder = tmp_path_factory.mktemp("certificates")
    maker = Authority(folder, "maker")
    own, member = maker.issue("acc-cert"), maker.issue("acc-cert-member")
    tpm = Device(service, "acc-tpm", SoftTpm("ecc"), NODE)
    service.enroll(tpm)
    tpm.register()
    made = {}
    for path, body in (("/enrollments/acc-key", symmetric("acc-key")),
                       ("/enrollmentGroups/acc-group", symmetric("acc-group", "enrollmentGroupId"))):
        answer = operator.ask("PUT", path, body).json()["attestation"]["symmetricKey"]
        made[path] = base64.b64decode(answer["primaryKey"])
    service.cli("enrollment", "add", "--registration-id", "acc-cert", "--certificate", own[0])
    service.cli("group", "add", "acc-certs", "--signing-certificate", maker.cert)
    group_key = made["/enrollmentGroups/acc-group"]
    members = {
        "key": Member(service, "acc-key", made["/enrollments/acc-key"]),
        "group key": Member(service, "acc-member", derived(group_key, "acc-member")),
        "certificate": Member(service, "acc-cert", cert=own),
        "group certificate": Member(service, "acc-cert-member", cert=member)}
    return {"tpm": tpm, **{kind: m.register() for kind, m in members.items()}}


def generations(service):
    """Whatever a registration would change."""
    return sorted((r["registrationId"], r["etag"]) for r in Operator(service).all(
        "/registrations/acc-group/query")) + [
        Operator(service).ask("GET", f"/registrations/{name}").json()["etag"]
        for name in ("acc-tpm", "acc-key", "acc-cert", "acc-cert-member")]


# ---- credentials of devices at the operators' API

def open_nothing(operator, token, cert=None):
    """No call is let in: each is refused before it is looked at."""
    for _, method, path, body, _, _ in CALLS:
        data = b"" if body is None else json.dumps(body).encode()
        head = [("Host", operator.service.host), ("Content-Length", len(data)),
                ("Content-Type", "application/json")]
        if token is not None:
            head.append(("Authorization", token))
        with Connection(operator.service.address, operator.service.ca_file, operator.service.host,
                        cert=cert) as link:
            answer = link.ask(request(method, f"{path}?api-version={VERSION}", head, data))
        assert answer.status == 401 and answer.json()["errorCode"] == 401002, (path, answer)


def test_devices_keys_open_no_call(service, operator, devices):
    """A challenge's nonce key, a hub key, an enrollment's, a derived one: signed for the device's own
    registration, its hub and the service, under the names that each might go by."""
    tpm = devices["tpm"]
    flow = tpm.flow()
    nonce = tpm.challenge(flow)
    tpm.close()
    before = [r for r in records(service) if r["actor"].startswith("policy:")]
    for registration_id, key in (
            ("acc-tpm", nonce), ("acc-tpm", tpm.key), ("acc-key", devices["key"].key),
            ("acc-member", devices["group key"].key)):
        for resource in (f"{service.scope}/registrations/{registration_id}", service.host,
                         f"{service.hub}/devices/{registration_id}"):
            for skn in (None, "registration", OWNER):
                open_nothing(operator,
                             sas.token(key, sas.escape(resource), sas.in_s(600), skn))
    assert [r for r in records(service) if r["actor"].startswith("policy:")] == before


def test_devices_certificates_open_no_call(operator, devices):
    """Proved in TLS, with no token, and with the token of another device."""
    for kind in ("certificate", "group certificate"):
        cert = devices[kind].cert
        open_nothing(operator, None, cert)
        open_nothing(operator, devices["key"].token(), cert)


# ---- policies' credentials at the device API and the hub

def test_policies_open_no_device(service, operator, devices):
    """Both keys of a policy with every right, signed for what it opens, for the registration, and
    for the device's hub: no register, poll or look-up of any kind of device, and not the hub."""
    secondary = operator.key_of(OWNER, "--secondary")
    before = generations(service)
    for kind, device in devices.items():
        name = device.registration_id
        for key in (operator.key, secondary):
            for resource in (service.host, f"{service.scope}/registrations/{name}",
                             f"{service.hub}/devices/{name}"):
                for skn in (None, "registration", OWNER):
                    token = sas.token(key, sas.escape(resource), sas.in_s(600), skn)
                    assert not service.accepts(token), (kind, resource, skn)
                    if kind == "tpm":
                        answer = device.ask(NODE.register(device.flow(), token))
                        answers = [answer] + as_member(device).every_request(token)
                    else:
                        answers = device.every_request(token)
                    for answer in answers:
                        assert answer.status == 401, (kind, resource, skn, answer)
                        assert answer.json()["errorCode"] == 401002, answer
    devices["tpm"].close()
    assert generations(service) == before


def as_member(tpm):
    """The TPM's registration, asked about without its keys."""
    member = Member(tpm.service, tpm.registration_id)
    member.operation_id = "1.0000000000000000.00000000-0000-0000-0000-000000000000"
    return member


def test_credentials_keep_to_their_place(service, devices):
    """Keys that count at the hub and at the device API, signed for the one, do not open the other;
    nor does one device's certificate another's registration."""
    key = devices["key"]
    at_hub = sas.hub_token(key.key, service.hub, "acc-key")
    assert service.accepts(at_hub) and not service.accepts(key.token())
    assert [a.status for a in key.every_request(at_hub)] == [401, 401, 401]
    tpm = devices["tpm"]
    assert service.accepts(tpm.hub_token())
    own = sas.token(tpm.key, sas.escape(f"{service.scope}/registrations/acc-tpm"), sas.in_s(60),
                    "registration")
    assert not service.accepts(own)
    assert tpm.ask(NODE.register(tpm.flow(), own)).status == 401
    tpm.close()
    for kind in ("key", "group key", "certificate"):
        answers = devices[kind].every_request(None, devices["group certificate"].cert)
        assert {a.status for a in answers} == {401}, (kind, answers)


# ---- rights, keys, scopes

def test_no_other_right_stands_in(service):
    """A policy with all rights but the one that a call needs is refused it, by name in the log, and
    allowed the rest. The call itself is not looked at."""
    for right in RIGHTS:
        name = f"all-but.{right}"
        service.cli("policy", "add", name, "--rights", ",".join(r for r in RIGHTS if r != right))
        own = Operator(service, name)
        for needed, method, path, _, _, _ in CALLS:
            answer = own.ask(method, path.replace("own-", "none-").replace("acc-", "none-"),
                             raw=b"{")
            if right not in needed.split("+"):
                assert answer.status in (400, 404), (name, path, answer)
                continue
            assert answer.status == 401, (name, path, answer)
            (line,) = [x for x in service.log_of(answer.request_id) if "reason" in x]
            assert (line["reason"], line["policy"]) == ("policy.right_missing", name), line


def test_every_call_is_recorded(service, operator, devices):
    """Under the policy's name and with the request's ID, each call one record, in order; none of them
    has a key in it."""
    name = "Line-4_tool@factory.example"
    service.cli("policy", "add", name, "--rights", ",".join(RIGHTS))
    own = Operator(service, name)
    answers = []
    for _, method, path, body, _, _ in CALLS:
        answers.append(own.ask(method, path, body))
        assert answers[-1].status in (200, 204), (path, answers[-1])
    mine = [r for r in records(service) if r["actor"] == f"policy:{name}"]
    assert [(r["action"], r["subject"]) for r in mine] == [call[4:] for call in CALLS]
    assert [r["detail"]["requestId"] for r in mine] == [a.request_id for a in answers]
    assert {r["scope"] for r in mine if not r["action"].startswith("hub.")} == {service.scope}
    text = json.dumps(mine)
    for key in (own.key, devices["key"].key, devices["group key"].key):
        assert base64.b64encode(key).decode() not in text
    missing = own.ask("GET", "/enrollments/never-was")
    assert missing.status == 404
    last = records(service)[-1]
    assert (last["action"], last["subject"], last["detail"]["status"]) == (
        "enrollment.read", "never-was", 404)
    assert service.cli("audit", "verify").returncode == 0
    devices["key"].register()


def test_rolling_both_keys(service):
    """Clients are moved from key to key without a gap, and what was rolled opens nothing again."""
    def status(key):
        return Operator(service, "rolled", key).ask("GET", "/enrollments/none").status

    service.cli("policy", "add", "rolled", "--rights", "EnrollmentRead")
    keys = Operator(service, "rolled", b"unused")
    old = {slot: keys.key_of("rolled", *slot) for slot in ((), ("--secondary",))}
    assert [status(key) for key in old.values()] == [404, 404]
    service.cli("policy", "roll", "rolled", "--secondary")
    fresh = keys.key_of("rolled", "--secondary")
    assert (status(old[()]), status(old[("--secondary",)]), status(fresh)) == (404, 401, 404)
    service.cli("policy", "roll", "rolled", "--primary")
    assert (status(old[()]), status(fresh), status(keys.key_of("rolled"))) == (401, 404, 404)
    service.cli("policy", "remove", "rolled")
    assert status(fresh) == 401
    service.cli("policy", "add", "rolled", "--rights", "EnrollmentRead")
    assert status(fresh) == 401
    actions = [r["action"] for r in records(service) if r["subject"] == "rolled"]
    assert actions.count("policy.roll") == 2, actions


def secrets(answer):
    """The keys that an answer tells, by slot."""
    return {name[:-3]: base64.b64decode(value) for name, value in answer.json().items()
            if name.endswith("Key")}


def test_policies_over_the_network(service, operator):
    """Made with two keys, which are told to who makes it, in that answer alone; rolled one by one;
    removed, and out from the next request on."""
    made = operator.ask("PUT", POLICIES + "/far-1", {"rights": "EnrollmentRead,ServiceConfig"})
    keys = secrets(made)
    assert made.status == 200 and set(keys) == {"primary", "secondary"}, made
    ways = {slot: Operator(service, "far-1", key) for slot, key in keys.items()}
    assert [w.ask("GET", "/enrollments/none").status for w in ways.values()] == [404, 404]
    assert operator.ask("PUT", POLICIES + "/far-1", {"rights": "EnrollmentRead"}).status == 409
    rolled = ways["primary"].ask("POST", POLICIES + "/far-1/roll", {"key": "secondary"})
    assert set(secrets(rolled)) == {"secondary"}, rolled
    fresh = Operator(service, "far-1", secrets(rolled)["secondary"])
    assert [w.ask("GET", POLICIES).status for w in (*ways.values(), fresh)] == [200, 401, 200]
    keys["fresh"] = fresh.key
    told = json.dumps([operator.ask("GET", POLICIES).json(), records(service),
                       service.log_text()])
    for key in keys.values():
        assert base64.b64encode(key).decode() not in told and key.hex() not in told
    assert operator.ask("DELETE", POLICIES + "/far-1").status == 204
    assert [w.ask("GET", POLICIES).status for w in (ways["primary"], fresh)] == [401, 401]
    mine = [(r["action"], r["actor"]) for r in records(service) if r["subject"] == "far-1"]
    assert mine == [("policy.add", f"policy:{OWNER}"), ("policy.roll", "policy:far-1"),
                    ("policy.remove", f"policy:{OWNER}")]


def test_no_policy_goes_beyond_its_maker(service):
    """For each right: who lacks it makes no policy with it, and neither renews nor removes one that
    has it; no key is told, nothing changes, and the log says why."""
    for right in RIGHTS[1:]:
        mine = ",".join(r for r in RIGHTS if r != right)
        name = f"lacks.{right}"
        service.cli("policy", "add", name, "--rights", mine)
        service.cli("policy", "add", f"has.{right}", "--rights", right)
        own = Operator(service, name)
        before = own.ask("GET", POLICIES).json()
        for method, rest, body in (
                ("PUT", "/above", {"rights": right}), ("PUT", "/above", {"rights": ",".join(RIGHTS)}),
                ("PUT", "/above", {"rights": f"ServiceConfig,{right}"}),
                ("POST", f"/has.{right}/roll", {"key": "primary"}),
                ("POST", f"/{OWNER}/roll", {"key": "secondary"}),
                ("DELETE", f"/has.{right}", None), ("DELETE", f"/{OWNER}", None)):
            answer = own.ask(method, POLICIES + rest, body)
            assert answer.status == 401 and b"Key" not in answer.body, (method, rest, answer)
            (line,) = [x for x in service.log_of(answer.request_id) if "reason" in x]
            assert (line["reason"], line["policy"]) == ("policy.right_exceeded", name), line
        assert own.ask("GET", POLICIES).json() == before
        assert own.ask("PUT", POLICIES + f"/peer.{right}", {"rights": mine}).status == 200
        assert own.ask("DELETE", POLICIES + f"/peer.{right}").status == 204


def test_the_last_owner_stays(make_service):
    """The service's own machine alone takes away the last policy with every right."""
    service = make_service("owners")
    owner = Operator(service)
    assert owner.ask("DELETE", f"{POLICIES}/{OWNER}").json()["errorCode"] == 409902
    heir = Operator(service, "heir", secrets(
        owner.ask("PUT", POLICIES + "/heir", {"rights": ",".join(RIGHTS)}))["primary"])
    assert heir.ask("DELETE", f"{POLICIES}/{OWNER}").status == 204
    assert owner.ask("GET", POLICIES).status == 401
    assert heir.ask("DELETE", POLICIES + "/heir").status == 409
    service.cli("policy", "remove", "heir")
    assert heir.ask("GET", POLICIES).status == 401


def test_hubs_that_scopes_share(make_service):
    """Where there are several ID scopes, no policy of one changes the hubs of all, or removes them;
    on the machine they are changed."""
    service = make_service("shared")
    owner = Operator(service)
    assert owner.ask("PUT", HUBS + "/one.example.test", {"weight": 2}).status == 200
    service.cli("scope", "add", OTHER_SCOPE)
    service.cli("scope", "set", service.scope, "--host", service.host)
    before = owner.ask("GET", HUBS).json()
    for method, name, body in (("PUT", "two.example.test", {}), ("PATCH", service.hub, {"weight": 9}),
                               ("DELETE", "one.example.test", None)):
        answer = owner.ask(method, f"{HUBS}/{name}", body)
        assert answer.status == 409 and "service's own machine" in answer.json()["message"], answer
    assert owner.ask("GET", HUBS).json() == before
    service.cli("hub", "remove", "one.example.test")


def test_expired_tokens(service, operator):
    """Past the five minutes of skew nothing is let in, whatever the call."""
    for _, method, path, _, _, _ in CALLS:
        answer = operator.ask(method, path, raw=b"{",
                              token=operator.token(expiry=sas.in_s(-301)))
        assert answer.status == 401, (path, answer)
        (line,) = [x for x in service.log_of(answer.request_id) if "reason" in x]
        assert line["reason"] == "token.expired" and "policy" not in line, line


def test_scopes_keep_apart(make_service):
    """Two scopes under two hosts, with a policy of the same name each: neither key opens the other's,
    by its own host or by the other's; a host that is nobody's is not found. Enrollments of one are
    not seen from the other."""
    service = make_service("scopes")
    service.cli("scope", "add", OTHER_SCOPE)
    service.cli("scope", "set", service.scope, "--host", service.host)
    service.cli("scope", "set", OTHER_SCOPE, "--host", OTHER_HOST)
    service.cli("policy", "add", OWNER, "--rights", ",".join(RIGHTS), "--scope", OTHER_SCOPE)
    keys = {scope: Operator(service, key=b"unused").key_of(OWNER, "--scope", scope)
            for scope in (service.scope, OTHER_SCOPE)}
    hosts = {service.scope: service.host, OTHER_SCOPE: OTHER_HOST}
    for scope, key in keys.items():
        own = Operator(service, key=key)
        made = own.ask("PUT", "/enrollments/twin", symmetric("twin"), host=hosts[scope],
                       token=own.token(sr=hosts[scope]))
        assert made.status == 200, made
        for host in hosts.values():
            for sr in hosts.values():
                answer = own.ask("GET", "/enrollments/twin", host=host, token=own.token(sr=sr))
                right = host == sr == hosts[scope]
                assert answer.status == (200 if right else 401), (scope, host, sr, answer)
                if right:
                    assert answer.json()["etag"] == made.json()["etag"]
        nobody = own.ask("GET", "/enrollments/twin", host="third.example.test",
                         token=own.token(sr="third.example.test"))
        assert nobody.status == 404, nobody
    by_scope = [(r["scope"], r["actor"]) for r in records(service)
                if r["action"] == "enrollment.create"]
    assert by_scope == [(scope, f"policy:{OWNER}") for scope in keys]
