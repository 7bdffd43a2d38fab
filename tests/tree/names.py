#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Holds every file that a document or a C comment names against the tree: it is there.

usage: names.py [ROOT [TABLE]]     0: clean; 1: each fault on a line of its own

A name is a path from the top of the tree (poold/pool/pool.c), or a source's name alone (pool.h),
of which any in the tree will do. Others' sources, as of the kernel, are in the table
(tests/tree/foreign): one a line, and one that nobody names is a fault.
"""
import os
import re
import sys

import sources

PATH = re.compile(r"(?<![\w/.<-])((?:" + "|".join(sources.FOLDERS + ("docs",))
                  + r")/[\w./-]*\.(?:c|h|sh|py|md|build|in))\b")
NAME = re.compile(r"(?<![\w/.<-])([a-z][a-z0-9_]*(?:\.bpf)?\.[ch])\b")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
CODE_THAT_IS_TEXT = ("tests/tree/", "tests/kvm/")  # whose programs write sources of their own


def documents(root):
    docs = os.path.join(root, "docs")
    names = sorted(os.listdir(docs)) if os.path.isdir(docs) else []
    paths = ["README.md"] + [f"docs/{name}" for name in names if name.endswith(".md")]
    return [path for path in paths if os.path.isfile(os.path.join(root, path))]


def texts(root):
    """(path, line number, text) of each document, and of each comment."""
    for path in documents(root):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            yield path, 1, file.read()
    for path in sources.files(root, sources.is_c):
        if path.startswith(CODE_THAT_IS_TEXT):
            continue
        with open(os.path.join(root, path), encoding="utf-8") as file:
            whole = file.read()
        for comment in COMMENT.finditer(whole):
            yield path, whole.count("\n", 0, comment.start()) + 1, comment.group()


def check(root, foreign):
    faults, used = [], set()
    names = {os.path.basename(path)
             for path in sources.files(root, lambda p, f: p.endswith((".c", ".h", ".h.in")))}
    for path, first, text in texts(root):
        for found in list(PATH.finditer(text)) + list(NAME.finditer(text)):
            name = found.group(1)
            if "/" in name:
                there = any(os.path.exists(os.path.join(root, name + end)) for end in ("", ".in"))
            else:
                used.add(name)
                there = name in names or name + ".in" in names or name in foreign
            if not there:
                line = first + text.count("\n", 0, found.start())
                faults.append(f"{path}:{line}: {name} is not there")
    return faults + [f"{name} is named by nobody: take its line" for name in sorted(foreign - used)]


def main(arguments):
    root = arguments[0] if arguments else os.path.join(sources.TABLES, "..", "..")
    table = arguments[1] if len(arguments) > 1 else os.path.join(sources.TABLES, "foreign")
    faults = check(os.path.abspath(root), {text for _, text in sources.table(table)})
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
