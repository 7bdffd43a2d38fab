#!/usr/bin/env -S python3 -B
# SPDX-License-Identifier: Apache-2.0
"""Clients of the gateway for E2B that mean harm, or know no better: each case is a function, run by its
name. usage: e2b_hostile.py CASE PORT KEY [MORE]; 0 if the gateway did what it should."""
import base64
import hashlib
import json
import os
import socket
import struct
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

CASE, PORT, KEY = sys.argv[1], int(sys.argv[2]), sys.argv[3]


def call(method, path, body=None, headers=None, key=KEY):
    """Status and body."""
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", method=method,
                                     data=body, headers=headers or {})
    if key:
        request.add_header("X-API-KEY", key)
    try:
        with urllib.request.urlopen(request, timeout=300) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def create(seconds=600, key=KEY):
    """A sandbox: ID and token."""
    status, body = call("POST", "/sandboxes", json.dumps({"timeout": seconds}).encode(), key=key)
    assert status == 201, (status, body)
    made = json.loads(body)
    return made["sandboxID"], made["envdAccessToken"]


def access(sandbox, kind="json"):
    return {"E2b-Sandbox-Id": sandbox[0], "X-Access-Token": sandbox[1],
            "Content-Type": f"application/{kind}"}


def rpc(sandbox, name, message):
    status, body = call("POST", name, json.dumps(message).encode(), access(sandbox), key=None)
    return status, json.loads(body)


def envelope(message, flags=0):
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    return struct.pack(">BI", flags, len(data)) + data


def stream(sandbox, name, body):
    """The messages of a reply."""
    status, data = call("POST", name, body, access(sandbox, "connect+json"), key=None)
    assert status == 200, (status, data)
    messages = []
    while data:
        flags, size = struct.unpack(">BI", data[:5])
        messages.append((flags, json.loads(data[5:5 + size])))
        data = data[5 + size:]
    return messages


def start(args, cmd="/bin/sh", **more):
    return {"process": {"cmd": cmd, "args": args}, "stdin": False, **more}


def connection():
    return socket.create_connection(("127.0.0.1", PORT), timeout=300)


def head(sandbox, name, more, kind="connect+json"):
    lines = [f"POST {name} HTTP/1.1", "Host: x"]
    lines += [f"{key}: {value}" for key, value in access(sandbox, kind).items()]
    return ("\r\n".join(lines + more) + "\r\n\r\n").encode()


def case_keys():
    """Without a key there is nothing; with another one there is nothing of the first one's."""
    for key in (None, "e2b_wrong", KEY[:-1], KEY + "x"):
        status, body = call("POST", "/sandboxes", b"{}", key=key)
        assert status == 401 and json.loads(body)["code"] == 401, (key, status, body)
        assert call("GET", "/metrics", key=key)[0] == 401
    mine = create()
    theirs = sys.argv[4]
    assert call("GET", f"/sandboxes/{mine[0]}", key=theirs)[0] == 404
    assert call("DELETE", f"/sandboxes/{mine[0]}", key=theirs)[0] == 404
    assert json.loads(call("GET", "/v2/sandboxes", key=theirs)[1]) == []
    assert b"volt_e2b_sandboxes 1\n" in call("GET", "/metrics")[1]
    assert call("DELETE", f"/sandboxes/{mine[0]}")[0] == 204


