# SPDX-License-Identifier: Apache-2.0
# Goal: jobs of CI systems run in VMs of their own: GitLab's custom executor, and listeners of others by
#   `voltctl run`.
# Method: gitlab_runner.py plays the runner's contract with real VMs; the image has the host's git, bash,
#   make and gcc, and a repository of a C project.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
export VOLTCTL=$voltctl

# ---- An image with tools ----
tree=$work/tree
tree_make()
{
    local gcc=/usr/lib/gcc/x86_64-linux-gnu/12 lib=/usr/lib/x86_64-linux-gnu applet
    mkdir -p "$tree"/{bin,etc,tmp,root,srv} &&
        cp /usr/bin/busybox "$tree/bin/busybox" || return 1
    for applet in sh ls cat mkdir rm sleep hostname setsid wget httpd kill dd head mount; do
        ln -s busybox "$tree/bin/$applet"
    done
    agents_make && put_into "$tree" /usr/bin/{git,make,gcc,as,ld,bash,env} /usr/lib/git-core/git "$gcc"/{cc1,collect2,liblto_plugin.so} \
        "$gcc"/{crt*,libgcc*,include} /usr/include/{stdio,features,features-time64,stdc-predef}.h \
        "$lib"/{crt1.o,Scrt1.o,crti.o,crtn.o,libc.so,libc_nonshared.a,libc.so.6,libgcc_s.so.1} \
        /usr/include/x86_64-linux-gnu/{bits,gnu,sys} && ln -s ../usr/bin/bash "$tree/bin/bash" &&
        ln -s git "$tree/usr/bin/git-upload-pack" && mkdir -p "$tree/usr/share/git-core/templates" &&
        repository_make
}
# Stand in for the agents of others: they end as those do, with codes of their own.
agents_make()
{
    mkdir -p "$tree/opt/actions-runner" "$tree/usr/bin" &&
        cat >"$tree/opt/actions-runner/run.sh" <<'A' && cat >"$tree/usr/bin/buildkite-agent" <<'A'
#!/bin/sh
[ "$1 $2" = '--jitconfig c2VjcmV0Cg==' ] && exit 7
exit 1
A
#!/bin/sh
[ "$* $BUILDKITE_AGENT_TOKEN" = 'start --acquire-job some-job t0ken' ] && exit 27
exit 1
A
    chmod +x "$tree/opt/actions-runner/run.sh" "$tree/usr/bin/buildkite-agent"
}
repository_make()
{
    local at=$work/project
    mkdir "$at" && cat >"$at/main.c" <<'C' && printf 'hello: main.c\n\tgcc -o $@ main.c\n' >"$at/Makefile"
#include <stdio.h>
int main(void) { return puts("built in a VM") < 0; }
C
    git -C "$at" init -q -b main && git -C "$at" add . &&
        git -C "$at" -c user.name=Volt -c user.email=volt@example.org commit -qm first &&
        git clone -q --bare "$at" "$tree/srv/project.git"
}
check 'a root with git, make and gcc' tree_make

poold_with_pool
check 'an image of it' "$voltctl" image build tools --from-dir "$tree"
check 'a pool of that' "$voltctl" pool create tools --image tools --memory 256M --min 1 --max 8
check 'a volume for jobs' "$voltctl" volume create jobs --size 64M
until_true 200 sh -c "[ \"\$('$voltctl' pool show tools --json | grep -c '\"state\": \"ready\"')\" = 1 ]" ||
    { echo 'Bail out! no pool with tools'; exit 1; }

