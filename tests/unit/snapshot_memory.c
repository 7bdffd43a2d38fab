/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: memory.img holds exactly the guest's non-zero pages, quickly; its footer finds every kind
 * of damage; working sets say what was touched.
 * Method: guest memory with data at edges, compared byte by byte after a round trip; each footer
 * byte and one byte of each chunk changed; a 128 MiB guest timed.
 */
#include "snapshot/memory.h"

#include <sys/mman.h>

#include "snapshot/workingset.h"
#include "snapshot_test.h"

static const uint8_t test_id[16] = { 1, 2, 3 };

static int temp_file(void)
{
    char path[] = "/tmp/volt-unit-mem-XXXXXX";
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    unlink(path);
    return fd;
}

static void mem_make(struct guest_mem *mem, uint64_t bytes)
{
    struct err err = { 0 };

    ck_ok(guest_mem_init(mem, bytes, &err), err);
    ck_ok(guest_mem_map_new(mem, false, &err), err);
}

static struct snapshot_memory_expect seal(int fd, uint64_t ram_bytes)
{
    struct snapshot_memory_expect expect = { .ram_bytes = ram_bytes };
    struct err err = { 0 };
    uint64_t data_bytes;

    memcpy(expect.snapshot_id, test_id, sizeof test_id);
    ck_ok(snapshot_memory_seal(fd, ram_bytes, test_id, &expect.table, &data_bytes, &err), err);
    return expect;
}

/* One byte each at the first and last byte of RAM, of a page, of a chunk; a run; a zeroed page. */
static void put_marks(struct guest_mem *mem)
{
    static const uint64_t marks[] = { 0,      4095,          3 * 4096,    MIB(2) - 1,
                                      MIB(2), MIB(7) + 2048, MIB(9) + 63, MIB(9) + 4096 + 64 };

    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        mem->hva[marks[i]] = (uint8_t)(i + 1);
    mem->hva[mem->ram_bytes - 1] = 0xff;
    memset(mem->hva + MIB(12), 0x5a, MIB(1) + 4096);
    memset(mem->hva + MIB(20), 0, MIB(1)); /* touched, but zero: still a hole */
}

START_TEST(round_trip)
{
    struct guest_mem mem;
    struct snapshot_memory_stats stats;
    struct err err = { 0 };
    struct stat st;
    int fd = temp_file();

    mem_make(&mem, TEST_RAM_BYTES);
    put_marks(&mem);
    ck_ok(snapshot_memory_write(&mem, fd, &stats, &err), err);
    ck_assert_uint_eq(stats.data_bytes, MIB(1) + 9 * 4096);
    ck_assert_uint_lt(stats.scanned_bytes, MIB(4)); /* not the never-touched pages */
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_size, TEST_RAM_BYTES);
    ck_assert_uint_le((uint64_t)st.st_blocks * 512, stats.data_bytes + KIB(64));
    void *copy = mmap(NULL, TEST_RAM_BYTES, PROT_READ, MAP_PRIVATE, fd, 0);
    ck_assert_ptr_ne(copy, MAP_FAILED);
    ck_assert_int_eq(memcmp(copy, mem.hva, TEST_RAM_BYTES), 0);
    munmap(copy, TEST_RAM_BYTES);

    struct snapshot_memory_expect expect = seal(fd, TEST_RAM_BYTES);
    ck_ok(snapshot_memory_verify(fd, &expect, NULL, NULL, NULL, &err), err);
    guest_mem_fini(&mem);
    close(fd);
}
END_TEST

/* A mapping without a file of its own (a restored VM's) gives the same image. */
START_TEST(same_without_memfd)
{
    struct guest_mem mem;
    struct err err = { 0 };
    int with_fd = temp_file(), without_fd = temp_file();

    mem_make(&mem, TEST_RAM_BYTES);
    put_marks(&mem);
    ck_ok(snapshot_memory_write(&mem, with_fd, NULL, &err), err);
    int kept = mem.fd;
    mem.fd = -1;
    ck_ok(snapshot_memory_write(&mem, without_fd, NULL, &err), err);
    mem.fd = kept;
    struct snapshot_memory_expect a = seal(with_fd, TEST_RAM_BYTES);
    struct snapshot_memory_expect b = seal(without_fd, TEST_RAM_BYTES);
    ck_assert_mem_eq(&a.table, &b.table, sizeof a.table);
    guest_mem_fini(&mem);
    close(with_fd);
    close(without_fd);
}
END_TEST

static void flip(int fd, uint64_t at)
{
    uint8_t byte;

    ck_assert_int_eq(pread_all(fd, &byte, 1, at), 0);
    byte ^= 0x10;
    ck_assert_int_eq(pwrite_all(fd, &byte, 1, at), 0);
}

