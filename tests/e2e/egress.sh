# SPDX-License-Identifier: Apache-2.0
# Goal: from inside a guest, on each kind of network, TCP, UDP and pings reach what the pool's policy
# lets them and nothing else: not the host's loopback, not link-local addresses, none of the host's own
# addresses, one added while the VM runs neither, no denied network and port; nor do fragments, IPv6,
# tags, ARP for others or another's source get anywhere; what was dropped is told. What is allowed is
# reached, in the same way, so that none of this can hold for want of a network.
# Method: everything in a network namespace of this test's own, which stands for the host, with another
# one that stands for the world. Guests send frames made by hand (net_probe.c).
# shellcheck shell=bash source=tests/e2e/lib.sh
if [ -z "${EGRESS_INSIDE:-}" ]; then
    if ! reason=$(unshare -nm true 2>&1); then
        echo "ok 1 - egress # SKIP no network namespace: $reason"
        echo 1..1
        exit 0
    fi
    EGRESS_INSIDE=1 exec unshare -nm bash "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"

# ---- The world: 192.0.2.1, the host's gateway, with metadata and three more addresses ----
ip link set lo up
world_pid=
in_world()
{
    nsenter --net="/proc/$world_pid/ns/net" "$@"
}
unshare -n sleep infinity &
world_pid=$!
until_true 10 bash -c "[ \"\$(readlink /proc/$world_pid/ns/net)\" != \"\$(readlink /proc/$$/ns/net)\" ]"
ip link add up0 type veth peer name up1
ip link add lan0 type veth peer name lan1
ip link set up1 netns "/proc/$world_pid/ns/net"
ip link set lan1 netns "/proc/$world_pid/ns/net"
ip addr add 192.0.2.10/24 dev up0
ip link set up0 up
ip link set lan0 up
ip route add default via 192.0.2.1 dev up0
in_world ip link set lo up
in_world ip addr add 192.0.2.1/24 dev up1
in_world ip addr add 203.0.113.1/24 dev lan1 # the macvtaps' network
for address in 169.254.169.254 198.51.100.1 198.51.100.2 198.51.100.3; do
    in_world ip addr add $address/32 dev lo
done
in_world ip link set up1 up
in_world ip link set lan1 up
in_world ip route add 10.0.0.0/8 via 192.0.2.10
in_world bash -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter'
echo 1 >/proc/sys/net/ipv4/ip_forward
# passt may ping then.
echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range
# What would make it easy: the host takes loopback addresses from its links, too.
echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet

# The host's resolver is on its loopback, as systemd has it.
[ -e /etc/resolv.conf ] || touch /etc/resolv.conf
echo 'nameserver 127.0.0.53' >"$work/resolv.conf"
mount --bind "$work/resolv.conf" /etc/resolv.conf

