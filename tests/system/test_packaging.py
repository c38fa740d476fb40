"""What is installed beside the programs: the systemd unit."""
import os
import re
import subprocess

from lib.service import BUILD, ROOT, program

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


def test_example_builds_against_what_is_installed(tmp_path):
    """Headers, library and pkg-config file are enough, wherever the prefix is."""
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir",
                    str(tmp_path)], check=True, capture_output=True, timeout=120)
    found = [os.path.join(folder, name) for folder, _, names in os.walk(tmp_path)
             for name in names if name == "latchkey.pc"]
    assert len(found) == 1
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "latchkey"], check=True,
                           capture_output=True, text=True, timeout=60,
                           env=dict(os.environ, PKG_CONFIG_LIBDIR=os.path.dirname(found[0]),
                                    PKG_CONFIG_SYSROOT_DIR=str(tmp_path),
                                    PKG_CONFIG_ALLOW_SYSTEM_LIBS="1")).stdout.split()
    assert any(flag.startswith(f"-L{tmp_path}") for flag in flags), flags
    source = tmp_path / "register.c" # outside the tree: its headers are not in reach
    source.write_bytes(open(os.path.join(ROOT, "examples/register.c"), "rb").read())
    run = subprocess.run(["cc", "-std=c17", "-Wall", "-Wextra", "-Werror", str(source), "-o",
                          str(tmp_path / "register"), *flags], capture_output=True, text=True,
                         timeout=60)
    assert run.returncode == 0, run.stderr
