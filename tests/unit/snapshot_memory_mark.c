/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a mark is believed only of the very file that was compared, as it was then, and only when no
 * write can have gone unseen.
 * Method: a file at rest (ctime can't be set, so the test waits), and everything that can happen to
 * it and to its mark afterwards.
 */
#include "snapshot/memory_mark.h"

#include "snapshot_test.h"

#define FILE_BYTES 8192

struct marked {
    char path[256];
    int dir_fd;
    struct digest table;
    struct memory_mark mark;
};

static void write_at(const struct marked *m, const char *name, off_t offset, char byte)
{
    _cleanup_close_ int fd = openat(m->dir_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_eq(pwrite(fd, &byte, 1, offset), 1);
}

/* What happens to a file and its mark below; three tests more have a file each. */
#define EVENTS 8
enum { LEFT = EVENTS, RESTLESS, UNWRITABLE, FILES };
static struct marked files[FILES]; /* at rest, each with the mark of it, which is not left yet */

static void set_up(void)
{
    for (unsigned i = 0; i < FILES; i++) {
        files[i] = (struct marked){ .table = digest_of("table", 5) };
        files[i].dir_fd = test_dir_make(files[i].path);
        write_at(&files[i], SNAPSHOT_FILE_MEMORY, FILE_BYTES - 1, 'x');
    }
    usleep(MEMORY_MARK_REST_NS / NS_PER_US + 20000);
    for (unsigned i = 0; i < FILES; i++)
        ck_assert(memory_mark_make(files[i].dir_fd, &files[i].table, &files[i].mark));
}

static void tear_down(void)
{
    for (unsigned i = 0; i < FILES; i++)
        test_dir_remove(files[i].dir_fd, files[i].path);
}

static void leave(const struct marked *m)
{
    memory_mark_leave(m->dir_fd, &m->mark, clock_ns(CLOCK_REALTIME));
}

/* Whether the file, as it is now, counts as compared. */
static bool is_known(const struct marked *m)
{
    struct memory_mark mark;

    return memory_mark_make(m->dir_fd, &m->table, &mark) && memory_mark_is_left(m->dir_fd, &mark);
}

START_TEST(left_mark_is_found)
{
    struct marked *m = &files[LEFT];

    ck_assert(!is_known(m));
    leave(m);
    ck_assert(is_known(m));
    leave(m); /* by another, who compared at the same time */
    ck_assert(is_known(m));
}
END_TEST

static void write_same_byte(struct marked *m)
{
    write_at(m, SNAPSHOT_FILE_MEMORY, FILE_BYTES - 1, 'x');
}

static void write_and_set_times_back(struct marked *m)
{
    const struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
                                       { .tv_sec = m->mark.modified_ns / (int64_t)NS_PER_S,
                                         .tv_nsec = m->mark.modified_ns % (int64_t)NS_PER_S } };

    write_at(m, SNAPSHOT_FILE_MEMORY, 0, 'y');
    ck_assert_int_eq(utimensat(m->dir_fd, SNAPSHOT_FILE_MEMORY, times, 0), 0);
}

static void put_another_file(struct marked *m)
{
    write_at(m, "new", FILE_BYTES - 1, 'x');
    ck_assert_int_eq(renameat(m->dir_fd, "new", m->dir_fd, SNAPSHOT_FILE_MEMORY), 0);
}

static void other_digests(struct marked *m)
{
    m->table = digest_of("other", 5);
}

static void spoil_mark(struct marked *m)
{
    write_at(m, SNAPSHOT_FILE_MEMORY_MARK, offsetof(struct memory_mark, boot_id), 1);
    write_at(m, SNAPSHOT_FILE_MEMORY_MARK, offsetof(struct memory_mark, boot_id) + 1, 2);
}

static void cut_mark(struct marked *m)
{
    _cleanup_close_ int fd = openat(m->dir_fd, SNAPSHOT_FILE_MEMORY_MARK, O_WRONLY | O_CLOEXEC);

    ck_assert_int_eq(ftruncate(fd, sizeof m->mark - 1), 0);
}

static void let_others_write_it(struct marked *m)
{
    ck_assert_int_eq(fchmodat(m->dir_fd, SNAPSHOT_FILE_MEMORY_MARK, 0666, 0), 0);
}

static void link_to_it(struct marked *m)
{
    ck_assert_int_eq(renameat(m->dir_fd, SNAPSHOT_FILE_MEMORY_MARK, m->dir_fd, "elsewhere"), 0);
    ck_assert_int_eq(symlinkat("elsewhere", m->dir_fd, SNAPSHOT_FILE_MEMORY_MARK), 0);
}

static void (*const events[EVENTS])(struct marked *m) = {
    write_same_byte, write_and_set_times_back, put_another_file, other_digests, spoil_mark,
    cut_mark,        let_others_write_it,      link_to_it,
};

START_TEST(anything_else_ends_it)
{
    struct marked *m = &files[_i];

    leave(m);
    ck_assert(is_known(m));
    events[_i](m);
    ck_assert(!is_known(m));
}
END_TEST

/* What was written while it was compared, or so shortly before that the file's clock may not have
 * moved, has not been compared. */
START_TEST(none_is_left_of_a_file_that_did_not_rest)
{
    struct marked *m = &files[RESTLESS];

    write_same_byte(m); /* meanwhile */
    leave(m);
    ck_assert(!is_known(m));
    ck_assert(memory_mark_make(m->dir_fd, &m->table, &m->mark)); /* just before */
    leave(m);
    ck_assert(!is_known(m));
}
END_TEST

START_TEST(where_nothing_can_be_written_nothing_happens)
{
    struct marked *m = &files[UNWRITABLE];

    ck_assert_int_eq(mkdirat(m->dir_fd, SNAPSHOT_FILE_MEMORY_MARK, 0700), 0);
    leave(m);
    ck_assert(!is_known(m));
    ck_assert(!memory_mark_make(-1, &m->table, &m->mark));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("snapshot_memory_mark");
    TCase *tests = tap_case(suite, "marks");

    tcase_add_unchecked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, left_mark_is_found);
    tcase_add_loop_test(tests, anything_else_ends_it, 0, EVENTS);
    tcase_add_test(tests, none_is_left_of_a_file_that_did_not_rest);
    tcase_add_test(tests, where_nothing_can_be_written_nothing_happens);
    return tap_main(suite);
}
