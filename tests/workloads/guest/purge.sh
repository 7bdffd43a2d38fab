# SPDX-License-Identifier: Apache-2.0
# Packages of the image go away whole, and so do its folders.
# shellcheck shell=sh
dpkg --purge tmux
test ! -e /usr/bin/tmux
audit=$(dpkg --audit)
test -z "$audit"
rm -r /usr/share/doc/git /usr/lib/ccache
mkdir /usr/lib/ccache
test -z "$(ls -A /usr/lib/ccache)"
echo gone
