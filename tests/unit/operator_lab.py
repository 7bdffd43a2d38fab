# SPDX-License-Identifier: Apache-2.0
"""The lab of poold_operator: a folder with a configuration and poolds in it, and a service manager's
socket. sys.argv: POOLD FAKE_VMM VOLTCTL."""
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time

POOLD, FAKE_VMM, VOLTCTL = sys.argv[1:4]
PATIENCE_S = 60  # what only waits that never end take


def until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.01)


class Lab:
    """A folder with a configuration, and the poolds in it; a with-block ends them."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="poold-operator-")
        self.config = self.path("poold.conf")
        self.processes = []
        self.environment = {"PATH": os.environ["PATH"], "VOLT_FAKE_FAULTS": self.path("faults")}
        self.write("kernel", "a kernel")
        self.write("faults", "")
        self.write("poold.conf", "")
        return self

    def __exit__(self, *unused):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w") as out:
            out.write(text)

    def command(self, *options, name="one"):
        return [POOLD, "--config", self.config, "--run-dir", self.path(name + "/run"), "--state-dir",
                self.path(name + "/state"), "--volt-vmm", FAKE_VMM, "--kernel", self.path("kernel"),
                "--uid-base", "0", *options]

    def start(self, *options, name="one", wait=True, **more):
        with open(self.path("log-" + name), "a") as log:
            process = subprocess.Popen(self.command(*options, name=name), stderr=log,
                                       env=self.environment, **more)
        self.processes.append(process)
        self.socket = self.path(name + "/run/poold.sock")
        if wait:
            until(lambda: self.ctl("status").returncode == 0 or process.poll() is not None, "an answer")
            assert process.poll() is None, self.log(name)
        return process

    def run(self, *options):
        return subprocess.run(self.command(*options), capture_output=True, text=True,
                              timeout=PATIENCE_S, env=self.environment)

    def ctl(self, *arguments):
        return subprocess.run([VOLTCTL, "--socket", self.socket, *arguments], capture_output=True,
                              text=True, timeout=PATIENCE_S)

    def pool(self, name):
        done = self.ctl("pool", "show", name, "--json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def log(self, name="one"):
        with open(self.path("log-" + name)) as log:
            return log.read()

    def logs(self, text, name="one"):
        until(lambda: text in self.log(name), f"a line with '{text}' in the log")


class Manager:
    """The socket that a service manager listens on; messages as {"KEY": [values in order]}."""

    def __init__(self, lab):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(lab.path("notify"))
        self.socket.settimeout(0.01)
        self.said = {}
        lab.environment["NOTIFY_SOCKET"] = lab.path("notify")

    def listen(self):
        try:
            while True:
                for line in self.socket.recv(4096).decode().splitlines():
                    key, _, value = line.partition("=")
                    self.said.setdefault(key, []).append(value)
        except TimeoutError:
            return self.said
