#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Plays GitLab's runner with a custom executor: order, environment, exit codes and signals are those
of its documentation ("The Custom executor"), the driver is voltctl gitlab.

usage: gitlab_runner.py [--config ARG]... [--stage ARG]... [--image IMAGE] [--services JSON]
                        [--variable K=V]... [--cancel-after SECONDS | --die-after SECONDS] SCRIPT...

SCRIPT is STAGE=FILE, in their order. When one fails only after_script and cleanup_file_variables
follow, as the runner does it. Prints the job's log, then "job: success", "job: build failure N",
"job: system failure" or "job: cancelled".
--cancel-after sends SIGTERM to the driver while it runs a script; --die-after ends this runner with
SIGKILL, as a host's crash would.
"""
import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading

BUILD_FAILURE, SYSTEM_FAILURE = 41, 42
GRACEFUL_KILL_SECONDS = 60
AFTER_FAILURE = ("after_script", "cleanup_file_variables")


class Driver:
    """Calls the stages, each with the environment that the contract gives it."""

    def __init__(self, args, directory):
        self.args = args
        self.exit_code_file = os.path.join(directory, "exit-code")
        self.cancelled = False
        self.environment = dict(os.environ, BUILD_FAILURE_EXIT_CODE=str(BUILD_FAILURE),
                                SYSTEM_FAILURE_EXIT_CODE=str(SYSTEM_FAILURE),
                                BUILD_EXIT_CODE_FILE=self.exit_code_file, CUSTOM_ENV_CI="true",
                                CUSTOM_ENV_CI_JOB_ID="1")
        for item in args.variable:
            name, _, value = item.partition("=")
            self.environment["CUSTOM_ENV_" + name] = value
        if args.image:
            self.environment["CUSTOM_ENV_CI_JOB_IMAGE"] = args.image
        if args.services:
            self.environment["CUSTOM_ENV_CI_JOB_SERVICES"] = args.services

    def call(self, stage, arguments, cancel_after=None, **options):
        process = subprocess.Popen([os.environ["VOLTCTL"], "gitlab", stage, *arguments],
                                   env=self.environment, text=True, **options)
        timer = None
        if cancel_after is not None:
            timer = threading.Timer(cancel_after, self.cancel, [process])
            timer.start()
        output, _ = process.communicate()
        if timer:
            timer.cancel()
        return process.returncode, output

    def cancel(self, process):
        self.cancelled = True
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(GRACEFUL_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            print("the driver did not end at SIGTERM")
            process.kill()

    def config(self):
        code, output = self.call("config", self.args.config, stdout=subprocess.PIPE)
        if code:
            return code
        answer = json.loads(output)
        for key in ("builds_dir", "cache_dir", "hostname"):
            if not isinstance(answer.get(key), str) or not answer[key]:
                print(f"config's answer has no {key}: {output}")
                return SYSTEM_FAILURE
        print(f"Using Custom executor with driver {answer['driver']['name']} "
              f"{answer['driver']['version']}...")
        print(f"builds in {answer['builds_dir']} on {answer['hostname']}", flush=True)
        self.environment.update(answer["job_env"])
        return 0

    def run(self, stage, path):
        code, _ = self.call("run", [*self.args.stage, path, stage],
                            self.args.cancel_after if stage == "step_script" else None)
        return code


def verdict(driver, code):
    if driver.cancelled:
        return "cancelled"
    if code == 0:
        return "success"
    if code == BUILD_FAILURE:
        try:
            with open(driver.exit_code_file, encoding="ascii") as file:
                return f"build failure {int(file.read())}"
        except (OSError, ValueError) as error:
            return f"build failure without an exit code: {error}"
    return "system failure" if code == SYSTEM_FAILURE else f"unknown failure {code}"


def job(driver, scripts):
    code = driver.config()
    if code:
        return verdict(driver, code)
    code, _ = driver.call("prepare", driver.args.stage)
    for item in scripts if code == 0 else []:
        stage, _, path = item.partition("=")
        if code == 0 or (code == BUILD_FAILURE and stage in AFTER_FAILURE):
            code = driver.run(stage, path) or code
    result = verdict(driver, code)
    code, _ = driver.call("cleanup", [])
    return result if code == 0 else f"{result}; cleanup failed with {code}"


def main():
    parser = argparse.ArgumentParser()
    for name in ("--config", "--stage", "--variable"):
        parser.add_argument(name, action="append", default=[])
    parser.add_argument("--image")
    parser.add_argument("--services")
    parser.add_argument("--cancel-after", type=float)
    parser.add_argument("--die-after", type=float)
    parser.add_argument("scripts", nargs="*")
    args = parser.parse_args()
    if args.die_after is not None:
        threading.Timer(args.die_after, os.killpg, [os.getpgrp(), signal.SIGKILL]).start()
    with tempfile.TemporaryDirectory(prefix="volt-gitlab-") as directory:
        print("job: " + job(Driver(args, directory), args.scripts))
    sys.exit(0)


main()
