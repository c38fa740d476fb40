"""The operators' API by raw calls: every row of service-api.md sections 2, 3, 7, 8 and 9."""
import base64
import hmac
import json

import pytest

from lib import sas
from lib.device import Device
from lib.https import Connection, request
from lib.process import wait_until
from lib.serviceapi import Operator
from lib.softtpm import SoftTpm
from test_allocation import outcome

TPMS = {}


def tpm(name):
    """A TPM by name, made once."""
    if name not in TPMS:
        TPMS[name] = SoftTpm("ecc")
    return TPMS[name]


def text(key):
    return base64.b64encode(key.tpm2b).decode()


def enrollment(registration_id, ek=None, **more):
    return {"registrationId": registration_id,
            "attestation": {"type": "tpm",
                            "tpm": {"endorsementKey": text((ek or tpm(registration_id)).ek)}},
            **more}


def group(group_id, **more):
    return {"enrollmentGroupId": group_id, "attestation": {"type": "symmetricKey"}, **more}


def audit(service, action, subject):
    """The audit records of one action on one subject."""
    lines = service.cli("audit", "list", "--json").stdout.splitlines()
    records = [json.loads(line) for line in lines]
    return [r for r in records if r["action"] == action and r["subject"] == subject]


def code(answer):
    return answer.json()["errorCode"]


@pytest.fixture(scope="module")
def service(module_service):
    return module_service


@pytest.fixture(scope="module")
def operator(service):
    return Operator(service)


# ---- section 2: endpoints


def test_an_enrollment_is_created_read_and_deleted(service, operator):
    """PUT, GET and DELETE answer as the table says, and everything is in the audit record."""
    made = operator.put(enrollment("ep-1", deviceId="Dev-1", provisioningStatus="disabled"))
    assert made.status == 200, made
    body = made.json()
    assert body["registrationId"] == "ep-1" and body["deviceId"] == "Dev-1"
    assert body["provisioningStatus"] == "disabled"
    assert body["allocationPolicy"] == "hashed"
    assert body["reprovisionPolicy"] == {"updateHubAssignment": True, "migrateDeviceData": True}
    assert body["etag"].startswith('"') and body["etag"].endswith('"')
    assert body["createdDateTimeUtc"] == body["lastUpdatedDateTimeUtc"]
    assert len(body["createdDateTimeUtc"]) == len("2026-01-02T03:04:05.6789012Z")
    got = operator.ask("GET", "/enrollments/EP-1")
    assert got.status == 200 and got.json() == body, got
    gone = operator.ask("DELETE", "/enrollments/ep-1")
    assert gone.status == 204 and gone.body == b"", gone
    missing = operator.ask("GET", "/enrollments/ep-1")
    assert missing.status == 404 and code(missing) == 404201
    for action in ("enrollment.create", "enrollment.delete"):
        (record,) = audit(service, action, "ep-1")
        assert record["actor"] == "policy:provisioningserviceowner", record


def test_a_group_is_created_read_and_deleted(operator):
    """The same of groups, whose answers to PUT alone show the keys."""
    made = operator.ask("PUT", "/enrollmentGroups/grp-1", group("grp-1"))
    assert made.status == 200, made
    keys = made.json()["attestation"]["symmetricKey"]
    assert len(base64.b64decode(keys["primaryKey"])) == 64
    got = operator.ask("GET", "/enrollmentGroups/grp-1").json()
    assert "primaryKey" not in got["attestation"]["symmetricKey"]
    shown = operator.ask("POST", "/enrollmentgroups/grp-1/attestationmechanism")
    assert shown.status == 200 and shown.json()["symmetricKey"] == keys, shown
    again = operator.ask("PUT", "/enrollmentGroups/grp-1", group("grp-1"))
    assert again.status == 409 and code(again) == 409202
    kept = operator.ask("PUT", "/enrollmentGroups/grp-1", got, headers=[("If-Match", got["etag"])])
    assert kept.status == 200 and kept.json()["attestation"]["symmetricKey"] == keys, kept
    assert operator.ask("DELETE", "/enrollmentGroups/grp-1").status == 204
    missing = operator.ask("DELETE", "/enrollmentGroups/grp-1")
    assert missing.status == 404 and code(missing) == 404204


