# SPDX-License-Identifier: Apache-2.0
# Goal: a VM reaches the host and the host reaches it, over a tap and over passt; clones of one
# snapshot have each their own MAC and address; ports are published; nothing is left behind.
# Method: everything in a network namespace of this test's own, which stands for the host, with one
# veth that has an address and the default route.
# shellcheck shell=bash source=tests/e2e/lib.sh
if [ -z "${NETWORK_INSIDE:-}" ]; then
    if ! reason=$(unshare -n true 2>&1); then
        echo "ok 1 - networks # SKIP no network namespace: $reason"
        echo 1..1
        exit 0
    fi
    NETWORK_INSIDE=1 exec unshare -n bash "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"

host=192.0.2.10
ip link set lo up
ip link add up0 type veth peer name up1
ip addr add $host/24 dev up0
ip link set up0 up
ip link set up1 up
ip route add default via 192.0.2.1 dev up0
links_before=$(ip -o link | cut -d: -f2 | sort)

# server: answers "hello " and what it was sent, on port 7000
server='
import socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 7000))
s.listen(8)
while True:
    c, _ = s.accept()
    c.sendall(b"hello " + c.recv(100))
    c.close()'
# fetch ADDRESS PORT: the first line that a server sends; tries for a while
fetch='
import socket, sys, time
for _ in range(60):
    try:
        c = socket.create_connection((sys.argv[1], int(sys.argv[2])), 30)
        c.sendall(b"please\n")  # with passt of Debian 12 the guest hears of it then
        data = c.makefile().readline().strip()
        if data:
            print(data)
            sys.exit(0)
    except OSError:
        pass
    time.sleep(0.5)
sys.exit("no answer")'


poold_start || exit 1
python3 -c "$server" </dev/null >/dev/null 2>&1 &
server_pid=$!

create()
{
    "$voltctl" pool create "$@" --min 0 --max 4
}
lease_of()
{
    "$voltctl" acquire --wait 60s --json "$@" >"$work/lease.json" || return 1
    json lease <"$work/lease.json"
}
eth0()
{
    "$voltctl" exec "$1" -- ip addr show eth0
}
# what the guest has is what poold said
eth0_is_as_told()
{
    local shown
    shown=$(eth0 "$(json lease <"$1")") || return 1
    [[ $shown == *"$(json network.mac <"$1")"* && $shown == *"$(json network.address <"$1")"* ]] ||
        { echo "$shown"; cat "$1"; return 1; }
}
guest_reaches()
{
    local id=$1 address=$2
    prints "hello guest" "$voltctl" exec "$id" --timeout 60s -- \
        sh -c "echo guest | nc -w 30 $address 7000"
}
guest_serves()
{
    "$voltctl" exec "$1" -- sh -c 'echo from-the-guest | nc -l -p 80 >/dev/null 2>&1 &'
}

check "a network that does not exist is refused" \
    fails_saying 125 "'net' is none, user or tap" create nowhere --net wan
check "a network that is too small is refused" \
    fails_saying 125 "addresses for VMs" "$voltctl" pool create small --net tap \
    --net-address 10.9.0.0/29 --min 0 --max 64

# ---- tap ----
if [ -w /dev/net/tun ] && [ "$(id -u)" = 0 ]; then
    check "a pool with taps" create taps --net tap --balloon
    one=$(lease_of taps) && cp "$work/lease.json" "$work/one.json"
    two=$(lease_of taps) && cp "$work/lease.json" "$work/two.json"
    check "tap: the first clone has its own MAC and address" eth0_is_as_told "$work/one.json"
    check "tap: so has the second" eth0_is_as_told "$work/two.json"
    differ()
    {
        [ "$(json network.mac <"$work/one.json")" != "$(json network.mac <"$work/two.json")" ] &&
            [ "$(json network.address <"$work/one.json")" != \
                "$(json network.address <"$work/two.json")" ]
    }
    check "tap: they differ" differ
    netns=$(json network.netns <"$work/one.json")
    gateway=$(json network.gateway <"$work/one.json")
    address=$(json network.address <"$work/one.json")
    nsenter --net="$netns" python3 -c "$server" </dev/null >/dev/null 2>&1 &
    inside_pid=$!
    check "tap: the guest reaches a server in its namespace" guest_reaches "$one" "$gateway"
    check "tap: a server in the guest is started" guest_serves "$one"
    check "tap: and is reached from its namespace" prints from-the-guest \
        nsenter --net="$netns" python3 -c "$fetch" "${address%/*}" 80
    check "tap: the host's links are as before" prints "$links_before" \
        bash -c 'ip -o link | cut -d: -f2 | sort'
    kill $inside_pid
    "$voltctl" release --all >/dev/null
    check "tap: the pool is deleted" "$voltctl" pool delete taps --force
else
    skip "taps" "this needs root and /dev/net/tun"
fi

# ---- user ----
if [ -x /usr/bin/passt ]; then
    check "a pool with passt" create users --net user --net-bandwidth 10M
    one=$(lease_of users --publish 8080:80) && cp "$work/lease.json" "$work/one.json"
    check "user: the clone has its own MAC and address" eth0_is_as_told "$work/one.json"
    check "user: the guest reaches a server of the host" guest_reaches "$one" $host
    check "user: a server in the guest is started" guest_serves "$one"
    check "user: and is reached through the published port" prints from-the-guest \
        python3 -c "$fetch" $host 8080
    check "user: a port that is busy is refused" \
        fails_saying 125 "port 7000 of the host" "$voltctl" acquire users --publish 7000:80
    check "user: what is no port is refused" \
        fails_saying 125 "HOST:GUEST" "$voltctl" acquire users --publish eighty
    "$voltctl" release --all >/dev/null
    no_passt()
    {
        ! pgrep -f "passt .*--fd 3" --ns $$ --nslist net
    }
    check "user: no passt process is left" until_true 10 no_passt
else
    skip "passt" "the package passt is not installed"
fi
kill $server_pid
poold_stop
check "the host's links are as before" prints "$links_before" \
    bash -c 'ip -o link | cut -d: -f2 | sort'
