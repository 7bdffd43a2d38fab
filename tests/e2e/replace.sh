# SPDX-License-Identifier: Apache-2.0
# Goal: a pool is replaced while clients use it: no acquire is refused, leases of the old image go on, and
# from the switch on the new one answers; one that does not come up leaves the old one, and says why.
# Method: a client that acquires without patience all the time; images told apart by the kernel's
# command line.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
poold_with_pool

cmdline()
{
    guest "$1" -- cat /proc/cmdline
}
is_old()
{
    local line
    line=$(cmdline "$1") && [[ $line != *volt.image=next* ]]
}
# until `stop` is there: each acquire that is refused leaves a line in `refused`
clients()
{
    local id
    until [ -e "$work/stop" ]; do
        id=$("$voltctl" acquire 2>>"$work/refused") || continue
        echo "$id" >>"$work/served"
        "$voltctl" release "$id"
        sleep 0.2 # the machine is not theirs alone: a VM boots
    done
}
switched()
{
    local acquired
    clients &
    "$voltctl" pool replace default --cmdline 'volt.image=next' >"$work/table" 2>"$work/progress" || return 1
    acquired=$(wc -l <"$work/served")
    until_true 20 test "$(wc -l <"$work/served")" -gt "$acquired"
    touch "$work/stop"
    wait $!
    cat "$work/progress" "$work/table" "$work/refused"
    grep -q ^boot "$work/progress" && grep -q ready "$work/table" && [ "$(wc -l <"$work/served")" -gt 5 ] && [ ! -s "$work/refused" ]
}
is_new()
{
    local id line
    id=$(acquire) && line=$(cmdline "$id") && "$voltctl" release "$id" && [[ $line == *volt.image=next* ]]
}
one_snapshot()
{
    [ "$(ls "$VOLT_STATE_DIR/snapshots")" = default~1 ] && [ "$(ls "$VOLT_STATE_DIR/pools")" = default~1.json ]
}

old=$(acquire)
check "no acquire is refused while the pool is replaced" switched
check "then the new image answers" is_new
check "a lease of the old one goes on" is_old "$old"
check "when it is released the old snapshot goes" "$voltctl" release "$old"
check "and nothing else is left of it" until_true 10 one_snapshot
echo "no kernel" >"$work/kernel"
check "one that can't boot says why, and the pool stays" fails_saying 125 "it stays as it is: " \
    "$voltctl" pool replace default --kernel "$work/kernel"
check "with its snapshot" until_true 10 one_snapshot
check "and its image" is_new
