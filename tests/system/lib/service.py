"""The service under test: a data directory made by `latchkey init`, and latchkeyd on loopback."""
import http.client
import json
import os
import subprocess

from lib.process import Process, wait_until
from lib.swtpm import free_port_pair

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../.."))
BUILD = os.environ.get("LK_BUILD", os.path.join(ROOT, "build"))
HOST, HUB, SCOPE = "dps.example.test", "hub.example.test", "0ne00000001"


def program(name, build=None):
    """A built program: "latchkey" or "latchkeyd"."""
    folder = {"latchkey": "cli", "latchkeyd": "daemon"}[name]
    return os.path.join(build or BUILD, "src", folder, name)


class Service:
    """Made and configured, not started. settings are configuration keys, '_' for '-'.

    network (lib.netns) runs it and everything that asks it inside; listen is then free to be :443.
    """

    host, hub, scope = HOST, HUB, SCOPE

    def __init__(self, directory, build=None, network=None, listen=None, store=None, **settings):
        self.directory = str(directory)
        self.build = build
        self.network = network
        self.process = None
        self.log_path = os.path.join(self.directory, "latchkeyd.log")
        port = free_port_pair()
        self.address = listen or ("127.0.0.1", port)
        self.admin_address = ("127.0.0.1", port + 1)
        self.data = os.path.join(self.directory, "data")
        self.config_path = os.path.join(self.data, "latchkeyd.conf")
        os.makedirs(self.directory, exist_ok=True)
        self.cli("init", "--data-dir", self.data, "--id-scope", self.scope, "--host", self.host,
                 "--host", "localhost",
                 "--hub", self.hub, "--listen", "%s:%d" % self.address,
                 "--admin-listen", "%s:%d" % self.admin_address,
                 *(["--store", store] if store else []))
        self.configure(**settings)

    @property
    def ca_file(self):
        return os.path.join(self.data, "tls/ca.pem")

    @property
    def url(self):
        """For clients outside a network of the test's own: the certificate names localhost too."""
        return "https://localhost:%d" % self.address[1]

    def configure(self, **settings):
        """Set keys of the configuration file, replacing what is there."""
        with open(self.config_path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        for name, value in settings.items():
            key = name.replace("_", "-")
            lines = [line for line in lines if line.split("=")[0].strip() != key]
            lines.append(f"{key} = {value}")
        with open(self.config_path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    # ---- the process

    def argv(self):
        return [program("latchkeyd", self.build), "--config", self.config_path]

    def environment(self):
        """What latchkeyd has in its environment beside ours."""
        return {}

    def start(self, wait=True):
        start = Process if self.network is None else self.network.start
        self.process = start(self.argv(), self.log_path, self.log_path,
                             env=dict(os.environ, **self.environment()))
        if wait:
            wait_until(lambda: self._ready() or not self.process.running(), "latchkeyd is ready",
                       timeout_s=60)
            assert self.process.running(), self.log_text()[-4000:]
        return self

    def _ready(self):
        try:
            return self.admin("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def kill9(self):
        self.process.kill()

    def stop(self):
        """SIGTERM; the exit status has to be 0 and no sanitizer may have spoken."""
        if self.process is not None:
            status = self.process.close(timeout_s=60)
            self.process = None
            assert status == 0, (status, self.log_text()[-4000:])
        self.sanitizers_silent()

    def sanitizers_silent(self):
        text = self.log_text()
        for word in ("ERROR: AddressSanitizer", "runtime error:", "LeakSanitizer", "Assertion"):
            assert word not in text, text[max(0, text.index(word) - 200):][:6000]

    # ---- the log

    def log_text(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def log(self):
        """Every line of the log so far, as JSON objects."""
        return [json.loads(line) for line in self.log_text().splitlines() if line.startswith("{")]

    def log_of(self, request_id):
        """The lines that carry this request ID, once there is one."""
        assert request_id
        return wait_until(
            lambda: [line for line in self.log() if line.get("request_id") == request_id],
            f"a log line with request ID {request_id}", timeout_s=10)

    # ---- the operator

    def cli_argv(self, words):
        return [program("latchkey"), *[str(word) for word in words]]

    def cli(self, *words, check=True, **kwargs):
        """Run the command line on this service's configuration."""
        argv = self.cli_argv(words)
        env = dict(os.environ, LATCHKEY_CONFIG=self.config_path)
        run = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=env, **kwargs)
        assert not check or run.returncode == 0, (argv, run.returncode, run.stdout, run.stderr)
        return run

    def enroll(self, device, *more):
        """An enrollment for a lib.device.Device."""
        self.cli("enrollment", "add", "--registration-id", device.registration_id,
                 "--ek", device.ek_base64, *more)

    def admin(self, method, path, body=None):
        """(status, body) from the local listener."""
        if self.network is not None:
            return self._admin_inside(method, path, body)
        connection = http.client.HTTPConnection(*self.admin_address, timeout=20)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _admin_inside(self, method, path, body):
        argv = ["curl", "-sS", "-X", method, "-w", "\n%{http_code}", "--data-binary", "@-",
                "-H", "Content-Type: application/json",
                "http://%s:%d%s" % (*self.admin_address, path)]
        if body is None:
            argv = argv[:6] + argv[-1:]
        run = self.network.run(argv, input=body.decode() if body else None)
        if run.returncode != 0:
            raise ConnectionError(run.stderr)
        text, status = run.stdout.rsplit("\n", 1)
        return int(status), text.encode()

    def device_check(self, token, hub=None):
        """What the hub registry says to a device's token: (status, JSON)."""
        status, body = self.admin("POST", "/auth/device",
                                  json.dumps({"hub": hub or self.hub, "token": token}).encode())
        return status, json.loads(body) if body else {}

    def accepts(self, token, hub=None):
        """Whether the hub registry's device check takes the token."""
        status, _ = self.device_check(token, hub)
        assert status in (200, 204, 401, 403), status
        return status in (200, 204)
