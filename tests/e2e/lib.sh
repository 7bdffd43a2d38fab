# SPDX-License-Identifier: Apache-2.0
# What every end-to-end scenario starts with: a poold of its own, TAP, and a clean end.
#
# How it works
#   tests/run sets VOLT_BUILD, VOLT_KERNEL and E2E_SHARED. The first scenario that needs the pool
#   boots and snapshots it once, in $E2E_SHARED/state; each scenario then runs a poold on a copy of
#   that (memory images are sparse) with a run directory of its own, so none sees another's leavings.
#   Nothing is waited for by a pause: until_true awaits it, with a limit that only what never comes
#   reaches. E2E_PATIENCE multiplies all limits; it is 5 for machines that are busy, and more on slow
#   ones (tests/hwkvm), where E2E_POOLD_OPTIONS and E2E_POOL_OPTIONS are added to poold's command line
#   and to the pool's. E2E_POOLD_WRAPPER is a program that becomes poold (its arguments).
#   By hand: VOLT_BUILD=build bash tests/e2e/exec.sh
# shellcheck shell=bash
set -uo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
VOLT_BUILD=$(realpath "${VOLT_BUILD:-$root/build}")
voltctl=$VOLT_BUILD/cli/voltctl
[ -n "${VOLT_KERNEL:-}" ] || VOLT_KERNEL=$("$root/guest-init/kernel/build-kernel" | tail -n 1)
export VOLT_KERNEL E2E_PATIENCE=${E2E_PATIENCE:-5}

work=$(mktemp -d /tmp/volt-e2e-XXXXXX)
own_shared=
if [ -z "${E2E_SHARED:-}" ]; then
    E2E_SHARED=$(mktemp -d /tmp/volt-e2e-XXXXXX)
    own_shared=$E2E_SHARED
fi
export VOLT_RUN_DIR=$work/run VOLT_STATE_DIR=$work/state
export VOLT_CONFIG=/dev/null # not that of this host
unset VOLT_SOCKET
log=$work/poold.log
poold_pid=
test_count=0

# ---- TAP ----

# check NAME COMMAND...: ok if the command succeeds. What it printed is shown if not.
check()
{
    local name=$1
    shift
    test_count=$((test_count + 1))
    # into a file: a pipe would be waited for as long as some process in the background holds it
    if ("$@") >"$work/output" 2>&1 </dev/null; then
        echo "ok $test_count - $name"
    else
        echo "not ok $test_count - $name"
        head -n 20 "$work/output" | sed 's/^/# /'
        [ ! -s "$log" ] || tail -n 8 "$log" | sed "s/^/# poold's log: /"
    fi
}

# skip NAME REASON
skip()
{
    test_count=$((test_count + 1))
    echo "ok $test_count - $1 # SKIP $2"
}

# skip_all NAME REASON: ends a scenario of which nothing can be tried here.
skip_all()
{
    skip "$1" "$2"
    exit 0
}

# For check: the command must print exactly that; must exit with that; must say that on stderr.
prints()
{
    local wanted=$1 got
    shift
    got=$("$@") || { echo "exit status $? of: $*"; return 1; }
    [ "$got" = "$wanted" ] || { echo "printed '$got', not '$wanted': $*"; return 1; }
}
exits()
{
    local wanted=$1 status=0
    shift
    "$@" || status=$?
    [ "$status" = "$wanted" ] || { echo "exit status $status, not $wanted: $*"; return 1; }
}
fails_saying()
{
    local wanted=$1 text=$2 status=0 said
    shift 2
    said=$("$@" 2>&1 >/dev/null) || status=$?
    [ "$status" = "$wanted" ] || { echo "exit status $status, not $wanted: $* ($said)"; return 1; }
    [[ $said == *"$text"* ]] || { echo "said '$said', nothing of '$text': $*"; return 1; }
}

# patient SECONDS: as many as that is on a machine that is busy or slow.
patient()
{
    echo $(($1 * E2E_PATIENCE))
}

# until_true SECONDS COMMAND...: waits for it to succeed.
until_true()
{
    local deadline=$((SECONDS + $(patient "$1")))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || { echo "still not so: $*"; return 1; }
        sleep 0.05
    done
}

# json PATH: a member of the JSON on stdin, "timings_us.total" or "pools.0.name".
json()
{
    python3 -c '
import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1].split("."):
    value = value[int(key)] if isinstance(value, list) else value[key]
print(value if isinstance(value, str) else json.dumps(value))' "$1"
}

# ---- poold ----

poold_answers()
{
    "$voltctl" status >/dev/null 2>&1
}

