# SPDX-License-Identifier: Apache-2.0
# Goal: exec gives a guest command everything that a local one has: streams, exit codes, signals,
# environment, a terminal; and stays small whatever the guest prints.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
poold_with_pool
id=$(acquire)

check 'standard output' prints 'a b  c' guest "$id" -- echo 'a b  c'
err_only()
{
    [ "$(guest "$id" -- sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)" = err ]
}
check 'standard error is kept apart' err_only
for code in 0 1 42 255; do
    check "exit code $code" exits $code guest "$id" -- sh -c "exit $code"
done
check 'ended by a signal: 128 + N' exits 137 guest "$id" -- sh -c 'kill -9 $$'
check 'no such command: 127' fails_saying 127 nosuchcommand guest "$id" -- nosuchcommand
check 'not executable: 126' exits 126 guest "$id" -- /etc
check '--timeout: 124' exits 124 guest "$id" --timeout 1s -- sleep 60
check 'after it the command is gone' exits 1 guest "$id" -- sh -c 'ps | grep -v grep | grep "sleep 60"'
check 'environment' prints 'one two' guest "$id" -e A=one -e B=two -- sh -c 'echo $A $B'
export VOLT_E2E_VARIABLE=mine
check 'environment passed on by name' prints mine guest "$id" -e VOLT_E2E_VARIABLE -- sh -c 'echo $VOLT_E2E_VARIABLE'
check 'working directory' prints /proc guest "$id" -w /proc -- pwd
guest "$id" -- sh -c 'mkdir -p /root/deep && chmod 700 /root'
check 'another user' prints '1234 99 99 /' guest "$id" -u 1234:99 -- sh -c 'echo $(id -u) $(id -g) $(id -G) $HOME'
check 'its variables are its own' prints /x guest "$id" -u 1234 -e HOME=/x -- sh -c 'echo $HOME'
check 'it has no rights' exits 1 guest "$id" -u 1234 -- sh -c 'cat /etc/shadow 2>/dev/null || echo x >/mine'
check 'its streams are its own' prints streams guest "$id" -u 1234 -- sh -c 'echo streams >/proc/self/fd/1'
check 'and its terminal' bash -c "'$voltctl' exec -t -u 1234 '$id' -- sh -c 'echo mine >\$(tty)' | grep -q mine"
check 'it is put where it could not go' prints /root/deep guest "$id" -u 1234 -w /root/deep -- pwd
check 'a user that is not there' fails_saying 125 "no user 'nosuch' in /etc/passwd" guest "$id" -u nosuch -- id
check 'root again' prints 0 guest "$id" -u 0:0 -- id -u
check 'a working directory that is not there' exits 125 guest "$id" -w /nonexistent -- pwd

stdin_bytes()
{
    local sum_here sum_there
    head -c 300000 /dev/urandom >"$work/random"
    sum_here=$(md5sum <"$work/random")
    sum_there=$(guest "$id" -i -- md5sum <"$work/random")
    [ "$sum_here" = "$sum_there" ] || { echo "$sum_here, but there $sum_there"; return 1; }
}
check '300 kilobytes of standard input arrive whole' stdin_bytes
echo_back()
{
    guest "$id" -i -- cat <"$work/random" | cmp - "$work/random"
}
check 'and come back whole' echo_back
check 'without -i standard input is empty' prints 0 bash -c "echo text | '$voltctl' exec '$id' -- wc -c"
early_end()
{
    exits 0 guest "$id" -i -- true <"$work/random"
}
check 'a command that reads no input' early_end

# Endless output and a reader that reads nothing: neither voltctl nor the VMM may collect it.
held_kib()
{
    awk '/^RssAnon/ { sum += $2 } END { print sum }' "/proc/$1/status" "/proc/$2/status"
}
stays_small()
{
    local early late
    early=$(held_kib "$@")
    sleep 4
    late=$(held_kib "$@")
    echo "from $early to $late KiB in 4 s"
    [ $((late - early)) -lt 2048 ]
}
endless_output()
{
    local vmm client grows=1
    vmm=$("$voltctl" ps --json | json leases.0.pid)
    mkfifo "$work/stuck"
    "$voltctl" exec "$id" -- yes >"$work/stuck" &
    client=$!
    exec 8<"$work/stuck"
    head -c 1 <&8 | grep -q y || return 1
    # Not at once: on a machine that is busy the guest still touches the memory that it works with.
    until_true 30 stays_small "$vmm" "$client" && grows=0
    exec 8<&-
    wait $client
    return $grows
}
check 'output that nobody reads is held nowhere' endless_output
broken_pipe()
{
    guest "$id" -- yes | head -n 1 | grep -q y
    until_true 10 bash -c "! '$voltctl' exec $id -- ps | grep -q '[y]es'"
}
check 'a reader that leaves ends the command' broken_pipe

sigterm_forwarded()
{
    "$voltctl" exec "$id" -- sh -c 'trap "echo caught; exit 9" TERM; echo ready; while :; do sleep 0.1; done' >"$work/signal" &
    local pid=$! status=0
    until_true 60 grep -q ready "$work/signal" || return 1
    kill -TERM $pid
    wait $pid || status=$?
    [ $status = 9 ] && grep -q caught "$work/signal" || { echo "status $status: $(cat "$work/signal")"; return 1; }
}
check 'SIGTERM reaches the command' sigterm_forwarded

# -t with a terminal on our side, made by script(1)
tty_session()
{
    script -qec "'$voltctl' exec -it $id -- sh -c 'tty; stty size; read -r line; echo got-\$line'" /dev/null \
        <<<"typed" >"$work/tty" 2>&1
    grep -q '/dev/pts' "$work/tty" && grep -q 'got-typed' "$work/tty" || { cat "$work/tty"; return 1; }
}
if command -v script >/dev/null; then
    check 'a terminal on both sides' tty_session
else
    skip 'a terminal on both sides' 'there is no script(1) on this host'
fi
check '-t without a terminal of ours' bash -c "'$voltctl' exec -t '$id' -- tty | grep -q /dev/pts"

many_at_once()
{
    local i pids=()
    for i in {1..8}; do
        (prints "$i" guest "$id" -- sh -c "sleep 0.2; echo $i") &
        pids+=($!)
    done
    for i in "${pids[@]}"; do wait "$i" || return 1; done
}
check 'eight commands in one VM at once' many_at_once
check 'arguments are not split or expanded' prints "a  b|*|\$HOME|" guest "$id" -- sh -c 'printf "%s|" "$@"' sh 'a  b' '*' '$HOME'

console_help()
{
    : >"$work/console"
    # its input does not end before what it is to show is there
    { printf 'help\nsysinfo\n'; until_true 60 grep -q 'kernel *Linux' "$work/console" >&2; } |
        "$voltctl" console "$id" >"$work/console" || return 1
    grep -q 'kernel *Linux' "$work/console" || { head -c 2000 "$work/console"; return 1; }
}
check 'the console takes commands' console_help
check 'console --backlog' bash -c "'$voltctl' console --backlog '$id' | grep -q 'kernel *Linux'"
check 'the console of an unknown lease' fails_saying 125 lease "$voltctl" console ffffffffffff

poweroff()
{
    guest "$id" -- poweroff
    until_true 10 bash -c "! '$voltctl' ps | grep -q '^$id'"
}
check 'a guest that powers off ends its lease' poweroff
