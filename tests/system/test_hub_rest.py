"""A hub's HTTPS surface by raw calls: iot-hub.md sections 2, 3, 7, 9 and 11."""
import base64
import json
import os
import random
import string

import pytest

from lib import sas
from lib.hubapi import Hub, name
from lib.service import Service

KEY = base64.b64encode(b"k" * 32).decode()


def builds():
    """The plain build, and the one with sanitizers where it is named."""
    found = [pytest.param(None, id="plain")]
    if os.environ.get("LK_ASAN_BUILD"):
        found.append(pytest.param(os.environ["LK_ASAN_BUILD"], id="sanitizers"))
    return found


@pytest.fixture(scope="module", params=builds())
def service(request, tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("service"), build=request.param)
    service.cli("hub", "policy", "add", service.hub, "iothubowner")
    service.start()
    yield service
    service.stop()


@pytest.fixture(scope="module")
def hub(service):
    return Hub(service)


def audit(service, action, subject):
    """The audit records of one action on one subject."""
    lines = service.cli("audit", "list", "--json").stdout.splitlines()
    records = [json.loads(line) for line in lines]
    return [r for r in records if r["action"] == action and r["subject"] == subject]


# ---- section 2: the identity registry


def test_put_without_if_match_creates(service, hub):
    """Create only: 200 with everything filled in, then 409; the change is in the audit record."""
    made = hub.device("PUT", "put-1", {"deviceId": "put-1"})
    assert made.status == 200, made
    device = made.json()
    assert device["deviceId"] == "put-1" and device["status"] == "enabled"
    assert device["authentication"]["type"] == "sas"
    keys = device["authentication"]["symmetricKey"]
    assert len({base64.b64decode(keys[k]) for k in ("primaryKey", "secondaryKey")}) == 2
    assert made.header("etag") == f'"{device["etag"]}"' and '"' not in device["etag"]
    assert device["generationId"] and device["connectionState"] == "Disconnected"
    assert device["lastActivityTime"] == "0001-01-01T00:00:00"
    assert device["cloudToDeviceMessageCount"] == 0
    assert device["capabilities"] == {"iotEdge": False}
    again = hub.device("PUT", "put-1", {"deviceId": "put-1"})
    assert again.status == 409 and name(again) == "DeviceAlreadyExists"
    assert hub.device("GET", "put-1").json() == device
    (record,) = audit(service, "hub.device.create", "put-1")
    assert record["actor"] == "hub-policy:iothubowner", record
    assert made.request_id in json.dumps(record), record


def test_empty_keys_are_generated(hub):
    """What Node fills in means: make them."""
    device = hub.create("empty-1", authentication={
        "type": "sas", "symmetricKey": {"primaryKey": "", "secondaryKey": ""}})
    assert device["authentication"]["symmetricKey"]["primaryKey"]
    device = hub.create("empty-2", status="disabled", statusReason="not yet", authentication={
        "symmetricKey": {"primaryKey": KEY}})
    assert device["authentication"]["symmetricKey"]["primaryKey"] == KEY
    assert device["authentication"]["symmetricKey"]["secondaryKey"] not in ("", None, KEY)
    assert (device["status"], device["statusReason"]) == ("disabled", "not yet")


@pytest.mark.parametrize("device_id, spelling", [
    ("match-1", "*"), ("match-2", '"*"'), ("match-3", "etag"), ("match-4", '"etag"')])
def test_if_match(hub, device_id, spelling):
    """Update and delete under each spelling of a condition that holds, and under one that does not."""
    device = hub.create(device_id)
    condition = spelling.replace("etag", device["etag"])
    stale = hub.device("PUT", device_id, device, headers=[("If-Match", '"stale"')])
    assert stale.status == 412 and name(stale) == "PreconditionFailed"
    changed = hub.device("PUT", device_id, {**device, "status": "disabled"},
                         headers=[("If-Match", condition)])
    assert changed.status == 200, changed
    assert changed.json()["status"] == "disabled"
    assert changed.json()["etag"] != device["etag"]
    assert changed.json()["generationId"] == device["generationId"]
    assert changed.json()["authentication"] == device["authentication"]
    old = hub.device("DELETE", device_id, headers=[("If-Match", device["etag"])])
    assert old.status == 412, old
    condition = spelling.replace("etag", changed.json()["etag"])
    gone = hub.device("DELETE", device_id, headers=[("If-Match", condition)])
    assert gone.status == 204 and gone.body == b"", gone
    for method, headers in (("GET", ()), ("DELETE", ()), ("DELETE", [("If-Match", "*")]),
                            ("PUT", [("If-Match", "*")])):
        missing = hub.device(method, device_id, {} if method == "PUT" else None, headers=headers)
        assert missing.status == 404 and name(missing) == "DeviceNotFound", missing


