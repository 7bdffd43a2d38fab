/* SPDX-License-Identifier: Apache-2.0 */
/* What pax headers say of the member behind them. */
#include <errno.h>
#include <string.h>

#include "tar_read_internal.h"

#define NS_DIGITS 9

int tar_name_copy(char target[TAR_PATH_BYTES], const char *name, size_t bytes, struct fail *fail)
{
    if (bytes >= TAR_PATH_BYTES || memchr(name, '\0', bytes))
        return fail_set(fail, ENAMETOOLONG, "the tar stream has a name that is too long or broken",
                        NULL, NULL);
    memcpy(target, name, bytes);
    target[bytes] = '\0';
    return 0;
}

/* The digits at the beginning of value[0..bytes). Their count; 0: none, or too large a number. */
static size_t digits_take(const char *value, size_t bytes, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t i;

    for (i = 0; i < bytes && value[i] >= '0' && value[i] <= '9'; i++) {
        if (number > UINT64_MAX / 16)
            return 0;
        number = number * 10 + (uint64_t)(value[i] - '0');
    }
    *ret_number = number;
    return i;
}

static bool number_take(const char *value, size_t bytes, uint64_t *ret_number)
{
    return bytes > 0 && digits_take(value, bytes, ret_number) == bytes && *ret_number <= INT64_MAX;
}

/* "1700000000.25", or "-3.5", which is 3.5 s before 1970. */
static bool time_take(const char *value, size_t bytes, int64_t *ret_s, uint32_t *ret_ns)
{
    bool before = bytes > 0 && value[0] == '-';
    uint64_t seconds;
    uint32_t ns = 0;
    size_t at = before, digits = digits_take(value + at, bytes - at, &seconds);

    at += digits;
    if (digits == 0 || seconds > INT64_MAX || (at < bytes && value[at] != '.'))
        return false;
    for (int i = 0; i < NS_DIGITS; i++) {
        bool more = at + 1 < bytes && value[at + 1] >= '0' && value[at + 1] <= '9';

        ns = ns * 10 + (more ? (uint32_t)(value[++at] - '0') : 0);
    }
    *ret_s = before ? -(int64_t)seconds - (ns > 0) : (int64_t)seconds;
    *ret_ns = before && ns > 0 ? 1000000000u - ns : ns;
    return true;
}

/* ---- One function for each keyword ---- */

typedef int (*pax_take)(struct tar_reader *reader, const char *value, size_t bytes,
                        struct fail *fail);

static int path_take(struct tar_reader *reader, const char *value, size_t bytes, struct fail *fail)
{
    if (reader->said.sparse_path) /* the other name is one for tars that know no holes */
        return 0;
    reader->said.path = true;
    return tar_name_copy(reader->entry.path, value, bytes, fail);
}

static int sparse_path_take(struct tar_reader *reader, const char *value, size_t bytes,
                            struct fail *fail)
{
    reader->said.path = reader->said.sparse_path = true;
    return tar_name_copy(reader->entry.path, value, bytes, fail);
}

static int link_take(struct tar_reader *reader, const char *value, size_t bytes, struct fail *fail)
{
    reader->said.link = true;
    return tar_name_copy(reader->entry.link, value, bytes, fail);
}

static int size_take(struct tar_reader *reader, const char *value, size_t bytes, struct fail *fail)
{
    if (!number_take(value, bytes, &reader->said.size_value))
        return fail_set(fail, EINVAL, "the tar stream has a pax size that is no size", NULL, NULL);
    reader->said.size = true;
    return 0;
}

static int sparse_size_take(struct tar_reader *reader, const char *value, size_t bytes,
                            struct fail *fail)
{
    if (!number_take(value, bytes, &reader->said.sparse_bytes))
        return fail_set(fail, EINVAL, "the tar stream has a sparse size that is no size", NULL,
                        NULL);
    reader->said.sparse = true;
    return 0;
}

static int sparse_major_take(struct tar_reader *reader, const char *value, size_t bytes,
                             struct fail *fail)
{
    uint64_t number;

