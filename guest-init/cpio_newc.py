# SPDX-License-Identifier: Apache-2.0
"""Writes cpio archives of the newc form, which Linux unpacks as its initramfs. Needs no privileges:
owners and devices are only numbers in it."""


PAGE = 4096
HEADER = 110
LONGEST_NAME = 4096
# A file from here on starts on a page of the archive, so that the guest's kernel can take its pages
# as they lie in memory (kernel/patches/0009). The zeros before it belong to its name.
ALIGNED_FROM = 256 << 10


class Cpio:
    def __init__(self, output):
        self.output = output
        self.offset = 0
        self.inode = 0

    def add(self, name, mode, data=b"", device=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        if len(data) >= ALIGNED_FROM:
            padding = -(self.offset + HEADER + len(encoded)) % PAGE
            if len(encoded) + padding <= LONGEST_NAME:
                encoded += b"\0" * padding
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        self.write(b"070701" + b"".join(b"%08X" % field for field in fields) + encoded)
        self.write(data)

    def end(self):
        self.add("TRAILER!!!", 0)

    def write(self, data):
        padded = data + b"\0" * (-len(data) % 4)
        self.output.write(padded)
        self.offset += len(padded)
