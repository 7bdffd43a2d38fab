# SPDX-License-Identifier: Apache-2.0
# Goal: leases are given volumes and folders of the host: read-only, with writes that are thrown away, and
#   with writes that the next lease finds; and a hostile guest gets nothing else.
# Method: real VMs of a pool with slots; what they write is looked at by other VMs, never by the host.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# As root, the volumes' files are on a small file system of their own, which a guest can fill.
small=$VOLT_STATE_DIR/volumes/data
mkdir -p "$small"
if [ "$(id -u)" = 0 ] && mount -t tmpfs -o size=32m,mode=700 volumes "$small" 2>/dev/null; then
    trap 'umount -l "$small"; finish' EXIT
else
    small=
fi
poold_start || exit 1
check 'a pool whose VMs can be given volumes' "$voltctl" pool create vols --volumes 2 --min 1 --max 4
check 'a volume' "$voltctl" volume create cache --size 256M
wait_s=$(patient 60)s

# run VOLUME... -- CMD...: in a VM of its own with those volumes
run()
{
    local args=()
    while [ "$1" != -- ]; do args+=(--volume "$1"); shift; done
    shift
    "$voltctl" run vols --wait "$wait_s" ${args[@]+"${args[@]}"} -- "$@"
}

check 'what is written to a copy is there' run cache:/cache -- \
    sh -c 'echo thrown >/cache/file && sync && grep thrown /cache/file'
check 'and gone with the lease; a lease that may not write cannot, nor past the file system' \
    run cache:/cache:ro -- sh -c '[ ! -e /cache/file ] && ! echo x >/cache/file &&
        ! dd if=/dev/zero of=/dev/vda bs=4096 count=1 conv=fsync && ls /cache'
check 'what is written for good is kept, with a process that has it open' run cache:/cache:rw -- sh -c '
    cd /cache && seq 1000 >numbers && dd if=/dev/zero of=zeroes bs=64k count=16 2>/dev/null &&
    { sleep 1000 >open & } && mkdir -p a/b'
check 'by the next lease; a command that fails changes nothing' exits 3 run cache:/cache:rw -- sh -c '
    [ "$(tail -n 1 /cache/numbers)" = 1000 ] && [ -d /cache/a/b ] && [ $(wc -c </cache/zeroes) = 1048576 ] &&
        rm /cache/numbers && sync && exit 3'

# ---- One at a time, and what is in use ----
first=$("$voltctl" acquire vols --wait "$wait_s" --volume cache:/cache:rw)
check 'one lease writes at a time' fails_saying 125 'another lease writes the volume' \
    "$voltctl" acquire vols --volume cache:/c:rw
check 'others read what it was meanwhile' run cache:/cache -- grep -qx 77 /cache/numbers
check 'a volume in use is not deleted' fails_saying 125 'in use' "$voltctl" volume delete cache
check 'it says who has it' prints "$first" \
    sh -c "'$voltctl' volume show cache --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"leases\"][0][\"lease\"])'"
kill_vm()
{
    kill -9 "$("$voltctl" ps --json | json leases.0.pid)"
}
check 'who is killed in the middle' guest "$first" -- sh -c 'rm /cache/numbers; sync'
check 'and dies' kill_vm

# ---- Over a restart of poold ----
second=$("$voltctl" acquire vols --wait "$wait_s" --volume cache:/cache:rw)
check 'leaves the volume as it was' guest "$second" -- test -e /cache/numbers
kill -USR2 "$poold_pid"
wait "$poold_pid" 2>/dev/null
poold_start # not within check, whose subshell would keep its pid
check 'the next poold is there' poold_answers
check 'goes on with a lease that writes' guest "$second" -- sh -c 'echo over >/cache/restart'
check 'and keeps what it wrote' "$voltctl" release "$second"
check 'which is there' run cache:/cache -- grep -qx over /cache/restart

# The connection that the lease is bound to stays open for the next poold, of which nobody has asked anything.
asks_of_a_dying_poold()
{
    kill -STOP "$("$voltctl" ps --json | json leases.0.pid)"
    kill -9 "$poold_pid"
}
"$voltctl" run vols --wait "$wait_s" --volume cache:/cache:rw -- true >"$work/out" 2>"$work/said" &
run_pid=$!
until_true 20 compgen -G "$VOLT_STATE_DIR/volumes/leases/*.json" # poold has begun with it
asks_of_a_dying_poold
wait "$poold_pid" 2>/dev/null
poold_start
check 'a volume that a killed poold was asked for: who waits for it hears of that' \
    timeout "$(patient 10)" tail --pid=$run_pid -f /dev/null
