# SPDX-License-Identifier: Apache-2.0
# Goal: whoever uses a lease that has ended hears why: by the API, in the middle of exec, cp and console,
# in the log, in a metric; labels and what was are known to the next poold.
# Method: a lease for each way to end one, each ended while something runs in it.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
poold_with_pool

api()
{
    curl -s --unix-socket "$VOLT_RUN_DIR/poold.sock" "http://volt$1"
}
# reason_is LEASE REASON
reason_is()
{
    [ "$(api "/v1/leases/$1" | json error.reason)" = "$2" ]
}
counted()
{
    # to its end: who is not read to the end fails, and the pipe with it
    api /metrics | grep "^volt_lease_ends_total{pool=\"default\",reason=\"$1\"} [1-9]" >/dev/null
}
runs_in()
{
    [ "$(guest "$1" -- pidof sleep | wc -w)" -ge 1 ]
}
# ends LEASE REASON COMMAND...: an exec runs in the lease; COMMAND ends it; exec says so, and fails.
ends()
{
    local lease=$1 reason=$2 job status=0
    shift 2
    "$voltctl" exec "$lease" -- sleep 1000 >"$work/exec" 2>&1 &
    job=$!
    until_true 20 runs_in "$lease" || return 1
    "$@"
    wait "$job" || status=$?
    cat "$work/exec"
    [ $status = 125 ] && grep -q "($reason)" "$work/exec" && until_true 10 reason_is "$lease" "$reason" &&
        counted "$reason" && grep "lease $lease .*$reason" "$log" >/dev/null
}
pid_of()
{
    "$voltctl" ps --json | python3 -c '
import json, sys
print(next(l["pid"] for l in json.load(sys.stdin)["leases"] if l["lease"] == sys.argv[1]))' "$1"
}

check "released" ends "$(acquire)" released "$voltctl" release --all
id=$(acquire)
check "expired" ends "$id" expired "$voltctl" renew "$id" --ttl 100ms
id=$(acquire)
check "the guest powers off" ends "$id" guest_poweroff guest "$id" -- sh -c 'reboot -f & sleep 0.1'
id=$(acquire)
check "its process is killed" ends "$id" vm_failed kill -9 "$(pid_of "$id")"

id=$(acquire)
inside=$(pgrep -P "$(pgrep -P "$poold_pid" -f 'volt-vmm template')")
check "the process that its VM was forked from ends" ends "$id" template_died kill -9 "$inside"
until_true 20 pool_is ready
id=$(acquire)
check "its template ends" ends "$id" template_died pkill -9 -P "$poold_pid" -f 'volt-vmm template'

# ---- A control group ----
id=$(acquire --label job=memory)
group=$(find /sys/fs/cgroup -type d -name "$id" -exec sh -c 'ls "$1"/memory.max "$1"/memory.limit_in_bytes 2>/dev/null' sh {} \; 2>/dev/null | head -n 1)
squeeze()
{
    # What it has already stays; what its guest wants next is too much.
    local dir used
    dir=$(dirname "$group")
    used=$(cat "$dir/memory.current" "$dir/memory.usage_in_bytes" 2>/dev/null)
    echo $((used + 4 * 1048576)) >"$group"
    guest "$id" -- dd if=/dev/zero of=/tmp/much bs=1M count=64
    return 0
}
if [ -n "$group" ]; then
    check "its memory limit" ends "$id" out_of_memory squeeze
else
    skip "its memory limit" "there is no memory control group here"
    "$voltctl" release "$id"
fi

# ---- cp and console ----
id=$(acquire)
mkfifo "$work/nothing"
exec 7<>"$work/nothing"
# An archive that goes on and on, slowly.
archive()
{
    python3 -c 'import sys, tarfile; f = tarfile.TarInfo("f"); f.size = 1 << 30; sys.stdout.buffer.write(f.tobuf())'
    while sleep 0.05 && head -c 65536 /dev/zero 2>/dev/null; do :; done
}
archive | "$voltctl" cp - "$id:/tmp" >"$work/cp" 2>&1 &
cp_job=$!
"$voltctl" console "$id" <&7 >"$work/console" 2>&1 &
console_job=$!
is_connected()
{
    [ -n "$(find "/proc/$1/fd" -lname 'socket:*' 2>/dev/null)" ]
}
is_copied()
{
    guest "$id" -- test -s /tmp/f
}
until_true 20 is_copied
until_true 20 is_connected "$console_job"
"$voltctl" release "$id"
check "console ends with it" until_true 20 process_gone "$console_job"
check "and says why" grep -q '(released)' "$work/console"
check "cp ends with it" until_true 20 process_gone "$cp_job"
check "and says why" grep -q '(released)' "$work/cp"
exec 7>&-

