/* SPDX-License-Identifier: Apache-2.0 */
/* STATE_DIR/pools/NAME.json: what of a pool outlives poold. dir_fd is STATE_DIR/pools. */
#ifndef VOLT_POOLD_HOSTED_FILE_H
#define VOLT_POOLD_HOSTED_FILE_H

#include "host/client_file.h"
#include "vms/pool_keys.h"

/* The file's text, malloc'ed; NULL without memory. maker may be NULL. */
char *hosted_file_format(const struct pool_record *record, const struct client_ids *maker);
/* Replaces the file whole, on disk too. Blocks. */
int hosted_file_write(int dir_fd, const char *name, const char *text, struct err *err);
/* Fills a zeroed record; ret_maker is the caller's, unchanged for NULL. Blocks. 0 or -errno with a
 * sentence. */
int hosted_file_read(int dir_fd, const char *name, struct pool_record *ret_record,
                     struct client_ids **ret_maker, struct err *err);
/* 0 also when there is none. Blocks. */
int hosted_file_delete(int dir_fd, const char *name, struct err *err);

/* The pool's name in "NAME.json"; false for other files. */
bool hosted_file_name(const char *file, char ret_name[POOL_NAME_BYTES]);

#endif
