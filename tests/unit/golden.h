/* SPDX-License-Identifier: Apache-2.0 */
/* Golden files: what released versions wrote, as a checkout can hold it, which has neither modes
 * nor holes. NAME.pages is a sparse file NAME of whole pages: u64 offset, 4096 bytes, again and
 * again, for each page that is not all zeroes and for the last one. */
#ifndef VOLT_TESTS_GOLDEN_H
#define VOLT_TESTS_GOLDEN_H

#include "snapshot_test.h"

#ifndef GOLDEN_DIR
#error "GOLDEN_DIR is the directory of the golden files"
#endif

#define GOLDEN_SUFFIX ".pages"

static inline uint8_t *golden_slurp(int dirfd, const char *name, size_t *ret_len)
{
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);

    ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
    *ret_len = (size_t)lseek(fd, 0, SEEK_END);
    uint8_t *bytes = malloc(*ret_len + 1);
    ck_assert_int_eq(pread_all(fd, bytes, *ret_len, 0), 0);
    close(fd);
    return bytes;
}

/* NAME of dirfd to NAME.pages, and NAME is gone. */
static inline void golden_pack(int dirfd, const char *name)
{
    static const uint8_t zero[HOST_PAGE_BYTES];
    uint8_t page[HOST_PAGE_BYTES];
    uint64_t at_out = 0;
    char packed[64];

    snprintf(packed, sizeof packed, "%s" GOLDEN_SUFFIX, name);
    int from = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    int to = openat(dirfd, packed, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint64_t size = (uint64_t)lseek(from, 0, SEEK_END);
    for (uint64_t at = 0; at < size; at += sizeof page) {
        ck_assert_int_eq(pread_all(from, page, sizeof page, at), 0);
        if (at + sizeof page < size && memcmp(page, zero, sizeof page) == 0)
            continue;
        ck_assert_int_eq(pwrite_all(to, &at, sizeof at, at_out), 0);
        ck_assert_int_eq(pwrite_all(to, page, sizeof page, at_out + sizeof at), 0);
        at_out += sizeof at + sizeof page;
    }
    close(from);
    close(to);
    ck_assert_int_eq(unlinkat(dirfd, name, 0), 0);
}

static inline void golden_unpack_file(int golden, const char *file, int dirfd)
{
    size_t len, name_len = strlen(file), suffix_len = strlen(GOLDEN_SUFFIX);
    uint8_t *bytes = golden_slurp(golden, file, &len);
    char name[64] = "";
    uint64_t offset;

    snprintf(name, sizeof name, "%s", file);
    bool packed = name_len > suffix_len && strcmp(file + name_len - suffix_len, ".pages") == 0;
    if (packed)
        name[name_len - suffix_len] = '\0';
    int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    if (!packed)
        ck_assert_int_eq(pwrite_all(fd, bytes, len, 0), 0);
    for (size_t at = 0; packed && at < len; at += sizeof offset + HOST_PAGE_BYTES) {
        memcpy(&offset, bytes + at, sizeof offset);
        ck_assert_int_eq(pwrite_all(fd, bytes + at + sizeof offset, HOST_PAGE_BYTES, offset), 0);
    }
    close(fd);
    free(bytes);
}

/* All files and folders of the folder `golden` into dirfd. */
static inline void golden_unpack_at(int golden, int dirfd)
{
    DIR *dir = fdopendir(openat(golden, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct dirent *entry;

    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        int from = openat(golden, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (from < 0) {
            golden_unpack_file(golden, entry->d_name, dirfd);
            continue;
        }
        ck_assert_int_eq(mkdirat(dirfd, entry->d_name, 0700), 0);
        int to = openat(dirfd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        golden_unpack_at(from, to);
        close(to);
        close(from);
    }
    closedir(dir);
}

/* The same for a folder below GOLDEN_DIR. */
static inline void golden_unpack(const char *name, int dirfd)
{
    char path[512];

    snprintf(path, sizeof path, GOLDEN_DIR "/%s", name);
    int golden = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_msg(golden >= 0, "%s: %s", path, strerror(errno));
    golden_unpack_at(golden, dirfd);
    close(golden);
}

/* The file NAME of dirfd is, byte for byte, the golden one. */
static inline void golden_compare(int dirfd, const char *name, const char *golden_name)
{
    int golden = open(GOLDEN_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t len, golden_len;
    uint8_t *made = golden_slurp(dirfd, name, &len);
    uint8_t *released = golden_slurp(golden, golden_name, &golden_len);

    ck_assert_msg(len == golden_len && memcmp(made, released, len) == 0,
                  "%s is no longer what was released as golden/%s: bring a new version number",
                  name, golden_name);
    free(made);
    free(released);
    close(golden);
}

#endif