def test_attestationmechanism_of_an_enrollment(service, operator):
    """A TPM's keys are public; asking is recorded all the same."""
    operator.put(enrollment("am-1"))
    answer = operator.ask("POST", "/enrollments/am-1/attestationMechanism")
    assert answer.status == 200
    assert answer.json() == {"type": "tpm", "tpm": {"endorsementKey": text(tpm("am-1").ek)}}
    assert audit(service, "enrollment.read_attestation", "am-1")
    assert code(operator.ask("POST", "/enrollments/am-2/attestationmechanism")) == 404201


def test_routing_quirks(operator):
    """Trailing slashes, letter case, escapes, and an enrollment that is named query."""
    made = operator.put(enrollment("query"))
    assert made.status == 200, made
    assert operator.ask("GET", "/enrollments/query").json()["registrationId"] == "query"
    assert operator.query("/ENROLLMENTS/query").status == 200
    assert operator.query("/enrollments/query/").status == 200
    assert operator.ask("DELETE", "/enrollments/query/").status == 204
    operator.put(enrollment("My:Dev.1_x"))
    assert operator.ask("GET", "/enrollments/My%3ADev.1_x").json()["registrationId"] == "My:Dev.1_x"
    body = {"mode": "delete", "enrollments": [{"registrationId": "my:dev.1_x"}]}
    assert operator.ask("POST", "/enrollments/", body).json()["isSuccessful"] is True


@pytest.mark.parametrize("method,path", [
    ("GET", "/enrollments"), ("POST", "/enrollments/x"), ("PATCH", "/enrollments/x"),
    ("GET", "/enrollments/x/attestationmechanism"), ("PUT", "/registrations/x"),
    ("POST", "/registrations"), ("GET", "/registrations/x/query"), ("DELETE", "/enrollments/")])
def test_wrong_methods(operator, method, path):
    """405 with what the path knows, also where an id is missing."""
    answer = operator.ask(method, path)
    assert answer.status == 405 and "OPTIONS" in answer.header("allow"), answer


@pytest.mark.parametrize("path", ["/enrollments//x", "/enrollments/x/y", "/enrollments/x/y/z",
                                  "/registrations/x/attestationmechanism"])
def test_unknown_paths(operator, path):
    assert operator.ask("POST", path).status == 404


@pytest.mark.parametrize("version", [None, "", "2017-01-01", "2021-10-01-preview", "later",
                                     "2021-10-01&api-version=2021-10-01"])
def test_api_versions_that_are_not_served(operator, version):
    answer = operator.ask("GET", "/enrollments/x", version=version)
    assert answer.status == 400 and "2021-10-01" in answer.json()["message"], answer


@pytest.mark.parametrize("version", ["2018-04-01", "2018-09-01-preview", "2019-03-31",
                                     "2021-06-01", "2021-10-01"])
def test_api_versions_that_are_served(operator, version):
    assert operator.ask("GET", "/enrollments/none", version=version).status == 404


# ---- section 3: etag and If-Match


def test_if_match(operator):
    """Every row of the table, in each spelling of the etag."""
    body = enrollment("etag-1")
    for condition in ("*", '"*"', '"0123"'):
        assert operator.put(body, condition).status == 404
    first = operator.put(body).json()["etag"]
    again = operator.put(body)
    assert again.status == 409 and code(again) == 409201
    stale = operator.put(body, '"0123"')
    assert stale.status == 412 and code(stale) == 412001
    current = first
    for spell in (lambda tag: tag, lambda tag: tag.strip('"'), lambda tag: "W/" + tag):
        answer = operator.put(body, spell(current))
        assert answer.status == 200 and answer.json()["etag"] != current, answer
        current = answer.json()["etag"]
    assert operator.put(body, first).status == 412
    for condition in ("*", '"*"'):
        assert operator.put(body, condition).status == 200
    # An etag in the body is no condition.
    assert operator.put({**body, "etag": '"0123"'}, "*").status == 200
    gone = operator.ask("DELETE", "/enrollments/etag-1", headers=[("If-Match", first)])
    assert gone.status == 412
    gone = operator.ask("DELETE", "/enrollments/etag-1", headers=[("If-Match", "*")])
    assert gone.status == 204
    gone = operator.ask("DELETE", "/enrollments/etag-1", headers=[("If-Match", first)])
    assert gone.status == 404 and code(gone) == 404201
    assert operator.ask("DELETE", "/enrollments/etag-1").status == 404


# ---- sections 4 to 6: what is stored


