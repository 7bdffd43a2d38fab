# SPDX-License-Identifier: Apache-2.0
# Goal: programs made for AWS Lambda run as they are, on both sides: runtimes that ask for events, and
#   clients that invoke.
# Method: real VMs; lambda_runtime.c does what its events say. Node's runtime interface client and AWS'
#   SDK come from npm; without that, or without node, they are skipped.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

tree=$work/tree
tree_make()
{
    busybox_root "$tree" && mkdir -p "$tree"/{proc,sys,dev,run,tmp,var/task} && cp "$VOLT_BUILD/tests/e2e/lambda-runtime" "$tree/bin/runtime"
}

# ---- What npm has ----
npm_reason=
npm_get()
{
    command -v node >/dev/null && command -v npm >/dev/null || { npm_reason='there is no node here'; return 0; }
    mkdir "$work/npm" && cd "$work/npm" && timeout "$(patient 30)" npm install --ignore-scripts --no-audit --no-fund \
        @serverless-stack/aws-lambda-ric@2.0.13 @aws-sdk/client-lambda@3.1164.0 >"$work/npm.log" 2>&1 ||
        npm_reason="npm's registry can't be had from here"
    cd "$root" || exit 1
}
npm_get
# Node with its libraries, the runtime interface client, and a handler.
node_put()
{
    local node
    node=$(readlink -f "$(command -v node)")
    put_into "$tree" "$node" && ln -sf "$node" "$tree/bin/node" && mkdir -p "$tree/var/task/node_modules/@serverless-stack" &&
        cp -a "$work/npm/node_modules/@serverless-stack/aws-lambda-ric" "$tree/var/task/node_modules/@serverless-stack/" &&
        cat >"$tree/var/task/index.js" <<'J'
exports.handler = async (event, context) => {
    console.log("id " + context.awsRequestId);
    if (event.fail) throw new TypeError("as you wish");
    return { sum: event.a + event.b, left: context.getRemainingTimeInMillis() > 0 };
};
J
}
check 'a root with a runtime in it' tree_make
[ -n "$npm_reason" ] || check "and Node's" node_put
# Who may call by TCP: by a token, and by a key, as AWS' clients have it.
token=a-token-that-is-known-to-this-test
export AWS_ACCESS_KEY_ID=VOLTLAMBDATEST0000001 AWS_SECRET_ACCESS_KEY=a/secret+that-is-known-to-this-test
(umask 077; cat >"$work/callers" <<J
{"callers": [{"name": "curl", "token": "$token", "functions": ["f"]},
             {"name": "sdk", "access_key_id": "$AWS_ACCESS_KEY_ID", "secret_access_key": "$AWS_SECRET_ACCESS_KEY"}]}
J
)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=volt -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$work/tls.key" -out "$work/tls.pem" 2>/dev/null || { echo 'Bail out! no certificate'; exit 1; }
poold_start --listen 127.0.0.1:0 --listen-callers "$work/callers" --listen-cert "$work/tls.pem" --listen-key "$work/tls.key" || { echo 'Bail out! no poold'; exit 1; }
until_true 10 grep -q 'called by TCP at' "$log"
remote=https://$(sed -n 's/.*called by TCP at \([0-9.:]*\) .*/\1/p' "$log")
check 'an image of it' "$voltctl" image build fn --from-dir "$tree"

function_is()
{
    [ "$("$voltctl" function show "$1" --json | json state)" = "$2" ]
}
create()
{
    "$voltctl" function create "$@" --runtime lambda --image fn --no-wait >/dev/null
}
check 'a function' create f --handler 'exec runtime' --min 2 --max 8 --timeout "$(patient 4)s"
check 'one whose VMs serve three' create again --handler 'exec runtime' --min 1 --max 2 --reuse 3 --timeout "$(patient 12)s"
check 'one whose runtime says that it can not' create bad --handler 'exec runtime bad' --min 0
check 'a port is of no use' fails_saying 125 "'port' is of the runtime http" \
    "$voltctl" function create g --handler x --runtime lambda --port 80
if [ -z "$npm_reason" ]; then
    check "Node's" create node --memory 256M --min 1 --max 4 --timeout "$(patient 20)s" --handler \
        'cd /var/task && AWS_LAMBDA_NODEJS_USE_ALTERNATIVE_CLIENT_1=true exec node node_modules/@serverless-stack/aws-lambda-ric/bin/index.js index.handler'
