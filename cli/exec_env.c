/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the list of a command's variables; see exec_env.h. */
#include "exec_env.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* Where the variable of that name is, or the end of the list. */
static size_t find(const struct exec_env *env, const char *name, size_t name_bytes)
{
    size_t i = 0;

    while (i < env->count &&
           (strncmp(env->items[i], name, name_bytes) != 0 || env->items[i][name_bytes] != '='))
        i++;
    return i;
}

static int set(struct exec_env *env, const char *name, size_t name_bytes, const char *value,
               struct err *err)
{
    size_t at = find(env, name, name_bytes);
    char *item = NULL;

    if (at == env->count) {
        char **items = realloc(env->items, (env->count + 1) * sizeof *items);

        if (!items)
            return err_set(err, ENOMEM, "out of memory");
        env->items = items;
        env->items[env->count++] = NULL;
    }
    if (asprintf(&item, "%.*s=%s", (int)name_bytes, name, value) < 0)
        item = NULL;
    free(env->items[at]);
    env->items[at] = item;
    if (item)
        return 0;
    env->items[at] = env->items[--env->count];
    return err_set(err, ENOMEM, "out of memory");
}

int exec_env_add(struct exec_env *env, const char *item, struct err *err)
{
    size_t name_bytes = strcspn(item, "=");
    const char *value = item[name_bytes] ? item + name_bytes + 1 : getenv(item);

    if (name_bytes == 0)
        return err_set(err, EINVAL, "a variable is NAME=VALUE, or NAME, but not '%s'", item);
    return value ? set(env, item, name_bytes, value, err) : 0;
}

int exec_env_default(struct exec_env *env, const char *item, struct err *err)
{
    return find(env, item, strcspn(item, "=")) < env->count ? 0 : exec_env_add(env, item, err);
}

static int add_line(struct exec_env *env, char *line, struct err *err)
{
    char *item = line + strspn(line, " \t"), *end = item + strlen(item);

    while (end > item && (end[-1] == '\n' || end[-1] == '\r'))
        *--end = '\0';
    if (*item == '\0' || *item == '#')
        return 0;
    for (const char *at = item; *at && *at != '='; at++)
        if (isspace((unsigned char)*at))
            return err_set(err, EINVAL, "a variable's name has no blanks in it, as '%s' has", item);
    return exec_env_add(env, item, err);
}

int exec_env_add_stream(struct exec_env *env, FILE *file, const char *name, struct err *err)
{
    _cleanup_free_ char *line = NULL;
    size_t room = 0;
    unsigned number = 0;
    int rc = 0;

    while (rc == 0 && (errno = 0, getline(&line, &room, file)) >= 0) {
        number++;
        rc = add_line(env, line, err);
    }
    if (rc < 0)
        return err_wrap(err, "%s, line %u", name, number);
    return feof(file) ? 0 : err_set_errno(err, errno, "%s", name);
}

int exec_env_add_file(struct exec_env *env, const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    char name[ERR_MSG_BYTES];
    int rc;

    snprintf(name, sizeof name, "--env-file %s", path);
    if (!file)
        return err_set_errno(err, errno, "%s", name);
    rc = exec_env_add_stream(env, file, name, err);
    fclose(file);
    return rc;
}

void exec_env_fini(struct exec_env *env)
{
    for (size_t i = 0; i < env->count; i++)
        free(env->items[i]);
    free(env->items);
    *env = (struct exec_env){ 0 };
}