@pytest.mark.parametrize("condition", ['""', "", '"', "W/", "x" * 200])
def test_if_match_of_none_of_ours(hub, condition):
    """It matches nothing, also where there is nothing."""
    hub.device("DELETE", "odd-etag")
    hub.create("odd-etag")
    answer = hub.device("PUT", "odd-etag", {}, headers=[("If-Match", condition)])
    assert answer.status == 412, answer


def test_delete_without_a_condition_and_a_new_generation(hub):
    """An id that is made again is another device."""
    first = hub.create("again-1")
    assert hub.device("DELETE", "again-1").status == 204
    second = hub.create("again-1")
    assert second["generationId"] != first["generationId"]
    assert second["authentication"] != first["authentication"]


def test_a_partial_update_keeps_the_rest(hub):
    """A disabled device is not let in by an update that says nothing of its status."""
    device = hub.create("part-1", status="disabled", capabilities={"iotEdge": True})
    changed = hub.device("PUT", "part-1", {"statusReason": "why"}, headers=[("If-Match", "*")]).json()
    assert changed["status"] == "disabled" and changed["capabilities"] == {"iotEdge": True}
    assert changed["statusReason"] == "why"
    assert changed["authentication"] == device["authentication"]


def test_ids_with_every_character(hub):
    """Percent-encoded in the path, with regard to case, and a device that is called query."""
    odd = "aZ9-:.+%_#*?!(),=@;$'"
    assert hub.create(odd)["deviceId"] == odd
    assert hub.device("GET", odd).json()["deviceId"] == odd
    assert hub.device("GET", odd.upper()).status == 404
    twin = hub.ask("GET", "/twins/" + sas.escape(odd))
    assert twin.status == 200 and twin.json()["deviceId"] == odd, twin
    assert hub.create("query")["deviceId"] == "query"
    assert hub.device("GET", "query").json()["deviceId"] == "query"
    assert hub.query("SELECT * FROM devices WHERE deviceId = 'query'").json()[0]["deviceId"] == "query"
    assert hub.create("d" * 128)["deviceId"] == "d" * 128
    for bad in ("d" * 129, "a b", "a/b", "\u00e4", "a&b"):
        answer = hub.device("PUT", bad, {})
        assert answer.status == 400 and name(answer) == "ArgumentInvalid", (bad, answer)


@pytest.mark.parametrize("body", [
    {"deviceId": "other"}, {"status": "maybe"}, {"authentication": {"type": "tpm"}},
    {"authentication": {"symmetricKey": {"primaryKey": "AAAA"}}},
    {"authentication": {"type": "selfSigned"}}, {"statusReason": "r" * 129},
    {"authentication": 7}, {"capabilities": {"iotEdge": "yes"}}])
def test_bad_devices(hub, body):
    """A mistake is told, and nothing is made."""
    answer = hub.device("PUT", "bad-1", body)
    assert answer.status == 400 and name(answer) == "ArgumentInvalid", answer
    assert hub.device("GET", "bad-1").status == 404


def test_bad_bodies(hub):
    """No JSON, another JSON, another media type, another version of it."""
    for raw in (b"", b"{", b"[]", b"7", b'{"status":"enabled","status":"disabled"}', b"\xff"):
        assert hub.device("PUT", "bad-2", raw=raw).status == 400, raw
    answer = hub.device("PUT", "bad-2", {}, headers=[("Content-Type", "text/plain")])
    assert answer.status == 415, answer
    for version in (None, "tomorrow"):
        answer = hub.device("GET", "bad-2", version=version)
        assert answer.status == 400 and "api-version" in answer.json()["Message"], answer
    for version in ("2016-11-14", "2020-09-30", "2021-04-12"):
        assert hub.device("GET", "bad-2", version=version).status == 404


