#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""The checks of the tree's shape, in TAP. Goal: the tree has rooms with one way down, nothing in it
is too large, and what is named is there; and a tree that has not is found out. Method: the checks on this tree; then faults
planted one at a time, in a copy of its sources or in a small tree of its own.
"""
import os
import shutil
import subprocess
import sys
import tempfile

import sources

HERE = sources.TABLES
ROOT = os.path.abspath(os.path.join(HERE, "..", ".."))
SMALL = {
    "vmm-core/base/util.h": "",
    "vmm-core/base/util.c": "int f(void)\n{\n}\n",
    "vmm-core/base/version.h.in": "",
    "snapshot/store.h": '#include "base/util.h"\n#include "base/version.h"\n',
    "poold/pool/slot.h": '#include "snapshot/store.h"\n',
    "poold/main.c": '#include "pool/slot.h"\n',
    "tests/unit/any.c": '#include "pool/slot.h"\n',
}
TABLE = "vmm-core/base:\nsnapshot: vmm-core/base\npoold/pool: snapshot\npoold: poold/pool\n"
count = failed = 0


def result(name, problem):
    global count, failed
    count += 1
    failed += problem is not None
    print(f"{'not ok' if problem else 'ok'} {count} - {name}", flush=True)
    if problem:
        print("\n".join(f"# {line}" for line in problem.splitlines()), flush=True)


def write(root, path, text):
    full = os.path.join(root, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as file:
        file.write(text)


def run(check, *arguments):
    return subprocess.run([sys.executable, "-B", os.path.join(HERE, check), *arguments],
                          capture_output=True, text=True)


def expect(name, done, status, *words):
    """The check ended with this status, and each of words is in one of its lines."""
    problem = None
    if done.returncode != status:
        problem = f"status {done.returncode}, expected {status}\n{done.stdout}{done.stderr}"
    elif not all(word in done.stdout for word in words) or (status == 0 and done.stdout):
        problem = f"expected {words or 'nothing'} in what it says:\n{done.stdout}"
    result(name, problem)


def small_tree(directory, files=None, table=TABLE):
    """A tree with SMALL and files in it; returns it and its table."""
    root = tempfile.mkdtemp(dir=directory)
    for path, text in {**SMALL, **(files or {})}.items():
        write(root, path, text)
    write(root, "rooms", table)
    return root, os.path.join(root, "rooms")


def test_rooms(directory):
    def planted(name, status, words, files=None, table=TABLE):
        expect(name, run("rooms.py", *small_tree(directory, files, table)), status, *words)

    planted("a small tree of rooms is clean", 0, [])
    planted("an upward include is found, with its place", 1,
            ["snapshot/other.c:2: snapshot may not include poold/pool/slot.h of poold/pool",
             "a circle: snapshot -> poold/pool -> snapshot"],
            {"snapshot/other.c": '\n#include "pool/slot.h"\n'})
    planted("an include that is only not in the table is no circle", 1,
            ["poold/main.c:1: poold may not include vmm-core/base/util.h of vmm-core/base\n"],
            {"poold/main.c": '#include "base/util.h"\n'})
    planted("a circle over three rooms is told", 1,
            ["a circle: vmm-core/base -> poold/pool -> snapshot -> vmm-core/base"],
            {"vmm-core/base/util.c": '#include "pool/slot.h"\n'})
    planted("a source without a room is found", 1, ["cli/main.c: is in no room"],
            {"cli/main.c": ""})
    planted("an include of nothing is found", 1, ['"base/none.h" is no file of the tree'],
            {"poold/main.c": '#include "base/none.h"\n'})
    planted("an include that could be two files is found", 1,
            ["is vmm-core/base/util.h and poold/base/util.h"],
            {"poold/pool/slot.c": '#include "base/util.h"\n', "poold/base/util.h": ""})
    planted("what stands beside the source goes first", 0, [],
            {"poold/pool/slot.c": '#include "util.h"\n', "poold/pool/util.h": "",
             "poold/util.h": ""})
    planted("a table that names a room below is refused", 2,
            ["rooms:1: snapshot may not include poold, which is no room above it"],
            table="snapshot: poold\npoold: snapshot\n")
    planted("a room that is there twice is refused", 2, ["rooms:2: room poold is there twice"],
            table="poold:\npoold:\n")
    planted("a line that is none is refused", 2, ["rooms:1: expected"], table="poold snapshot\n")


def test_planted_in_a_copy(directory):
    """The real table over the real sources."""
    root = os.path.join(directory, "copy")
    for path in sources.files(ROOT, lambda p, f: sources.is_c(p) or p.endswith((".h.in", ".build"))):
        if not path.startswith("tests/"):
            os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
            shutil.copy(os.path.join(ROOT, path), os.path.join(root, path))
    expect("a copy of the sources is clean", run("rooms.py", root), 0)
    for path, header in (("vmm-core/base/util.c", "machine/vm.h"),
                         ("vmm-core/memory/guest_mem.c", "devices/device.h"),
                         ("snapshot/store.c", "volt-vmm/machine.h"),
                         ("cli/main.c", "control/control.h"),
                         ("poold/pool/pool.c", "poold/vms/vms.h"),
                         ("poold/http/http.c", "poold/api/api.h"),
                         ("poold/host/stock.c", "poold/config.h"),
                         ("poold/vms/clone.c", "poold/http/http.h"),
                         ("poold/api/api.c", "poold/daemon.h")):
        with open(os.path.join(root, path), "a", encoding="utf-8") as file:
            file.write(f'#include "{header}"\n')
        room, target = os.path.dirname(path), header
        if not target.startswith("poold/"):
            target = f"vmm-core/{header}"
        expect(f"{header} in {path} is found", run("rooms.py", root), 1,
               f"{room} may not include {target} of")
        shutil.copy(os.path.join(ROOT, path), os.path.join(root, path))


def function(lines):
    return "int f(void)\n{\n" + "    g();\n" * (lines - 3) + "}\n"


def test_sizes(directory):
    def planted(name, status, words, files, large=""):
        root, _ = small_tree(directory, files)
        write(root, "large", large)
        expect(name, run("sizes.py", root, os.path.join(root, "large")), status, *words)

    planted("a function of 60 lines and a file of 450 pass", 0, [],
            {"poold/a.c": function(60), "cli/b.h": "\n" * 450})
    planted("a function of 61 is found", 1, ["poold/a.c:f: 61 lines: a function has at most 60"],
            {"poold/a.c": function(61)})
    planted("a file of 451 is found, a script too", 1,
            ["cli/b.h: 451 lines", "tests/c: 451 lines: a file has at most 450"],
            {"cli/b.h": "\n" * 451, "tests/c": "#!/bin/sh\n" + "\n" * 450})
    planted("what the table allows passes", 0, [], {"poold/a.c": function(61)},
            "poold/a.c:f 61\n")
    planted("but it may not grow", 1, ["poold/a.c:f: 62 lines: a function has at most 61"],
            {"poold/a.c": function(62)}, "poold/a.c:f 61\n")
    planted("one that has shrunk enough is to go", 1, ["poold/a.c:f: 60 lines now: take its line"],
            {"poold/a.c": function(60)}, "poold/a.c:f 61\n")
    planted("one that is gone is to go", 1, ["poold/none.c: is not there"], {},
            "poold/none.c 500\n")
    planted("a table that is none is refused", 2, ["large:1: expected"], {}, "poold/a.c\n")


def test_names(directory):
    def planted(name, status, words, files, foreign=""):
        root, _ = small_tree(directory, files)
        write(root, "foreign", foreign)
        expect(name, run("names.py", root, os.path.join(root, "foreign")), status, *words)

    planted("names of what is there pass", 0, [],
            {"docs/a.md": "poold/pool/slot.h, util.c and version.h\n",
             "cli/a.c": "/* See slot.h. */\nint a; // none.c is code\n"})
    planted("a path that is gone is found, with its place", 1,
            ["docs/a.md:2: poold/none.c is not there"], {"docs/a.md": "\npoold/none.c\n"})
    planted("a name in a comment, too", 1, ["cli/a.c:3: none.h is not there"],
            {"cli/a.c": "int a;\n/* See\n * none.h. */\n"})
    planted("others' sources pass", 0, [], {"cli/a.c": "/* skbuff.h */\n"}, "skbuff.h\n")
    planted("as long as they are named", 1, ["skbuff.h is named by nobody"], {}, "skbuff.h\n")


def main():
    expect("rooms: every include goes down", run("rooms.py"), 0)
    expect("names: what documents and comments name is there", run("names.py"), 0)
    expect("sizes: functions of at most 60 lines, files of at most 450", run("sizes.py"), 0)
    with tempfile.TemporaryDirectory() as directory:
        test_rooms(directory)
        test_planted_in_a_copy(directory)
        test_sizes(directory)
        test_names(directory)
    print(f"1..{count}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
