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

check 'a source that is not there' fails_saying 125 nothing "$voltctl" cp nothing "$id:/tmp"
check 'a guest source that is not there' fails_saying 125 nothing "$voltctl" cp "$id:/tmp/nothing" .
check 'a folder onto a file' fails_saying 125 'is a file' "$voltctl" cp tree "$id:/tmp/new"
check 'a guest folder onto a file' fails_saying 125 'is a file' "$voltctl" cp "$id:/tmp/flat" big
check 'a file to a folder that is not there' fails_saying 125 'no folder' "$voltctl" cp big "$id:/tmp/missing/"
check 'two paths of ours' fails_saying 125 'LEASE:PATH' "$voltctl" cp big back
check 'two paths of guests' fails_saying 125 'LEASE:PATH' "$voltctl" cp "$id:/a" "$id:/b"
check 'an unknown lease' fails_saying 125 lease "$voltctl" cp big ffffffffffff:/tmp
check 'one argument' exits 125 "$voltctl" cp big
disk_full()
{
    guest "$id" -- mkdir /tmp/small && guest "$id" -- mount -t tmpfs -o size=64k none /tmp/small &&
        fails_saying 125 'space' "$voltctl" cp big "$id:/tmp/small/"
}
check 'more than the guest can hold' disk_full
check 'the guest lives on' prints alive guest "$id" -- echo alive
