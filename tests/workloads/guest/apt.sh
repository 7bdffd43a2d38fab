# SPDX-License-Identifier: Apache-2.0
# A package is made, put into a mirror, and installed from it.
# shellcheck shell=sh
mkdir -p build/DEBIAN build/usr/bin mirror
cat >build/DEBIAN/control <<CONTROL
Package: volt-hello
Version: 1
Architecture: all
Maintainer: nobody <n@example.org>
Description: says it
CONTROL
printf '#!/bin/sh\necho installed\n' >build/usr/bin/volt-hello
chmod 755 build/usr/bin/volt-hello
dpkg-deb --root-owner-group -b build mirror/volt-hello.deb
(cd mirror && dpkg-scanpackages . >Packages)
serve mirror 8001
echo 'deb [trusted=yes] http://127.0.0.1:8001 ./' >/etc/apt/sources.list
apt-get update -q
apt-get install -y -q volt-hello
volt-hello
