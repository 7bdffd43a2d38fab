/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the template's loop tells poold of every clone's birth and end, keeps none of its fds, hands
 * working sets on, and outlives whatever a clone or a message does, until it is told to stop.
 * Method: the loop on a thread, with clones that are functions of this test; the test is poold. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/util.h"
#include "tap_main.h"
#include "volt-vmm/program.h"
#include "volt-vmm/template_loop.h"

#define PATIENCE_MS 60000

static struct template_loop loop;
static pthread_t thread;
static int control; /* poold's end */
static atomic_uint working_sets;

/* Reads a byte from the bell and does what it says. */
static int clone_one(void *context, const struct control_msg *msg, struct control_clone_fds *fds,
                     uint64_t start_ns)
{
    char byte = 0;

    ck_assert_ptr_eq(context, &loop);
    if (start_ns == 0 || start_ns > now_ns())
        return 99;
    if (write(fds->control, &msg->cookie, sizeof msg->cookie) != sizeof msg->cookie)
        return 98;
    if (read(fds->bell, &byte, 1) != 1)
        return 97;
    if (byte == 'k')
        raise(SIGKILL);
    return byte - '0';
}

static void take_working_set(void *context, int fd)
{
    ck_assert_ptr_eq(context, &loop);
    ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
    atomic_fetch_add(&working_sets, 1);
}

static const struct template_ops ops = { .clone = clone_one, .working_set = take_working_set };

static void *run(void *arg)
{
    (void)arg;
    template_loop_run(&loop);
    return NULL;
}

static void set_up(void)
{
    struct err err = { 0 };
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_msg(template_loop_init(&loop, pair[1], &ops, &loop, &err) == 0, "%s", err.msg);
    control = pair[0];
    ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
}

static void tear_down(void)
{
    close(control);
    pthread_join(thread, NULL);
    template_loop_fini(&loop);
}

static struct control_msg expect(enum control_type type, int ret_fds[CONTROL_FDS_MAX],
                                 unsigned *ret_fd_count)
{
    struct pollfd polled = { .fd = control, .events = POLLIN };
    struct control_msg msg;

    ck_assert_msg(poll(&polled, 1, PATIENCE_MS) == 1, "no message %d came", type);
    ck_assert_int_eq(control_recv(control, &msg, ret_fds, ret_fd_count), 0);
    ck_assert_uint_eq(msg.type, type);
    return msg;
}

struct cloned {
    int control, bell, pidfd;
};

static struct cloned ask(uint64_t cookie)
{
    struct control_clone_fds sent = CONTROL_CLONE_FDS_NONE;
    struct control_msg msg = { .cookie = cookie };
    int control_pair[2], bell_pair[2], fds[CONTROL_FDS_MAX];
    unsigned fd_count;
    uint64_t said = 0;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control_pair), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, bell_pair), 0);
    sent.control = control_pair[1];
    sent.bell = bell_pair[1];
    ck_assert_int_eq(control_clone_send(control, &msg, &sent), 0);
    close(control_pair[1]);
    close(bell_pair[1]);
    msg = expect(CONTROL_CLONED, fds, &fd_count);
    ck_assert_uint_eq(msg.cookie, cookie);
    ck_assert_int_eq(msg.u.cloned.error, 0);
    ck_assert_int_gt(msg.u.cloned.pid, 0);
    ck_assert_uint_eq(fd_count, 1);
    ck_assert_int_eq(read(control_pair[0], &said, sizeof said), sizeof said);
    ck_assert_uint_eq(said, cookie);
    return (struct cloned){ control_pair[0], bell_pair[0], fds[0] };
}

static int wait_status_of(struct cloned *clone, uint64_t cookie)
{
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;
    struct control_msg msg = expect(CONTROL_CHILD_EXITED, fds, &fd_count);

    ck_assert_uint_eq(msg.cookie, cookie);
    close(clone->control);
    close(clone->bell);
    close(clone->pidfd);
    return msg.u.child_exited.wait_status;
}

START_TEST(clones_are_born_and_their_ends_told)
{
    struct cloned first = ask(11), second = ask(12);
    int status;

    ck_assert_int_eq(write(second.bell, "3", 1), 1);
    status = wait_status_of(&second, 12);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 3);
    ck_assert_int_eq(write(first.bell, "k", 1), 1);
    status = wait_status_of(&first, 11);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGKILL);
}
END_TEST

