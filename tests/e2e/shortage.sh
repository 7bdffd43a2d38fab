# SPDX-License-Identifier: Apache-2.0
# Goal: whatever runs out - descriptors, of poold's or of its keeper's, processes and threads, memory, disk,
# inodes, connections - nothing hangs, who gets nothing is told so, what runs goes on, and all works
# again by itself once there is enough.
# Method: each is lowered step by step, below what is needed, while a client acquires, execs and releases; then
# it is given back. Needs root. The limits of processes and memory are those of a control group around poold.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

if [ "$(id -u)" != 0 ]; then
    skip 'shortages' 'needs root, to set limits and to mount small file systems'
    exit 0
fi

# ---- What can run out ----

# group_make CONTROLLER: a group for poold and its VMs; prints its directory, nothing where there can be none
group_make()
{
    local line own dir
    for dir in "/sys/fs/cgroup/$1" /sys/fs/cgroup; do
        line=$(grep -E "^[0-9]+:([^:]*,)?$1(,[^:]*)?:" /proc/self/cgroup || grep '^0::' /proc/self/cgroup)
        own=$dir${line#*:*:}
        [ -e "$own/cgroup.procs" ] || own=$dir
        if mkdir "$own/volt-e2e-$$" 2>/dev/null; then
            if compgen -G "$own/volt-e2e-$$/$1.*" >/dev/null; then
                echo "$own/volt-e2e-$$"
                return
            fi
            rmdir "$own/volt-e2e-$$"
        fi
    done
}
pids_group=$(group_make pids)
memory_group=$(group_make memory)
memory_limit=$(compgen -G "$memory_group/memory.max" || compgen -G "$memory_group/memory.limit_in_bytes")
memory_usage=$(compgen -G "$memory_group/memory.current" || compgen -G "$memory_group/memory.usage_in_bytes")

cat >"$work/wrapper" <<WRAPPER
#!/bin/bash
for group in "$pids_group" "$memory_group"; do [ -z "\$group" ] || echo \$\$ >"\$group/cgroup.procs"; done
exec "\$@"
WRAPPER
chmod +x "$work/wrapper"
E2E_POOLD_WRAPPER="$work/wrapper ${E2E_POOLD_WRAPPER:-}"

mkdir "$work/disk" "$work/run"
install -d -m 1777 "$work/crowd"
chmod 711 "$work"
mount -t tmpfs -o size=2G,mode=711 none "$work/disk" && mount -t tmpfs -o size=64M,mode=711 none "$work/run" || exit 1
export VOLT_STATE_DIR=$work/disk/state

shortage_end()
{
    local dir
    [ -z "$pids_group" ] || echo max >"$pids_group/pids.max"
    [ -z "$memory_group" ] || echo -1 >"$memory_limit" || echo max >"$memory_limit"
    limit_connections ''
    poold_stop
    umount -l "$work/disk" "$work/run"
    for dir in "$pids_group" "$memory_group"; do
        [ -z "$dir" ] || find "$dir" -depth -type d -exec rmdir {} +
    done
} 2>/dev/null
trap 'shortage_end; finish' EXIT

# What there is of each while the pool rests.
declare -A base
bases_look()
{
    local code
    code=$(poold_code_kib)
    memory_shrink
    base=([descriptors]=$(find "/proc/$poold_pid/fd" -mindepth 1 | wc -l)
        [keeper]=$(find "/proc/$(keeper)/fd" -mindepth 1 | wc -l)
        [processes]=$([ -z "$pids_group" ] || cat "$pids_group/pids.current")
        [memory]=$([ -z "$memory_group" ] || echo $(($(cat "$memory_usage") + (code << 10)))))
}
keeper()
{
    pgrep -P "$poold_pid" -x poold-keeper
}
# fds_limit PID MORE KIND: it may have so many more than it has at rest; "": as many as at first
fds_limit()
{
    local used=
    [ -z "$2" ] || used=$((base[$3] + $2 < 16 ? 16 : base[$3] + $2))
    prlimit --pid "$1" --nofile="${used:-$nofile}:"
}
limit_descriptors()
{
    fds_limit "$poold_pid" "$1" descriptors
}
limit_keeper()
{
    fds_limit "$(keeper)" "$1" keeper
}
limit_processes()
{
    local used=
    [ -z "$1" ] || used=$((base[processes] + $1))
    echo "${used:-max}" >"$pids_group/pids.max"
}
# Of poold's own, what is read from files when it runs.
poold_code_kib()
{
    sed -n 's/^RssFile:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$poold_pid/status"
}
# Without what can be read again, as far as the kernel can do that.
memory_shrink()
{
    [ -z "$memory_group" ] || echo 0 >"$memory_group/memory.force_empty" || echo 1G >"$memory_group/memory.reclaim"
    true
} 2>/dev/null
# More MiB than at rest, with its VMs. By what is used at this moment it would be poold's own memory that is taken,
# where the kernel has just killed them.
limit_memory()
{
    if [ -z "$1" ]; then
        echo max >"$memory_limit" || echo -1 >"$memory_limit"
    else
        memory_shrink
        echo $((base[memory] + ($1 << 20))) >"$memory_limit"
    fi 2>/dev/null
    true # not all of it can be
}
fill_disk()
{
    fallocate -l $((($(df --output=avail -k "$work/disk" | tail -n 1) - $1) * 1024)) "$work/disk/full"
}
limit_disk() # in KiB
{
    rm -f "$work/disk/full"
    [ -z "$1" ] || until_true 10 fill_disk "$1" # poold may take some in between
}
limit_inodes()
{
    local used=0 # no limit
    [ -z "$1" ] || used=$(($(df --output=iused "$work/run" | tail -n 1) + $1))
    mount -o "remount,nr_inodes=$used" "$work/run"
}
# Of a user, who opens so many and uses none.
limit_connections()
{
    # By a file: a check is a shell of its own.
    [ ! -e "$work/crowd/pid" ] || kill "$(cat "$work/crowd/pid")" 2>/dev/null
    rm -f "$work/crowd/pid"
    [ -n "$1" ] || return 0
    rm -f "$work/crowd/ed"
    python3 - "$VOLT_RUN_DIR/poold.sock" "$1" "$work/crowd/ed" <<'CROWD' &
import os, resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]) + 50,) * 2)
os.setgroups([])
os.setresgid(*[54321] * 3)
os.setresuid(*[54321] * 3)
all = []
for _ in range(int(sys.argv[2])):
    one = socket.socket(socket.AF_UNIX)
    one.connect(sys.argv[1])
    all.append(one)