def test_every_field_comes_back(service, operator):
    """What is given is what GET says; what is unknown is not kept."""
    service.cli("hub", "add", "hub2.example.test")
    first, second = tpm("field-a"), tpm("field-b")
    body = {
        "registrationId": "field-1", "deviceId": "Field:1",
        "attestation": {"type": "tpm", "tpm": {
            "endorsementKey": text(first.ek), "endorsementKeys": [text(first.ek), text(second.ek)],
            "storageRootKey": text(first.srk), "pinStorageRootKey": True}},
        "capabilities": {"iotEdge": True}, "provisioningStatus": "enabled",
        "reprovisionPolicy": {"updateHubAssignment": True, "migrateDeviceData": False},
        "allocationPolicy": "static", "iotHubs": ["hub2.example.test"],
        "initialTwin": {"tags": {"a": 1}, "properties": {"desired": {"b": {"c": [2, None]}}}},
        "optionalDeviceInformation": {"maker": "Größe"}}
    made = operator.put({**body, "credentialPolicyName": "x", "someday": {"a": []}})
    assert made.status == 200, made
    got = operator.ask("GET", "/enrollments/field-1").json()
    assert {name: got[name] for name in body} == body
    assert set(got) - set(body) == {"etag", "createdDateTimeUtc", "lastUpdatedDateTimeUtc"}
    # Either EK is another enrollment's from now on.
    taken = operator.put(enrollment("field-2", second))
    assert taken.status == 409 and "field-1" in taken.json()["message"], taken
    (record,) = audit(service, "enrollment.ek_duplicate", "field-2")
    assert record["detail"]["enrolledAs"] == "field-1", record


def test_the_older_member_for_one_hub(operator):
    """iotHubHostName makes a static policy where nothing newer is given."""
    got = operator.put(enrollment("legacy-1", iotHubHostName=operator.service.hub)).json()
    assert got["allocationPolicy"] == "static" and got["iotHubs"] == [operator.service.hub]


def test_a_static_policy_without_its_hub(service, operator):
    """It is kept, and assigns nobody until the hub is named."""
    device = Device(service, "static-1", tpm("static-1"))
    made = operator.put(enrollment("static-1", allocationPolicy="static"))
    assert made.status == 200 and made.json()["allocationPolicy"] == "static", made
    assert outcome(device)["errorCode"] == 400208
    state = operator.ask("GET", "/registrations/static-1").json()
    assert (state["status"], state["errorCode"]) == ("failed", 400208), state
    named = operator.put({**made.json(), "iotHubs": [service.hub]}, made.json()["etag"])
    assert named.status == 200, named
    assert device.register()["assignedHub"] == service.hub
    device.close()


def spoilt(registration_id="bad-1", **more):
    return {**enrollment(registration_id, tpm("bad-1")), **more}


def bad_tpm(**members):
    return spoilt(attestation={"type": "tpm", "tpm": members})


@pytest.mark.parametrize("body,expected", [
    (lambda: bad_tpm(), 400201),
    (lambda: bad_tpm(endorsementKey="a"), 400201),
    (lambda: bad_tpm(endorsementKey=text(tpm("bad-1").srk)), 400201),
    (lambda: bad_tpm(endorsementKey=text(tpm("bad-1").ek) + "AAAA"), 400201),
    (lambda: bad_tpm(endorsementKey=7), 400201),
    (lambda: bad_tpm(endorsementKeys={}), 400201),
    (lambda: bad_tpm(endorsementKey=text(tpm("bad-1").ek), storageRootKey="AAAA"), 400203),
    (lambda: bad_tpm(endorsementKey=text(tpm("bad-1").ek), storageRootKey=text(tpm("bad-1").ek)),
     400203),
    (lambda: bad_tpm(endorsementKey=text(tpm("bad-1").ek), pinStorageRootKey=True), 400203),
    (lambda: spoilt(registrationId="bad-2"), 400202),
    (lambda: spoilt(registrationId=7), 400202),
    (lambda: spoilt(attestation=None), 400004),
    (lambda: spoilt(attestation={"type": "none"}), 400004),
    (lambda: spoilt(attestation={"type": "x509", "x509": {}}), 400004),
    (lambda: spoilt(attestation={"type": "x509", "x509": {"clientCertificates": {
        "primary": {"info": {}}}}}), 400004),
    (lambda: spoilt(attestation={"type": "symmetricKey",
                                 "symmetricKey": {"primaryKey": "AAAA"}}), 400004),
    (lambda: spoilt(deviceId="a b"), 400004),
    (lambda: spoilt(provisioningStatus="perhaps"), 400004),
    (lambda: spoilt(allocationPolicy="Somehow"), 400004),
    (lambda: spoilt(allocationPolicy="custom"), 400004),
    (lambda: spoilt(allocationPolicy="static", iotHubs=["hub.example.test", "hub2.example.test"]),
     400004),
    (lambda: spoilt(iotHubs=["nowhere.example.test"]), 400004),
    (lambda: spoilt(iotHubs=["hub.example.test", "HUB.example.test"]), 400004),
    (lambda: spoilt(iotHubs=[""]), 400004),
    (lambda: spoilt(customAllocationDefinition={"webhookUrl": "https://a/", "apiVersion": "1"}),
     400004),
    (lambda: spoilt(reprovisionPolicy={"updateHubAssignment": True}), 400004),
    (lambda: spoilt(initialTwin={"tags": 1}), 400004),
    (lambda: spoilt(initialTwin={"tags": {"a": "b" * 40000}}), 400004),
    (lambda: spoilt(capabilities={"iotEdge": "yes"}), 400004),
    (lambda: spoilt(optionalDeviceInformation=[]), 400004)])
