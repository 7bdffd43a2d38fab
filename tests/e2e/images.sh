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

# An image of umoci's, with a configuration and a program that has a capability.
oci_make()
{
    mkdir -p oci/bin oci/etc oci/run/app oci/tmp/k && cp "$busybox" oci/bin/busybox &&
        for name in sh cat echo env id pwd ls rm touch chown stat; do ln -s busybox "oci/bin/$name"; done &&
        printf '%s\n' root:x:0:0::/root:/bin/sh me:x:1000:1000::/home/me:/bin/sh >oci/etc/passwd && echo app >oci/run/app/file &&
        echo k >oci/tmp/k/file && cp "$busybox" oci/bin/capchown && rm oci/bin/chown &&
        mv oci/bin/capchown oci/bin/chown && setcap cap_chown+ep oci/bin/chown &&
        umoci init --layout layout && umoci new --image layout:x && umoci unpack --image layout:x bundle &&
        cp -a oci/. bundle/rootfs/ && umoci repack --image layout:y bundle &&
        umoci config --image layout:y --config.user me --config.env WHO=image --config.env PATH=/bin \
            --config.workingdir /srv/work --config.entrypoint /bin/echo --config.cmd from --config.cmd cmd &&
        skopeo --insecure-policy copy -q oci:layout:y docker-archive:save.tar:me:1
}
if command -v umoci >/dev/null && command -v skopeo >/dev/null && [ "$(id -u)" = 0 ]; then
    check 'an OCI image is made' oci_make
    check 'built, of what docker save would write' image build oci --from-oci save.tar
    check 'keeps its configuration' prints '["/bin/echo"]' in_image oci config.entrypoint
    check 'and as an ext4' image build oci4 --from-oci layout:y --fs ext4
    check 'a save archive is no root' fails_saying 125 '--from-oci' image build x --from-tar save.tar
fi
check 'an ext4 from a folder' image build small --from-dir tree --fs ext4 --size 64M
check 'an erofs from a tar file' image build tar --from-tar tree.tar
check 'the same again' image build again --from-dir tree --fs ext4 --size 64M
check 'shares its chunks' test "$(in_image again unique_bytes)" -lt "$(in_image again stored_bytes)"
check 'and has holes that are not stored' test "$(in_image small zero_chunks)" -gt 20
check 'every chunk is right' image verify small
check 'a name is taken' fails_saying 125 'already' image build tar --from-dir tree
check 'a folder that is not there' fails_saying 125 'No such file' image build x --from-dir nowhere
check 'what is no tar file' fails_saying 125 'the archive is damaged' image build x --from-tar disk.img
for size in 0 1 1023K 65G 99999T; do
    check "a size of $size" fails_saying 125 'from 1M to 64G' image build x --from-dir tree --fs ext4 --size $size
done
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
oci_jobs=
if [ -s save.tar ]; then
    create oci --image oci --memory 64M &
    oci_jobs=$!
    create oci4 --image oci4 --memory 64M &
    oci_jobs="$oci_jobs $!"
fi
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

# capable LEASE: what a file's capability allows works, and only that.
capable()
{
    guest "$1" --user root -- touch /etc/mine &&
        guest "$1" --user 1000 -- chown 1000 /etc/mine &&
        prints 1000 guest "$1" -- stat -c %u /etc/mine &&
        ! guest "$1" --user 1000 -- busybox chown 0 /etc/mine
}
if [ -n "$oci_jobs" ]; then
    for job in $oci_jobs; do
        wait "$job"
        check 'a pool of an OCI image' created oci $?
    done
    check 'run starts its entry point' prints 'from cmd' "$voltctl" run oci
    check 'to which a command goes' prints 'other words' "$voltctl" run oci -- other words
    check 'or another one' prints /srv/work "$voltctl" run --entrypoint pwd oci
    one=$(acquire oci) four=$(acquire oci4)
    check 'exec is of its user' prints 'uid=1000(me) gid=1000' guest "$one" -- id
    check 'in its folder' prints /srv/work guest "$one" -- pwd
    check 'with its variables' prints image guest "$one" -- sh -c 'echo $WHO'
    check 'and what was asked for goes before' prints 'mine / 0' guest "$one" -e WHO=mine -w / -u root -- sh -c 'echo $WHO $(pwd) $(busybox id -u)'
    check 'a folder of the image goes' guest "$one" -u root -- rm -rf /run/app
    check 'and can be made again' guest "$one" -u root -- sh -c 'busybox mkdir /run/app && busybox mv /srv /srv2 && busybox rmdir /run/app'
    two=$(acquire oci)
    check 'what it has in /run and /tmp is there' prints $'app\nk' guest "$two" -- cat /run/app/file /tmp/k/file
    check 'capabilities of files count on an erofs' capable "$two"
    check 'and on an ext4' capable "$four"
    check 'leases go' "$voltctl" release --all
else
    skip 'OCI images' 'umoci or skopeo is not installed, or not root'
fi

if [ -n "$debian_job" ]; then
    wait "$debian_job"
    check 'a pool of a Debian' created deb $?
    check 'a folder of it goes' "$voltctl" run deb -- rm -rf /usr/share/doc/apt
    check 'and another is moved' "$voltctl" run deb -- mv /usr/share/doc /usr/share/doc2
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
