#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run-vms.sh [--seconds N] [--results DIR]: run-all.sh from within a VM, for each back end that poold
# has, to a server in the network on the other side of the VM's card; then compare.sh.
#
# How it works
#   A Debian with the tools (made by mmdebstrap, kept in ~/.cache/volt) is the image of a pool for
#   each back end of a poold of its own. Everything is in a network namespace of this run's own,
#   which stands for the host, so that nothing of the traffic leaves the machine. Needs root.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
if [ -z "${RUN_VMS_INSIDE:-}" ]; then
    tar=${XDG_CACHE_HOME:-$HOME/.cache}/volt/debian-net.tar
    if [ ! -s "$tar" ]; then
        mkdir -p "$(dirname "$tar")"
        mmdebstrap --quiet --variant=minbase --include=iperf3,sockperf,python3-minimal,libpython3-stdlib,iputils-ping \
            bookworm "$tar.new.tar"
        mv "$tar.new.tar" "$tar"
    fi
    RUN_VMS_INSIDE=$tar exec unshare -n bash "$0" "$@"
fi
build=${VOLT_BUILD:-$root/build}
voltctl=$build/cli/voltctl
seconds=30 results=results
while [ $# -ge 2 ]; do
    case $1 in
        --seconds) seconds=$2 ;;
        --results) results=$2 ;;
        *) break ;;
    esac
    shift 2
done
[ $# = 0 ] || { echo "usage: run-vms.sh [--seconds N] [--results DIR]" >&2; exit 2; }

work=$(mktemp -d /var/tmp/volt-net-XXXXXX)
export VOLT_RUN_DIR=$work/run VOLT_STATE_DIR=$work/state
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$work"' EXIT
host=192.0.2.10
ip link set lo up
ip link add up0 type veth peer name up1
ip addr add $host/24 dev up0
ip link set up0 up
ip link set up1 up
ip route add default via 192.0.2.1 dev up0
# Patient: a software-only KVM emulates the guest's kernel.
"$build/poold/poold" --config /dev/null --ready-timeout-ms 120000 --awake-timeout-ms 60000 --boot-timeout-ms 600000 \
    >"$work/log" 2>&1 &
until "$voltctl" status >/dev/null 2>&1; do sleep 0.1; done
"$voltctl" image build net --from-tar "$RUN_VMS_INSIDE"
kernel=$("$root/guest-init/kernel/build-kernel" | tail -n 1)
[ ! -e /sys/module/kvm_pvm ] && kernel=auto
# Each with the options of its pool.
backends=('tap --net tap --net-vhost off' 'user --net user')
[ ! -e /dev/vhost-net ] || backends+=('vhost --net tap --net-vhost on')
for entry in "${backends[@]}"; do
    backend=${entry%% *}
    # shellcheck disable=SC2086 # several options
    "$voltctl" pool create $backend ${entry#* } --image net --memory 512M --kernel "$kernel" \
        --min 0 --max 1
    "$voltctl" acquire $backend --wait 120s --ttl 0 --json >"$work/lease"
    lease=$(sed -n 's/.*"lease": "\(.*\)".*/\1/p' "$work/lease")
    netns=$(sed -n 's/.*"netns": "\(.*\)".*/\1/p' "$work/lease")
    server=$host
    [ $backend = user ] || server=$(sed -n 's/.*"gateway": "\(.*\)".*/\1/p' "$work/lease")
    ${netns:+nsenter --net="$netns"} "$here/run-all.sh" --serve &
    serving=$!
    "$voltctl" exec "$lease" -- mkdir -p "$here"
    "$voltctl" cp "$here/requests.py" "$lease:$here/requests.py"
    "$here/run-all.sh" "$server" $backend --seconds "$seconds" --results "$results" \
        --via "$voltctl exec $lease --timeout 10m --" || true # what failed is in the table, as a gap
    kill $serving
    "$voltctl" release "$lease"
    "$voltctl" pool delete $backend --force
done
"$here/compare.sh" "$results"
