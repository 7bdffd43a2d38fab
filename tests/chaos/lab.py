# SPDX-License-Identifier: Apache-2.0
"""What the tests of this folder share: a poold of their own, its API, an inventory of all that it
holds, the page that arms inject.c, and TAP.

How it works
  A lab is a directory with poold's run and state directories and a link to volt-vmm, by whose path
  the lab's processes are told from all others. A real pool starts from the state directory that
  tests/run shares among the end-to-end scenarios ($E2E_SHARED/state), made by one cold boot.
"""
import collections
import ctypes
import fcntl
import glob
import http.client
import json
import mmap
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("VOLT_BUILD", os.path.join(ROOT, "build")))
POOLD = os.path.join(BUILD, "poold", "poold")
VOLTCTL = os.path.join(BUILD, "cli", "voltctl")
VOLT_VMM = (os.environ.get("VOLT_VMM") or
            os.path.join(BUILD, "vmm-core", "volt-vmm", "volt-vmm"))
FAKE_VMM = os.path.join(BUILD, "tests", "unit", "fake_vmm")
INJECT = os.path.join(BUILD, "tests", "chaos", "libinject.so")
VM_DIRS_STOCK = 160  # poold/host/vm_dirs.h: folders that are made ahead


class Trouble(Exception):
    """What a check found wrong, in a sentence."""


# ---- TAP ----

class Tap:
    def __init__(self):
        self.count = 0
        self.failed = 0

    def check(self, name, function, *args):
        self.count += 1
        try:
            told = function(*args)
        except (Trouble, OSError, ValueError, http.client.HTTPException) as trouble:
            self.failed += 1
            print(f"not ok {self.count} - {name}")
            for line in str(trouble or type(trouble).__name__).splitlines():
                print(f"# {line}")
        else:
            print(f"ok {self.count} - {name}" + (f": {told}" if told else ""))
        sys.stdout.flush()

    def skip(self, name, reason):
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {reason}", flush=True)

    def finish(self):
        print(f"1..{self.count}", flush=True)
        return 1 if self.failed else 0


def note(text):
    print(f"# {text}", flush=True)


def seeded_random():
    """Random events that can be had again: $VOLT_CHAOS_SEED is what an earlier run has printed."""
    seed = int(os.environ.get("VOLT_CHAOS_SEED") or random.SystemRandom().getrandbits(32))
    note(f"seed {seed} (again with VOLT_CHAOS_SEED={seed})")
    return random.Random(seed)


def rounds(name, default):
    return int(os.environ.get(name) or default)