cd "$work" || exit 1
# script NAME: from stdin, as the runner makes it
script()
{
    { echo 'set -eo pipefail'; cat; } >"$work/$1.script"
}
# runner ARG... -- STAGE=NAME...: plays a job into $job_log
job_log=$work/job.log
runner()
{
    local args=() scripts=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do args+=("$1"); shift; done
    shift
    while [ $# -gt 0 ]; do scripts+=("${1%%=*}=$work/${1#*=}.script"); shift; done
    "$here/gitlab_runner.py" --config=--image=tools:*=tools --config="--wait=$(patient 20)s" \
        "${args[@]}" "${scripts[@]}" >"$job_log" 2>&1
}
job_ends()
{
    local wanted=$1
    shift
    runner "$@"
    grep -qx "job: $wanted" "$job_log" || { cat "$job_log"; return 1; }
}
log_has()
{
    grep -qF -- "$1" "$work/job.log" || { cat "$work/job.log"; return 1; }
}
log_lacks()
{
    ! grep -qF -- "$1" "$work/job.log" || { cat "$work/job.log"; return 1; }
}

# ---- A job ----
script sources <<'S'
git clone -q file:///srv/project.git /root/project
hostname >/root/where
S
script build <<'S'
cd /root/project
make -s
./hello
echo "secret has ${#SECRET} characters"
[ "$(hostname)" = "$(cat /root/where)" ] && echo same VM
S
script after <<'S'
echo after it all
S
script none <<'S'
S
check 'a job clones, builds and runs a C project' job_ends success --image tools:1 \
    --variable SECRET=hush-hush -- prepare_script=none get_sources=sources step_script=build \
    after_script=after cleanup_file_variables=none
check 'its output is the log' log_has 'built in a VM'
check 'all stages have one VM' log_has 'same VM'
check 'variables come in' log_has 'secret has 9 characters'
check 'and are not in the log' log_lacks hush-hush
not_in_poolds_log()
{
    ! grep -q hush-hush "$log"
}
check "nor in poold's" not_in_poolds_log
check 'cleanup leaves no VM' no_lease

script keeps <<'S'
echo 'from the job before' >/cache/it
S
script finds <<'S'
cat /cache/it
S
check 'a job writes its cache' job_ends success --image tools:1 --config=--volume=jobs:/cache:rw -- step_script=keeps
check 'the next one finds what it wrote' job_ends success --image tools:1 --config=--volume=jobs:/cache -- step_script=finds
check 'all of it' log_has 'from the job before'
script writes_for_long <<'S'
echo 'from the one that was first' >/cache/order
sleep 4
S
script reads <<'S'
cat /cache/order
S
# The second comes while the first has the volume, and waits for it.
one_after_another()
{
    (job_log=$work/first.log; job_ends success --image tools:1 --config=--volume=jobs:/cache:rw -- step_script=writes_for_long) &
    until_true 60 sh -c "'$voltctl' volume show jobs --json | grep -q '\"lease\"'" || return
    job_ends success --image tools:1 --config=--volume=jobs:/cache:rw -- step_script=reads && wait $!
}
check 'two jobs that write one volume: one after the other' one_after_another
check 'the second has what the first has written' log_has 'from the one that was first'
mkdir "$work/sources" && echo 'from a folder of the host' >"$work/sources/it" && chmod -R a+rX "$work/sources"
script shared <<'S'
cat /sources/it
S
check 'a folder of the host' job_ends success --image tools:1 --config=--share="$work/sources:/sources" -- step_script=shared
check 'with what is in it' log_has 'from a folder of the host'
check 'a volume that is not there: a system failure' job_ends 'system failure' --image tools:1 \
    --config=--volume=none:/cache -- step_script=none

# ---- How it ends ----
script three <<'S'
exit 3
S
check 'a script that fails: a build failure, with its code' job_ends 'build failure 3' --image tools:1 \
    -- step_script=three after_script=after
check 'after_script is run' log_has 'after it all'
script background <<'S'
sleep 1000 &
echo started
S
check 'a process in the background does not hold the job' job_ends success --image tools:1 \
    -- step_script=background after_script=after
script full <<'S'
mount -t tmpfs -o size=1m small /tmp
dd if=/dev/zero of=/tmp/all bs=64k
S
check "a full disk is the script's failure" job_ends 'build failure 1' --image tools:1 -- step_script=full
check 'and it says so' log_has 'No space left'
script killed <<'S'
kill -9 $$
S
check 'a shell that is killed: a build failure' job_ends 'build failure 137' --image tools:1 -- step_script=killed
script off <<'S'
busybox poweroff -f
sleep 1000
S
check 'a VM that ends: a system failure' job_ends 'system failure' --image tools:1 -- step_script=off
check 'the stage is named' log_has 'stage step_script'
check 'an image without a pool: a system failure' job_ends 'system failure' --image nothing:1 -- step_script=none
check 'and what to do' log_has "no pool for the image 'nothing:1'"
check 'a job without an image: the default pool' job_ends success -- step_script=none
check "services that can't be: a system failure" job_ends 'system failure' --image tools:1 \
    --services '[{"name": "nothing:2"}]' -- step_script=none
check 'of which nothing is left' no_lease
check 'services on pools without a network: a system failure' job_ends 'system failure' --image tools:1 \
    --services '[{"name": "tools:2"}]' -- step_script=none
check 'and what it needs' log_has 'services need pools on one bridge'
script loop <<'S'
trap '' TERM
while :; do sleep 1; done
S
check 'a cancelled job ends, though it ignores SIGTERM' job_ends cancelled --image tools:1 --cancel-after 2 \
    -- step_script=loop
check 'and leaves no VM' no_lease
script long <<'S'
sleep 8
S
check 'a lease lives as long as its job, whatever its TTL' job_ends success --image tools:1 \
    --config=--ttl=3s --stage=--ttl=3s -- step_script=long
dead_runner()
{
    setsid "$here/gitlab_runner.py" --config=--image=tools:*=tools --config="--wait=$(patient 20)s" --config=--ttl=4s \
        --stage=--ttl=4s --image tools:1 --die-after 3 "step_script=$work/loop.script" &
    wait $!
    until_true 20 no_lease
}
check 'a runner that is killed leaves no VM' dead_runner
check "a job can't name another's VM" job_ends success --image tools:1 \
    --variable VOLT_GITLAB_LEASE=ffffffffffff -- step_script=none
check 'without config: what to do' fails_saying 125 config_exec "$voltctl" gitlab prepare
check 'with too little: the usage' exits 42 env SYSTEM_FAILURE_EXIT_CODE=42 "$voltctl" gitlab run

# ---- Listeners ----
# page NAME: a file of docs/jobs.md
page()
{
    awk -v mark="<!-- file: $1 -->" '$0 == mark { on = 1; next } on && /^```/ { if (seen++) exit; next } on && seen' \
        "$root/docs/jobs.md" >"$work/$1"
    chmod +x "$work/$1"
    [ -s "$work/$1" ]
}
sound()
{
    page "$1" && sh -n "$work/$1" && { ! command -v shellcheck >/dev/null || shellcheck -S warning "$work/$1"; }
}
for name in github-listener buildkite-job; do
    check "docs/jobs.md: the script $name" sound $name
done
unit_is_sound()
{
    page volt-listener@.service && sed -i "s|^ExecStart=.*|ExecStart=/bin/true|" "$work/volt-listener@.service" &&
        cp "$work/volt-listener@.service" "$work/volt-listener@1.service" &&
        said=$(systemd-analyze verify --man=no "$work/volt-listener@1.service" 2>&1) &&
        ! grep -F "volt-listener@1.service:" <<<"$said"
}
if command -v systemd-analyze >/dev/null; then
    check 'docs/jobs.md: the unit' unit_is_sound
else
    skip 'docs/jobs.md: the unit' 'systemd-analyze is not installed'
fi
# Stands in for GitHub: answers one request, and keeps what it was asked.
cat >"$work/hub.py" <<'P'
import http.server, json, sys
class Hub(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        right = (self.path == "/repos/me/mine/actions/runners/generate-jitconfig" and
                 self.headers["Authorization"] == "Bearer t0ken" and body["labels"] == ["volt"])
        answer = json.dumps({"runner": {"id": 1}, "encoded_jit_config": "c2VjcmV0Cg=="}).encode()
        self.send_response(201 if right else 403)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Hub)
with open(sys.argv[1] + ".new", "w") as file:
    print(server.server_port, file=file)
import os
os.rename(sys.argv[1] + ".new", sys.argv[1])
server.handle_request()
P
mkdir -p "$work/credentials"
printf t0ken | tee "$work/credentials/github-token" >"$work/credentials/buildkite-token"
listener()
{
    env PATH="$(dirname "$voltctl"):$PATH" CREDENTIALS_DIRECTORY="$work/credentials" VOLT_POOL=tools "$@"
}
github()
{
    python3 "$work/hub.py" "$work/hub.port" &
    until_true 10 test -s "$work/hub.port" || return 1
    listener GITHUB_API_URL="http://127.0.0.1:$(cat "$work/hub.port")" "$work/github-listener" me/mine
}
check "GitHub: a just-in-time runner gets its configuration, and its code is kept" exits 7 github
check 'Buildkite: an agent acquires its job with its token, and its code is kept' exits 27 listener "$work/buildkite-job" some-job
env_by_stdin()
{
    local said
    said=$(printf 'A=one\n# no\n\nB=two words\n' | "$voltctl" run --stdin-env -e A=own -- sh -c 'echo "$A, $B"') &&
        [ "$said" = 'own, two words' ] || { echo "said '$said'"; return 1; }
}
check '--stdin-env: variables by standard input; -e goes before them' env_by_stdin
check '--stdin-env with -i' fails_saying 125 'both want standard input' "$voltctl" run -i --stdin-env -- true
held()
{
    "$voltctl" run --hold -- sh -c 'echo left >/tmp/it; exit 9' 2>"$work/held" &
    local pid=$! id
    until_true 20 grep -q 'voltctl exec' "$work/held" || { kill $pid; return 1; }
    id=$(sed -n 's/.*exec -it \([0-9a-f]*\) .*/\1/p' "$work/held")
    prints left "$voltctl" exec "$id" -- cat /tmp/it
    kill $pid
    wait $pid
    [ $? = 9 ] && until_true 20 no_lease
}
check '--hold keeps the VM of a command that failed, and its code' held

# ---- Services ----
script asks <<'S'
wget -qO- http://web:8000/hello
S
services()
{
    local web='[{"name": "tools/web:1", "alias": "web"}]'
    job_ends success --config=--image=tools/*=wired --config=--image=wired=wired --image wired --services "$web" \
        -- step_script=asks
}
# oci TREE LAYOUT: an OCI image of a folder, whose entry point is a web server.
oci()
{
    tar -C "$1" -cf "$work/layer.tar" . && python3 - "$work/layer.tar" "$2" <<'P'
import hashlib, json, os, sys
layer, layout = sys.argv[1:]
os.makedirs(layout + "/blobs/sha256")
def blob(data, kind):
    name = hashlib.sha256(data).hexdigest()
    with open(f"{layout}/blobs/sha256/{name}", "wb") as file:
        file.write(data)
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": "sha256:" + name, "size": len(data)}
part = blob(open(layer, "rb").read(), "layer.v1.tar")
config = blob(json.dumps({"architecture": "amd64", "os": "linux", "config": {
    "Entrypoint": ["httpd", "-f"], "Cmd": ["-p", "8000", "-h", "/srv/www"]},
    "rootfs": {"type": "layers", "diff_ids": [part["digest"]]}}).encode(), "config.v1+json")
manifest = blob(json.dumps({"schemaVersion": 2, "config": config, "layers": [part]}).encode(), "manifest.v1+json")
json.dump({"schemaVersion": 2, "manifests": [manifest]}, open(layout + "/index.json", "w"))
json.dump({"imageLayoutVersion": "1.0.0"}, open(layout + "/oci-layout", "w"))
P
}
if [ "$(id -u)" != 0 ]; then
    skip 'a service beside a job' 'needs root, for a bridge'
elif reason=$(unshare -n true 2>&1) && reason=$(ip link add vjobs0 type bridge 2>&1); then
    ip addr add 10.88.0.1/24 dev vjobs0 && ip link set vjobs0 up
    mkdir -p "$tree/srv/www" && echo 'from the service' >"$tree/srv/www/hello"
    check 'an image with a server as its entry point' oci "$tree" "$work/oci"
    check 'of which the store has one' "$voltctl" image build wired --from-oci "$work/oci"
    check 'a pool of it on a bridge' "$voltctl" pool create wired --image wired --memory 256M --min 0 --max 4 \
        --net bridge=vjobs0 --net-address 10.88.0.0/24
    check 'a service without a command, beside a job' services
    check 'is reached by its name' log_has 'from the service'
    check 'and ends with the job' no_lease
    "$voltctl" pool delete wired --force >/dev/null
    ip link del vjobs0
else
    skip 'a service beside a job' "no bridge can be made: $reason"
fi
