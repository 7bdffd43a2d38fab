# SPDX-License-Identifier: Apache-2.0
# Goal: all of the main job as a user without privileges, who can open /dev/kvm and nothing more: boot,
# snapshot, leases, files, images, networks through passt, the layers of the sandbox.
# Method: run by root, this script runs itself as nobody, in a mount namespace of its own where
# /dev/kvm is a node that nobody's group may open, and the repository is reachable.
# shellcheck shell=bash source=tests/e2e/lib.sh
readonly nobody=65534

skip_all()
{
    echo "ok 1 - without privileges # SKIP $1"
    echo 1..1
    exit 0
}
# In the namespace: what nobody needs, then this script as nobody.
become_nobody()
{
    local scratch=$1 script=$2 name
    mount -t tmpfs -o mode=755 tmpfs "$scratch" && mkdir "$scratch"/{repository,build,home} &&
        mknod -m 660 "$scratch/kvm" c 10 232 && chgrp $nobody "$scratch/kvm" &&
        mount --bind "$scratch/kvm" /dev/kvm &&
        mount --bind "$UNPRIVILEGED_ROOT" "$scratch/repository" &&
        mount --bind "$VOLT_BUILD" "$scratch/build" && chown $nobody "$scratch/home" || exit 1
    if [ -f "$VOLT_KERNEL" ]; then
        touch "$scratch/kernel" && mount --bind "$VOLT_KERNEL" "$scratch/kernel" || exit 1
        VOLT_KERNEL=$scratch/kernel
    fi
    unset E2E_SHARED XDG_RUNTIME_DIR XDG_CACHE_HOME
    export UNPRIVILEGED_INSIDE=1 VOLT_BUILD=$scratch/build VOLT_KERNEL HOME=$scratch/home
    exec setpriv --reuid=$nobody --regid=$nobody --clear-groups --inh-caps=-all \
        bash "$scratch/repository/tests/e2e/${script##*/}"
}
case ${UNPRIVILEGED_INSIDE:-} in
'')
    UNPRIVILEGED_ROOT=$(realpath "$(dirname "$0")/../..")
    VOLT_BUILD=$(realpath "${VOLT_BUILD:-$UNPRIVILEGED_ROOT/build}")
    : "${VOLT_KERNEL:=$("$UNPRIVILEGED_ROOT/guest-init/kernel/build-kernel" | tail -n 1)}"
    export UNPRIVILEGED_ROOT VOLT_BUILD VOLT_KERNEL
    if [ "$(id -u)" = 0 ]; then
        reason=$(unshare -m bash -c 'mount -t tmpfs tmpfs /tmp && mknod /tmp/kvm c 10 232 && : <>/tmp/kvm &&
            setpriv --reuid=65534 --regid=65534 --clear-groups true' 2>&1) ||
            skip_all "root cannot make /dev/kvm somebody else's here: $reason"
        scratch=$(mktemp -d /tmp/volt-e2e-XXXXXX) || exit 1
        trap 'rmdir "$scratch"' EXIT
        # Not exec: the folder is to go, too.
        UNPRIVILEGED_INSIDE=mounting unshare -m bash "$0" "$scratch"
        exit
    fi ;;
mounting) become_nobody "$1" "$0" ;;
esac
. "$(dirname "$0")/lib.sh"