def case_tokens():
    """A sandbox's token opens that one, and no API of sandboxes."""
    one, two = create(), create()
    for token in ("", "x", one[1][:-1], one[1] + "0", two[1]):
        status, body = rpc((one[0], token), "/process.Process/List", {})
        assert status == 401 and body["code"] == "unauthenticated", (status, body)
        assert call("GET", "/files?path=/etc/passwd", headers={"E2b-Sandbox-Id": one[0], "X-Access-Token": token}, key=None)[0] == 401
        (flags, end), = stream((one[0], token), "/process.Process/Start", envelope(start([])))
        assert flags == 2 and end["error"]["code"] == "unauthenticated"
    assert call("GET", "/files?path=/etc/passwd&signature=v1_x", key=None)[0] == 502
    assert call("GET", "/files?path=/", headers={"E2b-Sandbox-Id": one[0]}, key=None)[0] == 401
    assert call("GET", f"/sandboxes/{one[0]}", headers={"X-Access-Token": one[1]}, key=None)[0] == 401
    assert rpc(one, "/process.Process/List", {}) == (200, {"processes": []})
    status, body = call("GET", "/health", headers={"Host": f"49983-{one[0]}.e2b.app"}, key=None)
    assert status == 204, (status, body)
    assert call("GET", "/health", headers={"Host": f"8080-{one[0]}.e2b.app"}, key=None)[0] == 501
    assert call("GET", "/health", headers={"E2b-Sandbox-Id": "0" * 16}, key=None)[0] == 502
    for sandbox in (one, two):
        call("DELETE", f"/sandboxes/{sandbox[0]}")


def signed(sandbox, path, operation, user, seconds=600):
    """An address of a file, as E2B's clients sign it."""
    until = int(time.time()) + seconds
    text = f"{path}:{operation}:{user}:{sandbox[1]}:{until}".encode()
    signature = "v1_" + base64.b64encode(hashlib.sha256(text).digest()).decode().rstrip("=")
    query = {"path": path, "username": user, "signature": signature, "signature_expiration": until}
    return "/files?" + urllib.parse.urlencode(query)


def case_signatures():
    """A signed address is for what was signed: that file, by that user, for that time."""
    sandbox = create()
    octets = {"Content-Type": "application/octet-stream"}
    root = {"Authorization": "Basic " + base64.b64encode(b"root:").decode()}
    names = {"E2b-Sandbox-Id": sandbox[0]}
    for more in ({}, names):
        write, read = (signed(sandbox, "/tmp/signed", operation, "root") for operation in ("write", "read"))
        assert call("POST", write, b"x", {**octets, **more}, key=None)[0] == 200
        assert call("GET", read, headers=more, key=None) == (200, b"x")
        refused = 401 if more else 502
        assert call("GET", write, headers=more, key=None)[0] == refused
        for old, new in (("signed", "other"), ("username=root", "username=user"), ("v1_", "v1_x")):
            assert call("GET", read.replace(old, new), headers=more, key=None)[0] == refused
        assert call("GET", signed(sandbox, "/tmp/signed", "read", "root", -5), headers=more, key=None)[0] == refused
        for user in ("nobody-is-called-so", "../root"):
            for method, operation, body in (("GET", "read", None), ("POST", "write", b"y")):
                address = signed(sandbox, "/tmp/signed", operation, user)
                status, reply = call(method, address, body, {**octets, **more, **root}, key=None)
                assert status in (400, 404), (user, method, status, reply)
        assert call("GET", read, headers=more, key=None) == (200, b"x")
    assert call("DELETE", f"/sandboxes/{sandbox[0]}")[0] == 204


