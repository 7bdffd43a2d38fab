/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share; nobody else includes this. */
#ifndef VOLT_SNAPSHOT_STORE_INTERNAL_H
#define VOLT_SNAPSHOT_STORE_INTERNAL_H

#include <stdbool.h>

#include "snapshot/store.h"

/* ".NAME.tmp.XXXXXX" with six random characters. */
void store_temp_name(const char *name, char ret_temp_name[SNAPSHOT_TEMP_NAME_BYTES]);

/* True for a name that store_temp_name may have made. */
bool store_temp_name_valid(const char *name);

/* Calls back for every entry of dirfd but "." and ".."; stops at the first negative return. Entries
 * that appear or go meanwhile may or may not be seen. */
int store_for_each(int dirfd, int (*each)(void *data, const char *name, struct err *err),
                   void *data, struct err *err);

/* The steps of a transaction, for who brings its files along: a temporary directory and nothing in
 * it; manifest.json; and the directory's name, for which its files must be on disk. In between,
 * snapshot_create_abort drops it, and afterwards it removes what had that name before. */
int store_txn_begin(int store_fd, const char *name, struct snapshot_txn *ret_txn, struct err *err);
int store_manifest_write(const struct snapshot_txn *txn, const struct manifest *m, struct err *err);
int store_publish(const struct snapshot_txn *txn, struct err *err);

/* What fails for want of an fd, of memory or of room may work a moment later: so often, and with
 * such waits, is tried what would leave something behind. */
#define STORE_TRIES 5u
#define STORE_WAIT_US 10000u

/* Removes a snapshot's directory (files only: a directory in it is refused), or whatever file has
 * that name. 0 also when there is nothing. Tries STORE_TRIES times. */
int store_remove(int store_fd, const char *name, struct err *err);

#endif
