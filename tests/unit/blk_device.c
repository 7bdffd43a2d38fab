/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the block device reads and writes what it is told, exactly there; bases are never written
 * under a delta; what breaks the rules gets a status or a reset; limits hold; a move loses nothing.
 * Method: a scripted driver over disks in memfds, every write mirrored in a model.
 */
#include "virtio/blk.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/util.h"
#include "blk_fixture.h"
#include "tap_main.h"
#include "virtio/virtio_mmio.h"

static struct blk_config config_of(struct fixture *f)
{
    struct blk_config config = { .disk = { .base_fd = dup(f->base_fd) }, .id = "volt-test" };

    if (f->delta_fd >= 0)
        config.disk.delta_fd[config.disk.delta_count++] = dup(f->delta_fd);
    return config;
}

static void set_up(struct fixture *f, bool with_delta)
{
    memset(f, 0, sizeof(*f));
    f->vm = fake_vm_create();
    f->base_fd = blk_disk_fd(DISK_BYTES, 0);
    f->delta_fd = with_delta ? memfd_create("delta", MFD_CLOEXEC) : -1;
    const struct blk_config config = config_of(f);
    blk_start(f, &config);
}

static int zero_request(struct fixture *f, uint32_t type, uint64_t sector, uint32_t sectors,
                        uint32_t flags)
{
    memcpy(blk_data(f), &sector, 8);
    memcpy(blk_data(f) + 8, &sectors, 4);
    memcpy(blk_data(f) + 12, &flags, 4);
    return blk_request(f, type, 0, 16, false);
}

START_TEST(reads_and_writes)
{
    struct fixture f;
    char id[21] = "";

    set_up(&f, _i);
    ck_assert_uint_eq(fake_read(f.dev, 0x100, 4), DISK_BYTES / 512);
    ck_assert_int_eq(blk_write_fill(&f, 3, 1024, 0xa5), OK);
    ck_assert_uint_eq(f.used_bytes, 1);
    blk_expect_fill(&f, 3, 1024, 0xa5);
    blk_expect_fill(&f, 0, 1536, 0);
    blk_expect_fill(&f, 5, 4096, 0);
    ck_assert_int_eq(blk_write_fill(&f, DISK_BYTES / 512 - 1, 512, 0x11), OK);
    blk_expect_fill(&f, DISK_BYTES / 512 - 1, 512, 0x11);
    ck_assert_int_eq(blk_request(&f, FLUSH, 0, 0, false), OK);
    ck_assert_int_eq(blk_request(&f, GET_ID, 0, 20, true), OK);
    memcpy(id, blk_data(&f), 20);
    ck_assert_str_eq(id, "volt-test");
    ck_assert_int_eq(blk_request(&f, 99, 0, 512, true), UNSUPPORTED);
    blk_tear_down(&f);
}
END_TEST

static const struct {
    uint64_t sector;
    uint32_t bytes;
} bad_ranges[] = {
    { DISK_BYTES / 512, 512 },
    { DISK_BYTES / 512 - 1, 1024 },
    { UINT64_MAX, 512 },
    { UINT64_MAX / 512, 1024 },
    { 0, 511 },
    { 0, 513 },
};

START_TEST(ranges_are_checked)
{
    struct fixture f;

    set_up(&f, false);
    ck_assert_int_eq(blk_request(&f, IN, bad_ranges[_i].sector, bad_ranges[_i].bytes, true), IOERR);
    ck_assert_int_eq(blk_request(&f, OUT, bad_ranges[_i].sector, bad_ranges[_i].bytes, false),
                     IOERR);
    ck_assert_int_eq(zero_request(&f, DISCARD, bad_ranges[_i].sector, bad_ranges[_i].bytes, 0),
                     bad_ranges[_i].sector == 0 ? OK : IOERR);
    ck_assert_int_eq(zero_request(&f, WRITE_ZEROES, 0, UINT32_MAX, 0), IOERR);
    ck_assert_int_eq(zero_request(&f, WRITE_ZEROES, 0, 1, 2), UNSUPPORTED);
    ck_assert_int_eq(zero_request(&f, DISCARD, 0, 1, 1), UNSUPPORTED);
    ck_assert_int_eq(blk_request(&f, DISCARD, 0, 17, false), UNSUPPORTED);
    blk_tear_down(&f);
}
END_TEST

