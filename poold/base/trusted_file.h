/* SPDX-License-Identifier: Apache-2.0 */
/* Which files poold does as it is told by: its configuration and its policy. */
#ifndef VOLT_POOLD_TRUSTED_FILE_H
#define VOLT_POOLD_TRUSTED_FILE_H

#include "base/err.h"

/* Opens it read-only, unless somebody else could have written it: it must be a regular file of
 * root's or poold's user's that not everybody may write, or a device (/dev/null). An fd, close-on-exec;
 * -ENOENT, -EPERM, -EINVAL, ... with a sentence without the path. Any thread; blocks. */
int trusted_file_open(const char *path, struct err *err);

#endif
