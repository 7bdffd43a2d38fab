# SPDX-License-Identifier: Apache-2.0
# Goal: the Debian packages are built by one command without an error of lintian's, installed into a
# clean Debian, and do the main job there, under a real systemd: readiness, reload, restart, watchdog,
# socket activation, the journal, the group, upgrade, removal and purge.
# Method: a root made by mmdebstrap, whose systemd boot-root boots in namespaces. Packages that are
# "newer" are those that were built, under another version. Restarts are in restarts.sh.
# shellcheck shell=bash source=tests/e2e/lib.sh
export VOLT_KERNEL=auto
. "$(dirname "$0")/../e2e/lib.sh"

here=$root/tests/package
readonly debian=$work/debian
# Packages that were built already, to try a change of the test.
readonly packages=${VOLT_PACKAGES:-$work/packages}
boot_pid=

[ "$(id -u)" = 0 ] || skip_all 'the Debian packages' 'booting a systemd needs root'
why=$(unshare --mount --pid --fork --uts --ipc --cgroup true 2>&1) || skip_all 'the Debian packages' "no namespaces here: $why"

inside()
{
    "$here/boot-root" --enter "$debian" "$@"
}
debian_stop()
{
    [ -n "$boot_pid" ] || return 0
    inside systemctl stop poold.socket poold.service >/dev/null 2>&1
    kill "$boot_pid" 2>/dev/null
    wait "$boot_pid" 2>/dev/null
    boot_pid=
}
trap 'package_status=$?; debian_stop; (exit $package_status); finish' EXIT

# ---- Building ----

if [ -z "${VOLT_PACKAGES:-}" ]; then
    check 'the packages are built by one command, and lintian finds no error' \
        "$root/poold/build-package" --output "$packages"
