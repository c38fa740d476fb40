"""What all commands have in common: completion, --json on whatever reads, exit codes in words."""
import json
import os
import re
import subprocess

import pytest

from lib.service import ROOT, Service, program
from test_enrollment_cli import devices, ek64, write_csv

COMPLETION = os.path.join(ROOT, "packaging/completion/latchkey.bash")
SOURCES = os.path.join(ROOT, "src/cli")

# The words that reading commands end with, and those that print JSON whether asked or not.
READS = {"list", "show", "keys", "device-key", "imports", "import", "verify", "devices", "show-device",
         "check-token", "token", "doctor"}
ALWAYS_JSON = {("hub", "twin", "show")}


def help_of(*words):
    return subprocess.run([program("latchkey"), *words], capture_output=True, text=True,
                          timeout=60).stdout


def table(*words):
    """The commands that a table lists; none when words are a command by themselves."""
    text = help_of(*words, "--help")
    if "\ncommands:\n" not in text:
        return []
    return re.findall(r"(?m)^  ([a-z-]+) ", text.split("\ncommands:\n")[1])


def leaves(*words):
    """Every command below words, each as its words."""
    if words == ("version",):
        return [words]
    inner = table(*words)
    return [leaf for name in inner for leaf in leaves(*words, name)] if inner else [words]


LEAVES = leaves()


def complete(folder, *words):
    """What bash offers in the place of the last word."""
    script = (f'source {COMPLETION}; shift 0; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _latchkey; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    env = dict(os.environ, PATH=os.path.dirname(program("latchkey")) + ":" + os.environ["PATH"],
               XDG_CONFIG_HOME=str(folder))
    run = subprocess.run(["bash", "-c", script, "bash", "latchkey", *words], capture_output=True,
                         text=True, timeout=60, env=env, cwd=folder)
    assert run.returncode == 0 and run.stderr == "", run
    return set(run.stdout.split())


def test_there_are_commands():
    assert len(LEAVES) > 50 and ("enrollment", "import") in LEAVES and ("init",) in LEAVES


def test_commands_are_completed(tmp_path):
    """Every row of every table, and from its beginning."""
    assert complete(tmp_path, "enr") == {"enrollment"}
    assert complete(tmp_path, "enrollment", "im") == {"import", "imports"}
    tables = {()} | {words[:i] for words in LEAVES for i in range(1, len(words))}
    assert len(tables) > 10
    for words in tables:
        assert complete(tmp_path, *words, "") == set(table(*words)), words


def options_in_sources():
    """The names of all getopt tables."""
    names = set()
    for name in os.listdir(SOURCES):
        if name.endswith((".c", ".h")):
            with open(os.path.join(SOURCES, name), encoding="utf-8") as file:
                names.update(re.findall(r'\{?\s*"([a-z][a-z-]*)",\s*(?:no|required|optional)_argument',
                                        file.read()))
    return {"--" + name for name in names}


def test_options_are_completed(tmp_path):
    """What a command's help names is offered, and no option of the program is nowhere offered."""
    offered = set()
    for words in LEAVES:
        if words == ("version",):
            continue
        mine = complete(tmp_path, *words, "--")
        assert "--help" in mine or words, words
        offered |= mine
        for option in re.findall(r"(?m)^  (--[a-z-]+)", help_of(*words, "--help")):
            assert option in mine, (words, option)
    missing = options_in_sources() - offered - {"--help"}
    assert len(options_in_sources()) > 60 and not missing, missing


def test_values_are_completed(tmp_path):
    (tmp_path / "latchkey").mkdir()
    (tmp_path / "latchkey/profiles.conf").write_text("[one]\nconnection-string = x\n[ two ]\n")
    assert complete(tmp_path, "hub", "list", "--profile", "") == {"one", "two"}
    assert complete(tmp_path, "enrollment", "export", "--format", "") == {"csv", "jsonl"}
    assert complete(tmp_path, "group", "add", "x", "--reprovision", "n") == {"never"}
    (tmp_path / "string").write_text("")
    assert "string" in complete(tmp_path, "hub", "list", "--connection", "st")


@pytest.mark.parametrize("words", [words for words in LEAVES if words[-1] in READS], ids=" ".join)
def test_what_reads_has_json(words):
    text = help_of(*words, "--help")
    assert text.startswith("usage: latchkey " + " ".join(words)), text
    assert "--json" in text or words in ALWAYS_JSON, words


