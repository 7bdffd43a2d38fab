# SPDX-License-Identifier: Apache-2.0
# Goal: 200 acquires and releases leave no process, descriptor, socket or file behind.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
poold_with_pool

readonly rounds=${E2E_ROUNDS:-200}

# All that descends from poold: templates, and the VMs that these fork.
vm_pids()
{
    local parents=$poold_pid
    while parents=$(pgrep -d, -P "$parents"); do
        tr , '\n' <<<"$parents"
    done
}

# What there is of everything, once the pool has come to rest.
settled()
{
    parked_at_least 2 && [ "$(pool_slots stopping)" = 0 ] && [ "$(pool_slots preparing)" = 0 ] &&
        [ "$(pool_slots parked)" = 2 ]
}
inventory()
{
    echo "descriptors $(ls "/proc/$poold_pid/fd" | wc -l)"
    echo "processes $(vm_pids | wc -l)"
    echo "files $(find "$VOLT_RUN_DIR" "$VOLT_STATE_DIR" | wc -l)"
    echo "sockets $(find "$VOLT_RUN_DIR" -type s | wc -l)"
    echo "threads $(ls "/proc/$poold_pid/task" | wc -l)"
}
churn()
{
    local i id
    for ((i = 0; i < rounds; i++)); do
        id=$("$voltctl" acquire --wait "$(patient 30)s") || { echo "acquire $i"; return 1; }
        "$voltctl" release "$id" || { echo "release $i"; return 1; }
    done
}
# A few first: caches and thread pools fill once.
for _ in 1 2 3 4; do "$voltctl" release "$(acquire)"; done
working_set_is_recorded()
{
    [ "$("$voltctl" snapshot inspect default --json | json working_set_bytes)" -gt 0 ]
}
check 'the working set is recorded, by a VM beside the others' until_true 60 working_set_is_recorded
# at_rest: the pool has come to rest, and what there is does not change any more
at_rest()
{
    settled && before=$(inventory) && sleep 0.5 && settled && [ "$before" = "$(inventory)" ]
}
until_true 60 at_rest
memory_before=$(awk '/^VmRSS/ { print $2 }' "/proc/$poold_pid/status")
check "$rounds acquires and releases" churn
as_before()
{
    settled && diff <(echo "$before") <(inventory)
}
until_true 60 as_before
memory_after=$(awk '/^VmRSS/ { print $2 }' "/proc/$poold_pid/status")
check 'leave no process, descriptor, socket, file or thread' as_before
check "poold's memory is flat" test $((memory_after - memory_before)) -lt 1024
idle_cpu()
{
    local ticks_before ticks_after
    ticks_before=$(awk '{ print $14 + $15 }' "/proc/$poold_pid/stat")
    sleep 3
    ticks_after=$(awk '{ print $14 + $15 }' "/proc/$poold_pid/stat")
    [ $((ticks_after - ticks_before)) -le 1 ] || { echo "$((ticks_after - ticks_before)) ticks in 3 s"; return 1; }
}
# What the commands before it left to do may be in the first of them.
check 'poold idle uses no CPU' until_true 10 idle_cpu
vm_memory()
{
    local id pid kib
    id=$(acquire)
    pid=$("$voltctl" ps --json | json leases.0.pid)
    # Private memory that is not the guest's: all private pages but those of the memory image.
    kib=$(awk '/^[0-9a-f]+-/ { image = /memory\.img|memfd:/ } /^Private_(Clean|Dirty):/ && !image { kib += $2 } END { print kib }' "/proc/$pid/smaps")
    "$voltctl" release "$id"
    [ "$kib" -le 2048 ] || { echo "$kib KiB"; return 1; }
}
if [ "$(id -u)" = 0 ]; then
    check "a VMM's own private memory is at most 2 MiB" vm_memory
else
    skip "a VMM's own private memory is at most 2 MiB" 'needs root to read the smaps of a process that is not dumpable'
fi
mapfile -t vms < <(vm_pids)
check 'there are VMs to stop' test ${#vms[@]} -ge 3
kill "$poold_pid"
ended()
{
    local status=0
    wait "$poold_pid" || status=$?
    [ $status = 0 ] || { echo "exit status $status"; return 1; }
}
ended && stopped=0 || stopped=1
check 'SIGTERM: poold exits 0' test $stopped = 0
poold_pid=
check 'SIGTERM: no socket is left' bash -c "! find '$VOLT_RUN_DIR' -type s 2>/dev/null | grep -q ."
check 'SIGTERM: no VM is left' until_true 10 bash -c '! kill -0 "$@" 2>/dev/null' bash "${vms[@]}"