fi
until_true 200 function_is f ready || { echo 'Bail out! the function does not get ready'; exit 1; }
until_true 200 function_is again ready
until_true 200 function_is bad failed
bad_says()
{
    "$voltctl" function show bad --json | json error | grep "can't start" | grep 'no such module'
}
check 'an error of its start is told' bad_says

# ---- The Runtime API ----
invoke()
{
    "$voltctl" function invoke "$@"
}
check 'the answer to an event' prints '{"n": 1}' invoke f --data '{"n": 1}'
head -c 200000 /dev/zero | tr '\0' 'x' >"$work/data"
long_is_the_same()
{
    invoke f --file "$work/data" >"$work/answer" && cmp "$work/data" "$work/answer"
}
check '200,000 bytes, both ways' long_is_the_same
bytes_of()
{
    invoke f --data "$1" | wc -c
}
check 'an error that the function tells is its answer' fails_saying 1 'status 500' invoke f --data '"error"'
error_text()
{
    [ "$(invoke f --data '"error"' 2>/dev/null | json errorType)" = Odd ]
}
check 'with its type' error_text
check "another call's id is refused" prints 'HTTP/1.1 400 Bad Request' invoke f --data '"other id"'
check 'a runtime that ends, and how' fails_saying 125 'exit code 3' invoke f --data '"exit"'
check 'one that hangs' fails_saying 125 'has not answered within' invoke f --data '"hang"'
check 'none of them has kept its VM' until_true 5 no_lease
own_vms()
{
    seq 20 | xargs -P 5 -I{} "$voltctl" function invoke f --data '"host"' | sed 's/""/"\n"/g' >"$work/hosts" || return 1
    [ "$(sort -u "$work/hosts" | wc -l)" = 20 ] && ! grep -v ' 1"$' "$work/hosts" || { cat "$work/hosts"; return 1; }
}
check '20 events, 5 at a time, each in a VM of its own' own_vms
reused()
{
    local names
    names=$(for _ in 1 2 3 4; do invoke again --data '"host"' && echo; done) || return 1
    [ "$(tr -d '"' <<<"$names" | cut -d' ' -f2 | tr '\n' ' ')" = '1 2 3 1 ' ] || { echo "$names"; return 1; }
}
check 'with --reuse 3 the fourth has a new VM' reused

check 'a response in pieces, for who takes it whole' prints 100500 bytes_of '"stream"'

# ---- As AWS' clients ask ----
# aws NAME TYPE DATA [CURL OPTION...]: status and headers into $work/head, the body on stdout
aws()
{
    local name=$1 type=$2 data=$3
    shift 3
    curl -s -D "$work/head" --unix-socket "$VOLT_RUN_DIR/poold.sock" -H "X-Amz-Invocation-Type: $type" -d "$data" "$@" \
        "http://volt/2015-03-31/functions/$name/invocations"
}
head_has()
{
    tr -d '\r' <"$work/head" | grep -qix -- "$1" || { cat "$work/head"; return 1; }
}
aws_answer()
{
    [ "$(aws f RequestResponse '{"n": 2}' -H 'X-Amz-Log-Type: Tail')" = '{"n": 2}' ] && head_has 'HTTP/1.1 200 OK' &&
        head_has 'X-Amz-Executed-Version: $LATEST' && sed -n 's/^X-Amz-Log-Result: //p' "$work/head" | tr -d '\r' |
        base64 -d | grep -x 'event 1'
}
check 'an answer, with the end of its log' aws_answer
aws_error()
{
    [ "$(aws f RequestResponse '"error"' | json errorMessage)" = 'it is odd' ] && head_has 'X-Amz-Function-Error: Unhandled' &&
        head_has 'HTTP/1.1 200 OK'
}
check "a function's error" aws_error
aws_exit()
{
    [ "$(aws f RequestResponse '"exit"' | json errorType)" = Runtime.ExitError ] && head_has 'X-Amz-Function-Error: Unhandled'
}
check 'the end of a runtime' aws_exit
aws_late()
{
    aws f RequestResponse '"hang"' | json errorMessage | grep "Task timed out after $(patient 4).00 seconds"
}
check 'a function that takes too long' aws_late
aws_missing()
{
    aws nothing RequestResponse '1' | grep '"Type":"User"' && head_has 'HTTP/1.1 404 Not Found' &&
        head_has 'X-Amzn-ErrorType: ResourceNotFoundException'
}
check 'a function that is not there' aws_missing
aws_dry()
{
    aws f DryRun '1' && head_has 'HTTP/1.1 204 No Content'
}
check 'a dry run' aws_dry
answered()
{
    "$voltctl" function show f --json | json results.answered
}
aws_event()
{
    local before
    before=$(answered)
    [ -z "$(aws f Event '"error"')" ] && head_has 'HTTP/1.1 202 Accepted' || return 1
    more() { [ "$(answered)" -ge $((before + 3)) ]; }
    until_true 30 more
}
check 'an event, which is tried twice again' aws_event

# ---- By TCP, with TLS ----
by_tcp()
{
    curl -s --cacert "$work/tls.pem" -w ' %{http_code}' -d '{"n": 3}' "$@"
}
check 'a token gets an answer' prints '{"n": 3} 200' by_tcp -H "Authorization: Bearer $token" "$remote/v1/functions/f/invoke"
check 'a signature does' prints '{"n": 3} 200' by_tcp --aws-sigv4 aws:amz:local:lambda \
    --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" "$remote/2015-03-31/functions/f/invocations"
long_by_tcp()
{
    curl -s --cacert "$work/tls.pem" -H "Authorization: Bearer $token" --data-binary "@$work/data" "$remote/v1/functions/f/invoke" |
        cmp "$work/data" -
}
check '200,000 bytes, both ways' long_by_tcp
check 'no token does not' prints '{"message":"Missing Authentication Token"} 403' \
    by_tcp "$remote/2015-03-31/functions/f/invocations"
token_of_another()
{
    by_tcp -H "Authorization: Bearer $token" "$remote/v1/functions/again/invoke" | tr '\n' ' ' | grep 'forbidden.* 403$'
}
check "nor that of another function" token_of_another

# ---- Node ----
node_answers()
{
    until_true 200 function_is node ready || { "$voltctl" function show node; return 1; }
    [ "$(invoke node --data '{"a": 1, "b": 2}')" = '{"sum":3,"left":true}' ]
}
cat >"$work/sdk.mjs" <<'J'
import { createRequire } from "node:module";
const { LambdaClient, InvokeCommand, InvokeWithResponseStreamCommand } = createRequire(process.argv[2] + "/")("@aws-sdk/client-lambda");
const client = new LambdaClient({ endpoint: process.argv[3], region: "local", maxAttempts: 1 });
const stranger = new LambdaClient({ endpoint: process.argv[3], region: "local", maxAttempts: 1,
    credentials: { accessKeyId: process.env.AWS_ACCESS_KEY_ID, secretAccessKey: "guessed" } });
const call = (FunctionName, payload, more, by = client) =>
    by.send(new InvokeCommand({ FunctionName, Payload: JSON.stringify(payload), ...more }));
const streamed = async (FunctionName, payload) => {
    const { EventStream } = await client.send(
        new InvokeWithResponseStreamCommand({ FunctionName, Payload: JSON.stringify(payload) }));
    let bytes = 0, last;
    for await (const event of EventStream) {
        bytes += event.PayloadChunk?.Payload.length ?? 0;
        last = event.InvokeComplete;
    }
    return `${bytes}:${last.ErrorCode ?? "good"}`;
};
const text = (answer) => Buffer.from(answer.Payload).toString();
const good = await call("node", { a: 20, b: 3 }, { LogType: "Tail" });
const named = await call("arn:aws:lambda:local:000000000000:function:node", { a: 1, b: 3 });
const bad = await call("node", { fail: true });
const event = await call("node", { a: 1, b: 1 }, { InvocationType: "Event" });
const dry = await call("node", {}, { InvocationType: "DryRun" });
const none = await call("nothing", {}).catch((error) => error.name);
const wrong = await call("node", {}, {}, stranger).catch((error) => error.name);
console.log([good.StatusCode, text(good), good.ExecutedVersion, text(named), bad.FunctionError,
    JSON.parse(text(bad)).errorType, await streamed("f", "stream"), await streamed("f", "stream error"),
    await streamed("node", { a: 1, b: 1 }), await streamed("node", { fail: true }), event.StatusCode, dry.StatusCode, none, wrong].join(" "));
J
sdk()
{
    NODE_EXTRA_CA_CERTS=$work/tls.pem node "$work/sdk.mjs" "$work/npm" "$remote"
}
if [ -n "$npm_reason" ]; then
    skip "Node's runtime interface client" "$npm_reason"
    skip "AWS' SDK for JavaScript" "$npm_reason"
else
    check "Node's runtime interface client gets events" node_answers
    check "AWS' SDK for JavaScript invokes" prints \
        '200 {"sum":23,"left":true} $LATEST {"sum":4,"left":true} Unhandled TypeError 100500:good 100500:Odd.Late 21:good 0:Unhandled 202 204 ResourceNotFoundException InvalidSignatureException' sdk
fi
