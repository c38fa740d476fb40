"""From the factory to a second owner, with real TPM commands (issue 3's story)."""
import signal

import pytest

from lib.device import Device
from lib.process import wait_until
from lib.softtpm import SoftTpm
from lib.tpmdevice import TpmDevice

IDENTITY_HANDLE = "0x81000100"


@pytest.fixture
def service(make_service):
    return make_service()


@pytest.fixture
def device(service, make_swtpm):
    return TpmDevice(service, make_swtpm("tpm", tcp=True), "press-7")


def import_manifest(device, tmp_path, kind="csv"):
    path = tmp_path / f"manifest.{kind}"
    path.write_text(device.manifest(kind))
    device.service.cli("enrollment", "import", path)


def assert_refused(run):
    assert run.returncode != 0 and run.stdout == "", run
    assert "401002" in run.stderr, run.stderr


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_factory_to_hub(device, service, tmp_path, kind):
    """The manifest line enrolls the device; its token is good at the hub; the TPM is left tidy."""
    before = device.handles()
    import_manifest(device, tmp_path, kind)
    result = device.register()
    assert result["assignedHub"] == service.hub
    assert result["deviceId"] == result["registrationId"] == "press-7"
    assert (result["status"], result["substatus"]) == ("assigned", "initialAssignment")
    token = device.token(result)
    assert service.accepts(token)
    assert not service.accepts(token.replace("press-7", "press-8"))
    assert not service.accepts(token[:-4] + "0000")
    after = device.handles()
    assert IDENTITY_HANDLE in after["persistent"]
    assert set(after["persistent"]) - set(before["persistent"]) == {IDENTITY_HANDLE}
    for kind_of_handle in ("transient", "loaded-session", "saved-session"):
        assert after[kind_of_handle] == before[kind_of_handle]
    device.token(result)
    device.register()
    assert device.handles() == after


def test_check_token_by_hand(device, service, tmp_path):
    """`latchkey hub check-token` judges as the hub does, with the service running or not."""
    import_manifest(device, tmp_path)
    token = device.token(device.register())

    def check(text):
        return service.cli("hub", "check-token", "--hub", service.hub, input=text,
                           check=False).returncode

    assert check(token) == 0
    assert check(token.replace("press-7", "press-8")) == 77
    service.stop()
    assert check(token + "\n") == 0
    assert check(token.replace("sig=", "sig=A")) == 77


def test_default_registration_id(service, make_swtpm, tmp_path):
    """Without an ID given, factory and device derive the same from the EK."""
    device = TpmDevice(service, make_swtpm("tpm", tcp=True))
    import_manifest(device, tmp_path)
    result = device.register()
    assert result["registrationId"] == device.show()["registrationId"]
    assert len(result["registrationId"]) == 52
    assert service.accepts(device.token(result))


def test_other_tpm_is_refused(device, service, make_swtpm, tmp_path):
    """Knowing a registration ID is not enough, and the attempt harms nobody."""
    import_manifest(device, tmp_path)
    result = device.register()
    other = TpmDevice(service, make_swtpm("other", tcp=True), "press-7")
    before = other.handles()
    assert_refused(other.register(check=False))
    assert other.handles() == before
    assert service.accepts(device.token(result))


def test_change_of_owner(device, service, tmp_path):
    """TPM2_Clear kills the old credential; the device comes back by itself as the same device."""
    import_manifest(device, tmp_path)
    first = device.register()
    shown = device.show()
    old_token = device.token(first)
    assert service.accepts(old_token)

    device.tool("tpm2_clear")
    assert IDENTITY_HANDLE not in device.handles()["persistent"]
    dead = device.latchkey("token", "--hub", first["assignedHub"], "--device-id",
                           first["deviceId"], check=False)
    assert dead.returncode != 0 and dead.stdout == ""

    second = device.register()
    assert second["deviceId"] == first["deviceId"]
    assert second["assignedHub"] == first["assignedHub"]
    shown_again = device.show()
    assert shown_again["endorsementKey"]["id"] == shown["endorsementKey"]["id"]
    assert shown_again["storageRootKey"]["id"] != shown["storageRootKey"]["id"]

    assert service.accepts(device.token(second))
    wait_until(lambda: not service.accepts(old_token), "the old owner's token is worthless")
    assert service.accepts(device.token(second))


def test_old_key_until_the_new_one_is_used(device, service, tmp_path):
    """A device that never got its answer still has a key that its hub takes."""
    import_manifest(device, tmp_path)
    old_token = device.token(device.register())
    result = device.register()
    for _ in range(3):
        assert service.accepts(old_token)
    assert service.accepts(device.token(result))
    wait_until(lambda: not service.accepts(old_token), "the old key retires")


def test_disabled_enrollment(device, service, tmp_path):
    """Refused while disabled, welcome when enabled again, with no trace of why for the device."""
    import_manifest(device, tmp_path)
    service.cli("enrollment", "disable", "press-7")
    assert_refused(device.register(check=False))
    service.cli("enrollment", "enable", "press-7")
    assert service.accepts(device.token(device.register()))
    service.cli("enrollment", "remove", "press-7")
    assert_refused(device.register(check=False))


def test_key_rotation_keeps_challenges_in_flight(service):
    """A challenge made under the old master key is good after `latchkey key rotate` and a reload."""
    device = Device(service, "rotated", SoftTpm("ecc"))
    service.enroll(device)
    device.register()
    before = device.hub_token()
    flow = device.flow()
    token = device.dialect.token(flow, device.challenge(flow))
    service.cli("key", "rotate")
    service.process.child.send_signal(signal.SIGHUP)
    wait_until(lambda: any("reload" in line.get("event", "") for line in service.log()),
               "the service has reloaded")
    device.authorise(flow, token)
    device.poll(flow, token)
    assert service.accepts(device.hub_token())
    device.register()
    assert service.accepts(device.hub_token())
    wait_until(lambda: not service.accepts(before), "the first key retires")
    device.close()


def test_audit_tells_the_story(device, service, tmp_path):
    """Each change has its record and the chain holds."""
    import_manifest(device, tmp_path)
    device.register()
    service.cli("enrollment", "disable", "press-7")
    device.register(check=False)
    service.cli("audit", "verify")