kill $run_pid 2>/dev/null
wait $run_pid
check 'with 125' test $? = 125
check 'and a sentence' grep -q 'cache at /cache: poold closed the connection' "$work/said"
check 'its VM is taken back' until_true 20 no_lease

# ---- A full disk of the host ----
# There is room for a copy of the volume, and 1 MiB: a guest that writes 3 MiB needs no long time for it.
fill='rm /cache/numbers; dd if=/dev/zero of=/cache/all bs=64k count=48 2>/dev/null; true'
host_fill()
{
    local free_kib used_kib
    free_kib=$(df -k --output=avail "$small" | tail -n 1) && used_kib=$(du -sk "$small" | cut -f 1) &&
        head -c "$((free_kib - used_kib - 1024))K" /dev/zero >"$small/filler"
}
fills()
{
    run cache:/cache:rw -- sh -c "$fill"
}
fills_and_releases()
{
    guest "$1" -- sh -c "$fill" && "$voltctl" release "$1"
}
if [ -n "$small" ]; then
    check 'the host has little room' host_fill
    check 'what the host has no room for is not kept' fails_saying 125 "can't store all that was written" fills
    third=$("$voltctl" acquire vols --wait "$wait_s" --volume cache:/cache:rw)
    check 'a lease goes on that could not store it' fails_saying 125 "can't store all that was written" fills_and_releases "$third"
    check 'and has lost it: a second release keeps no more' \
        fails_saying 125 "can't store all that was written" "$voltctl" release "$third"
    check 'but it can be thrown away' "$voltctl" release --discard "$third"
    rm "$small/filler"
    check 'all of which leaves the volume as it was' run cache:/cache:rw -- test -e /cache/numbers
else
    skip 'what the host has no room for is not kept' 'only root can mount a small file system'
fi

# ---- Folders ----
mkdir -p "$work/src/sub"
echo 'from the host' >"$work/src/sub/file"
ln -s sub/file "$work/src/link"
share()
{
    "$voltctl" run vols --wait "$wait_s" --share "$work/src:/src" -- "$@"
}
check 'a folder of the host is in a VM, and cannot be written' share \
    sh -c 'grep -qx "from the host" /src/link && ! echo x >/src/sub/file'
folders()
{
    [ "$("$voltctl" volume list --json | grep -c '"name": "share\.')" = "$1" ]
}
check 'which was made once' folders 1
echo 'changed' >"$work/src/sub/file"
check 'a folder that was changed is made anew' share grep -qx changed /src/sub/file
check 'that is another one' folders 2

# ---- What is wrong ----
check 'no volume' fails_saying 125 "no volume 'none'" "$voltctl" run vols --volume none:/x -- true
check 'a folder of the kernel' fails_saying 125 'no volume can be mounted at' \
    "$voltctl" run vols --volume cache:/proc/x -- true
for text in cache cache:x :/x cache:/x: cache:/x:ro:rw cache:/x:all; do
    check "no volume: $text" fails_saying 125 "NAME:PATH, maybe with :ro, :rw or :copy behind, not '$text'" \
        "$voltctl" run vols --volume "$text" -- true
done
check 'more than there are slots' fails_saying 125 'as many as' \
    "$voltctl" run vols --wait "$wait_s" --volume cache:/a:ro --volume cache:/b:ro --volume cache:/c:ro -- true
check 'nobody has a lease for it' until_true 20 no_lease
nothing_left()
{
    [ "$(find "$VOLT_STATE_DIR/volumes/leases" -type f | wc -l)" = 0 ] &&
        [ "$(find "$VOLT_STATE_DIR/volumes/data" -type f | wc -l)" = 3 ]
}
check 'no file is left of leases that are over' until_true 20 nothing_left

# ---- A guest that writes what is no file system ----
check 'a guest may spoil what it writes' run cache:/cache:rw -- \
    sh -c 'umount -l /cache; dd if=/dev/zero of=/dev/vda bs=64k count=64 conv=fsync 2>/dev/null; sleep 1000 &'
check 'and the next one is told' fails_saying 125 "can't mount the volume" \
    "$voltctl" run vols --wait "$wait_s" --volume cache:/cache -- true
check 'it can be deleted' until_true 20 "$voltctl" volume delete cache
