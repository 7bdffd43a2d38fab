# SPDX-License-Identifier: Apache-2.0
# What package.sh has of restarts under systemd: leases, VMs and streams go on, whatever ends poold but a
# stop. Sourced by it.
#
# How it works
#   Before: leases with a command, a copy and a console that wait for more input, and one that is bound to
#   its client. Meanwhile: a client that acquires and releases without a pause. After each way in which
#   poold can end and begin again, all of these are asked again.
# shellcheck shell=bash

held=()
said=(begun)
# Leases that are held, as they are, but for their age; and their processes.
leases_held()
{
    ctl ps --json | python3 -c '
import json, sys
for lease in sorted(json.load(sys.stdin)["leases"], key=lambda lease: lease["lease"]):
    if lease["lease"] in sys.argv[1:]:
        print({k: v for k, v in lease.items() if k not in ("age_ms", "expires_in_ms")})' "${held[@]}"
}
# stream_open NAME COMMAND...: it reads what is written to the fd ${stream[NAME]}; what it says is in
# $work/NAME.out. None of the others' fds is its.
declare -A stream job
stream_open()
{
    local name=$1 fd
    shift
    mkfifo "$work/$name.in"
    (
        for fd in "${stream[@]}"; do eval "exec $fd>&-"; done
        "$@"
    ) <"$work/$name.in" >"$work/$name.out" 2>&1 &
    job[$name]=$!
    exec {fd}>"$work/$name.in"
    stream[$name]=$fd
}
answers()
{
    echo "$2" >&"${stream[$1]}" || return 1
    until_true 60 grep -q "$2" "$work/$1.out"
}
# Its exit status.
stream_ends()
{
    eval "exec ${stream[$1]}>&-"
    unset "stream[$1]"
    wait "${job[$1]}"
}
bound_lease()
{
    ctl ps --json | python3 -c '
import json, sys
print(*(l["lease"] for l in json.load(sys.stdin)["leases"] if l["lease"] not in sys.argv[1:]))' "${held[@]}"
}
# In this shell, as what it opens stays open.
hold()
{
    local i
    for ((i = 0; i < 2; i++)); do
        held+=("$(ctl acquire --ttl 2h --wait "$(patient 20)s")") || return 1
    done
    head -c 3000000 /dev/urandom >"$work/copied" && tar -C "$work" -cf "$work/copied.tar" copied || return 1
    stream_open exec ctl exec -i "${held[0]}" -- cat
    stream_open console ctl console "${held[1]}"
    stream_open copy ctl cp - "${held[0]}:/tmp"
    head -c 1500000 "$work/copied.tar" >&"${stream[copy]}" # the rest of it comes last
    stream_open bound ctl run -i --wait "$(patient 20)s" -- cat
    answers exec begun && answers bound begun && answers console 'echo begun' || return 1
    held+=("$(bound_lease)")
}
hold >"$work/held" 2>&1
status=$?
check 'leases are held, with streams' sh -c 'cat "$0"; exit '$status "$work/held"

in_groups()
{
    local pid
    for pid in $(ctl ps --json | grep -o '"pid": [0-9]*' | grep -o '[0-9]*$'); do
        inside cat "/proc/$pid/cgroup" | grep -q 'poold.service/volt-[0-9a-f]*/' || { inside cat "/proc/$pid/cgroup"; return 1; }
    done
}
check 'VMs have groups of their own below the service'"'"'s' in_groups

# outlives WHAT COMMAND...: it ends poold, and is over when the next one is there.
outlives()
{
    local what=$1 client acquires
    shift
    leases_held >"$work/before"
    : >"$work/acquires"
    mkfifo "$work/acquires.in"
    python3 "$here/acquires.py" "/proc/$("$here/boot-root" --init "$debian")/root/run/volt/poold.sock" \
        <"$work/acquires.in" >"$work/acquires" 2>&1 &
    client=$!
    exec {acquires}>"$work/acquires.in"
    until_true 20 grep -q begun "$work/acquires"
    check "$what: poold is there again" "$@"
    exec {acquires}>&-
    rm "$work/acquires.in"
    wait $client
    said+=("$what")
    echo "# $what: $(tail -n 1 "$work/acquires")"
    check "$what: acquires go on" acquires_went_on
    check "$what: leases are known as they were, with the same processes" diff "$work/before" <(leases_held)
    check "$what: a command goes on" answers exec "$what"
    check "$what: that of a client to whom its lease is bound, too" answers bound "$what"
    check "$what: a console goes on" answers console "echo $what"
    check "$what: others begin" prints alive ctl exec "${held[0]}" -- echo alive
    check "$what: no lease is left of acquires" only_held
    check "$what: VMs have their groups" in_groups
}
# Some after it, and none waited long: what a machine that is busy lets them wait.
acquires_went_on()
{
    local count failed gap
    read -r count _ failed _ gap _ < <(tail -n 1 "$work/acquires")
    [ "$count" -gt 3 ] && [ "$gap" -lt "$(patient 3)000" ] || { echo "$count, $failed, $gap ms"; return 1; }
}
only_held()
{
    [ "$(ctl ps --json | json leases | grep -o '"lease"' | wc -l)" = "${#held[@]}" ] || { ctl ps; return 1; }
}

