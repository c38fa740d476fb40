"""A PostgreSQL server of the test's own: a cluster in a folder, on a socket in it."""
import os
import pwd
import shutil
import subprocess
import tempfile

from lib.process import Process, wait_until

BIN = "/usr/lib/postgresql/15/bin"  # Debian 12


def _as_user():
    """The server refuses to run as root: keyword arguments that make it somebody else's."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Postgres:
    """Started; close() ends it and removes everything."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="lk-pg-")  # a socket's path has to be short
        self.data = os.path.join(self.directory, "data")
        self.databases = 0
        if os.geteuid() == 0:
            os.chown(self.directory, *pwd.getpwnam("postgres")[2:4])
        subprocess.run([f"{BIN}/initdb", "-D", self.data, "-U", "latchkey", "-A", "trust", "-E",
                        "UTF8", "--locale=C.UTF-8", "--no-sync"], check=True, capture_output=True,
                       cwd="/", **_as_user())
        self.process = None
        self.start()

    def start(self):
        log = os.path.join(self.directory, "log")
        self.process = Process(
            [f"{BIN}/postgres", "-D", self.data, "-c", "listen_addresses=", "-c",
             f"unix_socket_directories={self.directory}", "-c", "max_connections=100"],
            log, log, cwd="/", **_as_user())
        wait_until(self.answers, "PostgreSQL answers", timeout_s=60)

    def answers(self):
        return self.sql("SELECT 1", check=False).returncode == 0

    def sql(self, text, database="postgres", check=True):
        return subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", text,
                               self.url(database)], capture_output=True, text=True, check=check,
                              timeout=60, cwd="/")

    def url(self, database):
        return f"postgresql://latchkey@/{database}?host={self.directory}"

    def database(self):
        """The URL of a fresh, empty database."""
        self.databases += 1
        self.sql(f"CREATE DATABASE t{self.databases}")
        return self.url(f"t{self.databases}")

    def kill9(self):
        """As a power cut: the postmaster and, since it is gone, all that it started."""
        self.process.kill()

    def close(self):
        if self.process.running():
            self.process.child.send_signal(2)  # fast: sessions are cut
            self.process.child.wait(60)
        shutil.rmtree(self.directory)
