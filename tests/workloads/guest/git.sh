# SPDX-License-Identifier: Apache-2.0
# A repository is filled by push and cloned over http.
# shellcheck shell=sh
git init -q --bare -b main served/r.git
git clone -q served/r.git c1 2>/dev/null
cd c1
git config user.email a@example.org
git config user.name n
echo one >file
git add file
git commit -qm one
git push -q origin HEAD:main
cd ../served/r.git
git update-server-info
cd /root
serve served 8000
git clone -q http://127.0.0.1:8000/r.git c2
cat c2/file
