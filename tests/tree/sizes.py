#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Holds the size of every source against the project's limits: C functions of at most 60 lines,
files (C, Python, shell) of at most 450.

usage: sizes.py [ROOT [TABLE]]     0: clean; 1: each fault on a line of its own; 2: it can't be told

What is larger must be in the table (tests/tree/large), which says how large: "PATH LINES" or
"PATH:FUNCTION LINES". It may not grow, and a line that is not needed is a fault.
"""
import os
import subprocess
import sys

import sources

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 450


def file_sizes(root):
    """Path to number of lines."""
    sizes = {}
    for path in sources.files(root, lambda p, f: sources.is_c(p) or sources.is_script(p, f)):
        with open(os.path.join(root, path), "rb") as file:
            sizes[path] = sum(1 for _ in file)
    return sizes


def function_sizes(root):
    """"PATH:FUNCTION" to number of lines, from its name to its closing brace; by ctags."""
    paths = sources.files(root, sources.is_c)
    done = subprocess.run(["ctags", "--languages=C", "--langmap=C:.c.h", "--kinds-C=f",
                           "--fields=ne", "--excmd=number", "--sort=no", "-L", "-", "-f", "-"],
                          input="\n".join(paths), cwd=root, text=True, capture_output=True,
                          check=True)
    sizes = {}
    for line in done.stdout.splitlines():
        if line.startswith("!"):
            continue
        name, path, _, *fields = line.split("\t")
        values = dict(field.split(":", 1) for field in fields if ":" in field)
        if "end" in values:
            lines = int(values["end"]) - int(values["line"]) + 1
            key = f"{path}:{name}"
            sizes[key] = max(lines, sizes.get(key, 0))
    if paths and not sizes:
        raise ValueError("ctags does not tell where functions end: universal-ctags does")
    return sizes


def read_table(path):
    """What may be larger, to how large it is."""
    large = {}
    for number, text in sources.table(path):
        words = text.split()
        if len(words) != 2 or not words[1].isdigit():
            raise ValueError(f"{path}:{number}: expected 'PATH[:FUNCTION] LINES', found '{text}'")
        large[words[0]] = int(words[1])
    return large


def check(sizes, limit, what, large):
    """The faults among sizes; takes what it has used out of `large`."""
    faults = []
    for name, lines in sorted(sizes.items()):
        allowed = large.pop(name, limit)
        if lines > max(allowed, limit):
            faults.append(f"{name}: {lines} lines: a {what} has at most {max(allowed, limit)}")
        elif allowed > limit >= lines:
            faults.append(f"{name}: {lines} lines now: take its line out of the table")
    return faults


def main(arguments):
    root = os.path.abspath(arguments[0] if arguments else os.path.join(sources.TABLES, "..", ".."))
    try:
        large = read_table(arguments[1] if len(arguments) > 1
                           else os.path.join(sources.TABLES, "large"))
        functions = function_sizes(root)
    except (OSError, ValueError, subprocess.CalledProcessError) as problem:
        print(problem)
        return 2
    faults = check(file_sizes(root), FILE_LINES_MAX, "file", large)
    faults += check(functions, FUNCTION_LINES_MAX, "function", large)
    faults += [f"{name}: is not there: take its line out of the table" for name in sorted(large)]
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