open(sys.argv[3], "w").close()
time.sleep(3600)
CROWD
    echo $! >"$work/crowd/pid"
    until_true 10 test -e "$work/crowd/ed"
}

# ---- The client ----

# told COMMAND...: it works, or fails with a sentence, in its time, which is 30 s for what has no other
told()
{
    local status=0
    timeout "$(patient 40)" "$@" >"$work/out" 2>"$work/said" || status=$?
    [ $status != 124 ] || { echo "hangs: $*"; return 1; }
    cat "$work/said" >>"$work/sayings"
    [ $status = 0 ] || grep -q '^voltctl: .' "$work/said" || { echo "exit status $status without a word: $*"; return 1; }
    return 0
}
# One round: as many leases as there are, up to $together at a time; each works, and goes back.
readonly together=4
round()
{
    local ids=() id
    while [ ${#ids[@]} -lt $together ]; do
        told "$voltctl" acquire --wait 200ms || return
        id=$(cat "$work/out")
        [ -n "$id" ] || break
        ids+=("$id")
        told "$voltctl" exec "$id" -- true || return
    done
    served=$((served + ${#ids[@]}))
    for id in "${ids[@]}"; do
        told "$voltctl" release "$id" || return
        # A lease that could not be released is one; who has asked for it asks again.
        [ ! -s "$work/said" ] || echo "$id" >>"$work/unreleased"
    done
}
# starve KIND STEP...: what of it there is goes down by these steps
starve()
{
    local kind=$1 step
    shift
    served=0
    : >"$work/sayings"
    for step; do
        "limit_$kind" "$step" || { echo "$kind can't be limited"; return 1; }
        round || { echo "with $step of $kind"; return 1; }
    done
    echo "# $served of $(($# * together)) leases, at $SECONDS s; else: $(sort "$work/sayings" | uniq -c | sort -rn | head -n 5 | tr -s ' \n' ' ')" >"$work/served"
}
pool_rests()
{
    "$voltctl" pool show default --json | python3 -c '
import json, sys
pool = json.load(sys.stdin)
slots = pool["slots"]
sys.exit((pool["state"], slots["parked"], slots["preparing"], slots["stopping"]) != ("ready", 2, 0, 0))'
}
# The pool as it is at rest: ready, two parked, nothing on its way.
at_rest()
{
    until_true 2 pool_rests
}
served_again()
{
    local id
    while read -r id; do "$voltctl" release "$id"; done <"$work/unreleased"
    : >"$work/unreleased"
    id=$("$voltctl" acquire --wait 5s) && "$voltctl" exec "$id" -- true && "$voltctl" release "$id"
}
inventory()
{
    echo "descriptors $(find "/proc/$poold_pid/fd" -mindepth 1 | wc -l)"
    echo "processes $(pgrep -c -g 0 -P "$poold_pid")"
    echo "folders $(find "$VOLT_RUN_DIR/vms" -mindepth 1 -maxdepth 1 | wc -l)"
}
# What there was before, as soon as all is at rest.
as_before()
{
    served_again && at_rest && diff <(echo "$before") <(inventory)
}

: >"$work/unreleased"
poold_with_pool
nofile=$(prlimit --pid "$poold_pid" --nofile --output=SOFT --noheadings)
first_pid=$poold_pid
chmod 711 "$VOLT_RUN_DIR"
chmod 666 "$VOLT_RUN_DIR/poold.sock"
held=$(acquire)
"$voltctl" release "$(acquire)"
resting()
{
    at_rest && before=$(inventory) && sleep 0.3 && [ "$before" = "$(inventory)" ]
}
until_true 60 resting
bases_look

# shortage NAME KIND STEP...
shortage()
{
    local name=$1 kind=$2
    shift 2
    check "$name: nothing hangs, and who gets nothing is told" starve "$kind" "$@"
    cat "$work/served"
    "limit_$kind" ''
    check "$name: then all works again by itself, and nothing is left behind" until_true 20 as_before
    check "$name: what was leased before works" prints alive guest "$held" -- echo alive
}
shortage 'descriptors' descriptors 8 0 -64 -9999
shortage "the keeper's descriptors" keeper 4 0
if [ -n "$pids_group" ]; then
    shortage 'processes and threads' processes 24 12 4 -4
else
    skip 'processes and threads' 'there is no control group to limit them with'
fi
shortage 'disk' disk 1024 64 4 0
until_true 60 at_rest # else what a VM gives back makes room
limit_disk 0
check 'a full disk: a change is refused' fails_saying 125 'No space left' "$voltctl" pool scale default --max 9
check 'and has not happened' prints 64 bash -c "'$voltctl' pool show default --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"max\"])'"
limit_disk ''
check 'with room it happens' "$voltctl" pool scale default --max 63
shortage 'inodes of the run directory' inodes 64 0
shortage 'connections' connections 256 9000
check 'all that cost no template' exits 1 grep 'the template ended' "$log"
if [ -n "$memory_group" ]; then
    # The kernel kills VMs then, of which the lease may be one, or their template: the last of all is poold.
    bases_look # poold has taken more than at first
    check 'memory: nothing hangs, and who gets nothing is told' starve memory 32 4 0 -2 -3
    cat "$work/served"
    limit_memory ''
    check 'memory: then all works again by itself' until_true 30 served_again
    check 'memory: it was that of all, and not a VM of them is blamed' exits 1 grep -q ': out_of_memory' "$log"
    check 'memory: the log says so' grep -q 'host_out_of_memory' "$log"
else
    skip 'memory' 'there is no control group to limit it with'
fi
process_is_poold()
{
    [ "$(cat "/proc/$first_pid/comm")" = poold ] && poold_answers
}
check 'poold is the one that was started' process_is_poold
