"""Mosquitto as a test starts it, and an operator's client of it."""
import os
import subprocess

from lib.process import Process, wait_until


def make_certificate(directory, name, days=2):
    """A CA (ca.pem), and a certificate for name signed by it (server.pem, server.key)."""
    def openssl(*words):
        run = subprocess.run(["openssl", *words], cwd=directory, capture_output=True, text=True,
                             timeout=60)
        assert run.returncode == 0, run.stderr

    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj",
            "/CN=Broker CA", "-days", str(days))
    openssl("req", *new_key, "-keyout", "server.key", "-out", "server.csr", "-subj", f"/CN={name}")
    with open(os.path.join(directory, "ext"), "w", encoding="ascii") as file:
        file.write(f"subjectAltName=DNS:{name}\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-extfile", "ext", "-days", str(days), "-out", "server.pem")


class Mosquitto:
    """On port 8883 with TLS for devices and 1883 without for the operator, inside a network.

    Bare: whoever comes is let in.
    """

    def __init__(self, directory, network, name):
        self.directory = str(directory)
        self.network = network
        os.makedirs(self.directory)
        make_certificate(self.directory, name)
        self.ca_file = os.path.join(self.directory, "ca.pem")
        config = os.path.join(self.directory, "mosquitto.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(f"user root\nallow_anonymous true\nlistener 1883 127.0.0.1\n"
                       f"listener 8883 127.0.0.1\ncertfile {self.directory}/server.pem\n"
                       f"keyfile {self.directory}/server.key\n")
        self.log = os.path.join(self.directory, "log")
        self.process = network.start(["mosquitto", "-c", config], self.log, self.log)
        self.operator = Operator(self.directory, network)
        wait_until(lambda: self.operator.publish("up", "").returncode == 0, "mosquitto answers")

    def close(self):
        self.process.close()


class Operator:
    """An operator's client, inside a network. words are options of Mosquitto's clients."""

    def __init__(self, directory, network, *words):
        self.directory = str(directory)
        self.network = network
        self.words = ["-h", "127.0.0.1", *words]

    def publish(self, topic, body):
        return self.network.run(["mosquitto_pub", *self.words, "-t", topic, "-m", body])

    def subscribe(self, *filters):
        return Subscription(self, filters)


class Subscription:
    """What an operator's client gets, as (topic, body)."""

    def __init__(self, operator, filters):
        self.path = os.path.join(operator.directory,
                                 "sub-" + str(len(os.listdir(operator.directory))))
        words = [word for f in filters for word in ("-t", f)]
        self.process = operator.network.start(
            ["stdbuf", "-oL", "mosquitto_sub", *operator.words, "-d", "-F", "got %t %p", *words],
            self.path, self.path)
        wait_until(lambda: "Subscribed (" in self.text() or not self.process.running(),
                   "the subscription is there", every_s=0.2)
        assert self.process.running(), self.text()

    def text(self):
        with open(self.path, encoding="utf-8") as file:
            return file.read()

    def lines(self):
        return [tuple(line.split(" ", 2)[1:]) for line in self.text().splitlines()
                if line.startswith("got ")]

    def find(self, topic_start):
        """The first (topic, body) below a topic, once there is one."""
        return wait_until(
            lambda: next((x for x in self.lines() if x[0].startswith(topic_start)), None),
            f"a message below {topic_start}", timeout_s=60)

    def close(self):
        self.process.close()
