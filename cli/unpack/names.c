/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the checking of members' names; see names.h. */
#include "names.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "base/text.h"

const char *name_printable(const char *name, char *text, size_t text_bytes)
{
    text_clean(text, text_bytes, name, SIZE_MAX);
    return text;
}

static int refuse(struct err *err, int code, const char *name, const char *why)
{
    char shown[200];

    return err_set(err, code, "the archive has a member '%s': %s",
                   name_printable(name, shown, sizeof shown), why);
}

static bool component_is(const char *at, size_t bytes, const char *text)
{
    return strlen(text) == bytes && memcmp(at, text, bytes) == 0;
}

/* Why a component can't be one of a path; NULL: it can. */
static const char *component_fault(const char *at, size_t bytes, bool strict, bool last)
{
    if (component_is(at, bytes, ".."))
        return "'..' leads out of the target";
    if (bytes > NAME_MAX)
        return "a name of more than 255 bytes";
    if (strict && bytes == 0 && !last)
        return "an empty component makes what follows an absolute name";
    if (strict && component_is(at, bytes, "."))
        return "'.' within a name";
    return NULL;
}

/* Appends a component. False: the path is full. */
static bool path_append(char path[NAME_PATH_BYTES], size_t *length, const char *at, size_t bytes)
{
    if (*length + 1 + bytes >= NAME_PATH_BYTES)
        return false;
    if (*length > 0)
        path[(*length)++] = '/';
    memcpy(path + *length, at, bytes);
    *length += bytes;
    return true;
}

/* Takes the components from `at` on to the end of path. */
static int components_take(const char *name, const char *at, bool strict,
                           char path[NAME_PATH_BYTES], struct err *err)
{
    size_t length = strlen(path);

    for (;;) {
        size_t bytes = strcspn(at, "/");
        bool last = at[bytes] == '\0';
        const char *fault = component_fault(at, bytes, strict, last);

        if (fault)
            return refuse(err, bytes > NAME_MAX ? ENAMETOOLONG : EPERM, name, fault);
        if (bytes > 0 && !component_is(at, bytes, ".") && !path_append(path, &length, at, bytes))
            return refuse(err, ENAMETOOLONG, name, "a name of more than 4095 bytes");
        if (last)
            break;
        at += bytes + 1;
    }
    path[length] = '\0';
    return 0;
}

int name_confine(const struct name_rules *rules, const char *name, char ret_path[NAME_PATH_BYTES],
                 struct err *err)
{
    ret_path[0] = '\0';
    if (name[0] == '\0')
        return refuse(err, EPERM, name, "an empty name");
    if (!rules->top)
        return components_take(name, name, false, ret_path, err);
    size_t bytes = strcspn(name, "/");
    if (bytes == 0)
        return refuse(err, EPERM, name, "an absolute name");
    if (!component_is(name, bytes, rules->top))
        return refuse(err, EPERM, name, "nobody asked for it");
    const char *rest = name + bytes + (name[bytes] == '/');
    if (rules->only_top && *rest)
        return refuse(err, EPERM, name, "it lies in what should be a file");
    memccpy(ret_path, rules->as, '\0', NAME_PATH_BYTES);
    return *rest ? components_take(name, rest, true, ret_path, err) : 0;
}
