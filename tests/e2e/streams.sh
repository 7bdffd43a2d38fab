# SPDX-License-Identifier: Apache-2.0
# Goal: streams neither stall nor end wrongly: readers that pause or leave, descriptors that are
# closed or full, leases that end, commands that leave something behind or do not react.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
poold_with_pool
id=$(acquire --ttl 0)

# ---- Readers that pause ----

# paused BYTES FIRST SECONDS: the guest writes, we read FIRST bytes, pause, and read the rest
paused()
{
    prints $(($1 - $2)) bash -c "'$voltctl' exec $id -- head -c $1 /dev/zero |
        (head -c $2 >/dev/null; sleep $3; wc -c)"
}
check 'a reader that pauses gets all' paused 4000000 300000 1
check 'one that pauses at the beginning, too' paused 1000000 1 1
stderr_paused()
{
    prints 1000000 bash -c "'$voltctl' exec $id -- sh -c 'head -c 1000000 /dev/zero >&2' 2>&1 >/dev/null |
        (sleep 1; wc -c)"
}
check 'and of standard error' stderr_paused
both_paused()
{
    "$voltctl" exec "$id" -- sh -c 'head -c 500000 /dev/zero >&2 & head -c 500000 /dev/zero; wait' \
        2> >(sleep 1; wc -c >"$work/both.2") > >(sleep 0.5; wc -c >"$work/both.1")
    until_true 10 test -s "$work/both.1" -a -s "$work/both.2"
    prints 500000 cat "$work/both.1" && prints 500000 cat "$work/both.2"
}
check 'and of both at once' both_paused
terminal_paused()
{
    prints 300000 bash -c "'$voltctl' exec -t $id -- head -c 300000 /dev/zero | (head -c 1 >/dev/null; sleep 1; wc -c) |
        awk '{ print \$1 + 1 }'"
}
check 'and of a terminal' terminal_paused
writer_pauses()
{
    prints 400000 bash -c "(head -c 100000 /dev/zero; sleep 1; head -c 300000 /dev/zero) |
        '$voltctl' exec -i $id -- sh -c 'sleep 0.5; wc -c'"
}
check 'standard input that pauses arrives whole' writer_pauses

# ---- Descriptors that are closed or full ----

closed_stdin()
{
    # a file that is opened first would be descriptor 0
    "$voltctl" exec -i "$id" -- cat <&- >"$work/closed" && [ ! -s "$work/closed" ]
}
check 'standard input closed: it is empty' closed_stdin
closed_stdout()
{
    fails_saying 125 'standard output' bash -c "'$voltctl' exec $id -- seq 3000 >&-" &&
        "$voltctl" exec "$id" -- true >&-
}
check 'standard output closed: an error if there is output' closed_stdout
closed_all()
{
    exits 7 bash -c "'$voltctl' exec -i $id -- sh -c 'exit 7' <&- >&- 2>&-"
}
check 'all three closed' closed_all
check 'output that cannot be written' fails_saying 125 'No space left' bash -c "'$voltctl' exec $id -- seq 3000 >/dev/full"
for command in "ps" "ps --json" "status" "pool list" "pool show default" "version" "help" "exec --help"; do
    check "$command >/dev/full is an error" fails_saying 125 'cannot write to standard output' \
        bash -c "'$voltctl' $command >/dev/full"
done

leases()
{
    "$voltctl" ps --json | json leases | grep -o '"lease"' | wc -l
}
untold()
{
    fails_saying 125 'the lease was released' bash -c "'$voltctl' acquire --wait 60s ${2:-} $1" && prints 1 leases
}
check 'a lease that cannot be told is released: /dev/full' untold '>/dev/full'
check 'closed' untold '>&-'
check 'with --json' untold '>/dev/full' --json
reader_gone()
{
    local status=0
    mkfifo "$work/gone"
    "$voltctl" acquire --wait 60s >"$work/gone" 2>"$work/gone.err" &
    exec 8<"$work/gone"
    exec 8<&-
    wait $! || status=$?
    rm "$work/gone"
    # it may have written before the reader left: then it was told
    [ $status = 0 ] || { [ $status = 125 ] && prints 1 leases; }
}
check 'a reader that has left' reader_gone
"$voltctl" ps --json | python3 -c '
import json, sys
for lease in json.load(sys.stdin)["leases"]:
    if lease["lease"] != sys.argv[1]: print(lease["lease"])' "$id" | xargs -r -n 1 "$voltctl" release

bare_vmm()
{
    local status=0
    "$VOLT_BUILD/vmm-core/volt-vmm/volt-vmm" --kernel /nonexistent --api-socket "$work/bare.sock" <&- >&- 2>&- || status=$?
    [ $status != 0 ] && [ $status -lt 126 ]
}
check 'volt-vmm without standard descriptors' bare_vmm
bare_poold()
{
    local pid
    "$VOLT_BUILD/poold/poold" --run-dir "$work/bare-run" --state-dir "$work/bare-state" <&- >&- 2>&- &
    pid=$!
    until_true 20 "$voltctl" --socket "$work/bare-run/poold.sock" status &&
        prints '/dev/null' readlink "/proc/$pid/fd/1"
    status=$?
    kill $pid
    wait $pid
    return $status
}
check 'poold without standard descriptors' bare_poold

