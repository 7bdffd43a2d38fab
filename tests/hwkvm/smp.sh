# SPDX-License-Identifier: Apache-2.0
# Goal: guests with several CPUs: all brought up through ACPI's MADT, snapshotted at rest and under
# load, restored with all of them running and their clocks in step.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
# A boot takes half a minute: one that never comes to its banner is told of, and the next one is tried.
poold_start --boot-timeout-ms 300000 || exit 1

in_step()
{
    local lease=$1
    "$voltctl" cp "$VOLT_BUILD/tests/hwkvm/clocks" "$lease:/tmp" &&
        guest "$lease" --timeout 300s -- /tmp/clocks
}
# Each CPU runs a command of its own.
all_run()
{
    local lease=$1 cpus=$2 cpu
    for ((cpu = 0; cpu < cpus; cpu++)); do
        guest "$lease" --timeout 120s -- taskset "$(printf %x $((1 << cpu)))" true || { echo "CPU $cpu"; return 1; }
    done
}
# pool NAME CPUS [OPTION...]
try_pool()
{
    local name=$1 cpus=$2 lease round
    shift 2
    check "$name: made" "$voltctl" pool create "$name" --vcpus "$cpus" --min 1 --max 3 --memory 256M "$@"
    if ! "$voltctl" pool show "$name" --json | grep -q '"state": "ready"'; then
        tail -n 20 "$VOLT_RUN_DIR/consoles/$name.log" | sed 's/^/# /'
        "$voltctl" pool delete "$name" --force
        return
    fi
    for round in 1 2; do
        lease=$("$voltctl" acquire "$name" --wait 300s)
        # All its CPUs may be busy, on a machine of one: an exec would not wait so long for its agent.
        check "$name: clone $round answers" until_true 6 guest "$lease" -- true
        check "$name: clone $round has $cpus CPUs" prints "$cpus" guest "$lease" -- nproc
        check "$name: clone $round runs on all of them" all_run "$lease" "$cpus"
        check "$name: clone $round has its clocks in step" in_step "$lease"
        "$voltctl" release "$lease"
    done
    "$voltctl" pool delete "$name" --force
}
for cpus in 2 4 8; do
    try_pool "cpus-$cpus" "$cpus"
done
spin='for i in 1 2 3 4 5; do setsid sh -c "while :; do :; done" </dev/null >/dev/null 2>&1 & done; sleep 1'
try_pool busy-cpus 4 --warmup "$spin"
