# SPDX-License-Identifier: Apache-2.0
# Goal: a VM, poold or a client that is killed at once costs nobody else anything.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
poold_with_pool

lease_gone()
{
    ! "$voltctl" ps --json | grep -q "\"$1\""
}
vm_pid()
{
    "$voltctl" ps --json | python3 -c '
import json, sys
print(next(l["pid"] for l in json.load(sys.stdin)["leases"] if l["lease"] == sys.argv[1]))' "$1"
}

# ---- a VM ----
victim=$(acquire)
other=$(acquire)
victim_pid=$(vm_pid "$victim")
"$voltctl" exec "$victim" -- sh -c 'echo started; exec sleep 600' >"$work/out" 2>"$work/said" &
exec_pid=$!
until_true 60 grep -q started "$work/out"
kill -9 "$victim_pid"
vm_exec_ends()
{
    timeout "$(patient 10)" tail --pid=$exec_pid -f /dev/null || { echo 'the exec hangs'; return 1; }
}
check 'a killed VM ends its exec' vm_exec_ends
wait $exec_pid
check 'with 125' test $? = 125
check 'and a sentence' grep -q "its VM's process failed" "$work/said"
check 'its lease is gone' until_true 5 lease_gone "$victim"
check 'the other VM did not notice' prints alive guest "$other" -- echo alive
check 'the pool is full again' until_true 20 parked_at_least 2
"$voltctl" release "$other"

# ---- clients ----
id=$(acquire)
"$voltctl" exec "$id" -- sh -c 'echo started; exec sleep 321' >"$work/out" &
client=$!
until_true 60 grep -q started "$work/out"
kill -9 $client
wait $client 2>/dev/null
no_sleep()
{
    ! guest "$id" -- ps | grep -q '[s]leep 321'
}
check 'a killed exec client: its command is ended' until_true 30 no_sleep
check 'its lease lives on, it was not bound' prints alive guest "$id" -- echo alive
"$voltctl" release "$id"

"$voltctl" run --wait "$(patient 10)s" -- sh -c 'echo started; exec sleep 321' >"$work/out" &
client=$!
until_true 60 grep -q started "$work/out"
kill -9 $client
wait $client 2>/dev/null
check 'a killed run client: its VM is taken back' until_true 10 no_lease

# A client that dies while it queues must not be given a VM.
"$voltctl" pool scale default --min 0 --max 1
until_true 60 vms_at_most 1
id=$(acquire)
"$voltctl" run --wait "$(patient 30)s" -- true &
client=$!
until_true 60 waiting_are 1
kill -9 $client
wait $client 2>/dev/null
"$voltctl" release "$id"
check 'a client killed in the queue gets no VM' until_true 10 no_lease
check 'the next one does' acquire
"$voltctl" release --all >/dev/null
"$voltctl" pool scale default --min 2 --max 64