/* Random writes, zeroes and discards against a model; the base must not change under a delta. */
START_TEST(random_work_matches_a_model)
{
    struct fixture f;
    static uint8_t model[DISK_BYTES], base[DISK_BYTES], now[DISK_BYTES];
    unsigned seed = 11 + (unsigned)_i;

    set_up(&f, _i);
    for (unsigned i = 0; i < DISK_BYTES; i++)
        base[i] = (uint8_t)rand_r(&seed);
    ck_assert_int_eq(pwrite_all(f.base_fd, base, DISK_BYTES, 0), 0);
    memcpy(model, base, DISK_BYTES);
    for (unsigned i = 0; i < 3000; i++) {
        uint32_t sectors = 1 + (unsigned)rand_r(&seed) % 40;
        uint64_t sector = (unsigned)rand_r(&seed) % (DISK_BYTES / 512 - sectors + 1);
        uint64_t at = sector * 512;

        switch (rand_r(&seed) % 4) {
        case 0:
            for (uint32_t j = 0; j < sectors * 512; j++)
                blk_data(&f)[j] = model[at + j] = (uint8_t)(i + j);
            ck_assert_int_eq(blk_request(&f, OUT, sector, sectors * 512, false), OK);
            break;
        case 1:
            memset(model + at, 0, sectors * 512);
            ck_assert_int_eq(zero_request(&f, WRITE_ZEROES, sector, sectors, i & 1), OK);
            break;
        case 2: /* a discarded range reads as zeroes here */
            memset(model + at, 0, sectors * 512);
            ck_assert_int_eq(zero_request(&f, DISCARD, sector, sectors, 0), OK);
            break;
        default:
            ck_assert_int_eq(blk_request(&f, IN, sector, sectors * 512, true), OK);
            ck_assert_mem_eq(blk_data(&f), model + at, sectors * 512);
            break;
        }
    }
    for (uint64_t at = 0; at < DISK_BYTES; at += DATA_BYTES) {
        ck_assert_int_eq(blk_request(&f, IN, at / 512, DATA_BYTES, true), OK);
        ck_assert_mem_eq(blk_data(&f), model + at, DATA_BYTES);
    }
    ck_assert_int_eq(pread_all(f.base_fd, now, DISK_BYTES, 0), 0);
    ck_assert_mem_eq(now, _i ? base : model, DISK_BYTES);
    blk_tear_down(&f);
}
END_TEST

START_TEST(layers_stack)
{
    struct fixture f;
    struct stat st;

    set_up(&f, true);
    ck_assert_int_eq(blk_write_fill(&f, 0, 8192, 0x10), OK);
    ck_assert_int_eq(blk_write_fill(&f, 64, 512, 0x11), OK);
    f.dev->ops->destroy(f.dev);
    /* A clone: the first delta stays as it is, its own one is new. */
    int own = memfd_create("own", MFD_CLOEXEC);
    struct blk_config config = config_of(&f);
    config.disk.delta_fd[config.disk.delta_count++] = dup(own);
    blk_start(&f, &config);
    blk_expect_fill(&f, 0, 8192, 0x10);
    blk_expect_fill(&f, 64, 512, 0x11);
    ck_assert_int_eq(blk_write_fill(&f, 1, 512, 0x20), OK);
    blk_expect_fill(&f, 0, 512, 0x10);
    blk_expect_fill(&f, 1, 512, 0x20);
    blk_expect_fill(&f, 2, 3072, 0x10);
    ck_assert_int_eq(zero_request(&f, DISCARD, 64, 8, 0), OK);
    blk_expect_fill(&f, 64, 4096, 0);
    ck_assert_int_eq(fstat(own, &st), 0);
    ck_assert_int_le(st.st_blocks * 512, 4 * 4096); /* header, bitmap, one cluster */
    f.dev->ops->destroy(f.dev);
    close(own);
    config = config_of(&f);
    blk_start(&f, &config);
    blk_expect_fill(&f, 0, 8192, 0x10);
    blk_expect_fill(&f, 64, 512, 0x11);
    blk_tear_down(&f);
}
END_TEST

START_TEST(read_only_disk)
{
    struct fixture f;
    struct blk_config config;

    set_up(&f, false);
    f.dev->ops->destroy(f.dev);
    config = config_of(&f);
    config.disk.read_only = true;
    blk_start(&f, &config);
    ck_assert(f.driver.features & (1u << 5));
    ck_assert(!(f.driver.features & (1u << 13)));
    blk_expect_fill(&f, 0, 512, 0);
    ck_assert_int_eq(blk_write_fill(&f, 0, 512, 1), IOERR);
    ck_assert_int_eq(zero_request(&f, WRITE_ZEROES, 0, 1, 0), IOERR);
    ck_assert_int_eq(blk_request(&f, FLUSH, 0, 0, false), OK);
    blk_tear_down(&f);
}
END_TEST

