# SPDX-License-Identifier: Apache-2.0
# What each workload begins with: put before its script, in the guest.
# shellcheck shell=sh
set -e
export HOME=/root LC_ALL=C
cd /root

# await COMMAND...: until it succeeds; it never does only if something is broken.
await()
{
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || { echo "never: $*"; return 1; }
        sleep 0.2
    done
}

# serve FOLDER PORT: by http, on loopback.
serve()
{
    busybox httpd -p "127.0.0.1:$2" -h "$1"
}
