"""A disk or a database that takes nothing any more, while devices register (doc/OPERATIONS.md).

Whoever was told `assigned` is registered with that key, whoever could not be is told to come back,
and all of it ends by itself when the cause does.
"""
import os
import sqlite3
import time

import pytest

from lib.crowd import Calm, Crowd
from lib.device import Device
from lib.disk import Disk, DiskService
from lib.faults import FaultyService
from lib.process import wait_until
from lib.service import Service


def events(service, name):
    return [line for line in service.log() if line["event"] == name]


def not_ready(service):
    status, body = service.admin("GET", "/readyz")
    return status == 503 and body.decode()


def errors(service):
    """latchkey_store_errors_total, for the alert LatchkeyStoreErrors."""
    text = service.admin("GET", "/metrics")[1].decode()
    return next(int(line.split()[1]) for line in text.splitlines()
                if line.startswith("latchkey_store_errors_total "))


def goes_and_comes(service, crowd, words, stop, start):
    """The database fails between stop() and start(); all that is promised of that."""
    assert errors(service) == 0 and events(service, "store.failing") == []
    crowd.forget()
    stop()
    crowd.stopped(20)
    # A connection that hangs for want of an answer, or any other status, would be here.
    assert set(crowd.stopped_by()) == {503}, crowd.stopped_by()
    told = wait_until(lambda: not_ready(service), "it is told")
    assert "the store takes no writes: the database " in told and words in told
    assert service.admin("GET", "/healthz")[0] == 200  # nothing that a restart would mend
    wait_until(lambda: events(service, "store.failing"), "it is logged")
    assert errors(service) > 0
    crowd.paused = True
    with Calm(service):
        time.sleep(2)
    crowd.paused = False
    assert events(service, "store.recovered") == []
    start()
    crowd.settle()
    wait_until(lambda: events(service, "store.recovered"), "its end is logged")
    wait_until(service._ready, "it is ready")
    failing, = events(service, "store.failing")  # the whole time is one story
    assert words in failing["reason"] and failing["level"] == "error"
    assert len(events(service, "store.recovered")) == 1
    crowd.end().account()


def test_disk_is_full(tmp_path):
    disk = Disk(str(tmp_path), 4096)
    try:
        service = DiskService(tmp_path / "s", disk)
        try:
            service.start()
            crowd = Crowd(service)
            goes_and_comes(service, crowd, "database or disk is full", disk.fill, disk.free)
        finally:
            service.stop()
    finally:
        disk.close()


# A file system that turned read-only after an error, and one whose disk fails under it.
@pytest.mark.parametrize("stop, words", [
    (lambda service: service.writes_fail("EROFS"), "disk I/O error"),
    (lambda service: service.syncs_fail("EIO"), "disk I/O error"),
], ids=["read-only", "does-not-sync"])
def test_disk_takes_nothing(tmp_path, stop, words):
    service = FaultyService(tmp_path / "s")

    def start():
        assert service.happened() > 0
        service.writes_fail(None)
        service.syncs_fail(None)
    try:
        service.start()
        crowd = Crowd(service)
        goes_and_comes(service, crowd, words, lambda: stop(service), start)
    finally:
        service.stop()


class Patient(Device):
    """Waits for its answer as long as the service may for the database."""

    def connect(self, **kwargs):
        return super().connect(timeout_s=60, **kwargs)


def test_store_is_locked(tmp_path):
    """Another program holds the database: jobs wait, then their devices are told; nobody is cut."""
    service = Service(tmp_path / "s")
    other = sqlite3.connect(os.path.join(service.data, "latchkey.db"), isolation_level=None)
    try:
        service.start()
        crowd = Crowd(service, make=Patient)
        other.execute("BEGIN IMMEDIATE")
        time.sleep(2)  # a moment of it is a pause, no failure
        other.execute("ROLLBACK")
        crowd.settle()
        assert crowd.stopped_by() == {} and events(service, "store.failing") == []
        other.execute("BEGIN IMMEDIATE")
        failing, = wait_until(lambda: events(service, "store.failing"), "it is logged", 60)
        assert "database is locked" in failing["reason"]
        assert errors(service) > 0
        other.execute("ROLLBACK")
        crowd.settle()
        wait_until(lambda: events(service, "store.recovered"), "its end is logged")
        wait_until(service._ready, "it is ready")
        assert set(crowd.end().stopped_by()) == {503}, crowd.stopped_by()
        crowd.account()
    finally:
        other.close()
        service.stop()
