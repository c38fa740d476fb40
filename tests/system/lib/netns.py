"""A network of the test's own, so that port 443 is free and names resolve as the test says."""
import os
import subprocess

from lib.process import Process, wait_until


class Network:
    """A network and a mount namespace with loopback up and its own /etc/hosts.

    A sleeping child holds them; when it ends they are gone, also after a crash of the tests. Works
    as root, and elsewhere in a user namespace.
    """

    def __init__(self, directory, names):
        hosts = os.path.join(directory, "hosts")
        with open(hosts, "w", encoding="ascii") as file:
            file.write(f"127.0.0.1 localhost {' '.join(names)}\n")
        root = os.geteuid() == 0
        script = ('ip link set lo up && mount --bind "$0" /etc/hosts && touch "$1" && '
                  "exec sleep infinity")
        ready = os.path.join(directory, "ready")
        self.holder = Process(
            ["unshare", "--net", "--mount"] + ([] if root else ["--user", "--map-root-user"]) +
            ["--", "sh", "-c", script, hosts, ready],
            os.path.join(directory, "log"), os.path.join(directory, "log"))
        self._enter = ["nsenter", "--target", str(self.holder.pid), "--net", "--mount",
                       f"--wd={os.getcwd()}"]
        if not root:
            self._enter += ["--user", "--preserve-credentials"]
        wait_until(lambda: os.path.exists(ready) or not self.holder.running(), "network is up")
        assert self.holder.running(), open(os.path.join(directory, "log")).read()

    def command(self, argv):
        """argv as it is run inside."""
        return self._enter + ["--"] + [str(word) for word in argv]

    def run(self, argv, **kwargs):
        kwargs.setdefault("timeout", 60)
        return subprocess.run(self.command(argv), capture_output=True, text=True, **kwargs)

    def start(self, argv, stdout, stderr, **kwargs):
        return Process(self.command(argv), stdout, stderr, **kwargs)

    def close(self):
        self.holder.kill()
