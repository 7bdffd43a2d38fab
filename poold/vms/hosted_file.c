/* SPDX-License-Identifier: Apache-2.0 */
/* Owns pools/ID.json: its reading, formatting, writing and deletion; see hosted_file.h. */
#include "vms/hosted_file.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/state_file.h"
#include "http/json_keys.h"

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

int hosted_file_write(int dir_fd, const char *id, const char *text, struct err *err)
{
    return state_file_write(dir_fd, id, text, err) < 0 ? err_wrap(err, "pools") : 0;
}

int hosted_file_delete(int dir_fd, const char *id, struct err *err)
{
    /* Should a crash bring it back: a pool without a snapshot fails to load and can be deleted. */
    return state_file_delete(dir_fd, id, err) < 0 ? err_wrap(err, "pools") : 0;
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

int hosted_file_read(int dir_fd, const char *id, struct pool_record *ret_record,
                     struct client_ids **ret_maker, struct err *err)
{
    json_t *root = state_file_read(dir_fd, id, err);
    int rc;

    if (!root)
        return -EINVAL;
    rc = maker_take(root, id, ret_maker, err);
    if (rc == 0)
        rc = json_keys_read(root, pool_record_table.keys, pool_record_table.key_count, ret_record,
                            err);
    json_decref(root);
    return rc;
}

void hosted_id(const char *name, uint32_t generation, char ret_id[POOL_NAME_BYTES])
{
    if (generation)
        snprintf(ret_id, POOL_NAME_BYTES, "%s~%" PRIu32, name, generation);
    else
        snprintf(ret_id, POOL_NAME_BYTES, "%s", name);
}

bool hosted_file_name(const char *file, char ret_name[POOL_NAME_BYTES], uint32_t *ret_generation)
{
    char id[STATE_NAME_BYTES];
    char *mark, again[POOL_NAME_BYTES];

    static_assert(POOL_NAME_BYTES == STATE_NAME_BYTES, "any pool's name fits");
    if (!state_file_name(file, ret_name))
        return false;
    memcpy(id, ret_name, sizeof id);
    mark = strchr(ret_name, '~');
    if (mark)
        *mark = '\0';
    *ret_generation = mark ? (uint32_t)strtoul(mark + 1, NULL, 10) : 0;
    hosted_id(ret_name, *ret_generation, again);
    return pool_name_valid(ret_name) && strcmp(again, id) == 0;
}