# ---- Streams keep a lease ----
is_over()
{
    [ "$(api "/v1/leases/$1" | json error.code)" = lease_ended ]
}
poold_stop
poold_start --lease-ttl-ms 1500
until_true 20 pool_is ready
until_true 20 parked_at_least 1
kept=$(acquire)
idle=$(acquire)
given=$(acquire --ttl 1500ms)
"$voltctl" exec "$given" -- sleep 1000 >"$work/given" 2>&1 &
given_job=$!
"$voltctl" exec "$kept" -- sh -c 'sleep 8; echo done' >"$work/kept" 2>&1
check "an exec of several times the TTL ends by itself" grep -qx 'done' "$work/kept"
check "a lease that nobody uses does not last so long" is_over "$idle"
check "nor one whose client asked for a TTL" is_over "$given"
wait "$given_job"
check "and its exec says so" grep -q '(expired)' "$work/given"
check "without streams it ends" until_true 20 is_over "$kept"
poold_stop
poold_start
until_true 20 pool_is ready

# ---- Labels, the next poold ----
id=$(acquire --label job=17 --label ci/branch='a b')
ended=$(acquire)
"$voltctl" release "$ended"
check "ps finds a label" prints "$id" sh -c "'$voltctl' ps --label job=17 --json | python3 -c 'import json, sys; print(*[l[\"lease\"] for l in json.load(sys.stdin)[\"leases\"]])'"
check "and shows them" sh -c "'$voltctl' ps | grep -q 'ci/branch=a b,job=17'"
lost=$(acquire)
lost_pid=$(pid_of "$lost")
kill -9 "$poold_pid"
wait "$poold_pid" 2>/dev/null
kill -9 "$lost_pid"
until_true 10 process_gone "$lost_pid"
poold_start
check "the next poold knows labels" sh -c "'$voltctl' ps --label job=17 | grep -q $id"
check "and how leases ended" until_true 10 reason_is "$ended" released
check "and which did while there was none" until_true 10 reason_is "$lost" lost

# ---- Events, keys, and an end that waits ----
# known SINCE: the events after that one, JSON lines, until all that were known are there
known()
{
    rm -f "$work/events" # what was found before
    timeout "$(patient 4)" "$voltctl" events --json --since "$1" >"$work/events" 2>&1 &
    until_true 10 grep -q "lease_ended.*$2" "$work/events" || return 1
    kill $! 2>/dev/null
    wait $! 2>/dev/null
    return 0
}
first=$(acquire)
"$voltctl" release "$first"
second=$(acquire)
"$voltctl" release "$second"
field()
{
    python3 -c '
import json, sys
for line in open(sys.argv[1]):
    event = json.loads(line)
    if event.get("lease") == sys.argv[2] and event["type"] == sys.argv[3]:
        print(event[sys.argv[4]])' "$work/events" "$@"
}
check "events of the poold before are known" known 0 "$second"
check "and which lease ended why" prints released field "$first" lease_ended reason
since=$(field "$first" lease_ended id)
check "events after one" known "$since" "$second"
check "are those after it" prints "" field "$first" lease_ended id
check "and no other is missing" prints released field "$second" lease_ended reason
key=$(acquire --idempotency-key job-17)
check "a key gives the same lease again" prints "$key" acquire --idempotency-key job-17
is_gone()
{
    until_true 20 process_gone "$poold_pid"
}
drains()
{
    "$voltctl" shutdown --drain --grace 1h >"$work/shutdown" 2>&1 &
    until_true 10 sh -c "'$voltctl' acquire 2>&1 | grep -q drains" &&
        [ "$(guest "$key" -- echo still)" = still ] && "$voltctl" release --all && wait $! && is_gone
}
check "a drain gives no lease, serves those that are out, and ends with the last" drains
poold_start
id=$(acquire)
check "one ends with its grace, too" "$voltctl" shutdown --drain --grace 200ms
check "whoever has a lease" is_gone
