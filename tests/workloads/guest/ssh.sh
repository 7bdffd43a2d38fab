# SPDX-License-Identifier: Apache-2.0
# A login by key: a command, a terminal, a copy there and back.
# shellcheck shell=sh
mkdir -p /run/sshd .ssh
ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519
cp .ssh/id_ed25519.pub .ssh/authorized_keys
echo 'StrictHostKeyChecking no' >.ssh/config
/usr/sbin/sshd -o LoginGraceTime=0 # it listens when that returns
ssh -n 127.0.0.1 echo over ssh
ssh -tt 127.0.0.1 tty </dev/null | grep /dev/pts
head -c 1000000 /dev/urandom >there
scp -q there 127.0.0.1:back
cmp there back
echo same
