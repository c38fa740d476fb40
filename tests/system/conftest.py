"""Fixtures of the system tests. Nothing here touches anything beyond loopback and temporary files."""
import fcntl
import os
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from lib.netns import Network  # noqa: E402
from lib.process import wait_until  # noqa: E402
from lib.service import Service  # noqa: E402
from lib.swtpm import Swtpm, free_port_pair  # noqa: E402


@pytest.fixture
def make_swtpm(tmp_path):
    """Starts software TPMs: make_swtpm(name, tcp=False)."""
    started = []

    def make(name, tcp=False):
        tpm = Swtpm(tmp_path / name, free_port_pair() if tcp else None)
        started.append(tpm)
        return tpm

    yield make
    for tpm in started:
        tpm.close()


@pytest.fixture
def swtpm(make_swtpm):
    return make_swtpm("swtpm")


@pytest.fixture
def make_service(tmp_path):
    """Starts services: make_service(**settings), as lib.service.Service takes them."""
    started = []

    def make(name="service", **kwargs):
        service = Service(tmp_path / name, **kwargs)
        started.append(service)
        return service.start()

    yield make
    for service in started:
        service.stop()


@pytest.fixture(scope="module")
def module_service(tmp_path_factory):
    """One service for a whole file; its tests use registration IDs of their own."""
    service = Service(tmp_path_factory.mktemp("service"))
    service.start()
    yield service
    service.stop()


@pytest.fixture
def network(tmp_path):
    directory = tmp_path / "network"
    directory.mkdir()
    net = Network(str(directory), ["dps.example.test", "hub.example.test"])
    yield net
    net.close()


@pytest.fixture
def bridge(tmp_path, network, swtpm):
    """swtpm on the simulator's ports inside the network."""
    log = tmp_path / "bridge.log"
    process = network.start(
        [sys.executable, os.path.join(HERE, "lib/mssim_bridge.py"), swtpm.socket_path], log, log)
    wait_until(lambda: b"ready" in log.read_bytes(), "bridge is ready")
    yield process
    process.close()


@pytest.fixture(scope="session")
def node_modules():
    """The npm packages that package-lock.json names, installed once."""
    marker = os.path.join(HERE, "node_modules", ".package-lock.json")
    lock = os.path.join(HERE, "package-lock.json")
    with open(lock, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # pytest's other processes wait
        if not os.path.exists(marker) or os.path.getmtime(marker) < os.path.getmtime(lock):
            subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE,
                           check=True, timeout=300)
    return os.path.join(HERE, "node_modules")
