# SPDX-License-Identifier: Apache-2.0
"""A boot VM without poold: volt-vmm run with the test at the other end of its two sockets, asked to
write its snapshot as often as one likes. The messages are those of vmm-core/control/control.h."""
import errno
import os
import socket
import struct
import subprocess

import lab as chaos
from lab import Trouble

HEADER = struct.Struct("=IIQ")  # struct control_msg up to its union
DONE = struct.Struct("=iIQQQ256s")
EXITED = struct.Struct("=II256s")
PARKED, SNAPSHOT_DONE, MSG_EXITED, SNAPSHOT = 3, 6, 8, 66
PAGE_BYTES = 4096
BOOT_S = 120
ANSWER_S = 20


def text_of(detail):
    return detail.split(b"\0")[0].decode(errors="replace")


class BootVm:
    def __init__(self, lab):
        """Boots the project's kernel, and waits until it is parked. It is the lab's process."""
        initrd = os.path.join(chaos.BUILD, "guest-init", "initramfs.cpio")
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.bell, bell = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with control, bell, open(lab.log, "ab") as log:
            self.process = subprocess.Popen(
                [lab.vmm, "run", "--control-fd", str(control.fileno()), "--bell-fd",
                 str(bell.fileno()), "--kernel", os.environ["VOLT_KERNEL"], "--initrd", initrd,
                 "--memory", str(64 << 20)],
                env=dict(os.environ, LD_PRELOAD=chaos.INJECT, VOLT_FAULT_PAGE=lab.page.path),
                pass_fds=(control.fileno(), bell.fileno()), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log)
        lab.process = self.process
        try:
            self.await_message(self.bell, PARKED, BOOT_S)
        except BaseException:
            self.close()
            raise

    def close(self):
        self.process.kill()
        self.process.wait()
        self.control.close()
        self.bell.close()

    def await_message(self, end, wanted, seconds):
        """The body of the next message of that type."""
        end.settimeout(seconds)
        while True:
            try:
                message = end.recv(4096)
            except socket.timeout:
                raise Trouble(f"no message {wanted} in {seconds} s") from None
            if not message:
                raise Trouble(f"the VM ended while message {wanted} was awaited")
            kind = HEADER.unpack_from(message)[0]
            body = message[HEADER.size:]
            if kind == wanted:
                return body
            if kind == MSG_EXITED:
                raise Trouble(f"the VM ended: {text_of(EXITED.unpack(body)[2])}")

    def snapshot(self, directory):
        """Has it written there: None, or the sentence that tells why it could not be, and the
        errno."""
        files = [os.open(os.path.join(directory, name), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
                 for name in ("state", "memory.img")]
        try:
            message = HEADER.pack(SNAPSHOT, HEADER.size + 4, 0) + struct.pack("=I", 0)
            socket.send_fds(self.control, [message], files)
            code, _, _, _, _, detail = DONE.unpack(
                self.await_message(self.control, SNAPSHOT_DONE, ANSWER_S))
        finally:
            for fd in files:
                os.close(fd)
        return (text_of(detail), code) if code else None

    def must_snapshot(self, directory):
        """The memory that it writes."""
        failed = self.snapshot(directory)
        if failed:
            raise Trouble(f"snapshot: {failed[0]} ({errno.errorcode.get(failed[1], failed[1])})")
        with open(os.path.join(directory, "memory.img"), "rb") as image:
            return image.read()


def pages_changed(one, other):
    """Numbers of the pages that differ. A parked guest does not change its memory; KVM writes its
    clock's page (pvclock) whenever the vCPU is entered to finish what it does."""
    if len(one) != len(other):
        raise Trouble(f"{len(one)} bytes of memory, then {len(other)}")
    return {at // PAGE_BYTES for at in range(0, len(one), PAGE_BYTES)
            if one[at:at + PAGE_BYTES] != other[at:at + PAGE_BYTES]}
