/* SPDX-License-Identifier: Apache-2.0 */
/* What poold does with the snapshot store, in terms of pools and JSON. Everything here blocks:
 * thread pool (and start-up) only. store_fd is STATE_DIR/snapshots. */
#ifndef VOLT_POOLD_SNAPSTORE_H
#define VOLT_POOLD_SNAPSTORE_H

#include <jansson.h>

#include "base/err.h"
#include "snapshot/store.h"
#include "vms/pool_files.h"
#include "vms/pool_spec.h"

/* The making of one snapshot. */
struct snapstore_job {
    struct snapshot_txn txn;
    struct manifest manifest;
};

/* Digests kernel and initrd and opens a transaction. */
int snapstore_begin(struct snapstore_job *job, int store_fd, const char *name,
                    const struct pool_spec *spec, const struct pool_files *files, struct err *err);
/* The VM has filled the files. */
int snapstore_commit(struct snapstore_job *job, uint64_t cold_boot_ms, uint64_t stopped_ns,
                     struct err *err);

/* A directory fd for --snapshot-fd, after a check that the manifest can be read, and whether there
 * is a working set. */
int snapstore_open(int store_fd, const char *name, int *ret_fd, bool *ret_has_working_set,
                   struct err *err);

/* Records what process pid has touched of the snapshot's memory, as its working set; *ret_fd is the
 * new file, read-only. ret_bytes: of RAM. */
int snapstore_record(int store_fd, const char *name, pid_t pid, int *ret_fd, uint64_t *ret_bytes,
                     struct err *err);

/* The bodies of GET /v1/snapshots, GET /v1/snapshots/NAME and POST .../verify; the caller's. NULL
 * with err on failure (-ENOENT: no such snapshot). */
json_t *snapstore_list(int store_fd, struct err *err);
json_t *snapstore_inspect(int store_fd, const char *name, struct err *err);
json_t *snapstore_verify(int store_fd, const char *name, struct err *err);

#endif
