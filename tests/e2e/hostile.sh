# SPDX-License-Identifier: Apache-2.0
# Goal: a guest's root that has put itself in the agent's place can't make `voltctl cp` write anything
# but what it was asked to write, where it was asked to. Method: an image whose init kills the agent
# and answers with every archive of the table of hostile ones, aimed at a folder beside the target;
# each is copied as it is, twice as what is in a folder, and again over links as the first may have
# left them.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1
poold_start || { echo 'Bail out! no poold to test with'; exit 1; }

mkdir -p tree/sbin tree/etc && cp "$VOLT_BUILD/tests/e2e/evil-agent" tree/sbin/init
check 'an image whose init is the attacker' "$voltctl" image build evil --from-dir tree
# shellcheck disable=SC2086 # several options
check 'a pool of it' "$voltctl" pool create evil --image evil --memory 64M --min 1 --max 4 \
    --cmdline volt.init=/sbin/init ${E2E_POOL_OPTIONS:-}
id=$(acquire evil)

mkdir -p in/target in/victim/dir
echo good | tee in/victim/file >in/victim/dir/inner
chmod 666 in/victim/file in/victim/dir/inner
chmod 777 in/victim in/victim/dir
victim=$work/in/victim

# All of the folder that the target is in, but what is in the target.
fingerprint()
{
    find in -path 'in/target/*' -prune -o -printf '%p %y %m %U:%G %n %s %T@ %i %l\n' |
        sed 's/^\(in\/target d\).*/\1/' | sort
    find in/victim -type f -exec md5sum {} +
}
before=$(fingerprint)
# copies N: what the N-th archive can do in the places that it is given. False if anything outside is
# not as it was.
copies()
{
    local n=$1 name after
    find in/target -mindepth 1 -delete
    "$voltctl" cp "$id:/$n$victim/top" in/target
    "$voltctl" cp "$id:/${n}d$victim/top" in/target
    "$voltctl" cp "$id:/${n}d$victim/top" in/target
    mkdir -p in/target/top/d
    for name in l a h d/l f; do ln -sfn "$victim" "in/target/top/$name"; done
    "$voltctl" cp "$id:/${n}d$victim/top" in/target
    after=$(fingerprint)
    [ "$before" = "$after" ] || { diff <(echo "$before") <(echo "$after"); return 1; }
}

# The titles, in order.
mapfile -t titles < <(sed -n '/^static const struct hostile_case cases/,/^};/s/^    { "\([^"]*\)".*/\1/p' \
    "$root/tests/hostile/hostile.c")
number_of()
{
    local n
    for n in "${!titles[@]}"; do
        [ "${titles[$n]}" != "$1" ] || echo "$n"
    done
}
answers_at_all()
{
    "$voltctl" cp "$id:/$(number_of 'a set-gid folder')d$victim/top" in/target/new &&
        [ "$(stat -c %a in/target/new/sgid)$(cat in/target/new/sgid/f)" = 755evil ]
}
check 'the attacker answers; what is harmless comes, without set-id bits' until_true 30 answers_at_all
check 'the table is all there' test "${#titles[@]}" -ge 60
for n in "${!titles[@]}"; do
    check "${titles[$n]}" copies "$n"
done
check 'they were answered by the attacker' fails_saying 125 'an absolute name' \
    "$voltctl" cp "$id:/0$victim/top" in/target/answer
check 'the VM is still leased' bash -c "'$voltctl' ps --json | grep -q '$id'"
check 'and goes' "$voltctl" release "$id"
