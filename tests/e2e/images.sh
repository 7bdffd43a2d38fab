# SPDX-License-Identifier: Apache-2.0
# Goal: root filesystems and disks. Images are built, shared, checked and refused; VMs of a pool start
# from the same disk, write to copies of their own, and none of that reaches the image or the file.
# Method: a small ext4 image of busybox, a raw file, and a Debian made by mmdebstrap (kept in the
# cache), each as the disk of a pool. The three boot side by side.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
busybox=$(command -v busybox)
debian=${XDG_CACHE_HOME:-$HOME/.cache}/volt/debian-apt.tar
poold_start || { echo 'Bail out! no poold to test with'; exit 1; }

mkdir -p tree/bin tree/etc
cp "$busybox" tree/bin/
for name in sh cat echo ls sync dd; do ln -s busybox "tree/bin/$name"; done
echo small >tree/etc/name
tar -C tree -cf tree.tar .
head -c 1500000 /dev/urandom >disk.img
truncate -s 8M disk.img
disk_before=$(md5sum <disk.img)

image()
{
    "$voltctl" image "$@"
}

in_image()
{
    image inspect "$1" --json | json "$2"
}

check 'an ext4 from a folder' image build small --from-dir tree --fs ext4 --size 64M
check 'an erofs from a tar file' image build tar --from-tar tree.tar
check 'the same again' image build again --from-dir tree --fs ext4 --size 64M
check 'shares its chunks' test "$(in_image again unique_bytes)" -lt "$(in_image again stored_bytes)"
check 'and has holes that are not stored' test "$(in_image small zero_chunks)" -gt 20
check 'every chunk is right' image verify small
check 'a name is taken' fails_saying 125 'already' image build tar --from-dir tree
check 'a folder that is not there' fails_saying 125 'No such file' image build x --from-dir nowhere
check 'what is no tar file' fails_saying 125 'the archive is damaged' image build x --from-tar disk.img
check 'two sources' fails_saying 125 'one of' image build x --from-dir tree --from-tar tree.tar
check 'what is no file system' bash -c "curl -s --unix-socket '$VOLT_RUN_DIR/poold.sock' \
    --data-binary @disk.img http://volt/v1/images/x | grep -q 'neither an erofs nor an ext4'"
check 'nothing is left of those' fails_saying 125 'no image' image inspect x
check 'a pool of no image' fails_saying 125 'no image' "$voltctl" pool create x --image x
check 'a pool of a folder' fails_saying 125 'neither a regular file' "$voltctl" pool create x --disk tree

create()
{
    # shellcheck disable=SC2086 # several options
    "$voltctl" pool create "$@" --min 1 --max 4 ${E2E_POOL_OPTIONS:-} >"$1.created" 2>&1
}
# created NAME STATUS: for check, with what was said if it was not
created()
{
    [ "$2" = 0 ] || { cat "$1.created"; return 1; }
}

create small --image small --memory 64M --warmup 'echo warmed >/warm' &
small_job=$!
create raw --disk disk.img --memory 64M --disk-bandwidth 1M &
raw_job=$!
debian_job=
if command -v mmdebstrap >/dev/null && [ "$(id -u)" = 0 ]; then
    [ -s "$debian" ] || { mkdir -p "$(dirname "$debian")" &&
        mmdebstrap --quiet --variant=apt bookworm "$debian.new.tar" >mmdebstrap.log 2>&1 &&
        mv "$debian.new.tar" "$debian"; }
fi
if [ -s "$debian" ]; then
    check 'a Debian from mmdebstrap' image build deb --from-tar "$debian"
    create deb --image deb --memory 256M &
    debian_job=$!
fi


# check runs in a subshell, which can't wait for our jobs
wait "$small_job"; small_made=$?
wait "$raw_job"; raw_made=$?
check 'a pool of an image' created small "$small_made"
one=$(acquire small) two=$(acquire small)
check 'its root is the image' prints small guest "$one" -- cat /etc/name
check 'with what the warm-up wrote' prints warmed guest "$two" -- cat /warm
check 'one writes' guest "$one" -- sh -c 'echo mine >/mine; sync'
check 'and reads it' prints mine guest "$one" -- cat /mine
check 'the other does not' exits 1 guest "$two" -- cat /mine
check 'the snapshot is whole, with its disk' "$voltctl" snapshot verify small
check 'the image, too' image verify small
check 'an image in use stays' fails_saying 125 "pool 'small' uses" image delete small
check 'one that is not goes' image delete again
check 'without harm to the others' image verify small

check 'a pool of a file' created raw "$raw_made"
one=$(acquire raw) two=$(acquire raw)
first_bytes="busybox dd if=/dev/vda bs=4096 count=8 2>/dev/null | busybox md5sum"
wanted=$(head -c 32768 disk.img | md5sum)
check 'its disk has what the file has' prints "$wanted" guest "$one" -- busybox sh -c "$first_bytes"
check 'one writes it' guest "$one" -- busybox sh -c 'busybox dd if=/dev/zero of=/dev/vda bs=4096 count=8 conv=fsync'
zeroes=$(head -c 32768 /dev/zero | md5sum)
check 'and reads that' prints "$zeroes" guest "$one" -- busybox sh -c "busybox sh -c 'echo 1 >/proc/sys/vm/drop_caches'; $first_bytes"
check 'the other does not' prints "$wanted" guest "$two" -- busybox sh -c "$first_bytes"
check 'nor does the file' test "$disk_before" = "$(md5sum <disk.img)"
check 'leases go' "$voltctl" release --all

if [ -n "$debian_job" ]; then
    wait "$debian_job"
    check 'a pool of a Debian' created deb $?
    check 'apt-get runs' bash -c "'$voltctl' run deb -- apt-get --version | grep -q '^apt '"
    check 'and its root can be written' prints changed "$voltctl" run deb -- sh -c 'echo changed >/etc/motd; cat /etc/motd'
else
    skip 'a Debian from mmdebstrap' 'mmdebstrap is not installed, or not root'
fi

# What changed behind the back of a snapshot is refused; the pools beside it are not harmed.
poold_stop
echo changed | dd of=disk.img conv=notrunc 2>/dev/null
poold_start
state_of()
{
    [ "$("$voltctl" pool show "$1" --json | json state)" = "$2" ]
}
check 'a file changed underneath is refused' until_true 30 state_of raw failed
check 'and named' bash -c "'$voltctl' pool show raw --json | grep -q 'was changed after the snapshot'"
check 'the other pool is back' until_true 30 state_of small ready
check 'pools go' bash -c "'$voltctl' pool delete raw && '$voltctl' pool delete small"
check 'then their images can' image delete small
