# SPDX-License-Identifier: Apache-2.0
# Goal: one snapshot, taken while a guest's timers, disk, network and vector registers are all at work,
# is restored a hundred times; no clone is stuck in any of them, and no byte is wrong. Method: the
# program load.c, brought into the guest by the pool's disk and started by its warm-up.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
readonly restores=${HWKVM_RESTORES:-100} # tests/hwkvm/run hands it on
poold_start || exit 1

# The program, and from 2 MiB on room for what it writes.
disk=$work/load.disk
cp "$VOLT_BUILD/tests/hwkvm/load" "$disk"
truncate -s 8M "$disk"
# Before a clone has its own address, and in the VM that is booted for the snapshot, frames lead nowhere;
# an address all the same, so that they are sent.
warmup='cat /dev/vda >/tmp/load && chmod 755 /tmp/load && ip addr add 10.86.255.254/16 dev eth0;
 setsid /tmp/load run /tmp/load.state /dev/vda 10.86.0.1 </dev/null >/tmp/load.out 2>&1 & sleep 3'
# shellcheck disable=SC2086 # several options
check 'a snapshot under timer, disk, network and vector load' "$voltctl" pool create load --min 1 --max 3 \
    --disk "$disk" --net tap ${E2E_POOL_OPTIONS:-} --warmup "${warmup//$'\n'/}"

restored()
{
    local lease
    lease=$("$voltctl" acquire load --wait 300s) || return 1
    guest "$lease" --timeout 240s -- sh -c '/tmp/load check /tmp/load.state || { cat /tmp/load.out; exit 1; }' &&
        "$voltctl" release "$lease"
}
if "$voltctl" pool show load --json | grep -q '"state": "ready"'; then
    for ((round = 1; round <= restores; round++)); do
        check "restore $round: timers, disk, network and vectors go on" restored
    done
else
    tail -n 20 "$log" | sed 's/^/# /'
fi
disk_before=$(md5sum <"$VOLT_BUILD/tests/hwkvm/load")
check 'the disk they all started from is as it was' \
    test "$disk_before" = "$(head -c "$(stat -c %s "$VOLT_BUILD/tests/hwkvm/load")" "$disk" | md5sum)"
check 'and holds nothing of what they wrote' cmp -n $((6 << 20)) -i $((2 << 20)):0 "$disk" /dev/zero
