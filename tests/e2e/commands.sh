# SPDX-License-Identifier: Apache-2.0
# Goal: every voltctl command does what its --help says, with right and with wrong input.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

check 'without poold: the socket is named' fails_saying 125 "$VOLT_RUN_DIR/poold.sock" "$voltctl" ps
check 'without poold: version tells its own' "$voltctl" version
check 'without poold: doctor works' "$voltctl" doctor

poold_with_pool

commands='acquire exec run cp console release renew ps status version doctor shutdown
pool-create pool-list pool-show pool-scale pool-drain pool-delete
snapshot-list snapshot-inspect snapshot-verify'
has_help()
{
    # shellcheck disable=SC2086
    "$voltctl" ${1/-/ } --help | grep -q '^Example:'
}
refuses_nonsense()
{
    # shellcheck disable=SC2086
    fails_saying 125 nonsense "$voltctl" ${1/-/ } --nonsense
}
for command in $commands; do
    check "$command has help with an example" has_help "$command"
    check "$command refuses an unknown option" refuses_nonsense "$command"
done
check 'an unknown command is refused' fails_saying 125 frobnicate "$voltctl" frobnicate
check 'an unknown pool command is refused' fails_saying 125 'pool create' "$voltctl" pool frobnicate

# ---- leases ----
id=$(acquire)
lease_is_listed()
{
    "$voltctl" ps | grep -q "^$1 *default"
}
ps_has_lease()
{
    "$voltctl" ps --json | grep -q "\"lease\": \"$1\""
}
check 'acquire prints an id' test -n "$id"
check 'ps lists the lease' lease_is_listed "$id"
check 'ps --json lists the lease' ps_has_lease "$id"
check 'a prefix of the id will do' prints hello "$voltctl" exec "${id:0:6}" -- echo hello
check 'renew' "$voltctl" renew "$id" --ttl 1h
check 'renew of an unknown lease' fails_saying 125 lease "$voltctl" renew ffffffffffff
check 'release' "$voltctl" release "$id"
check 'a released lease is gone' fails_saying 125 lease "$voltctl" release "$id"
check 'exec in a released lease' fails_saying 125 lease "$voltctl" exec "$id" -- true
check 'release wants a lease or --all' fails_saying 125 '--all' "$voltctl" release
acquire >/dev/null && acquire >/dev/null
check 'release --all' prints 'released 2' "$voltctl" release --all
timings_add_up()
{
    acquire --json | python3 -c '
import json, sys
lease = json.load(sys.stdin)
parts = lease["timings_us"]
total = parts.pop("total")
assert abs(sum(parts.values()) - total) <= len(parts), lease
assert lease["tier"] in ("parked", "shell", "cold"), lease'
}
check 'the timings of acquire add up' timings_add_up
"$voltctl" release --all >/dev/null
check 'acquire from an unknown pool' fails_saying 125 nopool "$voltctl" acquire nopool
check 'acquire with a wrong time' fails_saying 125 '--wait' "$voltctl" acquire --wait soon
lease_ends()
{
    local id
    id=$(acquire --ttl 300ms) && until_true 10 fails_saying 125 lease "$voltctl" exec "$id" -- true
}
check 'a lease ends with its --ttl' lease_ends

# ---- run ----
check 'run prints what the command prints' prints hello "$voltctl" run -- echo hello
check "run's exit code is the command's" exits 7 "$voltctl" run default -- sh -c 'exit 7'
check 'run leaves no lease' no_lease
check 'run without a command' fails_saying 125 'no command' "$voltctl" run default