def case_bad_input():
    """Bad input gets one error, of the kind that its client knows."""
    for body, why in ((b"{", "JSON"), (b"[]", "JSON"), (b'{"timeout": 0}', "timeout"), (b'{"timeout": 1e9}', "timeout"),
                      (b'{"timeout": 86401}', "timeout"), (b'{"templateID": 1}', "templateID"),
                      (b'{"metadata": {"a": 1}}', "metadata"), (b'{"envVars": {"a=b": "c"}}', "envVars"),
                      (b'{"autoPause": true}', "paused"), (b'{"network": {"allowOut": []}}', "network"),
                      (b'{"metadata": {"a": "' + b"x" * 20000 + b'"}}', "16384")):
        status, reply = call("POST", "/v2/sandboxes", body)
        assert status == 400 and json.loads(reply)["code"] == 400 and why in json.loads(reply)["message"], (body[:99], status, reply)
    for template in ("nothing", "../../x", "a b", "x\n"):
        assert call("POST", "/sandboxes", json.dumps({"templateID": template}).encode())[0] == 404
    assert call("GET", "/nothing")[0] == 404 and call("PUT", "/sandboxes")[0] == 405
    assert call("GET", "/v2/sandboxes?limit=0")[0] == 400
    sandbox = create()
    for name, message, code in (
            ("/process.Process/SendInput", {"process": {"pid": 1}, "input": {"stdin": "aaaa"}}, "not_found"),
            ("/process.Process/SendInput", {"input": {"stdin": "aaaa"}}, "invalid_argument"),
            ("/process.Process/SendSignal", {"process": {"pid": -1}, "signal": 9}, "invalid_argument"),
            ("/process.Process/Update", {"process": {"tag": "none"}}, "not_found"),
            ("/filesystem.Filesystem/Stat", {"path": 7}, "invalid_argument"),
            ("/filesystem.Filesystem/Stat", {"path": ""}, "invalid_argument"),
            ("/filesystem.Filesystem/Stat", {"path": "/no/such"}, "not_found"),
            ("/filesystem.Filesystem/ListDir", {"path": "/", "depth": 1000}, "invalid_argument"),
            ("/filesystem.Filesystem/CreateWatcher", {"path": "/no/such"}, "not_found"),
            ("/filesystem.Filesystem/CreateWatcher", {}, "invalid_argument"),
            ("/filesystem.Filesystem/GetWatcherEvents", {"watcherId": "1"}, "not_found"),
            ("/filesystem.Filesystem/RemoveWatcher", {"watcherId": 1}, "not_found")):
        status, reply = rpc(sandbox, name, message)
        assert status >= 400 and reply["code"] == code, (name, message, status, reply)
    (flags, end), = stream(sandbox, "/process.Process/StreamInput", envelope({}))
    assert flags == 2 and end["error"]["code"] == "unimplemented", end
    good = json.dumps(start([])).encode()
    for body in (b"", b"\0\0", envelope(good)[:-1], envelope(good) + b"x", envelope(good) * 2, envelope(good, 1),
                 struct.pack(">BI", 0, 0xffffffff) + good, envelope(b"{"), envelope({"process": {"cmd": ""}}),
                 envelope(start([1])), envelope(start([], pty={"size": {"cols": 0, "rows": 1}}))):
        (flags, end), = stream(sandbox, "/process.Process/Start", body)
        assert flags == 2 and end["error"]["code"] == "invalid_argument", (body[:40], end)
    sleeper = envelope(start(["-c", "sleep 600"]))
    with connection() as one:  # who hangs up does not end it
        one.sendall(head(sandbox, "/process.Process/Start", [f"Content-Length: {len(sleeper)}"]) + sleeper)
        assert one.recv(100)
    for name, message, why in (("SendSignal", {"signal": 19}, "SIGNAL_SIGKILL"), ("SendSignal", {}, "SIGNAL_SIGKILL"),
                               ("Update", {"pty": {"size": {"cols": 9, "rows": 9}}}, "terminal")):
        pid = rpc(sandbox, "/process.Process/List", {})[1]["processes"][0]["pid"]
        status, reply = rpc(sandbox, f"/process.Process/{name}", {"process": {"pid": pid}, **message})
        assert reply["code"] == "invalid_argument" and why in reply["message"], (name, message, status, reply)
    assert call("POST", "/process.Process/List", b"{}", {**access(sandbox), "Content-Type": "text/plain"}, key=None)[0] == 415
    for messages, code in ((stream(sandbox, "/process.Process/Start", envelope(start([], cmd="/no/such"))), "invalid_argument"),
                           (stream(sandbox, "/process.Process/Start", envelope(start([], pty={"size": {"cols": 1, "rows": 1}}) | {"process": {"cmd": "x", "cwd": "/no"}})), "invalid_argument")):
        assert messages[-1][0] == 2 and messages[-1][1]["error"]["code"] == code, messages
    files = {"E2b-Sandbox-Id": sandbox[0], "X-Access-Token": sandbox[1]}
    for kind, body, path in (("text/plain", b"x", "/tmp/x"), ("multipart/form-data", b"x", "/tmp/x"),
                             ("application/octet-stream", b"x", ""), ("application/octet-stream", b"x", "/tmp")):
        status, reply = call("POST", f"/files?path={path}", body, {**files, "Content-Type": kind}, key=None)
        assert status == 400 and json.loads(reply)["code"] == 400, (kind, path, status, reply)
    for path, more in (("/tmp/x&username=a/b", {}), ("/tmp/x", {"Authorization": "Bearer x"})):
        for method, body in (("GET", None), ("POST", b"x"), ("POST", b"")):
            status, reply = call(method, f"/files?path={path}", body, {**files, **more, "Content-Type": "application/octet-stream"}, key=None)
            assert status == 400 and "name of a user" in json.loads(reply)["message"], (path, method, status, reply)
    assert call("DELETE", f"/sandboxes/{sandbox[0]}")[0] == 204


