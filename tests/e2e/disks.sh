# SPDX-License-Identifier: Apache-2.0
# Goal: a block device is a disk, read-only or written to copies of it, and a VM's disk keeps to the
# rates that its pool sets.
# Method: a loop device as the disk of two pools; dd in the guest, of few and of many blocks, timed
# from outside.
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
id=$("$voltctl" acquire rates --wait "$(patient 60)s")
same_bytes()
{
    prints "$(head -c 65536 "$disk" | md5sum)" guest "$id" --timeout "$(patient 60)s" -- \
        sh -c 'head -c 65536 /dev/vda | md5sum'
}
check "a VM reads what the disk has" same_bytes
cannot_write()
{
    ! guest "$id" -- dd if=/dev/zero of=/dev/vda bs=512 count=1 conv=fsync
}
check "and can't write to it" cannot_write

# dd_takes COUNT DD-ARGUMENT...: in seconds, from a full bucket on
dd_takes()
{
    local count=$1
    shift
    sleep 4 # what was read ahead is paid for, and the burst is whole again
    local begin=$EPOCHREALTIME
    guest "$id" --timeout "$(patient 120)s" -- sh -c "dd if=/dev/vda of=/dev/null count=$count $* 2>/dev/null" ||
        return 1
    python3 -c 'import sys; print(float(sys.argv[2]) - float(sys.argv[1]))' "$begin" "$EPOCHREALTIME"
}
# rate_is WANTED UNIT READ_AHEAD FEW MANY BLOCK SKIP: what the guest gets a second, UNIT for each
# block, by what MANY blocks take longer than FEW (so without the burst and without what starting a
# program takes); within a tenth.
rate_is()
{
    local wanted=$1 unit=$2 ahead=$3 few=$4 many=$5 bytes=$6 skip=$7 short long
    # And dd once for nothing: what the first exec of a program takes is not the disk's.
    guest "$id" -- sh -c "echo $ahead >/sys/block/vda/queue/read_ahead_kb" &&
        dd_takes 0 bs="$bytes" >/dev/null &&
        short=$(dd_takes "$few" bs="$bytes" skip="$skip") &&
        long=$(dd_takes "$many" bs="$bytes" skip=$((skip + few))) || return 1
    python3 -c '
import sys
wanted, unit, few, many = map(int, sys.argv[1:5])
short, long = map(float, sys.argv[5:])
rate = (many - few) * unit / (long - short)
print(f"{rate:.2f} a second over {long - short:.2f} s, {rate / wanted:.3f} of what it may")
sys.exit(not 0.9 <= rate / wanted <= 1.1)' "$wanted" "$unit" "$few" "$many" "$short" "$long" |
        tee -a "$work/rates"
    [ "${PIPESTATUS[0]}" = 0 ]
}
# The clock is the host's: a machine that is busy may spoil a reading. A rate that is wrong is wrong
# each time.
rate_shows()
{
    rate_is "$@" || rate_is "$@" || rate_is "$@"
}
check "operations keep to their rate, within a tenth" rate_shows $iops 1 0 6 26 4096 1000
check "bytes keep to their rate, within a tenth" rate_shows $bandwidth $block 128 2 7 $block 60
sed 's/^/# /' "$work/rates"

# What other VMs write to a device goes to copies of their own.
before=$(md5sum <"$disk")
one=$("$voltctl" acquire copies --wait "$(patient 60)s")
two=$("$voltctl" acquire copies --wait "$(patient 60)s")
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
