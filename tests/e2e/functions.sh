# SPDX-License-Identifier: Apache-2.0
# Goal: a function is called, each call in a fresh VM, and nothing that a function does costs more than
#   its own call.
# Method: real VMs; function_handler.c does by the path what functions do, and what they should not.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

tree=$work/tree
tree_make()
{
    busybox_root "$tree" && mkdir -p "$tree"/{proc,sys,dev,run,tmp} && cp "$VOLT_BUILD/tests/e2e/function-handler" "$tree/bin/handler" &&
        cp "$VOLT_BUILD/tests/e2e/doorbell-handler" "$tree/bin/bell"
}
check 'a root with a function in it' tree_make
poold_start || { echo 'Bail out! no poold'; exit 1; }
check 'an image of it' "$voltctl" image build fn --from-dir "$tree"
# The same with what an OCI image says of its programs.
image_as()
{
    local config='{"env":["WHO=image","PORT=1","PATH=/bin"],"user":"1000:1001","workdir":"/srv/work"}'
    mkdir -p "$tree/srv/work" && mkfs.erofs "$work/as.erofs" "$tree" >/dev/null 2>&1 &&
        { printf '%s' "$config" && cat "$work/as.erofs"; } >"$work/as" &&
        curl -sf -o "$work/said" --unix-socket "$VOLT_RUN_DIR/poold.sock" --data-binary "@$work/as" \
            "http://volt/v1/images/as?config_bytes=${#config}"
}
check 'one with a configuration' image_as

# ---- Creation: all boot at once ----
function_is()
{
    [ "$("$voltctl" function show "$1" --json | json state)" = "$2" ]
}
create()
{
    "$voltctl" function create "$@" --image fn --no-wait >/dev/null
}
check 'a function' create f --handler 'exec handler' --min 4 --max 12 --timeout "$(patient 12)s" \
    --queue 200 --queue-time "$(patient 20)s"
check 'one whose VMs serve three calls' create again --handler 'exec handler' --port 9000 --min 1 --max 2 \
    --reuse 3 --concurrency 1 --queue 1 --timeout "$(patient 2)s"
check 'one that does not start' create bad --handler 'echo no luck; exit 3' --min 0
check "one that tells how it is started, of that image" "$voltctl" function create as --image as --no-wait --min 0 \
    --handler 'echo "$(busybox id -u) $(busybox id -g) $(pwd) $WHO $PORT"; exit 3'
check 'its name is taken' fails_saying 125 "there is a function 'f' already" \
    "$voltctl" function create f --handler x
check 'a handler is needed' fails_saying 125 'give --handler' "$voltctl" function create g
check 'there are three runtimes' fails_saying 125 "'runtime' must be http, lambda or doorbell" \
    "$voltctl" function create g --handler x --runtime java
check 'no call before it is ready, and why' fails_saying 125 "pool is" "$voltctl" function invoke bad
until_true 200 function_is f ready || { echo 'Bail out! the function does not get ready'; exit 1; }
until_true 200 function_is again ready
until_true 200 function_is bad failed
bad_says()
{
    "$voltctl" function show bad --json | json error | grep 'ended with exit code 3' | grep 'no luck'
}
check 'one that ends at its start fails, with its words' bad_says
until_true 200 function_is as failed
as_says()
{
    "$voltctl" function show as --json | json error | grep 'ends with "1000 1001 /srv/work image 8080"'
}
check "a handler has its image's user, directory and variables, and poold's before those" as_says

# ---- Answers ----
invoke()
{
    "$voltctl" function invoke f "$@"
}
check 'the answer to a call' prints '{"n": 1}' invoke --data '{"n": 1}'
head -c 300000 /dev/urandom >"$work/data"
long_is_the_same()
{
    invoke --file "$work/data" --type application/octet-stream >"$work/answer" && cmp "$work/data" "$work/answer"
}
check '300,000 bytes, both ways' long_is_the_same
request_has()
{
    invoke --method PUT --path '/request?a=b%20c' --type text/odd --data x | tr -d '\r' >"$work/request"
    grep -qx 'PUT /request?a=b%20c HTTP/1.1' "$work/request" && grep -qx 'Content-Type: text/odd' "$work/request" &&
        grep -qx 'Content-Length: 1' "$work/request" || { cat "$work/request"; return 1; }
}
check 'method, path and headers get there' request_has
check 'a path with a line in it does not' fails_saying 125 'path= begins with a / and has no blanks' \
    invoke --path $'/x HTTP/1.1\r\nX: y'