def events_until(sandbox, watcher, wanted):
    """What the watcher tells, until all that is wanted was told."""
    told = []
    began = time.monotonic()
    while not wanted <= set(told):
        assert time.monotonic() - began < 100, told
        status, reply = rpc(sandbox, "/filesystem.Filesystem/GetWatcherEvents", {"watcherId": watcher})
        assert status == 200, (status, reply)
        told += [(event["name"], event["type"]) for event in reply["events"]]
    return told


def case_watchers():
    """Watchers keep what happens until they are asked, are bounded, and end."""
    sandbox, other = create(), create()
    made = [rpc(sandbox, "/filesystem.Filesystem/CreateWatcher", {"path": "/tmp", "recursive": True}) for _ in range(17)]
    assert [status for status, _ in made] == [200] * 16 + [429], made
    assert made[16][1]["code"] == "resource_exhausted", made[16]
    one, two = made[0][1]["watcherId"], made[1][1]["watcherId"]
    files = {"E2b-Sandbox-Id": sandbox[0], "X-Access-Token": sandbox[1], "Content-Type": "application/octet-stream"}
    assert call("POST", "/files?path=/tmp/a", b"x", files, key=None)[0] == 200
    assert rpc(sandbox, "/filesystem.Filesystem/Remove", {"path": "/tmp/a"})[0] == 200
    wanted = {("a", "EVENT_TYPE_CREATE"), ("a", "EVENT_TYPE_WRITE"), ("a", "EVENT_TYPE_REMOVE")}
    events_until(sandbox, one, wanted)
    assert rpc(sandbox, "/filesystem.Filesystem/GetWatcherEvents", {"watcherId": one}) == (200, {"events": []})
    assert rpc(other, "/filesystem.Filesystem/GetWatcherEvents", {"watcherId": one})[1]["code"] == "not_found"
    assert rpc(sandbox, "/filesystem.Filesystem/RemoveWatcher", {"watcherId": one}) == (200, {})
    for name in ("GetWatcherEvents", "RemoveWatcher"):
        assert rpc(sandbox, f"/filesystem.Filesystem/{name}", {"watcherId": one})[1]["code"] == "not_found"
    events_until(sandbox, two, wanted)
    status, reply = rpc(sandbox, "/filesystem.Filesystem/CreateWatcher", {"path": "/tmp"})
    assert status == 200 and reply["watcherId"] not in [one[1].get("watcherId") for one in made], reply
    for one in (sandbox, other):
        assert call("DELETE", f"/sandboxes/{one[0]}")[0] == 204


