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

/* What fails for want of an fd, of memory or of room may work a moment later: so often, and with
 * such waits, is tried what would leave something behind. */
#define STORE_TRIES 5u
#define STORE_WAIT_US 10000u

/* Removes a snapshot's directory (files only: a directory in it is refused), or whatever file has
 * that name. 0 also when there is nothing. Tries STORE_TRIES times. */
int store_remove(int store_fd, const char *name, struct err *err);

#endif
