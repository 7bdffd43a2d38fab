# SPDX-License-Identifier: Apache-2.0
# Goal: vhost-net, which this machine's kernel has, serves the rings of VMs' network cards: both ways,
# of a VM that boots, of many clones of one snapshot, and of clones of a snapshot that was taken while it
# was at work; what it leaves can be gone on with by volt-vmm itself.
# Method: its worker's thread and the VM's open /dev/vhost-net are looked for, so that none of this can
# succeed without it.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
vmm=$VOLT_BUILD/vmm-core/volt-vmm/volt-vmm
check '/dev/vhost-net is there' test -c /dev/vhost-net

# The worker is a kernel thread, or from Linux 6.4 on one of the process: vhost-ID, of the thread that asked.
has_vhost()
{
    local pid=$1 task
    readlink "/proc/$pid"/fd/* | grep -qx /dev/vhost-net || { echo "$pid has no /dev/vhost-net"; return 1; }
    for task in "/proc/$pid"/task/*; do
        ! cat /proc/[0-9]*/comm "/proc/$pid"/task/*/comm 2>/dev/null | grep -x "vhost-${task##*/}" || return 0
    done
    cat /proc/[0-9]*/comm | grep vhost
    echo "none is of $pid"
    return 1
}
has_none()
{
    ! readlink "/proc/$1"/fd/* | grep -x /dev/vhost-net
}

# ---- volt-vmm by itself ----
ip tuntap add vmtap mode tap
ip addr add 10.99.0.1/24 dev vmtap
ip link set vmtap up
mkdir "$work/snapshots"
address=address=10.99.0.2/24,gateway=10.99.0.1
stock=$VOLT_BUILD/guest-init/stock
pings()
{
    # More than once: what stands still after the first answer would not be seen. How long one takes is
    # this machine's business.
    until_true 20 busybox ping -c 1 -W 5 10.99.0.2 && until_true 20 busybox ping -c 3 -W 20 10.99.0.2
}
# The VM's own process: the last in the line of children.
vm_process()
{
    local pid=$1 child
    while child=$(pgrep -P "$pid" | head -n 1) && [ -n "$child" ]; do
        pid=$child
    done
    echo "$pid"
}
# with_vm SNAPSHOT NET COMMAND...: a clone of it, and the command once it is ready, with $vm its process
with_vm()
{
    local snapshot=$1 net=$2 status=0
    shift 2
    rm -f "$work/vm.log" # what the last one said is not this one's
    "$vmm" --restore "$work/snapshots/$snapshot" --net "$net" --api-socket "$work/vm.sock" \
        </dev/null >"$work/vm.log" 2>&1 &
    until_true 30 grep -q 'ready after' "$work/vm.log" || { cat "$work/vm.log"; return 1; }
    vm=$(vm_process $!)
    "$@" || { status=1; cat "$work/vm.log"; }
    curl -sS --unix-socket "$work/vm.sock" -X PUT http://vm/shutdown
    wait $!
    return $status
}
served()
{
    has_vhost "$vm" && pings
}
# While frames come and go.
snapshot_under_load()
{
    local status=0 load
    busybox ping -q -s 1000 -i 0.05 10.99.0.2 >/dev/null 2>&1 &
    load=$!
    sleep 1
    curl -sSf --unix-socket "$work/vm.sock" -X PUT http://vm/snapshot \
        -d "{\"path\": \"$work/snapshots/running\"}" || status=1
    kill $load
    [ $status = 0 ] && pings
}
check 'a VM boots with it and is snapshotted' "$vmm" --kernel "$stock/vmlinuz" --initrd "$stock/initramfs.cpio" \
    --net tap=vmtap,vhost --snapshot-to "$work/snapshots/booted"
for round in 1 2 3; do
    check "clone $round of it is served and reached" with_vm booted "tap=vmtap,vhost,$address" served
done
check 'a running one is snapshotted under load, and goes on' \
    with_vm booted "tap=vmtap,vhost,$address" snapshot_under_load
for round in 1 2; do
    check "clone $round of that is served and reached" with_vm running "tap=vmtap,vhost,$address" served
done
check 'volt-vmm goes on with what it left' with_vm running "tap=vmtap,$address" pings
ip link del vmtap

# ---- Pools ----
poold_start || exit 1
head -c 3000000 /dev/urandom >"$work/data"
# sends FILE to who connects to port 7000; as much that comes to port 7001 goes to FILE.back
cat >"$work/server.py" <<'PYTHON'
import os, socket, sys
sends = os.fork() == 0
data = open(sys.argv[1], "rb").read()
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 7000 if sends else 7001))
s.listen(8)
while True:
    c, _ = s.accept()
    if sends:
        c.sendall(data)
    else:
        with open(sys.argv[1] + ".back", "wb") as f:
            while f.tell() < len(data) and (piece := c.recv(65536)):
                f.write(piece)
    c.close()
PYTHON
transfers()
{
    local lease=$1 netns=$2 server status=0 sum
    sum=$(md5sum <"$work/data")
    rm -f "$work/data.back"
    setsid nsenter --net="$netns" python3 "$work/server.py" "$work/data" </dev/null >/dev/null 2>&1 &
    server=$!
    prints "$sum" guest "$lease" --timeout 300s -- sh -c '
        for i in 1 2 3 4 5 6 7 8; do nc -w 60 10.86.0.1 7000 </dev/null >/tmp/data && break; sleep 1; done
        md5sum </tmp/data' || status=1
    guest "$lease" --timeout 300s -- sh -c 'nc -w 60 10.86.0.1 7001 </tmp/data >/dev/null' || status=1
    same()
    {
        [ "$(md5sum <"$work/data.back")" = "$sum" ]
    }
    until_true 5 same || status=1
    kill -- "-$server"
    return $status
}
# leased POOL: a lease's JSON
leased()
{
    "$voltctl" acquire "$1" --wait 300s --json >"$work/lease.json" && json lease <"$work/lease.json"
}
pid_of()
{
    "$voltctl" ps --json | python3 -c '
import json, sys
leases = json.load(sys.stdin)
leases = leases.get("leases", leases) if isinstance(leases, dict) else leases
print(next(lease["pid"] for lease in leases if lease["lease"] == sys.argv[1]))' "$1"
}
# What is denied is silent, and counted; what is not is answered.
policy_holds()
{
    "$voltctl" cp "$VOLT_BUILD/tests/e2e/net_probe" "$1:/bin/net_probe"
    prints "$(printf '%s\n' 'icmp:10.86.0.1:0 answered' 'icmp:10.86.0.9:0 silent' 'tcp:127.0.0.1:80 silent')" \
        guest "$1" --timeout 300s -- net_probe eth0 10.86.0.1 20000 icmp:10.86.0.1:0 icmp:10.86.0.9:0 \
        tcp:127.0.0.1:80 || return 1
    [ "$("$voltctl" ps --json | json leases.0.network.dropped.denied)" -ge 2 ] ||
        { "$voltctl" ps --json; return 1; }
}
# The driver goes, which resets the card, and comes again.
rebound()
{
    guest "$1" --timeout 120s -- sh -c '
        set -e
        card=$(basename "$(readlink -f /sys/class/net/eth0/device)")
        address=$(ip -4 addr show eth0 | awk "/inet / { print \$2 }")
        cd /sys/bus/virtio/drivers/virtio_net
        echo "$card" >unbind
        [ ! -e /sys/class/net/eth0 ]
        echo "$card" >bind
        ip addr add "$address" dev eth0
        ip link set eth0 up
        ping -c 3 10.86.0.1'
}
# shellcheck disable=SC2086 # several options
check 'a pool with taps' "$voltctl" pool create taps --min 1 --max 3 --net tap --net-deny 10.86.0.9 ${E2E_POOL_OPTIONS:-}
for round in 1 2 3; do
    lease=$(leased taps)
    check "pool clone $round: its lease says so" test "$(json network.vhost <"$work/lease.json")" = true
    check "pool clone $round: served" has_vhost "$(pid_of "$lease")"
    check "pool clone $round: its policy holds what vhost-net moves" policy_holds "$lease"
    check "pool clone $round: data crosses both ways" transfers "$lease" "$(json network.netns <"$work/lease.json")"
    [ $round != 3 ] || check 'the card comes back after a reset' rebound "$lease"
    "$voltctl" release "$lease" >/dev/null
done
"$voltctl" pool delete taps --force
# shellcheck disable=SC2086 # several options
check 'a pool without it' "$voltctl" pool create plain --min 1 --max 3 --net tap --net-vhost off ${E2E_POOL_OPTIONS:-}
lease=$(leased plain)
check 'its lease says so' test "$(json network.vhost <"$work/lease.json")" = false
check 'its VM does without' has_none "$(pid_of "$lease")"
check 'data crosses both ways' transfers "$lease" "$(json network.netns <"$work/lease.json")"
"$voltctl" release "$lease" >/dev/null
"$voltctl" pool delete plain --force
no_workers()
{
    ! cat /proc/[0-9]*/comm | grep '^vhost-'
}
check 'no worker is left' until_true 20 no_workers
