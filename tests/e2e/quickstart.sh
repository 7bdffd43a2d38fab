# SPDX-License-Identifier: Apache-2.0
# Goal: cli/quickstart does all that it says, and a second run takes seconds.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# Its poold is not our child: it is stopped by voltctl.
trap 'quickstart_status=$?; "$voltctl" shutdown >/dev/null 2>&1; (exit $quickstart_status); finish' EXIT

first()
{
    local started=$SECONDS
    "$root/cli/quickstart" --build "$VOLT_BUILD" --json "$work/first.json" >"$work/first.txt" &&
        echo $((SECONDS - started)) >"$work/first.seconds"
}
has_figures()
{
    python3 - "$1" <<'PYTHON'
import json, sys
figures = json.load(open(sys.argv[1]))
assert figures["cold_boot_ms"] > 0 and figures["snapshot_ms"] > 0, figures
assert figures["snapshot_disk_bytes"] > 0 and figures["exec_ms"] > 0, figures
assert figures["acquire"]["count"] == 20, figures
assert 0 < figures["acquire"]["p50_us"] <= figures["acquire"]["p99_us"], figures
assert "Linux" in figures["exec_output"], figures
PYTHON
}
second()
{
    local started=$SECONDS seconds
    "$root/cli/quickstart" --build "$VOLT_BUILD" --json "$work/second.json" >"$work/second.txt" || return 1
    seconds=$((SECONDS - started))
    [ $seconds -lt "$(cat "$work/first.seconds")" ] ||
        { echo "$seconds s, the first $(cat "$work/first.seconds")"; return 1; }
}
check 'quickstart' first
check 'its figures' has_figures "$work/first.json"
check 'its table' grep -q '^cold boot' "$work/first.txt"
check 'it says where the socket is' grep -q "$VOLT_RUN_DIR/poold.sock" "$work/first.txt"
check 'it leaves poold running' poold_answers
check 'a second run has no cold boot, and is faster' second
check 'its figures, too' has_figures "$work/second.json"
check 'no lease is left' no_lease
check 'a wrong option is refused' fails_saying 2 usage "$root/cli/quickstart" --nonsense
check 'voltctl shutdown stops it' "$voltctl" shutdown
