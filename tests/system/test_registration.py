"""What the service holds on to, whichever client asks: scopes, keys, challenges, order."""
import base64
import threading
import time

import pytest

from lib import dialects
from lib.device import Device, NotRegistered
from lib.https import Connection
from lib.softtpm import SoftTpm

NODE = dialects.Node()


@pytest.fixture(scope="module")
def service(module_service):
    return module_service


def device_of(service, registration_id, tpm=None, scope=None):
    device = Device(service, registration_id, tpm or SoftTpm("ecc"), NODE)
    if scope is not None:
        plain = device.flow

        def flow():
            made = plain()
            made.scope = scope
            return made
        device.flow = flow
    return device


def assert_refused(device):
    with pytest.raises(NotRegistered) as refused:
        device.register()
    assert refused.value.answer.status == 401
    assert refused.value.answer.json()["errorCode"] == 401002
    device.close()


def test_scopes_are_worlds_of_their_own(make_service):
    """The same registration ID in two scopes is two devices; an EK counts in its own scope only."""
    service = make_service()
    service.cli("scope", "add", "0ne000000F2")
    first = device_of(service, "pump", scope=service.scope)
    second = device_of(service, "pump", scope="0ne000000F2")
    service.enroll(first, "--scope", service.scope)
    service.enroll(second, "--scope", "0ne000000F2", "--device-id", "pump-2")
    first.register()
    second.register()
    assert (first.device_id, second.device_id) == ("pump", "pump-2")
    assert service.accepts(first.hub_token()) and service.accepts(second.hub_token())
    assert_refused(device_of(service, "pump", first.tpm, scope="0ne000000F2"))
    assert_refused(device_of(service, "pump", second.tpm, scope=service.scope))
    # A challenge of one scope does not count in the other, also for a device of both.
    flow = first.flow()
    key = first.challenge(flow)
    flow.scope = "0ne000000F2"
    with pytest.raises(NotRegistered):
        first.authorise(flow, NODE.token(flow, key))
    first.close()


def test_several_endorsement_keys(service):
    """One TPM shows another EK to each client stack: any that is enrolled is the device."""
    first, second, third = (SoftTpm(kind) for kind in ("rsa", "ecc", "ecc"))
    device = device_of(service, "many-eks", first)
    service.enroll(device, "--ek", base64.b64encode(second.ek.tpm2b).decode())
    for tpm in (first, second, first):
        device.tpm = tpm
        device.register()
        assert device.device_id == "many-eks"
        assert service.accepts(device.hub_token())
    device.tpm = third
    assert_refused(device)


def test_spelling_of_the_ek(service):
    """An exponent of 65537 that is written out is the same key as the usual 0."""
    device = device_of(service, "spelled-ek", SoftTpm("rsa"))
    service.enroll(device)
    whole = device.tpm.ek.tpm2b
    at = len(whole) - 256 - 2 - 4
    assert whole[at:at + 4] == bytes(4)
    flow = device.flow()
    flow.ek = whole[:at] + bytes.fromhex("00010001") + whole[at + 4:]
    token = NODE.token(flow, device.challenge(flow))
    device.authorise(flow, token)
    device.poll(flow, token)
    assert service.accepts(device.hub_token())
    device.close()


def test_enrollment_ends_between_challenge_and_token(service):
    """What counts is what the operator says when the token comes."""
    device = device_of(service, "late")
    service.enroll(device)
    flow = device.flow()
    token = NODE.token(flow, device.challenge(flow))
    service.cli("enrollment", "disable", "late")
    with pytest.raises(NotRegistered) as refused:
        device.authorise(flow, token)
    assert refused.value.answer.status == 401
    service.cli("enrollment", "enable", "late")
    device.authorise(flow, token)
    device.poll(flow, token)
    assert service.accepts(device.hub_token())
    device.close()


def test_challenge_runs_out(make_service):
    """It lives for one to two epochs, over a restart too, and no longer."""
    service = make_service(challenge_epoch_s=2)
    device = device_of(service, "slow")
    service.enroll(device)
    flow = device.flow()
    key = device.challenge(flow)
    service.stop()
    service.start()
    device.close()
    device.authorise(flow, NODE.token(flow, key))
    device.poll(flow, NODE.token(flow, key))
    device.register()
    key = device.challenge(flow)
    time.sleep(4.1)
    with pytest.raises(NotRegistered) as refused:
        device.authorise(flow, NODE.token(flow, key))
    assert service.log_of(refused.value.answer.request_id)[0]["reason"] == "token.signature"
    device.close()


def test_one_device_many_times_at_once(service):
    """Registrations of one device that race: each ends with an assignment or with a refusal, and
    the key of the last one is the hub's."""
    tpm = SoftTpm("ecc")
    service.enroll(device_of(service, "racer", tpm))
    devices = [device_of(service, "racer", tpm) for _ in range(8)]
    states, refusals = [], []

    def race(device):
        for _ in range(4):
            try:
                states.append(device.register())
            except NotRegistered as refused:
                refusals.append(refused.answer)
                device.close()

    threads = [threading.Thread(target=race, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert len(states) + len(refusals) == 32 and states
    assert {answer.status for answer in refusals} <= {401, 404}, refusals
    devices[0].register()
    assert service.accepts(devices[0].hub_token())


def test_flood_from_one_network(make_service):
    """A peer that takes all connections it can get takes them from itself only."""
    service = make_service(http_connections_per_net=20, workers=1)
    device = device_of(service, "neighbour")
    service.enroll(device)
    held, turned_away = [], 0
    for _ in range(60):
        try:
            held.append(Connection(service.address, service.ca_file, service.host,
                                   source="127.0.0.2"))
        except OSError:
            turned_away += 1
    try:
        assert turned_away >= 40 and len(held) <= 20
        device.register()
        assert service.accepts(device.hub_token())
    finally:
        for connection in held:
            connection.close()
