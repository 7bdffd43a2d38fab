/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the benchmark's side of the control protocol; see vmm.h. */
#include "vmm.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/util.h"

#define ARGS_MAX (26u + VMM_EXTRA_ARGS_MAX)
#define LARGE_BYTES GIB(4)
#define LARGE_VCPUS 8u

static int socket_pair(int ret_ours_theirs[2], struct err *err)
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_ours_theirs) < 0)
        return err_set_errno(err, errno, "making a socket pair");
    return 0;
}

static void log_path(const struct bench *bench, char path[512])
{
    snprintf(path, 512, "%s/volt-vmm.log", bench->options.work_dir);
}

static void add_extra(const char **argv, unsigned *count, const char *const *extra)
{
    for (unsigned i = 0; extra && extra[i] && i < VMM_EXTRA_ARGS_MAX; i++)
        argv[(*count)++] = extra[i];
}

/* ---- Starting processes ---- */

unsigned vmm_vcpus(uint64_t ram_bytes)
{
    return ram_bytes < LARGE_BYTES ? 1 : LARGE_VCPUS;
}

int vmm_boot(struct vmm *vmm, const struct bench *bench, uint64_t ram_bytes,
             const char *const *extra, struct err *err)
{
    int control[2] = { -1, -1 }, bell[2] = { -1, -1 };
    char memory[32], vcpus[12], control_text[16], bell_text[16], log[512];
    const char *argv[ARGS_MAX] = { bench->options.volt_vmm, "run", "--kernel",
                                   bench->options.kernel };
    unsigned count = 4;

    *vmm = (struct vmm){ .control = -1, .bell = -1 };
    int rc = socket_pair(control, err);
    if (rc == 0)
        rc = socket_pair(bell, err);
    vmm->control = control[0];
    vmm->bell = bell[0];
    snprintf(memory, sizeof memory, "%" PRIu64 "M", ram_bytes >> 20);
    snprintf(vcpus, sizeof vcpus, "%u", vmm_vcpus(ram_bytes));
    snprintf(control_text, sizeof control_text, "%d", control[1]);
    snprintf(bell_text, sizeof bell_text, "%d", bell[1]);
    if (bench->options.initrd) {
        argv[count++] = "--initrd";
        argv[count++] = bench->options.initrd;
    }
    const char *const fixed[] = { "--memory",     memory,       "--vcpus",   vcpus,
                                  "--control-fd", control_text, "--bell-fd", bell_text };
    for (unsigned i = 0; i < ARRAY_LEN(fixed); i++)
        argv[count++] = fixed[i];
    add_extra(argv, &count, extra);
    log_path(bench, log);
    if (rc == 0)
        rc = process_start(&vmm->process, argv, (int[]){ control[1], bell[1] }, 2,
                           &(struct process_output){ -1, -1, log }, err);
    close_fd(&control[1]);
    close_fd(&bell[1]);
    if (rc < 0)
        vmm_end(vmm);
    return rc;
}

int vmm_template(struct vmm *vmm, const struct bench *bench, int dir_fd, const char *const *extra,
                 struct err *err)
{
    int control[2] = { -1, -1 };
    char control_text[16], dir_text[16], log[512];
    const char *argv[ARGS_MAX] = { bench->options.volt_vmm, "template",
                                   "--control-fd",          control_text,
                                   "--snapshot-fd",         dir_text };
    unsigned count = 6;
    struct control_msg msg;

    *vmm = (struct vmm){ .control = -1, .bell = -1 };
    int rc = socket_pair(control, err);
    if (rc < 0)
        return rc;
    vmm->control = control[0];
    snprintf(control_text, sizeof control_text, "%d", control[1]);
    snprintf(dir_text, sizeof dir_text, "%d", dir_fd);
    add_extra(argv, &count, extra);
    log_path(bench, log);
    rc = process_start(&vmm->process, argv, (int[]){ control[1], dir_fd }, 2,
                       &(struct process_output){ -1, -1, log }, err);
    close_fd(&control[1]);
    if (rc == 0)
        rc = vmm_expect(vmm->control, CONTROL_HELLO, VMM_ANSWER_TIMEOUT_MS, &msg, NULL, err);
    if (rc < 0) {
        vmm_end(vmm);
        return err_wrap(err, "starting a template");
    }
    return 0;
}

void vmm_end(struct vmm *vmm)
{
    process_end(&vmm->process, SIGKILL);
    if (vmm->control > 0)
        close_fd(&vmm->control);
    if (vmm->bell > 0)
        close_fd(&vmm->bell);
}

/* ---- Messages ---- */

static int wait_readable(int fd, uint64_t deadline_ns)
{
    struct pollfd polled = { .fd = fd, .events = POLLIN };

    for (;;) {
        uint64_t now = now_ns();

        if (now >= deadline_ns)
            return -ETIMEDOUT;
        int n = poll(&polled, 1, (int)((deadline_ns - now) / NS_PER_MS + 1));
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
    }
}

