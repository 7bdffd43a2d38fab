# SPDX-License-Identifier: Apache-2.0
# Goal: cp copies files and folders both ways, with the names that docker cp would give them.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
poold_with_pool
id=$(acquire)
cd "$work" || exit 1

mkdir -p tree/sub
echo one >tree/a
echo two >tree/sub/b
printf '#!/bin/sh\necho ran\n' >tree/program
chmod 755 tree/program
ln -s sub/b tree/link
head -c 500000 /dev/urandom >big
touch "tree/a name with  blanks" "tree/$(printf 'n%.0s' {1..150})"

same_tree()
{
    diff -r --no-dereference "$1" "$2"
}

check 'a file into a folder' "$voltctl" cp big "$id:/tmp"
check 'it is there' prints "$(md5sum <big | cut -c1-32)  /tmp/big" guest "$id" -- md5sum /tmp/big
check 'and back under another name' "$voltctl" cp "$id:/tmp/big" ./back
check 'unchanged' cmp big back
check 'a file under a new name' "$voltctl" cp tree/a "$id:/tmp/new"
check 'it has that name' prints one guest "$id" -- cat /tmp/new
check 'a file over a file' "$voltctl" cp tree/sub/b "$id:/tmp/new"
check 'it replaced it' prints two guest "$id" -- cat /tmp/new
check 'a folder to where nothing is' "$voltctl" cp tree "$id:/tmp/copy"
check 'what was in it is there' prints two guest "$id" -- cat /tmp/copy/link
check 'programs stay programs' prints ran guest "$id" -- /tmp/copy/program
check 'a folder into a folder' "$voltctl" cp tree "$id:/tmp/copy"
check 'it is inside' prints one guest "$id" -- cat /tmp/copy/tree/a
check 'what is in a folder into a folder' bash -c "'$voltctl' exec $id -- mkdir /tmp/flat && '$voltctl' cp tree/. $id:/tmp/flat"
check 'it is not inside a folder' prints one guest "$id" -- cat /tmp/flat/a
check 'a whole tree back' "$voltctl" cp "$id:/tmp/flat" ./flat
check 'is the same tree' same_tree tree flat
mkdir there
check 'a guest folder into a folder of ours' "$voltctl" cp "$id:/tmp/flat" there
check 'it is inside, the same' same_tree tree there/flat
check 'what is in a guest folder' bash -c "mkdir open && '$voltctl' cp $id:/tmp/flat/. open"
check 'is there, the same' same_tree tree open
check 'a file with an odd name' bash -c "echo odd >'a&b,c' && '$voltctl' cp './a&b,c' '$id:/tmp/x[y]\$z'"
check 'has its odd name' prints odd guest "$id" -- cat '/tmp/x[y]$z'

# ---- What a tar can carry, with the guest's own kernel ----

mkdir -p rich/sub v/var/run/a
truncate -s 40M rich/sparse && printf end | dd of=rich/sparse bs=1M seek=39 conv=notrunc status=none
truncate -s 9000M rich/huge
echo hard >rich/a && ln rich/a rich/sub/b
setfattr -n user.note -v kept rich/a
touch -d '2001-02-03 04:05:06.123456789' rich/a rich/sub
mkfifo rich/fifo
touch v/var/run/a/x
in_guest()
{
    guest "$id" -- sh -c "$1"
}
rich_like()
{
    test "$(stat -c '%y %s %h' rich/a)" = "$(stat -c '%y %s %h' "$1/a")" && test "$1/a" -ef "$1/sub/b" &&
        test "$(du -k "$1/sparse" | cut -f1)" -le 64 && cmp "$1/sparse" rich/sparse &&
        test "$(stat -c %s "$1/huge")" = 9437184000 && test "$(du -k "$1/huge" | cut -f1)" -le 4 &&
        test "$(getfattr --only-values -n user.note "$1/a")" = kept && test ! -e "$1/fifo"
}
check 'a tree with holes, hard links, attributes and a FIFO' "$voltctl" cp rich "$id:/tmp/rich"
check 'is not denser there' in_guest 'test $(du -k /tmp/rich/sparse | cut -f1) -le 64 && test $(du -k /tmp/rich/huge | cut -f1) -le 4'
check 'its links are links' in_guest 'test $(stat -c %h /tmp/rich/a) = 2 && test ! -e /tmp/rich/fifo'
check 'and comes back' "$voltctl" cp "$id:/tmp/rich" ./rich-back
check 'with all that it had' rich_like rich-back
check 'a FIFO of the guest' in_guest 'mkfifo /tmp/rich/pipe'
check 'is left out, with a note' bash -c "'$voltctl' cp $id:/tmp/rich there 2>&1 | grep -q 'note: 1 '"
check 'links of the root are followed' in_guest 'mkdir -p /var && ln -sfn /run /var/run'
check 'by a copy into it' "$voltctl" cp v/. "$id:/"
check 'and stay' in_guest 'test -f /run/a/x && test -L /var/run'
check 'a device is not replaced' fails_saying 125 'not replaced' "$voltctl" cp tree/a "$id:/dev/null"
check 'nor through a link' bash -c "'$voltctl' exec $id -- ln -s /dev/null /tmp/null && ! '$voltctl' cp tree/a $id:/tmp/null"
check 'it is one still' in_guest 'test -c /dev/null && test -L /tmp/null'
check 'a link at the target is followed' bash -c "'$voltctl' exec $id -- ln -s new /tmp/tonew && '$voltctl' cp tree/a $id:/tmp/tonew"
check 'to what it says' prints one guest "$id" -- cat /tmp/new
mknod_here()
{
    mknod node c 1 3 && fails_saying 125 'not replaced' "$voltctl" cp "$id:/etc/hosts" node && test -c node
}
if [ "$(id -u)" = 0 ]; then
    check 'a device of ours neither' mknod_here
    chown 12:34 rich/a
    check 'owners are root there' in_guest 'test $(stat -c %u:%g /tmp/rich/a) = 0:0'
    check 'with --archive' "$voltctl" cp -a rich "$id:/tmp/owned"
    check 'they are their own' in_guest 'test $(stat -c %u:%g /tmp/owned/a) = 12:34'
    check 'and back' bash -c "'$voltctl' cp -a $id:/tmp/owned . && test \$(stat -c %u:%g owned/a) = 12:34"