restarts()
{
    local pid
    pid=$(main_pid)
    inside systemctl restart poold.service && pid_is_another "$pid"
}
outlives restart restarts
killed()
{
    local pid
    pid=$(main_pid)
    inside systemctl kill --kill-who=main -s KILL poold.service && until_true 30 pid_is_another "$pid"
}
outlives killed killed
# More often than systemd starts what fails by itself, unless it is told to.
killed_often()
{
    local i
    for ((i = 0; i < 8; i++)); do killed || return 1; done
}
outlives 'killed often' killed_often
reexecuted()
{
    inside systemctl daemon-reexec && restarts
}
outlives 'systemd is executed anew' reexecuted

# ---- The end, once package.sh has upgraded it ----

none_runs()
{
    local name
    for name in 'poold.*' 'volt-.*' 'passt.*'; do # in one, they are longer than pgrep takes
        ! inside pgrep -l -x "$name" || return 1
    done
}
copied_wholly()
{
    prints "$(md5sum <"$work/copied")" ctl exec "${held[0]}" -- sh -c 'md5sum </tmp/copied'
}
no_group()
{
    ! ls -d /sys/fs/cgroup/{,*/}"volt-test-$$/system.slice/poold.service" 2>/dev/null
}
# Streams that went on over all of it end as they should.
streams_end()
{
    tail -c +1500001 "$work/copied.tar" >&"${stream[copy]}"
    stream_ends copy
    check 'the copy ends well' test $? = 0
    check 'with all of it' copied_wholly
    stream_ends exec
    check 'the command ends well' test $? = 0
    check 'with all that was said' diff <(printf '%s\n' "${said[@]}") "$work/exec.out"
    stream_ends bound
    check 'the bound one, too' test $? = 0
    unset 'held[2]'
    check 'and its lease with it' until_true 20 only_held
}
stops()
{
    inside systemctl stop poold.socket poold.service && until_true 10 none_runs && no_group && [ -z "$(inside ls /run/volt/vms)" ]
}
starts_again()
{
    inside systemctl start poold.socket poold.service && pool_is_ready && prints '[]' sh -c 'cat "$0"' <(ctl ps --json | json leases)
}
# Killed, and not started again: what it leaves is ended by hand.
left_is_ended()
{
    printf '[Service]\nRestart=no\n' >"$debian/run-restart.conf"
    inside sh -c 'mkdir -p /run/systemd/system/poold.service.d && mv /run-restart.conf /run/systemd/system/poold.service.d/no.conf &&
        systemctl daemon-reload && voltctl acquire' || return 1
    ! inside poold --stop-vms 2>/dev/null || { echo 'it does so beside a poold that serves'; return 1; }
    inside systemctl kill --kill-who=main -s KILL poold.service
    until_true 10 is_failed && inside pgrep -x volt-vmm || { echo 'the VMs are gone'; return 1; }
    # With its service, which is needed by it, only now; the next client would start both.
    inside systemctl stop poold.socket
    inside poold --stop-vms && until_true 10 none_runs && inside sh -c 'rm -r /run/systemd/system/poold.service.d && systemctl daemon-reload'
}
is_failed()
{
    [ "$(inside systemctl is-active poold.service)" = failed ]
}
restarts_end()
{
    streams_end
    check 'a stop ends all of it, and leaves no process, folder and group' stops
    stream_ends console
    check 'a start has the pool, and no lease' starts_again
    check 'what a killed poold leaves is ended by --stop-vms' left_is_ended
    check 'and a start has the pool again' starts_again
}
