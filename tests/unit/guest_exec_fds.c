/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a terminal made ahead is as new as one made for its command, serves that one alone, and
 * leaves nothing behind; pipes are as the agent needs them. Method: the agent's own calls, with the
 * pipes and terminals of this host. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "exec_fds.h"
#include "tap_main.h"

static const struct agent_exec plain = { 0 };
static const struct agent_exec service = { .flags = AGENT_EXEC_SERVICE };
static const struct agent_exec with_input = { .flags = AGENT_EXEC_STDIN };
static const struct agent_exec unsized = { .flags = AGENT_EXEC_PTY };
static const struct agent_exec sized = { .flags = AGENT_EXEC_PTY, .rows = 33, .cols = 101 };

static unsigned open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static struct exec_fds opened(const struct agent_exec *exec)
{
    struct exec_fds fds;

    ck_assert_int_eq(exec_fds_open(exec, &fds), 0);
    return fds;
}

/* What tells one pipe or terminal from another while both are open. */
static ino_t identity(int fd)
{
    struct stat st;

    ck_assert_int_eq(fstat(fd, &st), 0);
    return st.st_ino;
}

static struct winsize window(const struct exec_fds *fds)
{
    struct winsize size;

    ck_assert_int_eq(ioctl(fds->child[0], TIOCGWINSZ, &size), 0);
    return size;
}

START_TEST(terminals_are_new)
{
    struct exec_fds first, second;
    struct termios was, is;

    exec_fds_prepare();
    first = opened(&sized);
    ck_assert_int_eq(window(&first).ws_row, 33);
    ck_assert_int_eq(window(&first).ws_col, 101);
    ck_assert_int_eq(tcgetattr(first.child[0], &was), 0);
    is = was;
    cfmakeraw(&is);
    ck_assert_int_eq(tcsetattr(first.child[0], TCSANOW, &is), 0);
    exec_fds_prepare();
    second = opened(&unsized);
    ck_assert_uint_ne(identity(first.child[0]), identity(second.child[0]));
    exec_fds_close(&first);
    ck_assert_int_eq(window(&second).ws_row, 0);
    ck_assert_int_eq(window(&second).ws_col, 0);
    ck_assert_int_eq(tcgetattr(second.child[0], &is), 0);
    ck_assert_uint_eq(is.c_lflag, was.c_lflag);
    ck_assert_uint_eq(is.c_iflag, was.c_iflag);
    ck_assert_uint_eq(is.c_oflag, was.c_oflag);
    exec_fds_close(&second);
    exec_fds_drop();
}
END_TEST

/* With one made ahead and without. */
START_TEST(terminal_works)
{
    struct exec_fds fds;
    char text[16] = "";

    if (_i)
        exec_fds_prepare();
    fds = opened(&sized);
    ck_assert_int_eq(write(fds.child[1], "out\n", 4), 4);
    ck_assert_int_eq(read(fds.streams[0], text, sizeof(text)), 5);
    ck_assert_str_eq(text, "out\r\n");
    ck_assert_int_eq(read(fds.streams[0], text, sizeof(text)), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(write(fds.input, "in\n", 3), 3);
    ck_assert_int_eq(read(fds.child[0], text, sizeof(text)), 3);
    exec_fds_started(&fds);
    while (read(fds.streams[0], text, sizeof(text)) > 0)
        ;
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(write(fds.child[1], "last\n", 5), 5);
    exec_fds_ended(&fds);
    ck_assert_int_eq(read(fds.streams[0], text, sizeof(text)), 6);
    ck_assert_int_eq(read(fds.streams[0], text, sizeof(text)), -1);
    ck_assert_int_eq(errno, EIO); /* nobody else has it open */
    exec_fds_close(&fds);
    exec_fds_drop();
}
END_TEST

START_TEST(pipes_are_new)
{
    struct exec_fds first, second;

    exec_fds_prepare();
    first = opened(_i ? &with_input : &plain);
    exec_fds_prepare();
    second = opened(&plain);
    for (int i = 0; i < STREAM_COUNT; i++) {
        ck_assert_uint_ne(identity(first.streams[i]), identity(second.streams[i]));
        ck_assert_uint_eq(identity(first.streams[i]), identity(first.child[1 + i]));
        ck_assert_int_eq(fcntl(first.streams[i], F_GETFL) & O_NONBLOCK, O_NONBLOCK);
        ck_assert_int_eq(fcntl(first.child[1 + i], F_GETFL) & O_NONBLOCK, 0);
        ck_assert_int_eq(fcntl(first.child[1 + i], F_GETFD), FD_CLOEXEC);
        ck_assert_int_eq(fcntl(first.streams[i], F_GETFD), FD_CLOEXEC);
    }
    ck_assert_uint_ne(identity(first.streams[0]), identity(first.streams[1]));
    ck_assert(_i ? first.input >= 0 && first.child[0] >= 0 : first.input < 0 && first.child[0] < 0);
    exec_fds_close(&first);
    exec_fds_close(&second);
    exec_fds_drop();
}
END_TEST

START_TEST(service_has_one_pipe)
{
    struct exec_fds fds;

    exec_fds_prepare();
    fds = opened(&service);
    ck_assert_int_eq(fds.child[1], fds.child[2]);
    ck_assert_int_lt(fds.streams[1], 0);
    ck_assert_uint_ge(exec_pipe_bytes(fds.streams[0]), PIPE_BYTES);
    exec_fds_close(&fds);
    exec_fds_drop();
}
END_TEST

/* Each the only one of its time, so that a leak of one shows. */
START_TEST(nothing_is_left)
{
    static const struct agent_exec *const kinds[] = { &plain, &sized, &with_input, &unsized,
                                                      &service };
    unsigned before;

    exec_fds_prepare(); /* /dev/null stays */
    exec_fds_drop();
    before = open_fds();
    for (int i = 0; i < 500; i++) {
        struct exec_fds fds = opened(kinds[i % 5]);

        if (i % 2)
            exec_fds_started(&fds);
        exec_fds_close(&fds);
        if (i % 3)
            exec_fds_prepare();
    }
    exec_fds_drop();
    ck_assert_uint_eq(open_fds(), before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guest_exec_fds");
    TCase *tests = tap_case(suite, "exec-fds");

    tcase_add_test(tests, terminals_are_new);
    tcase_add_loop_test(tests, terminal_works, 0, 2);
    tcase_add_loop_test(tests, pipes_are_new, 0, 2);
    tcase_add_test(tests, service_has_one_pipe);
    tcase_add_test(tests, nothing_is_left);
    return tap_main(suite);
}
