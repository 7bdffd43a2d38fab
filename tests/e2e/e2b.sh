# SPDX-License-Identifier: Apache-2.0
# Goal: programs made for E2B's sandboxes use Volt's VMs, and nobody gets at VMs by the gateway who may not.
# Method: the unmodified npm package e2b (skipped without npm), call by call (e2b.mjs); clients that mean
#   harm (e2b_hostile.py); ends of sandbox, gateway and poold.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

key=e2b_00000000000000000000000000000000000000aa other=e2b_00000000000000000000000000000000000000bb
(umask 077 && printf '# keys\n%s\n%s\n' $key $other >"$work/keys")
gateway()
{
    pgrep -P "$poold_pid" -x volt-e2b
}
port_of()
{
    sed -n 's/.*volt-e2b: serving at http:.*:\([0-9]*\)$/\1/p' "$log" | tail -n 1
}
serving()
{
    [ -n "$(gateway)" ] && curl -s -o "$work/reply" "http://127.0.0.1:$(port_of)/health"
}
hostile()
{
    python3 -B "$here/e2b_hostile.py" "$1" "$(port_of)" $key "${@:2}"
}

check 'keys that others may read are refused' fails_saying 64 'chmod 600' \
    "$VOLT_BUILD/cli/volt-e2b" --keys /etc/passwd
check 'and poold does not start with them' fails_saying 78 'chmod 600' \
    "$VOLT_BUILD/poold/poold" --e2b 127.0.0.1:0 --e2b-keys /etc/passwd
check 'nor does it serve beyond the host without keys' fails_saying 64 'could use every VM' \
    "$VOLT_BUILD/cli/volt-e2b" --listen 0.0.0.0:0
poold_with_pool --e2b 127.0.0.1:0 --e2b-keys "$work/keys" --e2b-templates python=default,other=none
check 'poold has a gateway' until_true 10 serving
gateway_is_confined()
{
    local status
    status=$(tr -d '\t' <"/proc/$(gateway)/status")
    grep -qx 'CapEff:0*' <<<"$status" && grep -qx 'NoNewPrivs:1' <<<"$status" && grep -qx 'Seccomp:2' <<<"$status"
}
check 'it has no privilege left' gateway_is_confined
check 'no call without a key, and nothing of another one' hostile keys $other
(hostile strangers >"$work/strangers" 2>&1; echo "status $?" >>"$work/strangers") & # takes its time
strangers_are_closed()
{
    until_true 60 grep -q '^status' "$work/strangers"
    grep -qx 'status 0' "$work/strangers" || { cat "$work/strangers"; return 1; }
}
check "a sandbox's token opens no other one" hostile tokens
check 'a signed address is for its file, user and time' hostile signatures
check 'bad input ends in an error of its kind' hostile bad_input
check 'watchers that are asked for events' hostile watchers
check 'long, cut and pipelined bodies' hostile bodies
check 'a client that never reads' hostile never_read "$(gateway)"
check 'who has no key is closed, whatever it drips' strangers_are_closed
check 'a crowd at one address takes no other one its place' hostile crowd
check 'sandboxes whose client is gone' hostile abandoned 40 3
check 'and they end' until_true 20 no_lease

# ---- npm's e2b ----
npm_reason=
npm_get()
{
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        npm_reason='there is no node here'
        return 0
    fi
    mkdir "$work/npm" && cd "$work/npm" && timeout "$(patient 30)" npm install --ignore-scripts --no-audit --no-fund \
        e2b@2.51.0 >"$work/npm.log" 2>&1 || npm_reason="npm's registry can't be had from here"
    cd "$root" || exit 1
}
npm_get
sdk_run()
{
    local url
    url=http://127.0.0.1:$(port_of)
    E2B_API_KEY=$key E2B_API_URL=$url E2B_SANDBOX_URL=$url timeout "$(patient 200)" \
        node "$here/e2b.mjs" "$work/npm" >"$work/calls" 2>&1
}
call_is_good()
{
    grep -qxF "ok $1" "$work/calls" || { grep -F "$1" "$work/calls" || tail -n 5 "$work/calls"; return 1; }
}
if [ -n "$npm_reason" ]; then
    skip "npm's e2b" "$npm_reason"
else
    sdk_run
    while read -r call; do
        check "e2b: $call" call_is_good "$call"
    done < <(sed -n 's/^    "\([^"]*\)": .*=>.*/\1/p' "$here/e2b.mjs")
    check 'it leaves no sandbox' until_true 5 no_lease
fi

# ---- HTTPS ----
https_is_served()
{
    local port
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -days 1 \
        -keyout "$work/key.pem" -out "$work/cert.pem" 2>"$work/openssl" || { cat "$work/openssl"; return 1; }
    "$VOLT_BUILD/cli/volt-e2b" --listen 127.0.0.1:0 --tls-cert "$work/cert.pem" --tls-key "$work/key.pem" \
        --socket "$VOLT_RUN_DIR/poold.sock" 2>"$work/https" &
    until_true 5 grep -q 'serving at https' "$work/https" || return 1
    port=$(sed -n 's/.*:\([0-9]*\)$/\1/p' "$work/https")
    curl -s --cacert "$work/cert.pem" "https://localhost:$port/v2/sandboxes" >"$work/reply"
    kill $!
    [ "$(cat "$work/reply")" = '[]' ]
}
check 'by HTTPS, with a certificate' https_is_served

# ---- The wall clock is set ----
clock_is_set()
{
    local port url status=0
    LD_PRELOAD=$VOLT_BUILD/tests/e2e/libclock-shift.so CLOCK_SHIFT_AFTER_S=8 "$VOLT_BUILD/cli/volt-e2b" \
        --listen 127.0.0.1:0 --socket "$VOLT_RUN_DIR/poold.sock" 2>"$work/clock" &
    until_true 5 grep -q 'serving at' "$work/clock" || return 1
    port=$(sed -n 's/.*:\([0-9]*\)$/\1/p' "$work/clock")
    url=http://127.0.0.1:$port/v2/sandboxes
    curl -s -d '{"timeout": 600}' -H 'Content-Type: application/json' "${url/v2\/}" >"$work/made"
    sleep 11 # an hour has passed meanwhile, by that clock, and it was looked at
    [ "$(curl -s "$url" | json 0.sandboxID)" = "$(json sandboxID <"$work/made")" ] || status=1
    kill $!
    return $status
}
check 'a clock that is set an hour ahead ends no sandbox' clock_is_set
check 'its end does' until_true 5 no_lease

# ---- Ends ----
check 'a sandbox' hostile abandoned 1 600
before=$(gateway)
check 'when the gateway is killed' kill -9 "$before"
check 'its sandboxes end' until_true 5 no_lease
check 'and there is another one' until_true 10 serving
check 'that works' hostile tokens
gateway_pid=$(gateway)
poold_stop
check 'it ends with poold' until_true 5 process_gone "$gateway_pid"
