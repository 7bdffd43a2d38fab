/* SPDX-License-Identifier: Apache-2.0 */
/* A program's arguments by way of a file: a command line is shown to every user of the host (ps), and
 * those of a VM that boots name its pool's files and kernel parameters. */
#ifndef VOLT_BASE_ARGUMENTS_H
#define VOLT_BASE_ARGUMENTS_H

#include "base/err.h"

#define ARGUMENTS_FD_OPTION "--arguments-fd"
#define ARGUMENTS_BYTES_MAX 65536u

/* Writes the strings of NULL-terminated `arguments` into a new memory file, each with its NUL. The
 * fd (close-on-exec) or -errno. */
int arguments_put(char *const arguments[]);

/* If argv from `at` on is ARGUMENTS_FD_OPTION and a number, and no more, puts the strings of that
 * file in their place: *argv is a new array then, for the life of the process, and the fd closed.
 * 0 or -errno with a sentence. */
int arguments_get(int *argc, char ***argv, int at, struct err *err);

#endif
