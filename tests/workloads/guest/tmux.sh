# SPDX-License-Identifier: Apache-2.0
# A session with a terminal of its own.
# shellcheck shell=sh
tmux new-session -d -s one 'tty >/root/tty; echo in tmux >/root/said; sleep 1000'
await test -s said
tmux ls | grep '^one: 1 windows'
grep /dev/pts tty
cat said
tmux kill-server
