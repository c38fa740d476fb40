"""A RabbitMQ node as a test starts it: its own directory, inside a network of the test's own."""
import os
import shutil

from lib.mosquitto import make_certificate
from lib.process import wait_until

SBIN = "/usr/lib/rabbitmq/bin"  # Debian's /usr/sbin wrappers change the user


class RabbitMq:
    """MQTT over TLS on 8883 for devices, AMQP and the rest on loopback; asks auth_url about everyone
    but the operator (user "operator", password "secret", internal database).

    auth_url is "http(s)://...", to which "/user", "/vhost" and so on are added.
    """

    def __init__(self, directory, network, name, auth_url, ca_file=None):
        self.directory = str(directory)
        self.network = network
        os.makedirs(self.directory)
        make_certificate(self.directory, name)
        self.ca_file = os.path.join(self.directory, "ca.pem")
        self.log = os.path.join(self.directory, "log")
        self._configure(auth_url, ca_file)
        self.env = dict(
            os.environ, HOME=self.directory, RABBITMQ_NODENAME="latchkey@localhost",
            RABBITMQ_CONFIG_FILE=os.path.join(self.directory, "rabbitmq.conf"),
            RABBITMQ_ADVANCED_CONFIG_FILE=os.path.join(self.directory, "advanced.config"),
            RABBITMQ_CONF_ENV_FILE=os.path.join(self.directory, "none"),
            RABBITMQ_ENABLED_PLUGINS_FILE=os.path.join(self.directory, "plugins"),
            RABBITMQ_MNESIA_BASE=os.path.join(self.directory, "mnesia"),
            RABBITMQ_LOG_BASE=self.directory, RABBITMQ_LOGS="-",
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 +sbwt none")
        # In the foreground and ours, or the node would start one that nobody ends.
        self.epmd = network.start(["epmd", "-address", "127.0.0.1"], self.log, self.log)
        self.node = network.start([f"{SBIN}/rabbitmq-server"], self.log, self.log, env=self.env)
        try:
            wait_until(lambda: "Server startup complete" in self.log_text() or
                       not self.node.running(), "RabbitMQ is up", timeout_s=180, every_s=0.5)
            assert self.node.running(), self.log_text()[-4000:]
            self.ctl("add_user", "operator", "secret")
            queues = "mqtt-subscription-.*"
            both = f"^({queues}|amq\\.topic)$"
            self.ctl("set_permissions", "operator", f"^{queues}$", both, both)
        except BaseException:
            self.close()
            raise

    def _configure(self, auth_url, ca_file):
        def write(name, text):
            with open(os.path.join(self.directory, name), "w", encoding="ascii") as file:
                file.write(text)

        write("plugins", "[rabbitmq_mqtt,rabbitmq_auth_backend_http].\n")
        write("rabbitmq.conf", f"""\
listeners.tcp.default = 127.0.0.1:5672
mqtt.listeners.tcp.default = 127.0.0.1:1883
mqtt.listeners.ssl.default = 127.0.0.1:8883
ssl_options.cacertfile = {self.directory}/ca.pem
ssl_options.certfile = {self.directory}/server.pem
ssl_options.keyfile = {self.directory}/server.key
ssl_options.verify = verify_none
mqtt.allow_anonymous = false
auth_backends.1 = internal
auth_backends.2 = http
auth_http.http_method = post
auth_http.user_path = {auth_url}/user
auth_http.vhost_path = {auth_url}/vhost
auth_http.resource_path = {auth_url}/resource
auth_http.topic_path = {auth_url}/topic
""")
        tls = "" if ca_file is None else (
            f',{{ssl_options,[{{cacertfile,"{ca_file}"}},{{verify,verify_peer}}]}}')
        write("advanced.config",
              "[{rabbitmq_mqtt,[{ignore_colons_in_username,true}]},"
              f"{{rabbitmq_auth_backend_http,[{{http_method,post}}{tls}]}}].\n")

    def log_text(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def ctl(self, *words):
        run = self.network.run([f"{SBIN}/rabbitmqctl", "--quiet", *words], env=self.env,
                               timeout=120)
        assert run.returncode == 0, (words, run.stdout, run.stderr, self.log_text()[-3000:])
        return run.stdout

    def close(self):
        """The node first: it says good-bye to epmd."""
        try:
            self.node.close(timeout_s=60)
        finally:
            self.epmd.close()
            shutil.rmtree(os.path.join(self.directory, "mnesia"), ignore_errors=True)
