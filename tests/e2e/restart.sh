# SPDX-License-Identifier: Apache-2.0
# Goal: leases, parked VMs, their networks and their streams outlive poold: one that is killed, one that
# leaves for the next, and one that is upgraded; an end ends them all.
# Method: streams that are asked for an answer before, between and after two poolds; a copy of the
# programs as "another build".
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
poold_with_pool

# Descriptors that the tests keep open are none of the next poold's.
poold_again()
{
    poold_start "$@" 7>&- 8>&- 9>&-
}
poold_dies()
{
    kill -9 "$poold_pid"
    wait "$poold_pid" 2>/dev/null
}
# leases_of [LAYER]: what each lease is, but for its age and the layer.
leases_of()
{
    "$voltctl" ps --json | python3 -c '
import json, sys
for lease in sorted(json.load(sys.stdin)["leases"], key=lambda lease: lease["lease"]):
    lease["layers"] = [layer for layer in lease["layers"] if layer not in sys.argv[1:]]
    print({k: v for k, v in lease.items() if k not in ("age_ms", "expires_ms", "expires_in_ms")})' "$@"
}
# All of them are in their control groups, or none, where there are none.
grouped()
{
    "$voltctl" ps --json | python3 -c '
import json, sys
sys.exit(len({"cgroup" in lease["layers"] for lease in json.load(sys.stdin)["leases"]}) > 1)'
}
left_ms()
{
    "$voltctl" ps --json | python3 -c '
import json, sys
print(next(int(v) for l in json.load(sys.stdin)["leases"] if l["lease"] == sys.argv[1]
           for k, v in l.items() if k.startswith("expires")))' "$1"
}
# stream_open FD LEASE: a `cat` in the guest, that gets what is written to the fd.
stream_open()
{
    mkfifo "$work/in$1"
    "$voltctl" exec -i "$2" -- cat <"$work/in$1" >"$work/out$1" 2>&1 7>&- 8>&- 9>&- &
    eval "stream$1=$!; exec $1>$work/in$1"
}
answers()
{
    echo "$2" >&"$1"
    until_true 60 grep -qx "$2" "$work/out$1"
}
vm_pids()
{
    "$voltctl" ps --json | grep -o '"pid": [0-9]*' | sort
}

# ---- A poold that is killed at once ----
acquire >/dev/null
acquire >/dev/null
acquire >/dev/null
# A VM that is restored for its lease joins its control group when no acquire waits.
leases_of cgroup >"$work/before"
poold_dies
poold_again
check 'leases of this moment are known' diff "$work/before" <(leases_of cgroup)
"$voltctl" release --all >/dev/null
until_true 20 parked_at_least 2
acquire >/dev/null
acquire >/dev/null
acquire >/dev/null
check 'each of them comes into its control group' until_true 20 grouped
leases_of >"$work/before"
poold_dies
poold_again
check 'and the next poold knows of that, too' diff "$work/before" <(leases_of)
"$voltctl" release --all >/dev/null

# ---- A poold that is killed ----
until_true 20 parked_at_least 2
one=$(acquire)
other=$("$voltctl" acquire --ttl 2h)
stream_open 7 "$one"
check 'a stream works' answers 7 first
mkfifo "$work/in9"
"$voltctl" console "$other" <"$work/in9" >"$work/console" 2>&1 7>&- &
console=$!
exec 9>"$work/in9"
leases_of >"$work/before"
vm_pids >"$work/pids"
left=$(left_ms "$other")
until_true 20 parked_at_least 2
poold_dies
check 'it works while there is no poold' answers 7 second
poold_again
check 'the next poold knows every lease, as it was' diff "$work/before" <(leases_of)
check 'they are the same processes' diff "$work/pids" <(vm_pids)
time_goes_on()
{
    local now
    now=$(left_ms "$other")
    [ "$now" -lt "$left" ] && [ "$now" -gt $((left - 600000)) ] || { echo "$left, then $now"; return 1; }
}
check 'their time goes on' time_goes_on
check 'the parked VMs are there, without a boot or a load' parked_at_least 2
check 'and said to be' grep -q "2 parked and 2 leased VMs of the poold before are taken over" "$log"
check 'the stream works on' answers 7 third
check 'new ones can be opened' prints alive guest "$one" -- echo alive
check 'cp works' sh -c 'echo text >"$0/file" && "$1" cp "$0/file" "$2:/tmp/file"' "$work" "$voltctl" "$one"
check 'the console is still there' kill -0 $console
exec 9>&-
kill $console 2>/dev/null
wait $console 2>/dev/null
# Kernels before 6.12 tell of no slice (sched_getattr(2)), and then there is none to be had.
slices_are_long()
{
    vm_pids | grep -o '[0-9]*' | python3 -c '
import ctypes, os, sys
def slice_ns(tid):
    attr = (ctypes.c_uint64 * 6)()
    ctypes.CDLL(None).syscall({"x86_64": 315}[os.uname().machine], tid, attr, 48, 0)
    return attr[3]
usual, pids = slice_ns(0), sys.stdin.read().split()
short = [pid for pid in pids if usual and slice_ns(int(pid)) <= usual]
print("as usual:", short, "of", pids)
sys.exit(len(short) > 0 or len(pids) == 0)'
}
check 'leased VMs let others go first, those that were taken over, too' until_true 20 slices_are_long
fresh=$(acquire)
check 'a parked VM is leased' prints alive guest "$fresh" -- echo alive
"$voltctl" release "$fresh"
check 'and others are made' until_true 20 parked_at_least 2
"$voltctl" renew "$other" --ttl 1h >/dev/null
leases_of >"$work/before"

