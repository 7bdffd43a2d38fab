# SPDX-License-Identifier: Apache-2.0
# Goal: a command with a terminal that was made ahead has all that a terminal gives: its size from the
# start, keys that are signals, a hang-up when whoever watched has gone; and a console shell that is
# started again keeps nothing of what runs meanwhile. Method: commands in one VM, and what they say.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
poold_with_pool
id=$(acquire)

# The terminal that the agent has ready; nothing when there is none yet.
terminal_ahead()
{
    guest "$id" -- sh -c 'ls -l /proc/1/fd' | sed -n 's|.*-> \(/dev/pts/[0-9]*\)$|\1|p'
}
is_ahead()
{
    [ -n "$(terminal_ahead)" ]
}

# with_terminal COMMAND KEYS: runs it with a terminal that was ahead; KEYS are typed once it said
# 'ready'. What it said is in $work/said.
mkfifo "$work/typed"
with_terminal()
{
    local client
    until_true 20 is_ahead || return 1
    "$voltctl" exec -it "$id" -- sh -c "$1" <"$work/typed" >"$work/said" 2>&1 &
    client=$!
    exec 8>"$work/typed"
    until_true 60 grep -q ready "$work/said" && printf '%b' "$2" >&8
    wait $client
}

it_was_ahead()
{
    local ahead
    until_true 20 is_ahead || return 1
    ahead=$(terminal_ahead)
    prints "$ahead" bash -c "'$voltctl' exec -t '$id' -- tty | tr -d '\r'"
}
check 'a command gets the terminal that was made ahead' it_was_ahead
check 'the next one gets another made ahead' it_was_ahead

# What is at /dev/pts by then has no name for the one made ahead.
named_after_mounts()
{
    local step
    for step in 'mount -t devpts another /dev/pts' 'umount -l /dev/pts'; do
        until_true 20 is_ahead && guest "$id" -- sh -c "$step" || return 1
        "$voltctl" exec -t "$id" -- tty | tr -d '\r' | grep -q '^/dev/pts/[0-9]*$' || return 1
    done
}
check 'it has its name where another file system was mounted meanwhile' named_after_mounts

has_its_size()
{
    until_true 20 is_ahead || return 1
    script -qec "stty rows 33 cols 91; '$voltctl' exec -t '$id' -- stty size" /dev/null </dev/null | grep -q '33 91'
}
if command -v script >/dev/null; then
    check 'it has its size before the command starts' has_its_size
else
    skip 'it has its size before the command starts' 'there is no script(1) on this host'
fi

# Both shells are of the foreground group; what they run is, too.
interrupted()
{
    local status=0
    with_terminal 'trap "echo outer; exit 9" INT
        sh -c "trap \"echo inner; exit 3\" INT; echo ready; while :; do sleep 0.1; done"' '\003' || status=$?
    [ $status = 9 ] && grep -q inner "$work/said" && grep -q outer "$work/said" && return 0
    echo "exit status $status: $(cat "$work/said")"
    return 1
}
check 'Ctrl-C reaches the foreground group' interrupted
killed_by_key()
{
    exits 130 with_terminal 'echo ready; sleep 600' '\003'
}
check 'Ctrl-C ends a command that knows nothing of it' killed_by_key

# A job of its own group in the foreground, whose shell is gone by then.
guest_file()
{
    guest "$id" -- test -e "$1"
}
hung_up()
{
    local client
    until_true 20 is_ahead || return 1
    "$voltctl" exec -t "$id" -- sh -c 'set -m
        sh -c "trap \"echo >/tmp/hung-up; exit\" HUP; echo >/tmp/started; while :; do sleep 0.1; done"
        true' >"$work/job" 2>&1 & # so that it is not the shell itself that becomes the job
    client=$!
    until_true 20 guest_file /tmp/started || { cat "$work/job"; return 1; }
    kill -9 $client
    until_true 20 guest_file /tmp/hung-up
}
check 'the session is hung up when its client has gone' hung_up

# The shell holds copies of nothing that it would keep open.
shell_pid()
{
    guest "$id" -- ps | awk '$1 != 1 && /[/]init/ { print $1 }'
}
another_shell()
{
    local pid
    pid=$(shell_pid)
    [ -n "$pid" ] && [ "$pid" != "$1" ]
}
end_of_input()
{
    local old client
    "$voltctl" exec -i "$id" -- cat <"$work/typed" >"$work/said" &
    client=$!
    exec 8>"$work/typed"
    echo ready >&8
    until_true 20 grep -q ready "$work/said" || return 1
    old=$(shell_pid)
    guest "$id" -- kill -9 "$old"
    until_true 20 another_shell "$old" || return 1
    exec 8>&-
    until_true 20 process_gone $client || { kill $client; return 1; }
    wait $client
}
check 'a console shell started again keeps no input of a command open' end_of_input
own_descriptors()
{
    local pid
    pid=$(shell_pid) && [ -n "$pid" ] || return 1
    [ "$(guest "$id" -- sh -c "ls /proc/$pid/fd | wc -l")" -le 4 ]
}
check 'nor anything else' own_descriptors
