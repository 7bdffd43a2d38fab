/* SPDX-License-Identifier: Apache-2.0 */
/* The store: a directory of snapshots, each a directory with manifest.json, state, memory.img,
 * memory.digests and perhaps disk and working-set. For poold; the VM only fills two fds.
 *
 * How a snapshot comes to be
 *   begin   .NAME.tmp.XXXXXX/ with empty `state` and `memory.img`, whose fds go to the VM
 *   (the VM writes both)
 *   commit  memory.digests, manifest.json; fsync of files and directory; then the directory takes
 *           its name in one rename (an exchange when NAME exists); fsync of the store; the old
 *           snapshot, now under the temporary name, is removed.
 * Invariants
 *   1. NAME is at every moment absent, the old snapshot whole, or the new one whole, on disk too.
 *   2. Everything else is called .NAME.tmp.XXXXXX and may be removed when no transaction is open.
 *   3. A template holds fds, not names: replacing or deleting a snapshot never disturbs it.
 *
 * Threads: everything here blocks on the disk; call it from a thread pool. A txn has one owner at a
 * time. There is one writer of a store (poold holds its lock).
 */
#ifndef VOLT_SNAPSHOT_STORE_H
#define VOLT_SNAPSHOT_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "snapshot/manifest.h"
#include "snapshot/memory.h"
#include "snapshot/sections.h"

#define SNAPSHOT_NAME_BYTES 64u      /* with the NUL */
#define SNAPSHOT_TEMP_NAME_BYTES 80u /* ".NAME.tmp.XXXXXX" */

/* 1 to 63 of a-z 0-9 - _ ., beginning with a letter or digit; maybe with ~ and a number behind. */
bool snapshot_name_valid(const char *name);

struct snapshot_txn {
    int store_fd;  /* borrowed: must outlive the txn */
    int dir_fd;    /* owned, as are the next two */
    int state_fd;  /* empty file, read-write: for CONTROL_SNAPSHOT */
    int memory_fd; /* empty file, read-write */
    int disk_fd;   /* -1, or the delta that the VM writes: snapshot_create_disk */
    char name[SNAPSHOT_NAME_BYTES];
    char temp_name[SNAPSHOT_TEMP_NAME_BYTES];
};

/* Makes the temporary directory (0700) and files (0600). On failure nothing is left. -EINVAL bad
 * name. */
int snapshot_create_begin(int store_fd, const char *name, struct snapshot_txn *ret_txn,
                          struct err *err);

/* Adds an empty file for the delta of a VM that may write its disk; the VM gets it when it boots.
 */
int snapshot_create_disk(struct snapshot_txn *txn, struct err *err);

/* The VM must have closed its copies of the fds, or be dead: nothing may change them from here on.
 * Makes the filled files a snapshot called txn->name. `manifest` has everything but the fields
 * marked (c) in manifest.h, which are filled in. Checks that the VM left a whole state file and
 * memory of manifest->memory_bytes. Whatever the outcome the txn is over: its fds are closed, and
 * on failure the temporary directory is removed and the old snapshot, if any, still stands. */
int snapshot_create_commit(struct snapshot_txn *txn, struct manifest *manifest, struct err *err);

/* Drops a txn: closes fds, removes the directory. Fine on one that is over or whose begin failed.
 */
void snapshot_create_abort(struct snapshot_txn *txn);

/* Opens the directory of a snapshot: for snapshot_open (opened.h), for --snapshot-fd, and for the
 * functions below. -ENOENT no such snapshot. *ret_dirfd is the caller's. */
int snapshot_dir_open(int store_fd, const char *name, int *ret_dirfd, struct err *err);

struct snapshot_info {
    char name[SNAPSHOT_NAME_BYTES];
    struct manifest manifest;   /* valid if error.code is 0 */
    uint64_t disk_bytes;        /* allocated by all files of the snapshot */
    uint64_t working_set_bytes; /* RAM in the recorded working set; 0: none recorded, or unusable */
    struct err error;           /* why the manifest could not be read */
};

/* Fills in what manifest.json and the directory tell; touches no state nor memory. */
int snapshot_inspect(int store_fd, const char *name, struct snapshot_info *ret_info,
                     struct err *err);

/* Every snapshot of the store in order of name; damaged ones come with info->error set. The array
 * is malloc'ed, the caller's. */
int snapshot_list(int store_fd, struct snapshot_info **ret_infos, size_t *ret_count,
                  struct err *err);

/* Takes the name away in one rename, then removes the files; tries again for a moment what fails.
 * -ENOENT. After any other failure it may be called again. */
int snapshot_delete(int store_fd, const char *name, struct err *err);

/* Removes what crashes left (invariant 2), as much of it as can be. *ret_removed may be NULL. Call
 * before any begin. */
int snapshot_store_clean(int store_fd, unsigned *ret_removed, struct err *err);

struct snapshot_verify_report {
    uint64_t checked_bytes; /* of manifest, state, RAM (holes count), working set */
    char file[16];          /* of the failure; "" when ok */
    char section[32];       /* of the failure: a state section, "chunk N", or "" */
};

/* Checks every digest there is. 0, -ECANCELED, or -errno with a sentence
 * and the report's file and section. progress may be NULL. */
int snapshot_verify(int dirfd, memory_progress_fn progress, void *data,
                    struct snapshot_verify_report *ret_report, struct err *err);

#endif
