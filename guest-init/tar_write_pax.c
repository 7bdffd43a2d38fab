/* SPDX-License-Identifier: Apache-2.0 */
/* Making of pax headers: see tar_write_pax.h. */
#include "tar_write_pax.h"

#include <string.h>
#include <sys/xattr.h>

#include "tar.h"

#define NAMES_BYTES 4096 /* of a file's attributes */
#define KEY_BYTES 300

/* Begins a record whose value has that many bytes; where the value goes, or NULL: there is no room.
 * The length counts its own digits. */
static uint8_t *record_add(struct tar_pax *pax, const char *key, size_t value_bytes)
{
    char head[KEY_BYTES + 32];
    size_t rest = 1 + strlen(key) + 1 + value_bytes + 1, digits = 1, length;
    struct text text;
    uint8_t *value;

    for (size_t limit = 10; rest + digits >= limit; limit *= 10)
        digits++;
    length = rest + digits;
    text_init(&text, head, sizeof(head));
    text_add_u64(&text, length);
    text_add(&text, " ");
    text_add(&text, key);
    text_add(&text, "=");
    if (length > pax->room - pax->bytes || text.length + value_bytes + 1 != length)
        return NULL;
    memcpy(pax->data + pax->bytes, head, text.length);
    value = pax->data + pax->bytes + text.length;
    value[value_bytes] = '\n';
    pax->bytes += length;
    return value;
}

bool tar_pax_text(struct tar_pax *pax, const char *key, const char *value)
{
    size_t bytes = strlen(value);
    uint8_t *at = record_add(pax, key, bytes);

    if (at)
        memcpy(at, value, bytes);
    return at;
}

bool tar_pax_number(struct tar_pax *pax, const char *key, uint64_t value)
{
    char digits[24];
    struct text text;

    text_init(&text, digits, sizeof(digits));
    text_add_u64(&text, value);
    return tar_pax_text(pax, key, digits);
}

/* Time goes on while the fraction grows: -3.5 is second -4 and half a second. */
bool tar_pax_time(struct tar_pax *pax, const char *key, const struct timespec *time)
{
    bool before = time->tv_sec < 0;
    uint64_t ns = (uint64_t)time->tv_nsec, seconds = (uint64_t)time->tv_sec;
    char digits[48], fraction[] = "000000000";
    struct text text;

    if (before) {
        seconds = -(uint64_t)time->tv_sec - (ns > 0);
        ns = ns > 0 ? 1000000000u - ns : 0;
    }
    for (size_t i = sizeof(fraction) - 1; i-- > 0; ns /= 10)
        fraction[i] = (char)('0' + ns % 10);
    text_init(&text, digits, sizeof(digits));
    text_add(&text, before ? "-" : "");
    text_add_u64(&text, seconds);
    text_add(&text, ".");
    text_add(&text, fraction);
    return tar_pax_text(pax, key, digits);
}

/* ---- Attributes ---- */

static bool xattr_is_wanted(const char *name)
{
    return !strncmp(name, "user.", 5) || !strcmp(name, "security.capability");
}

static bool xattr_add(struct tar_pax *pax, int fd, const char *name)
{
    ssize_t bytes = fgetxattr(fd, name, NULL, 0);
    size_t before = pax->bytes;
    char key[KEY_BYTES];
    struct text text;
    uint8_t *value;

    text_init(&text, key, sizeof(key));
    text_add(&text, TAR_XATTR_PREFIX);
    text_add(&text, name);
    value = bytes < 0 || strchr(name, '=') ? NULL : record_add(pax, key, (size_t)bytes);
    if (!value)
        return false;
    if (bytes == 0 || fgetxattr(fd, name, value, (size_t)bytes) == bytes)
        return true;
    pax->bytes = before; /* it changed meanwhile */
    return false;
}

uint32_t tar_pax_xattrs(struct tar_pax *pax, int fd)
{
    char names[NAMES_BYTES];
    ssize_t bytes = flistxattr(fd, names, sizeof(names));
    uint32_t left_out = 0, count = 0;

    for (ssize_t at = 0; at < bytes; at += (ssize_t)strlen(names + at) + 1) {
        if (!xattr_is_wanted(names + at))
            continue;
        left_out += count++ >= TAR_XATTRS_MAX || !xattr_add(pax, fd, names + at);
    }
    return left_out;
}
