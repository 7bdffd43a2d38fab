#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Holds every #include "..." of the tree against the table of rooms (tests/tree/rooms).

usage: rooms.py [ROOT [TABLE]]     0: clean; 1: each fault on a line of its own; 2: a bad table

How it works
  A source belongs to the room with the longest name that is it or a folder above it. Its includes
  are looked up as the compiler does: beside it, in ROOTS, then in the top folders of its own room
  and of those that it may include; headers that the build makes count as what they are made from.
  An include of another room must be in the table. As the table may name only rooms above, no circle
  of rooms passes; of an include that is refused it is told whether it closes one.
"""
import collections
import os
import re
import sys

import sources

ROOTS = ("", "vmm-core", "guest-init")
MADE = {  # by the build, beside what they are listed as
    "default_cmdline.h": "vmm-core/volt-vmm/meson.build",
    "seccomp_filters.h": "vmm-core/sandbox/meson.build",
    "net_programs_object.h": "poold/net/meson.build",
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


class BadTable(Exception):
    pass


def read_table(path):
    """Room to the set of rooms that it may include."""
    rooms = {}
    for number, text in sources.table(path):
        where = f"{path}:{number}"
        name, colon, named = text.partition(":")
        if not colon or name != name.strip() or not name:
            raise BadTable(f"{where}: expected 'ROOM: ROOM...', found '{text}'")
        if name in rooms:
            raise BadTable(f"{where}: room {name} is there twice")
        for other in named.split():
            if other not in rooms:
                raise BadTable(f"{where}: {name} may not include {other}, which is no room above it")
        rooms[name] = set(named.split())
    return rooms


def room_of(path, rooms):
    """The room of a source, or None."""
    while path:
        if path in rooms:
            return path
        path = os.path.dirname(path)
    return None


def candidates(root, folders, name):
    paths = [os.path.normpath(os.path.join(folder, name)) for folder in folders]
    return [p for path in paths for p in (path, path + ".in")
            if os.path.isfile(os.path.join(root, p))]


def look_up(root, source, name, room, rooms):
    """What an include stands for: paths below root, several when it is ambiguous."""
    tops = sorted({r.split("/")[0] for r in {room or source} | rooms.get(room, set())} - set(ROOTS))
    others = [top for top in sources.FOLDERS if top not in tops]
    return (candidates(root, [os.path.dirname(source)], name)
            or candidates(root, list(ROOTS) + tops, name)
            or [MADE[n] for n in MADE if n == name]
            or candidates(root, others, name))


def includes(root):
    """(source, line number, name) of each include outside tests/."""
    for source in sources.files(root, sources.is_c):
        if source.startswith("tests/"):
            continue
        with open(os.path.join(root, source), encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                match = INCLUDE.match(line)
                if match:
                    yield source, number, match.group(1)


def way(edges, start, end):
    """Rooms from start to end along edges, or None."""
    before, queue = {start: None}, collections.deque([start])
    while queue:
        room = queue.popleft()
        if room == end:
            path = []
            while room:
                path.append(room)
                room = before[room]
            return path[::-1]
        for after in sorted(edges[room]):
            if after not in before:
                before[after] = room
                queue.append(after)
    return None


def check(root, rooms):
    """The faults of the tree, as sentences."""
    faults, refused = [], []
    edges = collections.defaultdict(set)
    for source in sources.files(root, sources.is_c):
        if not source.startswith("tests/") and not room_of(source, rooms):
            faults.append(f"{source}: is in no room")
    for source, number, name in includes(root):
        room = room_of(source, rooms)
        found = look_up(root, source, name, room, rooms)
        if len(found) != 1:
            faults.append(f"{source}:{number}: \"{name}\" is "
                          + (" and ".join(found) if found else "no file of the tree"))
            continue
        target = room_of(found[0], rooms)
        if not room or not target or room == target:
            continue
        edges[room].add(target)
        if target not in rooms[room]:
            refused.append((source, number, found[0], room, target))
    for source, number, path, room, target in refused:
        back = way(edges, target, room)
        circle = f"; a circle: {' -> '.join([room] + back)}" if back else ""
        faults.append(f"{source}:{number}: {room} may not include {path} of {target}{circle}")
    return faults


def main(arguments):
    root = arguments[0] if arguments else os.path.join(sources.TABLES, "..", "..")
    table = arguments[1] if len(arguments) > 1 else os.path.join(sources.TABLES, "rooms")
    try:
        rooms = read_table(table)
    except (BadTable, OSError) as problem:
        print(problem)
        return 2
    faults = check(os.path.abspath(root), rooms)
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
