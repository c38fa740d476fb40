"""Clocks, certificates and keys that change under devices that register (doc/OPERATIONS.md), and a
backup made meanwhile."""
import calendar
import json
import os
import signal
import time

import pytest

from lib import sas
from lib.crowd import Crowd
from lib.device import Device, NotRegistered
from lib.faults import ClockService
from lib.mosquitto import make_certificate
from lib.process import wait_until
from lib.service import Service

END_OF_32_BITS = calendar.timegm((2038, 1, 19, 3, 14, 7))


def events(service, name):
    return [line for line in service.log() if line["event"] == name]


def not_ready(service):
    status, body = service.admin("GET", "/readyz")
    return status == 503 and body.decode()


def test_clock_jumps(tmp_path):
    """An hour back, to 1970 and back: devices whose clocks are right register all the time."""
    service = ClockService(tmp_path / "s")
    try:
        service.start()
        crowd = Crowd(service)
        for jumps, to in enumerate((time.time() - 3600, None, 86400, None), 1):
            service.set_clock(to)
            wait_until(lambda: len(events(service, "clock.jumped")) == jumps, "it is logged")
            crowd.settle()
        assert crowd.stopped_by() == {}
        jumped = [line["seconds"] for line in events(service, "clock.jumped")]
        assert abs(jumped[0] + 3600) < 60 and jumped[2] < -1e9 and jumped[3] > 1e9
        crowd.end().account()
    finally:
        service.stop()


def test_clock_reaches_2038(tmp_path, monkeypatch):
    """Seconds that 32 bits do not hold are as any others, for tokens, records and timers."""
    monkeypatch.setattr(sas, "time", FakeTime)
    service = ClockService(tmp_path / "s")
    service.set_clock(END_OF_32_BITS - 3)
    try:
        service.start(wait=False)
        # The certificate that init has made is out of date by then, and nothing else is wrong.
        told = wait_until(lambda: service.process.running() and answers(service), "it answers")
        assert json.loads(told)["reasons"] == ["the TLS certificate is out of date"]
        device = Device(service, "dev-1")
        service.enroll(device)
        states = []

        def crossed():
            states.append(device.register())
            return states[-1]["lastUpdatedDateTimeUtc"] > "2038-01-19T03:14:09"
        wait_until(crossed, "it is past the end of 32 bits")
        assert {state["lastUpdatedDateTimeUtc"][:13] for state in states} == {"2038-01-19T03"}
        assert service.accepts(device.hub_token())
        service.cli("audit", "verify")
    finally:
        service.stop()


class FakeTime:
    """For the tokens of devices that live then."""

    @staticmethod
    def time():
        return END_OF_32_BITS


def answers(service):
    try:
        return not_ready(service)
    except OSError:
        return None


def hup(service):
    os.kill(service.process.pid, signal.SIGHUP)


def test_certificate_expires_and_is_replaced(tmp_path):
    """Out of date, it is told and served on, over a restart too; a new one is taken by a reload."""
    service = ClockService(tmp_path / "s")
    made_at = time.time()
    make_certificate(os.path.join(service.data, "tls"), service.host, days=1)
    try:
        service.start()
        crowd = Crowd(service)
        service.set_clock(made_at + 90000)
        crowd.paused = True
        told = wait_until(lambda: not_ready(service), "it is told")
        assert "the TLS certificate is out of date" in told
        service.stop()
        service.start(wait=False)
        wait_until(lambda: events(service, "certificate.out_of_date"), "it is logged")
        wait_until(lambda: answers(service), "it answers")
        # A device verifies by its own clock: by ours the certificate is still good.
        with pytest.raises(NotRegistered) as late:
            crowd.members[0].device.register()
        assert late.value.answer.status == 401  # its token is of yesterday
        hup(service)  # with the same certificate: nothing is better
        wait_until(lambda: events(service, "config.rejected"), "that is refused")
        make_certificate(os.path.join(service.data, "tls"), service.host, days=10)
        hup(service)
        wait_until(lambda: events(service, "config.reloaded"), "it is taken")
        wait_until(service._ready, "it is ready")
        service.set_clock(None)
        crowd.forget()
        crowd.paused = False
        crowd.settle()
        assert crowd.end().stopped_by() == {}
        crowd.account()
    finally:
        service.stop()


def test_master_key_is_rotated_under_load(tmp_path):
    """No device notices, before the new key issues and after."""
    service = Service(tmp_path / "s")
    try:
        service.start()
        crowd = Crowd(service, pause_s=0.02)
        service.cli("key", "rotate")
        wait_until(lambda: events(service, "keyring.loaded"), "it is read")
        assert events(service, "keyring.loaded")[0]["keyring_keys"] == 2
        time.sleep(16)  # then it issues (latchkey-key(1))
        crowd.settle()
        crowd.settle()
        assert crowd.end().stopped_by() == {}
        crowd.account()
    finally:
        service.stop()


def test_backup_under_load(tmp_path):
    """What was told before a backup is in it, whole; the service restored from it goes on."""
    service = Service(tmp_path / "s")
    backup = tmp_path / "backup.db"
    try:
        service.start()
        crowd = Crowd(service, pause_s=0)
        keys = [member.device.key for member in crowd.members]
        assert None not in keys
        service.cli("store", "backup", backup)
        told = crowd.told()
        crowd.settle()
        assert crowd.stopped_by() == {} and crowd.end().told() > told
        service.stop()
        service.configure(store=f"sqlite:{backup}")
        service.start()
        assert "agrees" in service.cli("store", "verify").stdout
        service.cli("audit", "verify")
        listed = [json.loads(line) for line
                  in service.cli("registration", "list", "--json").stdout.splitlines()]
        assert sorted(line["registrationId"] for line in listed if line["status"] == "assigned") \
            == sorted(member.device.registration_id for member in crowd.members)
        for member in crowd.members:  # what came after the backup is gone, and they come again
            member.device.register()
            assert service.accepts(member.device.hub_token())
    finally:
        service.stop()
