# SPDX-License-Identifier: Apache-2.0
# Goal: a guest is as people know it from real machines: its devices, hosts, limits and system calls,
# whatever its root file system has or lacks; and one that is of no use fails its pool with its words.
# Method: three roots of busybox, booted side by side: one without /etc and with things in /run and
# /tmp, one whose resolv.conf leads nowhere, one that can't be a root.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
poold_start || { echo 'Bail out! no poold to test with'; exit 1; }

busybox_root bare
mkdir -p bare/run/app bare/tmp/k bare/usr/share/doc/x bare/usr/share/doc/y
echo here >bare/run/app/file
echo here >bare/tmp/k/file
echo text >bare/usr/share/doc/x/file
cp bare/bin/busybox bare/bin/busybox.capable
# cap_net_raw+ep
[ "$(id -u)" != 0 ] || python3 -c '
import os, struct
os.setxattr("bare/bin/busybox.capable", "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))'
busybox_root dangling
mkdir -p dangling/etc
ln -s ../run/systemd/resolve/stub-resolv.conf dangling/etc/resolv.conf
printf '10.0.0.1 other' >dangling/etc/hosts
busybox_root useless
echo 'a file' >useless/proc

pools=(bare useless)
# What a warm-up cuts is made whole before the snapshot.
bare_options=(--warmup ': >/etc/hosts; : >/etc/machine-id') useless_options=() dangling_options=(--net user)
if command -v passt >/dev/null; then pools+=(dangling); fi
declare -A made
for name in "${pools[@]}"; do
    check "an image of the root '$name'" "$voltctl" image build "$name" --from-dir "$name"
    declare -n options=${name}_options
    # shellcheck disable=SC2086 # several options
    "$voltctl" pool create "$name" --image "$name" --min 1 --max 4 "${options[@]}" ${E2E_POOL_OPTIONS:-} \
        >"$name.created" 2>&1 &
    made[$name]=$!
done
for name in "${pools[@]}"; do
    status=0
    wait "${made[$name]}" || status=$?
    made[$name]=$status
done
# created NAME STATUS
created()
{
    cat "$1.created"
    [ "${made[$1]}" = "$2" ]
}

# ---- A root without /etc ----

check 'a pool of a root without /etc' created bare 0
id=$(acquire bare)
in_guest()
{
    "$voltctl" exec "$id" -- "$@"
}
check 'it has a machine id' bash -c "'$voltctl' exec $id -- sh -c 'cat /etc/machine-id' | grep -qE '^[0-9a-f]{32}$'"
check "the image's own /run is there" prints here in_guest sh -c 'cat /run/app/file'
check "and its /tmp" prints here in_guest sh -c 'cat /tmp/k/file'
check '/etc/mtab lists file systems' prints overlay in_guest sh -c 'while read what where rest; do
    [ $where != / ] || echo $what; done </etc/mtab'
check 'localhost is known' bash -c "'$voltctl' exec $id -- sh -c 'cat /etc/hosts' | grep -qE '^127.0.0.1 +localhost'"
own_name()
{
    local name
    name=$(in_guest sh -c hostname)
    [ -n "$name" ] && in_guest sh -c 'cat /etc/hosts' | grep -qE "^127.0.1.1 +$name *\$"
}
check 'and the own name' own_name
other_name()
{
    local other=$id
    id=$(acquire bare) && own_name && [ "$id" != "$other" ]
}
check 'of each clone' other_name
check '/dev/fd' prints hi in_guest sh -c 'cat /dev/fd/3 3<<EOF
hi
EOF'
check '/dev/stdin' prints hi bash -c "echo hi | '$voltctl' exec -i $id -- sh -c 'cat /dev/stdin'"
check '/dev/stdout and /dev/stderr' prints 'out err' bash -c "echo \$('$voltctl' exec $id -- \
    sh -c 'echo out >/dev/stdout; echo err >/dev/stderr' 2>&1)"
limit()
{
    in_guest sh -c 'cat /proc/self/limits' | awk -v name="$1" 'index($0, name) == 1 {
        sub(/^[^0-9u]*/, ""); print $1, $2 }' | head -n 1
}
check 'open files' prints '1024 1048576' limit 'Max open files'
check 'core files' prints '0 unlimited' limit 'Max core file size'
check 'locked memory' prints '8388608 8388608' limit 'Max locked memory'
check 'stack' prints '8388608 unlimited' limit 'Max stack size'
processes()
{
    local soft hard
    read -r soft hard < <(limit 'Max processes')
    [ "$soft" = "$hard" ] && [ "$soft" -ge 300 ]
}
check 'processes' processes

