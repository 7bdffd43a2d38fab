# SPDX-License-Identifier: Apache-2.0
"""Lists every file descriptor of all processes of a poold's, and accepts only what is named here.

usage: descriptors.py POOLD_PID RUN_DIR STATE_DIR DISK [KIND...]

Prints what is wrong, and a line for each process; ends with 1 if a process is of no kind that is named here, if a
descriptor is none of those that its kind may have, if one shares its open file description with one of
poold's, or if a writable one shares it with another process; and if there is no process of a KIND that
the caller knows to be there. The keeper shares poold's by design, and what waits outside of a template
its control socket; neither is ever a guest's.
"""
import ctypes
import errno
import os
import re
import sys

KCMP, KCMP_FILE = 312, 0
READ, WRITE, BOTH, PATH = "r", "w", "rw", "path"
STDIO = (0, 1, 2)
STDIO_TARGETS = dict.fromkeys(("passt", "keeper"), r"/dev/null|pipe:\[\d+\]")  # of which poold has the other end

libc = ctypes.CDLL(None, use_errno=True)


def tables(run, state, disk):
    """Of each kind of process: what a descriptor leads to, how it may be open, and how many."""
    store = re.escape(f"{state}/snapshots/")
    own = [  # what every VM's process makes for itself
        (r"anon_inode:\[eventpoll\]", BOTH, 1), (r"anon_inode:\[eventfd\]", BOTH, 9),
        (r"anon_inode:\[timerfd\]", BOTH, 4), (r"anon_inode:kvm-vm", BOTH, 1),
        (r"anon_inode:kvm-vcpu:\d+", BOTH, 32),
        (r"socket:\[\d+\]", BOTH, 9),  # poold's two, the vsock listener, clients' streams, passt's
        (r"/dev/net/tun", BOTH, 1), (r"/dev/vhost-net", BOTH, 1)]
    disks = [(re.escape(disk), READ, 1), (re.escape(f"{state}/images/packs/") + ".*", READ, 4)]
    return {
        # The process that it waits for, and its lifeline: the template's control socket.
        "outside": [(r"anon_inode:\[pidfd\]", BOTH, 1), (r"socket:\[\d+\]", BOTH, 1)],
        # poold's own ends, held for the next poold: no guest ever has a say in this process.
        "keeper": [(r"socket:\[\d+\]", BOTH, 4096), (r"anon_inode:\[pidfd\]", BOTH, 4096),
                   (r"net:\[\d+\]", READ, 4096), (r"pipe:\[\d+\]", READ, 4096),
                   (r"/memfd:volt-(ledger|host-addresses|gate) \(deleted\)", BOTH, 4096),
                   (r"anon_inode:bpf-(map|prog)", BOTH, 64), (r"anon_inode:bpf_link", READ, 64),
                   (r"/run/volt-uids/\d+", BOTH, 64)],
        "template": [(r"socket:\[\d+\]", BOTH, 1), (r"anon_inode:\[signalfd\]", BOTH, 1),
                     (r"/dev/kvm", BOTH, 1), (store + r"[^/]+/memory\.img", READ, 1),
                     (store + r"[^/]+/disk", READ, 1)] + disks,
        "boot": own + disks + [(r"/memfd:volt-guest \(deleted\)", BOTH, 1),
                               (r"pipe:\[\d+\]", WRITE, 1),  # its console, to poold
                               (store + r"\.[^/]+/(disk|state|memory\.img)", BOTH, 3)],
        "clone": own + disks + [(re.escape(run) + r"/vms/[0-9a-f]{16}", PATH, 1),
                                (store + r"#\d+ \(deleted\)", BOTH, 1),
                                (store + r"[^/]+/disk", READ, 1)],
        "gate": [(r"socket:\[\d+\]", BOTH, 3)],  # poold's, the VM's, passt's
        # Somebody else's program: its sockets are its work.
        "passt": [(r"socket:\[\d+\]", BOTH, 4096), (r"anon_inode:\[(eventpoll|timerfd)\]", BOTH, 99),
                  (r"/dev/null", READ, 1)],
    }


