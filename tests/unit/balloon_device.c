/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: pages that the guest gives back leave the host's memory, those and no others, whether guest
 * memory is a shared file or a private mapping of a snapshot; what is not RAM is refused.
 * Method: a scripted driver over memory filled with a pattern; the file's size on disk.
 */
#include "virtio/balloon.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/util.h"
#include "tap_main.h"
#include "virtio/virtio_mmio.h"
#include "virtio_driver.h"

#define PAGES_GPA 0x800000u /* 8 MiB: clear of what the driver allocates */
#define PAGES 1024u
#define PFNS_LOOKED_AT 65536u /* in a chain, at most */

enum { INFLATE, DEFLATE, REPORTING };

struct fixture {
    struct vm *vm;
    struct balloon *balloon;
    struct device *dev;
    struct virtio_driver driver;
    gpa_t pfn_gpa;
};

static void set_up(struct fixture *f)
{
    struct err err = { 0 };

    memset(f, 0, sizeof(*f));
    f->vm = fake_vm_create();
    ck_assert_msg(balloon_create(f->vm, 4, &f->balloon, &err) == 0, "%s", err.msg);
    f->dev = balloon_device(f->balloon);
    ck_assert(driver_start(&f->driver, f->vm, f->dev, UINT64_MAX, 3, 16));
    f->pfn_gpa = driver_alloc(&f->driver, 65536);
    memset(driver_at(&f->driver, PAGES_GPA), 0x5a, PAGES * 4096);
    fake_vm_run(f->vm, 10);
}

static void tear_down(struct fixture *f)
{
    f->dev->ops->destroy(f->dev);
    ck_assert_uint_eq(f->vm->polls, 0);
    fake_vm_destroy(f->vm);
}

/* The same guest on a private mapping of what its memory was. */
static void make_private(struct fixture *f)
{
    int fd = dup(f->vm->mem.fd);

    munmap(f->vm->mem.hva, f->vm->mem.ram_bytes);
    close_fd(&f->vm->mem.fd);
    ck_assert_int_eq(guest_mem_map_private(&f->vm->mem, fd, NULL), 0);
    close(fd);
    ck_assert(driver_start(&f->driver, f->vm, f->dev, UINT64_MAX, 3, 16));
    f->pfn_gpa = driver_alloc(&f->driver, 65536);
    fake_vm_run(f->vm, 10);
}

static uint64_t released(struct fixture *f)
{
    struct balloon_stats stats;

    balloon_query_stats(f->balloon, &stats);
    return stats.released_bytes;
}

static void send_pfns(struct fixture *f, unsigned queue, const uint32_t *pfn, uint32_t count)
{
    const struct driver_buffer buffer = { f->pfn_gpa, count * 4 };
    uint16_t head;
    uint32_t bytes;

    memcpy(driver_at(&f->driver, f->pfn_gpa), pfn, count * 4);
    driver_add(&f->driver, queue, &buffer, 1, 0);
    driver_notify(&f->driver, queue);
    fake_vm_run(f->vm, 10);
    ck_assert(driver_used(&f->driver, queue, &head, &bytes));
}

static bool page_is(struct fixture *f, unsigned page, uint8_t value)
{
    const uint8_t *at = driver_at(&f->driver, PAGES_GPA + page * 4096);

    for (unsigned i = 0; i < 4096; i++) {
        if (at[i] != value)
            return false;
    }
    return true;
}

START_TEST(inflated_pages_leave_the_file)
{
    struct fixture f;
    struct stat before, after;
    const uint32_t first = PAGES_GPA / 4096;
    uint32_t pfn[300];

    set_up(&f);
    for (unsigned i = 0; i < 300; i++) /* every page but each tenth */
        pfn[i] = first + i + i / 9;
    ck_assert_int_eq(fstat(f.vm->mem.fd, &before), 0);
    send_pfns(&f, INFLATE, pfn, 300);
    ck_assert_int_eq(fstat(f.vm->mem.fd, &after), 0);
    ck_assert_uint_eq(released(&f), 300 * 4096);
    ck_assert_int_eq(before.st_blocks - after.st_blocks, 300 * 8);
    for (unsigned i = 0; i < 300; i++)
        ck_assert(page_is(&f, pfn[i] - first, 0));
    ck_assert(page_is(&f, 9, 0x5a));
    ck_assert(page_is(&f, 400, 0x5a));
    send_pfns(&f, DEFLATE, pfn, 300); /* nothing to do, and answered */
    tear_down(&f);
}
END_TEST

START_TEST(private_pages_go_back_to_the_snapshot)
{
    struct fixture f;
    const uint32_t pfn[] = { PAGES_GPA / 4096 + 1 };

    set_up(&f);
    make_private(&f);
    memset(driver_at(&f.driver, PAGES_GPA), 0x77, 3 * 4096);
    send_pfns(&f, INFLATE, pfn, 1);
    ck_assert(page_is(&f, 0, 0x77));
    ck_assert(page_is(&f, 1, 0x5a));
    ck_assert(page_is(&f, 2, 0x77));
    tear_down(&f);
}
END_TEST