# poold_start [OPTION...]: on VOLT_STATE_DIR and VOLT_RUN_DIR. Patient with guests: on a
# software-only KVM that others use too, one may take seconds for what it does in milliseconds.
poold_start()
{
    # shellcheck disable=SC2086 # several options
    ${E2E_POOLD_WRAPPER:-} "$VOLT_BUILD/poold/poold" --ready-timeout-ms 120000 --awake-timeout-ms 60000 \
        --setup-timeout-ms 60000 --boot-timeout-ms 600000 ${E2E_POOLD_OPTIONS:-} "$@" </dev/null >>"$log" 2>&1 &
    poold_pid=$!
    until_true 10 poold_answers || { tail -n 20 "$log" | sed 's/^/# /'; return 1; }
}

process_gone()
{
    ! kill -0 "$1" 2>/dev/null
}

# kill -9 of poold and its keeper: nobody is left to take over from.
poold_kill()
{
    local keeper
    keeper=$(pgrep -P "$poold_pid" -x poold-keeper)
    kill -9 "$poold_pid" ${keeper:+"$keeper"}
    wait "$poold_pid" 2>/dev/null
}

poold_stop()
{
    [ -n "$poold_pid" ] || return 0
    kill "$poold_pid" 2>/dev/null
    until_true 10 process_gone "$poold_pid"
    kill -9 "$poold_pid" 2>/dev/null
    wait "$poold_pid" 2>/dev/null
    poold_pid=
}

pool_is()
{
    [ "$("$voltctl" pool show default --json | json state)" = "$1" ]
}

pool_slots()
{
    "$voltctl" pool show default --json | json "slots.$1"
}

# vms_at_most N: of all pools, the leased ones, too
vms_at_most()
{
    [ "$("$voltctl" status --json | json vms)" -le "$1" ]
}

# waiting_are N: acquires that wait for a VM of the pool
waiting_are()
{
    [ "$("$voltctl" pool show default --json | json waiting)" = "$1" ]
}

no_lease()
{
    [ "$("$voltctl" ps --json | json leases)" = '[]' ]
}

parked_at_least()
{
    [ "$(pool_slots parked)" -ge "$1" ]
}

# Makes the shared state once; a cold boot takes seconds.
shared_make()
{
    (
        flock 9
        [ ! -d "$E2E_SHARED/state" ] || exit 0
        export VOLT_STATE_DIR=$E2E_SHARED/making
        # shellcheck disable=SC2086 # several options
        poold_start && "$voltctl" pool create default --min 2 --max 64 ${E2E_POOL_OPTIONS:-} >/dev/null || exit 1
        poold_stop
        mv "$E2E_SHARED/making" "$E2E_SHARED/state"
    ) 9>"$E2E_SHARED/lock"
}

# poold with the pool `default`, ready. Ends the scenario if that does not work.
poold_with_pool()
{
    shared_make && cp -a --sparse=always "$E2E_SHARED/state" "$VOLT_STATE_DIR" &&
        poold_start "$@" && until_true 20 pool_is ready && until_true 20 parked_at_least 1 || {
        echo "Bail out! no pool to test with"
        sed 's/^/# /' "$log" | tail -n 30
        exit 1
    }
}

# A lease; ends the scenario if there is none.
acquire()
{
    "$voltctl" acquire --wait "$(patient 20)s" "$@"
}

guest()
{
    "$voltctl" exec "$@"
}

# ---- What images are made of ----

# busybox_root DIR: a root with a shell in it, and nothing else.
busybox_root()
{
    mkdir -p "$1/bin" && cp /usr/bin/busybox "$1/bin/busybox" && ln -s busybox "$1/bin/sh"
}

# put_into DIR FILE...: files and folders of the host, and the libraries that programs among them need.
put_into()
{
    local into=$1 file
    shift
    for file in "$@"; do
        { echo "$file"; ldd "$file" 2>/dev/null | grep -oE '/[^ ]+' || true; } | sed 's|^/||' |
            (cd / && xargs cp -aL --parents -t "$into") || return 1
    done
}

finish()
{
    local status=$?
    poold_stop
    if [ -d "$VOLT_BUILD/test-logs" ]; then
        cp "$log" "$VOLT_BUILD/test-logs/poold-$(basename "$0" .sh).log" 2>/dev/null
    fi
    rm -rf "$work" ${own_shared:+"$own_shared"}
    [ $status = 0 ] && echo "1..$test_count"
    exit $status
}
trap finish EXIT
trap 'exit 1' INT TERM
