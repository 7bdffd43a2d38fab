# SPDX-License-Identifier: Apache-2.0
# Goal: volt-vmm without a daemon: a VM with a disk booted, snapshotted and restored, its API socket,
# and what it says when it is used wrongly.
# Method: three boots with a disk, two of them into snapshots; restores of those with the console, and
# with the API, which snapshots, pauses, resumes and shuts down.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

vmm=$VOLT_BUILD/vmm-core/volt-vmm/volt-vmm
initrd=$VOLT_BUILD/guest-init/initramfs.cpio
stock=
# By itself volt-vmm needs a path, and poold's auto is this one.
[ "$VOLT_KERNEL" != auto ] || stock=$VOLT_BUILD/guest-init/stock VOLT_KERNEL=$VOLT_BUILD/guest-init/stock/vmlinuz
snapshots=$work/snapshots
disk=$work/disk.img
socket=$work/api.sock
console=$work/console
mkdir "$snapshots"
{ echo on-the-disk; head -c 1048576 /dev/zero; } >"$disk"
truncate -s 2M "$disk"

# ---- What is refused ----
# refused STATUS TEXT COMMAND...: fails in time, saying that
refused()
{
    local status=$1 text=$2
    shift 2
    fails_saying "$status" "$text" timeout "$(patient 60)" "$@" </dev/null
}
check "neither --kernel nor --restore is refused" refused 64 "give either" "$vmm" --console
check "a disk that is not there is told" \
    refused 70 "the disk '/nowhere'" "$vmm" --kernel "$VOLT_KERNEL" --disk /nowhere
check "a disk that is none is told" \
    refused 70 "neither a regular file nor a block device" "$vmm" --kernel "$VOLT_KERNEL" --disk /dev/null
check "a snapshot's disk is not written to" \
    refused 70 "must stay as it is" "$vmm" --kernel "$VOLT_KERNEL" --disk "$disk,rw" \
    --snapshot-to "$snapshots/no"
for option in --memory=256M --vcpus=2 --initrd=/dev/null --cmdline=quiet --cpu-template=/dev/null \
    --balloon --volumes=1 --pit; do
    check "a restored VM is its snapshot's, whatever ${option%%=*} says" \
        refused 64 "${option%%=*} goes with --kernel" "$vmm" --restore "$snapshots/no" "$option"
done
check "huge pages of a snapshot are refused" \
    refused 64 "goes with --kernel" "$vmm" --restore "$snapshots/no" --huge-pages
if [ "$(awk '/^HugePages_Free/ { print $2 }' /proc/meminfo)" = 0 ]; then
    check "a host without huge pages is told what to do" \
        refused 75 "vm.nr_hugepages" "$vmm" --kernel "$VOLT_KERNEL" --huge-pages
fi
check "nothing of it is left" prints "" ls -A "$snapshots"

# ---- A boot, into a snapshot ----
[ -z "$stock" ] || {
    skip "a boot" "stock kernels are booted by poold, in all other scenarios"
    exit 0
}
# on_console LINE TEXT VOLT-VMM-OPTION...: what the console shows for the line, into $console; it is
# waited for until it shows TEXT at the beginning of a line
on_console()
{
    local line=$1 text=$2
    shift 2
    : >"$console"
    { until_true 60 grep -q 'ready after' "$console" && echo "$line" >&3 &&
        until_true 20 grep -q "^$text" "$console"; printf '\035' >&3; } 3>&1 >&2 |
        timeout "$(patient 180)" "$vmm" "$@" --console >"$console" 2>&1
}
# well STATUS OUTPUT: for what ran in the background
well()
{
    cat "$2"
    return "$1"
}
boot()
{
    timeout "$(patient 120)" "$vmm" --kernel "$VOLT_KERNEL" --initrd "$initrd" --memory 128M "$@"
}
cp "$disk" "$work/own.img"
# Side by side; the third one is looked at below.
boot --disk "$disk" --snapshot-to "$snapshots/one" --balloon >"$work/one" 2>&1 &
one_pid=$!
boot --disk "$disk,ro" --snapshot-to "$snapshots/plain" >"$work/plain" 2>&1 &
plain_pid=$!
console=$work/own-console on_console 'dd if=/proc/version of=/dev/vda conv=fsync' \
    '0+1 records out' --kernel "$VOLT_KERNEL" --initrd "$initrd" --disk "$work/own.img,rw" &
own_pid=$!
wait $one_pid
check "a VM with a disk boots into a snapshot" well $? "$work/one"
wait $plain_pid
check "so does one that can only read it" well $? "$work/plain"
wait $own_pid
check "a VM writes to the file itself with ,rw" prints Linux head -c 5 "$work/own.img"
check "the snapshot has what was written to the disk" test -s "$snapshots/one/disk"
check "a disk that changed since is refused" \
    refused 75 "was changed after" bash -c 'cp "$1" "$2" && "$3" --restore "$4" --disk "$2"' - \
    "$disk" "$work/other.img" "$vmm" "$snapshots/one"