# ---- Again and again ----
again_and_again()
{
    local i
    for i in $(seq 12); do # by then the uids of VMs have been round once
        poold_dies
        poold_again || return 1
        answers 7 "round$i" || return 1
    done
    diff "$work/before" <(leases_of)
}
again_and_again >"$work/again" 2>&1
status=$?
check 'twelve times more' sh -c 'cat "$0"; exit '$status "$work/again"

# ---- A poold that leaves for the next: another build ----
next=$work/volt-vmm
cp "$VOLT_BUILD/vmm-core/volt-vmm/volt-vmm" "$next"
# Processes of volt-vmm $1 that belong to this poold's VMs.
processes_of()
{
    local pid
    for pid in $(pgrep -x volt-vmm); do
        [ "$(readlink "/proc/$pid/exe")" = "$1" ] && grep -qz "^VOLT_RUN_DIR=$VOLT_RUN_DIR$" "/proc/$pid/environ" && echo "$pid"
    done
}
runs()
{
    [ -n "$(processes_of "$1")" ]
}
kill -USR2 "$poold_pid"
wait "$poold_pid"
check 'a poold that leaves ends well' test $? = 0
poold_again --volt-vmm "$next"
check 'the upgraded one knows every lease' diff "$work/before" <(leases_of)
check 'the stream works on' answers 7 upgraded
check 'the pool is ready' until_true 20 pool_is ready
new=$(acquire)
check 'VMs of the template before are leased' prints alive guest "$new" -- echo alive
check 'its own volt-vmm runs' until_true 20 runs "$next"
check 'beside the one before' runs "$VOLT_BUILD/vmm-core/volt-vmm/volt-vmm"
"$voltctl" release "$new"
exec 7>&-
wait "$stream7"
check 'the stream ends as it should' test $? = 0
check 'with all that was said' prints 16 sh -c 'wc -l <"$0"' "$work/out7"
"$voltctl" release --all >/dev/null
"$voltctl" pool scale default --min 0 >/dev/null
none_runs()
{
    ! runs "$1"
}
check 'without VMs, the template before ends' until_true 20 none_runs "$VOLT_BUILD/vmm-core/volt-vmm/volt-vmm"
"$voltctl" pool scale default --min 2 >/dev/null
until_true 30 parked_at_least 2

# ---- Bound leases ----
"$voltctl" run -i --wait "$(patient 10)s" -- sh -c 'echo started; exec cat' <"$work/in7" >"$work/ran" 2>&1 &
run=$!
exec 8>"$work/in7"
until_true 60 grep -q started "$work/ran"
poold_dies
poold_again
echo bound >&8
check 'run goes on over a restart' until_true 20 grep -qx bound "$work/ran"
exec 8>&-
wait $run
check 'and ends well' test $? = 0
check 'its lease ends with it' until_true 20 no_lease
"$voltctl" run --wait "$(patient 10)s" -- sh -c 'echo started; exec sleep 600' >"$work/ran" 2>&1 &
run=$!
until_true 60 grep -q started "$work/ran"
poold_dies
kill -9 $run
wait $run 2>/dev/null
poold_again
check 'that of a client which died meanwhile, too' until_true 20 no_lease

# ---- Time that runs out while there is no poold ----
short=$("$voltctl" acquire --ttl 2s)
poold_dies
sleep 2.1
poold_again
lease_gone()
{
    ! "$voltctl" ps --json | grep -q "\"$1\""
}
check 'a lease that has expired meanwhile is ended' until_true 10 lease_gone "$short"

# ---- The end ----
one=$(acquire)
pid=$(vm_pids | grep -o '[0-9]*$')
poold_dies
check 'a poold that only ends what is left' "$VOLT_BUILD/poold/poold" --stop-vms
check 'its VMs are gone' until_true 10 process_gone "$pid"
nothing_left()
{
    ! pgrep -f "$work" >/dev/null && [ -z "$(ls "$VOLT_RUN_DIR/vms")" ] && [ ! -e "$VOLT_RUN_DIR/keep.sock" ]
}
check 'nothing is left' until_true 10 nothing_left
check 'again it is nothing' "$VOLT_BUILD/poold/poold" --stop-vms
poold_again
check 'the pool is there again' until_true 20 pool_is ready
one=$(acquire)
pid=$(vm_pids | grep -o '[0-9]*$')
poold_kill
check 'without poold and keeper VMs end' until_true 10 process_gone "$pid"
poold_again --keep-ms 100
one=$(acquire)
pid=$(vm_pids | grep -o '[0-9]*$')
keeper=$(pgrep -P "$poold_pid" -x poold-keeper)
poold_dies
check 'a keeper waits no longer than it was told' until_true 10 process_gone "$keeper"
check 'and takes VMs along' until_true 10 process_gone "$pid"
poold_again
one=$(acquire)
keeper=$(pgrep -P "$poold_pid" -x poold-keeper)
kill -9 "$keeper"
check 'a keeper that is killed costs no lease' prints alive guest "$one" -- echo alive
keeper_is_back()
{
    pgrep -P "$poold_pid" -x poold-keeper && grep -q 'the new keeper has what the one before had' "$log"
}
check 'and is started again' until_true 10 keeper_is_back
poold_dies
poold_again
check 'with all that the one before had' prints alive guest "$one" -- echo alive
poold_stop
check 'after the end nothing is left' until_true 10 nothing_left