# ---- Ends ----

lease_ends()
{
    local lease status=0
    lease=$(acquire) || return 1
    "$voltctl" exec "$lease" -- sleep 600 2>"$work/ends" &
    until_true 30 bash -c "'$voltctl' exec $lease -- ps | grep -q '[s]leep 600'" || return 1
    "$voltctl" release "$lease"
    wait $! || status=$?
    cat "$work/ends"
    [ $status = 125 ] && grep -q "lease ${lease:0:12}: .*lease" "$work/ends" &&
        ! grep -q 'closed the connection' "$work/ends"
}
check 'a lease that ends while its command runs: poold says why' lease_ends

left_behind()
{
    local started=$SECONDS
    prints hi "$voltctl" exec "$id" -- sh -c 'echo hi; sleep 600 &' &&
        prints hi "$voltctl" exec "$id" -- sh -c 'echo hi; setsid sleep 600 & sleep 0.1' &&
        prints hi bash -c "'$voltctl' exec -t $id -- sh -c 'echo hi; sleep 600 & sleep 0.5' | tr -d '\r'" &&
        [ $((SECONDS - started)) -lt "$(patient 60)" ]
}
check 'a process left in the background does not keep the session' left_behind
never_stops()
{
    "$voltctl" exec "$id" -- sh -c 'yes & echo over >&2' 2>&1 >/dev/null | grep -q over
}
check 'nor one that never stops writing' never_stops

# stubborn COMMAND...: prints once it runs, and takes no SIGTERM
stubborn='trap "" TERM; echo ready; while :; do sleep 0.2; done'
term_once()
{
    local status=0 pid
    : >"$work/stubborn"
    "$@" -- sh -c "$stubborn" >"$work/stubborn" 2>"$work/stubborn.err" &
    pid=$!
    until_true 60 grep -q ready "$work/stubborn" || return 1
    kill -TERM $pid
    wait $pid || status=$?
    cat "$work/stubborn.err"
    [ $status = 143 ] && grep -q 'SIGTERM' "$work/stubborn.err"
}
check 'run ends by SIGTERM though its command does not' term_once "$voltctl" run --kill-after 1s --wait 60s
check 'exec, too' term_once "$voltctl" exec --kill-after 1s "$id"
check 'and the command is gone' until_true 20 bash -c "! '$voltctl' exec $id -- ps | grep -q '[t]rap'"
term_thrice()
{
    local status=0 pid
    : >"$work/stubborn"
    "$voltctl" run --wait 60s --kill-after 0 -- sh -c "$stubborn" >"$work/stubborn" &
    pid=$!
    until_true 60 grep -q ready "$work/stubborn" || return 1
    until_true 60 bash -c "kill -TERM $pid; sleep 0.2; ! kill -0 $pid"
    wait $pid || status=$?
    [ $status = 143 ]
}
check 'three of them end it at once' term_thrice

# ---- Requests of any length ----

many_variables()
{
    local options=() i
    for i in {1..300}; do options+=(-e "V$i=$i"); done
    prints '300 1' "$voltctl" exec "${options[@]}" "$id" -- sh -c 'echo $V300 $V1'
}
check '300 variables' many_variables
env_file()
{
    printf '# a comment\nA=one word\nB=2\n\nVOLT_E2E_OURS\n' >"$work/env"
    prints 'one word|3|ours' env VOLT_E2E_OURS=ours "$voltctl" exec --env-file "$work/env" -e B=3 "$id" -- \
        sh -c 'echo "$A|$B|$VOLT_E2E_OURS"' &&
        fails_saying 125 "$work/none" "$voltctl" exec --env-file "$work/none" "$id" -- true
}
check '--env-file' env_file
long_arguments()
{
    local sum_here sum_there
    seq 100000 110000 >"$work/numbers"
    sum_here=$(xargs echo <"$work/numbers" | md5sum)
    sum_there=$(xargs "$voltctl" exec "$id" -- echo <"$work/numbers" | md5sum)
    [ "$sum_here" = "$sum_there" ]
}
check '70 kilobytes of arguments' long_arguments
many_arguments()
{
    # shellcheck disable=SC2046 # many words
    prints 80000 "$voltctl" exec "$id" -- sh -c 'echo $#' sh $(seq 80000)
}
check '80,000 arguments' many_arguments
too_long()
{
    python3 - "$voltctl" "$id" <<'PYTHON'
import subprocess, sys
words = ["x" * 100000] * 22
run = subprocess.run([sys.argv[1], "exec", sys.argv[2], "--", "echo"] + words, capture_output=True, text=True,
                     preexec_fn=lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_STACK, (64 << 20, 64 << 20)))
print(run.returncode, run.stderr)
sys.exit(not (run.returncode == 125 and "2097152" in run.stderr))
PYTHON
}
check 'more than a command can be given is a clear error' too_long
