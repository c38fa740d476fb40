"""The test tools themselves: an unmodified tss.js reaches swtpm through the bridge."""
import base64
import hashlib
import json
import os

from conftest import HERE


def test_node_reads_the_tpm(network, bridge, node_modules):
    """EK and SRK are the RSA-2048 areas that the SDK's templates give; the default ID is theirs."""
    run = network.run(["node", os.path.join(HERE, "node/tpm_probe.js")])
    assert run.returncode == 0, run.stderr
    got = json.loads(run.stdout)
    ek, srk = base64.b64decode(got["ek"]), base64.b64decode(got["srk"])
    assert ek[:2] == b"\x01\x3a" and len(ek) == 316
    assert srk[:2] == b"\x01\x1a" and len(srk) == 284
    digest = base64.b32encode(hashlib.sha256(ek).digest()).decode().rstrip("=").lower()
    assert got["registrationId"] == digest


def test_network_is_its_own(network):
    """Port 443 can be bound and the test's names resolve to loopback."""
    run = network.run(["python3", "-c", """
import socket
socket.create_server(("127.0.0.1", 443))
print(socket.gethostbyname("dps.example.test"))"""])
    assert run.stdout == "127.0.0.1\n", run.stderr
