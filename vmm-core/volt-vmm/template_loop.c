/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the forking and reaping of clones; see template_loop.h. */
#include "volt-vmm/template_loop.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/util.h"
#include "volt-vmm/program.h"

int template_loop_init(struct template_loop *loop, int control_fd, const struct template_ops *ops,
                       void *context, struct err *err)
{
    const struct sigaction ends_only = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP };
    sigset_t set;

    *loop = (struct template_loop){ .ops = ops, .context = context, .control_fd = control_fd };
    sigaction(SIGCHLD, &ends_only, NULL); /* poold stops clones */
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    loop->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return loop->signal_fd < 0 ? err_set_errno(err, errno, "watching child processes") : 0;
}

void template_loop_fini(struct template_loop *loop)
{
    free_pointer(&loop->child);
    close_fd(&loop->control_fd);
    close_fd(&loop->signal_fd);
}

/* ---- Births ---- */

static bool reserve_child(struct template_loop *loop)
{
    if (loop->child_count < loop->child_room)
        return true;
    size_t room = loop->child_room ? 2 * loop->child_room : 64;
    struct template_child *grown = reallocarray(loop->child, room, sizeof *grown);
    if (!grown)
        return false;
    loop->child = grown;
    loop->child_room = room;
    return true;
}

static void unblock_child_signal(void)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void answer_clone(struct template_loop *loop, uint64_t cookie, pid_t pid, int error)
{
    struct control_msg msg = { .type = CONTROL_CLONED, .cookie = cookie };
    _cleanup_close_ int pidfd = -1;

    if (!error) {
        pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        error = pidfd < 0 ? errno : 0;
    }
    msg.u.cloned.pid = pid;
    msg.u.cloned.error = error;
    int rc = control_send(loop->control_fd, &msg, &pidfd, pidfd >= 0);
    /* A clone that poold can't watch must not live: it hears so without the pidfd (of which too
     * many may be on their way). */
    if ((error || rc < 0) && pid > 0)
        kill(pid, SIGKILL);
    if (rc < 0) {
        msg.u.cloned.error = -rc;
        control_send(loop->control_fd, &msg, NULL, 0);
    }
}

/* In the fork. */
static void __attribute__((noreturn))
be_clone(struct template_loop *loop, const struct control_msg *msg, const int *fds,
         unsigned fd_count, uint64_t start_ns)
{
    struct control_clone_fds named;

    close_fd(&loop->control_fd);
    close_fd(&loop->signal_fd);
    unblock_child_signal();
    if (!control_clone_sort(msg, fds, fd_count, &named))
        _exit(EXIT_SOFTWARE);
    _exit(loop->ops->clone(loop->context, msg, &named, start_ns));
}

static void on_clone(struct template_loop *loop, const struct control_msg *msg, const int *fds,
                     unsigned fd_count)
{
    uint64_t start_ns = now_ns();
    /* There is one thread, and no lock to be put in order in the child: fork's care for those writes
     * to pages that each clone would copy. */
    pid_t pid = reserve_child(loop) ? _Fork() : -1;
    int error = pid < 0 ? errno : 0;

    if (pid == 0)
        be_clone(loop, msg, fds, fd_count, start_ns);
    for (unsigned i = 0; i < fd_count; i++)
        close(fds[i]);
    if (pid > 0)
        loop->child[loop->child_count++] =
            (struct template_child){ .pid = pid, .cookie = msg->cookie };
    answer_clone(loop, msg->cookie, pid, error);
}

/* ---- Ends ---- */

static void tell_end(struct template_loop *loop, pid_t pid, int status)
{
    for (size_t i = 0; i < loop->child_count; i++) {
        struct control_msg msg = { .type = CONTROL_CHILD_EXITED };

        if (loop->child[i].pid != pid)
            continue;
        msg.cookie = loop->child[i].cookie;
        msg.u.child_exited.pid = pid;
        msg.u.child_exited.wait_status = status;
        loop->child[i] = loop->child[--loop->child_count];
        control_send(loop->control_fd, &msg, NULL, 0);
        return;
    }
}

static void reap(struct template_loop *loop)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;

    if (read(loop->signal_fd, &info, sizeof info) < 0 && errno != EAGAIN)
        return;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        tell_end(loop, pid, status);
}

/* ---- The loop ---- */

/* False when the template is to end. */
static bool serve_control(struct template_loop *loop)
{
    struct control_msg msg;
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;
    int rc = control_recv(loop->control_fd, &msg, fds, &fd_count);

    if (rc == -EAGAIN || rc == -EINTR)
        return true;
    if (rc == -EMFILE) { /* of its clones none is harmed by that one can't be made */
        if (msg.type == CONTROL_CLONE)
            answer_clone(loop, msg.cookie, -1, EMFILE);
        return true;
    }
    if (rc < 0)
        return false;
    if (msg.type == CONTROL_CLONE) {
        on_clone(loop, &msg, fds, fd_count);
        return true;
    }
    if (msg.type == CONTROL_WORKING_SET && fd_count == 1)
        loop->ops->working_set(loop->context, fds[0]);
    for (unsigned i = 0; i < fd_count; i++)
        close(fds[i]);
    return msg.type != CONTROL_STOP;
}

void template_loop_run(struct template_loop *loop)
{
    struct pollfd polled[] = { { .fd = loop->control_fd, .events = POLLIN },
                               { .fd = loop->signal_fd, .events = POLLIN } };
    bool go_on = true;

    while (go_on) {
        if (poll(polled, ARRAY_LEN(polled), -1) < 0)
            continue;
        if (polled[0].revents)
            go_on = serve_control(loop);
        if (polled[1].revents)
            reap(loop);
    }
}
