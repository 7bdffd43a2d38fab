# SPDX-License-Identifier: Apache-2.0
"""Acquires and releases VMs of the pool `default` one after the other, until standard input ends, and says
how long none was to be had.

usage: acquires.py SOCKET
Prints "N acquires, N failed, N ms": the last is the longest time between two that were answered with a
lease, which is how long acquires waited or failed.
"""
import http.client
import json
import select
import socket
import sys
import time

PATIENCE_S = 120
AGAIN_S = 0.005


class Connection(http.client.HTTPConnection):
    """To a Unix socket."""

    def __init__(self, path):
        super().__init__("volt", timeout=PATIENCE_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def call(path, method, url, body=None):
    """Status and body of the reply."""
    connection = Connection(path)
    try:
        connection.request(method, url, body and json.dumps(body))
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def leased(path):
    """Whether a lease was given. It is given back; a poold that ends meanwhile leaves that to the next."""
    try:
        status, body = call(path, "POST", "/v1/leases", {"wait_ms": 1000 * PATIENCE_S})
    except (OSError, http.client.HTTPException):
        return None
    return json.loads(body)["lease"] if status == 201 else None


def release(path, lease):
    while True:
        try:
            call(path, "DELETE", f"/v1/leases/{lease}")
            return
        except (OSError, http.client.HTTPException):
            time.sleep(AGAIN_S)


def main():
    path = sys.argv[1]
    count = failed = 0
    longest = 0.0
    last = time.monotonic()
    while not select.select([sys.stdin], [], [], 0)[0]:
        lease = leased(path)
        if lease is None:
            failed += 1
            time.sleep(AGAIN_S)
            continue
        now = time.monotonic()
        longest = max(longest, now - last)
        count += 1
        release(path, lease)
        last = time.monotonic() # what a release takes is no acquire's time
    print(f"{count} acquires, {failed} failed, {1000 * longest:.0f} ms")


main()
