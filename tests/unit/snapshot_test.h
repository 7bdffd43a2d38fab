/* SPDX-License-Identifier: Apache-2.0 */
/* What the snapshot tests share: a scratch directory, a small snapshot, a TAP runner. */
#ifndef VOLT_TESTS_SNAPSHOT_TEST_H
#define VOLT_TESTS_SNAPSHOT_TEST_H

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/util.h"
#include "snapshot/file.h"
#include "snapshot/host.h"
#include "snapshot/store.h"
#include "tap_main.h"

#define TEST_RAM_BYTES MIB(32)

/* Asserts success and shows the sentence when there is none. */
#define ck_ok(call, err) ck_assert_msg((call) == 0, "%s", (err).msg)
/* Asserts failure with this errno and a sentence that contains `part`. */
#define ck_fails(call, code_, err, part)                                                           \
    do {                                                                                           \
        (err).msg[0] = '\0';                                                                       \
        ck_assert_int_eq((call), -(code_));                                                        \
        ck_assert_msg(strstr((err).msg, (part)), "'%s' lacks '%s'", (err).msg, (part));            \
    } while (0)

/* A directory of its own under $TMPDIR, open; test_dir_remove takes it away with all in it. */
static inline int test_dir_make(char ret_path[256])
{
    const char *tmp = getenv("TMPDIR");

    snprintf(ret_path, 256, "%s/volt-unit-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(ret_path));
    int fd = open(ret_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static inline void test_dir_empty(int dirfd)
{
    DIR *dir = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct dirent *entry;

    while ((entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd, entry->d_name, 0) < 0) {
            int sub = openat(dirfd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

            test_dir_empty(sub);
            close(sub);
            unlinkat(dirfd, entry->d_name, AT_REMOVEDIR);
        }
    }
    closedir(dir);
}

static inline void test_dir_remove(int dirfd, const char *path)
{
    test_dir_empty(dirfd);
    close(dirfd);
    ck_assert_int_eq(rmdir(path), 0);
}

static inline unsigned test_dir_count(int dirfd)
{
    DIR *dir = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    unsigned count = 0;

    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

/* A file without a name. */
static inline int test_file_make(void)
{
    char path[] = "/tmp/volt-unit-XXXXXX";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    unlink(path);
    return fd;
}

/* Guest memory as a VM that boots has it. */
static inline void test_mem_make(struct guest_mem *mem, uint64_t bytes)
{
    struct err err = { 0 };

    ck_ok(guest_mem_init(mem, bytes, &err), err);
    ck_ok(guest_mem_map_new(mem, false, &err), err);
}

/* A manifest as the caller of snapshot_create_commit fills it in, for this host. */
static inline void test_manifest_fill(struct manifest *m)
{
    memset(m, 0, sizeof *m);
    strcpy(m->volt_version, "0.1.0-test");
    strcpy(m->kernel.path, "/boot/vmlinux");
    m->kernel.digest = digest_of("kernel", 6);
    strcpy(m->initrd.path, "/boot/initrd");
    m->initrd.digest = digest_of("initrd", 6);
    strcpy(m->cmdline, "console=ttyS0 quiet");
    m->memory_bytes = TEST_RAM_BYTES;
    m->vcpus = 1;
    host_cpu_detect(&m->cpu);
    strcpy(m->device[0], "uart");
    strcpy(m->device[1], "i8042");
    m->device_count = 2;
    m->cold_boot_ms = 11000;
    m->stopped_us = 60000;
}

/* What a VM leaves in the two files: two sections, and two pages of data told apart by `mark`. */
static inline void test_vm_fill(const struct snapshot_txn *txn, uint8_t mark)
{
    struct state_builder b;
    struct err err = { 0 };
    uint8_t page[HOST_PAGE_BYTES];
    uint64_t len;

    state_builder_init(&b);
    state_builder_add(&b, "alpha", 1, 0, &mark, 1);
    state_builder_add(&b, "beta", 2, STATE_FLAG_OPTIONAL, "beta's bytes", 12);
    ck_ok(state_builder_write(&b, txn->state_fd, &len, &err), err);
    state_builder_fini(&b);
    memset(page, mark, sizeof page);
    ck_assert_int_eq(ftruncate(txn->memory_fd, (off_t)TEST_RAM_BYTES), 0);
    ck_assert_int_eq(pwrite_all(txn->memory_fd, page, sizeof page, 0), 0);
    ck_assert_int_eq(pwrite_all(txn->memory_fd, page, sizeof page, MIB(8) + 4096), 0);
}

static inline int test_snapshot_make(int store_fd, const char *name, uint8_t mark, struct err *err)
{
    struct snapshot_txn txn;
    struct manifest *m = malloc(sizeof *m);
    int rc = snapshot_create_begin(store_fd, name, &txn, err);

    if (rc == 0) {
        test_vm_fill(&txn, mark);
        test_manifest_fill(m);
        rc = snapshot_create_commit(&txn, m, err);
    }
    free(m);
    return rc;
}

/* Runs one suite of one case in TAP; the exit code says whether all passed. */
static inline int test_main(const char *name, const TTest *const *tests, size_t count)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tap_case(suite, name);

    for (size_t i = 0; i < count; i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}

/* A TAP comment: how much was tried. */
#define test_note(...)                                                                             \
    do {                                                                                           \
        printf("# " __VA_ARGS__);                                                                  \
        printf("\n");                                                                              \
        fflush(stdout);                                                                            \
    } while (0)

#endif
