"""A device whose keys are in a software TPM, driven by `latchkey device`."""
import json
import os
import subprocess


class TpmDevice:
    """tpm is a lib.swtpm.Swtpm on TCP ports."""

    def __init__(self, service, tpm, registration_id=None):
        self.service = service
        self.tpm = tpm
        self.id_options = ["--registration-id", registration_id] if registration_id else []

    def latchkey(self, verb, *words, check=True):
        return self.service.cli("device", verb, "--tcti", self.tpm.tcti, *words, check=check)

    def show(self):
        return json.loads(self.latchkey("show", "--json", *self.id_options).stdout)

    def manifest(self, kind="csv"):
        header = ["--header"] if kind == "csv" else []
        return self.latchkey("show", "--manifest", kind, *header, *self.id_options).stdout

    def register(self, check=True):
        """The result as an object; the finished process when check is False."""
        run = self.latchkey(
            "register", "--url", self.service.url, "--scope", self.service.scope, "--ca-file",
            self.service.ca_file, "--deadline", "60", "--json", *self.id_options, check=check)
        return json.loads(run.stdout) if check else run

    def token(self, result):
        return self.latchkey("token", "--hub", result["assignedHub"], "--device-id",
                             result["deviceId"]).stdout.strip()

    def tool(self, *argv):
        """A program of tpm2-tools on this TPM; its output."""
        env = dict(os.environ, TPM2TOOLS_TCTI=self.tpm.tcti)
        run = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=env)
        assert run.returncode == 0, (argv, run.stdout, run.stderr)
        return run.stdout

    def handles(self):
        """What the TPM holds now, by kind of handle."""
        return {kind: sorted(self.tool("tpm2_getcap", f"handles-{kind}").replace("- ", "").split())
                for kind in ("persistent", "transient", "loaded-session", "saved-session")}