check "a network that its snapshot has no card for is refused" \
    refused 75 "without a network card" "$vmm" --restore "$snapshots/plain" --net user

# ---- On the console ----
reads_disk()
{
    on_console 'head -n 1 /dev/vda' on-the-disk --restore "$snapshots/one"
    grep -q '^on-the-disk' "$console" || { cat "$console"; return 1; }
}
check "a restored VM reads its disk" reads_disk
writes_delta()
{
    on_console 'dd if=/proc/version of=/dev/vda conv=fsync' '0+1 records out' --restore "$snapshots/one"
    grep -q '0+1 records out' "$console" || { cat "$console"; return 1; }
    prints on-the-disk head -n 1 "$disk"
}
check "what it writes is not in the file" writes_delta
in_use()
{
    (flock -x 9 && refused 70 "in use by another VM" "$vmm" --kernel "$VOLT_KERNEL" --disk "$disk") 9<"$disk"
}
check "a disk that another VM writes to is refused" in_use

# ---- The API ----
api()
{
    curl -sS --max-time "$(patient 60)" --unix-socket "$socket" "$@"
}
state_is()
{
    [ "$(api http://vm/ | json state)" = "$1" ]
}
answers()
{
    local status=$1 got
    shift
    got=$(api -o "$work/body" -w '%{http_code}' "$@") || return 1
    [ "$got" = "$status" ] || { echo "$got: $(cat "$work/body")"; return 1; }
}
"$vmm" --restore "$snapshots/plain" --api-socket "$socket" </dev/null >"$work/vmm" 2>&1 &
vmm_pid=$!
check "the API says that the VM runs" until_true 20 state_is running
check "its socket is its owner's alone" prints 600 stat -c %a "$socket"
check "it tells the VM's figures" answers 200 http://vm/metrics
exits_grow()
{
    [ "$(api http://vm/metrics | json exits)" -gt 0 ]
}
check "which are counted" exits_grow
check "another VM does not take its socket" refused 70 "another program listens" \
    "$vmm" --restore "$snapshots/plain" --api-socket "$socket"
check "which still answers" state_is running
check "an unknown path is told" answers 404 http://vm/nowhere
check "a wrong method is told" answers 405 -X PUT http://vm/metrics
check "what is no JSON is told" answers 400 -X PUT -d nonsense http://vm/snapshot
check "a request that is too large is told" \
    bash -c 'head -c 9000 /dev/zero | tr "\0" x | curl -s --unix-socket "$1" -T - -H Expect: http://vm/snapshot -o /dev/null -w "%{http_code}" | grep -q 4' - "$socket"
check "the VM is paused" answers 204 -X PUT http://vm/pause
check "and says so" state_is paused
stands_still()
{
    local pid state
    for pid in $(pgrep -g "$(api http://vm/ | json pid)"); do
        state=$(awk '/^State/ { print $2 }' "/proc/$pid/status")
        [ "$state" = T ] || { echo "$pid: $state"; return 1; }
    done
}
check "its processes stand still" until_true 10 stands_still
check "a paused VM takes no snapshot" answers 409 -X PUT -d '{"path": "x"}' http://vm/snapshot
check "it is resumed" answers 204 -X PUT http://vm/resume
check "a running VM takes a snapshot" \
    answers 200 -X PUT -d "{\"path\": \"$snapshots/two\"}" http://vm/snapshot
check "and runs on" until_true 20 state_is running
check "a snapshot to nowhere is told" \
    answers 400 -X PUT -d '{"path": "/nowhere/x"}' http://vm/snapshot
check "it takes a second one" \
    answers 200 -X PUT -d "{\"path\": \"$snapshots/three\"}" http://vm/snapshot
check "it is shut down" answers 204 -X PUT http://vm/shutdown
wait $vmm_pid
check "and ends well" exits 0 bash -c "exit $?"
check "its socket is gone" test ! -e "$socket"
"$vmm" --restore "$snapshots/plain" --api-socket "$socket" </dev/null >"$work/vmm" 2>&1 &
vmm_pid=$!
check "a VM with its API runs" until_true 20 state_is running
{ kill -9 $vmm_pid; wait $vmm_pid; } 2>/dev/null
check "killed, it leaves its socket" test -S "$socket"
"$vmm" --restore "$snapshots/plain" --api-socket "$socket" </dev/null >"$work/vmm" 2>&1 &
vmm_pid=$!
check "which the next one replaces" until_true 20 state_is running
check "and is shut down" answers 204 -X PUT http://vm/shutdown
wait $vmm_pid
echo taken >"$socket"
check "what is no socket stays" refused 70 "is no socket" \
    "$vmm" --restore "$snapshots/plain" --api-socket "$socket"
check "as it was" prints taken cat "$socket"
rm "$socket"
restored_from_live()
{
    on_console 'echo alive' alive --restore "$snapshots/three"
    grep -q '^alive' "$console" || { cat "$console"; return 1; }
}
check "the snapshot of a running VM is restored" restored_from_live