fi
built=("$packages"/volt_*.deb "$packages"/volt-guest_*.deb)
[ -f "${built[1]}" ] || { echo 'Bail out! no packages to test'; exit 1; }
has_both_kernels()
{
    local wanted
    dpkg-deb -c "${built[1]}" >"$work/contents"
    for wanted in kernel/vmlinux stock/vmlinuz stock/initramfs.cpio initramfs.cpio; do
        grep -q " ./usr/lib/volt/$wanted\$" "$work/contents" || { echo "no $wanted"; return 1; }
    done
}
check 'both kinds of KVM have a kernel in it' has_both_kernels
pages_are_good()
{
    local page
    dpkg-deb -x "${built[0]}" "$work/unpacked"
    for page in "$work"/unpacked/usr/share/man/man*/*; do
        [ -z "$(man --warnings -l "$page" 2>&1 >/dev/null)" ] || { echo "$page"; return 1; }
    done
    ls "$work"/unpacked/usr/share/man/man{1/voltctl.1.gz,5/poold.conf.5.gz,8/poold.8.gz,8/volt-vmm.8.gz,8/volt-gate.8.gz,8/volt-e2b.8.gz,8/volt-init.8.gz}
}
check 'all programs and the configuration have manual pages' pages_are_good

# ---- A clean Debian ----

debian_make()
{
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus \
        --aptopt='APT::Install-Recommends "false"' bookworm "$debian" 2>"$work/mmdebstrap" ||
        { tail -n 5 "$work/mmdebstrap"; return 1; }
    cp "${built[@]}" "$debian/root/" && mkdir -p "$debian/etc/systemd/journald.conf.d" &&
        printf '[Journal]\nAudit=no\n' >"$debian/etc/systemd/journald.conf.d/test.conf" # it would be this host's
}
check 'a clean Debian is made' debian_make
"$here/boot-root" "$debian" "volt-test-$$" >"$work/boot.log" 2>&1 &
boot_pid=$!
is_up()
{
    [ "$(inside systemctl is-system-running)" = running ]
}
check 'its systemd is up' until_true 30 is_up

# install VERSION-OPTIONS... : the packages in its /root
install_all()
{
    inside env DEBIAN_FRONTEND=noninteractive sh -c \
        'apt-get update -qq && apt-get install -y -qq --no-install-recommends passt iproute2 procps /root/*.deb' >"$work/apt" 2>&1 ||
        { tail -n 10 "$work/apt"; return 1; }
}
check 'the packages are installed' install_all
ctl()
{
    inside voltctl "$@"
}
main_pid()
{
    inside systemctl show -P MainPID poold.service
}
check 'poold runs' inside systemctl is-active poold.service poold.socket
check 'its configuration is right' inside poold --check-config
group_has_socket()
{
    prints 'root volt 660' inside stat -c '%U %G %a' /run/volt/poold.sock
}
check 'the socket is the group'"'"'s' group_has_socket
check 'doctor finds no error' ctl doctor

# ---- The main job, from a declared pool ----

# Patient with guests, as on all machines that are busy.
cat >"$debian/etc/volt/poold.conf.d/10-test.conf" <<END
[poold]
ready-timeout-ms = 120000
awake-timeout-ms = 60000
setup-timeout-ms = 60000
boot-timeout-ms = 600000
[pool default]
min = 2
max = 8
warmup = true
END
pool_inside()
{
    ctl pool show default --json | json "$1"
}
pools_are_made()
{
    inside systemctl restart poold.service && prints ready pool_inside state
}
check 'a restart is over when the declared pool is ready' pools_are_made
main_job()
{
    local id
    id=$(ctl acquire --wait "$(patient 20)s") || return 1
    echo there >"$debian/root/file"
    ctl exec "$id" -- uname -s && ctl cp /root/file "$id:/root/file" &&
        prints there ctl exec "$id" -- cat /root/file && ctl release "$id"
}
check 'a lease, a command, a file' main_job
check 'run' prints alive ctl run -- echo alive
layers_are_there()
{
    local id layer
    id=$(ctl acquire --wait "$(patient 20)s") || return 1
    ctl ps --json >"$work/ps"
    ctl release "$id"
    for layer in seccomp capabilities landlock namespaces uid; do
        grep -q "\"$layer" "$work/ps" || { echo "no $layer"; return 1; }
    done
}
check 'VMs have all layers of their sandbox in the unit'"'"'s own' layers_are_there
check 'a pool with passt' ctl pool create net --net user --min 1 --max 4
check 'has a network' prints 1 inside sh -c 'voltctl run net -- ip -o -4 addr show eth0 | grep -c "inet "'
check 'a pool with taps' ctl pool create taps --net tap --min 1 --max 4
check 'has one' prints 1 inside sh -c 'voltctl run taps -- ip -o -4 addr show eth0 | grep -c "inet "'
check 'and they are deleted' inside sh -c 'voltctl pool delete net --force && voltctl pool delete taps --force'

# ---- The service ----

has_journal_fields()
{
    inside journalctl --no-pager -o json VOLT_POOL=default >"$work/journal" && python3 - "$work/journal" <<'PYTHON'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert any(line["MESSAGE"] == "pool 'default' is ready" and line["PRIORITY"] == "6" and
           line["_SYSTEMD_UNIT"] == "poold.service" for line in lines), lines[-3:]
PYTHON
}
check 'the journal has fields of its lines' has_journal_fields
reload_refuses()
{
    echo 'nonsense = 1' >"$debian/etc/volt/poold.conf.d/20-wrong.conf"
    ! inside systemctl reload poold.service 2>/dev/null || { echo 'it was taken'; return 1; }
    rm "$debian/etc/volt/poold.conf.d/20-wrong.conf"
    prints active inside systemctl is-active poold.service
}
check 'a reload with a wrong configuration fails, and poold goes on' reload_refuses
reload_takes()
{
    sed -i 's/^max = .*/max = 9/' "$debian/etc/volt/poold.conf.d/10-test.conf"
    inside systemctl reload poold.service && prints 9 pool_inside max
}
check 'a reload with a right one takes it' reload_takes
pid_is_another()
{
    local now
    now=$(main_pid)
    [ "$now" != 0 ] && [ "$now" != "$1" ] && ctl status >/dev/null
}
watchdog_bites()
{
    local pid
    mkdir -p "$debian/etc/systemd/system/poold.service.d"
    printf '[Service]\nWatchdogSec=%ss\n' "$(patient 1)" >"$debian/etc/systemd/system/poold.service.d/test.conf"
    inside systemctl daemon-reload && inside systemctl restart poold.service || return 1
    pid=$(main_pid)
    inside systemctl kill --kill-who=main -s STOP poold.service && until_true 30 pid_is_another "$pid" || return 1
    inside journalctl --no-pager -o cat -u poold.service >"$work/journal"
    grep 'Watchdog timeout' "$work/journal" || { echo 'no watchdog'; return 1; }
    rm -r "$debian/etc/systemd/system/poold.service.d"
    inside systemctl daemon-reload
}
check 'a poold that hangs is started again by the watchdog' watchdog_bites
pool_is_ready()
{
    [ "$(pool_inside state)" = ready ]
}
check 'with its pool, and without a boot' until_true 30 pool_is_ready
killed_comes_back()
{
    local pid
    pid=$(main_pid)
    inside systemctl kill --kill-who=main -s KILL poold.service && until_true 30 pid_is_another "$pid" && until_true 30 pool_is_ready
}
check 'a poold that is killed is started again' killed_comes_back
socket_activates()
{
    inside systemctl stop poold.service || return 1
    prints inactive exits_any inside systemctl is-active poold.service || return 1
    ctl pool list >/dev/null && until_true 30 inside systemctl is-active poold.service
}
exits_any()
{
    "$@" || true
}
check 'a client of the socket starts poold' socket_activates
clients_wait()
{
    local client status
    inside systemctl restart poold.service &
    ctl status >"$work/status"
    status=$?
    wait $!
    return $status
}
check 'a client that comes while it restarts waits, and is served' clients_wait
group_may_acquire()
{
    inside useradd -m -G volt tester && inside useradd -m stranger &&
        prints alive inside setpriv --reuid tester --init-groups voltctl run -- echo alive || return 1
    ! inside setpriv --reuid stranger --regid stranger --clear-groups voltctl status 2>/dev/null ||
        { echo 'a stranger may'; return 1; }
}
check 'members of the group volt may acquire, others may not connect' group_may_acquire
# shellcheck source=tests/package/restarts.sh
. "$here/restarts.sh"
boots_are()
{
    local count
    count=$(inside journalctl --no-pager -o cat VOLT_POOL=default | grep -c "is booting")
    [ "$count" = "$1" ] || { echo "$count boots"; return 1; }
}
check 'in all of this it has booted once' boots_are 1

