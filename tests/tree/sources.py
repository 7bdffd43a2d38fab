# SPDX-License-Identifier: Apache-2.0
"""The sources of a tree, as the checks in this folder see them."""
import os

FOLDERS = ("poold", "vmm-core", "snapshot", "guest-init", "cli", "bench", "tests")
TABLES = os.path.dirname(os.path.abspath(__file__))


def files(root, wanted):
    """Paths below root of the files for which wanted(path, full path) is true, in order."""
    found = []
    for top in FOLDERS:
        for folder, folders, names in os.walk(os.path.join(root, top)):
            folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "__pycache__")
            for name in names:
                full = os.path.join(folder, name)
                path = os.path.relpath(full, root)
                if os.path.isfile(full) and wanted(path, full):
                    found.append(path)
    return sorted(found)


def is_c(path, _full=None):
    return path.endswith((".c", ".h"))


def is_script(_path, full):
    """By its first line, or by name."""
    if full.endswith((".py", ".sh")):
        return True
    if os.path.splitext(full)[1]:
        return False
    with open(full, "rb") as file:
        return file.read(2) == b"#!"


def table(path):
    """The lines of a table without comments and blank lines, as (number, text)."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            text = line.split("#")[0].strip()
            if text:
                yield number, text
