# SPDX-License-Identifier: Apache-2.0
# Goal: 20 clients at once each get VMs of their own, and rude ones harm nobody.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
poold_with_pool

# Each client writes its number into its VM and must find it, and it alone, there.
client()
{
    local n=$1 id
    for _ in 1 2; do
        id=$("$voltctl" acquire --wait "$(patient 60)s") || return 1
        echo "$id" >>"$work/ids"
        prints "mine is $n" guest "$id" -- sh -c "test ! -e /tmp/mine && echo $n >/tmp/mine && echo mine is \$(cat /tmp/mine)" || return 1
        "$voltctl" release "$id" || return 1
    done
}
twenty_clients()
{
    local i pids=() bad=0
    for i in {1..20}; do
        client "$i" &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i" || bad=$((bad + 1)); done
    [ $bad = 0 ] || { echo "$bad clients failed"; return 1; }
}
check '20 clients at once, two VMs each' twenty_clients
check 'no VM was given out twice' prints 40 bash -c "sort -u '$work/ids' | wc -l"
check 'no lease is left' no_lease

sock=$VOLT_RUN_DIR/poold.sock
request()
{
    curl -s --max-time "$(patient 20)" --unix-socket "$sock" "$@"
}
# status_of WANTED CODE CURL...: the HTTP status and the error's code
status_of()
{
    local wanted=$1 code=$2 got
    shift 2
    got=$(request -o "$work/body" -w '%{http_code}' "$@")
    [ "$got" = "$wanted" ] || { echo "HTTP $got, not $wanted: $(cat "$work/body")"; return 1; }
    [ -z "$code" ] || [ "$(json error.code <"$work/body")" = "$code" ] || { cat "$work/body"; return 1; }
}
u=http://volt
check 'the API by curl' status_of 200 '' $u/v1/status
check 'metrics' bash -c "curl -s --unix-socket '$sock' $u/metrics | grep -q '^volt_.*acquire'"
check 'no such path' status_of 404 not_found $u/v1/nothing
check 'a wrong method' status_of 405 method_not_allowed -X PUT $u/v1/leases
check 'a body that is no JSON' status_of 400 bad_json -d '{' $u/v1/leases
check 'a body that is no object' status_of 400 '' -d '[]' $u/v1/leases
check 'an unknown key' status_of 400 bad_request -d '{"frob": 1}' $u/v1/leases
check 'a key of the wrong type' status_of 400 bad_request -d '{"wait_ms": "x"}' $u/v1/leases
check 'a number out of range' status_of 400 bad_request -d '{"wait_ms": -1}' $u/v1/leases
check 'an unknown pool' status_of 404 no_such_pool -d '{"pool": "nopool"}' $u/v1/leases
check 'an unknown lease' status_of 404 no_such_lease $u/v1/leases/ffffffffffff
head -c 70000 /dev/zero | tr '\0' ' ' >"$work/large"
check 'a body that is too large' status_of 413 too_large --data-binary "@$work/large" $u/v1/leases
check 'a stream without an upgrade' status_of 426 upgrade_required -X POST "$u/v1/leases/$(acquire)/vsock?port=1024"
garbage()
{
    head -c 100000 /dev/urandom | timeout "$(patient 5)" python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
try:
    s.sendall(sys.stdin.buffer.read())
    while s.recv(4096):
        pass
except OSError:
    pass' "$sock"
    poold_answers
}
check 'garbage on the socket' garbage
slow_client()
{
    python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"POST /v1/leases HTTP/1.1\r\nContent-Length: 10\r\n\r\n{")
' "$sock"
    poold_answers
}
check 'a client that leaves in mid-request' slow_client
check 'VMs are still to be had' prints alive "$voltctl" run --wait "$(patient 20)s" -- echo alive
