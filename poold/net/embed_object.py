#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a file as a C array, for the object that poold loads into the host's kernel.

usage: embed_object.py FILE NAME HEADER
"""
import sys

source, name, header = sys.argv[1:]
with open(source, "rb") as file:
    data = file.read()
with open(header, "w", encoding="ascii") as out:
    out.write("/* Written by embed_object.py. The loader reads words of it. */\n"
              f"static const unsigned char __attribute__((aligned(8))) {name}[] = {{\n")
    for at in range(0, len(data), 24):
        out.write("    " + " ".join(f"{byte}," for byte in data[at:at + 24]) + "\n")
    out.write("};\n")
