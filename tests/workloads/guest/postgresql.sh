# SPDX-License-Identifier: Apache-2.0
# A cluster is started, filled, asked for 1,000 transactions by its own benchmark, and stopped.
# shellcheck shell=sh
pg_ctlcluster 15 main start -- -t 1000 # s
su postgres -c 'pgbench -i -q'
su postgres -c 'pgbench -n -t 1000' | tee said
grep -q 'transactions actually processed: 1000/1000' said
pg_ctlcluster 15 main stop -- -t 1000
echo stopped
