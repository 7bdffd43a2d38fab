/* SPDX-License-Identifier: Apache-2.0 */
/* What a folder is known by, without reading its files. */
#ifndef VOLT_CLI_VOLUME_KEY_H
#define VOLT_CLI_VOLUME_KEY_H

#include "base/err.h"

#define VOLUME_KEY_BYTES 33 /* 32 hex digits and NUL */

/* The digest of every name beneath `dir` (links are not followed) with its inode, mode, owners, size and
 * times of change: another one when anything in it has changed. -ENOENT, ... with a sentence. */
int volume_key(const char *dir, char ret_key[VOLUME_KEY_BYTES], struct err *err);

#endif