# ---- members


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Not started; with something in every table."""
    folder = tmp_path_factory.mktemp("service")
    service = Service(folder)
    (folder / "twin.json").write_text('{"tags":{"a":1}}')
    service.cli("enrollment", "import", write_csv(folder / "m.csv", devices(2)))
    service.cli("enrollment", "add", "--registration-id", "hooked", "--ek", ek64(50), "--webhook",
                "https://hook.example.test/", "--initial-twin", folder / "twin.json")
    service.cli("enrollment", "add", "--registration-id", "shared", "--symmetric-key")
    service.cli("group", "add", "keys", "--symmetric-key")
    return service


def members_of(value, names):
    """The names of all objects in a JSON value, but of what is the operator's own."""
    if isinstance(value, dict):
        for name, inner in value.items():
            names.add(name)
            if name not in ("initialTwin", "detail", "payload"):
                members_of(inner, names)
    elif isinstance(value, list):
        for inner in value:
            members_of(inner, names)
    return names


@pytest.mark.parametrize("words, row", [
    ("scope list", "scope list"), ("hub list", "hub list"), ("enrollment list", "enrollment show"),
    ("enrollment show hooked", "enrollment show"), ("enrollment imports", "enrollment imports"),
    ("enrollment keys shared", "enrollment, group keys"), ("group list", "group show"),
    ("group show keys", "group show"), ("group keys keys", "enrollment, group keys"),
    ("group device-key keys x", "group device-key"), ("key list", "key list"),
    ("policy list", "policy show"), ("policy roll provisioningserviceowner --secondary "
                                     "--connection-string --host a.test", "policy show"), ("policy show provisioningserviceowner", "policy show"),
    ("audit list", "audit list"), ("audit verify", "audit verify")])
def test_members_are_documented(service, words, row):
    """Every member of an answer stands in the manual's row for that command."""
    with open(os.path.join(ROOT, "doc/man/latchkey.1"), encoding="utf-8") as file:
        manual = file.read().replace("\\-", "-")
    found = re.search(rf"(?ms)^{re.escape(row)}[^\n]*\tT{{\n(.*?)\nT}}", manual)
    assert found, row
    documented = set(re.findall(r"[A-Za-z0-9]+", found[1]))
    lines = service.cli(*words.split(), "--json").stdout.splitlines()
    assert lines
    for line in lines:
        assert members_of(json.loads(line), set()) <= documented, line


def test_exit_codes_are_documented(service, tmp_path):
    """The manual has a line for each code, and the commands give these."""
    with open(os.path.join(ROOT, "doc/man/latchkey.1"), encoding="utf-8") as file:
        codes = set(map(int, re.findall(r"(?m)^(\d+)\t", file.read())))
    assert codes == {0, 64, 65, 68, 69, 70, 71, 73, 74, 75, 76, 77, 78}
    with open(os.path.join(ROOT, "src/base/err.c"), encoding="utf-8") as file:
        used = set(re.findall(r"\bEX_[A-Z]+\b", file.read()))
    with open("/usr/include/sysexits.h", encoding="utf-8") as file:
        numbers = dict(re.findall(r"#define (EX_[A-Z]+)\s+(\d+)", file.read()))
    assert {int(numbers[name]) for name in used} <= codes
    bad = tmp_path / "bad.csv"
    bad.write_text("registrationId,endorsementKey\nx,AAAA\n")
    for code, words in [
            (64, ["enrollment", "show"]), (64, ["nonsense"]), (64, ["hub", "list", "--nonsense"]),
            (65, ["enrollment", "import", bad]), (69, ["enrollment", "show", "nobody"]),
            (69, ["group", "show", "nobody"]), (69, ["policy", "show", "nobody"]),
            (69, ["registration", "show", "nobody"]), (69, ["enrollment", "undo", "99"]),
            (73, ["hub", "add", service.hub]), (73, ["group", "add", "keys", "--symmetric-key"]),
            (74, ["enrollment", "import", tmp_path / "none.csv"]),
            (78, ["hub", "list", "--config", tmp_path / "none"])]:
        run = service.cli(*words, check=False)
        assert (run.returncode, run.stdout) == (code, ""), (words, run)
        assert run.stderr.startswith("latchkey: "), run.stderr
