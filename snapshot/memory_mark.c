/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the file `memory.verified`; see memory_mark.h. */
#include "snapshot/memory_mark.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/util.h"
#include "snapshot/file.h"
#include "snapshot/hex.h"

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_CHARS 36u /* 32 hex digits, in groups with a '-' between */

static bool boot_id_read(uint8_t ret_id[16])
{
    char text[BOOT_ID_CHARS + 1], digits[33];
    size_t count = 0;
    _cleanup_close_ int fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || read(fd, text, BOOT_ID_CHARS) != BOOT_ID_CHARS)
        return false;
    for (unsigned i = 0; i < BOOT_ID_CHARS && count < 32; i++) {
        if (text[i] != '-')
            digits[count++] = text[i];
    }
    digits[count] = '\0';
    return hex_parse(digits, ret_id, 16);
}

static int64_t ns_of(const struct timespec *t)
{
    return t->tv_sec * (int64_t)NS_PER_S + t->tv_nsec;
}

bool memory_mark_make(int dirfd, const struct digest *table, struct memory_mark *ret_mark)
{
    struct memory_mark mark = { .magic = MEMORY_MARK_MAGIC, .table = *table };
    struct stat st;

    if (fstatat(dirfd, SNAPSHOT_FILE_MEMORY, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !boot_id_read(mark.boot_id))
        return false;
    mark.device = st.st_dev;
    mark.inode = st.st_ino;
    mark.bytes = (uint64_t)st.st_size;
    mark.modified_ns = ns_of(&st.st_mtim);
    mark.changed_ns = ns_of(&st.st_ctim);
    *ret_mark = mark;
    return true;
}

bool memory_mark_is_left(int dirfd, const struct memory_mark *mark)
{
    struct memory_mark left;
    _cleanup_close_ int fd = -1;
    uint64_t bytes;

    return snapshot_file_open(dirfd, SNAPSHOT_FILE_MEMORY_MARK, sizeof left, sizeof left, &fd,
                              &bytes, NULL) == 0 &&
           pread_all(fd, &left, sizeof left, 0) == 0 && memcmp(&left, mark, sizeof left) == 0;
}

/* At once: whoever reads half of it finds no mark. */
static void write_mark(int dirfd, const struct memory_mark *mark)
{
    _cleanup_close_ int fd = openat(dirfd, SNAPSHOT_FILE_MEMORY_MARK,
                                    O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);

    if (fd < 0 || pwrite_all(fd, mark, sizeof *mark, 0) < 0)
        return; /* costs time only: the next one compares again */
    (void)!ftruncate(fd, sizeof *mark);
}

void memory_mark_leave(int dirfd, const struct memory_mark *mark, uint64_t begun_ns)
{
    struct memory_mark now;

    if (mark->changed_ns < 0 || (uint64_t)mark->changed_ns + MEMORY_MARK_REST_NS > begun_ns)
        return;
    if (memory_mark_make(dirfd, &mark->table, &now) && memcmp(&now, mark, sizeof now) == 0)
        write_mark(dirfd, mark);
}
