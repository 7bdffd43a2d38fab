# SPDX-License-Identifier: Apache-2.0
# Goal: two VMs from one snapshot share nothing that must be unique, and know the time.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
poold_with_pool

ids=()
for _ in 1 2 3; do ids+=("$(acquire)"); done

# all_differ COMMAND...: what it prints is another thing in each VM, and something at all.
all_differ()
{
    local id seen=''
    for id in "${ids[@]}"; do
        local got
        got=$(guest "$id" -- "$@") || return 1
        [ -n "$got" ] || { echo 'empty'; return 1; }
        case $seen in *"<$got>"*) echo "twice: $got"; return 1 ;; esac
        seen="$seen<$got>"
    done
}
check 'random bytes differ' all_differ sh -c 'head -c 32 /dev/urandom | md5sum'
check 'boot ids differ' all_differ cat /proc/sys/kernel/random/boot_id
check 'hostnames differ' all_differ hostname
check 'machine ids differ' all_differ cat /etc/machine-id
hostname_is_told()
{
    prints "$("$voltctl" ps --json | json leases.0.hostname)" guest "$("$voltctl" ps --json | json leases.0.lease)" -- hostname
}
check 'the hostname is the one that acquire told' hostname_is_told
# Parked VMs run ahead of others until they have answered: leased ones never do.
run_as_everybody()
{
    local pid policies

    for pid in $("$voltctl" ps --json | grep -o '"pid": [0-9]*' | grep -o '[0-9]*'); do
        policies=$(ps -L -o cls= -p "$pid" | sort -u | tr -d ' \n')
        [ "$policies" = TS ] || { echo "process $pid: $policies"; return 1; }
    done
    [ -n "$policies" ]
}
check 'leased VMs have no real-time scheduling' run_as_everybody
generation_ids()
{
    [ "$("$voltctl" ps --json | grep generation_id | sort -u | wc -l)" = ${#ids[@]} ]
}
check 'generation ids differ' generation_ids

# The guest's clock against ours plus SHIFT seconds, to 50 ms. A shell in the guest answers each line
# with its time, so no process is started between two readings; the quickest of ten round trips counts.
clock_right()
{
    local id=$1 shift_s=$2
    python3 - "$voltctl" "$id" "$shift_s" <<'PYTHON'
import subprocess, sys, time
voltctl, lease, shift = sys.argv[1], sys.argv[2], int(sys.argv[3])
guest = subprocess.Popen([voltctl, "exec", "-i", lease, "--", "sh", "-c",
                          "while read -r line; do echo $EPOCHREALTIME; done"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
readings = []
for _ in range(10):
    before = time.time()
    guest.stdin.write("\n")
    guest.stdin.flush()
    told = float(guest.stdout.readline())
    after = time.time()
    readings.append((after - before, told - shift - before, told - shift - after))
guest.stdin.close()
guest.wait()
trip, low, high = min(readings)
print(f"round trip {trip * 1000:.1f} ms, guest is between {high * 1000:+.1f} and {low * 1000:+.1f} ms off")
if low < -0.05 or high > 0.05:
    sys.exit(1)
PYTHON
}
check 'the wall clock is right to 50 ms' clock_right "${ids[0]}" 0

# An hour later: the VMs' processes, and only what they tell guests counts, see a clock that is an
# hour ahead of the one that the snapshot was made by.
"$voltctl" release --all >/dev/null
poold_stop
rm -rf "$VOLT_STATE_DIR"
export LD_PRELOAD=$VOLT_BUILD/tests/e2e/libclock-shift.so
poold_with_pool
unset LD_PRELOAD
late=$(acquire)
check 'an hour after the snapshot the wall clock is right to 50 ms' clock_right "$late" 3600
