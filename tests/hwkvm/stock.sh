# SPDX-License-Identifier: Apache-2.0
# Goal: Debian's stock kernel, unpatched, is a guest like the project's own: chosen by default on
# hardware KVM, with all its devices, and told of its cloning by VMGenID. (load.sh restores it under
# load.)
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
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
    ! grep "can't load" "$VOLT_RUN_DIR/consoles/default.log"
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
