# SPDX-License-Identifier: Apache-2.0
# Goal: what `meson install` puts into a prefix works from there, wherever the prefix is, without
# $HOME and anything else of the environment: programs, guest kernel and initramfs are found.
# Method: installed into a folder of its own, which is then moved; its poold checks a configuration
# with a pool, and serves the pool that all scenarios share.
# shellcheck shell=bash source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

readonly prefix=$work/moved/here
install_it()
{
    DESTDIR=$work/destdir meson install -C "$VOLT_BUILD" --no-rebuild --quiet || return 1
    local where
    where=$(meson introspect --buildoptions "$VOLT_BUILD" | python3 -c '
import json, sys
print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
    mkdir -p "$work/moved" && mv "$work/destdir$where" "$prefix"
}
if ! meson introspect --buildoptions "$VOLT_BUILD" >/dev/null 2>&1; then # in the machine of tests/hwkvm
    echo 'ok 1 - meson install # SKIP there is no meson here'
    test_count=1
    exit 0
fi
check 'meson install' install_it
has_all()
{
    local name
    for name in bin/{poold,voltctl,volt-vmm} lib/volt/{volt-init,initramfs.cpio} \
        lib/systemd/system/poold.{service,socket} share/man/man{1/voltctl.1,5/poold.conf.5} \
        share/man/man8/{poold,volt-vmm,volt-init}.8 share/zsh/site-functions/_voltctl; do
        [ -s "$prefix/$name" ] || { echo "no $name"; return 1; }
    done
}
check 'programs, guest, units, manual pages and completion' has_all
finds_kernel()
{
    printf '[pool a]\nmin = 1\n' >"$work/poold.conf"
    env -i "$prefix/bin/poold" --config "$work/poold.conf" --check-config
}
check 'poold finds a kernel and its initramfs there, without $HOME' finds_kernel
names_its_prefix()
{
    mv "$prefix/lib/volt" "$prefix/lib/elsewhere"
    local status=0
    fails_saying 78 'no guest kernel was found' env -i "$prefix/bin/poold" --config "$work/poold.conf" --check-config || status=1
    mv "$prefix/lib/elsewhere" "$prefix/lib/volt"
    return $status
}
check 'and nowhere else' names_its_prefix
serves()
{
    shared_make && cp -a --sparse=always "$E2E_SHARED/state" "$VOLT_STATE_DIR" || return 1
    # shellcheck disable=SC2086 # several options
    env -i "$prefix/bin/poold" --config /dev/null --run-dir "$VOLT_RUN_DIR" --state-dir "$VOLT_STATE_DIR" \
        --ready-timeout-ms 120000 --awake-timeout-ms 60000 --setup-timeout-ms 60000 \
        ${E2E_POOLD_OPTIONS:-} </dev/null >>"$log" 2>&1 &
    echo $! >"$work/pid"
    voltctl=$prefix/bin/voltctl
    until_true 20 pool_is ready && prints alive env -i VOLT_RUN_DIR="$VOLT_RUN_DIR" "$prefix/bin/voltctl" run -- echo alive
}
check 'it serves a pool, with its own volt-vmm' serves
poold_pid=$(cat "$work/pid")
own_programs()
{
    local pid exe
    for pid in $(pgrep -P "$poold_pid"); do
        exe=$(readlink "/proc/$pid/exe")
        case $(cat "/proc/$pid/comm"):$exe in
            poold-keeper:$prefix/bin/poold | *:$prefix/bin/volt-vmm) ;;
            *) echo "$exe"; return 1 ;;
        esac
    done
}
check 'which is what runs' own_programs
