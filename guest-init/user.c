/* SPDX-License-Identifier: Apache-2.0 */
/* Looking up users and groups: see user.h. */
#include "user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES 8192u           /* of etc/group, whose lines list users; what is longer is cut */
#define TABLE_BYTES_MAX (4u << 20) /* what is behind is not read: volt-init does nothing else */
#define FIELDS_MAX 7
#define ID_MAX 0xfffffffe /* -1 is none */

/* A file that is read by lines of fields that are separated by colons. */
struct table {
    int fd;
    size_t fill, at; /* of data: read, and given out */
    size_t left;     /* to be read */
    char data[2048];
    char line[LINE_BYTES];
    char *fields[FIELDS_MAX]; /* of the line; "" where there is none */
};

static int table_byte(struct table *table)
{
    if (table->at == table->fill) {
        ssize_t count = read(table->fd, table->data, MIN_OF(sizeof(table->data), table->left));

        if (count <= 0)
            return -1;
        table->fill = (size_t)count;
        table->left -= table->fill;
        table->at = 0;
    }
    return (unsigned char)table->data[table->at++];
}

static void fields_split(struct table *table)
{
    static char none[] = "";
    char *at = table->line;

    for (int i = 0; i < FIELDS_MAX; i++) {
        table->fields[i] = at ? at : none;
        at = at ? strchr(at, ':') : NULL;
        if (at)
            *at++ = '\0';
    }
}

static bool table_next(struct table *table)
{
    size_t length = 0;
    int byte = table_byte(table);

    if (byte < 0)
        return false;
    for (; byte >= 0 && byte != '\n'; byte = table_byte(table))
        if (length + 1 < LINE_BYTES)
            table->line[length++] = (char)byte;
    table->line[length] = '\0';
    fields_split(table);
    return true;
}

/* What is no regular file is none: a FIFO would be waited for. */
static bool table_open(struct table *table, const char *path)
{
    struct stat st;

    table->fill = table->at = 0;
    table->left = TABLE_BYTES_MAX;
    table->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (table->fd < 0)
        return false;
    if (fstat(table->fd, &st) == 0 && S_ISREG(st.st_mode))
        return true;
    close(table->fd);
    return false;
}

/* Goes to the line whose name, or number in the third field, is this. False: there is none. */
static bool table_find(struct table *table, const char *path, const char *name, int64_t id)
{
    bool found = false;

    if (!table_open(table, path))
        return false;
    while (!found && table_next(table))
        found = id < 0 ? !strcmp(table->fields[0], name)
                       : text_to_number(table->fields[2], ID_MAX) == id;
    close(table->fd);
    return found;
}

/* Whether the comma-separated list has the name. */
static bool list_has(const char *list, const char *name)
{
    size_t bytes = strlen(name);

    while (*list) {
        size_t length = strcspn(list, ",");

        if (length == bytes && !memcmp(list, name, bytes))
            return true;
        list += length + (list[length] == ',');
    }
    return false;
}

/* All groups that list the user. */
static void groups_find(struct table *table, const char *name, struct user *user)
{
    if (!table_open(table, "etc/group"))
        return;
    while (user->group_count < USER_GROUPS_MAX && table_next(table)) {
        int64_t gid = text_to_number(table->fields[2], ID_MAX);

        if (gid >= 0 && list_has(table->fields[3], name))
            user->groups[user->group_count++] = (uint32_t)gid;
    }
    close(table->fd);
}

static int group_take(struct table *table, const char *text, struct user *user, struct fail *fail)
{
    int64_t gid = text_to_number(text, ID_MAX);

    if (gid < 0 && table_find(table, "etc/group", text, -1))
        gid = text_to_number(table->fields[2], ID_MAX);
    if (gid < 0)
        return fail_set(fail, ENOENT, "there is no group", text, " in /etc/group");
    user->gid = (uint32_t)gid;
    return 0;
}

/* Who has the name or number; its own name goes back to `name`, "" for a number without a line. */
static int account_take(struct table *table, char *name, struct user *user, struct fail *fail)
{
    int64_t uid = text_to_number(name, ID_MAX), gid;
    struct text copy;

    if (!table_find(table, "etc/passwd", name, uid)) {
        if (uid < 0)
            return fail_set(fail, ENOENT, "there is no user", name, " in /etc/passwd");
        user->uid = (uint32_t)uid;
        name[0] = '\0';
        return 0;
    }
    uid = text_to_number(table->fields[2], ID_MAX);
    if (uid < 0)
        return fail_set(fail, ENOENT, "there is no number for the user", name, " in /etc/passwd");
    gid = text_to_number(table->fields[3], ID_MAX);
    user->uid = (uint32_t)uid;
    user->gid = gid < 0 ? 0 : (uint32_t)gid;
    text_init(&copy, name, USER_NAME_BYTES);
    text_add(&copy, table->fields[0]);
    text_init(&copy, user->home, sizeof(user->home));
    text_add(&copy, *table->fields[5] ? table->fields[5] : "/");
    return 0;
}

int user_find(const char *text, struct user *ret_user, struct fail *fail)
{
    static struct table table;
    size_t length = strcspn(text, ":");
    char name[USER_NAME_BYTES];
    struct text copy;
    int status;

    memset(ret_user, 0, sizeof(*ret_user));
    strcpy(ret_user->home, "/");
    if (!*text || length >= sizeof(name))
        return fail_set(fail, EINVAL, "no user's name:", text, NULL);
    text_init(&copy, name, sizeof(name));
    text_add_bytes(&copy, length ? text : "0", length ? length : 1);
    status = account_take(&table, name, ret_user, fail);
    if (status < 0)
        return status;
    if (text[length] == ':' && text[length + 1])
        return group_take(&table, text + length + 1, ret_user, fail);
    if (name[0])
        groups_find(&table, name, ret_user);
    return 0;
}
