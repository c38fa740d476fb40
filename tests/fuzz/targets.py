#!/usr/bin/env python3
"""List the fuzz targets that Meson knows: the tests of its suite "fuzz".

usage: targets.py BUILD_DIRECTORY build           what ninja has to build, one name a line
       targets.py BUILD_DIRECTORY run [TARGET...] program and seed folders, one target a line
"""
import json
import os
import pathlib
import subprocess
import sys


def introspect(build, what):
    return json.loads(subprocess.check_output(["meson", "introspect", build, "--" + what]))


def main():
    build, mode, wanted = sys.argv[1], sys.argv[2], sys.argv[3:]
    tests = {t["name"]: t for t in introspect(build, "tests")
             if any(s.split(":")[-1] == "fuzz" for s in t["suite"])}
    missing = [name for name in wanted if name + "_fuzz" not in tests]
    if not tests or missing:
        sys.exit("no such fuzz target: " + " ".join(missing or ["(none at all)"]))
    if mode == "build":
        needed = {d for t in tests.values() for d in t["depends"]}
        top = pathlib.Path(build).resolve()
        for target in introspect(build, "targets"):
            if target["id"] in needed:
                for name in target["filename"]:
                    print(os.path.relpath(name, top))
        return
    for name, test in sorted(tests.items()):
        if not wanted or name.removesuffix("_fuzz") in wanted:
            print(test["cmd"][0], *[a for a in test["cmd"][1:] if not a.startswith("-")])


main()
