#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Requests and responses of one byte, one at a time: netperf's TCP_RR, TCP_CRR and UDP_RR.

requests.py serve                          answers on PORT, TCP and UDP, until it is interrupted
requests.py tcp_rr|tcp_crr|udp_rr HOST SECONDS   prints JSON: rate and latencies in microseconds
"""
import json
import selectors
import socket
import sys
import time

PORT = 11112
PATIENCE_S = 5


def serve():
    tcp = socket.create_server(("0.0.0.0", PORT), backlog=128)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", PORT))
    ready = selectors.DefaultSelector()
    for sock in tcp, udp:
        sock.setblocking(False)
        ready.register(sock, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            sock = key.fileobj
            try:
                if sock is udp:
                    data, peer = udp.recvfrom(1)
                    udp.sendto(data, peer)
                elif sock is tcp:
                    client, _ = tcp.accept()
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    ready.register(client, selectors.EVENT_READ)
                elif data := sock.recv(1):
                    sock.send(data)
                else:
                    ready.unregister(sock)
                    sock.close()
            except OSError:
                if sock is not tcp and sock is not udp:
                    ready.unregister(sock)
                    sock.close()


def connect(host):
    sock = socket.create_connection((host, PORT), PATIENCE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def exchange(sock):
    sock.send(b"x")
    if not sock.recv(1):
        raise ConnectionError("the server closed the connection")


def requests(kind, host):
    """Yields after each request."""
    if kind == "tcp_crr":
        while True:
            with connect(host) as sock:
                exchange(sock)
            yield
    if kind == "tcp_rr":
        sock = connect(host)
    else:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(PATIENCE_S)
        sock.connect((host, PORT))
    while True:
        exchange(sock)
        yield


def measure(kind, host, seconds):
    latencies = []
    begin = last = time.perf_counter()
    for _ in requests(kind, host):
        now = time.perf_counter()
        latencies.append(now - last)
        last = now
        if now - begin >= seconds:
            break
    latencies.sort()
    percentile = lambda p: round(1e6 * latencies[int(p / 100 * (len(latencies) - 1))], 1)
    print(json.dumps({"kind": kind, "count": len(latencies),
                      "per_second": round(len(latencies) / (last - begin), 1),
                      "p50_us": percentile(50), "p95_us": percentile(95),
                      "p99_us": percentile(99)}))


def main():
    if sys.argv[1:] == ["serve"]:
        serve()
    elif len(sys.argv) == 4 and sys.argv[1] in ("tcp_rr", "tcp_crr", "udp_rr"):
        measure(sys.argv[1], sys.argv[2], float(sys.argv[3]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"requests.py: {error}")
    except KeyboardInterrupt:
        pass