def test_bodies_that_are_refused(operator, body, expected):
    """Each with its code, and a message that names the member."""
    answer = operator.ask("PUT", "/enrollments/bad-1", body())
    assert answer.status == 400 and code(answer) == expected, answer
    assert operator.ask("GET", "/enrollments/bad-1").status == 404


@pytest.mark.parametrize("path", ["/enrollments/a%20b", "/enrollments/%2e%2E", "/enrollments/a%2Fb",
                                  "/enrollments/" + "a" * 129, "/enrollments/a."])
def test_ids_that_are_refused(operator, path):
    answer = operator.ask("GET", path)
    assert answer.status == 400 and code(answer) == 400202, answer


def test_ids_of_the_longest_kind(operator):
    longest = "a" * 128
    assert operator.put(enrollment(longest)).status == 200
    assert operator.ask("DELETE", "/enrollments/" + longest).status == 204


def test_shared_keys_of_an_enrollment(operator):
    """Given, kept when an update leaves them out, and shown by PUT and attestationmechanism only."""
    key = base64.b64encode(b"k" * 32).decode()
    body = {"registrationId": "sym-1",
            "attestation": {"type": "symmetricKey", "symmetricKey": {"primaryKey": key}}}
    made = operator.put(body).json()["attestation"]["symmetricKey"]
    assert made["primaryKey"] == key and len(base64.b64decode(made["secondaryKey"])) == 64
    got = operator.ask("GET", "/enrollments/sym-1").json()
    assert got["attestation"] == {"type": "symmetricKey", "symmetricKey": {}}
    kept = operator.put(got, got["etag"])
    assert kept.status == 200 and kept.json()["attestation"]["symmetricKey"] == made, kept


# ---- section 7: bulk


def test_bulk(service, operator):
    """Items stand alone, in each mode; the result says which failed and why."""
    operator.put(enrollment("bulk-1"))
    items = [enrollment("bulk-1"), enrollment("bulk-2"), {"registrationId": "bulk-3"},
             enrollment("bulk-4", tpm("bulk-2"))]
    answer = operator.ask("POST", "/enrollments", {"mode": "create", "enrollments": items})
    assert answer.status == 200, answer
    result = answer.json()
    assert result["isSuccessful"] is False
    assert [(e["registrationId"], e["errorCode"]) for e in result["errors"]] == [
        ("bulk-1", 409201), ("bulk-3", 400004), ("bulk-4", 409201)]
    assert all(e["errorStatus"] for e in result["errors"])
    current = operator.ask("GET", "/enrollments/bulk-2").json()
    items = [{**current, "deviceId": "B2"}, enrollment("bulk-5")]
    answer = operator.ask("POST", "/enrollments", {"mode": "update", "enrollments": items}).json()
    assert [(e["registrationId"], e["errorCode"]) for e in answer["errors"]] == [("bulk-5", 404201)]
    items = [current, {**enrollment("bulk-1"), "etag": ""}]
    answer = operator.ask("POST", "/enrollments",
                          {"mode": "updateIfMatchEtag", "enrollments": items}).json()
    assert [(e["registrationId"], e["errorCode"]) for e in answer["errors"]] == [
        ("bulk-2", 412001), ("bulk-1", 400004)]
    current = operator.ask("GET", "/enrollments/bulk-2").json()
    assert current["deviceId"] == "B2"
    answer = operator.ask("POST", "/enrollments",
                          {"mode": "updateIfMatchETag", "enrollments": [current]}).json()
    assert answer == {"isSuccessful": True, "errors": []}
    items = [{"registrationId": name} for name in ("bulk-1", "bulk-2", "bulk-9", "bulk 9")]
    answer = operator.ask("POST", "/enrollments", {"mode": "delete", "enrollments": items}).json()
    assert [(e["registrationId"], e["errorCode"]) for e in answer["errors"]] == [
        ("bulk-9", 404201), ("bulk 9", 400202)]
    assert audit(service, "enrollment.delete", "bulk-2")


