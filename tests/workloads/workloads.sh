# SPDX-License-Identifier: Apache-2.0
# Goal: what people run in VMs runs in these: packages, a compiler, languages, a database, logins, version
# control, containers.
# Method: a Debian with all of it, made by mmdebstrap (kept in the cache), is the image of a pool; each
# script in guest/ runs in a VM of its own, where none sees another's leavings, and has to end with the line
# that the table below names. Nothing leaves a VM: mirrors and registries are served in there.
# Beside them, many small files are copied into a VM and out of it again.
# VOLT_WORKLOADS: names of those to run (default: all, and files); VOLT_WORKLOADS_ROUNDS: how often (1);
# VOLT_WORKLOADS_DISK: a file or block device with the Debian (./debian --erofs), which is made otherwise;
# VOLT_WORKLOADS_FILES: how many files (3,000; the VM has room for 100,000, which take half an hour).
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"
here=$root/tests/workloads
cd "$work" || exit 1

# name | what it is | its last line
readonly workloads='
apt        | apt-get install from a mirror               | installed
purge      | dpkg --purge, rm -r of folders of the image | gone
build      | make, gcc and ccache                        | 42, of the cache
npm        | npm ci from a registry                      | from the registry
python     | a virtual environment, pip install          | 42
postgresql | PostgreSQL and 1,000 transactions           | stopped
ssh        | sshd, ssh with a terminal, scp              | same
tmux       | tmux                                        | in tmux
git        | git over http                               | one
container  | a container by crun                         | contained 1
podman     | an image and a container by podman          | contained 1
'
# The pool's VMs have a Debian with all that they need: of an image, or on the disk that they are told of.
if [ -z "${VOLT_WORKLOADS_DISK:-}" ]; then
    [ "$(id -u)" = 0 ] || skip_all workloads 'a Debian is made by root'
    command -v mmdebstrap >/dev/null || skip_all workloads 'mmdebstrap is not installed'
    check 'a Debian with all that they need' bash -c "'$here/debian' >archive"
fi
poold_start || { echo 'Bail out! no poold to test with'; exit 1; }
source_options=(--disk "${VOLT_WORKLOADS_DISK:-},ro" --cmdline volt.root=/dev/vda)
if [ -z "${VOLT_WORKLOADS_DISK:-}" ]; then
    check 'its image' "$voltctl" image build workloads --from-tar "$(cat archive)"
    source_options=(--image workloads)
fi
# shellcheck disable=SC2086 # several options
check 'its pool' "$voltctl" pool create workloads "${source_options[@]}" --memory 1G --min 1 --max 2 \
    ${E2E_POOL_OPTIONS:-}

# runs SCRIPT LAST-LINE
runs()
{
    local status
    cat "$here/guest/lib.sh" "$here/guest/$1.sh" >script
    "$voltctl" run --wait "$(patient 60)s" --timeout "$(patient 720)s" -i workloads -- sh -s <script >said 2>&1
    status=$?
    tail -n 15 said
    [ $status = 0 ] && [ "$(tail -n 1 said)" = "$2" ]
}

# ---- Many small files ----

# files_make COUNT: of 0 to 3,000 bytes, in folders of 100, each with a time and one of some modes.
files_make()
{
    rm -rf many came && python3 - "$1" <<'PYTHON'
import os, random, sys
draw = random.Random(1)
for i in range(int(sys.argv[1])):
    folder = f"many/{i // 10000}/{i // 100 % 100}"
    if i % 100 == 0:
        os.makedirs(folder)
    path = f"{folder}/file-{i}"
    with open(path, "wb") as file:
        file.write(draw.randbytes(i % 3001))
    os.chmod(path, (0o600, 0o644, 0o640, 0o755)[i % 4])
    os.utime(path, ns=(0, 10**18 + i))
PYTHON
}
# What there is of FOLDER, and a digest of all contents.
files_told()
{
    (cd "$1" && find . -printf '%P %y %m %s %T@\n' | sort && find . -type f -print0 | sort -z |
        xargs -0 cat | sha256sum)
}
# tells_of WHAT COMMAND...: a copy of more than 2 s says how far it is.
tells_of()
{
    local what=$1 begun=$SECONDS
    shift
    "$@" 2>said || { tail -n 5 said; return 1; }
    [ $((SECONDS - begun)) -lt 4 ] || tr '\r' '\n' <said | grep -q "^copying .*$what"
}
files_both_ways()
{
    local count=${VOLT_WORKLOADS_FILES:-3000} lease begun
    files_make "$count"
    lease=$("$voltctl" acquire --wait "$(patient 60)s" workloads) || return 1
    begun=$SECONDS
    check "$count small files into a VM" tells_of many "$voltctl" cp many "$lease:/tmp/many"
    echo "# $((SECONDS - begun)) s  workloads files, in"
    check 'are all there' prints "$count" guest "$lease" -- sh -c 'find /tmp/many -type f | wc -l'
    begun=$SECONDS
    check 'and come back' tells_of many "$voltctl" cp "$lease:/tmp/many" came
    echo "# $((SECONDS - begun)) s  workloads files, out"
    files_told many >told
    check 'as they were' diff told <(files_told came)
    "$voltctl" release "$lease" && rm -rf many came
}
[[ " ${VOLT_WORKLOADS:-files} " != *" files "* ]] || files_both_ways

for ((round = 0; round < ${VOLT_WORKLOADS_ROUNDS:-1}; round++)); do
    while IFS='|' read -r name what last; do
        read -r name <<<"$name"
        read -r what <<<"$what"
        read -r last <<<"$last"
        [ -n "$name" ] && [[ " ${VOLT_WORKLOADS:-$name} " == *" $name "* ]] || continue
        begun=$SECONDS
        check "$what" runs "$name" "$last"
        echo "# $((SECONDS - begun)) s  workloads $name"
    done <<<"$workloads"
done
all_given_back()
{
    prints '[]' json leases < <("$voltctl" ps --json)
}
check 'all VMs are given back' all_given_back
