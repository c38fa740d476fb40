"""Child processes that a test owns: started, waited for, ended by pid."""
import signal
import subprocess
import time


class Process:
    """A child with its output in files; ended on close()."""

    def __init__(self, argv, stdout, stderr, **kwargs):
        self.argv = [str(word) for word in argv]
        with open(stdout, "ab") as out, open(stderr, "ab") as err:
            self.child = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, **kwargs
            )

    @property
    def pid(self):
        return self.child.pid

    def running(self):
        return self.child.poll() is None

    def kill(self):
        self.child.kill()
        self.child.wait()

    def close(self, timeout_s=20):
        """SIGTERM, then SIGKILL; returns the exit status."""
        if self.running():
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.argv[0]} did not end within {timeout_s} s of SIGTERM")
        return self.child.returncode


def wait_until(condition, what, timeout_s=20, every_s=0.05):
    """Poll condition() until it gives something true, and return that."""
    deadline = time.monotonic() + timeout_s
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {timeout_s} s: {what}")
        time.sleep(every_s)