def kind_of(command):
    """Of what poold itself has started; None: none that it starts."""
    program = os.path.basename(command[0])
    if program == "volt-vmm" and command[1:2] in (["run"], ["template"]):
        return command[1]
    if program == "poold" and command[1:2] == ["keeper"]:
        return "keeper"
    if program == "volt-gate":
        return "gate" if command[1] == "pass" else "passt"  # which it is about to become
    return "passt" if program.startswith("passt") else None


GONE = (FileNotFoundError, ProcessLookupError)  # it ended, or closed that, meanwhile


def names(directory):
    try:
        return os.listdir(directory)
    except GONE:
        return []


def descriptors(pid):
    found = {}
    for fd in map(int, names(f"/proc/{pid}/fd")):
        try:
            with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as info:
                flags = int(re.search(r"flags:\s*(\d+)", info.read())[1], 8)
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except GONE:
            continue
        mode = PATH if flags & os.O_PATH else (READ, WRITE, BOTH)[flags & os.O_ACCMODE]
        found[fd] = (target, mode)
    return found


def text_of(path):
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except GONE:
        return ""


def children(pid):
    """Of all its threads: each has its own."""
    found = []
    for thread in names(f"/proc/{pid}/task"):
        found += map(int, text_of(f"/proc/{pid}/task/{thread}/children").split())
    return found


def processes(poold):
    """(kind, pid) of everything that poold has started, and of what that has."""
    for outside in children(poold):
        command = text_of(f"/proc/{outside}/cmdline")
        if not command:  # it has ended
            continue
        kind = kind_of(command.split("\0"))
        if kind not in ("run", "template"):
            yield kind, outside
            continue
        yield "outside", outside
        for inside in children(outside):
            yield ("boot" if kind == "run" else "template"), inside
            for clone in children(inside):
                yield "clone", clone


def faults_of(kind, pid, table):
    counts = {}
    for fd, (target, mode) in descriptors(pid).items():
        if fd in STDIO and kind != "outside":
            if not re.fullmatch(STDIO_TARGETS.get(kind, "/dev/null"), target):
                yield f"{kind} {pid}: {fd} is {target}"
            continue
        row = next((row for row in table if re.fullmatch(row[0], target) and row[1] == mode), None)
        counts[row] = counts.get(row, 0) + 1
        if row is None or counts[row] > row[2]:
            yield f"{kind} {pid}: {fd} is {target}, open {mode}"


def same_description(pid, fd, other, other_fd):
    result = libc.syscall(KCMP, pid, other, KCMP_FILE, fd, other_fd)
    if result < 0 and ctypes.get_errno() not in (errno.EBADF, errno.ESRCH):
        raise OSError(ctypes.get_errno(), "kcmp")
    return result == 0


def shared(of, others, named):
    """Descriptors of one process whose description is also one of another's."""
    for pid in others:
        for fd, (target, mode) in descriptors(pid).items():
            for mine, (own_target, _) in descriptors(of).items():
                if target == own_target and named(target, mode) and \
                        same_description(pid, fd, of, mine):
                    yield f"process {pid}: {fd} ({target}) is {mine} of {of}, too"


def main():
    poold, run, state, disk, *wanted = int(sys.argv[1]), *sys.argv[2:]
    table = tables(run, state, disk)
    found = list(processes(poold))
    faults = [f"there is no {kind}" for kind in set(wanted) - {kind for kind, _ in found}]
    lines = []
    for kind, pid in found:
        listed = sorted(descriptors(pid).items())
        lines.append(f"{kind} {pid}: " + " ".join(f"{fd}={target}" for fd, (target, _) in listed))
        faults += faults_of(kind, pid, table[kind]) if kind else [f"{pid} is of no known kind"]
    pids = [pid for kind, pid in found if kind not in ("keeper", "outside")]
    faults += shared(poold, pids, lambda target, mode: True)
    for pid in pids:
        faults += shared(pid, [other for other in pids if other > pid],
                         lambda target, mode: mode in (WRITE, BOTH) and
                         target not in ("/dev/null", "/dev/kvm"))
    print("\n".join(faults + lines))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
