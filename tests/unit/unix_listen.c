/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a path is listened at by one alone; what was left behind is replaced, what is somebody's or
 * no socket stays. Method: sockets and files in a folder of their own, and many that start at once.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unix_listen.h"
#include "base/util.h"
#include "tap_main.h"

#define STARTERS 16

static char dir[64], path[96];
static struct unix_listener listener;
static struct err err;

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/unix-listen-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/socket", dir);
    listener.fd = -1;
}

static void teardown(void)
{
    unix_listener_close(&listener);
    unlink(path);
    ck_assert_int_eq(rmdir(dir), 0);
}

static int listen_there(struct unix_listener *ret)
{
    return unix_listen(ret, path, 0660, UNIX_KEEP_GROUP, 4, &err);
}

static int connect_there(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        close_fd(&fd);
    return fd;
}

START_TEST(a_free_path_is_taken_and_given_back)
{
    struct stat st;

    ck_assert_int_eq(listen_there(&listener), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0660);
    _cleanup_close_ int fd = connect_there();
    ck_assert_int_ge(fd, 0);
    unix_listener_close(&listener);
    ck_assert_int_eq(lstat(path, &st), -1);
}
END_TEST

START_TEST(a_live_socket_stays)
{
    struct unix_listener second = { .fd = -1 };

    ck_assert_int_eq(listen_there(&listener), 0);
    ck_assert_int_eq(listen_there(&second), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(err.msg, "another program listens"));
    ck_assert_int_eq(second.fd, -1);
    _cleanup_close_ int fd = connect_there();
    ck_assert_int_ge(fd, 0);
}
END_TEST

START_TEST(a_busy_socket_stays)
{
    struct unix_listener second = { .fd = -1 };
    int fds[64], count = 0;

    ck_assert_int_eq(listen_there(&listener), 0);
    /* Nobody accepts: the backlog fills up. */
    while (count < 64) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };

        strcpy(address.sun_path, path);
        fds[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(fds[count++], (struct sockaddr *)&address, sizeof address) < 0)
            break;
    }
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(listen_there(&second), -EADDRINUSE);
    while (count > 0)
        close(fds[--count]);
}
END_TEST

START_TEST(what_a_killed_process_left_is_replaced)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (listen_there(&listener) == 0)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(access(path, F_OK), 0);
    ck_assert_int_eq(listen_there(&listener), 0);
    _cleanup_close_ int fd = connect_there();
    ck_assert_int_ge(fd, 0);
}
END_TEST

START_TEST(what_is_no_socket_stays)
{
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(listen_there(&listener), -EEXIST);
    ck_assert_int_eq(access(path, F_OK), 0);
    unlink(path);
    ck_assert_int_eq(symlink("nowhere", path), 0);
    ck_assert_int_eq(listen_there(&listener), -EEXIST);
}
END_TEST

START_TEST(a_datagram_socket_stays)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen_there(&listener), -EADDRINUSE);
}
END_TEST

START_TEST(another_ones_socket_is_not_removed)
{
    struct unix_listener second = { .fd = -1 };
    struct stat st;

    ck_assert_int_eq(listen_there(&listener), 0);
    ck_assert_int_eq(unlink(path), 0); /* somebody's mistake */
    ck_assert_int_eq(listen_there(&second), 0);
    unix_listener_close(&listener);
    ck_assert_int_eq(lstat(path, &st), 0);
    unix_listener_close(&second);
    ck_assert_int_eq(lstat(path, &st), -1);
}
END_TEST

/* Tells on `told` how it went, and stays until `hold` is closed. */
static void starter_run(int go, int told, int hold)
{
    char byte;

    if (read(go, &byte, 1) != 0)
        _exit(1);
    byte = (char)-listen_there(&listener);
    if (write(told, &byte, 1) != 1 || read(hold, &byte, 1) != 0)
        _exit(1);
    _exit(0);
}

START_TEST(of_many_at_once_one_listens)
{
    int go[2], told[2], hold[2], status;
    unsigned won = 0, refused = 0;
    char result;

    ck_assert_int_eq(pipe(go) + pipe(told) + pipe(hold), 0);
    ck_assert_int_eq(listen_there(&listener), 0);
    close_fd(&listener.fd); /* left behind */
    for (unsigned i = 0; i < STARTERS; i++) {
        if (fork() == 0) {
            close(go[1]);
            close(hold[1]);
            starter_run(go[0], told[1], hold[0]);
        }
    }
    close(go[1]);
    for (unsigned i = 0; i < STARTERS; i++) {
        ck_assert_int_eq(read(told[0], &result, 1), 1);
        won += result == 0;
        refused += result == EADDRINUSE;
    }
    ck_assert_uint_eq(won, 1);
    ck_assert_uint_eq(refused, STARTERS - 1);
    close(hold[1]);
    while (wait(&status) > 0)
        ck_assert_int_eq(status, 0);
    close(go[0]);
    close(told[0]);
    close(told[1]);
    close(hold[0]);
}
END_TEST

/* Who may read the folder may lock it, and never let go. */
START_TEST(a_stranger_who_locks_the_folder_delays_and_no_more)
{
    int held[2];
    char byte;
    pid_t stranger;

    ck_assert_int_eq(chmod(dir, 0755), 0);
    ck_assert_int_eq(pipe(held), 0);
    stranger = fork();
    if (stranger == 0) {
        (void)!setuid(65534); /* without root: as ourselves */
        int fd = open(dir, O_RDONLY | O_DIRECTORY);
        if (flock(fd, LOCK_EX) == 0 && write(held[1], "", 1) == 1)
            pause();
        _exit(1);
    }
    close(held[1]);
    ck_assert_int_eq(read(held[0], &byte, 1), 1);
    close(held[0]);
    const int rc = listen_there(&listener);
    kill(stranger, SIGKILL);
    ck_assert_int_eq(waitpid(stranger, NULL, 0), stranger);
    ck_assert_msg(rc == 0, "%s", err.msg);
}
END_TEST

START_TEST(a_path_that_is_too_long_is_refused)
{
    char longer[256];

    memset(longer, 'x', sizeof longer - 1);
    longer[0] = '/';
    longer[sizeof longer - 1] = '\0';
    ck_assert_int_eq(unix_listen(&listener, longer, 0600, UNIX_KEEP_GROUP, 1, &err), -ENAMETOOLONG);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("unix-listen");
    TCase *tcase = tap_case(suite, "paths");
    const TTest *tests[] = {
        a_free_path_is_taken_and_given_back,
        a_live_socket_stays,
        a_busy_socket_stays,
        what_a_killed_process_left_is_replaced,
        what_is_no_socket_stays,
        a_datagram_socket_stays,
        another_ones_socket_is_not_removed,
        of_many_at_once_one_listens,
        a_stranger_who_locks_the_folder_delays_and_no_more,
        a_path_that_is_too_long_is_refused,
    };

    tcase_add_checked_fixture(tcase, setup, teardown);
    for (unsigned i = 0; i < ARRAY_LEN(tests); i++)
        tcase_add_test(tcase, tests[i]);
    return tap_main(suite);
}
