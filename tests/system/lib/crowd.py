"""Devices that register over and over while something breaks, and keep account of what they are
told, so that it can be compared with what the service has kept."""
import json
import os
import ssl
import threading
import time
from collections import Counter

from lib.device import Device, NotRegistered
from lib.process import wait_until
from lib.softtpm import SoftTpm

BROKEN = (OSError, EOFError, ssl.SSLError)


class Registrant:
    """One device. told is how often it read `assigned`; each answer that stopped it is counted."""

    def __init__(self, crowd, device):
        self.crowd, self.device = crowd, device
        self.told = self.begun = 0
        self.stopped_by = Counter()
        self.without_retry_after = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self.crowd.ended:
            if self.crowd.paused:
                time.sleep(0.02)
                continue
            self.begun += 1
            try:
                self.device.register()
                self.told += 1
            except BROKEN as fault:
                self.stopped_by[type(fault).__name__] += 1
            except NotRegistered as refused:
                self._refused(refused.answer)
            time.sleep(self.crowd.pause_s)

    def _refused(self, answer):
        self.stopped_by[answer.status] += 1
        if answer.status == 503 and answer.header("retry-after") is None:
            self.without_retry_after.append(answer)

    def join(self):
        self._thread.join(60)
        assert not self._thread.is_alive(), f"{self.device.registration_id} hangs"


class Crowd:
    """Enrolled, and registering from now on."""

    def __init__(self, service, count=4, pause_s=0.05, make=Device):
        self.service, self.pause_s = service, pause_s
        self.ended = self.paused = False
        devices = [make(service, f"dev-{n}", SoftTpm("ecc")) for n in range(count)]
        for device in devices:
            service.enroll(device)
        self.members = [Registrant(self, device) for device in devices]
        self.settle()

    def told(self):
        return sum(member.told for member in self.members)

    def stopped_by(self):
        """{status or exception: how often} of what ended a registration."""
        return sum((member.stopped_by for member in self.members), Counter())

    def forget(self):
        """Counts begin anew: what was stopped so far does not matter."""
        for member in self.members:
            member.stopped_by = Counter()

    def settle(self, timeout_s=60):
        """Wait until every device was told `assigned` once more, and some of them twice."""
        before = [member.told for member in self.members]
        wait_until(lambda: all(member.told > told
                               for member, told in zip(self.members, before)),
                   f"every device registers; stopped by {self.stopped_by()}", timeout_s)

    def stopped(self, count, timeout_s=60):
        """Wait until so many registrations were stopped; by what."""
        before = sum(self.stopped_by().values())
        wait_until(lambda: sum(self.stopped_by().values()) >= before + count,
                   "registrations are stopped", timeout_s)
        return self.stopped_by()

    def end(self):
        self.ended = True
        for member in self.members:
            member.join()
        return self

    # ---- the account

    def _lines(self, *words):
        return [json.loads(line) for line in self.service.cli(*words, "--json").stdout.splitlines()]

    def account(self):
        """Whoever was told `assigned` is registered, once, with the key that it was told last."""
        registered = Counter(line["registrationId"] for line in self._lines("registration", "list")
                             if line["status"] == "assigned")
        at_hub = Counter(line["deviceId"]
                         for line in self._lines("hub", "device", "list", self.service.hub))
        recorded = Counter(line["subject"] for line in self._lines("audit", "list")
                           if line["action"] == "registration.assigned")
        for member in self.members:
            device = member.device
            assert member.without_retry_after == []
            if member.told == 0:
                continue
            assert registered[device.registration_id] == 1, device.registration_id
            assert at_hub[device.device_id] == 1, device.device_id
            assert self.service.accepts(device.hub_token()), device.registration_id
            # Each that was told has its record; what was cut off may have taken effect or not.
            assert member.told <= recorded[device.registration_id] <= member.begun, (
                device.registration_id, member.told, recorded[device.registration_id], member.begun)
        self.service.cli("audit", "verify")


def cpu_s(pid):
    """CPU time of a process so far, seconds."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Calm:
    """Around a stretch in which nobody asks anything: the service is idle and says little."""

    def __init__(self, service, cpu=0.5, lines=40):
        self.service, self.cpu, self.lines = service, cpu, lines

    def __enter__(self):
        self._cpu_s, self._at = cpu_s(self.service.process.pid), time.monotonic()
        self._lines = self.service.log_text().count("\n")
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        took_s = time.monotonic() - self._at
        used = (cpu_s(self.service.process.pid) - self._cpu_s) / took_s
        said = self.service.log_text().count("\n") - self._lines
        assert used < self.cpu, f"{used:.2f} CPUs for nothing"
        assert said < self.lines, self.service.log_text()[-4000:]
