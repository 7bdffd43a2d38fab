/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: file bytes that are on their way into guest memory are never seen half there: whoever is
 * early waits, also the kernel on somebody's behalf; and what can't be held back is copied at once.
 * Method: the host's real userfaultfd, and files of random bytes. On a host without one that this
 * user may open, the refusal is tested. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "boot/kernel_image.h"
#include "memory/guest_fill.h"
#include "memory/guest_mem.h"
#include "tap_main.h"

#define FILE_BYTES (MIB(3) + 777)

static struct guest_mem mem;
static struct guest_fill fill;
static int file_fd;
static uint8_t *expected;

static void set_up(void)
{
    struct err err;

    ck_assert_msg(guest_mem_init(&mem, MIB(64), &err) == 0, "%s", err.msg);
    ck_assert_msg(guest_mem_map_new(&mem, false, &err) == 0, "%s", err.msg);
    fill = (struct guest_fill)GUEST_FILL_INIT;
    guest_fill_open(&fill);
    guest_fill_begin(&fill);
    mem.fill = &fill;
    expected = malloc(FILE_BYTES);
    random_bytes(expected, FILE_BYTES);
    file_fd = memfd_create("file", MFD_CLOEXEC);
    ck_assert_int_eq(pwrite_all(file_fd, expected, FILE_BYTES, 0), 0);
}

static void tear_down(void)
{
    guest_fill_fini(&fill);
    guest_mem_fini(&mem);
    close(file_fd);
    free(expected);
}

struct reader {
    pthread_t thread;
    gpa_t gpa;
    bool by_kernel; /* a system call reads it, as KVM does */
    atomic_bool has_read;
    uint8_t byte;
};

static void *read_early(void *arg)
{
    struct reader *self = arg;

    if (self->by_kernel)
        ck_assert_int_eq(pwrite_all(file_fd, guest_mem_at(&mem, self->gpa, 1), 1, FILE_BYTES), 0);
    else
        self->byte = *(volatile uint8_t *)guest_mem_at(&mem, self->gpa, 1);
    atomic_store(&self->has_read, true);
    return NULL;
}

static void reader_start(struct reader *self, gpa_t gpa, bool by_kernel)
{
    *self = (struct reader){ .gpa = gpa, .by_kernel = by_kernel };
    ck_assert_int_eq(pthread_create(&self->thread, NULL, read_early, self), 0);
}

/* Any offset in the file, any place in memory: both ends share pages with what is beside them. */
START_TEST(memory_is_the_file_once_it_has_run)
{
    static const struct {
        uint64_t offset;
        gpa_t gpa;
    } places[] = { { 0, MIB(16) }, { 4096, MIB(16) }, { 513, MIB(16) }, { 0, MIB(16) + 100 } };
    uint64_t offset = places[_i].offset, bytes = FILE_BYTES - offset;
    gpa_t gpa = places[_i].gpa;
    struct err err;

    ck_assert_int_eq(boot_load_file(file_fd, offset, &mem, gpa, bytes), 0);
    ck_assert_msg(guest_fill_run(&fill, &err) == 0, "%s", err.msg);
    ck_assert_mem_eq(guest_mem_at(&mem, gpa, bytes), expected + offset, bytes);
    ck_assert_uint_eq(*(uint8_t *)guest_mem_at(&mem, gpa + bytes, 1), 0);
}
END_TEST

START_TEST(who_is_early_waits)
{
    struct reader early[2];
    gpa_t gpa = MIB(16), last = gpa + MIB(3) - 1;
    struct err err;

    ck_assert_int_eq(boot_load_file(file_fd, 0, &mem, gpa, FILE_BYTES), 0);
    if (fill.count == 0) {
        printf("# skipped: needs a /dev/userfaultfd that it may open\n");
        return;
    }
    reader_start(&early[0], last, false);
    reader_start(&early[1], last, true);
    usleep(50000); /* for one that does not wait to be caught at it */
    ck_assert(!atomic_load(&early[0].has_read));
    ck_assert(!atomic_load(&early[1].has_read));
    ck_assert_msg(guest_fill_run(&fill, &err) == 0, "%s", err.msg);
    pthread_join(early[0].thread, NULL);
    pthread_join(early[1].thread, NULL);
    ck_assert_uint_eq(early[0].byte, expected[MIB(3) - 1]);
    ck_assert_int_eq(pread_all(file_fd, &early[1].byte, 1, FILE_BYTES), 0);
    ck_assert_uint_eq(early[1].byte, expected[MIB(3) - 1]);
}
END_TEST

START_TEST(file_that_gets_shorter_is_told)
{
    struct err err;

    ck_assert_int_eq(boot_load_file(file_fd, 0, &mem, MIB(16), FILE_BYTES), 0);
    if (fill.count == 0) {
        printf("# skipped: needs a /dev/userfaultfd that it may open\n");
        return;
    }
    ck_assert_int_eq(ftruncate(file_fd, MIB(1)), 0);
    ck_assert_int_eq(guest_fill_run(&fill, &err), -ENODATA);
    ck_assert_ptr_nonnull(strstr(err.msg, "has become shorter"));
}
END_TEST

START_TEST(little_is_not_worth_it)
{
    uint64_t skip;

    ck_assert_uint_eq(guest_fill_add(&fill, file_fd, 0, guest_mem_at(&mem, MIB(16), 1),
                                     GUEST_FILL_BYTES_MIN - 1, &skip),
                      0);
}
END_TEST

START_TEST(more_pieces_than_it_takes_are_copied_at_once)
{
    struct err err;

    for (unsigned i = 0; i < GUEST_FILL_PIECES_MAX + 2; i++)
        ck_assert_int_eq(boot_load_file(file_fd, 0, &mem, MIB(4 + 4 * i), MIB(3)), 0);
    ck_assert_uint_le(fill.count, GUEST_FILL_PIECES_MAX);
    ck_assert_msg(guest_fill_run(&fill, &err) == 0, "%s", err.msg);
    for (unsigned i = 0; i < GUEST_FILL_PIECES_MAX + 2; i++)
        ck_assert_mem_eq(guest_mem_at(&mem, MIB(4 + 4 * i), MIB(3)), expected, MIB(3));
}
END_TEST

/* As on a host that has none. */
START_TEST(without_userfaultfd_all_is_copied_at_once)
{
    struct guest_fill none = GUEST_FILL_INIT;
    struct err err;

    guest_fill_begin(&none);
    mem.fill = &none;
    ck_assert_int_eq(boot_load_file(file_fd, 0, &mem, MIB(16), FILE_BYTES), 0);
    ck_assert_mem_eq(guest_mem_at(&mem, MIB(16), FILE_BYTES), expected, FILE_BYTES);
    ck_assert_int_eq(guest_fill_run(&none, &err), 0);
    guest_fill_fini(&none);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest_fill");
    TCase *tests = tap_case(suite, "fill");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, memory_is_the_file_once_it_has_run, 0, 4);
    tcase_add_test(tests, who_is_early_waits);
    tcase_add_test(tests, file_that_gets_shorter_is_told);
    tcase_add_test(tests, little_is_not_worth_it);
    tcase_add_test(tests, more_pieces_than_it_takes_are_copied_at_once);
    tcase_add_test(tests, without_userfaultfd_all_is_copied_at_once);
    return tap_main(suite);
}