no_privileges()
{
    [ "$(id -u)" != 0 ] && prints 0000000000000000 awk '/^CapEff/ { print $2 }' /proc/self/status
}
check 'this is no root, and has no capabilities' no_privileges
check 'voltctl doctor finds no error' "$voltctl" doctor
poold_start || { echo 'Bail out! no poold to test with'; exit 1; }
# One that the pool's VMs may reach, on this host's loopback: it answers by TCP and UDP.
python3 -c '
import selectors, socket
t = socket.create_server(("127.0.0.1", 0))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(t.getsockname())
print(t.getsockname()[1], flush=True)
selector = selectors.DefaultSelector()
selector.register(t, selectors.EVENT_READ)
selector.register(u, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        if key.fileobj is t:
            t.accept()[0].close()
        else:
            u.sendto(*u.recvfrom(100))' >"$work/allowed_port" 2>/dev/null &
allowed_server=$!
until_true 10 test -s "$work/allowed_port"
allowed_port=$(cat "$work/allowed_port")
network=
[ ! -x "$(command -v passt)" ] || network="--net user --net-allow 127.0.0.1:$allowed_port"
# shellcheck disable=SC2086 # several options
check 'a pool: cold boot and snapshot' "$voltctl" pool create default --min 2 --max 8 $network ${E2E_POOL_OPTIONS:-}
check 'its snapshot is whole' "$voltctl" snapshot verify default
id=$(acquire)
check 'a lease' test -n "$id"
check 'a command' prints alive guest "$id" -- echo alive
check 'its exit code' exits 3 guest "$id" -- sh -c 'exit 3'
there_and_back()
{
    head -c 100000 /dev/urandom >"$work/there"
    "$voltctl" cp "$work/there" "$id:/tmp/file" && "$voltctl" cp "$id:/tmp/file" "$work/back" &&
        cmp "$work/there" "$work/back"
}
check 'files there and back' there_and_back
check 'run' prints root "$voltctl" run -- id -un

# ---- The sandbox, by what an unprivileged poold can make. ----

pid=$("$voltctl" ps --json | json leases.0.pid)
has_layers()
{
    local layer
    for layer in seccomp landlock namespaces capabilities; do
        "$voltctl" ps --json | json leases.0.layers | grep -q "\"$layer" || { echo "no $layer"; return 1; }
    done
}
check 'the lease names its layers' has_layers
namespaces_are_own()
{
    # its links in /proc/PID/ns are nobody's to read, but these tell: a second pid, and a map of uids
    [ "$(awk '/^NSpid/ { print NF }' "/proc/$pid/status")" = 3 ] || { echo 'no pid namespace'; return 1; }
    ! cmp -s "/proc/$pid/uid_map" /proc/self/uid_map || { echo 'no user namespace'; return 1; }
}
check 'the VM has namespaces of its own' namespaces_are_own
check 'and no capabilities' prints 0000000000000000 awk '/^CapEff/ { print $2 }' "/proc/$pid/status"

# ---- Networks. ----

if [ -n "$network" ]; then
    has_its_address()
    {
        local told
        told=$("$voltctl" ps --json | json leases.0.network.address)
        guest "$id" -- ip addr show eth0 | grep -qF "$told" || { echo "not $told"; return 1; }
    }
    check 'the VM has the address that its lease tells' has_its_address
    # What listens on this host's loopback, by a port of its own, and whom a guest gets there.
    python3 -c '
import socket
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
while True:
    s.accept()[0].close()' >"$work/port" 2>/dev/null &
    server=$!
    until_true 10 test -s "$work/port"
    port=$(cat "$work/port")
    "$voltctl" cp "$VOLT_BUILD/tests/e2e/net_probe" "$id:/bin/net_probe"
    gateway=$("$voltctl" ps --json | json leases.0.network.gateway)
    loopback_is()
    {
        prints "tcp:127.0.0.1:$port $1" guest "$3" --timeout "$(patient 300)s" -- \
            net_probe eth0 "$gateway" "$2" "tcp:127.0.0.1:$port"
    }
    denied()
    {
        [ "$("$voltctl" ps --json | json leases.0.network.dropped.denied)" -ge 1 ]
    }
    allowed_is_reached()
    {
        prints "$(printf '%s answered\n' {tcp,udp}":127.0.0.1:$allowed_port")" \
            guest "$id" --timeout "$(patient 300)s" -- \
            net_probe eth0 "$gateway" "$(patient 12)000" {tcp,udp}":127.0.0.1:$allowed_port"
    }
    check 'what is allowed is reached, by TCP and UDP' allowed_is_reached
    check 'the host'"'"'s loopback is out of its reach' loopback_is silent 1000 "$id"
    check 'and the lease tells that it was tried' until_true 10 denied
    check 'a passt of its own serves it' until_true 10 pgrep -u $nobody -f 'passt .*--fd 3'
    # A port of this user's that the guest sends from stays whose it is; 192.0.2.1 is nobody.
    python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 0))
print(s.getsockname()[1], flush=True)
while True:
    s.sendto(*s.recvfrom(10))' >"$work/udp_port" 2>/dev/null &
    udp_server=$!
    until_true 10 test -s "$work/udp_port"
    udp_port=$(cat "$work/udp_port")
    mine_is_mine()
    {
        guest "$id" --timeout "$(patient 300)s" -- \
            net_probe eth0 "$gateway" 300 "udp:192.0.2.1:9:own=$udp_port" &&
            prints mine python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(60)
s.sendto(b"mine", ("127.0.0.1", int(sys.argv[1])))
print(s.recv(10).decode())' "$udp_port"
    }
    check 'a UDP port that the guest sends from stays whose it is' mine_is_mine
    kill $server $udp_server $allowed_server
else
    kill $allowed_server
    skip 'the VM has the address that its lease tells' 'the package passt is not installed'
fi

# ---- Images. ----

mkdir -p "$work/tree/etc"
echo small >"$work/tree/etc/name"
check 'an image is built' "$voltctl" image build small --from-dir "$work/tree"
check 'and whole' "$voltctl" image verify small

# ---- The end. ----

limit_is_refused()
{
    local said
    said=$(curl -s --unix-socket "$VOLT_RUN_DIR/poold.sock" http://volt/v1/pools \
        -d '{"name": "limited", "memory": "64M", "cpu_percent": 50}')
    [[ $said == *"'cpu_percent' needs control groups"* ]] || { echo "$said"; return 1; }
}
if grep -q 'control groups of VMs: .*no cpu controller' "$log"; then
    check 'a limit that would not be kept is refused' limit_is_refused
else
    skip 'a limit that would not be kept is refused' 'control groups can be written here'
fi
check 'leases go' "$voltctl" release --all
mapfile -t vms < <(pgrep -P "$poold_pid")
check 'there are VMs to stop' test ${#vms[@]} -ge 1
check 'voltctl shutdown' "$voltctl" shutdown
check 'ends poold' until_true 10 process_gone "$poold_pid"
check 'and its VMs' until_true 10 bash -c '! kill -0 "$@" 2>/dev/null' bash "${vms[@]}"
check 'no socket is left' bash -c "! find '$VOLT_RUN_DIR' -type s 2>/dev/null | grep -q ."

# ---- Where users may make no namespaces. ----

has_layers_but_namespaces()
{
    local layers
    layers=$("$voltctl" ps --json | json leases.0.layers)
    [[ $layers == *seccomp* && $layers == *landlock* && $layers == *capabilities* &&
        $layers != *namespaces* ]] || { echo "$layers"; return 1; }
}
export E2E_POOLD_WRAPPER=$here/without_namespaces
if $E2E_POOLD_WRAPPER true; then
    poold_start # not by check: it is to be stopped
    check 'poold starts where no namespace can be made' poold_answers
    check 'its pool is ready' until_true 20 pool_is ready
    id=$(acquire)
    check 'a VM of it runs a command' prints alive guest "$id" -- echo alive
    check 'and its lease tells which layer it lacks' has_layers_but_namespaces
else
    skip 'poold starts where no namespace can be made' 'here that can not be arranged'
fi