    (void)fail;
    reader->said.sparse_major = number_take(value, bytes, &number) && number == 1;
    return 0;
}

static int sparse_old_take(struct tar_reader *reader, const char *value, size_t bytes,
                           struct fail *fail)
{
    (void)reader;
    (void)value;
    (void)bytes;
    return fail_set(fail, ENOTSUP,
                    "the tar stream has a file with holes in a format that is not read here; pack "
                    "it with tar --sparse-version=1.0",
                    NULL, NULL);
}

/* A time or an owner that can't be read is not worth refusing a file for. */
static int mtime_take(struct tar_reader *reader, const char *value, size_t bytes, struct fail *fail)
{
    (void)fail;
    reader->said.mtime |= time_take(value, bytes, &reader->said.mtime_s, &reader->said.mtime_ns);
    return 0;
}

static int uid_take(struct tar_reader *reader, const char *value, size_t bytes, struct fail *fail)
{
    (void)fail;
    reader->said.uid |= number_take(value, bytes, &reader->said.uid_value);
    return 0;
}

static int gid_take(struct tar_reader *reader, const char *value, size_t bytes, struct fail *fail)
{
    (void)fail;
    reader->said.gid |= number_take(value, bytes, &reader->said.gid_value);
    return 0;
}

static const struct {
    const char *keyword;
    pax_take take;
} keywords[] = {
    { "path", path_take },
    { "linkpath", link_take },
    { "size", size_take },
    { "mtime", mtime_take },
    { "uid", uid_take },
    { "gid", gid_take },
    { "GNU.sparse.major", sparse_major_take },
    { "GNU.sparse.name", sparse_path_take },
    { "GNU.sparse.realsize", sparse_size_take },
    { "GNU.sparse.map", sparse_old_take },    /* 0.1 */
    { "GNU.sparse.offset", sparse_old_take }, /* 0.0 */
};

/* The record's '=' and newline become NULs: both texts stay in the buffer as they are. */
static void xattr_take(struct tar_reader *reader, char *name, char *value, size_t bytes)
{
    struct tar_entry *entry = &reader->entry;

    if (entry->xattr_count == TAR_XATTRS_MAX)
        return;
    value[-1] = '\0';
    entry->xattrs[entry->xattr_count++] = (struct tar_xattr){ name, value, bytes };
}

static int record_take(struct tar_reader *reader, char *key, size_t key_bytes, char *value,
                       size_t value_bytes, struct fail *fail)
{
    const size_t prefix = sizeof(TAR_XATTR_PREFIX) - 1;

    if (key_bytes > prefix && !memcmp(key, TAR_XATTR_PREFIX, prefix)) {
        xattr_take(reader, key + prefix, value, value_bytes);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
        if (strlen(keywords[i].keyword) == key_bytes &&
            !memcmp(keywords[i].keyword, key, key_bytes))
            return keywords[i].take(reader, value, value_bytes, fail);
    return 0;
}

/* A pax header is a row of records "LENGTH KEY=VALUE\n", LENGTH counting the whole record. */
int tar_pax_parse(struct tar_reader *reader, struct fail *fail)
{
    char *at = reader->extended;
    size_t left = reader->extended_bytes;

    while (left > 0 && *at != '\0') {
        size_t length = 0, digits = 0;
        char *key, *equals;
        int status;

        for (; digits < left && digits < 6 && at[digits] >= '0' && at[digits] <= '9'; digits++)
            length = length * 10 + (size_t)(at[digits] - '0');
        if (!digits || length > left || length < digits + 3 || at[digits] != ' ' ||
            at[length - 1] != '\n')
            return fail_set(fail, EINVAL, "the tar stream has a broken pax header", NULL, NULL);
        key = at + digits + 1;
        equals = memchr(key, '=', length - digits - 2);
        if (!equals)
            return fail_set(fail, EINVAL, "the tar stream has a pax record without '='", NULL,
                            NULL);
        status = record_take(reader, key, (size_t)(equals - key), equals + 1,
                             (size_t)(at + length - 1 - (equals + 1)), fail);
        if (status < 0)
            return status;
        at += length;
        left -= length;
    }
    return 0;
}
