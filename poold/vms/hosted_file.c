/* SPDX-License-Identifier: Apache-2.0 */
/* Owns pools/NAME.json: its reading, formatting, writing and deletion; see hosted_file.h. */
#include "vms/hosted_file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "http/json_keys.h"

#define FILE_NAME_BYTES (POOL_NAME_BYTES + 16)

char *hosted_file_format(const struct pool_record *record, const struct client_ids *maker)
{
    json_t *root = json_keys_write(&pool_record_table, record);
    char *text = NULL;

    if (root &&
        json_object_set_new(root, "maker", maker ? client_ids_format(maker) : json_null()) == 0)
        text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    return text;
}

int hosted_file_write(int dir_fd, const char *name, const char *text, struct err *err)
{
    char file[FILE_NAME_BYTES], temporary[FILE_NAME_BYTES];
    _cleanup_close_ int fd = -1;
    int rc;

    snprintf(file, sizeof file, "%s.json", name);
    snprintf(temporary, sizeof temporary, ".%s.tmp", name);
    fd = openat(dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    rc = fd < 0 ? -errno : pwrite_all(fd, text, strlen(text), 0);
    if (rc == 0 &&
        (fsync(fd) < 0 || renameat(dir_fd, temporary, dir_fd, file) < 0 || fsync(dir_fd) < 0))
        rc = -errno;
    if (rc < 0)
        unlinkat(dir_fd, temporary, 0);
    return rc < 0 ? err_set_errno(err, -rc, "can't write pools/%s", file) : 0;
}

int hosted_file_delete(int dir_fd, const char *name, struct err *err)
{
    char file[FILE_NAME_BYTES];

    snprintf(file, sizeof file, "%s.json", name);
    if (unlinkat(dir_fd, file, 0) < 0 && errno != ENOENT)
        return err_set_errno(err, errno, "can't remove pools/%s", file);
    /* Should a crash bring it back: a pool without a snapshot fails to load and can be deleted. */
    fsync(dir_fd);
    return 0;
}

static json_t *file_parse(int dir_fd, const char *file, struct err *err)
{
    _cleanup_close_ int fd = openat(dir_fd, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    json_error_t error;
    json_t *root;

    if (fd < 0) {
        err_set_errno(err, errno, "can't open it");
        return NULL;
    }
    root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        err_set(err, EINVAL, "line %d: %s", error.line, error.text);
    return root;
}

/* Takes who made it out of the file's object. Earlier versions did not note that, and opened all
 * files as poold. */
static int maker_take(json_t *root, const char *name, struct client_ids **ret_maker,
                      struct err *err)
{
    const json_t *maker = json_object_get(root, "maker");
    const char *disk = json_string_value(json_object_get(root, "disk"));
    int rc = 0;

    if (maker && !json_is_null(maker))
        rc = client_ids_parse(maker, ret_maker, err);
    if (!maker && disk && *disk)
        log_pool(LOG_LEVEL_WARN, name,
                 "pool '%s' was made by an earlier poold, which did not note for whom: its disk %s "
                 "is opened with poold's own rights; make the pool anew if that should not be",
                 name, disk);
    json_object_del(root, "maker");
    return rc < 0 ? err_wrap(err, "'maker'") : 0;
}

int hosted_file_read(int dir_fd, const char *name, struct pool_record *ret_record,
                     struct client_ids **ret_maker, struct err *err)
{
    char file[FILE_NAME_BYTES];
    json_t *root;
    int rc;

    snprintf(file, sizeof file, "%s.json", name);
    root = file_parse(dir_fd, file, err);
    if (!root)
        return -EINVAL;
    rc = maker_take(root, name, ret_maker, err);
    if (rc == 0)
        rc = json_keys_read(root, pool_record_table.keys, pool_record_table.key_count, ret_record,
                            err);
    json_decref(root);
    return rc;
}

bool hosted_file_name(const char *file, char ret_name[POOL_NAME_BYTES])
{
    size_t len = strlen(file);

    if (len < 6 || len - 5 >= POOL_NAME_BYTES || strcmp(file + len - 5, ".json") != 0)
        return false;
    memcpy(ret_name, file, len - 5);
    ret_name[len - 5] = '\0';
    return pool_name_valid(ret_name);
}