def case_bodies():
    """Bodies that are too long, cut off, or one behind the other."""
    sandbox = create()
    status, reply = call("POST", "/process.Process/SendInput", b'"' + b"x" * (5 << 20) + b'"', access(sandbox), key=None)
    assert status == 429 and json.loads(reply)["code"] == "resource_exhausted", (status, reply)
    with connection() as half:  # says more than it sends, and hangs up
        half.sendall(head(sandbox, "/process.Process/Start", ["Content-Length: 100"]) + b"\0\0")
    listing = head(sandbox, "/process.Process/List", ["Content-Length: 2"], "json") + b"{}"
    with connection() as pipelined:
        pipelined.sendall(listing * 20)
        got = b""
        while got.count(b'{"processes":[]}') < 20:
            more = pipelined.recv(65536)
            assert more, got
            got += more
    for bomb in (b"[" * 4000000, b"[{}" + b",{}" * 1300000 + b"]"):
        status, reply = call("POST", "/process.Process/SendInput", bomb, access(sandbox), key=None)
        assert status == 400 and json.loads(reply)["code"] == "invalid_argument", (status, reply)
    with connection() as junk:
        junk.sendall(b"\x16\x03\x01 junk\r\n\r\n" * 100)
        junk.recv(65536)
    assert call("DELETE", f"/sandboxes/{sandbox[0]}")[0] == 204


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def case_never_read():
    """A client that never reads holds up its own process, and costs a bounded amount of memory."""
    gateway = int(sys.argv[4])
    sandbox = create()
    body = envelope(start(["-c", "yes"]))
    before = resident_kib(gateway)
    stuck = []
    for _ in range(4):
        stuck.append(connection())
        stuck[-1].sendall(head(sandbox, "/process.Process/Start", [f"Content-Length: {len(body)}"]) + body)
    while len(rpc(sandbox, "/process.Process/List", {})[1]["processes"]) < 4:
        time.sleep(0.1)
    for _ in range(10):
        assert rpc(sandbox, "/process.Process/List", {})[0] == 200
        time.sleep(0.1)
    grown = resident_kib(gateway) - before
    assert grown < 16384, f"{grown} KiB"
    for one in stuck:  # who hangs up does not end its process
        one.close()
    assert len(rpc(sandbox, "/process.Process/List", {})[1]["processes"]) == 4
    text = base64.b64encode(b"x" * 1000).decode()
    status, reply = rpc(sandbox, "/process.Process/SendInput", {"process": {"pid": 1}, "input": {"stdin": text}})
    assert reply.get("code") == "failed_precondition", (status, reply)
    assert call("DELETE", f"/sandboxes/{sandbox[0]}")[0] == 204


def case_crowd():
    """However many connections an address has without a word, others are served."""
    crowd = []
    for _ in range(600):
        crowd.append(socket.socket())
        crowd[-1].bind(("127.0.0.7", 0))
        crowd[-1].connect(("127.0.0.1", PORT))
    for _ in range(5):
        assert call("GET", "/v2/sandboxes") == (200, b"[]")
    for one in crowd:
        one.close()


def case_strangers():
    """Who has no key is closed in time, whatever it drips; who has one and is slow is not."""
    sandbox = create()
    stranger, known = connection(), connection()
    known.sendall(head(sandbox, "/process.Process/List", ["Content-Length: 2"], "json") + b"{}")
    assert known.recv(65536)
    began = time.monotonic()
    while True:
        try:
            stranger.sendall(b"G" if time.monotonic() - began < 1 else b"E")
            known.sendall(b"\r\n" if time.monotonic() - began < 1 else b"")
            stranger.settimeout(1)
            if not stranger.recv(100):
                break
        except socket.timeout:
            assert time.monotonic() - began < 200, "it is still there"
        except OSError:
            break
    assert time.monotonic() - began > 15
    known.sendall(head(sandbox, "/process.Process/List", ["Content-Length: 2"], "json") + b"{}")
    assert known.recv(65536)
    assert call("DELETE", f"/sandboxes/{sandbox[0]}")[0] == 204


def case_abandoned():
    """Sandboxes that nobody asks for again, as many as are asked for."""
    for _ in range(int(sys.argv[4])):
        create(int(sys.argv[5]))


if __name__ == "__main__":
    os.environ["no_proxy"] = "*"
    globals()[f"case_{CASE}"]()