def test_bulk_of_groups(operator):
    body = {"mode": "create", "enrollmentGroups": [group("bg-1"), group("bg-2"), {}]}
    answer = operator.ask("POST", "/enrollmentGroups/", body).json()
    assert [(e["enrollmentGroupId"], e["errorCode"]) for e in answer["errors"]] == [("", 400204)]
    body = {"mode": "delete", "enrollmentGroups": [group("bg-1"), group("bg-2")]}
    assert operator.ask("POST", "/enrollmentGroups/", body).json()["isSuccessful"] is True


@pytest.mark.parametrize("body,expected", [
    ({"mode": "create", "enrollments": [{"registrationId": f"x{i}"} for i in range(11)]}, 400205),
    ({"mode": "delete", "enrollments": [{"registrationId": "A"}, {"registrationId": "a"}]}, 400206),
    ({"mode": "create", "enrollments": []}, 400004), ({"mode": "create"}, 400004),
    ({"mode": "create", "enrollments": [1]}, 400004),
    ({"mode": "merge", "enrollments": [{}]}, 400004), ({"enrollments": [{}]}, 400004)])
def test_bulks_that_are_refused_whole(operator, body, expected):
    answer = operator.ask("POST", "/enrollments", body)
    assert answer.status == 400 and code(answer) == expected, answer


# ---- section 8: queries and registration states


def test_queries_and_pages(make_service):
    """
    Pages by continuation; a token is good for its own query only, and survives a restart. A page of
    8 rows is whole however slow the machine is; longer ones may be cut by time.
    """
    service = make_service("paging", bulk_max=100)
    operator = Operator(service)
    items = [{"registrationId": f"pg-{i:03}", "attestation": {"type": "symmetricKey"},
              "provisioningStatus": "enabled" if i % 2 else "disabled"} for i in range(100)]
    assert operator.ask("POST", "/enrollments",
                        {"mode": "create", "enrollments": items}).json()["isSuccessful"]
    answer = operator.query("/enrollments/query", "SELECT * FROM enrollments", 8)
    assert answer.header("x-ms-item-type") == "Enrollment"
    assert answer.header("x-ms-max-item-count") == "8"
    assert len(answer.json()) == 8
    token = answer.header("x-ms-continuation")
    service.stop()
    service.start()
    rest = operator.all("/enrollments/query", "SELECT * FROM enrollments", 60, token)
    assert [row["registrationId"] for row in rest] == [f"pg-{i:03}" for i in range(8, 100)]
    for path, text_ in (("/enrollments/query", "*"), ("/enrollmentGroups/query", "*"),
                        ("/registrations/pg-001/query", "SELECT * FROM enrollments")):
        assert operator.query(path, text_, 8, token).status == 400
    for foreign in (token[:-4], "AAAA", token.replace(token[20], "A" if token[20] != "A" else "B"),
                    "x" * 400):
        assert operator.query("/enrollments/query", "SELECT * FROM enrollments", 8,
                              foreign).status == 400
    where = "SELECT * FROM enrollments WHERE provisioningStatus = 'enabled'"
    assert len(operator.all("/enrollments/query", where, 7)) == 50
    for condition, count in (("registrationId >= 'PG-090'", 10), ("registrationId > 'pg-090'", 9),
                             ("registrationId = 'pg-005'", 1), ("registrationId < 'pg-005'", 5),
                             ("attestation.type = 'tpm'", 0),
                             ("attestation.type = 'symmetricKey' AND registrationId <= 'pg-009'",
                              10)):
        rows = operator.all("/enrollments/query", f"SELECT * WHERE {condition}", 4)
        assert len(rows) == count, condition
    assert len(operator.all("/enrollments/query", "*")) == 100
    for bad in ("SELECT id FROM enrollments", "SELECT * FROM enrollmentGroups", "", "DROP"):
        assert operator.query("/enrollments/query", bad).status == 400
    assert operator.query("/enrollments/query", "*", "many").status == 400
    assert operator.ask("POST", "/enrollments/query", {}).status == 400
    assert operator.query("/enrollmentGroups/query").header("x-ms-item-type") == "EnrollmentGroup"


