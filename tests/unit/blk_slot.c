/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a slot for a volume is a device without a sector, whatever a guest asks of it, until it is filled,
 *   once; then it reads, and writes in its place, in a copy or not at all, as it was told.
 * Method: blk_fixture.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "blk_fixture.h"
#include "tap_main.h"

static uint64_t capacity(struct fixture *f)
{
    uint32_t half[2];

    for (unsigned i = 0; i < 2; i++)
        f->dev->ops->read(f->dev, 0x100 + 4 * i, &half[i], 4);
    return half[0] | (uint64_t)half[1] << 32;
}

static void slot_set_up(struct fixture *f)
{
    const struct blk_config config = { .slot = true, .id = "volt-volume0" };

    memset(f, 0, sizeof(*f));
    f->vm = fake_vm_create();
    f->base_fd = blk_disk_fd(DISK_BYTES, 0x5a);
    f->delta_fd = memfd_create("scratch", MFD_CLOEXEC);
    blk_start(f, &config);
}

static struct disk_config slot_disk(const struct fixture *f, bool read_only, bool copy)
{
    struct disk_config config = { .base_fd = dup(f->base_fd),
                                  .read_only = read_only,
                                  .scratch_bytes = DISK_BYTES };

    if (copy)
        config.delta_fd[config.delta_count++] = dup(f->delta_fd);
    return config;
}

START_TEST(an_empty_slot_has_nothing_whatever_is_asked)
{
    static const uint32_t types[] = { IN, OUT, DISCARD, WRITE_ZEROES, 77 };
    struct fixture f;

    slot_set_up(&f);
    ck_assert_uint_eq(capacity(&f), 0);
    for (unsigned i = 0; i < ARRAY_LEN(types); i++)
        for (uint64_t sector = 0; sector < 3; sector++)
            ck_assert_int_ne(
                blk_request(&f, types[i], sector, types[i] == IN ? 512 : 16, types[i] == IN), OK);
    ck_assert_int_eq(blk_write_fill(&f, UINT64_MAX, 512, 1), IOERR);
    ck_assert_int_eq(blk_request(&f, FLUSH, 0, 0, true), OK);
    ck_assert_int_eq(blk_request(&f, GET_ID, 0, 20, true), OK);
    ck_assert_str_eq((const char *)blk_data(&f), "volt-volume0");
    blk_tear_down(&f);
}
END_TEST

START_TEST(a_slot_is_filled_once_and_the_guest_is_told)
{
    const bool read_only = _i == 0, copy = _i == 1;
    struct disk_config config, second;
    struct err err = { 0 };
    uint8_t byte = 0;
    struct fixture f;

    slot_set_up(&f);
    config = slot_disk(&f, read_only, copy);
    second = slot_disk(&f, true, false);
    (void)driver_interrupts(&f.driver);
    ck_assert_msg(blk_attach(f.dev, &config, &err) == 0, "%s", err.msg);
    ck_assert_uint_eq(driver_interrupts(&f.driver), 1);
    ck_assert_uint_eq(capacity(&f), DISK_BYTES / 512);
    ck_assert_int_eq(blk_attach(f.dev, &second, &err), -EBUSY);
    ck_assert_int_eq(fcntl(second.base_fd, F_GETFD), -1); /* it was taken all the same */
    blk_expect_fill(&f, 0, 4096, 0x5a);
    ck_assert_int_eq(blk_write_fill(&f, 9, 512, 0x77), read_only ? IOERR : OK);
    blk_expect_fill(&f, 9, 512, read_only ? 0x5a : 0x77);
    blk_expect_fill(&f, 10, 512, 0x5a);
    ck_assert_int_eq(blk_write_fill(&f, DISK_BYTES / 512, 512, 1), IOERR);
    ck_assert_int_eq(blk_request(&f, FLUSH, 0, 0, true), OK);
    /* Only what is written in place is in the base. */
    ck_assert_int_eq(pread(f.base_fd, &byte, 1, 9 * 512), 1);
    ck_assert_uint_eq(byte, _i == 2 ? 0x77 : 0x5a);
    blk_tear_down(&f);
}
END_TEST

START_TEST(a_slot_is_moved_empty)
{
    struct disk_config config;
    struct err err = { 0 };
    struct fixture f;
    void *state;

    slot_set_up(&f);
    ck_assert_int_eq(f.dev->ops->quiesce(f.dev, &err), 0);
    state = calloc(1, f.dev->ops->desc->struct_bytes);
    f.dev->ops->save(f.dev, state);
    ck_assert_msg(f.dev->ops->load(f.dev, state, &err) == 0, "%s", err.msg);
    config = slot_disk(&f, true, false);
    ck_assert_int_eq(blk_attach(f.dev, &config, &err), 0);
    ck_assert_int_eq(f.dev->ops->load(f.dev, state, &err), -EINVAL); /* of a slot that was empty */
    free(state);
    blk_tear_down(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("blk_slot");
    TCase *tests = tap_case(suite, "slot");

    tcase_add_test(tests, an_empty_slot_has_nothing_whatever_is_asked);
    tcase_add_loop_test(tests, a_slot_is_filled_once_and_the_guest_is_told, 0, 3);
    tcase_add_test(tests, a_slot_is_moved_empty);
    return tap_main(suite);
}
