/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading of poold.conf and of its drop-ins: which files, whether they may be trusted, and
 * what each section and key in them is. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/trusted_file.h"
#include "base/util.h"
#include "config.h"
#include "declare.h"
#include "settings.h"

#define SETTINGS_SEEN_MAX 64u

struct reading {
    struct config *config;
    struct declarations *declarations;
    const char *file;
    /* In this file: the lines of the settings, and what is found twice. */
    unsigned setting_lines[SETTINGS_SEEN_MAX];
    char (*seen)[176]; /* "pool NAME" and "pool NAME KEY" of its pools, and of functions */
    size_t seen_count;
};

/* ---- Items ---- */

/* Where a whole path is meant: a file's would be relative to wherever poold was started. */
static bool wants_path(const struct setting *setting)
{
    static const char *const kinds[] = { "DIR", "PATH", "FILE", "FILE|auto" };

    for (unsigned i = 0; setting->argument && i < ARRAY_LEN(kinds); i++) {
        if (strcmp(setting->argument, kinds[i]) == 0)
            return true;
    }
    return false;
}

static int unknown_setting(const char *key, struct err *err)
{
    const char *nearest = setting_nearest(key, true);

    return nearest
               ? err_set(err, EINVAL, "there is no setting '%s'; did you mean '%s'?", key, nearest)
               : err_set(err, EINVAL, "there is no setting '%s'; see poold.conf(5)", key);
}

static int setting_take(struct reading *reading, const struct ini_item *item, struct err *err)
{
    const struct setting *setting = setting_find(item->key, strlen(item->key));

    if (!setting)
        return unknown_setting(item->key, err);
    if (setting->use == SETTING_ARGUMENT)
        return err_set(err, EINVAL, "'%s' is for the command line alone", item->key);
    unsigned *line = &reading->setting_lines[setting - settings];
    if (*line)
        return err_set(err, EINVAL, "'%s' is there already, in line %u", item->key, *line);
    *line = item->line;
    if (wants_path(setting) && item->value[0] != '/' && strcmp(item->value, "auto") != 0)
        return err_set(err, EINVAL, "'%s' must be an absolute path, not '%s'", item->key,
                       item->value);
    return setting_store(reading->config, setting, item->key, item->value, err);
}

/* Whether this file has not had the pool or function, or its key, yet. */
static int pool_take(struct reading *reading, const struct ini_item *item, struct err *err)
{
    char what[sizeof reading->seen[0]];
    void *seen;

    snprintf(what, sizeof what, "%s %s %s", item->section, item->name, item->key ? item->key : "");
    for (size_t i = 0; i < reading->seen_count; i++) {
        if (strcmp(reading->seen[i], what) != 0)
            continue;
        return item->key
                   ? err_set(err, EINVAL, "'%s' is there already", item->key)
                   : err_set(err, EINVAL, "[%s %s] is there already", item->section, item->name);
    }
    seen = reallocarray(reading->seen, reading->seen_count + 1, sizeof reading->seen[0]);
    if (!seen)
        return err_set(err, ENOMEM, "out of memory");
    reading->seen = seen;
    memcpy(reading->seen[reading->seen_count++], what, sizeof what);
    return declarations_take(reading->declarations, reading->file, item, err);
}

static int on_item(void *data, const struct ini_item *item, struct err *err)
{
    struct reading *reading = data;

    if (strcmp(item->section, "pool") == 0 || strcmp(item->section, "function") == 0)
        return pool_take(reading, item, err);
    if (strcmp(item->section, "poold") != 0 || *item->name)
        return err_set(
            err, EINVAL,
            "there is no section [%s%s%s]; there are [poold], [pool NAME] and [function NAME]",
            item->section, *item->name ? " " : "", item->name);
    return item->key ? setting_take(reading, item, err) : 0;
}

/* ---- Files ---- */

/* *ret_text is the caller's. */
static int read_whole(int fd, char **ret_text, size_t *ret_bytes, struct err *err)
{
    _cleanup_free_ char *text = malloc(INI_BYTES_MAX + 2);
    size_t bytes = 0;
    ssize_t n;

    if (!text)
        return err_set(err, ENOMEM, "out of memory");
    while ((n = read(fd, text + bytes, INI_BYTES_MAX + 1 - bytes)) > 0)
        bytes += (size_t)n;
    if (n < 0)
        return err_set_errno(err, errno, "can't read it");
    if (bytes > INI_BYTES_MAX)
        return err_set(err, EFBIG, "it is larger than %u bytes", INI_BYTES_MAX);
    text[bytes] = '\0';
    *ret_bytes = bytes;
    *ret_text = take_pointer(&text);
    return 0;
}

/* -ENOENT when it is not there. */
static int file_read(struct config *config, struct declarations *declarations, const char *path,
                     struct err *err)
{
    struct reading reading = { .config = config, .declarations = declarations, .file = path };
    _cleanup_close_ int fd = trusted_file_open(path, err);
    _cleanup_free_ char *text = NULL;
    size_t bytes = 0;
    int rc = fd < 0 ? fd : read_whole(fd, &text, &bytes, err);

    if (rc < 0)
        return err_wrap(err, "%s", path);
    rc = ini_parse(text, bytes, path, on_item, &reading, err);
    free(reading.seen);
    return rc;
}

static int is_drop_in(const struct dirent *entry)
{
    size_t bytes = strlen(entry->d_name);

    return entry->d_name[0] != '.' && bytes > 5 && strcmp(entry->d_name + bytes - 5, ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int drop_ins_read(struct config *config, struct declarations *declarations, struct err *err)
{
    char directory[PATH_MAX + 4], path[2 * PATH_MAX];
    struct dirent **entries;
    int rc = 0;

    snprintf(directory, sizeof directory, "%s.d", config->file);
    int count = scandir(directory, &entries, is_drop_in, by_name);
    if (count < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : err_set_errno(err, errno, "can't list %s", directory);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, entries[i]->d_name);
        if (rc == 0)
            rc = file_read(config, declarations, path, err);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

int config_read_files(struct config *config, bool named, struct declarations *declarations,
                      struct err *err)
{
    int rc = file_read(config, declarations, config->file, err);

    if (rc == -ENOENT && !named)
        rc = 0;
    if (rc == 0)
        rc = drop_ins_read(config, declarations, err);
    if (rc < 0)
        err->code = EBADMSG;
    return rc < 0 ? -EBADMSG : 0;
}