def test_a_scan_is_bounded(make_service):
    """A condition that nothing meets ends each call after so many rows, with a continuation."""
    service = make_service("scan", bulk_max=1000, http_body_max=1000000)
    operator = Operator(service)
    for start in (0, 600):
        items = [{"registrationId": f"s-{i:05}", "attestation": {"type": "symmetricKey"}}
                 for i in range(start, start + 600)]
        assert operator.ask("POST", "/enrollments",
                            {"mode": "create", "enrollments": items}).json()["isSuccessful"]
    answer = operator.query("/enrollments/query", "SELECT * WHERE provisioningStatus = 'disabled'")
    assert answer.json() == [] and answer.header("x-ms-continuation")
    assert operator.all("/enrollments/query", "SELECT * WHERE provisioningStatus = 'disabled'") == []
    assert len(operator.all("/enrollments/query", "*", 5000)) == 1200


def test_registration_states(service, operator):
    """What a registration left, by itself, on its enrollment, and of a group; and forgetting it."""
    assert code(operator.ask("GET", "/registrations/reg-1")) == 404202
    device = Device(service, "reg-1", tpm("reg-1"))
    operator.put(enrollment("reg-1"))
    assert "registrationState" not in operator.ask("GET", "/enrollments/reg-1").json()
    device.register()
    device.close()
    state = operator.ask("GET", "/registrations/REG-1")
    assert state.status == 200, state
    body = state.json()
    assert body["status"] == "assigned" and body["substatus"] == "initialAssignment", body
    assert body["assignedHub"] == device.hub and body["deviceId"] == "reg-1", body
    assert body["etag"].startswith('"') and "tpm" not in body
    assert operator.ask("GET", "/enrollments/reg-1").json()["registrationState"] == body
    rows = operator.ask("POST", "/registrations/nobody/query")
    assert rows.status == 200 and rows.json() == []
    assert rows.header("x-ms-item-type") == "DeviceRegistration"
    stale = operator.ask("DELETE", "/registrations/reg-1", headers=[("If-Match", '"0"')])
    assert stale.status == 412
    assert operator.ask("DELETE", "/registrations/reg-1").status == 204
    assert operator.ask("DELETE", "/registrations/reg-1").status == 404
    assert audit(service, "registration.remove", "reg-1")


def test_registrations_of_a_group(service, operator):
    """Members of a group page by page, and one of them forgotten."""
    made = operator.ask("PUT", "/enrollmentGroups/line-r", group("line-r", iotHubs=[service.hub]))
    key = base64.b64decode(made.json()["attestation"]["symmetricKey"]["primaryKey"])
    names = [f"line-r-{i}" for i in range(5)]
    for name in names:
        derived = hmac.digest(key, name.encode(), "sha256")
        token = sas.token(derived, sas.escape(f"{service.scope}/registrations/{name}"),
                          sas.in_s(600), "registration")
        with Connection(service.address, service.ca_file, service.host) as link:
            answer = link.ask(request(
                "PUT", f"/{service.scope}/registrations/{name}/register?api-version=2021-06-01",
                [("Host", service.host), ("Authorization", token), ("Content-Length", "2"),
                 ("Content-Type", "application/json")], b"{}"))
        assert answer.status == 202, answer
    rows = operator.all("/registrations/LINE-R/query", "SELECT *", 2)
    assert [row["registrationId"] for row in rows] == names
    assert {row["assignedHub"] for row in rows} == {service.hub}
    first = operator.query("/registrations/line-r/query", "*", 2)
    assert len(first.json()) == 2 and first.header("x-ms-continuation")
    assert first.header("x-ms-item-type") == "DeviceRegistration"
    gone = operator.ask("DELETE", "/registrations/line-r-1",
                        headers=[("If-Match", rows[1]["etag"])])
    assert gone.status == 204
    where = f"SELECT * WHERE assignedHub = '{service.hub.upper()}' AND status = 'assigned'"
    assert [row["registrationId"] for row in operator.all("/registrations/line-r/query", where)] == [
        name for name in names if name != "line-r-1"]


def test_pages_go_on_after_a_rotation(make_service):
    """The token of a page that was read before the master keys were rotated."""
    service = make_service("rotation")
    operator = Operator(service)
    for i in range(3):
        operator.ask("PUT", f"/enrollmentGroups/rot-{i}", group(f"rot-{i}"))
    token = operator.query("/enrollmentGroups/query", "*", 1).header("x-ms-continuation")
    service.cli("key", "rotate")
    wait_until(lambda: any(line["event"] == "keyring.loaded" for line in service.log()),
               "the new keyring is read")
    rest = operator.all("/enrollmentGroups/query", "*", 1, token)
    assert [row["enrollmentGroupId"] for row in rest] == ["rot-1", "rot-2"]
    service.stop()
    service.start()
    assert operator.all("/enrollmentGroups/query", "*", 1, token) == rest


