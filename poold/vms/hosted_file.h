/* SPDX-License-Identifier: Apache-2.0 */
/* STATE_DIR/pools/ID.json: what of a pool outlives poold. dir_fd is STATE_DIR/pools. */
#ifndef VOLT_POOLD_HOSTED_FILE_H
#define VOLT_POOLD_HOSTED_FILE_H

#include "host/client_file.h"
#include "vms/pool_keys.h"

/* The file's text, malloc'ed; NULL without memory. maker may be NULL. */
char *hosted_file_format(const struct pool_record *record, const struct client_ids *maker);
/* Replaces the file whole, on disk too. Blocks. */
int hosted_file_write(int dir_fd, const char *id, const char *text, struct err *err);
/* Fills a zeroed record; ret_maker is the caller's, unchanged for NULL. Blocks. 0 or -errno with a
 * sentence. */
int hosted_file_read(int dir_fd, const char *id, struct pool_record *ret_record,
                     struct client_ids **ret_maker, struct err *err);
/* 0 also when there is none. Blocks. */
int hosted_file_delete(int dir_fd, const char *id, struct err *err);

/* The name of all that a generation of a pool has on disk: NAME, or NAME~GENERATION. */
void hosted_id(const char *name, uint32_t generation, char ret_id[POOL_NAME_BYTES]);
/* What "ID.json" is of; false for other files. */
bool hosted_file_name(const char *file, char ret_name[POOL_NAME_BYTES], uint32_t *ret_generation);

#endif