START_TEST(image_cut_underneath)
{
    struct fixture f;

    set_up(&f, false);
    ck_assert_int_eq(ftruncate(f.base_fd, 4096), 0);
    blk_expect_fill(&f, 0, 4096, 0);
    ck_assert_int_eq(blk_request(&f, IN, 7, 1024, true), IOERR);
    ck_assert_int_eq(blk_request(&f, IN, 100, 512, true), IOERR);
    blk_tear_down(&f);
}
END_TEST

/* ---- Files that are no disks. ---- */

static int try_open(int base_fd, int delta_fd, struct err *err)
{
    struct disk disk;
    struct disk_config config = { .base_fd = base_fd,
                                  .delta_fd = { delta_fd },
                                  .delta_count = delta_fd >= 0 };
    int rc = disk_open(&disk, &config, err);

    if (rc == 0)
        disk_close(&disk);
    return rc;
}

START_TEST(wrong_files_are_refused)
{
    struct err err = { 0 };
    int ends[2];
    struct disk_delta_header header;

    ck_assert_int_eq(try_open(blk_disk_fd(511, 0), -1, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "too small"));
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(try_open(ends[0], -1, &err), -EINVAL);
    close(ends[1]);
    ck_assert_int_eq(try_open(-1, -1, &err), -EBADF);
    ck_assert_int_eq(try_open(blk_disk_fd(4096, 0), blk_disk_fd(100000, 7), &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "no delta"));
    ck_assert_int_eq(try_open(blk_disk_fd(4096, 0), blk_disk_fd(5, 0), &err), -ENODATA);
    /* Every byte of a good delta's header flipped. */
    int good = memfd_create("delta", MFD_CLOEXEC);
    ck_assert_int_eq(try_open(blk_disk_fd(DISK_BYTES, 0), dup(good), &err), 0);
    ck_assert_int_eq(try_open(blk_disk_fd(DISK_BYTES, 0), dup(good), &err), 0);
    ck_assert_int_eq(try_open(blk_disk_fd(DISK_BYTES * 2, 0), dup(good), &err), -EINVAL);
    ck_assert_int_eq(pread_all(good, &header, sizeof(header), 0), 0);
    for (unsigned i = 0; i < sizeof(header); i++) {
        uint8_t byte = ((const uint8_t *)&header)[i], flipped = (uint8_t)~byte;

        ck_assert_int_eq(pwrite_all(good, &flipped, 1, i), 0);
        ck_assert_int_eq(try_open(blk_disk_fd(DISK_BYTES, 0), dup(good), &err), -EINVAL);
        ck_assert_int_eq(pwrite_all(good, &byte, 1, i), 0);
    }
    ck_assert_int_eq(ftruncate(good, DISK_BYTES), 0);
    ck_assert_int_eq(try_open(blk_disk_fd(DISK_BYTES, 0), dup(good), &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "cut off"));
    close(good);
}
END_TEST

/* ---- Hostile requests. ---- */

START_TEST(request_without_status_breaks_the_device)
{
    struct fixture f;

    set_up(&f, false);
    const struct driver_buffer out[] = { { f.header_gpa, 16 } };
    const struct driver_buffer short_header[] = { { f.header_gpa, 15 }, { f.status_gpa, 1 } };
    if (_i == 0)
        driver_add(&f.driver, 0, out, 1, 0);
    else
        driver_add(&f.driver, 0, short_header, 1, 1);
    driver_notify(&f.driver, 0);
    fake_vm_run(f.vm, 10);
    ck_assert(driver_status(&f.driver) & VIRTIO_STATUS_NEEDS_RESET);
    blk_tear_down(&f);
}
END_TEST

START_TEST(only_a_status_byte)
{
    struct fixture f;

    set_up(&f, false);
    ck_assert_int_eq(blk_request(&f, IN, 0, 0, true), OK); /* nothing asked, nothing given */
    ck_assert_int_eq(blk_request(&f, GET_ID, 0, 0, true), OK);
    ck_assert_int_eq(blk_request(&f, GET_ID, 0, 7, true), OK);
    ck_assert_mem_eq(blk_data(&f), "volt-te", 7);
    blk_tear_down(&f);
}
END_TEST

/* ---- Limits and moves. ---- */

/* Leaves a write of the first sector undone: the limit's. Between two requests at once so much time
 * may pass on a busy machine that both are within it. */
static void write_until_delayed(struct fixture *f, uint8_t fill)
{
    unsigned tries = 0;

    do {
        ck_assert_uint_lt(tries++, 1000);
        memset(blk_data(f), fill, 512);
        blk_submit(f, OUT, 0, 512, false);
    } while (blk_finish(f) == OK);
}

