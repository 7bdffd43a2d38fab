# SPDX-License-Identifier: Apache-2.0
# Goal: a block device is a disk, read-only or written to copies of it, and a VM's disk keeps to the
# rates that its pool sets.
# Method: a loop device as the disk of two pools; dd in the guest, for longer than the burst of one
# second that a token bucket gives away, timed from outside and by the guest's own clock.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# Low, as a guest kernel that is emulated does few operations a second by itself.
readonly iops=2 bandwidth=65536 block=131072
head -c 16777216 /dev/urandom >"$work/disk.img"
disk=$work/disk.img
loop=
if [ "$(id -u)" = 0 ] && loop=$(losetup --find --show "$disk" 2>/dev/null); then
    trap 'losetup -d "$loop"; finish' EXIT
    disk=$loop
fi
poold_start || exit 1
if [ -z "$loop" ]; then
    skip "a block device" "no loop device can be made here"
fi

# The two boot side by side.
"$voltctl" pool create copies --disk "$disk" --min 0 --max 2 >"$work/copies" 2>&1 &
copies_pid=$!
check "a pool on a disk with rates, read-only" "$voltctl" pool create rates --disk "$disk,ro" \
    --disk-iops $iops --disk-bandwidth $bandwidth --min 0 --max 2
wait $copies_pid
check "a pool on a block device that it writes to" "$voltctl" pool show copies
id=$("$voltctl" acquire rates --wait 60s)
same_bytes()
{
    prints "$(head -c 65536 "$disk" | md5sum)" guest "$id" --timeout 60s -- \
        sh -c 'head -c 65536 /dev/vda | md5sum'
}
check "a VM reads what the disk has" same_bytes
cannot_write()
{
    ! guest "$id" -- dd if=/dev/zero of=/dev/vda bs=512 count=1 conv=fsync
}
check "and can't write to it" cannot_write

# rate_is WANTED FREE UNIT READ_AHEAD DD-ARGUMENT...: what the guest gets in UNITs a second, by its own
# clock and its own figures of the disk (reads done, sectors read), without the FREE ones that need
# not wait; within a tenth.
rate_is()
{
    local wanted=$1 free=$2 unit=$3 ahead=$4
    shift 4
    sleep 1.5 # the bucket is full again
    # What starting dd takes, a noticeable part of a second where a guest's kernel is emulated, is
    # taken off.
    guest "$id" --timeout 120s -- sh -c "
        echo $ahead >/sys/block/vda/queue/read_ahead_kb
        dd if=/dev/vda of=/dev/null count=0 2>/dev/null
        read -r start _ </proc/uptime
        dd if=/dev/vda of=/dev/null count=0 2>/dev/null
        read -r begin _ </proc/uptime
        read -r reads0 _ sectors0 _ </sys/block/vda/stat
        dd if=/dev/vda of=/dev/null $* 2>/dev/null
        read -r reads _ sectors _ </sys/block/vda/stat
        read -r end _ </proc/uptime
        echo \$start \$begin \$end \$((reads - reads0)) \$((sectors - sectors0))" >"$work/times" ||
        return 1
    python3 -c '
import sys
wanted, free = map(int, sys.argv[1:3])
start, begin, end, reads, sectors = map(float, open(sys.argv[4]).read().split())
begin += begin - start
done = reads if sys.argv[3] == "reads" else 512 * sectors
rate = (done - free) / (end - begin)
print(f"{rate:.2f} {sys.argv[3]} a second for {end - begin:.2f} s, {rate / wanted:.3f} of what it may")
sys.exit(not 0.9 <= rate / wanted <= 1.1)' "$wanted" "$free" "$unit" "$work/times" |
        tee -a "$work/rates"
    [ "${PIPESTATUS[0]}" = 0 ]
}
check "operations keep to their rate, within a tenth" \
    rate_is $iops $iops reads 0 bs=4096 count=24 skip=1000
# The last one goes into debt: it is paid for by what comes after it.
check "bytes keep to their rate, within a tenth" \
    rate_is $bandwidth $((bandwidth + block)) bytes 128 bs=$block count=7 skip=60
sed 's/^/# /' "$work/rates"

# What other VMs write to a device goes to copies of their own.
before=$(md5sum <"$disk")
one=$("$voltctl" acquire copies --wait 60s)
two=$("$voltctl" acquire copies --wait 60s)
writes()
{
    guest "$1" -- sh -c "echo $2 | dd of=/dev/vda bs=512 conv=fsync,notrunc 2>/dev/null"
}
first_word()
{
    guest "$1" -- head -n 1 /dev/vda
}
check "one VM writes" writes "$one" one
check "another one, too" writes "$two" two
check "the first has its own" prints one first_word "$one"
check "and so has the second" prints two first_word "$two"
check "the device has neither" prints "$before" bash -c "md5sum <$disk"
