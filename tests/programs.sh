# SPDX-License-Identifier: Apache-2.0
# Runs test programs, alone or beside each other, reads their TAP and counts: sourced by tests/run,
# which sets `logs`, a folder, and has say().
# shellcheck shell=bash disable=SC2154
# shellcheck disable=SC2030,SC2031 # a program beside others counts in its own process

passed=0
failed=0
skipped=0
skips=()
failures=()
jobs=$(nproc)               # so many at once
[ "$jobs" -le 4 ] || jobs=4 # a scenario may take 2 GiB
# A program that hangs must not hang the run; suites with long programs set another limit.
program_timeout_s=1800

skip()
{
    skipped=$((skipped + 1))
    skips+=("$1: $2")
}

fail()
{
    failed=$((failed + 1))
    failures+=("$1 ($2)")
}

# ---- One test program ----

# One line of TAP. Sets result to ok, "not ok", skip or nothing, and result_name, result_reason. What
# Check runs can't name a skip in its result: a test says "# skipped: REASON" before it.
tap_line()
{
    result=
    case $1 in
    'ok '*) result=ok ;;
    'not ok '*) result='not ok' ;;
    '# skipped: '*) said_reason=${1#'# skipped: '}; return ;;
    '1..0 # SKIP '*) planned=0; skip "$suite $name" "${1#'1..0 # SKIP '}"; return ;;
    '1..'*) planned=${1#1..}; planned=${planned%% *}; return ;;
    *) return ;;
    esac
    result_name=${1#"$result"}
    result_name=${result_name# }
    result_name=${result_name#"${result_name%%[!0-9]*}"}
    result_name=${result_name# }
    result_name=${result_name#- }
    result_name=${result_name%: Passed}
    if [ "$result" = ok ] && [[ $1 == *'# SKIP'* ]]; then
        result=skip
        result_reason=${1#*# SKIP}
        result_reason=${result_reason# }
        result_name=${result_name%%# SKIP*}
    elif [ "$result" = ok ] && [ -n "$said_reason" ]; then
        result=skip
        result_reason=$said_reason
    fi
    said_reason=
}

# run_program SUITE NAME COMMAND...: runs it, shows it while it runs, and counts its results.
run_program()
{
    local suite=$1 name=$2 log=$logs/$1-$2.log
    local line planned='' result result_name result_reason said_reason=
    local count=0 bad=0 skips_here=0 status started=$SECONDS
    shift 2

    : >"$log"
    exec {tap}< <(exec timeout --kill-after=10 "$program_timeout_s" "$@" 2>"$log.err" </dev/null)
    local pid=$!
    while IFS= read -r line <&"$tap" || [ -n "$line" ]; do
        printf '%s\n' "$line" >>"$log"
        tap_line "$line"
        # What a program of many minutes says of its steps: "#  120 s  SUITE NAME".
        [[ ! $line =~ ^#\ +[0-9]+\ s\ \  ]] || say "  ${line#\#}"
        case $result in
        ok) count=$((count + 1)); passed=$((passed + 1)) ;;
        skip) count=$((count + 1)); skips_here=$((skips_here + 1)); skip "$suite $name: $result_name" "$result_reason" ;;
        'not ok') count=$((count + 1)); bad=$((bad + 1)); fail "$suite $name: $result_name" "$log" ;;
        esac
        if [ -n "$result" ]; then
            [ "$result" != 'not ok' ] || say "    not ok: $result_name"
            [ ! -t 1 ] || printf '\r\033[K  %s %s: %d %.60s' "$suite" "$name" "$count" "$result_name"
        fi
        line=
    done
    exec {tap}<&-
    wait "$pid"
    status=$?
    if [ -s "$log.err" ]; then
        { echo '---- standard error ----'; cat "$log.err"; } >>"$log"
    fi
    rm -f "$log.err"
    if [ "$status" = 124 ] || [ "$status" = 137 ]; then
        bad=$((bad + 1))
        fail "$suite $name: ran longer than $program_timeout_s s" "$log"
    elif [ -z "$planned" ] || [ "$count" != "$planned" ]; then
        bad=$((bad + 1))
        fail "$suite $name: $count results of ${planned:-an unknown number}, exit status $status" "$log"
    elif [ "$status" != 0 ] && [ "$bad" = 0 ]; then
        bad=1
        fail "$suite $name: exit status $status" "$log"
    fi
    [ ! -t 1 ] || printf '\r\033[K'
    printf '  %-12s %-24s %4d ok %3d failed %3d skipped  %d s\n' "$suite" "$name" \
        $((count - skips_here - (bad < count ? bad : count))) "$bad" "$skips_here" $((SECONDS - started))
}

# ---- Programs beside each other ----

# What the programs since the last others_end came to: a file each, by number, and the numbers' names.
others=()

# beside_others SUITE NAME COMMAND...: run_program, once fewer than $jobs of these run.
beside_others()
{
    local result=$logs/.result-${#others[@]}
    rm -f "$result"
    others+=("$1 $2")
    while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do wait -n; done
    (
        trap 'kill "${pid:-}" 2>/dev/null; exit 1' TERM
        passed=0 failed=0 skipped=0 skips=() failures=()
        run_program "$@"
        declare -p passed failed skipped skips failures | sed 's/^declare /declare -g /' >"$result"
    ) &
}

# Waits for all of them and counts their results.
others_end()
{
    local total=("$passed" "$failed" "$skipped") all_skips=("${skips[@]}") all_failures=("${failures[@]}")
    local i
    wait
    for i in "${!others[@]}"; do
        # shellcheck disable=SC1090 # written above
        if [ -s "$logs/.result-$i" ] && . "$logs/.result-$i"; then
            total=($((total[0] + passed)) $((total[1] + failed)) $((total[2] + skipped)))
            all_skips+=("${skips[@]}")
            all_failures+=("${failures[@]}")
        else
            total[1]=$((total[1] + 1))
            all_failures+=("${others[i]}: its runner ended without a result")
        fi
        rm -f "$logs/.result-$i"
    done
    others=()
    passed=${total[0]} failed=${total[1]} skipped=${total[2]}
    skips=("${all_skips[@]}")
    failures=("${all_failures[@]}")
}
