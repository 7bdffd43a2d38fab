#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The network suite: run-all.sh SERVER BACKEND [--seconds N] [--results DIR] [--via COMMAND]
#
# How it works
#   Traffic is made here and goes to SERVER, an address of a VM or a network namespace of this
#   machine, where `run-all.sh --serve` answers. BACKEND is a name for the results (tap, user,
#   virtio, ...). With --via COMMAND the traffic is made where that command runs what it is given:
#   --via "nsenter --net=PATH" for a namespace. The raw output of every tool goes to
#   results/BACKEND/TIMESTAMP/; compare.sh makes a table of it. What a tool that is not installed
#   would measure is left out, and said.
set -uo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
seconds=30
results=results
via=

usage()
{
    cat <<END
usage: run-all.sh SERVER BACKEND [--seconds N] [--results DIR] [--via COMMAND]
       run-all.sh --serve          the other side: runs until it is interrupted
Measures TCP, UDP, latency, frames and requests a second to SERVER, and keeps the raw output
in DIR/BACKEND/TIMESTAMP (DIR: results). Use it between VMs and namespaces of one machine only.
example: run-all.sh 10.86.0.2 tap --seconds 10
END
}
die()
{
    echo "run-all.sh: $*" >&2
    exit 2
}

serve()
{
    trap 'kill $(jobs -p) 2>/dev/null' EXIT
    python3 "$here/requests.py" serve &
    if command -v iperf3 >/dev/null; then
        iperf3 -s >/dev/null &
    fi
    if command -v sockperf >/dev/null; then
        sockperf server --tcp -p 11111 >/dev/null 2>&1 &
    fi
    wait
}

[ $# -gt 0 ] || { usage >&2; exit 2; }
case $1 in
    --help) usage; exit 0 ;;
    --serve) serve; exit 0 ;;
esac
[ $# -ge 2 ] || { usage >&2; exit 2; }
server=$1
backend=$2
shift 2
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || die "$1 needs a value, or is not known; see --help"
    case $1 in
        --seconds) seconds=$2 ;;
        --results) results=$2 ;;
        --via) via=$2 ;;
        *) die "unknown argument '$1'; see --help" ;;
    esac
    shift 2
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || die "--seconds takes a number, not '$seconds'"
[[ $backend =~ ^[A-Za-z0-9._-]+$ ]] || die "'$backend' is no name for a folder"
out=$results/$backend/$(date -u +%Y%m%dT%H%M%SZ)
mkdir -p "$out" || exit 1
failed=0

# measure NAME TOOL ARGUMENT...: into NAME.txt; a tool that fails leaves NAME.failed instead
measure()
{
    local name=$1
    shift
    if ! command -v "$1" >/dev/null; then
        echo "  $name: left out, $1 is not installed"
        return
    fi
    printf '  %-16s' "$name"
    # shellcheck disable=SC2086 # a command with arguments
    if timeout $((seconds * 4 + 120)) $via "$@" >"$out/$name.txt" 2>"$out/$name.err" &&
        ! sed -n 's/.*"error":[[:space:]]*//p' "$out/$name.txt" | grep . >>"$out/$name.err"; then
        rm -f "$out/$name.err"
        echo done # iperf3 -J tells of a failure in what it prints, and exits with 0
    else
        mv "$out/$name.txt" "$out/$name.failed"
        failed=1
        echo "failed: $(tail -n 1 "$out/$name.err")"
    fi
}

{
    echo "server=$server seconds=$seconds"
    uname -a
    grep -m 1 'model name' /proc/cpuinfo
} >"$out/about.txt"
echo "$backend: to $server, $seconds s a test, into $out"
measure tcp iperf3 -c "$server" -t "$seconds" -J
measure tcp8 iperf3 -c "$server" -t "$seconds" -P 8 -J
measure tcp-reverse iperf3 -c "$server" -t "$seconds" -R -J
measure udp iperf3 -c "$server" -t "$seconds" -u -b 0 -J
measure ping ping -c 1000 -i 0.01 "$server"
measure sockperf sockperf ping-pong -i "$server" -p 11111 --tcp -t "$seconds"
for bytes in 64 128 256 512; do
    # of the frame: 42 are headers
    measure "pps-$bytes" iperf3 -c "$server" -t "$seconds" -u -b 0 -l $((bytes - 42)) -J
done
for kind in tcp_rr tcp_crr udp_rr; do
    measure "$kind" python3 "$here/requests.py" "$kind" "$server" "$seconds"
done
exit $failed