START_TEST(many_end_at_once_and_each_is_told)
{
    enum { COUNT = 70 }; /* more than there is room for at first */
    struct cloned clone[COUNT];
    bool told[COUNT] = { false };
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    for (uint64_t i = 0; i < COUNT; i++)
        clone[i] = ask(i);
    for (uint64_t i = 0; i < COUNT; i++)
        ck_assert_int_eq(write(clone[i].bell, "0", 1), 1);
    for (uint64_t i = 0; i < COUNT; i++) {
        struct control_msg msg = expect(CONTROL_CHILD_EXITED, fds, &fd_count);

        ck_assert_uint_lt(msg.cookie, COUNT);
        ck_assert(!told[msg.cookie]);
        told[msg.cookie] = true;
    }
}
END_TEST

static unsigned open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

START_TEST(no_fd_of_a_clone_stays)
{
    struct cloned clone = ask(1);
    unsigned before = open_fds(); /* some of that clone may be on their way out */

    for (unsigned i = 0; i < 5; i++) {
        struct cloned one = ask(2 + i);

        ck_assert_int_eq(write(one.bell, "0", 1), 1);
        wait_status_of(&one, 2 + i);
    }
    ck_assert_uint_le(open_fds(), before);
    ck_assert_int_eq(write(clone.bell, "0", 1), 1);
    wait_status_of(&clone, 1);
}
END_TEST

START_TEST(fds_that_a_clone_does_not_know_end_it_alone)
{
    struct control_msg msg = { .type = CONTROL_CLONE, .cookie = 5 };
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    msg.u.clone.extra_fds = 0x10;
    ck_assert_int_eq(control_send(control, &msg, NULL, 0), 0);
    expect(CONTROL_CLONED, fds, &fd_count);
    msg = expect(CONTROL_CHILD_EXITED, fds, &fd_count);
    ck_assert_uint_eq(msg.cookie, 5);
    ck_assert_int_eq(WEXITSTATUS(msg.u.child_exited.wait_status), EXIT_SOFTWARE);
    struct cloned clone = ask(6);
    ck_assert_int_eq(write(clone.bell, "0", 1), 1);
    wait_status_of(&clone, 6);
}
END_TEST

START_TEST(fork_that_fails_is_told)
{
    struct rlimit limit;
    struct control_msg msg = { .type = CONTROL_CLONE, .cookie = 9 };
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    if (geteuid() == 0) /* root has no limit */
        ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_NPROC, &limit), 0);
    const struct rlimit none = { 0, limit.rlim_max };
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &none), 0);
    ck_assert_int_eq(control_send(control, &msg, NULL, 0), 0);
    msg = expect(CONTROL_CLONED, fds, &fd_count);
    ck_assert_uint_eq(msg.cookie, 9);
    ck_assert_int_eq(msg.u.cloned.error, EAGAIN);
    ck_assert_uint_eq(fd_count, 0);
    /* LeakSanitizer, at the end of this process, makes one. */
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &limit), 0);
}
END_TEST

START_TEST(working_sets_are_handed_on_and_closed)
{
    struct control_msg msg = { .type = CONTROL_WORKING_SET };
    int fd = memfd_create("set", MFD_CLOEXEC);
    unsigned before = open_fds();

    ck_assert_int_eq(control_send(control, &msg, &fd, 1), 0);
    ck_assert_int_eq(control_send(control, &msg, NULL, 0), 0); /* none came: ignored */
    struct cloned clone = ask(1);                              /* is served after them */
    ck_assert_uint_eq(atomic_load(&working_sets), 1);
    ck_assert_int_eq(write(clone.bell, "0", 1), 1);
    wait_status_of(&clone, 1);
    ck_assert_uint_eq(open_fds(), before);
}
END_TEST

START_TEST(stop_ends_it)
{
    struct control_msg msg = { .type = CONTROL_STOP };

    ck_assert_int_eq(control_send(control, &msg, NULL, 0), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0); /* for tear_down */
}
END_TEST

START_TEST(nonsense_ends_it)
{
    ck_assert_int_eq(send(control, "nonsense", 8, 0), 8);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("vmm_template");
    TCase *tc = tap_case(s, "vmm_template");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, clones_are_born_and_their_ends_told);
    tcase_add_test(tc, many_end_at_once_and_each_is_told);
    tcase_add_test(tc, no_fd_of_a_clone_stays);
    tcase_add_test(tc, fds_that_a_clone_does_not_know_end_it_alone);
    tcase_add_test(tc, fork_that_fails_is_told);
    tcase_add_test(tc, working_sets_are_handed_on_and_closed);
    tcase_add_test(tc, stop_ends_it);
    tcase_add_test(tc, nonsense_ends_it);
    return s;
}

int main(void)
{
    return tap_main(suite());
}
