/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what volt-files says of a file, as E2B's clients want it; see guest_command.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json_text.h"
#include "base/util.h"
#include "e2b/guest_command.h"
#include "e2b/rpc.h"

enum entry_field {
    ENTRY_KIND,
    ENTRY_SIZE,
    ENTRY_MODE,
    ENTRY_OWNER,
    ENTRY_GROUP,
    ENTRY_SECONDS,
    ENTRY_NANOSECONDS,
    ENTRY_PATH,
    ENTRY_TARGET,
};

_Static_assert(ENTRY_TARGET + 1 == FILES_ENTRY_FIELDS, "all fields have a name");

static const char *type_name(char kind)
{
    switch (kind) {
    case 'f':
        return "FILE_TYPE_FILE";
    case 'd':
        return "FILE_TYPE_DIRECTORY";
    case 'l':
        return "FILE_TYPE_SYMLINK";
    default:
        return "FILE_TYPE_UNSPECIFIED";
    }
}

/* "drwxr-xr-x" */
static void mode_format(char kind, bool link, unsigned mode, char ret_text[16])
{
    static const char letters[] = "rwxrwxrwx";

    ret_text[0] = link ? 'L' : kind == 'd' ? 'd' : '-';
    for (unsigned i = 0; i < 9; i++)
        ret_text[1 + i] = mode & (0400u >> i) ? letters[i] : '-';
    ret_text[10] = '\0';
}

json_t *guest_entry_parse(const uint8_t *data, size_t bytes, size_t *ret_bytes)
{
    const char *fields[FILES_ENTRY_FIELDS], *at = (const char *)data;
    char permissions[16];
    size_t left = bytes;

    for (unsigned i = 0; i < FILES_ENTRY_FIELDS; i++) {
        const char *end = left ? memchr(at, '\0', left) : NULL;

        if (!end)
            return NULL;
        fields[i] = at;
        left -= (size_t)(end + 1 - at);
        at = end + 1;
    }
    const char kind = fields[ENTRY_KIND][0], *path = fields[ENTRY_PATH];
    const char *slash = strrchr(path, '/');
    unsigned mode = (unsigned)strtoul(fields[ENTRY_MODE], NULL, 10) & 07777;
    char size[32];

    snprintf(size, sizeof size, "%llu", strtoull(fields[ENTRY_SIZE], NULL, 10) & INT64_MAX);
    mode_format(kind, fields[ENTRY_TARGET][0], mode, permissions);
    json_t *entry = json_pack(
        "{s:o, s:s, s:o, s:s, s:i, s:s, s:o, s:o, s:o}", "name",
        json_text(slash && slash[1] ? slash + 1 : path), "type", type_name(kind), "path",
        json_text(path), "size", size, "mode", (int)mode, "permissions", permissions, "owner",
        json_text(fields[ENTRY_OWNER]), "group", json_text(fields[ENTRY_GROUP]), "modifiedTime",
        rpc_time_json(strtoull(fields[ENTRY_SECONDS], NULL, 10),
                      strtoull(fields[ENTRY_NANOSECONDS], NULL, 10) % NS_PER_S, 9));
    if (fields[ENTRY_TARGET][0])
        json_object_set_new(entry, "symlinkTarget", json_text(fields[ENTRY_TARGET]));
    *ret_bytes = bytes - left;
    return entry;
}
