"""The command line as a client of a service elsewhere: nothing of that service's own files is read."""
import os
import subprocess

from lib.service import program


class Elsewhere:
    """Commands run with a connection string in the environment."""

    def __init__(self, service, policy="provisioningserviceowner"):
        self.service = service
        self.policy = policy
        self.host = "localhost:%d" % service.address[1]
        self.string = service.cli("policy", "show", policy, "--connection-string",
                                  "--host", "localhost").stdout.strip().replace(
                                      "HostName=localhost;", f"HostName={self.host};")

    def env(self, **changes):
        env = {name: value for name, value in os.environ.items()
               if not name.startswith(("LATCHKEY_", "XDG_")) and name != "HOME"}
        env.update(LATCHKEY_CONNECTION_STRING=self.string, LATCHKEY_CA_FILE=self.service.ca_file)
        env.update(changes)
        return {name: value for name, value in env.items() if value is not None}

    def cli(self, *words, check=True, env=None, **kwargs):
        """Run a command; env changes variables, None takes one away."""
        argv = [program("latchkey"), *map(str, words)]
        run = subprocess.run(argv, capture_output=True, text=True, timeout=300,
                             env=self.env(**(env or {})), **kwargs)
        assert not check or run.returncode == 0, (argv, run.returncode, run.stdout, run.stderr)
        return run
