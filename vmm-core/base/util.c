/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the small helpers of util.h that are worth a function call. */
#include "base/util.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

void close_fd(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;

        close(*fd);
        errno = saved;
        *fd = -1;
    }
}

int fd_reopen(int fd, int flags)
{
    char path[32];

    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, flags | O_CLOEXEC);
    return own < 0 ? -errno : own;
}

int pread_all(int fd, void *buffer, size_t bytes, uint64_t offset)
{
    uint8_t *at = buffer;

    while (bytes > 0) {
        ssize_t n = pread(fd, at, bytes, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ENODATA;
        at += n;
        offset += (size_t)n;
        bytes -= (size_t)n;
    }
    return 0;
}

int pwrite_all(int fd, const void *buffer, size_t bytes, uint64_t offset)
{
    const uint8_t *at = buffer;

    while (bytes > 0) {
        ssize_t n = pwrite(fd, at, bytes, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        offset += (size_t)n;
        bytes -= (size_t)n;
    }
    return 0;
}

int write_all(int fd, const void *buffer, size_t bytes)
{
    const uint8_t *at = buffer;

    while (bytes > 0) {
        ssize_t n = write(fd, at, bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        at += n;
        bytes -= (size_t)n;
    }
    return 0;
}

bool parse_size(const char *text, uint64_t *ret_bytes)
{
    static const char units[] = "KMGT";
    char *end;
    unsigned shift = 0;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno)
        return false;
    const char *unit = *end ? (const char *)strchr(units, toupper((unsigned char)*end)) : NULL;
    if (unit) {
        shift = 10 * (unsigned)(unit - units + 1);
        end++;
        if (strcasecmp(end, "iB") == 0)
            end += 2;
    }
    if (*end || (shift && value >> (64 - shift)))
        return false;
    *ret_bytes = (uint64_t)value << shift;
    return true;
}

const char *size_text(uint64_t bytes, char ret[SIZE_TEXT_BYTES])
{
    static const char *const units[] = { "", "K", "M", "G", "T" };
    unsigned unit = 0;

    for (; bytes && bytes % 1024 == 0 && unit + 1 < ARRAY_LEN(units); unit++)
        bytes /= 1024;
    snprintf(ret, SIZE_TEXT_BYTES, "%llu%s", (unsigned long long)bytes, units[unit]);
    return ret;
}

void random_bytes(void *buffer, size_t bytes)
{
    uint8_t *at = buffer;

    while (bytes > 0) {
        ssize_t n = getrandom(at, MIN_OF(bytes, 256), 0);

        if (n < 0) {
            assert(errno == EINTR);
            continue;
        }
        at += n;
        bytes -= (size_t)n;
    }
}