# ---- what the configuration says


def test_reads_without_records(make_service):
    """audit-reads 0: changes and what hands out keys are recorded, reads are not."""
    service = make_service("no-reads", audit_reads=0)
    operator = Operator(service)
    operator.put(enrollment("ar-1"))
    assert operator.ask("GET", "/enrollments/ar-1").status == 200
    assert operator.query("/enrollments/query").status == 200
    assert operator.ask("POST", "/enrollments/ar-1/attestationmechanism").status == 200
    assert audit(service, "enrollment.create", "ar-1")
    assert audit(service, "enrollment.read_attestation", "ar-1")
    assert not audit(service, "enrollment.read", "ar-1")
    assert not audit(service, "enrollment.query", "")


def test_signed_manifests_only(make_service):
    """Where imports have to be signed, the API brings no device in, alone or in bulk."""
    service = make_service("signed", import_signature_required=1)
    operator = Operator(service)
    for answer in (operator.put(enrollment("sg-1")),
                   operator.ask("PUT", "/enrollmentGroups/sg", group("sg"))):
        assert answer.status == 400, answer
        assert "import-signature-required" in answer.json()["message"]
    answer = operator.ask("POST", "/enrollments",
                          {"mode": "create", "enrollments": [enrollment("sg-1")]}).json()
    assert answer["isSuccessful"] is False
    assert "import-signature-required" in answer["errors"][0]["errorStatus"]
    service.cli("enrollment", "add", "--registration-id", "sg-1", "--ek", text(tpm("sg-1").ek))
    got = operator.ask("GET", "/enrollments/sg-1").json()
    off = operator.put({**got, "provisioningStatus": "disabled"}, got["etag"])
    assert off.status == 200 and off.json()["provisioningStatus"] == "disabled", off
    other = operator.put(enrollment("sg-1", tpm("sg-2")), "*")
    assert other.status == 400 and "import-signature-required" in other.json()["message"]
    assert operator.ask("DELETE", "/enrollments/sg-1").status == 204


# ---- sections 9 and 12.1: errors and access


def test_head_has_no_body(service, operator):
    """HEAD is no method of any path: a 405 whose body is not sent, and the connection goes on."""
    head = [("Host", service.host), ("Content-Length", "0"), ("Authorization", operator.token())]
    with Connection(service.address, service.ca_file, service.host) as link:
        link.send(request("HEAD", "/enrollments/x?api-version=2021-10-01", head))
        answer = link.read(with_body=False)
        assert answer.status == 405 and int(answer.header("content-length")) > 0, answer
        assert answer.header("allow") == "PUT, GET, DELETE, OPTIONS"
        answer = link.ask(request("GET", "/enrollments/x?api-version=2021-10-01", head))
        assert answer.status == 404, answer


def test_a_body_that_is_too_large(service, operator):
    """Refused before it is sent whole, and by no more than its status."""
    head = [("Host", service.host), ("Content-Length", "98305"),
            ("Authorization", operator.token()), ("Content-Type", "application/json")]
    with Connection(service.address, service.ca_file, service.host) as link:
        answer = link.ask(request("PUT", "/enrollments/x?api-version=2021-10-01", head))
        assert answer.status == 413 and answer.json()["message"], answer
        assert link.closed()


def test_media_types_and_sizes(operator):
    answer = operator.ask("PUT", "/enrollments/x", {}, headers=[("Content-Type", "text/plain")])
    assert answer.status == 415 and code(answer) == 415001
    for raw in (b"", b"{", b"[]", b'{"a":1,"a":2}', b"[" * 40):
        assert operator.ask("PUT", "/enrollments/x", raw=raw).status == 400


@pytest.mark.parametrize("change", [
    dict(token=""), dict(token="Bearer abc"), dict(token="SharedAccessSignature "),
])
def test_no_token(operator, change):
    answer = operator.ask("GET", "/enrollments/x", **change)
    assert answer.status == 401 and code(answer) == 401002


