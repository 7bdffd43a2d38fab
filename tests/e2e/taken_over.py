# SPDX-License-Identifier: Apache-2.0
"""The deeds of a VM's process that a guest has taken over, for taken_over.sh.

usage: taken_over.py DEED PID [ARGUMENT...]

Prints what came of each call. Ends with 0 if the calls could be made (whatever they returned), or
with 1 and "killed by SIGSYS" if the filter ended the process.
"""
import os
import sys

import inject

O_APPEND, O_NONBLOCK, O_DIRECT, O_ASYNC = 0o2000, 0o4000, 0o40000, 0o20000
F_SETFL, FALLOC_KEEP_SIZE = 4, 1


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


def fail_assertion(thread):
    """No attack: what a bug of the VMM's own would do."""
    thread.jump("__assert_fail", b"sky == blue\0", b"weather.c\0", 7, b"look_up\0")


DEEDS = {"assertion": fail_assertion, "log": change_log, "direct": set_direct, "space": fill_disk}


def main():
    deed, pid, *arguments = sys.argv[1:]
    try:
        with inject.Thread(int(pid)) as thread:
            DEEDS[deed](thread, *arguments)
    except inject.Ended as ended:
        print(f"killed by {ended}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
