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
import socketserver
class Server(socketserver.ThreadingTCPServer):  # one client that hangs does not stop the others
    allow_reuse_address = daemon_threads = True
class Hello(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"hello " + self.request.recv(100))
Server(("0.0.0.0", 7000), Hello).serve_forever()'
# fetch ADDRESS PORT: the first line that a server sends; tries for a while
fetch='
import socket, sys, time
for _ in range(240):
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

links_are_as_before()
{
    prints "$links_before" bash -c 'ip -o link | cut -d: -f2 | sort'
}
create()
{
    "$voltctl" pool create "$@" --min 0 --max 4
}
lease_of()
{
    "$voltctl" acquire --wait "$(patient 60)s" --json "$@" >"$work/lease.json" || return 1
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
    # The server may still be starting. Its answer counts, not its goodbye: when the guest has closed
    # its side first, passt of Debian 12 may never pass on that the server closed its own.
    prints "hello guest" "$voltctl" exec "$id" --timeout "$(patient 300)s" -- sh -c "
        for i in \$(seq 60); do
            answer=\$(echo guest | timeout $(patient 2) nc -w 30 $address 7000)
            [ -z \"\$answer\" ] || { echo \"\$answer\"; exit; }
            sleep 1
        done
        exit 1"
}
guest_serves()
{
    "$voltctl" exec "$1" -- sh -c 'echo from-the-guest | nc -l -p 80 >/dev/null 2>&1 &'
}

check "a network that does not exist is refused" \
    fails_saying 125 "'net' is none, user, tap, bridge=LINK or macvtap=LINK" \
    create nowhere --net wan
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
    check "tap: the host's links are as before" until_true 20 links_are_as_before
    check "tap: vhost-net serves it where there is one" [ "$(json network.vhost <"$work/one.json")" = \
        "$([ -e /dev/vhost-net ] && echo true || echo false)" ]
    kill $inside_pid
    "$voltctl" release --all >/dev/null
    check "tap: the pool is deleted" "$voltctl" pool delete taps --force

    # ---- tap, vhost-net ----
    check "vhost: what is no choice is refused" \
        fails_saying 125 "'net_vhost' is auto, on or off" create vhosts --net tap --net-vhost yes
    check "vhost: it does not go with limits" \
        fails_saying 125 "knows no limits" create vhosts --net tap --net-vhost on --net-pps 100
    check "vhost: nor with passt" fails_saying 125 "'net_vhost' on is for 'net' tap" \
        create vhosts --net user --net-vhost on
    if [ -e /dev/vhost-net ]; then
        skip "vhost: asked for where there is none" "this machine has it; tests/hwkvm/vhost.sh"
    else
        check "vhost: asked for where there is none" \
            fails_saying 125 "needs /dev/vhost-net" create vhosts --net tap --net-vhost on
    fi

    # ---- bridge ----
    check "bridge: one that is not there is refused" \
        fails_saying 125 "there is no link 'nothing'" create bridged --net bridge=nothing
    check "bridge: a link that is none is refused" \
        fails_saying 125 "the link 'up0' is no bridge" create bridged --net bridge=up0
    if reason=$(ip link add br0 type bridge 2>&1); then
        ip addr add 10.87.0.1/16 dev br0
        ip link set br0 up
        check "a pool on a bridge" create bridged --net bridge=br0 --net-address 10.87.0.0/16 \
            --net-allow 10.87.0.1:7000
        one=$(lease_of bridged) && cp "$work/lease.json" "$work/one.json"
        two=$(lease_of bridged) && cp "$work/lease.json" "$work/two.json"
        check "bridge: the first clone has its own MAC and address" eth0_is_as_told "$work/one.json"
        check "bridge: so has the second" eth0_is_as_told "$work/two.json"
        ports()
        {
            ip -o link show master br0 | cut -d: -f2 | tr -d ' ' | sort
        }
        both_are_ports()
        {
            local file
            for file in one two; do
                ports | grep -x "$(json network.link <"$work/$file.json")" ||
                    { ports; cat "$work/$file.json"; return 1; }
            done
        }
        check "bridge: each has a tap on it" both_are_ports
        check "bridge: the guest reaches a server of the host" guest_reaches "$one" 10.87.0.1
        check "bridge: a server in the guest is started" guest_serves "$one"
        address=$(json network.address <"$work/one.json")
        # The other clone is on the same network.
        check "bridge: and is reached from the other clone" prints there \
            "$voltctl" exec "$two" --timeout "$(patient 300)s" -- sh -c "
                for i in \$(seq 60); do
                    echo x | nc -w 30 ${address%/*} 80 >/dev/null && echo there && exit; sleep 1
                done; exit 1"
        no_ports()
        {
            [ -z "$(ports)" ]
        }
        "$voltctl" release "$one" >/dev/null
        released_is_gone()
        {
            ! ports | grep -x "$(json network.link <"$work/one.json")"
        }
        check "bridge: a tap ends with its VM" until_true 20 released_is_gone
        poold_kill
        check "bridge: and with a poold that is killed" until_true 20 no_ports
        poold_start || exit 1
        "$voltctl" pool delete bridged --force >/dev/null
        ip link del br0
        check "bridge: the host's links are as before" until_true 20 links_are_as_before
    else
        skip "bridges" "none can be made here: $reason"
    fi

    # ---- macvtap ----
    check "macvtap: a link that is not there is refused" \
        fails_saying 125 "there is no link 'nothing'" create macvtaps --net macvtap=nothing
    # up1, the other end of the host's link, is the network.
    macvtaps_can_be()
    {
        local index
        reason=$(ip link add link up1 name probe type macvtap mode bridge 2>&1) || return 1
        index=$(ip -o link show probe | cut -d: -f1)
        [ -w "/dev/tap$index" ] || reason="/dev/tap$index does not come into being"
        ip link del probe
        [ -z "$reason" ]
    }
    # Only a link without any can join a bridge.
    up1_is_free()
    {
        ip link set up1 master br1 && ip link set up1 nomaster
    }
    if macvtaps_can_be && reason=$(ip link add br1 type bridge 2>&1); then
        check "a pool of macvtaps" create macvtaps --net macvtap=up1 --net-address 192.0.2.0/24 \
            --net-allow host:7000
        one=$(lease_of macvtaps) && cp "$work/lease.json" "$work/one.json"
        check "macvtap: a clone has its own MAC and address" eth0_is_as_told "$work/one.json"
        check "macvtap: the guest reaches a server of the network" guest_reaches "$one" $host
        check "macvtap: a server in the guest is started" guest_serves "$one"
        address=$(json network.address <"$work/one.json")
        check "macvtap: and is reached from the network" prints from-the-guest \
            python3 -c "$fetch" "${address%/*}" 80
        "$voltctl" release "$one" >/dev/null
        check "macvtap: it ends with its VM" until_true 20 up1_is_free
        one=$(lease_of macvtaps)
        check "macvtap: there is one again" fails_saying 2 "" up1_is_free
        poold_kill
        check "macvtap: and it ends with a poold that is killed" until_true 20 up1_is_free
        poold_start || exit 1
        "$voltctl" pool delete macvtaps --force >/dev/null
    else
        skip "macvtaps" "none can be made here: $reason"
    fi
    ip link del br1 2>/dev/null
else
    skip "taps" "this needs root and /dev/net/tun"
fi

# ---- user ----
if [ -x /usr/bin/passt ]; then
    check "a pool with passt" create users --net user --net-bandwidth 10M --net-allow $host:7000
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
    check "user: a UDP port that is busy is refused" \
        fails_saying 125 "UDP port 7001 of the host" python3 -c '
import socket, subprocess, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 7001))
sys.exit(subprocess.call(sys.argv[1:]))' "$voltctl" acquire users --publish 7001:53/udp
    # Six ask for one port at the same time: one gets it.
    one_of_six()
    {
        local i pids=() got=0 busy=0 status
        for i in 1 2 3 4 5 6; do
            "$voltctl" acquire users --wait "$(patient 60)s" --publish 8090:80 >"$work/six.$i" 2>&1 &
            pids+=($!)
        done
        for i in 1 2 3 4 5 6; do
            wait "${pids[i - 1]}"
            status=$?
            [ $status != 0 ] || { got=$((got + 1)); six=$(cat "$work/six.$i"); }
            ! grep -q port_busy "$work/six.$i" || busy=$((busy + 1))
        done
        [ "$got $busy" = '1 5' ] || { echo "$got leases, $busy times port_busy"; cat "$work"/six.*; return 1; }
        "$voltctl" release "$six"
    }
    check "user: a port that six ask for at once is given to one" one_of_six
    three=$("$voltctl" acquire users --wait "$(patient 60)s" --publish 127.0.0.1:8091:80)
    check "user: a server in a guest is started" guest_serves "$three"
    check "user: and is reached through an address of the host's" prints from-the-guest \
        python3 -c "$fetch" 127.0.0.1 8091
    check "user: by no other" fails_saying 1 "Connection refused" \
        python3 -c 'import socket; socket.create_connection(("192.0.2.10", 8091))'
    # passt and the gate of a lease, of which this one publishes
    passt_of()
    {
        pgrep -f "passt .* -t $1" --ns $$ --nslist net
    }
    kill -9 "$(passt_of 127.0.0.1/8091:80)"
    restarted()
    {
        "$voltctl" ps --json | python3 -c '
import json, sys
told = [l for l in json.load(sys.stdin)["leases"] if l["lease"].startswith(sys.argv[1])][0]["network"]["passt"]
sys.exit(told != {"running": True, "restarts": 1})' "$three"
    }
    check "user: a passt that dies is started again, and the lease says so" until_true 20 restarted
    metrics_count_it()
    {
        curl -sS --unix-socket "$VOLT_RUN_DIR/poold.sock" http://poold/metrics |
            grep -x 'volt_passt_restarts_total 1'
    }
    check "user: so do metrics" metrics_count_it
    check "user: what is published is served again" guest_serves "$three"
    check "user: and reached" prints from-the-guest python3 -c "$fetch" 127.0.0.1 8091
    check "user: the guest reaches a server of the host again" guest_reaches "$three" $host
    gates_of_lease()
    {
        local uid
        uid=$(awk '/^Uid/ { print $2 }' "/proc/$(passt_of 127.0.0.1/8091:80)/status")
        pgrep -f "volt-gate pass" -u "$uid" --ns $$ --nslist net
    }
    no_lease()
    {
        ! "$voltctl" ps --json | grep -q "$three"
    }
    if [ "$(id -u)" = 0 ]; then # else all gates have one uid
        kill -9 "$(gates_of_lease)"
        check "user: a gate that dies takes its lease with it" until_true 20 no_lease
        check "user: and the log says why" grep -q 'network_lost: its network.s gate ended: signal 9' "$log"
    fi
    # No program of the guest serves UDP: its kernel counts what comes to a port that nobody has.
    udp_arrives()
    {
        local client status=0
        python3 -c '
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try:
        s.sendto(b"x", (sys.argv[1], 7002))
    except OSError:
        pass
    time.sleep(0.1)' $host &
        client=$!
        prints came "$voltctl" run users --wait "$(patient 60)s" --publish 7002:53/udp --timeout "$(patient 40)s" -- sh -c '
            until awk "/^Udp: [0-9]/ { exit !(\$3 > 0) }" /proc/net/snmp; do sleep 0.2; done
            echo came' || status=1
        kill $client
        return $status
    }
    check "user: a datagram to a published UDP port arrives, with run" udp_arrives
    "$voltctl" release --all >/dev/null
    no_passt()
    {
        ! pgrep -f "passt .*--fd 3|volt-gate" --ns $$ --nslist net
    }
    check "user: no passt process is left" until_true 10 no_passt
else
    skip "passt" "the package passt is not installed"
fi
kill $server_pid
poold_stop

# ---- Links by name, without a daemon ----
vmm=$VOLT_BUILD/vmm-core/volt-vmm/volt-vmm
# with_vm TEXT COMMAND...: a restored VM with that --net, and the command once it is ready
with_vm()
{
    local net=$1 status=0
    shift
    rm -f "$work/vm.log" # what the last one said is not this one's
    timeout "$(patient 60)" "$vmm" --restore "$work/snapshots/nets" --net "$net" \
        --api-socket "$work/vm.sock" </dev/null >"$work/vm.log" 2>&1 &
    until_true 20 grep -q 'ready after' "$work/vm.log" || { cat "$work/vm.log"; return 1; }
    "$@" || { status=1; cat "$work/vm.log"; }
    curl -sS --unix-socket "$work/vm.sock" -X PUT http://vm/shutdown
    wait $!
    return $status
}
restore()
{
    timeout "$(patient 60)" "$vmm" --restore "$work/snapshots/nets" "$@"
}
reaches()
{
    until_true 20 ping -c 1 -W 1 "$1"
}
if [ -w /dev/net/tun ] && [ "$(id -u)" = 0 ] && [ "$VOLT_KERNEL" != auto ]; then
    ip tuntap add vmtap mode tap
    ip addr add 10.99.0.1/24 dev vmtap
    ip link set vmtap up
    mkdir "$work/snapshots"
    check "links: a snapshot of a VM with a network" timeout "$(patient 120)" "$vmm" \
        --kernel "$VOLT_KERNEL" --initrd "$VOLT_BUILD/guest-init/initramfs.cpio" --net tap \
        --snapshot-to "$work/snapshots/nets"
    check "links: a VM on a given tap is reached" \
        with_vm tap=vmtap,address=10.99.0.2/24,gateway=10.99.0.1 reaches 10.99.0.2
    check "links: one that is not there is told" \
        fails_saying 70 "there is no link 'nothing'" restore --net tap=nothing
    check "links: one that is no tap is told" \
        fails_saying 70 "is no tap" restore --net tap=up0
    check "links: one that is no macvtap is told" \
        fails_saying 70 "is no macvtap" restore --net macvtap=up0
    check "links: another kind is told" \
        fails_saying 64 "expected tap, user" restore --net bridge=up0
    tap_is_busy()
    {
        fails_saying 70 "another program has the tap 'vmtap'" restore --net tap=vmtap
    }
    check "links: a tap that a VM has is refused" \
        with_vm tap=vmtap,address=10.99.0.2/24,gateway=10.99.0.1 tap_is_busy
    if [ -e /dev/vhost-net ]; then
        check "links: vhost-net serves it" \
            with_vm tap=vmtap,vhost,address=10.99.0.2/24,gateway=10.99.0.1 reaches 10.99.0.2
    else
        check "links: vhost-net that is not there is told" \
            fails_saying 70 "'vhost' needs /dev/vhost-net" restore --net tap=vmtap,vhost
    fi
    check "links: vhost-net and limits are told" \
        fails_saying 64 "'vhost' knows no limits" restore --net tap=vmtap,vhost,pps=10
    ip link del vmtap
    # A macvtap on the other end of the host's veth.
    if ip link add link up1 name vmmac type macvtap mode bridge 2>/dev/null &&
        ip link set vmmac up && node=/dev/tap$(cat "/sys/class/net/vmmac/ifindex" 2>/dev/null ||
            ip -o link show vmmac | cut -d: -f1) && [ -w "$node" ]; then
        check "links: a VM on a macvtap is reached" \
            with_vm macvtap=vmmac,address=192.0.2.77/24 reaches 192.0.2.77
        check "links: a macvtap has its own MAC" fails_saying 70 "has a MAC already" \
            restore --net macvtap=vmmac,mac=02:00:00:00:00:01
    else
        skip "links: a VM on a macvtap" "no macvtap can be made here, or it has no node in /dev"
    fi
    ip link del vmmac 2>/dev/null
else
    skip "links by name" "this needs root, /dev/net/tun and a kernel by its path"
fi
check "the host's links are as before" until_true 20 links_are_as_before