def test_tokens_that_are_refused(service, operator):
    """One shape for all; the log has the reason. Nothing of a refused call is judged further."""
    host = sas.escape(service.host)
    wrong = Operator(service, key=b"w" * 32)
    cases = [(operator.token(expiry=sas.in_s(-400)), "token.expired"),
             (operator.token(sr="other.example.test"), "token.resource"),
             (operator.token(sr=host + "%2Fenrollments%2Fothers"), "token.resource"),
             (operator.token(sr=host + "%2Fenrol"), "token.resource"),
             (operator.token(skn="nobody"), "policy.unknown"), (wrong.token(), "token.signature"),
             (operator.token(skn="a b"), "token.malformed")]
    bodies = set()
    for token, reason in cases:
        answer = operator.ask("PUT", "/enrollments/x", raw=b"{", token=token)
        assert answer.status == 401 and code(answer) == 401002, (reason, answer)
        bodies.add(answer.json()["message"])
        (line,) = [x for x in service.log_of(answer.request_id) if "reason" in x]
        assert line["reason"] == reason or reason == "token.malformed", line
    assert bodies == {"Unauthorized"}


@pytest.mark.parametrize("sr", ["{host}", "{HOST}", "{host}%2Fenrollments", "{host}%2fEnrollments",
                                "{host}%2Fenrollments%2Fnone", "{host}/enrollments"])
def test_tokens_that_are_taken(service, operator, sr):
    """Every prefix by segments, in any case, signed as it is spelt; five minutes of skew."""
    sr = sr.format(host=service.host, HOST=service.host.upper())
    for expiry in (sas.in_s(60), sas.in_s(-200)):
        answer = operator.ask("GET", "/enrollments/none", token=operator.token(sr, expiry))
        assert answer.status == 404, answer


def test_rights(service, operator):
    """Each endpoint asks for its own right; both keys count, and a key that was rolled no more."""
    calls = {"EnrollmentRead": [("GET", "/enrollments/x"), ("POST", "/enrollments/query"),
                                ("GET", "/enrollmentGroups/x"), ("POST", "/enrollmentGroups/query")],
             "EnrollmentWrite": [("PUT", "/enrollments/x"), ("DELETE", "/enrollments/x"),
                                 ("POST", "/enrollments"), ("DELETE", "/enrollmentGroups/x"),
                                 ("POST", "/enrollments/x/attestationmechanism"),
                                 ("POST", "/enrollmentGroups/x/attestationmechanism")],
             "RegistrationStatusRead": [("GET", "/registrations/x"),
                                        ("POST", "/registrations/x/query")],
             "RegistrationStatusWrite": [("DELETE", "/registrations/x")],
             "ServiceConfig": [], "DeviceConnect": []}
    for right in calls:
        service.cli("policy", "add", right, "--rights", right)
        own = Operator(service, right)
        for asked, endpoints in calls.items():
            for method, path in endpoints:
                answer = own.ask(method, path)
                assert (answer.status == 401) == (asked != right), (right, method, path, answer)
    reader = Operator(service, "EnrollmentRead")
    second = Operator(service, "EnrollmentRead", reader.key_of("EnrollmentRead", "--secondary"))
    assert second.ask("GET", "/enrollments/x").status == 404
    service.cli("policy", "roll", "EnrollmentRead", "--primary")
    assert reader.ask("GET", "/enrollments/x").status == 401
    assert second.ask("GET", "/enrollments/x").status == 404


def test_a_devices_credentials_open_nothing_here(service, operator):
    """Nor do an operator's open the device API."""
    operator.put(enrollment("cross-1"))
    device = Device(service, "cross-1", tpm("cross-1"))
    device.register()
    resource = sas.escape(f"{service.scope}/registrations/cross-1")
    for sr in (resource, sas.escape(service.host), sas.escape(f"{service.hub}/devices/cross-1")):
        for skn in ("registration", "provisioningserviceowner", "cross-1"):
            token = sas.token(device.key, sr, sas.in_s(600), skn)
            assert operator.ask("GET", "/enrollments/cross-1", token=token).status == 401
    for sr in (resource, sas.escape(service.host)):
        for skn in ("registration", "provisioningserviceowner"):
            token = sas.token(operator.key, sr, sas.in_s(600), skn)
            answer = device.ask(device.dialect.register(device.flow(), token))
            assert answer.status == 401, answer
    device.close()


def test_metrics(service, operator):
    """Calls are counted by how they ended."""
    operator.ask("GET", "/enrollments/x", token="")
    text_ = service.admin("GET", "/metrics")[1].decode()
    for result in ("done", "refused", "rejected", "failed"):
        assert f'latchkey_service_calls_total{{result="{result}"}}' in text_
