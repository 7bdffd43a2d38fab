# SPDX-License-Identifier: Apache-2.0
# Goal: Debian's stock kernel, unpatched, is a guest like the project's own: chosen by default on
# hardware KVM, with all its devices, told of its cloning by VMGenID, and restorable from a snapshot
# that was taken under load.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
readonly restores=20
poold_with_pool
id=$(acquire)

default_is_stock()
{
    prints "\"$VOLT_BUILD/guest-init/stock/vmlinuz\"" bash -c "'$voltctl' pool show default --json | grep -o '\"/[^\"]*vmlinuz\"'"
}
check '--kernel auto is the stock kernel' default_is_stock
check 'the guest runs it' prints "$(cat "$VOLT_BUILD/guest-init/stock/version")" guest "$id" -- uname -r
modules_loaded()
{
    local module
    for module in virtio_mmio vmw_vsock_virtio_transport virtio_rng virtio_blk virtio_net; do
        guest "$id" -- grep -q "^$module " /proc/modules || { echo "$module is not loaded"; return 1; }
    done
    ! grep "can't load" "$VOLT_RUN_DIR/default.console.log"
}
check 'its drivers are loaded' modules_loaded
forked()
{
    guest "$id" -- dmesg | grep 'crng reseeded due to virtual machine fork'
}
check 'VMGenID: the kernel knows that it is a clone' forked
copied()
{
    head -c 100000 /dev/urandom >"$work/there"
    "$voltctl" cp "$work/there" "$id:/tmp/file" && "$voltctl" cp "$id:/tmp/file" "$work/back" &&
        cmp "$work/there" "$work/back"
}
check 'files there and back' copied
check 'run hands on the exit code' exits 3 "$voltctl" run -- sh -c 'exit 3'
check 'release' "$voltctl" release "$id"

# The stable release's kernel: without VMGenID, so all that makes clones differ comes from volt-init.
old=$VOLT_BUILD/guest-init/stock-6.1
check 'a pool with the 6.1 kernel' "$voltctl" pool create old --min 1 --max 2 --memory 192M \
    --kernel "$old/vmlinuz" --initrd "$old/initramfs.cpio"
first=$("$voltctl" acquire old --wait 300s)
second=$("$voltctl" acquire old --wait 300s)
check 'its guest runs it' prints "$(cat "$old/version")" guest "$first" -- uname -r
clones_differ()
{
    local what='cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | md5sum; hostname'
    local a b
    a=$(guest "$first" -- sh -c "$what") && b=$(guest "$second" -- sh -c "$what") &&
        [ -n "$a" ] && ! printf '%s\n%s\n' "$a" "$b" | sort | uniq -d | grep .
}
check 'its clones differ in boot id, random numbers and hostname' clones_differ
"$voltctl" release "$first" && "$voltctl" release "$second" && "$voltctl" pool delete old --force

# Timers on the way and a busy CPU when the snapshot is taken.
busy='for i in 1 2 3 4; do setsid sh -c "while :; do usleep 2000; done" </dev/null >/dev/null 2>&1 & done;
 setsid sh -c "while :; do :; done" </dev/null >/dev/null 2>&1 & sleep 1'
# shellcheck disable=SC2086 # several options
check 'a pool whose snapshot is taken under timer load' \
    "$voltctl" pool create busy --min 1 --max 4 ${E2E_POOL_OPTIONS:-} --warmup "${busy//$'\n'/}"
for ((round = 1; round <= restores; round++)); do
    restored()
    {
        local lease
        lease=$("$voltctl" acquire busy --wait 300s) &&
            guest "$lease" --timeout 120s -- sh -c 'read -r a b </proc/uptime; usleep 5000; read -r c d </proc/uptime; [ "$a" != "$c" ]' &&
            "$voltctl" release "$lease"
    }
    check "restore $round under load runs on" restored
done
