"""A disk of the test's own that can be filled: a tmpfs that nobody else sees."""
import os
import subprocess

from lib.process import Process, wait_until
from lib.service import Service


class Disk:
    """Mounted at folder in a mount namespace that a sleeping child holds; gone with it, also after a
    crash of the tests. Works as root, and elsewhere in a user namespace."""

    def __init__(self, directory, size_kib):
        self.folder = os.path.join(directory, "disk")
        log, ready = (os.path.join(directory, name) for name in ("disk.log", "disk.ready"))
        os.makedirs(self.folder)
        root = os.geteuid() == 0
        script = (f'mount -t tmpfs -o size={size_kib}k,mode=700 none "$0" && touch "$1" && '
                  "exec sleep infinity")
        self.holder = Process(
            ["unshare", "--mount"] + ([] if root else ["--user", "--map-root-user"]) +
            ["--", "sh", "-c", script, self.folder, ready], log, log)
        self._enter = ["nsenter", "--target", str(self.holder.pid), "--mount"]
        if not root:
            self._enter += ["--user", "--preserve-credentials"]
        wait_until(lambda: os.path.exists(ready) or not self.holder.running(), "the disk is there")
        assert self.holder.running(), open(log, encoding="utf-8").read()

    def command(self, argv):
        """argv as it is run where the disk is seen."""
        return self._enter + [f"--wd={os.getcwd()}", "--"] + [str(word) for word in argv]

    def run(self, argv, check=True):
        return subprocess.run(self.command(argv), capture_output=True, text=True, timeout=60,
                              check=check)

    def fill(self):
        """To the last byte."""
        full = self.run(["dd", "if=/dev/zero", f"of={self.folder}/filler", "bs=4096"], check=False)
        assert "No space left" in full.stderr, full.stderr

    def free(self):
        self.run(["rm", f"{self.folder}/filler"])

    def close(self):
        self.holder.kill()


class DiskService(Service):
    """A service whose database is on such a disk; keys, configuration and log are elsewhere."""

    def __init__(self, directory, disk, **settings):
        self.disk = disk
        super().__init__(directory, store=f"sqlite:{disk.folder}/latchkey.db", **settings)

    def argv(self):
        return self.disk.command(super().argv())

    def cli_argv(self, words):
        return self.disk.command(super().cli_argv(words))
