"""The unmodified SDKs for Node, run inside a network where the service is on port 443."""
import json
import os
import subprocess

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OWNER = "provisioningserviceowner"


def command(script, *words):
    return ["node", os.path.join(HERE, "node", script), *words]


def env_of(service):
    return dict(os.environ, NODE_EXTRA_CA_CERTS=service.ca_file)


class Sdk:
    """The operators' SDK under a policy's connection string: one process for all calls."""

    def __init__(self, service, connection_string=None):
        self.service, self.network = service, service.network
        self.connection_string = connection_string or service.cli(
            "policy", "show", OWNER, "--connection-string").stdout.strip()
        self.process = None

    def node(self, script, *words, **kwargs):
        """Another script with the same connection string; its lines."""
        run = self.network.run(command(script, self.connection_string, *words),
                               env=env_of(self.service), **kwargs)
        assert run.returncode == 0, (run.stderr, self.service.log_text()[-3000:])
        return run.stdout.splitlines()

    def one(self, method, *args, plain=False):
        """{"result", "status"}, {"pages"} of a query, or {"error"}. plain as service_calls.js."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.network.command(command("service_calls.js", self.connection_string)),
                env=env_of(self.service), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        kind = "query" if method.endswith("Query") else "call"
        self.process.stdin.write(json.dumps({kind: method, "args": args, "plain": plain}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, (method, self.process.poll(), self.service.log_text()[-3000:])
        return json.loads(answer)

    def run(self, *calls):
        """Each call is (METHOD, ARGUMENT...); the answers in order."""
        return [self.one(*call) for call in calls]

    def ok(self, *call):
        answer = self.one(*call)
        assert "error" not in answer, (call, answer)
        return answer.get("result")

    def rows(self, *call, plain=False):
        """All rows of a query, over its pages."""
        return [row for page in self.one(*call, plain=plain)["pages"] for row in page]

    def refused(self, *call):
        answer = self.one(*call)
        assert "error" in answer, (call, answer)
        return answer["error"]

    def close(self):
        if self.process is not None:
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait(20)
            self.process = None


class Device:
    """A device's client, one process for each registration. words say how it proves itself:
    ("key", BASE64) or ("cert", CERTIFICATE FILE, KEY FILE); None: by the TPM behind the bridge."""

    def __init__(self, service, registration_id, *words):
        self.service, self.registration_id, self.words = service, registration_id, words

    def node(self, script, *words):
        return self.service.network.run(command(script, *words), env=env_of(self.service))

    def keys(self):
        """EK and SRK of the TPM as the SDK reads them."""
        run = self.node("tpm_probe.js")
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    def try_register(self):
        where = (self.service.host, self.service.scope, self.registration_id)
        if self.words:
            return self.node("register_member.js", *where, *self.words)
        return self.node("register_tpm.js", *where)

    def register(self):
        """registrationState; of a TPM {"state", "token"}."""
        run = self.try_register()
        assert run.returncode == 0, (run.stderr, self.service.log_text()[-4000:])
        return json.loads(run.stdout)

    def assert_refused(self, reason):
        """The SDK reads the refusal as the error that it is; the reason is in the log only."""
        run = self.try_register()
        assert run.returncode == 1 and run.stdout == "", run.stdout
        error = json.loads(run.stderr.strip().splitlines()[-1])
        assert error["name"], run.stderr
        assert reason not in run.stderr, run.stderr
        refusals = [line for line in self.service.log() if line["event"] == "registration.refused"]
        assert refusals[-1]["reason"] == reason, refusals[-1]
