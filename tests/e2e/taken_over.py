# SPDX-License-Identifier: Apache-2.0
"""The deeds of a VM's process that a guest has taken over, for taken_over.sh.

usage: taken_over.py DEED PID [ARGUMENT...]

Prints what came of each call. Ends with 0 if the calls could be made, whatever they returned, and
whatever poold did about them; with 1 and "killed by SIGSYS" if the filter ended the process.
"""
import os
import struct
import sys

import inject

O_APPEND, O_NONBLOCK, O_DIRECT, O_ASYNC = 0o2000, 0o4000, 0o40000, 0o20000
F_SETFL, FALLOC_KEEP_SIZE = 4, 1


# control.h: number and length of what a VM may say, and of what only others may.
MESSAGES = {"hello": (1, 48), "banner": (2, 56), "parked": (3, 56), "awake": (4, 56), "ready": (5, 56),
            "snapshot_done": (6, 304), "stats": (7, 72), "cloned": (9, 24), "child_exited": (10, 24),
            "trouble": (11, 272)}


def say(what, result):
    print(f"{what}: {inject.failed(result)}")


def descriptors(pid):
    return sorted(map(int, os.listdir(f"/proc/{pid}/fd")))


def change_log(thread):
    """Whatever is open may be poold's log."""
    forged = b"2026-01-01T00:00:00.000Z info  forged line\n"
    for fd in descriptors(thread.pid):
        say(f"flags of {fd}", thread.call("fcntl", fd, F_SETFL, 0))
        if fd <= 2:
            say(f"write to {fd}", thread.call("write", fd, forged, len(forged)))
        say(f"truncate {fd}", thread.call("ftruncate", fd, 0))
        say(f"seek in {fd}", thread.call("lseek", fd, 0, 0))


def set_direct(thread):
    """O_DIRECT on a disk that other VMs have by the same description fails their reads."""
    for fd in descriptors(thread.pid):
        say(f"O_DIRECT on {fd}", thread.call("fcntl", fd, F_SETFL, O_DIRECT))


def fill_disk(thread):
    """Space of the host's file system beyond RLIMIT_FSIZE."""
    for fd in descriptors(thread.pid):
        say(f"allocate for {fd}", thread.call("fallocate", fd, FALLOC_KEEP_SIZE, 0, 1 << 34))


def sockets(pid):
    return [fd for fd in descriptors(pid) if os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket")]


def exited(detail):
    """CONTROL_EXITED of vmm-core/control/control.h."""
    return struct.pack("IIQII256s", 8, 280, 0, 8, 0, detail)


def send(thread, data, fds=()):
    """To whoever listens: of its sockets those take a message that lead to poold."""
    taken = 0
    for fd in sockets(thread.pid):
        result = thread.call("sendmsg", fd, inject.message(data, fds), 0x4040) # NOSIGNAL, DONTWAIT
        say(f"send to {fd}", result)
        taken += result == len(data)
    if not taken:
        raise SystemExit("no socket takes a message")


def lie(thread):
    """A last word with a line for the log, orders for the terminal, and bytes that are no text."""
    send(thread, exited(b"gone\n2026-01-01T00:00:00.000Z info  forged line\033[2J\xff" +
                        "\u202e\u200b".encode() + b"\x9b" * 200))


def flood(thread, kind):
    """A message that asks for nothing, again and again; a HELLO would change its lease's layers, too."""
    number, length = MESSAGES[kind]
    said = struct.pack("IIQ", number, length, 0) + bytes(length - 16)
    for _ in range(200):
        for fd in sockets(thread.pid)[:2]:
            thread.call("sendmsg", fd, inject.message(said), 0x4040)
    print("200 messages were taken")


def give_fds(thread):
    """Its own KVM, which poold would be the last to close."""
    machines = [fd for fd in descriptors(thread.pid)
                if os.readlink(f"/proc/{thread.pid}/fd/{fd}") == "anon_inode:kvm-vm"]
    for fd in sockets(thread.pid):
        say(f"fds to {fd}", thread.call("sendmsg", fd, inject.message(b"x" * 16, machines * 8), 0x4040))


def fail_assertion(thread):
    """No attack: what a bug of the VMM's own would do."""
    thread.jump("__assert_fail", b"sky == blue\0", b"weather.c\0", 7, b"look_up\0")


DEEDS = {"assertion": fail_assertion, "fds": give_fds,
         "flood": flood, "lie": lie, "log": change_log, "direct": set_direct, "space": fill_disk}


def main():
    deed, pid, *arguments = sys.argv[1:]
    try:
        with inject.Thread(int(pid)) as thread:
            DEEDS[deed](thread, *arguments)
    except inject.Ended as ended:
        print(f"killed by {ended}")
        return 0 if str(ended) == "SIGKILL" else 1 # poold's answer to some deeds
    return 0


if __name__ == "__main__":
    sys.exit(main())
