"""A small Debian of the test's own, from the package sources that apt on this machine has."""
import os
import shlex
import subprocess

NEEDED = "gcc libc6-dev pkg-config libmosquitto-dev mosquitto swtpm libtss2-tcti-swtpm0 curl prometheus".split()


def output(argv, **kwargs):
    run = subprocess.run(argv, capture_output=True, text=True, **{"timeout": 300, **kwargs})
    assert run.returncode == 0, f"{argv}: {run.stdout}\n{run.stderr}"
    return run.stdout


def need_root():
    assert os.geteuid() == 0, ("the packages are built without a network and installed in a tree of "
                               "their own (unshare, chroot): run tests/run-all.sh deb as root")


def sources():
    """One line each, of the Debian release that this machine runs."""
    with open("/etc/os-release", encoding="utf-8") as file:
        codename = dict(line.rstrip().split("=", 1) for line in file if "=" in line)
    codename = codename["VERSION_CODENAME"].strip('"')
    asked = ["apt-get", "indextargets", "--format", "deb $(SITE) $(RELEASE) $(COMPONENT)",
             "Created-By: Packages", "Origin: Debian"]
    found = output(asked)
    if not found: # apt knows the origin of lists that it has
        output(["apt-get", "update", "-q"])
        found = output(asked)
    lines = sorted({line for line in found.splitlines() if line.split()[2].startswith(codename)})
    assert lines, "apt on this machine has no sources of Debian " + codename
    return codename, lines


def proxies():
    """How apt on this machine reaches them."""
    return [line for line in output(["apt-config", "dump", "Acquire"]).splitlines()
            if "proxy" in line.lower() and not line.endswith('"";')]


class Root:
    """The file tree, and programs that run in it."""

    def __init__(self, path):
        self.path = str(path)
        codename, lines = sources()
        options = [f"--aptopt={line}" for line in proxies()]
        output(["mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "--skip=cleanup/apt/lists",
                "--include=" + ",".join(NEEDED), *options, codename, self.path, *lines],
               timeout=900)
        self.write("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755) # nothing is started

    def at(self, path):
        return os.path.join(self.path, path.lstrip("/"))

    def write(self, path, text, mode=0o644):
        with open(self.at(path), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.at(path), mode)

    def read(self, path):
        with open(self.at(path), encoding="utf-8") as file:
            return file.read()

    def argv(self, script, network=False):
        """A shell script, with a loopback of its own unless it is to have the machine's network."""
        inside = ["chroot", self.path, "/bin/sh", "-euc", script]
        if network:
            return ["unshare", "--mount", "--pid", "--fork", "--kill-child",
                    f"--mount-proc={self.path}/proc", *inside]
        return ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child",
                f"--mount-proc={self.path}/proc", "sh", "-euc",
                "ip link set lo up; exec " + shlex.join(inside)]

    def run(self, script, network=False, expect=0, timeout=120):
        """Its standard output and error."""
        run = subprocess.run(self.argv(script, network), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             timeout=timeout, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                                                   "DEBIAN_FRONTEND": "noninteractive",
                                                   "LC_ALL": "C.UTF-8"})
        assert run.returncode == expect, f"{script}: {run.returncode}\n{run.stdout}"
        return run.stdout
