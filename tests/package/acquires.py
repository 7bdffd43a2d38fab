# SPDX-License-Identifier: Apache-2.0
"""Acquires and releases VMs of the pool `default` at a pace that a pool of two can hold, until standard input
ends, and says how long one was not to be had.

usage: acquires.py SOCKET
Prints "begun" after the first few, and at the end "N acquires, N refused, N ms, else N ms": the longest that an
acquire took, from the first time that it was tried to its lease; and the next longest, which is what others took.
"""
import http.client
import json
import select
import socket
import sys
import time

PATIENCE_S = 120
AGAIN_S = 0.005
PACE_S = 0.1
FEW = 3


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
    took = [0, 0]
    refused = 0
    while not select.select([sys.stdin], [], [], PACE_S)[0]:
        begun = time.monotonic()
        while (lease := leased(path)) is None:
            refused += 1
            time.sleep(AGAIN_S)
        took.append(time.monotonic() - begun)
        release(path, lease)
        if len(took) == 2 + FEW:
            print("begun", flush=True)
    longest, next_longest = sorted(took, reverse=True)[:2]
    print(f"{len(took) - 2} acquires, {refused} refused, {1000 * longest:.0f} ms, else {1000 * next_longest:.0f} ms")


main()
