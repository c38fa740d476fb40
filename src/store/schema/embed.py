"""Turn the schema steps of one backend into a C table.

usage: embed.py OUTPUT SYMBOL STEP.sql...

The steps are numbered by their place in the list, from 1; each file's name must end in its number.
"""

import pathlib
import re
import sys


def c_literal(text):
    lines = text.replace("\\", "\\\\").replace('"', '\\"').splitlines()
    return "\n".join(f'    "{line}\\n"' for line in lines)


def main():
    output, symbol, *steps = sys.argv[1:]
    parts = ['#include "store/store_int.h"\n', f"const char *const {symbol}[] = {{"]
    for number, name in enumerate(steps, 1):
        path = pathlib.Path(name)
        if not re.fullmatch(rf"[a-z]+-{number:03}\.sql", path.name):
            sys.exit(f"{name}: expected schema step {number:03}")
        parts.append(c_literal(path.read_text(encoding="ascii")) + ",")
    parts.append(f"}};\nconst int {symbol}_count = {len(steps)};\n")
    pathlib.Path(output).write_text("\n".join(parts), encoding="ascii")


main()