START_TEST(limit_delays_and_a_move_does_not_wait)
{
    struct fixture f;
    struct err err = { 0 };

    set_up(&f, true);
    f.dev->ops->destroy(f.dev);
    struct blk_config config = config_of(&f);
    config.limit.ops = (struct rate_bucket_config){ .per_s = 20, .burst = 1 };
    blk_start(&f, &config);
    write_until_delayed(&f, 2);
    usleep(120000);
    ck_assert_int_eq(blk_finish(&f), OK); /* by the timer, unasked */
    write_until_delayed(&f, 3);
    struct device *old = f.dev;
    config = config_of(&f);
    ck_assert_int_eq(blk_create(f.vm, 2, "blk0", &config, &f.dev, &err), 0);
    ck_assert_msg(fake_vm_move(old, f.dev, &err) == 0, "%s", err.msg);
    old->ops->destroy(old);
    driver_follow(&f.driver, f.dev);
    ck_assert_int_eq(blk_finish(&f), OK); /* done before it was saved */
    blk_expect_fill(&f, 0, 512, 3);
    blk_tear_down(&f);
}
END_TEST

/* The ring holds 33 bytes of it; the host writes all of the disk. */
START_TEST(zeroes_that_are_written_count)
{
    struct fixture f;

    set_up(&f, _i);
    f.dev->ops->destroy(f.dev);
    struct blk_config config = config_of(&f);
    config.limit.bytes.per_s = 65536;
    blk_start(&f, &config);
    ck_assert_int_eq(zero_request(&f, DISCARD, 0, DISK_BYTES / 512, 0), OK); /* writes nothing */
    ck_assert_int_eq(zero_request(&f, WRITE_ZEROES, 0, DISK_BYTES / 512, 1), OK);
    ck_assert_int_eq(zero_request(&f, WRITE_ZEROES, 0, DISK_BYTES / 512, 0), OK);
    ck_assert_int_eq(blk_request(&f, IN, 0, 512, true), -1);
    blk_tear_down(&f);
}
END_TEST

START_TEST(disk_of_another_size_is_refused)
{
    struct fixture f;
    struct device *other = NULL;
    struct err err = { 0 };
    const struct blk_config config = { .disk = { .base_fd = blk_disk_fd(DISK_BYTES / 2, 0) } };

    set_up(&f, false);
    ck_assert_int_eq(blk_create(f.vm, 3, "blk1", &config, &other, &err), 0);
    ck_assert_int_eq(fake_vm_move(f.dev, other, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "524288"));
    other->ops->destroy(other);
    blk_tear_down(&f);
}
END_TEST

START_TEST(rate_is_exact)
{
    const struct rate_limit_config config = { .bytes = { .per_s = 1000003, .burst = 5000 },
                                              .ops = { .per_s = 777 } };
    struct rate_limit limit;
    uint64_t at_ns = 5, bytes = 0, ops = 0, waits = 0;

    rate_limit_init(&limit, &config, at_ns);
    while (at_ns < 100 * NS_PER_S) {
        uint64_t wait_ns = rate_limit_take(&limit, 4096, at_ns);

        if (wait_ns == 0) {
            bytes += 4096;
            ops++;
        } else {
            waits++;
            at_ns += wait_ns;
        }
    }
    ck_assert_uint_ge(bytes, 100 * 1000003ull);
    ck_assert_uint_le(bytes, 100 * 1000003ull + 5000 + 2 * 4096);
    ck_assert_uint_le(waits, ops + 1); /* the answer is long enough: nobody spins */
    rate_limit_init(&limit, &(struct rate_limit_config){ 0 }, 0);
    ck_assert_uint_eq(rate_limit_take(&limit, UINT64_MAX, 0), 0);
    ck_assert_uint_eq(rate_limit_take(&limit, UINT64_MAX, 0), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("blk_device");
    TCase *tests = tap_case(suite, "blk");

    tcase_add_loop_test(tests, reads_and_writes, 0, 2);
    tcase_add_loop_test(tests, ranges_are_checked, 0, ARRAY_LEN(bad_ranges));
    tcase_add_loop_test(tests, random_work_matches_a_model, 0, 2);
    tcase_add_test(tests, layers_stack);
    tcase_add_test(tests, read_only_disk);
    tcase_add_test(tests, image_cut_underneath);
    tcase_add_test(tests, wrong_files_are_refused);
    tcase_add_loop_test(tests, request_without_status_breaks_the_device, 0, 2);
    tcase_add_test(tests, only_a_status_byte);
    tcase_add_test(tests, limit_delays_and_a_move_does_not_wait);
    tcase_add_loop_test(tests, zeroes_that_are_written_count, 0, 2);
    tcase_add_test(tests, disk_of_another_size_is_refused);
    tcase_add_test(tests, rate_is_exact);
    return tap_main(suite);
}