# ---- Upgrade, removal, purge ----

# The packages under the next version.
upgrade_make()
{
    local deb name
    for deb in "${built[@]}"; do
        name=$(basename "$deb")
        dpkg-deb -R "$deb" "$work/next" && sed -i -e 's/0\.1\.0/0.1.0+next/' "$work/next/DEBIAN/control" &&
            dpkg-deb --root-owner-group -b "$work/next" "$debian/root/$name" >/dev/null && rm -r "$work/next" || return 1
    done
}
upgrades()
{
    local pid
    pid=$(main_pid)
    echo '# by the administrator' >>"$debian/etc/volt/poold.conf"
    upgrade_make && install_all && until_true 30 pid_is_another "$pid" && until_true 30 pool_is_ready || return 1
    prints 0.1.0+next inside dpkg-query -W -f '${Version}' volt || return 1
    grep -q 'by the administrator' "$debian/etc/volt/poold.conf" || { echo 'its configuration is lost'; return 1; }
}
outlives upgraded upgrades
check 'with its pools and configuration, again without a boot' boots_are 1
restarts_end
removes()
{
    inside env DEBIAN_FRONTEND=noninteractive apt-get remove -y -qq volt >"$work/apt" 2>&1 || { cat "$work/apt"; return 1; }
    until_true 10 none_runs || return 1
    [ -d "$debian/var/lib/volt/snapshots/default" ] || { echo 'its pools are gone'; return 1; }
}
check 'removed, nothing runs, and pools are kept' removes
purges()
{
    rm "$debian/etc/volt/poold.conf.d/10-test.conf" # the administrator's
    inside env DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq volt volt-guest >"$work/apt" 2>&1 || { cat "$work/apt"; return 1; }
    ! find "$debian"/{etc,var/lib,usr/lib,usr/bin,run} -name '*volt*' ! -path '*/dpkg/*' ! -path '*/apt/*' ! -path '*deb-systemd*' | grep . ||
        return 1
}
check 'purged, nothing is left' purges
debian_stop
check 'its systemd leaves nothing behind' until_true 10 bash -c "! ls -d /sys/fs/cgroup/{,systemd/}volt-test-$$ 2>/dev/null"
