"""What is installed beside the programs: the systemd unit."""
import os
import re
import subprocess

from lib.service import BUILD, program

UNIT = os.path.join(BUILD, "packaging", "latchkeyd.service")
EXPOSURE_MAX = 20  # tenths; what is left are the network and the capability for port 443


def test_unit_is_sandboxed():
    run = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager",
                          f"--threshold={EXPOSURE_MAX}", UNIT], capture_output=True, text=True,
                         timeout=60)
    assert run.returncode == 0, run.stdout
    assert "Overall exposure level" in run.stdout


def test_unit_has_no_mistakes(tmp_path):
    """Every setting is one that systemd knows; the program is where the unit looks for it."""
    with open(UNIT, encoding="utf-8") as file:
        text = file.read()
    assert "@" not in re.sub(r"(?m)^(#.*|SystemCallFilter=.*)$", "", text)
    unit = tmp_path / "latchkeyd.service"
    unit.write_text(re.sub(r"(?m)^(Exec\w+=)\S*latchkeyd", rf"\1{program('latchkeyd')}", text)
                    .replace("Documentation=", "#Documentation="))
    run = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)],
                         capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (0, "")
