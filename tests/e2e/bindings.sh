# SPDX-License-Identifier: Apache-2.0
# Goal: functions at the doorbell are written in Python and in Node, with the bindings that are installed.
# Method: real VMs with this host's python3 and node in them, each with what it loads.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

library=$root/guest-init/function
tree=$work/tree

tree_make()
{
    busybox_root "$tree" && mkdir -p "$tree"/{app,proc,sys,dev,run,tmp}
}

python=/usr/bin/python3
python_put()
{
    local modules program
    program=$(readlink -f "$python")
    modules=$("$python" -c 'import os; print(os.path.dirname(os.__file__))') &&
        put_into "$tree" "$program" "$modules"/lib-dynload/_ctypes.*.so &&
        ln -sf "$program" "$tree/bin/python3" &&
        tar -C "$modules" --exclude=test --exclude=__pycache__ --exclude=dist-packages \
            --exclude='config-*' -c . | tar -C "$tree$modules" -x &&
        cc -O2 -shared -fPIC -I"$root/guest-init" "$library/volt_function.c" \
            -o "$tree/app/libvolt_function.so" &&
        cp "$library/volt_function.py" "$tree/app/" &&
        cat >"$tree/app/function.py" <<'PY'
import volt_function

calls = 0

@volt_function.serve
def answer(request):
    global calls
    calls += 1
    if request == b"fail":
        raise ValueError("not that")
    return request.upper() + b" %d" % calls
PY
}

headers=$(dirname "$(dirname "$(readlink -f "$(command -v node || echo /usr/bin/node)")")")/include/node
node_reason=
if ! command -v node >/dev/null; then
    node_reason='there is no node here'
elif [ ! -f "$headers/node_api.h" ]; then
    node_reason="node's headers are not in $headers"
fi
node_put()
{
    local node
    node=$(readlink -f "$(command -v node)")
    put_into "$tree" "$node" && ln -sf "$node" "$tree/bin/node" &&
        cc -O2 -shared -fPIC -I"$headers" -I"$root/guest-init" "$library/volt_function_node.c" \
            "$library/volt_function.c" -o "$tree/app/volt_function.node" &&
        cat >"$tree/app/function.js" <<'JS'
let calls = 0;
require("/app/volt_function.node").serve((request) => {
    calls += 1;
    if (request.toString() === "fail") throw new Error("not that");
    return request.toString().toUpperCase() + " " + calls;
});
JS
}

check 'a root' tree_make
check 'with python3 in it' python_put
[ -n "$node_reason" ] || check 'and node' node_put
poold_start || { echo 'Bail out! no poold'; exit 1; }
check 'an image of it' "$voltctl" image build fn --from-dir "$tree"

# Both boot at once.
kinds=(python)
check 'a function in Python' "$voltctl" function create python --runtime doorbell --image fn --min 1 --max 4 \
    --memory 256M --reuse 3 --timeout "$(patient 12)s" --handler 'cd /app && exec python3 function.py' --no-wait
if [ -n "$node_reason" ]; then
    skip 'a function in Node' "$node_reason"
else
    kinds+=(node)
    check 'a function in Node' "$voltctl" function create node --runtime doorbell --image fn --min 1 --max 4 \
        --memory 256M --reuse 3 --timeout "$(patient 12)s" --handler 'exec node /app/function.js' --no-wait
fi

function_is()
{
    [ "$("$voltctl" function show "$1" --json | json state)" = "$2" ]
}
for kind in "${kinds[@]}"; do
    is_ready()
    {
        until_true 200 function_is "$kind" ready || { "$voltctl" function show "$kind"; return 1; }
    }
    check "$kind: ready, and waits at the bell" is_ready
    check "$kind: the answer to a call" prints 'HELLO 1' "$voltctl" function invoke "$kind" --data hello
    check "$kind: and to the next, of the same VM" prints 'AGAIN 2' "$voltctl" function invoke "$kind" --data again
    check "$kind: what it throws is the error of the call" \
        exits 1 bash -c "'$voltctl' function invoke $kind --data fail | grep -q 'not that'; exit \${PIPESTATUS[0]}"
done