def test_thumbprints(hub):
    """An X.509 device has thumbprints in upper case, and no keys."""
    device = hub.create("x509-1", authentication={
        "type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "ab" * 20}})
    assert device["authentication"]["type"] == "selfSigned"
    assert device["authentication"]["x509Thumbprint"]["primaryThumbprint"] == "AB" * 20
    assert not device["authentication"]["symmetricKey"]["primaryKey"]


def test_list(service, hub):
    """With and without the slash, at most top; in order of the bytes of the ids."""
    for i in range(5):
        hub.create(f"list-{i}")
    whole = hub.ask("GET", "/devices/").json()
    ids = [device["deviceId"] for device in whole]
    assert ids == sorted(ids) and set(f"list-{i}" for i in range(5)) <= set(ids)
    assert whole == hub.ask("GET", "/devices").json()
    assert hub.ask("GET", "/devices?top=2").json() == whole[:2]
    assert hub.ask("GET", "/devices/?top=100000").status == 200
    for bad in ("0", "x", "-1", ""):
        assert hub.ask("GET", f"/devices?top={bad}").status == 400, bad
    (record,) = [r for r in audit(service, "hub.device.list", service.hub)
                 if '"rows":2' in json.dumps(r).replace(" ", "").replace("\\", "")]
    assert record["actor"] == "hub-policy:iothubowner"


def test_statistics(hub):
    """They count what is there."""
    before = hub.ask("GET", "/statistics/devices").json()
    hub.create("stat-1")
    hub.create("stat-2", status="disabled")
    after = hub.ask("GET", "/statistics/devices").json()
    assert after["totalDeviceCount"] == before["totalDeviceCount"] + 2
    assert after["enabledDeviceCount"] == before["enabledDeviceCount"] + 1
    assert after["disabledDeviceCount"] == before["disabledDeviceCount"] + 1
    assert hub.ask("GET", "/statistics/service").json() == {"connectedDeviceCount": 0}


# ---- section 2.2: bulk


def test_bulk_modes(hub):
    """Each mode, in any case, with the key of the etag as clients spell it."""
    made = hub.bulk({"id": "bulk-1", "importMode": "create", "status": "disabled",
                     "tags": {"floor": 3}, "properties": {"desired": {"rate": 5}}},
                    {"id": "bulk-2", "importMode": "CREATE"})
    assert made.status == 200 and made.json() == {
        "isSuccessful": True, "errors": [], "warnings": []}, made
    twin = hub.ask("GET", "/twins/bulk-1").json()
    assert twin["tags"] == {"floor": 3} and twin["properties"]["desired"]["rate"] == 5
    assert twin["properties"]["desired"]["$version"] == 1 and twin["status"] == "disabled"
    assert hub.ask("GET", "/twins/bulk-2").json()["version"] == twin["version"] == 1
    device = hub.device("GET", "bulk-1").json()

    assert hub.bulk({"id": "bulk-1", "importMode": "Update", "status": "enabled"}).status == 200
    changed = hub.device("GET", "bulk-1").json()
    assert changed["status"] == "enabled"
    assert changed["authentication"] == device["authentication"]
    assert hub.ask("GET", "/twins/bulk-1").json()["tags"] == {"floor": 3}
    stale = hub.bulk({"id": "bulk-1", "importMode": "UpdateIfMatchETag", "etag": device["etag"],
                      "status": "disabled"})
    assert stale.status == 400 and stale.json()["errors"][0]["errorCode"] == "PreconditionFailed"
    good = hub.bulk({"id": "bulk-1", "importMode": "updateIfMatchETag", "eTag": changed["etag"],
                     "status": "disabled"})
    assert good.status == 200, good
    assert hub.bulk({"id": "bulk-3", "importMode": "createOrUpdate"},
                    {"id": "bulk-1", "importMode": "createOrUpdate",
                     "status": "enabled"}).status == 200
    assert hub.bulk({"id": "bulk-4", "importMode": "createOrUpdateIfMatchETag",
                     "eTag": "x"}).status == 200
    assert hub.bulk({"id": "bulk-1", "importMode": "updateTwin",
                     "tags": {"room": 7, "floor": None}}).status == 200
    twin = hub.ask("GET", "/twins/bulk-1").json()
    assert twin["tags"] == {"room": 7}
    assert hub.bulk({"id": "bulk-1", "importMode": "updateTwinIfMatchETag", "twinETag": "stale",
                     "tags": {"room": 8}}).status == 400
    assert hub.bulk({"id": "bulk-1", "importMode": "updateTwinIfMatchETag",
                     "twinETag": twin["etag"], "tags": {"room": 8}}).status == 200
    assert hub.ask("GET", "/twins/bulk-1").json()["tags"] == {"room": 8}
    assert hub.bulk({"id": "bulk-2", "importMode": "DeleteIfMatchETag", "etag": "x"}).status == 400
    assert hub.bulk({"id": "bulk-2", "importMode": "Delete"}).status == 200
    assert hub.device("GET", "bulk-2").status == 404


def test_bulk_items_stand_alone(hub):
    """Good ones take effect although others fail, and each failure names its device."""
    hub.create("alone-1")
    answer = hub.bulk({"id": "alone-1", "importMode": "create"},
                      {"id": "alone-2", "importMode": "create"},
                      {"id": "alone-2", "importMode": "create"},
                      {"id": "a b", "importMode": "create"},
                      {"id": "alone-3", "importMode": "update"},
                      {"id": "alone-4", "importMode": "sideways"},
                      {"id": "alone-5", "importMode": "create", "tags": {"a.b": 1}})
    assert answer.status == 400, answer
    result = answer.json()
    assert result["isSuccessful"] is False and result["warnings"] == []
    assert [(e["deviceId"], e["errorCode"]) for e in result["errors"]] == [
        ("alone-1", "DeviceAlreadyExists"), ("alone-2", "DeviceDefinedMultipleTimes"),
        ("a b", "ArgumentInvalid"), ("alone-3", "DeviceNotFound"), ("alone-4", "ArgumentInvalid"),
        ("alone-5", "ArgumentInvalid")]
    assert all(e["errorStatus"] for e in result["errors"])
    assert hub.device("GET", "alone-2").status == 200
    assert hub.device("GET", "alone-5").status == 404


def test_bulk_limits(hub):
    """A hundred, and one more; none at all; what is not an array."""
    items = [{"id": f"hundred-{i}", "importMode": "create"} for i in range(101)]
    more = hub.bulk(*items)
    assert more.status == 413 and name(more) == "TooManyDevices", more
    assert hub.device("GET", "hundred-0").status == 404
    assert hub.bulk(*items[:100]).status == 200
    assert hub.device("GET", "hundred-99").status == 200
    assert hub.bulk().status == 400
    assert hub.ask("POST", "/devices", {"id": "x"}).status == 400
    assert hub.ask("POST", "/devices", [7]).status == 400


# ---- section 2.3: twins


def test_twin_merge_replace_and_versions(service, hub):
    """PATCH merges, null removes, PUT replaces; each change counts."""
    hub.create("twin-1")
    first = hub.ask("GET", "/twins/twin-1")
    assert first.status == 200 and first.header("etag") == f'"{first.json()["etag"]}"'
    assert first.json()["tags"] == {}
    assert first.json()["properties"]["desired"]["$version"] == 1
    assert first.json()["properties"]["reported"]["$version"] == 1
    for member in ("deviceEtag", "status", "statusUpdateTime", "connectionState",
                   "lastActivityTime", "cloudToDeviceMessageCount", "authenticationType",
                   "x509Thumbprint", "version", "capabilities"):
        assert member in first.json(), member
    patched = hub.ask("PATCH", "/twins/twin-1", {
        "tags": {"site": {"a": 1, "b": 2}}, "properties": {"desired": {"x": 1, "y": {"z": 2}}}})
    assert patched.status == 200, patched
    merged = hub.ask("PATCH", "/twins/twin-1", {
        "tags": {"site": {"a": None}}, "properties": {"desired": {"y": None}}},
        headers=[("If-Match", f'"{patched.json()["etag"]}"')]).json()
    assert merged["tags"] == {"site": {"b": 2}}
    desired = merged["properties"]["desired"]
    assert desired["$version"] == 3 and desired["x"] == 1 and "y" not in desired
    assert "$metadata" in desired
    assert merged["version"] > patched.json()["version"]
    stale = hub.ask("PATCH", "/twins/twin-1", {"tags": {}},
                    headers=[("If-Match", f'"{patched.json()["etag"]}"')])
    assert stale.status == 412 and name(stale) == "PreconditionFailed"
    put = hub.ask("PUT", "/twins/twin-1", {"tags": {"new": True}, "properties": {"desired": {}}},
                  headers=[("If-Match", '"*"')]).json()
    assert put["tags"] == {"new": True}
    assert "x" not in put["properties"]["desired"]
    assert len(audit(service, "hub.twin.update", "twin-1")) == 3
    assert hub.ask("PATCH", "/twins/nobody", {"tags": {}}).status == 404
    assert hub.ask("GET", "/twins/nobody").status == 404


def test_twin_round_trip(hub):
    """A whole twin sent back changes nothing but what was changed, and nothing that is not ours."""
    hub.create("twin-2")
    twin = hub.ask("GET", "/twins/twin-2").json()
    twin["tags"] = {"a": 1}
    twin["properties"]["reported"]["forged"] = True
    after = hub.ask("PUT", "/twins/twin-2", twin).json()
    assert after["tags"] == {"a": 1}
    assert "forged" not in after["properties"]["reported"]


@pytest.mark.parametrize("patch", [
    {"tags": {"a.b": 1}}, {"tags": {"a b": 1}}, {"tags": {"$a": 1}}, {"tags": []},
    {"tags": {"a": "v" * 4097}}, {"tags": {"k" * 1025: 1}}, {"tags": {"n": 2 ** 53}},
    {"tags": {f"k{i}": "v" * 4000 for i in range(3)}},
    {"properties": {"desired": {f"k{i}": "v" * 4000 for i in range(9)}}},
    {"properties": {"desired": json.loads('{"a":' * 12 + "1" + "}" * 12)}},
    {"properties": 7}])
def test_twin_limits(hub, patch):
    """What is beyond the limits of section 2.3 is a 400 that says what, and changes nothing."""
    if hub.ask("GET", "/twins/twin-3").status == 404:
        hub.create("twin-3")
    answer = hub.ask("PATCH", "/twins/twin-3", patch)
    assert answer.status == 400 and name(answer) == "ArgumentInvalid", answer
    assert hub.ask("GET", "/twins/twin-3").json()["version"] == 1


# ---- section 2.4: queries


def test_query_pages(hub):
    """Every device once, in pages of the size that is asked for, with the headers of a page."""
    made = [f"page-{i:02}" for i in range(7)]
    hub.bulk(*[{"id": device_id, "importMode": "create"} for device_id in made])
    first = hub.query("SELECT * FROM devices WHERE deviceId >= 'page-' AND deviceId < 'page.'", 3)
    assert first.status == 200, first
    assert first.header("x-ms-item-type") == "Twin"
    assert [row["deviceId"] for row in first.json()] == made[:3]
    rows = hub.all("SELECT * FROM devices WHERE deviceId >= 'page-' AND deviceId < 'page.'", 3)
    assert [row["deviceId"] for row in rows] == made
    assert rows[0]["properties"]["desired"]["$version"] == 1
    every = [row["deviceId"] for row in hub.all(count=10)]
    assert len(every) == len(set(every)) == hub.ask(
        "GET", "/statistics/devices").json()["totalDeviceCount"]


def test_query_conditions(hub):
    """What a row has is compared; deviceId with regard to case."""
    hub.create("cond-a", status="disabled")
    assert [r["deviceId"] for r in hub.all("SELECT * FROM devices WHERE deviceId = 'cond-a'")] == [
        "cond-a"]
    assert hub.all("SELECT * FROM devices WHERE deviceId = 'COND-A'") == []
    ids = [r["deviceId"] for r in hub.all(
        "select * from devices where status = 'disabled' and connectionState = 'Disconnected'")]
    assert "cond-a" in ids and all(hub.device("GET", i).json()["status"] == "disabled" for i in ids)
    assert hub.all("SELECT * FROM devices WHERE authenticationType = 'none'") == []
    for bad in ("SELECT deviceId FROM devices", "SELECT * FROM devices.jobs", "",
                "SELECT * FROM devices WHERE tags.floor = 3", "SELECT COUNT() FROM devices"):
        answer = hub.query(bad)
        assert answer.status == 400 and "query" in answer.json()["Message"], (bad, answer)


def test_continuations_are_ours(hub):
    """One of another query, another's, or one that was changed, is refused."""
    answer = hub.query(count=1)
    token = answer.header("x-ms-continuation")
    assert hub.query(count=1, continuation=token).status == 200
    assert hub.query("SELECT * FROM devices;", 1, token).status == 400
    flipped = ("B" if token[20] == "A" else "A").join((token[:20], token[21:]))
    for bad in (flipped, token[:-4], "x", "A" * 400):
        assert hub.query(count=1, continuation=bad).status == 400, bad


# ---- section 2.5: methods, and messages to devices


def test_methods_without_a_broker(hub):
    """A service that has no broker says so; a device that there is not comes first."""
    call = {"methodName": "reboot", "payload": {"delay": 1}, "responseTimeoutInSeconds": 5}
    missing = hub.ask("POST", "/twins/nobody/methods", call)
    assert missing.status == 404 and name(missing) == "DeviceNotFound"
    hub.create("method-1")
    answer = hub.ask("POST", "/twins/method-1/methods", call)
    assert answer.status == 503 and name(answer) == "ServiceUnavailable", answer
    assert "broker" in answer.json()["Message"] and answer.header("retry-after")
    for bad in ({}, {"methodName": "a/b"}, {"methodName": "m", "responseTimeoutInSeconds": 4},
                {"methodName": "m", "connectTimeoutInSeconds": 301}):
        assert hub.ask("POST", "/twins/method-1/methods", bad).status == 400, bad


def test_messages_to_a_device(service, hub):
    """Sent by an operator, taken by the device in order, with what was said about them."""
    device = hub.create("c2d-1")
    token = hub.device_token(device)
    path = "/devices/c2d-1/messages/devicebound"
    assert hub.ask("GET", path, token=token).status == 204
    sent = hub.ask("POST", path, raw=b"first \x00\xff", headers=[
        ("Content-Type", "application/octet-stream"), ("IoTHub-MessageId", "m-1"),
        ("iothub-contenttype", "text/plain"), ("iothub-app-Alert", "a & b"), ("X-Other", "no")])
    assert sent.status == 204, sent
    assert hub.ask("POST", path, raw=b"second").status == 204
    assert hub.device("GET", "c2d-1").json()["cloudToDeviceMessageCount"] == 2
    assert len(audit(service, "hub.message.send", "c2d-1")) == 2

    first = hub.ask("GET", path, token=token)
    assert first.status == 200 and first.body == b"first \x00\xff", first
    assert first.header("iothub-messageid") == "m-1"
    assert first.header("iothub-contenttype") == "text/plain"
    assert first.header("iothub-app-alert") == "a & b" and first.header("x-other") is None
    lock = first.header("etag")
    assert lock.startswith('"') and lock.endswith('"')
    lock = lock.strip('"')
    second = hub.ask("GET", path, token=token)
    assert second.body == b"second", second
    assert hub.ask("GET", path, token=token).status == 204
    abandoned = hub.ask("POST", f"{path}/{lock}/abandon", token=token)
    assert abandoned.status == 204, abandoned
    again = hub.ask("GET", path, token=token)
    assert again.body == first.body and again.header("iothub-deliverycount") == "2", again
    lost = hub.ask("DELETE", f"{path}/{lock}", token=token)
    assert lost.status == 412 and name(lost) == "DeviceMessageLockLost", lost
    lock = again.header("etag").strip('"')
    assert hub.ask("DELETE", f"{path}/{lock}", token=token,
                   headers=[("If-Match", lock)]).status == 204
    rejected = second.header("etag").strip('"')
    assert hub.ask("DELETE", f"{path}/{rejected}?reject", token=token).status == 204
    assert hub.device("GET", "c2d-1").json()["cloudToDeviceMessageCount"] == 0


def test_message_limits(hub):
    """64 KB with what is said about it, 50 that wait, times and feedback that are understood."""
    hub.create("c2d-2")
    path = "/devices/c2d-2/messages/devicebound"
    big = hub.ask("POST", path, raw=b"x" * (64 * 1024 + 1))
    assert big.status == 413 and name(big) == "MessageTooLarge"
    assert hub.ask("POST", path, raw=b"x" * (64 * 1024)).status == 204
    for headers in ([("iothub-expiry", "soon")], [("iothub-ack", "full")]):
        assert hub.ask("POST", path, raw=b"x", headers=headers).status == 400
    for _ in range(49):
        assert hub.ask("POST", path, raw=b"").status == 204
    full = hub.ask("POST", path, raw=b"")
    assert full.status == 403 and name(full) == "DeviceMaximumQueueDepthExceeded"
    assert hub.ask("POST", "/devices/nobody/messages/devicebound", raw=b"").status == 404


def test_telemetry_without_a_broker(hub):
    """It is not taken and lost: the device is told to try again."""
    device = hub.create("d2c-1")
    path = "/devices/d2c-1/messages/events"
    answer = hub.ask("POST", path, raw=b"20.5", token=hub.device_token(device))
    assert answer.status == 503 and name(answer) == "ServiceUnavailable", answer
    batch = [("Content-Type", "application/vnd.microsoft.iothub.json")]
    bad = hub.ask("POST", path, [{"body": "!"}], headers=batch, token=hub.device_token(device))
    assert bad.status == 400, bad
    answer = hub.ask("POST", path, [{"body": "AA==", "properties": {"iothub-app-k": "v"}}],
                     headers=batch, token=hub.device_token(device))
    assert answer.status == 503, answer


# ---- sections 3 and 4: who may


def test_rights_per_call(service, hub):
    """Reads need RegistryRead, changes RegistryWrite, twins, methods and messages ServiceConnect."""
    hub.create("right-1")
    policies = {}
    for policy in ("registryRead", "registryReadWrite", "service", "device"):
        service.cli("hub", "policy", "add", service.hub, policy)
        policies[policy] = Hub(service, policy)
    read = [("GET", "/devices/right-1", None), ("GET", "/devices", None),
            ("POST", "/devices/query", {"query": "SELECT * FROM devices"}),
            ("GET", "/statistics/devices", None), ("GET", "/statistics/service", None)]
    write = [("PUT", "/devices/right-2", {}), ("DELETE", "/devices/right-2", None),
             ("POST", "/devices", [{"id": "right-3"}])]
    connect = [("GET", "/twins/right-1", None), ("PATCH", "/twins/right-1", {}),
               ("PUT", "/twins/right-1", {}), ("POST", "/twins/right-1/methods",
                                               {"methodName": "m"}),
               ("POST", "/devices/right-1/messages/devicebound", None)]
    for calls, allowed in ((read, ("registryRead", "registryReadWrite")),
                           (write, ("registryReadWrite",)), (connect, ("service",))):
        for method, path, body in calls:
            for policy, client in policies.items():
                answer = client.ask(method, path, body)
                assert (answer.status != 401) == (policy in allowed), (method, path, policy, answer)


def test_wrong_tokens(service, hub):
    """One shape for whatever is not let in; the reason is in the log."""
    device = hub.create("token-1")
    other = base64.b64encode(b"x" * 32)
    good = hub.token()
    cases = [("", "token.absent"), ("Bearer x", "token.malformed"),
             (sas.token(other, service.hub, sas.in_s(600), "iothubowner"), "token.signature"),
             (hub.token(skn="nobody"), "policy.unknown"),
             (hub.token(expiry=sas.in_s(-400)), "token.expired"),
             (hub.token(sr="other.example.test"), "token.resource"),
             (hub.token(sr=sas.escape(service.hub + "/twins")), "token.resource"),
             (hub.device_token(device), "token.key_name")]
    for token, reason in cases:
        answer = hub.device("GET", "token-1", token=token)
        assert answer.status == 401 and name(answer) == "IotHubUnauthorizedAccess", (reason, answer)
        assert reason in json.dumps(service.log_of(answer.request_id)), reason
    assert hub.device("GET", "token-1", token=good).status == 200
    assert hub.device("GET", "token-1",
                      token=hub.token(sr=sas.escape(service.hub + "/devices"))).status == 200
    two = hub.ask("GET", "/devices/token-1", headers=[("Authorization", good)])
    assert two.status == 401, two


def test_device_tokens_open_the_devices_own_calls_only(service, hub):
    """Its own messages; not another's, not the registry, not its own twin."""
    mine, other = hub.create("own-1"), hub.create("own-2")
    token = hub.device_token(mine)
    for method, path in (("GET", "/devices/own-1"), ("DELETE", "/devices/own-1"),
                         ("PUT", "/devices/own-1"), ("GET", "/twins/own-1"),
                         ("POST", "/twins/own-1/methods"), ("GET", "/devices"),
                         ("POST", "/devices/own-1/messages/devicebound"),
                         ("GET", "/devices/own-2/messages/devicebound"),
                         ("POST", "/devices/own-2/messages/events")):
        answer = hub.ask(method, path, {} if method in ("PUT", "POST") else None, token=token)
        assert answer.status == 401, (method, path, answer)
    path = "/devices/own-1/messages/devicebound"
    assert hub.ask("GET", path, token=token).status == 204
    assert hub.ask("GET", path, token=hub.device_token(mine, "secondaryKey")).status == 204
    assert hub.ask("GET", path, token=hub.device_token(other, device_id="own-1")).status == 401
    hub.device("PUT", "own-1", {"status": "disabled"}, headers=[("If-Match", "*")])
    assert hub.ask("GET", path, token=token).status == 401
    hub.ask("POST", "/devices/own-2/messages/devicebound", raw=b"for own-2")
    lock = hub.ask("GET", "/devices/own-2/messages/devicebound",
                   token=hub.device_token(other)).header("etag").strip('"')
    hub.device("PUT", "own-1", {"status": "enabled"}, headers=[("If-Match", "*")])
    assert hub.ask("DELETE", f"{path}/{lock}", token=token).status == 412


def test_policy_tokens_and_device_calls(service, hub):
    """A policy needs DeviceConnect to act for devices; the owner's has it, a reader's has not."""
    hub.create("gate-1")
    path = "/devices/gate-1/messages/devicebound"
    assert hub.ask("GET", path).status == 204
    service.cli("hub", "policy", "add", service.hub, "only-read", "--rights", "RegistryRead")
    assert Hub(service, "only-read").ask("GET", path).status == 401


def test_hosts(service, hub):
    """The Host header names the hub, in any case and with a port; another is no hub."""
    hub.create("host-1")
    for host in ("HUB.example.test", service.hub + ":443"):
        assert hub.device("GET", "host-1", host=host).status == 200, host
    for host in (service.host, "localhost", "other.example.test", "x" * 250):
        answer = hub.device("GET", "host-1", host=host)
        assert answer.status == 404 and name(answer) == "IotHubNotFound", (host, answer)
    assert hub.ask("GET", "/devices/host-1/modules").status == 404
    wrong = hub.ask("PATCH", "/devices/host-1", {})
    assert wrong.status == 405 and "PUT" in wrong.header("allow"), wrong
    options = hub.ask("OPTIONS", "/twins/host-1")
    assert options.status == 204 and "PATCH" in options.header("allow"), options


def test_two_hubs_share_nothing(service, hub):
    """Another hub's policy does not open this one, and its devices are its own."""
    second = "second.example.test"
    service.cli("hub", "add", second)
    service.cli("hub", "policy", "add", second, "iothubowner")
    other = Hub(service, hub=second)
    hub.create("shared-1")
    assert other.device("GET", "shared-1").status == 404
    assert other.create("shared-1")["generationId"] != hub.device("GET", "shared-1").json()[
        "generationId"]
    assert hub.device("GET", "shared-1", token=other.token()).status == 401
    assert hub.device("GET", "shared-1", token=other.token(sr=service.hub)).status == 401
    page = other.query(count=1)
    assert [row["deviceId"] for row in page.json()] == ["shared-1"]


def test_many_devices_in_one_list(hub):
    """A list of more than one turn of the loop is whole and in order."""
    letters = string.ascii_letters + string.digits
    ids = sorted({"many-" + "".join(random.choices(letters, k=8)) for _ in range(600)})
    for i in range(0, len(ids), 100):
        assert hub.bulk(*[{"id": d, "importMode": "create"} for d in ids[i:i + 100]]).status == 200
    listed = [device["deviceId"] for device in hub.ask("GET", "/devices?top=1000").json()]
    assert listed == sorted(listed) and len(listed) == len(set(listed))
    total = hub.ask("GET", "/statistics/devices").json()["totalDeviceCount"]
    assert len(listed) == min(total, 1000) and (total > 1000 or set(ids) <= set(listed))
    seen = [row["deviceId"] for row in hub.all("SELECT * FROM devices WHERE deviceId > 'many-' "
                                                "AND deviceId < 'many.'", 250)]
    assert seen == ids
