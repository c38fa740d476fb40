"""A service that is out of descriptors or of memory, while devices register (doc/OPERATIONS.md)."""
import contextlib
import os
import resource
import socket
import time

from lib.crowd import Calm, Crowd
from lib.faults import FaultyService
from lib.process import wait_until
from lib.service import Service

BROKEN = {"ConnectionResetError", "SSLEOFError", "SSLError", "SSLZeroReturnError", "EOFError",
          "BrokenPipeError", "TimeoutError"}


def events(service, name):
    return [line for line in service.log() if line["event"] == name]


def metric(service, name):
    text = service.admin("GET", "/metrics")[1].decode()
    return next(float(line.split()[1]) for line in text.splitlines()
                if line.startswith(name + " "))


@contextlib.contextmanager
def limited(pid, what, soft):
    """The process has no more than that for now."""
    before = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (soft, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, what, before)


def test_out_of_descriptors(tmp_path):
    """What waits is answered afterwards, and a key that could not be read then is read."""
    service = Service(tmp_path / "s")
    try:
        service.start()
        crowd = Crowd(service)
        pid = service.process.pid
        used = len(os.listdir(f"/proc/{pid}/fd"))
        with contextlib.ExitStack() as held:
            with limited(pid, resource.RLIMIT_NOFILE, used):
                for _ in range(40):
                    held.enter_context(socket.create_connection(service.address))
                wait_until(lambda: events(service, "net.accept_failed"), "it is logged")
                service.cli("key", "rotate")
                wait_until(lambda: events(service, "keyring.rejected"), "that is logged")
                with Calm(service):
                    time.sleep(2)
            held.close()
            crowd.settle()
        assert metric(service, "latchkey_http_accepts_failed_total") > 0
        assert events(service, "net.accept_failed")[0]["reason"] == "Too many open files"
        assert len(events(service, "keyring.rejected")) == 1
        wait_until(lambda: events(service, "keyring.loaded"), "the key is read", 30)
        crowd.settle()
        crowd.end().account()
    finally:
        service.stop()


def test_connections_fit_the_limit(tmp_path):
    """What a worker may accept is what the descriptors allow, beside the service's own."""
    service = Service(tmp_path / "s", workers=1)
    argv = service.argv()
    service.argv = lambda: ["prlimit", "--nofile=400", *argv]
    try:
        service.start()
        line, = events(service, "process.few_files")
        assert line["files"] == 400 and line["connections_max"] < line["configured"]
        with contextlib.ExitStack() as held:
            for _ in range(line["connections_max"] + 40):
                held.enter_context(socket.create_connection(service.address))
            wait_until(lambda: metric(service, "latchkey_http_connections_shed_total") >= 40,
                       "what is too much is closed")
            assert service.admin("GET", "/healthz")[0] == 200
        assert events(service, "net.accept_failed") == []
    finally:
        service.stop()


def only_later(crowd):
    """Nobody was told anything but to come back, by words or by an end of the connection."""
    assert set(crowd.stopped_by()) <= BROKEN | {503}, crowd.stopped_by()


def test_allocations_fail(tmp_path):
    """Wherever memory ends, no device is told that it is not known, or not as it should be."""
    service = FaultyService(tmp_path / "s")
    try:
        service.start()
        crowd = Crowd(service, pause_s=0.01)
        crowd.forget()
        for one_in, stopped in ((1000, 100), (200, 200), (10, 200)):
            service.allocations_fail(one_in)
            crowd.stopped(stopped)
        service.allocations_fail(0)
        assert service.happened() > 100
        crowd.settle()
        only_later(crowd)
        assert crowd.stopped_by()[503] > 10
        assert not events(service, "registration.refused")
        assert not events(service, "registration.failed")
        assert len(events(service, "service.started")) == 1
        crowd.end().account()
    finally:
        service.stop()


def test_memory_limit(tmp_path):
    """It gets no more memory from the system: it runs on, and is well when there is some again."""
    service = Service(tmp_path / "s")
    try:
        service.start()
        crowd = Crowd(service)
        crowd.forget()
        with limited(service.process.pid, resource.RLIMIT_DATA, 4096):
            crowd.stopped(100)
            crowd.paused = True
            with Calm(service):
                time.sleep(1)
            crowd.paused = False
        crowd.settle()
        only_later(crowd)
        assert len(events(service, "service.started")) == 1
        crowd.end().account()
    finally:
        service.stop()