# ---- daemon and pools ----
check 'status' "$voltctl" status
check 'status --json names the run directory' prints "$VOLT_RUN_DIR" bash -c "'$voltctl' status --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"run_dir\"])'"
check 'version shows poold' bash -c "'$voltctl' version | grep -Eq '^poold +[0-9]'"
check 'version --json' bash -c "'$voltctl' version --json | grep -q voltctl"
check 'doctor finds poold' bash -c "'$voltctl' doctor | grep -Eq '^ok +poold'"
# Of Debian 12 there is one that tells no version, and resets slow answers.
passt_level()
{
    local date
    [ -x /usr/bin/passt ] || { echo info; return; }
    date=$(/usr/bin/passt --version 2>/dev/null | head -n 1 | tr -d _ | grep -o '20[0-9]\{6\}' | head -n 1)
    [ "${date:-0}" -ge 20250503 ] && echo ok || echo warning
}
check 'doctor looks at passt' bash -c "'$voltctl' doctor | grep -Eq '^$(passt_level) +passt '"
check 'doctor --json' bash -c "'$voltctl' doctor --json | python3 -m json.tool"
check 'pool list' bash -c "'$voltctl' pool list | grep -q '^default *ready'"
check 'pool show' bash -c "'$voltctl' pool show default | grep -q '^memory *[0-9]* MiB'"
check 'pool show of an unknown pool' fails_saying 125 nopool "$voltctl" pool show nopool
check 'names tells of what kinds there are' fails_saying 125 volumes "$voltctl" names nosuch
check 'pool scale' "$voltctl" pool scale default --min 5 --max 9
check 'pool scale took effect' until_true 20 parked_at_least 5
check 'pool scale to nonsense' fails_saying 125 min "$voltctl" pool scale default --min 10 --max 9
check 'pool scale to nothing' fails_saying 125 '--min' "$voltctl" pool scale default
check 'pool create of one that is there' fails_saying 125 default "$voltctl" pool create default
check 'pool create with a wrong name' fails_saying 125 'Bad/Name' "$voltctl" pool create Bad/Name
check 'pool create with too little memory' fails_saying 125 memory "$voltctl" pool create tiny --memory 1K
check 'pool create with a kernel that is not there' fails_saying 125 /nonexistent "$voltctl" pool create k --kernel /nonexistent
check 'pool create with a kernel that is none' exits 125 "$voltctl" pool create k --kernel /etc/passwd
"$voltctl" pool delete k --force 2>/dev/null

# ---- when no VM is free ----
"$voltctl" pool scale default --min 0 --max 1
check 'surplus VMs go' until_true 60 vms_at_most 1
id=$(acquire)
check 'acquire with none free' fails_saying 75 '' "$voltctl" acquire
check 'acquire with none free within --wait' fails_saying 75 '' "$voltctl" acquire --wait 200ms
check 'run with none free' exits 75 "$voltctl" run --wait 100ms -- true
(until_true 60 waiting_are 1 && "$voltctl" release "$id") &
check 'acquire waits until one is released' acquire
wait $!
check 'pool delete refuses while VMs are leased' fails_saying 125 pool "$voltctl" pool delete default

# ---- snapshots ----
check 'snapshot list' bash -c "'$voltctl' snapshot list | grep -q '^default '"
check 'snapshot inspect' bash -c "'$voltctl' snapshot inspect default | grep -q memory"
check 'snapshot inspect of an unknown one' fails_saying 125 nosnap "$voltctl" snapshot inspect nosnap
check 'snapshot verify' bash -c "'$voltctl' snapshot verify default | grep -q 'every digest is right'"
image=$(find "$VOLT_STATE_DIR" -name memory.img | head -n 1)
check 'the snapshot has a memory image' test -n "$image"
flip()
{
    python3 - "$1" <<'PYTHON'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
at = os.lseek(fd, 0, os.SEEK_DATA)
byte = os.pread(fd, 1, at)
os.pwrite(fd, bytes([byte[0] ^ 1]), at)
PYTHON
}
check 'one bit of it flipped' flip "$image"
check 'snapshot verify finds it' fails_saying 1 memory "$voltctl" snapshot verify default

# ---- the end ----
check 'pool drain' "$voltctl" pool drain default
check 'a drained pool gives out none' fails_saying 125 drain "$voltctl" acquire
"$voltctl" release --all >/dev/null
check 'pool delete' until_true 5 "$voltctl" pool delete default
check 'a deleted pool is gone' fails_saying 125 default "$voltctl" pool show default
check 'its snapshot is gone' until_true 5 bash -c "! find '$VOLT_STATE_DIR' -name memory.img | grep -q ."
check 'shutdown' "$voltctl" shutdown
check 'after it poold is gone' until_true 10 process_gone $poold_pid
check 'and its socket' bash -c "! test -e '$VOLT_RUN_DIR/poold.sock'"
