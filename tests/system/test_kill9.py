"""Power cuts: kill -9 at random moments while devices register."""
import random
import ssl
import threading
import time

from lib import dialects
from lib.device import Device, NotRegistered
from lib.process import wait_until
from lib.softtpm import SoftTpm

SEED = 20260131
DEVICES = 20
ROUNDS = 10  # registrations that each device is told are assigned
WORKERS = 8
TIME_LIMIT_S = 60

BROKEN = (OSError, EOFError, ssl.SSLError)


class Story:
    """One device's registrations, told `assigned` ROUNDS times, whatever happens meanwhile."""

    def __init__(self, service, number, tpm):
        self.random = random.Random(SEED + number)
        dialect = dialects.ALL[number % len(dialects.ALL)]
        self.device = Device(service, f"dev-{number}", tpm, dialect)
        self.told = 0
        self.attempts = 0
        self.faults = []

    def run_round(self, give_up):
        """Register until told so; then half of the time use the key before the next round."""
        while not give_up.is_set():
            self.attempts += 1
            try:
                self._attempt()
                break
            except BROKEN:
                self.device.close()
                time.sleep(self.random.uniform(0.01, 0.1))
            except NotRegistered as refused:
                self.device.close()
                if refused.answer.status < 500:
                    self.faults.append(f"{self.device.registration_id}: {refused}")
                    return
        self.told += 1
        if self.random.random() < 0.5:
            self._use_key(give_up)

    def _attempt(self):
        """A device that loses a poll's answer asks again, as long as the service is there."""
        device = self.device
        flow = device.flow()
        token = device.dialect.token(flow, device.challenge(flow))
        device.authorise(flow, token)
        device.poll(flow, token)
        device.close()

    def _use_key(self, give_up):
        while not give_up.is_set():
            try:
                if not self.device.service.accepts(self.device.hub_token()):
                    self.faults.append(f"{self.device.registration_id}: told assigned, "
                                       f"but its key is not the hub's (round {self.told})")
                return
            except (*BROKEN, AssertionError):
                time.sleep(self.random.uniform(0.01, 0.1))


def work(stories, give_up):
    for _ in range(ROUNDS):
        for story in stories:
            if not give_up.is_set():
                story.run_round(give_up)


def test_kill9_during_200_registrations(make_service):
    """Nobody who was told `assigned` is unknown or holds another key than its hub's."""
    started = time.monotonic()
    service = make_service()
    stories = [Story(service, number, SoftTpm("rsa" if number % 4 == 0 else "ecc"))
               for number in range(DEVICES)]
    for story in stories:
        service.enroll(story.device)
    give_up = threading.Event()
    threads = [threading.Thread(target=work, args=(stories[at::WORKERS], give_up))
               for at in range(WORKERS)]
    moments = random.Random(SEED)
    kills = 0

    def working():
        return any(thread.is_alive() for thread in threads)

    def told():
        return sum(story.told for story in stories)

    for thread in threads:
        thread.start()
    while working() and time.monotonic() - started < TIME_LIMIT_S:
        # So many more registrations, and then at any point of those that are under way.
        goal = told() + moments.randint(1, 10)
        wait_until(lambda: told() >= goal or not working(), "progress", TIME_LIMIT_S, 0.002)
        time.sleep(moments.uniform(0, 0.02))
        if working():
            service.kill9()
            kills += 1
            service.start(wait=moments.random() < 0.8)
    give_up.set()
    for thread in threads:
        thread.join(30)
    service.kill9()
    service.start()

    cut = sum(story.attempts - story.told for story in stories)
    print(f"seed {SEED}: {kills} kills, {cut} registrations cut, "
          f"{told()} told assigned")
    assert [fault for story in stories for fault in story.faults] == []
    assert told() == DEVICES * ROUNDS, "out of time"
    assert kills >= 10 and cut >= 10
    for story in stories:
        assert service.accepts(story.device.hub_token()), story.device.registration_id
    service.cli("audit", "verify")
