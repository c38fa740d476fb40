"""A software TPM of the test's own."""
import os
import random
import socket
import struct

from lib.process import Process, wait_until


class Swtpm:
    """swtpm on Unix sockets in a directory, or on two TCP ports; TPM2_Startup is done.

    It serves one connection at a time. tcti is a TCTI string for tpm2-tss when ports were given.
    """

    def __init__(self, directory, tcp_port=None):
        self.directory = str(directory)
        os.makedirs(self.directory, exist_ok=True)
        self.socket_path = os.path.join(self.directory, "cmd.sock")
        self.tcp_port = tcp_port
        if tcp_port is None:
            server = f"type=unixio,path={self.socket_path}"
            control = f"type=unixio,path={self.directory}/ctrl.sock"
        else:
            server = f"type=tcp,port={tcp_port},bindaddr=127.0.0.1"
            control = f"type=tcp,port={tcp_port + 1},bindaddr=127.0.0.1"
            self.tcti = f"swtpm:host=127.0.0.1,port={tcp_port}"
        self.process = Process(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.directory}",
             "--server", server + ",disconnect" * (tcp_port is not None), "--ctrl", control,
             "--flags", "not-need-init,startup-clear"],
            os.path.join(self.directory, "log"), os.path.join(self.directory, "log"))
        wait_until(self._answers, "swtpm answers")

    def _answers(self):
        """Whether TPM2_GetRandom(8) succeeds."""
        assert self.process.running(), open(os.path.join(self.directory, "log")).read()
        try:
            with self.connect() as tpm:
                tpm.sendall(struct.pack(">HIIH", 0x8001, 12, 0x17B, 8))
                return tpm.recv(64)[6:10] == b"\0\0\0\0"
        except OSError:
            return False

    def connect(self):
        if self.tcp_port is not None:
            return socket.create_connection(("127.0.0.1", self.tcp_port), timeout=5)
        tpm = socket.socket(socket.AF_UNIX)
        tpm.settimeout(5)
        tpm.connect(self.socket_path)
        return tpm

    def close(self):
        self.process.close()


def free_port_pair():
    """Two neighbouring TCP ports on loopback that are free now, and below those that the kernel
    gives to outgoing connections, so that they still are when a server takes them. Each of pytest's
    processes has pairs of its own."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    for _ in range(200):
        port = random.randrange(15000 + 2 * worker, 32000, 2 * workers)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no two neighbouring free ports")