int vmm_expect(int fd, enum control_type type, uint32_t timeout_ms, struct control_msg *ret_msg,
               int *ret_fd, struct err *err)
{
    uint64_t deadline_ns = now_ns() + timeout_ms * NS_PER_MS;
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count = 0;

    for (;;) {
        int rc = wait_readable(fd, deadline_ns);
        if (rc == 0)
            rc = control_recv(fd, ret_msg, fds, &fd_count);
        if (rc == -ETIMEDOUT)
            return err_set(err, ETIMEDOUT, "volt-vmm sent no message of type %u within %u ms", type,
                           timeout_ms);
        if (rc < 0)
            return err_set_errno(err, -rc, "volt-vmm's socket, waiting for a message of type %u",
                                 type);
        bool wanted = ret_msg->type == type;
        unsigned keep = wanted && ret_fd && fd_count > 0;
        if (wanted && ret_fd)
            *ret_fd = keep ? fds[0] : -1;
        for (unsigned i = keep; i < fd_count; i++)
            close(fds[i]);
        if (wanted)
            return 0;
        if (ret_msg->type == CONTROL_EXITED)
            return err_set(err, ECHILD, "the VM ended (%s): %.*s",
                           control_exit_reason_name(ret_msg->u.exited.reason),
                           (int)sizeof ret_msg->u.exited.detail, ret_msg->u.exited.detail);
    }
}

void vmm_wake_init(struct control_msg *wake, enum doorbell_op op, uint32_t flags)
{
    control_wake_make(wake, &(struct control_wake){ .op = op, .flags = flags }, NULL, NULL);
}

/* ---- Clones ---- */

int vmm_clone_start(struct vmm_clone *clone, struct vmm *template, struct control_msg *wake,
                    struct err *err)
{
    struct control_msg msg = { .cookie = ++template->next_cookie };
    struct control_clone_fds fds = CONTROL_CLONE_FDS_NONE;
    int control[2] = { -1, -1 }, bell[2] = { -1, -1 };

    *clone = (struct vmm_clone){
        .template = template, .cookie = msg.cookie, .control = -1, .bell = -1, .pidfd = -1
    };
    msg.u.clone.uid = msg.u.clone.gid = UINT32_MAX;
    int rc = socket_pair(control, err);
    if (rc == 0)
        rc = socket_pair(bell, err);
    clone->control = control[0];
    clone->bell = bell[0];
    if (rc == 0 && wake)
        rc = control_send(clone->bell, wake, NULL, 0);
    fds.control = control[1];
    fds.bell = bell[1];
    clone->sent_ns = now_ns();
    if (rc == 0)
        rc = control_clone_send(template->control, &msg, &fds);
    close_fd(&control[1]);
    close_fd(&bell[1]);
    return rc < 0 ? err_set_errno(err, -rc, "asking for a clone") : 0;
}

int vmm_clone_hello(struct vmm_clone *clone, struct err *err)
{
    struct control_msg msg;
    int rc = vmm_expect(clone->template->control, CONTROL_CLONED, VMM_ANSWER_TIMEOUT_MS, &msg,
                        &clone->pidfd, err);

    if (rc == 0 && msg.u.cloned.error)
        rc = err_set_errno(err, msg.u.cloned.error, "the template could not fork a clone");
    if (rc == 0)
        rc = vmm_expect(clone->control, CONTROL_HELLO, VMM_ANSWER_TIMEOUT_MS, &msg, NULL, err);
    if (rc < 0)
        return err_wrap(err, "making a clone");
    clone->setup_ns = msg.u.hello.setup_ns;
    clone->layers = msg.u.hello.layers;
    return 0;
}

int vmm_clone_expect(struct vmm_clone *clone, enum control_type type, struct control_msg *ret_msg,
                     struct err *err)
{
    struct control_msg exited;
    int rc = vmm_expect(clone->bell, type, VMM_ANSWER_TIMEOUT_MS, ret_msg, NULL, err);

    /* The bell only says that it is closed; why is told on the other socket. */
    if (rc == -ENOTCONN || rc == -ECONNRESET)
        rc = vmm_expect(clone->control, CONTROL_EXITED, 1000, &exited, NULL, err) == 0
                 ? err_set(err, ECHILD, "the VM ended (%s): %.*s",
                           control_exit_reason_name(exited.u.exited.reason),
                           (int)sizeof exited.u.exited.detail, exited.u.exited.detail)
                 : rc;
    return rc;
}

int vmm_clone_wake(struct vmm_clone *clone, struct control_msg *wake, uint64_t *ret_sent_ns,
                   struct err *err)
{
    *ret_sent_ns = now_ns();
    int rc = control_send(clone->bell, wake, NULL, 0);
    return rc < 0 ? err_set_errno(err, -rc, "waking a clone") : 0;
}

pid_t vmm_clone_pid(const struct vmm_clone *clone)
{
    char path[64], line[128];
    int pid = 0;

    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", clone->pidfd);
    FILE *info = fopen(path, "re");
    while (info && fgets(line, sizeof line, info)) {
        if (sscanf(line, "Pid: %d", &pid) == 1)
            break;
    }
    if (info)
        fclose(info);
    return pid;
}

int vmm_clone_end(struct vmm_clone *clone, struct err *err)
{
    struct control_msg msg = { 0 };
    int rc = 0;

    if (clone->pidfd >= 0) {
        syscall(SYS_pidfd_send_signal, clone->pidfd, SIGKILL, NULL, 0);
        while (rc == 0 && msg.cookie != clone->cookie)
            rc = vmm_expect(clone->template->control, CONTROL_CHILD_EXITED, VMM_ANSWER_TIMEOUT_MS,
                            &msg, NULL, err);
    }
    close_fd(&clone->control);
    close_fd(&clone->bell);
    close_fd(&clone->pidfd);
    return rc;
}
