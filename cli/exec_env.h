/* SPDX-License-Identifier: Apache-2.0 */
/* The variables that a command in a guest gets from voltctl: a list in which every name is once. */
#ifndef VOLT_CLI_EXEC_ENV_H
#define VOLT_CLI_EXEC_ENV_H

#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

/* Zeroed at first; exec_env_fini frees it. */
struct exec_env {
    char **items; /* "K=V", owned */
    size_t count;
};

/* Sets "K=V"; "K" alone is our own value of it, and nothing when it is unset. What was set before
 * under the name is replaced. 0, -EINVAL with a sentence when there is no name, -ENOMEM. */
int exec_env_add(struct exec_env *env, const char *item, struct err *err);

/* The same, unless there is one of that name. */
int exec_env_default(struct exec_env *env, const char *item, struct err *err);

/* Adds the lines of a file, but for empty ones and those that begin with '#'. Blanks before an item
 * do not count, everything behind '=' does, quotes too. Failures name the line. */
int exec_env_add_file(struct exec_env *env, const char *path, struct err *err);

/* The same of a stream (borrowed), which failures call `name`. */
int exec_env_add_stream(struct exec_env *env, FILE *file, const char *name, struct err *err);

void exec_env_fini(struct exec_env *env);
#define _cleanup_exec_env_ __attribute__((cleanup(exec_env_fini)))

#endif
