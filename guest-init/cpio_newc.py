# SPDX-License-Identifier: Apache-2.0
"""Writes cpio archives of the newc form, which Linux unpacks as its initramfs. Needs no privileges:
owners and devices are only numbers in it."""


class Cpio:
    def __init__(self, output):
        self.output = output
        self.inode = 0

    def add(self, name, mode, data=b"", device=(0, 0)):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        self.write(b"070701" + b"".join(b"%08X" % field for field in fields) + encoded)
        self.write(data)

    def end(self):
        self.add("TRAILER!!!", 0)

    def write(self, data):
        self.output.write(data + b"\0" * (-len(data) % 4))