check 'its status is its own' fails_saying 1 'status 418' invoke --path /teapot
teapot()
{
    [ "$(invoke --path /teapot 2>/dev/null)" = 'short stout' ]
}
check 'and its body, in chunks' teapot
check 'there is no function of that name' fails_saying 125 "there is no function 'g'" "$voltctl" function invoke g

# ---- What functions should not do ----
check 'one that dies' fails_saying 125 'closed the connection without an answer' invoke --path /die
check 'one that hangs up' fails_saying 125 'closed the connection without an answer' invoke --path /early
check 'one that stops in the middle' fails_saying 125 "answer is not HTTP" invoke --path /half
check 'one that does not speak HTTP' fails_saying 125 'answer is not HTTP' invoke --path /garbage
check 'one that answers too much' fails_saying 125 'answer is over 6291456 bytes' invoke --path /long
check 'one with too many headers' fails_saying 125 'more than 64 headers' invoke --path /heads
check 'one that steers terminals' fails_saying 125 'invalid character in header' invoke --path /steer
check 'one that ends its VM' fails_saying 125 'its VM ended' invoke --path /off
check 'one that hangs' fails_saying 125 'has not answered within' "$voltctl" function invoke again --path /hang
check 'none of them has kept its VM' until_true 5 no_lease

# ---- At the doorbell ----
check 'one at the doorbell' create bell --runtime doorbell --handler 'exec bell --thread' --min 4 --max 12 \
    --timeout "$(patient 2)s" --queue 200 --queue-time "$(patient 20)s"
ring()
{
    "$voltctl" function invoke bell "$@"
}
until_true 60 function_is bell ready
check 'the answer of one that waits at the doorbell' prints hello ring --data hello
head -c 65536 /dev/urandom >"$work/data"
most_is_the_same()
{
    ring --file "$work/data" >"$work/answer" && cmp "$work/data" "$work/answer"
}
check '65,536 bytes, both ways' most_is_the_same
printf x >>"$work/data"
check 'one more is refused' fails_saying 125 'has at most 65536 bytes: this one has 65537' \
    ring --file "$work/data"
check 'a longer answer, too, by the library' prints refused ring --data 'too long'
check 'an error that it tells' fails_saying 1 'status 500' ring --data fail
check 'one that sleeps gets its timer' prints rested ring --data rest
check 'a thread that another waits for gets its turn' prints seen ring --data thread
clock_is_right()
{
    local off
    off=$(ring --data clock) && [ "${off#-}" -lt 5000 ] || { echo "$off ms"; return 1; }
}
check 'its clock is right' clock_is_right
own_numbers()
{
    [ "$(ring --data draw)" != "$(ring --data draw)" ]
}
check 'its random numbers are its own' own_numbers
check 'one that dies, and its last words' fails_saying 125 'exit code 3; what it wrote ends with "last words"' \
    ring --data die
check 'one that lies of its length' fails_saying 125 'its VM ended' ring --data 'lie of length'
check 'one that steers terminals by its kind' fails_saying 125 '\x1b[31m' ring --data 'lie of kind'
check 'one that rings for another call' fails_saying 125 'its VM ended' ring --data another
check 'one that turns without end' fails_saying 125 'has not answered within' ring --data spin
bell_alone()
{
    seq 60 | xargs -P 10 -I{} "$voltctl" function invoke bell --data where >"$work/hosts" || return 1
    [ "$(sort -u "$work/hosts" | wc -l)" = 60 ] || { sort "$work/hosts" | uniq -d; return 1; }
    ! grep -v ' 1$' "$work/hosts"
}
check '60 calls, 10 at a time: each in a VM of its own' bell_alone
check 'nobody else gets its VMs' fails_saying 125 'serve the calls of its function alone' "$voltctl" acquire bell
check 'none of these has kept its VM' until_true 5 no_lease