# serve.py PORT...: on every address, TCP and UDP, whatever is said
cat >"$work/serve.py" <<'PYTHON'
import selectors, socket, sys
selector = selectors.DefaultSelector()
for port in map(int, sys.argv[1:]):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        s = socket.socket(socket.AF_INET, kind)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO: answers come from where they were asked
        s.bind(("0.0.0.0", port))
        if kind == socket.SOCK_STREAM:
            s.listen(64)
        selector.register(s, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        s = key.fileobj
        if s.type == socket.SOCK_STREAM:
            s.accept()[0].close()
        else:
            data, told, _, sender = s.recvmsg(100, 200)
            s.sendmsg([data], [(level, kind, bytes(4) + value[4:8] + bytes(4))
                               for level, kind, value in told], 0, sender)
PYTHON
python3 "$work/serve.py" 7000 7001 53 </dev/null >/dev/null 2>&1 &
in_world python3 "$work/serve.py" 7000 7001 </dev/null >/dev/null 2>&1 &

poold_start || exit 1

lease=
gateway=
lease_of()
{
    lease=
    "$voltctl" acquire --wait "$(patient 60)s" --json "$@" >"$work/lease.json" &&
        lease=$(json lease <"$work/lease.json") && gateway=$(json network.gateway <"$work/lease.json") &&
        "$voltctl" cp "$VOLT_BUILD/tests/e2e/net_probe" "$lease:/bin/net_probe"
}
# How long an answer is waited for that is to come; and one that is not: each of those frames is also
# seen to be dropped, so that nothing is to be waited for.
loud=$(patient 12)000
quiet=300
probe()
{
    local wait_ms=$1
    shift
    "$voltctl" exec "$lease" --timeout "$(patient 300)s" -- net_probe eth0 "$gateway" "$wait_ms" "$@"
}
# all_are answered|silent SPEC...
all_are()
{
    local wanted=$1 wait_ms=$quiet
    shift
    [ "$wanted" = silent ] || wait_ms=$loud
    prints "$(printf "%s $wanted\n" "$@")" probe "$wait_ms" "$@"
}
# of ADDRESS...: what it takes to try each of them in each way
each_way()
{
    local address
    for address; do
        echo "tcp:$address:7000" "udp:$address:7000" "icmp:$address:0"
    done
}
# dropped REASON: how many frames of the lease's VM
dropped()
{
    "$voltctl" ps --json | python3 -c '
import json, sys
for lease in json.load(sys.stdin)["leases"]:
    if lease["lease"] == sys.argv[1]:
        print(lease["network"]["dropped"][sys.argv[2]])' "$lease" "$1"
}
at_least()
{
    local got
    got=$(dropped "$1")
    [ "$got" -ge "$2" ] || { echo "$got dropped as $1, not $2"; "$voltctl" ps --json; return 1; }
}
# drops_as REASON SPEC...: nobody answers, and each is counted so
drops_as()
{
    local reason=$1 before
    shift
    before=$(dropped "$reason")
    all_are silent "$@" && until_true 10 at_least "$reason" $((before + $#))
}
own='192.0.2.10 10.80.0.1' # the host's addresses
held='127.0.0.1 127.1.2.3 0.0.0.0 169.254.169.254'
policy='--net-deny 198.51.100.2,198.51.100.3 --net-allow 198.51.100.3:7001'
ip link add br0 type bridge
ip addr add 10.80.0.1/16 dev br0
ip link set br0 up

# the_policy_holds KIND: what is the same for each kind of network
the_policy_holds()
{
    local kind=$1
    # shellcheck disable=SC2046,SC2086 # several words each
    {
        check "$kind: the world is reached" all_are answered $(each_way 198.51.100.1)
        check "$kind: loopback, link-local and 0.0.0.0 are not" drops_as denied $(each_way $held)
        check "$kind: nor is the host by any address" drops_as denied $(each_way $own)
        ip addr add 192.0.2.77/24 dev up0
        until_true 10 drops_as denied tcp:192.0.2.77:7000
        check "$kind: nor by one that was added since" drops_as denied $(each_way 192.0.2.77)
        ip addr del 192.0.2.77/24 dev up0
        check "$kind: nor a denied address" drops_as denied $(each_way 198.51.100.2)
        check "$kind: nor another port than the allowed one" drops_as denied $(each_way 198.51.100.3)
        check "$kind: which is reached" all_are answered tcp:198.51.100.3:7001 udp:198.51.100.3:7001
        check "$kind: multicast and broadcast go nowhere" drops_as denied udp:224.0.0.251:7000 \
            udp:255.255.255.255:7000
        check "$kind: IPv6 and tagged frames go nowhere" drops_as not_ipv4 ipv6:198.51.100.1:7000 \
            tcp:198.51.100.1:7000:tagged
        check "$kind: nor does what says it is another's, or a DHCP server" drops_as spoofed \
            udp:198.51.100.1:68:own=67 udp:198.51.100.1:7000:from=192.0.2.10 tcp:198.51.100.1:7000:mac arp:$gateway:0:mac \
            arp:198.51.100.9:0:from=198.51.100.8
    }
    check "$kind: the lease tells what was denied last" prints '198.51.100.3 0 1' last_denied
}
last_denied()
{
    probe "$quiet" icmp:198.51.100.3:0 >/dev/null
    "$voltctl" ps --json | python3 -c '
import json, sys
told = [l for l in json.load(sys.stdin)["leases"] if l["lease"] == sys.argv[1]][0]["network"]["last_denied"]
print(told["address"], told["port"], told["protocol"])' "$lease"
}
create()
{
    # shellcheck disable=SC2086 # several options each
    "$voltctl" pool create "$@" --min 0 --max 4 ${E2E_POOL_OPTIONS:-}
}
# denied_of POOL: as metrics tell it
denied_of()
{
    curl -sS --unix-socket "$VOLT_RUN_DIR/poold.sock" http://poold/metrics |
        sed -n "s/^volt_net_dropped_frames_total{pool=\"$1\",reason=\"denied\"} //p"
}

check 'a rule that is none is refused' fails_saying 125 "'net_deny': 'wan': expected" \
    create none --net user --net-deny wan
check 'rules without a network are refused' fails_saying 125 "goes with a network" \
    create none --net-deny 10.0.0.0/8

# ---- tap, bridge, macvtap ----
if [ -w /dev/net/tun ] && [ "$(id -u)" = 0 ]; then
    # shellcheck disable=SC2086
    check 'a pool with taps' create taps --net tap --net-address 10.81.0.0/16 $policy
    lease_of taps
    check 'a lease of it' test -n \"$lease\"
    # The way out that docs/network.md tells of.
    netns=$(json network.netns <"$work/lease.json")
    ip link add way0 type veth peer name way1 netns "$netns"
    ip addr add 10.82.0.1/24 dev way0
    ip link set way0 up
    ip route add 10.81.0.0/16 via 10.82.0.2
    nsenter --net="$netns" bash -c 'ip addr add 10.82.0.2/24 dev way1; ip link set way1 up
        ip route add default via 10.82.0.1; echo 1 >/proc/sys/net/ipv4/ip_forward'
    own+=' 10.82.0.1'
    the_policy_holds tap
    check 'tap: datagrams in fragments arrive where they may' all_are answered fragments:198.51.100.1:7000
    check 'tap: not elsewhere' drops_as denied fragments:192.0.2.10:7000
    check 'tap: the gateway itself is the operator'"'"'s namespace' all_are answered "icmp:$gateway:0"
    own=${own% *}
    ip link del way0
    "$voltctl" release --all >/dev/null
    "$voltctl" pool delete taps --force

    # shellcheck disable=SC2086
    check 'a pool on a bridge' create bridged --net bridge=br0 --net-address 10.80.0.0/16 $policy
    check 'bridge: another pool of the same addresses is refused' \
        fails_saying 125 "has addresses of pool 'bridged'" create more --net bridge=br0 \
        --net-address 10.80.128.0/24
    lease_of bridged
    check 'a lease of it' test -n \"$lease\"
    the_policy_holds bridge
    check 'bridge: datagrams in fragments arrive where they may' \
        all_are answered fragments:198.51.100.1:7000
    check 'bridge: not elsewhere' drops_as denied fragments:192.0.2.10:7000
    host_is_answered()
    {
        until_true 10 ping -c 1 -W 2 "$(json network.address <"$work/lease.json" | cut -d/ -f1)"
    }
    check 'bridge: the host, which is not reached, is answered' host_is_answered
    "$voltctl" release --all >/dev/null
    "$voltctl" pool delete bridged --force

    # shellcheck disable=SC2086
    if reason=$(create macvtaps --net macvtap=lan0 --net-address 203.0.113.0/24 $policy 2>&1); then
        lease_of macvtaps
        check 'a lease of a pool of macvtaps' test -n "$lease"
        the_policy_holds macvtap
        check 'macvtap: datagrams in fragments arrive where they may' \
            all_are answered fragments:198.51.100.1:7000
        "$voltctl" release --all >/dev/null
        "$voltctl" pool delete macvtaps --force
    else
        skip 'macvtaps' "none can be made here: $reason"
    fi

    # Without the check of sources, and with what every pool denies allowed.
    check 'a pool on a bridge where all of that is asked for' create asked --net bridge=br0 \
        --net-address 10.80.0.0/16 --net-allow host,169.254.0.0/16 --net-any-source
    lease_of asked
    check 'a lease of it' test -n \"$lease\"
    # shellcheck disable=SC2046,SC2086
    check 'asked: the host and metadata are reached' all_are answered $(each_way $own 169.254.169.254)
    check 'asked: so is who answers another MAC' all_are answered "arp:$gateway:0:mac"
    check 'asked: loopback is not, which was not' drops_as denied tcp:127.0.0.1:7000
    "$voltctl" release --all >/dev/null
    "$voltctl" pool delete asked --force
else
    skip 'taps' 'this needs root and /dev/net/tun'
fi

# ---- user ----
if [ -x /usr/bin/passt ]; then
    # shellcheck disable=SC2086
    check 'a pool with passt' create users --net user $policy
    lease_of users
    check 'a lease of it' test -n \"$lease\"
    the_policy_holds user
    # Debian 12's passt would take each fragment for a whole packet.
    check 'user: fragments go nowhere' drops_as malformed fragments:198.51.100.1:7000 \
        fragments:127.0.0.1:7000
    check 'user: UDP to port 53 of the gateway leads to the host'"'"'s resolver, on its loopback' \
        all_are answered "udp:$gateway:53"
    # Of two sockets with one port the last one gets what comes, and passt asks for the port that its
    # guest sends from: it is not for the guest to choose whose datagrams it gets.
    answers_itself()
    {
        prints mine in_world python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(60)
s.sendto(b"mine", ("192.0.2.10", 7000))
print(s.recv(10).decode())'
    }
    check 'user: a guest may send from a port that the host has' \
        all_are answered udp:198.51.100.1:7000:own=7000 udp:198.51.100.1:7001:own=1023
    check 'user: which stays the host'"'"'s' answers_itself
    check 'metrics count what is dropped' test "$(denied_of users)" -gt 20
    "$voltctl" release --all >/dev/null
    check 'and what was, of VMs that are gone' test "$(denied_of users)" -gt 20
    "$voltctl" pool delete users --force

    check 'a pool with passt where loopback is asked for' create open --net user \
        --net-allow 127.0.0.0/8,host:7000
    lease_of open
    check 'a lease of it' test -n \"$lease\"
    check 'open: loopback is reached' all_are answered tcp:127.0.0.1:7000 udp:127.0.0.1:7000
    check 'open: the host is, by that port' all_are answered tcp:192.0.2.10:7000 udp:192.0.2.10:7000
    check 'open: not by another' drops_as denied tcp:192.0.2.10:7001
    "$voltctl" release --all >/dev/null
else
    skip 'passt' 'the package passt is not installed'
fi
kill $world_pid
