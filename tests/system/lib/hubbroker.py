"""Mosquitto as the broker of a service's hub, with latchkey_hub.so."""
import os
import signal
import subprocess

from lib import mqtt
from lib.mosquitto import make_certificate
from lib.process import Process, wait_until
from lib.service import BUILD
from lib.swtpm import free_port_pair

OPERATOR, OPERATOR_PASSWORD = "collector", "collector's secret"


def sanitized(plugin):
    """The sanitizers' libraries that a broker has to load first, for a plugin built with them."""
    linked = subprocess.run(["ldd", plugin], capture_output=True, text=True, check=True).stdout
    return [line.split()[2] for line in linked.splitlines() if "libasan" in line]


class HubBroker:
    """Devices on a TLS port, operators on a plain one of loopback. settings are lines more."""

    def __init__(self, directory, service, build=None, network=None, device_port=None,
                 settings=(), options=()):
        self.directory = str(directory)
        os.makedirs(self.directory, exist_ok=True)
        self.service = service
        self.hub = service.hub
        self.network = network
        self.log = os.path.join(self.directory, "log")
        self.socket = os.path.join(self.directory, "hub.sock")
        self.process = None
        port = free_port_pair()
        self.port, self.operator_port = device_port or port, port + 1
        make_certificate(self.directory, self.hub)
        self.ca_file = os.path.join(self.directory, "ca.pem")
        self.passwords = os.path.join(self.directory, "passwords")
        subprocess.run(["mosquitto_passwd", "-b", "-c", self.passwords, OPERATOR,
                        OPERATOR_PASSWORD], check=True, timeout=60)
        self.plugin = os.path.join(build or BUILD, "src/mosquitto/latchkey_hub.so")
        self.config = os.path.join(self.directory, "mosquitto.conf")
        service.configure(mqtt_socket=self.socket)
        self.write_config(settings, options)

    def write_config(self, settings=(), options=()):
        """As the command line makes it for operators, with what a test does otherwise."""
        text = self.service.cli(
            "hub", "mosquitto-config", self.hub, "--cert", f"{self.directory}/server.pem", "--key",
            f"{self.directory}/server.key", "--port", self.port, "--operator-port",
            self.operator_port, "--passwords", self.passwords, "--plugin", self.plugin).stdout
        lines = text.replace("/var/lib/mosquitto/", self.directory + "/").splitlines()
        socket = lines.index(f"plugin_opt_socket {self.socket}")
        lines[socket + 1:socket + 1] = [f"plugin_opt_{line}" for line in options]
        listener = lines.index(f"listener {self.operator_port} 127.0.0.1")
        lines[listener:listener] = ["user root", "log_type all", "log_dest stderr", *settings]
        with open(self.config, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")

    # ---- the process

    def start(self):
        env = dict(os.environ)
        libraries = sanitized(self.plugin)
        if libraries:
            env["LD_PRELOAD"] = ":".join(libraries)
            env["ASAN_OPTIONS"] = "detect_leaks=0"
        argv = ["mosquitto", "-c", self.config]
        before = self.log_text().count(" running")
        if self.network is None:
            self.process = Process(argv, self.log, self.log, env=env)
        else:
            self.process = self.network.start(argv, self.log, self.log, env=env)
        wait_until(lambda: self.log_text().count(" running") > before or
                   not self.process.running(), "mosquitto runs")
        assert self.process.running(), self.log_text()[-2000:]
        return self

    def wait_service(self):
        """Until the service knows this broker and its sessions."""
        wait_until(lambda: any(line.get("event") == "broker.ready" for line in self.service.log()),
                   "the service is ready for the broker")
        return self

    def stop(self):
        if self.process is not None:
            self.process.close()
            self.process = None
        text = self.log_text()
        for word in ("AddressSanitizer", "runtime error:"):
            assert word not in text, text[max(0, text.index(word) - 200):][:6000]

    def kill9(self):
        self.process.kill()
        self.process = None

    def reload(self):
        before = self.log_text().count("Reloading config")
        self.process.child.send_signal(signal.SIGHUP)
        wait_until(lambda: self.log_text().count("Reloading config") > before, "it reloads")

    def log_text(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    # ---- clients

    def client(self, **kwargs):
        return mqtt.Client(("127.0.0.1", self.port), self.ca_file, self.hub, **kwargs)

    def user_name(self, device_id):
        return f"{self.hub}/{device_id}/{mqtt.API_VERSION}&DeviceClientType=test%2F1"

    def device(self, device, clean=True, token=None, will=None, keep_alive=60, **kwargs):
        """A connected lib.device.Device."""
        client = self.client(**kwargs)
        code = client.connect(device.device_id, self.user_name(device.device_id),
                              token or device.hub_token(), clean=clean, will=will,
                              keep_alive=keep_alive)
        assert code == 0, code
        return client

    def operator(self, *filters, client_id="op/test", clean=True, qos=1):
        """A connected operator; by default it reads everything."""
        client = mqtt.Client(("127.0.0.1", self.operator_port))
        assert client.connect(client_id, OPERATOR, OPERATOR_PASSWORD, clean=clean) == 0
        wanted = filters or ("latchkey/#",)
        assert client.subscribe(*wanted, qos=qos) == [qos] * len(wanted)
        return client