START_TEST(reported_pages_leave)
{
    struct fixture f;
    const struct driver_buffer buffers[] = { { PAGES_GPA, 64 * 4096 },
                                             { PAGES_GPA + 100 * 4096 + 1, 3 * 4096 } };
    uint16_t head;
    uint32_t bytes;

    set_up(&f);
    driver_add(&f.driver, REPORTING, buffers, 0, 2);
    driver_notify(&f.driver, REPORTING);
    fake_vm_run(f.vm, 10);
    ck_assert(driver_used(&f.driver, REPORTING, &head, &bytes));
    ck_assert_uint_eq(released(&f), 66 * 4096); /* of the second, whole pages only */
    ck_assert(page_is(&f, 63, 0));
    ck_assert(page_is(&f, 64, 0x5a));
    ck_assert(page_is(&f, 100, 0x5a));
    ck_assert(page_is(&f, 101, 0));
    ck_assert(page_is(&f, 102, 0));
    ck_assert(page_is(&f, 103, 0x5a));
    tear_down(&f);
}
END_TEST

START_TEST(what_is_not_ram_is_refused)
{
    struct fixture f;
    struct balloon_stats stats;
    const uint32_t pfn[] = { GUEST_RAM_BYTES_MIN / 4096, UINT32_MAX, 0xd0000000u / 4096,
                             GUEST_RAM_BYTES_MIN / 4096 - 1, /* good, and ... */
                             GUEST_RAM_BYTES_MIN / 4096 };   /* ... a run across the end */

    set_up(&f);
    send_pfns(&f, INFLATE, pfn, ARRAY_LEN(pfn));
    balloon_query_stats(f.balloon, &stats);
    ck_assert_uint_eq(stats.released_bytes, 0);
    ck_assert_uint_eq(stats.refused_ranges, 4);
    tear_down(&f);
}
END_TEST

START_TEST(chain_of_the_whole_memory_is_bounded)
{
    struct fixture f;
    const struct driver_buffer buffers[] = { { 0, GUEST_RAM_BYTES_MIN }, { 0, 3 } };
    struct balloon_stats stats;
    uint16_t head;
    uint32_t bytes;

    set_up(&f);
    driver_add(&f.driver, INFLATE, buffers, 2, 0);
    driver_notify(&f.driver, INFLATE);
    fake_vm_run(f.vm, 10);
    balloon_query_stats(f.balloon, &stats);
    ck_assert_uint_gt(stats.released_bytes, 0);
    ck_assert_uint_le(stats.released_bytes / 4096 + stats.refused_ranges, PFNS_LOOKED_AT);
    (void)driver_used(&f.driver, INFLATE, &head, &bytes);
    tear_down(&f);
}
END_TEST

START_TEST(target_and_answer)
{
    struct fixture f;
    struct balloon_stats stats;
    struct balloon *other = NULL;
    struct err err = { 0 };

    set_up(&f);
    driver_interrupts(&f.driver);
    uint32_t generation = fake_read(f.dev, 0x0fc, 4);
    balloon_set_target(f.balloon, 500);
    ck_assert_uint_eq(driver_interrupts(&f.driver), 1);
    ck_assert_uint_eq(fake_read(f.dev, 0x0fc, 4), generation + 1);
    ck_assert_uint_eq(fake_read(f.dev, 0x100, 4), 500);
    fake_write(f.dev, 0x104, 321, 4);
    fake_write(f.dev, 0x100, 9999, 4); /* not the driver's */
    fake_write(f.dev, 0x108, 1, 4);    /* beyond the end */
    balloon_query_stats(f.balloon, &stats);
    ck_assert_uint_eq(stats.target_pages, 500);
    ck_assert_uint_eq(stats.actual_pages, 321);
    ck_assert_int_eq(balloon_create(f.vm, 4, &other, &err), 0);
    ck_assert_msg(fake_vm_move(f.dev, balloon_device(other), &err) == 0, "%s", err.msg);
    ck_assert_uint_eq(fake_read(balloon_device(other), 0x100, 4), 500);
    ck_assert_uint_eq(fake_read(balloon_device(other), 0x104, 4), 321);
    balloon_device(other)->ops->destroy(balloon_device(other));
    tear_down(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("balloon_device");
    TCase *tests = tap_case(suite, "balloon");

    tcase_add_test(tests, inflated_pages_leave_the_file);
    tcase_add_test(tests, private_pages_go_back_to_the_snapshot);
    tcase_add_test(tests, reported_pages_leave);
    tcase_add_test(tests, what_is_not_ram_is_refused);
    tcase_add_test(tests, chain_of_the_whole_memory_is_bounded);
    tcase_add_test(tests, target_and_answer);
    return tap_main(suite);
}