def wait_until(seconds, function, what):
    """Waits for a truthy result and returns it."""
    end = time.monotonic() + seconds * float(os.environ.get("E2E_PATIENCE") or 5)
    while True:
        result = function()
        if result:
            return result
        if time.monotonic() > end:
            raise Trouble(f"not so after {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.02)


# ---- The API ----

class Connection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("volt", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


Reply = collections.namedtuple("Reply", "status body")


# ---- Fault injection: the page shared with inject.c ----

FAULT_KINDS = {"open": 1, "mmap": 2, "ioctl": 3, "write": 4, "sync": 5, "fork": 6, "socket": 7,
               "sendmsg": 8, "rename": 9}
FAULT_PROGRAMS = {"any": 0, "poold": 1, "volt-vmm": 2}


class FaultPage:
    FIELDS = ("kind", "program", "error", "nth", "count", "fired")

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as out:
            out.truncate(4096)
        with open(path, "r+b") as page:
            self.words = (ctypes.c_uint32 * 6).from_buffer(mmap.mmap(page.fileno(), 4096))

    def get(self, field):
        return self.words[self.FIELDS.index(field)]

    def disarm(self):
        self.words[3] = 0

    def arm(self, program, kind, nth, error):
        self.disarm()
        for i, value in enumerate((FAULT_KINDS[kind], FAULT_PROGRAMS[program], error)):
            self.words[i] = value
        self.words[4] = self.words[5] = 0
        self.words[3] = nth


# ---- A lab ----

class Lab:
    def __init__(self, volt_vmm=VOLT_VMM, inject=False, parent=None):
        self.dir = tempfile.mkdtemp(prefix="volt-chaos-", dir=parent)
        os.chmod(self.dir, 0o755)
        self.run = os.path.join(self.dir, "run")
        self.state = os.path.join(self.dir, "state")
        self.log = os.path.join(self.dir, "log")
        self.socket = os.path.join(self.run, "poold.sock")
        self.vmm = os.path.join(self.dir, "volt-vmm")
        os.symlink(volt_vmm, self.vmm)
        self.process = None
        self.page = FaultPage(os.path.join(self.dir, "faults")) if inject else None

    # -- poold --

    def start(self, *options):
        env = dict(os.environ, VOLT_RUN_DIR=self.run, VOLT_STATE_DIR=self.state,
                   VOLT_CONFIG="/dev/null")  # not this host's
        env.pop("VOLT_SOCKET", None)
        if self.page:
            env.update(LD_PRELOAD=INJECT, VOLT_FAULT_PAGE=self.page.path)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [POOLD, "--volt-vmm", self.vmm, "--keep-ms", "0", "--awake-timeout-ms", "20000",
                 "--ready-timeout-ms", "60000", *options], env=env, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)
        wait_until(20, self.answers, "poold answers")

    def answers(self):
        try:
            return self.ask("GET", "/v1/version").status == 200
        except OSError:
            return False

    def alive(self):
        if self.process.poll() is not None:
            raise Trouble(f"{self.process.args[0]} ended with {self.process.returncode}:\n"
                          f"{self.log_tail()}")

    def stop(self):
        """SIGTERM: it must end with 0 and leave nothing."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Trouble(f"poold did not end on SIGTERM:\n{self.log_tail()}") from None
        if status != 0:
            raise Trouble(f"poold ended with {status} on SIGTERM:\n{self.log_tail()}")
        wait_until(10, lambda: not self.processes(), lambda: f"no process left: {self.processes()}")
        left = [name for name in os.listdir(os.path.join(self.run, "vms"))]
        if left or os.path.exists(self.socket) or self.groups():
            raise Trouble(f"left over: folders {left}, groups {self.groups()}")

    def kill(self):
        """kill -9: whatever hung on it must end by itself."""
        self.process.kill()
        self.process.wait()
        wait_until(20, lambda: not self.processes(), lambda: f"no process left: {self.processes()}")

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if os.path.isdir(os.path.join(BUILD, "test-logs")):
            name = os.path.basename(sys.argv[0])
            shutil.copy(self.log, os.path.join(BUILD, "test-logs", f"poold-chaos-{name}.log"))
        wait_until(10, lambda: not self.processes(), "no process is left")
        shutil.rmtree(self.dir, ignore_errors=True)

    def log_tail(self, lines=15):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    # -- The API --

    def ask(self, method, path, body=None, timeout=60):
        connection = Connection(self.socket, timeout)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        try:
            return Reply(response.status, json.loads(text) if text else None)
        except ValueError:
            return Reply(response.status, text)

    def pool(self, name="default"):
        reply = self.ask("GET", f"/v1/pools/{name}")
        if reply.status != 200:
            raise Trouble(f"pool {name}: {reply}")
        return reply.body

    def acquire(self, wait_ms=20000, **more):
        return self.ask("POST", "/v1/leases", dict(wait_ms=wait_ms, **more))

    def release(self, lease):
        return self.ask("DELETE", f"/v1/leases/{lease}")

    def full(self, name="default"):
        """Whether the pool is ready, has its parked VMs, and nothing is on the way."""
        pool = self.pool(name)
        slots = pool["slots"]
        return (pool["state"] == "ready" and slots["parked"] == pool["min"] and
                slots["preparing"] == slots["waking"] == slots["stopping"] == 0)

    def wait_full(self, seconds=40, name="default"):
        wait_until(seconds, lambda: self.full(name), lambda: f"the pool is full: {self.pool(name)}"
                   f"\n{self.log_tail()}")

    # -- What there is --

    def processes(self):
        """Ids of the lab's volt-vmm processes, zombies left out."""
        found = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as line:
                    if line.read().startswith(self.vmm.encode() + b"\0"):
                        found.append(int(path.split("/")[2]))
            except OSError:
                pass
        return found

    def groups(self):
        """Control groups of VMs; poold names their parent after a hash of its state directory."""
        value = 0xcbf29ce484222325
        for byte in self.state.encode():
            value = (value ^ byte) * 0x100000001b3 % 2 ** 64
        found = subprocess.run(["find", "/sys/fs/cgroup", "-path", f"*volt-{value:016x}/*",
                                "-type", "d"], capture_output=True, text=True, check=False)
        return sorted({os.path.basename(line) for line in found.stdout.split()})

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def inventory(self):
        """Of what must be as it was, once the pool is at rest. Folders and their fds are stocked,
        so those are counted without the stock."""
        vms = os.listdir(os.path.join(self.run, "vms"))
        stock = set()
        fds = collections.Counter()
        for fd in os.listdir(f"/proc/{self.process.pid}/fd"):
            try:
                target = os.readlink(f"/proc/{self.process.pid}/fd/{fd}")
            except OSError:
                continue
            if "/vms/" in target:
                stock.add(os.path.basename(target))
            else:
                fds[target.split(":")[0]] += 1
        # Each folder of the stock has its listening socket; one that is used has gone to its VM.
        fds["socket"] -= len(stock)
        used = [v for v in vms if v not in stock]
        if len(stock) > VM_DIRS_STOCK:
            raise Trouble(f"{len(stock)} folders are no stock")
        snapshots = sorted(os.listdir(os.path.join(self.state, "snapshots")))
        return {"fds": dict(fds), "processes": len(self.processes()), "folders": len(used),
                "groups": len(self.groups()), "snapshots": snapshots,
                "pools": sorted(os.listdir(os.path.join(self.state, "pools"))),
                "threads": len(os.listdir(f"/proc/{self.process.pid}/task"))}

    def same_as(self, before, seconds=15):
        """Waits until all is as it was: the last processes and groups go by themselves."""
        last = {}

        def same():
            last.clear()
            last.update(self.inventory())
            # A VM may go without a group when that can't be made; it says so and is noted.
            last["groups"] = max(last["groups"], before["groups"])
            return last == before

        def difference():
            found = []
            for key, was in before.items():
                now = last[key]
                if isinstance(was, dict):
                    was, now = ({k: v for k, v in one.items() if v != other.get(k)}
                                for one, other in ((was, now), (now, was)))
                if was != now:
                    found.append(f"{key}: {was} -> {now}")
            return "; ".join(found)
        wait_until(seconds, same, lambda: f"as before: {difference()}\n{self.log_tail()}")


def shared_state():
    """The state directory with the snapshot of a real pool, made once for all by a cold boot."""
    shared = os.environ.get("E2E_SHARED")
    if not shared:
        raise Trouble("E2E_SHARED is not set; tests/run does it")
    with open(os.path.join(shared, "lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = os.path.join(shared, "state")
        if not os.path.isdir(made):
            lab = Lab()
            lab.start("--boot-timeout-ms", "300000")
            lab.ask("POST", "/v1/pools", {"name": "default", "min": 2, "max": 64})
            wait_until(300, lambda: lab.pool()["state"] in ("ready", "failed"), "the pool is made")
            if lab.pool()["state"] != "ready":
                raise Trouble(lab.pool()["error"])
            lab.stop()
            subprocess.run(["cp", "-a", "--sparse=always", lab.state, made], check=True)
            lab.close()
    return made


def real_lab(inject=False, pool_min=2, options=()):
    """A lab with a full pool of real VMs."""
    lab = Lab(inject=inject)
    subprocess.run(["cp", "-a", "--sparse=always", shared_state(), lab.state], check=True)
    lab.start(*options)
    wait_until(60, lambda: lab.pool()["state"] == "ready", "the pool is ready")
    lab.ask("PATCH", "/v1/pools/default", {"min": pool_min})
    lab.wait_full()
    return lab


def kvm_missing():
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR))
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    return None
