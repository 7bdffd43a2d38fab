# SPDX-License-Identifier: Apache-2.0
"""Finds a kernel's modules with all that they need, in the order of loading. What a module needs
stands in its own .modinfo, so a folder that depmod never saw (an unpacked package) does too."""
import gzip
import lzma
import os
import re
import subprocess

SUFFIX = re.compile(r"\.ko(\.xz|\.zst|\.gz)?$")


def unpacked(path):
    """A module's bytes, whatever it is compressed with: guests get them plain."""
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
    opener = {"xz": lzma.open, "gz": gzip.open}.get(path.rsplit(".", 1)[1], open)
    with opener(path, "rb") as file:
        return file.read()


def plain_name(name):
    return name.replace("-", "_")


def module_files(folder):
    files = {}
    for where, _, names in os.walk(os.path.join(folder, "kernel")):
        for name in names:
            if SUFFIX.search(name):
                files[plain_name(SUFFIX.sub("", name))] = os.path.join(where, name)
    return files


def built_in(folder):
    try:
        with open(os.path.join(folder, "modules.builtin"), encoding="utf-8") as file:
            return {plain_name(SUFFIX.sub("", os.path.basename(line.strip()))) for line in file}
    except FileNotFoundError:
        return set()


def needs(data):
    match = re.search(rb"\0depends=([^\0]*)\0", data)
    return [plain_name(name) for name in match.group(1).decode().split(",") if name] if match else []


def collect(folder, wanted):
    """[(name, bytes)] of `wanted` and what they need. Those of `wanted` that the kernel has built in
    or does not have at all are left out; a missing dependency is an error."""
    files, inside = module_files(folder), built_in(folder)
    found = {}

    def add(name, needed_by):
        if name in found or name in inside:
            return
        if name not in files:
            if needed_by:
                raise FileNotFoundError(f"{folder} has no module {name}, which {needed_by} needs")
            return
        data = unpacked(files[name])
        for need in needs(data):
            add(need, name)
        found[name] = data

    if not files:
        raise FileNotFoundError(f"{folder} is no folder of kernel modules: no .ko in {folder}/kernel")
    for name in wanted:
        add(plain_name(name), None)
    return list(found.items())