START_TEST(damage_is_found)
{
    struct guest_mem mem;
    struct err err = { 0 };
    unsigned cases = 0;
    int fd = temp_file();

    mem_make(&mem, TEST_RAM_BYTES);
    put_marks(&mem);
    ck_ok(snapshot_memory_write(&mem, fd, NULL, &err), err);
    struct snapshot_memory_expect expect = seal(fd, TEST_RAM_BYTES);
    for (uint64_t at = TEST_RAM_BYTES; at < snapshot_memory_file_bytes(TEST_RAM_BYTES); at++) {
        flip(fd, at);
        ck_fails(snapshot_memory_check(fd, &expect, NULL, &err), EINVAL, err, "memory.img");
        flip(fd, at);
        cases++;
    }
    for (uint32_t chunk = 0; chunk < TEST_RAM_BYTES / MEMORY_CHUNK_BYTES; chunk++, cases++) {
        uint64_t at = (uint64_t)chunk * MEMORY_CHUNK_BYTES + 4096 * chunk + chunk;
        uint32_t found;
        char name[32];

        flip(fd, at); /* in a hole as in data */
        ck_ok(snapshot_memory_check(fd, &expect, NULL, &err), err);
        snprintf(name, sizeof name, "chunk %u at", chunk);
        ck_fails(snapshot_memory_verify(fd, &expect, NULL, NULL, &found, &err), EINVAL, err, name);
        ck_assert_uint_eq(found, chunk);
        flip(fd, at);
    }
    ck_ok(snapshot_memory_verify(fd, &expect, NULL, NULL, NULL, &err), err);
    expect.snapshot_id[0] ^= 1;
    ck_fails(snapshot_memory_check(fd, &expect, NULL, &err), EINVAL, err, "another snapshot");
    guest_mem_fini(&mem);
    close(fd);
    test_note("%u changed memory files tried, all refused", cases);
}
END_TEST

static bool stop_at_once(void *data, uint64_t done_bytes, uint64_t total_bytes)
{
    ck_assert_uint_lt(done_bytes, total_bytes);
    ++*(unsigned *)data;
    return false;
}

START_TEST(verify_can_be_cancelled)
{
    struct guest_mem mem;
    struct err err = { 0 };
    unsigned calls = 0;
    int fd = temp_file();

    mem_make(&mem, TEST_RAM_BYTES);
    ck_ok(snapshot_memory_write(&mem, fd, NULL, &err), err);
    struct snapshot_memory_expect expect = seal(fd, TEST_RAM_BYTES);
    ck_fails(snapshot_memory_verify(fd, &expect, stop_at_once, &calls, NULL, &err), ECANCELED, err,
             "cancelled");
    ck_assert_uint_eq(calls, 1);
    guest_mem_fini(&mem);
    close(fd);
}
END_TEST

/* The figure that counts: a 128 MiB guest of which 13 MB are not zero. Printed, not judged. */
START_TEST(timing)
{
    struct guest_mem mem;
    struct snapshot_memory_stats stats;
    struct err err = { 0 };
    int fd = temp_file();

    mem_make(&mem, MIB(128));
    for (uint64_t at = 0; at < MIB(39); at += 3 * 8192)
        memset(mem.hva + at, 0xa5, 8192);
    ck_ok(snapshot_memory_write(&mem, fd, &stats, &err), err);
    uint64_t began_ns = now_ns();
    seal(fd, MIB(128));
    test_note("128 MiB with %llu KiB of data in %llu runs: written in %llu us, hashed in %llu us",
              (unsigned long long)(stats.data_bytes >> 10), (unsigned long long)stats.write_count,
              (unsigned long long)(stats.elapsed_ns / NS_PER_US),
              (unsigned long long)((now_ns() - began_ns) / NS_PER_US));
    ck_assert_uint_ge(stats.data_bytes, MIB(13));
    guest_mem_fini(&mem);
    close(fd);
}
END_TEST

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
    struct digest id = digest_of("id", 2), other = digest_of("other", 5);
    int fd = temp_file();
    uint8_t *bytes;
    size_t len;

    mem_make(&mem, TEST_RAM_BYTES);
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
    struct digest id = digest_of("id", 2);
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
    ranges[1].page = 2; /* overlaps, with a right digest */
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

int main(void)
{
    const TTest *const tests[] = { round_trip,
                                   same_without_memfd,
                                   damage_is_found,
                                   verify_can_be_cancelled,
                                   timing,
                                   working_set_is_what_was_touched,
                                   working_set_damage };

    return test_main("snapshot_memory", tests, ARRAY_LEN(tests));
}