# ---- poold ----
held=$(acquire)
acquire >/dev/null
# shellcheck disable=SC2086 # several options
"$voltctl" pool create boots ${E2E_POOL_OPTIONS:-} --no-wait >/dev/null
outsides_are()
{
    [ "$(pgrep -cP "$poold_pid" volt-vmm)" = "$1" ] && [ "$(pgrep -cP "$(pgrep -d, -P "$poold_pid" volt-vmm)")" = "$1" ]
}
boot_is_confined()
{
    grep -q '^Seccomp:.2' "/proc/$(pgrep -P "$(pgrep -P "$poold_pid" -f 'volt-vmm run ')")/status"
}
until_true 10 outsides_are 2
[ "$(id -u)" != 0 ] || until_true 10 boot_is_confined
mapfile -t insides < <(pgrep -P "$(pgrep -d, -P "$poold_pid" volt-vmm)")
mapfile -t vms < <(pgrep -P "$poold_pid" volt-vmm; "$voltctl" ps --json | grep -o '"pid": [0-9]*' | grep -o '[0-9]*')
vms+=("${insides[@]}")
check 'poold has VMs to lose' test ${#vms[@]} -ge 6
# A template and a VM that boots which can't hear that poold is gone.
kill -STOP "${insides[@]}"
ls "$VOLT_RUN_DIR/vms" >"$work/old_dirs"
poold_kill
all_gone()
{
    local pid
    for pid in "${vms[@]}"; do
        process_gone "$pid" || return 1
    done
}
check 'kill -9 of poold and its keeper: VMs end' until_true 10 all_gone
poold_start
check 'the next poold starts on what it left' poold_answers
"$voltctl" pool delete boots --force >/dev/null 2>&1
check 'the pool is ready again' until_true 20 pool_is ready
check 'and full' until_true 20 parked_at_least 2
check 'the old lease is not known any more' fails_saying 125 lease "$voltctl" exec "$held" -- true
id=$(acquire)
check 'a new one works' prints alive guest "$id" -- echo alive
leftovers()
{
    # of the last poold's directories, which have random names, none is there
    [ -z "$(comm -12 "$work/old_dirs" <(ls "$VOLT_RUN_DIR/vms"))" ]
}
check 'nothing of the old VMs is left over' leftovers
second_poold()
{
    fails_saying 1 '' timeout "$(patient 10)" "$VOLT_BUILD/poold/poold"
}
check 'a second poold on the same directories is refused' second_poold
check 'and did no harm to the first' prints alive guest "$id" -- echo alive

# ---- a damaged snapshot ----
snapshot=$VOLT_STATE_DIR/snapshots/default
# memory_flip DATA|HOLE: changes four bytes in the middle of the first such extent of guest RAM,
# and keeps what there was.
memory_flip()
{
    python3 - "$1" "$snapshot/memory.img" "$work/were" <<'PYTHON'
import os, sys
kind, path, kept = sys.argv[1:]
fd = os.open(path, os.O_RDWR)
whence = {"DATA": (os.SEEK_DATA, os.SEEK_HOLE), "HOLE": (os.SEEK_HOLE, os.SEEK_DATA)}[kind]
start = os.lseek(fd, 1 << 20, whence[0])
at = (start + os.lseek(fd, start, whence[1])) // 2
were = os.pread(fd, 4, at)
os.pwrite(fd, bytes(b ^ 0x5a for b in were), at)
open(kept, "wb").write(at.to_bytes(8, "little") + were)
print(at)
PYTHON
}
memory_mend()
{
    python3 - "$snapshot/memory.img" "$work/were" <<'PYTHON'
import os, sys
kept = open(sys.argv[2], "rb").read()
os.pwrite(os.open(sys.argv[1], os.O_RDWR), kept[8:], int.from_bytes(kept[:8], "little"))
PYTHON
}
# never_ready SENTENCE: the pool of the poold that has just started fails with it, and was ready at
# no time
never_ready()
{
    until_true 20 pool_is failed || return 1
    "$voltctl" pool show default --json | grep -q "$1" || { "$voltctl" pool show default; return 1; }
    ! tail -n "+$((lines + 1))" "$log" | grep "pool 'default' is ready"
}
for kind in DATA HOLE; do
    poold_stop
    at=$(memory_flip $kind)
    lines=$(wc -l <"$log")
    poold_start
    place="memory.img: chunk $((at / 262144)) at offset $((at / 262144 * 262144)) is damaged"
    check "four bytes changed in its ${kind,,}: the pool never gets ready, and says where" \
        never_ready "$place"
    check 'it gives out no VM' fails_saying 125 'chunk' "$voltctl" acquire
    check 'nor does verify like it' fails_saying 1 "chunk $((at / 262144))" "$voltctl" snapshot verify default
    memory_mend
done
poold_stop
check 'a VM without poold is refused, too' bash -c "
    python3 -c 'import os; os.pwrite(os.open(\"$snapshot/memory.img\", os.O_RDWR), b\"????\", $at)'
    ! timeout 60 '$VOLT_BUILD/vmm-core/volt-vmm/volt-vmm' --restore '$snapshot' </dev/null >'$work/said' 2>&1"
check 'with the same sentence' grep -q "$place" "$work/said"
memory_mend
poold_start
check 'put right again, the pool is ready' until_true 20 pool_is ready
id=$(acquire)
check 'and a VM works' prints alive guest "$id" -- echo alive
