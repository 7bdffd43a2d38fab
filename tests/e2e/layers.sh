# SPDX-License-Identifier: Apache-2.0
# Goal: the VMs that users get run with every layer of the sandbox that docs/threat-model.md
# promises. Method: look at their processes in /proc from outside.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
# What poold is started with is nobody's further down.
exec 251>"$work/inherited"
poold_with_pool
exec 251>&-

api()
{
    curl -s --unix-socket "$VOLT_RUN_DIR/poold.sock" "http://volt/v1/$1"
}
one=$(acquire --ttl 0) && two=$(acquire --ttl 0) || exit 1 # as long as the boots below take
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
# What waits outside of a pid namespace has nothing to do but that: of templates and of VMs that boot.
outsides_are_stripped()
{
    local outside found=
    for outside in $(pgrep -P "$poold_pid" volt-vmm); do
        found=1
        [ "$(grep -cE '^(Cap(Inh|Prm|Eff|Bnd|Amb):.0{16}|NoNewPrivs:.1|Seccomp:.2)$' \
            "/proc/$outside/status")" = 7 ] ||
            { cat "/proc/$outside/status"; return 1; }
    done
    [ -n "$found" ]
}
gate_pid()
{
    local uid
    uid=$(sed -n 's/^Uid:[ \t]*\([0-9]*\).*/\1/p' "/proc/$(lease_pid "$guarded")/status")
    pgrep -P "$poold_pid" -u "$uid" volt-gate || { echo "no gate of uid $uid"; return 1; }
}
# All that it shares with poold is ones: what a gate could tell that a guest has taken over.
gate_lies_in_vain()
{
    python3 - "$(gate_pid)" <<'PYTHON' || return 1
import re, sys
with open(f"/proc/{sys.argv[1]}/maps", encoding="ascii") as maps:
    start, end = re.search(r"^(\w+)-(\w+) rw-s .*/memfd:volt-gate ", maps.read(), re.MULTILINE).groups()
with open(f"/proc/{sys.argv[1]}/mem", "r+b", buffering=0) as memory:
    memory.seek(int(start, 16))
    memory.write(b"\xff" * (int(end, 16) - int(start, 16)))
PYTHON
    [[ $("$voltctl" ps --json) == *'"denied"'* ]] && guest "$guarded" true
}
passt_is_limited()
{
    local passt
    passt=$(pgrep -P "$poold_pid" '^passt') && [ "$(wc -w <<<"$passt")" = 1 ] || { echo "passts: $passt"; return 1; }
    grep -q 'Max open files  *8192  *8192 ' "/proc/$passt/limits" && grep -q 'Max core file size  *0  *0 ' "/proc/$passt/limits"
}
# The capabilities that this shell may have, and with it the poold that it starts.
capabilities=$((16#$(awk '/^CapPrm/ { print $2 }' /proc/$$/status)))
# Whom the kernel kills when memory runs out: VMs first, poold last, which takes CAP_SYS_RESOURCE.
oom_order()
{
    local template scores poolds=-900
    [ $((capabilities >> 24 & 1)) = 1 ] || poolds=$(cat /proc/$$/oom_score_adj)
    template=$(sed -n 's/^PPid:.//p' "/proc/$pid/status")
    scores=$(cat "/proc/$pid/oom_score_adj" "/proc/$template/oom_score_adj" "/proc/$poold_pid/oom_score_adj")
    [ "$scores" = "$(printf '600\n300\n%s' "$poolds")" ] || { echo "$scores"; return 1; }
}
oom_of_boot()
{
    prints 600 cat "/proc/$(boot_pid)/oom_score_adj"
}
poold_has_few_rights()
{
    local status=/proc/$poold_pid/status wanted
    # CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, KILL, SETGID, SETUID, SETPCAP, NET_ADMIN, SYS_ADMIN,
    # SYS_CHROOT, SYS_NICE, SYS_PTRACE, SYS_RESOURCE (poold/host/rights.c)
    wanted=$(printf '%016x' $((capabilities & 0x1ac11e7)))
    [ "$(grep -cE "^(Cap(Inh|Amb):.0{16}|Cap(Prm|Eff|Bnd):.$wanted|NoNewPrivs:.1)\$" "$status")" = 6 ] ||
        { echo "wanted $wanted"; cat "$status"; return 1; }
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
# Directories would lead out of the root; files of the host would be readable; what is open by the same
# description elsewhere could be changed there.
fds_are_expected()
{
    python3 "$here/descriptors.py" "$poold_pid" "$VOLT_RUN_DIR" "$VOLT_STATE_DIR" "$work/disk" "$@"
}
# What stands between a VM and the host's network has the VM's uid, and can't be traced by it.
gate_is_confined()
{
    local gate
    gate=$(gate_pid) || { echo "$gate"; return 1; }
    [ "$(grep -cE '^(Cap(Inh|Prm|Eff|Bnd|Amb):.0{16}|NoNewPrivs:.1|Seccomp:.2|Groups:[[:space:]]*)$' \
        "/proc/$gate/status")" = 8 ] || { cat "/proc/$gate/status"; return 1; }
    prints 600 cat "/proc/$gate/oom_score_adj" && prints 0 stat -c %u "/proc/$gate/environ"
}
environment_is_ours()
{
    ! tr '\0' '\n' <"/proc/$pid/environ" |
        grep -vE '^(LD_|GLIBC_|MALLOC_|[ALTU]B?SAN_|LC_|VOLT_|$)'
}
is_ready()
{
    [ "$("$voltctl" pool show "$1" --json | json state)" = ready ]
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
    pgrep -P "$(pgrep -P "$poold_pid" -f 'volt-vmm run ' | head -n 1)"
}
# What every user of the host can see.
command_lines_say_nothing()
{
    local process
    for process in $(pgrep -P "$poold_pid" volt-vmm); do
        tr '\0' ' ' <"/proc/$process/cmdline" | grep -qE '^[^ ]*/volt-vmm (run|template) --arguments-fd [0-9]+ $' ||
            { tr '\0' ' ' <"/proc/$process/cmdline"; return 1; }
    done
}
console_is_kept_from_others()
{
    prints "700 $(id -u)" stat -c '%a %u' "$VOLT_RUN_DIR/consoles" && prints 600 stat -c %a "$VOLT_RUN_DIR/consoles/boots.log" &&
        until_true 120 test -s "$VOLT_RUN_DIR/consoles/boots.log"
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
# With all that a VM may have.
truncate -s 16M "$work/disk"
rich_options="--disk $work/disk --min 1"
[ "$(id -u)" != 0 ] || [ ! -e /dev/net/tun ] || rich_options="$rich_options --net tap"
# shellcheck disable=SC2086 # several options
check 'a pool with a disk and a network begins to boot' "$voltctl" pool create rich --memory 64M \
    ${E2E_POOL_OPTIONS:-} $rich_options --no-wait
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
check 'command lines of VMs tell nothing of their pools' command_lines_say_nothing
check "what a VM that boots prints is poold's to read" console_is_kept_from_others
if [ "$(id -u)" = 0 ]; then
    check 'poold keeps the capabilities that it needs, and no others' poold_has_few_rights
    check 'out of memory, the kernel kills VMs first, then templates, poold last' until_true 5 oom_order
    check 'a VM that boots goes before templates, too' until_true 5 oom_of_boot
    check 'no descriptor but the expected ones, while VMs boot' fds_are_expected outside template clone boot
else
    skip 'no descriptor but the expected ones, while VMs boot' 'needs root: they are not dumpable'
fi
check 'what waits outside of a template and of a VM that boots holds no right' until_true 5 \
    outsides_are_stripped
check 'the pool is deleted while it boots' "$voltctl" pool delete boots
guarded_wanted=
if [ "$(id -u)" = 0 ] && [ -x "$(command -v passt)" ]; then
    guarded_wanted=1
    # shellcheck disable=SC2086 # several options
    check 'a pool with passt begins to boot' "$voltctl" pool create guarded --memory 64M \
        ${E2E_POOL_OPTIONS:-} --net user --min 1 --no-wait
fi
check 'capabilities: none in any set' capabilities_are_empty
check 'no_new_privs on every thread' prints 1 threads_status NoNewPrivs
check 'seccomp: filters on every thread' filters_are_two
check 'namespaces of its own' namespaces_are_own
check 'no group but its own' prints '' threads_status Groups
if [ "$(id -u)" = 0 ]; then
    check 'the pool with a disk and a network is ready' until_true 60 is_ready rich
    "$voltctl" exec "$two" sleep 600 >/dev/null 2>&1 &
    running=$!
    rich=$(acquire rich) && check 'its disk is there' guest "$rich" test -e /dev/vda
    kinds='outside template clone'
    if [ -n "$guarded_wanted" ]; then
        check 'the pool with passt is ready' until_true 60 is_ready guarded
        guarded=$(acquire guarded) && check 'its gate is confined' until_true 10 gate_is_confined
        check 'passt is limited' until_true 10 passt_is_limited
        check 'a gate that lies about what it dropped hurts nobody' gate_lies_in_vain
        kinds="$kinds gate passt"
    else
        skip 'its gate is confined' 'the package passt is not installed'
    fi
    # shellcheck disable=SC2086 # several words
    check 'no descriptor but the expected ones' fds_are_expected $kinds
    kill "$running"
    check 'no environment but what Volt and the C library read' environment_is_ours
else
    skip 'no descriptor but the expected ones' 'needs root: they are not dumpable'
    skip 'no environment but what Volt and the C library read' 'needs root: as above'
fi
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
