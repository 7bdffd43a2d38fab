/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a working set says what was touched, is used for no more than that, and a damaged one is
 * found and does no harm.
 * Method: one recorded from this process's own mapping; each byte and length of its file changed;
 * one in a snapshot's directory, whole and cut.
 */
#include "snapshot/workingset.h"

#include <sys/mman.h>

#include "snapshot/opened.h"
#include "snapshot_test.h"

static bool set_has(const struct working_set *set, uint32_t page, bool written)
{
    for (uint32_t i = 0; i < set->range_count; i++) {
        uint32_t count = set->range[i].count & ~WORKING_SET_WRITTEN;

        if (page >= set->range[i].page && page < set->range[i].page + count)
            return !!(set->range[i].count & WORKING_SET_WRITTEN) == written;
    }
    return false;
}

START_TEST(working_set_is_what_was_touched)
{
    struct guest_mem mem;
    struct working_set set, again;
    struct err err = { 0 };
    struct unique_id id = unique_id_make(), other = unique_id_make();
    int fd = test_file_make();
    uint8_t *bytes;
    size_t len;

    test_mem_make(&mem, TEST_RAM_BYTES);
    memset(mem.hva, 1, TEST_RAM_BYTES / 2);
    ck_ok(snapshot_memory_write(&mem, fd, NULL, &err), err);
    uint8_t *clone = mmap(NULL, TEST_RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    ck_assert_ptr_ne(clone, MAP_FAILED);
    clone[MIB(5)] = 7;                                        /* written: page 1280 */
    ck_assert_int_eq(((volatile uint8_t *)clone)[MIB(9)], 1); /* read: page 2304 */
    ck_ok(working_set_record(getpid(), fd, TEST_RAM_BYTES, &set, &err), err);
    ck_assert(set_has(&set, 1280, true));
    ck_assert(set_has(&set, 2304, false));
    ck_assert(!set_has(&set, 8000, false) && !set_has(&set, 8000, true));
    ck_assert_uint_ge(working_set_bytes(&set), 2 * 4096);
    ck_assert_uint_le(working_set_bytes(&set), MIB(4)); /* each may bring its whole folio */

    ck_ok(working_set_encode(&id, &set, &bytes, &len, &err), err);
    ck_ok(working_set_decode(bytes, len, &id, TEST_RAM_BYTES, &again, &err), err);
    ck_assert_uint_eq(again.range_count, set.range_count);
    ck_assert_mem_eq(again.range, set.range, set.range_count * sizeof *set.range);
    ck_fails(working_set_decode(bytes, len, &other, TEST_RAM_BYTES, &again, &err), EINVAL, err,
             "another snapshot");
    ck_fails(working_set_decode(bytes, len, &id, MIB(8), &again, &err), EINVAL, err, "range");
    munmap(clone, TEST_RAM_BYTES);

    /* Used on a fresh clone: those pages are there, and no more than those. */
    ck_assert_int_eq(working_set_readahead(&set, fd), 0);
    clone = mmap(NULL, TEST_RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    ck_assert_int_eq(working_set_populate(&set, clone), 0);
    working_set_fini(&again);
    ck_assert_int_eq(mprotect(clone + MIB(3), 4096, PROT_READ),
                     0); /* split in three: still found */
    ck_ok(working_set_record(getpid(), fd, TEST_RAM_BYTES, &again, &err), err);
    ck_assert(set_has(&again, 1280, true));
    ck_assert(set_has(&again, 2304, false));
    ck_assert_int_eq(clone[MIB(5)], 1);
    munmap(clone, TEST_RAM_BYTES);
    working_set_fini(&set);
    ck_fails(working_set_record(getpid(), fd, TEST_RAM_BYTES, &set, &err), ENOENT, err, "process");

    free(bytes);
    working_set_fini(&again);
    guest_mem_fini(&mem);
    close(fd);
}
END_TEST

START_TEST(working_set_damage)
{
    struct working_set_range ranges[] = { { 1, 2 }, { 3, 4 | WORKING_SET_WRITTEN }, { 100, 1 } };
    struct working_set set = { ranges, ARRAY_LEN(ranges) }, out;
    struct unique_id id = unique_id_make();
    struct err err = { 0 };
    unsigned cases = 0;
    uint8_t *bytes;
    size_t len;

    ck_ok(working_set_encode(&id, &set, &bytes, &len, &err), err);
    for (size_t at = 0; at < len; at++, cases++) {
        bytes[at] ^= 0x04;
        ck_assert_int_lt(working_set_decode(bytes, len, &id, TEST_RAM_BYTES, &out, &err), 0);
        bytes[at] ^= 0x04;
    }
    for (size_t cut = 0; cut < len; cut++, cases++)
        ck_assert_int_lt(working_set_decode(bytes, cut, &id, TEST_RAM_BYTES, &out, &err), 0);
    free(bytes);
    ranges[1].page = 2; /* overlaps, with a right checksum */
    ck_ok(working_set_encode(&id, &set, &bytes, &len, &err), err);
    ck_fails(working_set_decode(bytes, len, &id, TEST_RAM_BYTES, &out, &err), EINVAL, err,
             "range 1");
    free(bytes);
    ranges[1] = (struct working_set_range){ UINT32_MAX, 0x7fffffff };
    ck_ok(working_set_encode(&id, &set, &bytes, &len, &err), err);
    ck_fails(working_set_decode(bytes, len, &id, TEST_RAM_BYTES, &out, &err), EINVAL, err,
             "range 1");
    free(bytes);
    test_note("%u damaged working sets tried, all refused", cases);
}
END_TEST

START_TEST(working_set_kept_and_optional)
{
    struct working_set_range ranges[] = { { 1, 2 }, { 8, 4 | WORKING_SET_WRITTEN } };
    struct working_set set = { ranges, ARRAY_LEN(ranges) };
    struct snapshot_info *info = malloc(sizeof *info);
    struct snapshot_opened *t = malloc(sizeof *t);
    struct snapshot_verify_report report;
    struct err err = { 0 };
    char path[256];
    int fd;

    int store_fd = test_dir_make(path);
    ck_ok(test_snapshot_make(store_fd, "x", 1, &err), err);
    ck_ok(snapshot_inspect(store_fd, "x", info, &err), err);
    ck_assert_uint_eq(info->working_set_bytes, 0);
    ck_ok(snapshot_dir_open(store_fd, "x", &fd, &err), err);
    ck_ok(working_set_store(fd, &info->manifest.id, &set, &err), err);
    ck_ok(working_set_store(fd, &info->manifest.id, &set, &err), err); /* replaces */
    ck_ok(snapshot_inspect(store_fd, "x", info, &err), err);
    ck_assert_uint_eq(info->working_set_bytes, 6 * 4096);
    ck_ok(snapshot_open(fd, t, &err), err);
    ck_assert_uint_eq(t->working_set.range_count, 2);
    snapshot_close(t);
    ck_ok(snapshot_verify(fd, NULL, NULL, &report, &err), err);
    /* A damaged one is found by verify and ignored by open. */
    int file = openat(fd, SNAPSHOT_FILE_WORKING_SET, O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(ftruncate(file, lseek(file, 0, SEEK_END) - 1), 0);
    close(file);
    ck_fails(snapshot_verify(fd, NULL, NULL, &report, &err), EINVAL, err, "working-set");
    ck_assert_str_eq(report.file, SNAPSHOT_FILE_WORKING_SET);
    ck_ok(snapshot_open(fd, t, &err), err);
    ck_assert_uint_eq(t->working_set.range_count, 0);
    snapshot_close(t);
    close(fd);
    free(info);
    free(t);
    test_dir_remove(store_fd, path);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { working_set_is_what_was_touched, working_set_damage,
                                   working_set_kept_and_optional };

    return test_main("snapshot_workingset", tests, ARRAY_LEN(tests));
}
