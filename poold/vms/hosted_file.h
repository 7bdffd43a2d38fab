/* SPDX-License-Identifier: Apache-2.0 */
/* STATE_DIR/pools/NAME.json: what of a pool outlives poold. */
#ifndef VOLT_POOLD_HOSTED_FILE_H
#define VOLT_POOLD_HOSTED_FILE_H

#include "vms/vms.h"

/* The file's text, malloc'ed; NULL without memory. Loop thread. */
char *hosted_file_format(const struct hosted_pool *hosted);
/* Replaces the file whole, on disk too. Blocks. */
int hosted_file_write(int dir_fd, const char *name, const char *text, struct err *err);
/* 0 also when there is none. Blocks. */
int hosted_file_delete(int dir_fd, const char *name, struct err *err);

/* Adds a pool without starting anything (hosted.c). */
struct hosted_pool *hosted_add(struct vms *vms, const char *name);

#endif
