# SPDX-License-Identifier: Apache-2.0
"""Makes system calls in a thread of another process: what a guest could do that has taken its VMM over.

The thread is stopped (ptrace), given the call's number and arguments, and stepped over the very
instruction that it waits in; so its seccomp filter, uid, namespaces and Landlock domain decide, as
they would about code of the guest's. Needs root.
"""
import ctypes
import errno
import os
import re
import signal
import struct
import subprocess
import time

CALLS = dict(read=0, write=1, close=3, mmap=9, ioctl=16, pwrite64=18, socket=41, connect=42,
             sendmsg=46, recvmsg=47, ftruncate=77, fcntl=72, kill=62, fallocate=285, tgkill=234,
             epoll_wait=232, openat=257, getpid=39, dup2=33, flock=73, lseek=8, fchmod=91,
             splice=275, ptrace=101, clone=56, execve=59, prctl=157, setresuid=117)

SEIZE, INTERRUPT, DETACH, STEP, GETREGS, SETREGS = 0x4206, 0x4207, 17, 9, 12, 13
WALL = 0x40000000
REGISTERS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp "
             "ss fs_base gs_base ds es fs gs").split()
ARGUMENTS = ("rdi", "rsi", "rdx", "r10", "r8", "r9") # of a system call
FUNCTION_ARGUMENTS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class Ended(Exception):
    """The process ended during the call: by which signal."""


def ptrace(request, tid, data=None):
    if libc.ptrace(request, tid, None, data) < 0:
        code = ctypes.get_errno()
        if code == errno.ESRCH:
            raise Ended("SIGKILL") # nothing else ends a stopped thread
        raise OSError(code, f"ptrace {request}: {os.strerror(code)}")


def thread_in(pid, call):
    """The thread of a process that waits in this system call, as soon as there is one."""
    end = time.monotonic() + 100
    while time.monotonic() < end:
        for tid in map(int, os.listdir(f"/proc/{pid}/task")):
            with open(f"/proc/{pid}/task/{tid}/syscall", encoding="ascii") as file:
                if file.read().split()[0] == str(CALLS[call]):
                    return tid
        time.sleep(0.01)
    raise LookupError(f"no thread of {pid} waits in {call}")


class Thread:
    """A stopped thread, for `with`; goes on as it was at the end."""

    def __init__(self, pid, waits_in="epoll_wait"):
        self.pid, self.tid = pid, thread_in(pid, waits_in)

    def __enter__(self):
        ptrace(SEIZE, self.tid)
        ptrace(INTERRUPT, self.tid)
        self._wait()
        self.saved = self._registers()
        self.memory = open(f"/proc/{self.pid}/mem", "r+b", buffering=0)
        return self

    def __exit__(self, kind, value, trace):
        self.memory.close()
        if kind is not Ended:
            self._set(self.saved)
            ptrace(DETACH, self.tid)
        return False

    def _wait(self):
        _, status = os.waitpid(self.tid, WALL)
        if not os.WIFSTOPPED(status):
            raise Ended(signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else
                        f"status {os.WEXITSTATUS(status)}")

    def _registers(self):
        raw = ctypes.create_string_buffer(8 * len(REGISTERS))
        ptrace(GETREGS, self.tid, ctypes.addressof(raw))
        return dict(zip(REGISTERS, struct.unpack(f"{len(REGISTERS)}Q", raw.raw)))

    def _set(self, registers):
        raw = ctypes.create_string_buffer(
            struct.pack(f"{len(REGISTERS)}Q", *(registers[name] for name in REGISTERS)))
        ptrace(SETREGS, self.tid, ctypes.addressof(raw))

    def put(self, data):
        """Copies bytes to where the thread has nothing; their address there."""
        self.free -= (len(data) + 15) & ~15
        self.memory.seek(self.free)
        self.memory.write(data)
        return self.free

    def take(self, address, length):
        self.memory.seek(address)
        return self.memory.read(length)

    def _values(self, arguments):
        self.free = self.saved["rsp"] - 4096
        values = [a(self) if callable(a) else a for a in arguments]
        return [self.put(v) if isinstance(v, bytes) else v & (1 << 64) - 1 for v in values]

    def jump(self, symbol, *arguments):
        """Has the thread go on in a function of its program, from which there is no return."""
        program = os.readlink(f"/proc/{self.pid}/exe")
        listed = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
        offset = int(re.search(rf"^(\w+) [Tt] {symbol}$", listed, re.MULTILINE)[1], 16)
        with open(f"/proc/{self.pid}/maps", encoding="ascii") as maps:
            base = int(maps.readline().split("-")[0], 16) # it is mapped lowest
        values = self._values(arguments)
        self.saved.update(zip(FUNCTION_ARGUMENTS, values), rip=base + offset, orig_rax=(1 << 64) - 1,
                          rsp=(self.free - 4096 & ~15) - 8)

    def call(self, name, *arguments):
        """One system call; bytes are passed by address, functions give bytes (they may `put`)."""
        values = self._values(arguments)
        registers = dict(self.saved, rax=CALLS[name], orig_rax=(1 << 64) - 1,
                         rip=self.saved["rip"] - 2) # the instruction that it waits in
        registers.update(zip(ARGUMENTS, values))
        self._set(registers)
        ptrace(STEP, self.tid)
        self._wait()
        result = self._registers()["rax"]
        return result - (1 << 64) if result >> 63 else result


def message(data, fds=()):
    """For sendmsg: one buffer, and file descriptors."""
    def build(thread):
        control = b""
        if fds:
            control = struct.pack(f"Qii{len(fds)}i", 16 + 4 * len(fds), 1, 1, *fds)
            control += bytes(-len(control) % 8)
        base = thread.put(data)
        vector = thread.put(struct.pack("QQ", base, len(data)))
        rights = thread.put(control) if control else 0
        return struct.pack("QIIQQQQII", 0, 0, 0, vector, 1, rights, len(control), 0, 0)
    return build


def failed(result):
    return errno.errorcode.get(-result, str(result)) if result < 0 else str(result)
