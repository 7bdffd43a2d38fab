# SPDX-License-Identifier: Apache-2.0
# Goal: the VMs that users get run with every layer of the sandbox that docs/threat-model.md
# promises. Method: look at their processes in /proc from outside.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
poold_with_pool

api()
{
    curl -s --unix-socket "$VOLT_RUN_DIR/poold.sock" "http://volt/v1/$1"
}
one=$(acquire) && two=$(acquire) || exit 1
lease_pid()
{
    api "leases/$1" | json pid
}
pid=$(lease_pid "$one")
other_pid=$(lease_pid "$two")

# status KEY of every thread, one value a line, without repetitions
threads_status()
{
    sed -n "s/^$1:[ \t]*//p" "/proc/$pid/task/"*/status | sort -u
}
has_layer()
{
    api "leases/$one" | json layers | grep -q "\"$1"
}
# Joined in the background: it may take some milliseconds.
in_own_group()
{
    local id=${one:0:16}
    has_layer cgroup && grep -q "/volt-[0-9a-f]*/$id" "/proc/$pid/cgroup"
}
capabilities_are_empty()
{
    local set
    for set in CapInh CapPrm CapEff CapBnd CapAmb; do
        prints 0000000000000000 threads_status $set || return 1
    done
}
filters_are_two()
{
    # the template's, which clones inherit, and the thread's own
    prints 2 threads_status Seccomp && prints 2 threads_status Seccomp_filters
}
uids_differ()
{
    local mine others
    mine=$(threads_status Uid | cut -f 1)
    others=$(sed -n 's/^Uid:[ \t]*\([0-9]*\).*/\1/p' "/proc/$other_pid/status")
    [ "$mine" != 0 ] && [ "$mine" != "$others" ] || { echo "uids $mine and $others"; return 1; }
}
namespaces_are_own()
{
    local kind
    for kind in mnt pid net ipc uts; do
        [ "$(readlink "/proc/$pid/ns/$kind")" != "$(readlink "/proc/self/ns/$kind")" ] ||
            { echo "$kind is the host's"; return 1; }
    done
}
root_has_only_sockets()
{
    [ -z "$(find "/proc/$pid/root/" -mindepth 1 ! -type s)" ] ||
        { find "/proc/$pid/root/"; return 1; }
}
nothing_is_mapped_executable_and_writable()
{
    ! grep -E "^[^ ]+ .wx" "/proc/$pid/maps"
}
# Directories would lead out of the root; files of the host would be readable.
fds_are_expected()
{
    local fd target bad=
    for fd in "/proc/$pid/fd/"*; do
        target=$(readlink "$fd") || continue
        case $target in
        socket:* | pipe:* | anon_inode:* | /dev/kvm | /dev/null | /memfd:*) ;;
        */memory.img | */vms/* | / | */poold.log) ;;
        *) bad="$bad $target" ;;
        esac
    done
    [ -z "$bad" ] || { echo "unexpected:$bad"; return 1; }
}
killed_vm_dies_alone()
{
    kill -9 "$pid" && until_true 10 sh -c "! kill -0 $pid" && kill -0 "$other_pid" &&
        guest "$two" true
}

# The VM that boots to be snapshotted: the process behind the one that poold started, which is pid 1
# of its namespace. Its warm-up has no end, so that it is there to be looked at.
boot_pid()
{
    pgrep -P "$(pgrep -f -- "volt-vmm run .*$VOLT_RUN_DIR/boots.console.log" | head -n 1)"
}
boot_uid()
{
    sed -n 's/^Uid:[ \t]*\([0-9]*\).*/\1/p' "/proc/$(boot_pid)/status"
}
boot_runs_with_own_uid()
{
    local uid
    uid=$(boot_uid) && [ -n "$uid" ] && [ "$uid" != 0 ] &&
        [ "$uid" != "$(threads_status Uid | cut -f 1)" ] || { echo "uid '$uid'"; return 1; }
}
boot_in_own_group()
{
    grep -q "memory.*/volt-[0-9a-f]*/[0-9a-f]\{16\}$" "/proc/$(boot_pid)/cgroup" ||
        grep -q "^0::.*/volt-[0-9a-f]*/[0-9a-f]\{16\}$" "/proc/$(boot_pid)/cgroup"
}

for layer in seccomp capabilities landlock namespaces; do
    check "the lease says: $layer" has_layer $layer
done
if grep -q 'control groups of VMs: .*no memory controller' "$log"; then
    skip 'a control group of its own' 'cgroups are not writable here'
else
    check 'a control group of its own' until_true 5 in_own_group
fi
# shellcheck disable=SC2086 # several options
check 'a pool begins to boot' "$voltctl" pool create boots --memory 64M ${E2E_POOL_OPTIONS:-} \
    --warmup 'sleep 600' --no-wait
if grep -q 'control groups of VMs: .*no memory controller' "$log"; then
    skip 'the VM that boots has a control group of its own' 'cgroups are not writable here'
else
    check 'the VM that boots has a control group of its own' until_true 5 boot_in_own_group
fi
if [ "$(id -u)" = 0 ]; then
    check 'the VM that boots has a uid of its own' until_true 5 boot_runs_with_own_uid
else
    skip 'the VM that boots has a uid of its own' 'needs root'
fi
check 'the pool is deleted while it boots' "$voltctl" pool delete boots
check 'capabilities: none in any set' capabilities_are_empty
check 'no_new_privs on every thread' prints 1 threads_status NoNewPrivs
check 'seccomp: filters on every thread' filters_are_two
check 'namespaces of its own' namespaces_are_own
check 'no group but its own' prints '' threads_status Groups
check 'no fd but the expected ones' fds_are_expected
check 'no memory both writable and executable' nothing_is_mapped_executable_and_writable
check 'core dumps are off' grep -q 'Max core file size  *0  *0' "/proc/$pid/limits"
if [ "$(id -u)" = 0 ]; then
    check 'a uid of its own' uids_differ
    check 'its root holds its own sockets and nothing else' root_has_only_sockets
else
    skip 'a uid of its own' 'needs root'
    skip 'its root holds its own sockets and nothing else' 'needs root'
fi

# The filters hold in what is rarer, too: the VM's own vsock socket, and a VM made ahead of its state.
vsock_socket_answers()
{
    python3 - "$VOLT_RUN_DIR/vms/${two:0:16}/vsock" <<'PYTHON'
import socket, sys
with socket.socket(socket.AF_UNIX) as client:
    client.settimeout(100)
    client.connect(sys.argv[1])
    client.sendall(b"CONNECT 1024\n")
    sys.exit(not client.recv(64).startswith(b"OK "))
PYTHON
}
one_shell_waits()
{
    [ "$(api pools/default | json slots.shell)" = 1 ]
}
# Those that are parked already are given out first.
shell_is_a_vm()
{
    local reply
    curl -s --unix-socket "$VOLT_RUN_DIR/poold.sock" -X PATCH http://volt/v1/pools/default \
        -d '{"min": 0, "shells": 1}' >/dev/null
    until_true 30 one_shell_waits || return 1
    for _ in 1 2 3 4; do
        reply=$("$voltctl" acquire --wait "$(patient 30)s" --json) || return 1
        [ "$(json tier <<<"$reply")" = parked ] || break
    done
    [ "$(json tier <<<"$reply")" = shell ] || { echo "$reply"; return 1; }
    guest "$(json lease <<<"$reply")" true
}
check 'its vsock socket leads to the guest' vsock_socket_answers
check 'a VM from a shell answers and runs a command' shell_is_a_vm
check 'a VM that is killed dies alone' killed_vm_dies_alone