folders_go()
{
    in_guest sh -c 'mv /usr/share/doc/y /usr/share/z && rm -r /usr/share/doc && ls /usr/share' | grep -qx z &&
        ! in_guest sh -c 'ls /usr/share' | grep -q doc
}
check 'folders of the image can be moved and removed' folders_go
user_attributes()
{
    "$voltctl" cp "$VOLT_BUILD/tests/e2e/guest-calls" "$id:/tmp/guest-calls" &&
        in_guest /tmp/guest-calls /tmp >calls
}
check 'the calls are made' user_attributes
for call in inotify fanotify shm sem msg mqueue mqueue-mounted aio io_uring user-xattr file-handles \
    process_vm_readv kcmp pidfd membarrier userfaultfd memfd smaps mount-namespace uts-namespace ipc-namespace \
    pid-namespace user-namespace net-namespace seccomp; do
    check "the kernel has $call" grep -x "$call ok" calls
done
vectors()
{
    "$voltctl" cp "$VOLT_BUILD/tests/e2e/guest-vectors" "$id:/tmp/guest-vectors" &&
        in_guest /tmp/guest-vectors >vectors && cat vectors
}
check 'vector registers are looked after' vectors
if grep -qx 'no AVX' vectors; then
    skip 'they belong to their process' 'this CPU has no AVX'
else
    for way in 'switches of processes' "a signal's handler" fork; do
        check "they belong to their process: $way" grep -x "$way: ok" vectors
    done
fi
capabilities()
{
    # as nobody, by a program that is given CAP_NET_RAW
    in_guest sh -c 'echo "nobody:x:65534:65534::/:/bin/sh" >/etc/passwd
        busybox su nobody -c "/bin/busybox.capable cat /proc/self/status"' | grep -qE '^CapEff:\s+0000000000002000$'
}
if [ "$(id -u)" = 0 ]; then
    check "a file's capabilities" capabilities
else
    skip "a file's capabilities" 'only root can give a file capabilities'
fi

# ---- A resolv.conf that leads nowhere ----

if [ -n "${made[dangling]:-}" ]; then
    check 'a pool of a root whose resolv.conf leads nowhere' created dangling 0
    id=$(acquire dangling)
    check 'it gets one' bash -c "'$voltctl' exec $id -- sh -c 'cat /etc/resolv.conf' | grep -q '^nameserver '"
    hosts_kept()
    {
        in_guest sh -c 'cat /etc/hosts' >hosts
        grep -qx '10.0.0.1 other' hosts && grep -q '^127.0.0.1 localhost' hosts && own_name
    }
    check 'its hosts are kept' hosts_kept
else
    skip 'a resolv.conf that leads nowhere' 'there is no passt on this host'
fi

# ---- A root that is of no use ----

check 'a pool of a root that is none fails' created useless 125
check "in the guest's own words" grep -q "can't move a mount to '.*/proc'" useless.created
check 'and is not ready' bash -c "'$voltctl' pool show useless --json | grep -q '\"failed\"'"

# ---- A kernel that finds no init ----

# shellcheck disable=SC2086 # several options
"$voltctl" pool create panics --min 0 --max 1 --cmdline rdinit=/nothing ${E2E_POOL_OPTIONS:-} >panics.created 2>&1
made[panics]=$?
check 'a pool whose kernel panics fails' created panics 125
check "with the kernel's words" grep -q 'its console: "Kernel panic - not syncing' panics.created

# ---- Numbers that are none of a pool's ----

check 'a rate of no disk' fails_saying 125 'go with a disk' "$voltctl" pool create none --disk-iops 5
check 'a rate of no network' fails_saying 125 'goes with a network' "$voltctl" pool create none --net-pps 5

while read -r option value range; do
    check "--$option $value is refused with the range" bash -c "! '$voltctl' pool create none --$option $value 2>range &&
        grep -q 'from $range ' range && ! '$voltctl' pool show none"
done <<'NUMBERS'
memory 0 32M to 64G
memory 65G 32M to 64G
memory 16000000T 32M to 64G
vcpus 0 1 to 8
vcpus 9 1 to 8
min 100001 0 to 100000
max 0 1 to 100000
max 100001 1 to 100000
shells 100001 0 to 100000
disk-bandwidth 0 512 to 9223372036854775807
disk-iops 0 1 to 4294967295
net-bandwidth 0 1K to 9223372036854775807
net-pps 0 1 to 4294967295
NUMBERS