# ---- Logs ----
log_of_call()
{
    local id
    id=$(invoke --path /log --show-id 2>&1 >/dev/null) || return 1
    "$voltctl" function logs f --json | python3 -c '
import json, sys
calls = [c for c in json.load(sys.stdin)["invocations"] if c["invocation"] == sys.argv[1]]
assert len(calls) == 1 and calls[0]["status"] == 200, calls
assert calls[0]["log"][-2:] == ["a line on stderr", "a line on stdout"], calls
assert calls[0]["run_us"] > 0, calls' "$id"
}
check 'what a function writes is kept with its call' log_of_call
logs_have()
{
    "$voltctl" function logs "$1" | grep -qx "    $2"
}
check 'that of one that died, too' logs_have f 'last words'
check 'and that of one that hung' logs_have again 'before it hangs'

# ---- A VM each ----
own_vms()
{
    seq 100 | xargs -P 10 -I{} "$voltctl" function invoke f --path /host >"$work/hosts" || return 1
    [ "$(wc -l <"$work/hosts")" = 100 ] || { wc -l "$work/hosts"; return 1; }
    [ "$(sort -u "$work/hosts" | wc -l)" = 100 ] || { sort "$work/hosts" | uniq -d; return 1; }
    ! grep -v ' 1$' "$work/hosts"
}
check '100 calls, 10 at a time: each in a VM of its own, none lost, none twice' own_vms
check 'no VM is left of them' until_true 5 no_lease
again()
{
    "$voltctl" function invoke again --path /host
}
reused()
{
    local names
    names=$(again && again && again && again) || return 1
    [ "$(cut -d' ' -f2 <<<"$names" | tr '\n' ' ')" = '1 2 3 1 ' ] &&
        [ "$(cut -d' ' -f1 <<<"$names" | sort -u | wc -l)" = 2 ] || { echo "$names"; return 1; }
}
check 'with --reuse 3 the fourth call has a new VM' reused

# ---- Limits ----
on_are()
{
    [ "$("$voltctl" function show again --json | json on) $("$voltctl" function show again --json | json queued)" = "$1" ]
}
crowded()
{
    "$voltctl" function invoke again --path /hang >/dev/null 2>&1 &
    until_true 10 on_are '1 0' || return 1
    "$voltctl" function invoke again --data second >"$work/second" 2>&1 &
    until_true 10 on_are '1 1' || return 1
    fails_saying 125 '1 calls of function '\''again'\'' wait already' "$voltctl" function invoke again
}
check 'one at a time, one may wait, the third is refused' crowded
check 'who waited is served' until_true 10 grep -qx second "$work/second"
gone()
{
    curl -s --max-time 1 --unix-socket "$VOLT_RUN_DIR/poold.sock" -X POST \
        'http://volt/v1/functions/again/invoke?path=/hang'
    until_true 10 on_are '0 0' && "$voltctl" function logs again | grep cancelled
}
check 'a client that hangs up takes its call with it' gone
check 'the pool of a function is not deleted alone' fails_saying 125 'is the pool of a function' \
    "$voltctl" pool delete f --force
metric()
{
    curl -s --unix-socket "$VOLT_RUN_DIR/poold.sock" http://volt/metrics | grep -E "^$1"
}
check 'metrics by function and result' metric 'volt_function_invocations_total\{function="f",result="answered"\} 1[0-9][0-9]$'

# ---- Restarts ----
poold_stop
poold_start || { echo 'Bail out! no poold a second time'; exit 1; } # not by check: it is to be stopped
until_true 200 function_is f ready
check 'functions are there, and are called' prints again invoke --data again
limits_kept()
{
    [ "$("$voltctl" function show again --json | json reuse)" = 3 ]
}
check 'with their limits' limits_kept
check 'one is deleted' "$voltctl" function delete bad
check 'and its pool with it' fails_saying 125 'there is no pool' "$voltctl" pool show bad
