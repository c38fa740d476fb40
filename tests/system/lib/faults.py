"""A service whose memory, disk or clock fail when the test says so, by preloaded libraries."""
import errno
import mmap
import os
import struct
import time

from lib.service import BUILD, Service

PAGE = 4096


class FaultyService(Service):
    """tests/support/faults.c in latchkeyd. Every fault is off until it is set."""

    def __init__(self, directory, **settings):
        os.makedirs(directory, exist_ok=True)
        self._page_path = os.path.join(directory, "faults.page")
        with open(self._page_path, "wb") as file:
            file.write(bytes(PAGE))
        with open(self._page_path, "r+b") as file:
            self._page = mmap.mmap(file.fileno(), PAGE)
        super().__init__(directory, **settings)

    def environment(self):
        return {"LD_PRELOAD": os.path.join(BUILD, "tests/support/libfaults.so"),
                "LK_FAULTS": self._page_path}

    def _set(self, at, value):
        self._page[4 * at:4 * at + 4] = struct.pack("<I", value)

    def allocations_fail(self, one_in):
        """One of so many; 0: none."""
        self._set(0, one_in)

    def writes_fail(self, name):
        """Writing to the database's files, with that errno; None: it works."""
        self._set(1, getattr(errno, name) if name else 0)

    def syncs_fail(self, name):
        """Making it durable."""
        self._set(2, getattr(errno, name) if name else 0)

    def happened(self):
        """How often a fault was met."""
        return struct.unpack("<I", self._page[12:16])[0]


class ClockService(Service):
    """Its clock is what the test sets; the monotonic one goes on, as it does on a real machine."""

    def __init__(self, directory, **settings):
        os.makedirs(directory, exist_ok=True)
        self._clock_path = os.path.join(directory, "clock")
        self.set_clock(None)
        super().__init__(directory, **settings)

    def set_clock(self, unix_s):
        """None: as ours."""
        ahead_s = 0 if unix_s is None else unix_s - time.time()
        with open(self._clock_path + ".new", "w", encoding="ascii") as file:
            file.write(f"{ahead_s:+.3f}\n")
        os.rename(self._clock_path + ".new", self._clock_path)

    def environment(self):
        library = f"/usr/lib/{os.uname().machine}-linux-gnu/faketime/libfaketimeMT.so.1"
        assert os.path.exists(library), "install libfaketime"
        return {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": self._clock_path,
                "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
