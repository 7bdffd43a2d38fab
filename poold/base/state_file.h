/* SPDX-License-Identifier: Apache-2.0 */
/* Files NAME.json in a folder of the state directory: what poold keeps of one of its objects. A file
 * is replaced whole or not at all. Any thread; blocks. */
#ifndef VOLT_POOLD_STATE_FILE_H
#define VOLT_POOLD_STATE_FILE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

#define STATE_NAME_BYTES 64

/* Each 0, or -errno with a sentence. */
int state_file_write(int dir_fd, const char *name, const char *text, struct err *err);
/* One that is not there is deleted. */
int state_file_delete(int dir_fd, const char *name, struct err *err);
/* The object, which is the caller's; NULL with a sentence. */
json_t *state_file_read(int dir_fd, const char *name, struct err *err);

/* Removes what a poold that was killed while it wrote has left: at start, before anything is written. */
void state_files_tidy(int dir_fd);

/* Whether `file` is NAME.json; the caller knows what names there are. */
bool state_file_name(const char *file, char ret_name[STATE_NAME_BYTES]);

#endif
