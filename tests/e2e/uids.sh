# SPDX-License-Identifier: Apache-2.0
# Goal: two poolds of one host never run VMs with the same uid, nor does one that comes after a poold
# that was killed. Method: two on states and run directories of their own, with nothing in common but
# the default range of uids.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

if [ "$(id -u)" != 0 ]; then
    skip 'uids of two poolds' 'needs root: without, VMs have none of their own'
    exit 0
fi
poold_with_pool
acquire >/dev/null && acquire >/dev/null || exit 1

# vm_uids POOLD_PID: of all the VMs that it has, sorted
vm_uids()
{
    local outside template
    for outside in $(pgrep -P "$1"); do
        for template in $(pgrep -P "$outside"); do
            pgrep -P "$template" | while read -r vm; do
                sed -n 's/^Uid:.\([0-9]*\).*/\1/p' "/proc/$vm/status"
            done
        done
    done | sort
}
# other NAME COMMAND...: with the directories of another poold
other()
{
    local name=$1
    shift
    VOLT_RUN_DIR=$work/$name VOLT_STATE_DIR=$work/$name-state "$@"
}
other_poold()
{
    cp -a --sparse=always "$E2E_SHARED/state" "$work/$1-state"
    other "$1" "$VOLT_BUILD/poold/poold" --keep-ms 0 </dev/null >"$work/$1.log" 2>&1 &
    until_true 20 other "$1" parked_at_least 2
}
pid_of()
{
    cat "$work/$1/lock"
}
has_own_uids()
{
    local mine others
    mine=$(vm_uids "$1") others=$(vm_uids "$2")
    [ "$(wc -l <<<"$mine")" -ge 2 ] && [ "$(wc -l <<<"$others")" -ge 2 ] &&
        [ -z "$(comm -12 <(echo "$mine") <(echo "$others"))" ] || { echo "$mine -- $others"; return 1; }
}
locks_of()
{
    find "/proc/$1/fd" -lname '/run/volt-uids/*' | wc -l
}

check 'a second poold has its VMs' other_poold second
second=$(pid_of second)
check 'no uid is used by both' has_own_uids "$poold_pid" "$second"
check 'each holds one lock' prints '1 1' echo "$(locks_of "$poold_pid")" "$(locks_of "$second")"
kill -9 "$second"
check 'a third has its VMs, after the second was killed' other_poold third
third=$(pid_of third)
check 'no uid is used by both of those' has_own_uids "$poold_pid" "$third"
check 'a range that is all used up is refused with a sentence' fails_saying 1 '--uid-base' \
    other fourth "$VOLT_BUILD/poold/poold" --uid-count 1024
kill "$third"
check 'the third ends' until_true 10 process_gone "$third"
