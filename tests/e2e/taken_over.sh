# SPDX-License-Identifier: Apache-2.0
# Goal: a guest that has taken over its VM's process harms nobody but itself. Method: system calls made
# in that process from outside (inject.py), under all of its layers, and a look at poold and at
# the VMs beside it afterwards.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

if [ "$(id -u)" != 0 ]; then
    skip 'a VM that was taken over' 'needs root, to make calls in its process'
    exit 0
fi
poold_with_pool
honest=$(acquire) || exit 1

api()
{
    curl -s --unix-socket "$VOLT_RUN_DIR/poold.sock" "http://volt/v1/$1"
}
# victim: a new lease, in $taken, whose process $pid is taken over
victim()
{
    taken=$(acquire "$@") && pid=$(api "leases/$taken" | json pid)
}
deed()
{
    python3 "$here/taken_over.py" "$1" "$pid" "${@:2}"
}
# The filter ends the process, and with it the VM.
deed_is_deadly()
{
    local said
    said=$(deed "$@") && { echo "it went through: $said"; return 1; }
    [[ $said == *"killed by SIGSYS"* ]] || { echo "$said"; return 1; }
}
poolds_descriptors()
{
    grep -H '^flags' "/proc/$poold_pid/fdinfo/"* 2>/dev/null | grep -E "fdinfo/[0-2]:"
}
log_is_untouched()
{
    local flags size
    flags=$(poolds_descriptors) size=$(stat -c %s "$log")
    deed log || return 1
    [ "$(stat -c %s "$log")" -ge "$size" ] || { echo "the log has lost $size bytes"; return 1; }
    ! grep 'forged' "$log" || return 1
    [ "$(poolds_descriptors)" = "$flags" ] || { echo "poold's flags were $flags"; poolds_descriptors; return 1; }
}
keys()
{
    api pools/default | python3 -c 'import json, sys; print(*sorted(json.load(sys.stdin)))'
}
text_is_cleaned()
{
    local before
    before=$(keys)
    deed lie && until_true 10 grep -q 'host_error: gone' "$log" || return 1
    ! grep '^2026-01-01' "$log" || return 1
    ! LC_ALL=C grep -n '[^[:print:]]' "$log" || return 1
    prints "$before" keys || return 1
    [[ $(api pools/default | json last_failure) == 'host_error: gone\n2026-01-01T00'* ]] ||
        { api pools/default; return 1; }
    ! "$voltctl" pool show default | LC_ALL=C grep -n '[^[:print:]]'
}
last_failure_is()
{
    [[ $(api pools/default | json last_failure) == "$1: "* ]]
}
floods_are_ended()
{
    local said
    said=$(deed flood "$1") || { echo "$said"; return 1; }
    [[ $said == *SIGKILL* ]] || { echo "it lives: $said"; return 1; }
    until_true 10 last_failure_is protocol_error
}
poolds_machines()
{
    find "/proc/$poold_pid/fd" -lname 'anon_inode:kvm*' | wc -l
}
fds_are_refused()
{
    deed fds || return 1
    prints 0 poolds_machines
}
assertion_is_told()
{
    deed assertion && until_true 10 grep -q "weather.c:7: look_up: 'sky == blue' is not so" "$log"
}
others_live()
{
    guest "$honest" true && poold_answers
}

victim || exit 1
check "poold's log and its descriptors are out of reach" log_is_untouched
victim || exit 1
check 'flags of files that VMs share are out of reach' deed_is_deadly direct
victim || exit 1
check "the host's disk can't be filled" deed_is_deadly space
victim || exit 1
check 'what it says is one line of clean text in the log, in JSON and on the terminal' text_is_cleaned
for kind in hello banner parked awake ready snapshot_done stats cloned child_exited trouble; do
    victim || exit 1
    check "a flood of messages ends the VM: $kind" floods_are_ended $kind
done
victim || exit 1
check 'poold ends up with no fd of its' fds_are_refused
victim || exit 1
check "an assertion of the VMM's that fails is told in poold's log" assertion_is_told
check 'poold and the VM beside it live on' others_live