fi
check 'a stream in' bash -c "tar -c tree | '$voltctl' cp - $id:/tmp/flat"
check 'is unpacked' prints one guest "$id" -- cat /tmp/flat/tree/a
check 'a stream out' bash -c "'$voltctl' cp $id:/tmp/flat/tree - | tar -xf - -C rich"
check 'is the same' same_tree tree rich/tree
check 'one from guest to guest' bash -c "'$voltctl' cp $id:/tmp/flat/tree - | '$voltctl' cp - $id:/tmp/copy"
check 'a stream to a folder that is not there' fails_saying 125 'no folder' bash -c "tar -c tree | '$voltctl' cp - $id:/tmp/missing"
mkdir thousand && (cd thousand && seq 1000 1999 | xargs touch)
check 'a thousand files' "$voltctl" cp thousand "$id:/tmp/thousand"
check 'all of them' in_guest 'test $(ls /tmp/thousand | wc -l) = 1000'
check 'and back' bash -c "'$voltctl' cp $id:/tmp/thousand back-thousand && test \$(ls back-thousand | wc -l) = 1000"

check 'files of the kernel, which have no size' bash -c "'$voltctl' cp $id:/proc/cpuinfo . &&
    '$voltctl' exec $id -- cat /proc/cpuinfo | cmp - cpuinfo && '$voltctl' cp $id:/proc/sys/kernel/random . &&
    '$voltctl' exec $id -- cat /proc/sys/kernel/random/poolsize | cmp - random/poolsize"
check 'a private folder to where nothing is' bash -c "mkdir -m 700 private && '$voltctl' cp private $id:/tmp/private"
check 'stays private' in_guest 'test $(stat -c %a /tmp/private) = 700'
check 'a time before 1970' bash -c "touch -d '1969-07-20 20:17:40.25' moon && '$voltctl' cp moon $id:/tmp/ &&
    '$voltctl' cp $id:/tmp/moon moon2 && test \"\$(stat -c %y moon)\" = \"\$(stat -c %y moon2)\""

check 'a source that is not there' fails_saying 125 nothing "$voltctl" cp nothing "$id:/tmp"
check 'a guest source that is not there' fails_saying 125 nothing "$voltctl" cp "$id:/tmp/nothing" .
check 'a folder onto a file' fails_saying 125 'is a file' "$voltctl" cp tree "$id:/tmp/new"
check 'a guest folder onto a file' fails_saying 125 'is a file' "$voltctl" cp "$id:/tmp/flat" big
check 'a file to a folder that is not there' fails_saying 125 'no folder' "$voltctl" cp big "$id:/tmp/missing/"
check 'two paths of ours' fails_saying 125 'LEASE:PATH' "$voltctl" cp big back
check 'two paths of guests' fails_saying 125 'LEASE:PATH' "$voltctl" cp "$id:/a" "$id:/b"
check 'an unknown lease' fails_saying 125 lease "$voltctl" cp big ffffffffffff:/tmp
check 'a path that is too long' fails_saying 125 'at most 4095 bytes' "$voltctl" cp big "$id:/$(printf 'p%.0s' {1..5000})"
check 'one argument' exits 125 "$voltctl" cp big
disk_full()
{
    guest "$id" -- mkdir /tmp/small && guest "$id" -- mount -t tmpfs -o size=64k none /tmp/small &&
        fails_saying 125 'space' "$voltctl" cp big "$id:/tmp/small/"
}
check 'more than the guest can hold' disk_full
check 'what was there stays' in_guest 'test -z "$(ls -A /tmp/small)"'
check 'the guest lives on' prints alive guest "$id" -- echo alive
