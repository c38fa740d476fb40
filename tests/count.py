#!/usr/bin/python3
"""Count the cases of a test run: count.py meson testlog.json | count.py pytest junit.xml

Prints "PASSED FAILED". A cmocka program counts by its cases; a program that died, or that has none,
counts as one. A skipped case counts as failed: what a test needs is installed, not left out.
"""
import json
import re
import sys
import xml.etree.ElementTree as ElementTree


def meson_cases(path):
    passed = failed = 0
    with open(path, encoding="utf-8") as log:
        programs = [json.loads(line) for line in log]
    for program in programs:
        text = program.get("stdout", "") + program.get("stderr", "")
        good = len(re.findall(r"^\[\s+OK \]", text, re.M))
        bad = len(set(re.findall(r"^\[  (?:FAILED|ERROR|SKIPPED)\s*\] (\w+)$", text, re.M)))
        if program["result"] == "OK" and bad == 0:
            passed += max(good, 1)
            continue
        passed += good
        failed += max(bad, 1)
    return passed, failed


def pytest_cases(path):
    total = bad = 0
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        total += int(suite.get("tests"))
        bad += sum(int(suite.get(kind)) for kind in ("failures", "errors", "skipped"))
    # An error of a fixture's tear-down comes on top of a passed test.
    return max(total - bad, 0), bad


if __name__ == "__main__":
    reader = {"meson": meson_cases, "pytest": pytest_cases}[sys.argv[1]]
    print(*reader(sys.argv[2]))
