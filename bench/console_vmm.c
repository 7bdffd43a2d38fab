/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the running of other VMMs; see console_vmm.h. */
#include "console_vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

int console_vmm_start(struct console_vmm *vmm, const struct bench *bench, const char *const *argv,
                      const char *log_name, struct err *err)
{
    char log[512];
    int fds[2];

    *vmm = (struct console_vmm){ .output = -1 };
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_set_errno(err, errno, "making a pipe");
    vmm->output = fds[0];
    snprintf(log, sizeof log, "%s/%s", bench->options.work_dir, log_name);
    int rc = process_start(&vmm->process, argv, NULL, 0, fds[1], log, err);
    close(fds[1]);
    if (rc < 0)
        console_vmm_end(vmm);
    return rc;
}

int console_vmm_wait(struct console_vmm *vmm, const char *text, uint64_t timeout_ns,
                     uint64_t *ret_ns, struct err *err)
{
    uint64_t deadline_ns = vmm->process.start_ns + timeout_ns;
    char window[4096]; /* the tail of what was said */
    size_t used = 0, keep = strlen(text) - 1;

    for (;;) {
        struct pollfd polled = { .fd = vmm->output, .events = POLLIN };
        uint64_t now = now_ns();

        if (now >= deadline_ns)
            return err_set(err, ETIMEDOUT, "its console did not say '%s' in time", text);
        if (poll(&polled, 1, (int)((deadline_ns - now) / NS_PER_MS + 1)) <= 0)
            continue;
        ssize_t n = read(vmm->output, window + used, sizeof window - used - 1);
        if (n <= 0)
            return err_set(err, ECHILD, "it ended before its console said '%s'", text);
        used += (size_t)n;
        window[used] = '\0';
        if (memmem(window, used, text, strlen(text))) {
            *ret_ns = now_ns() - vmm->process.start_ns;
            return 0;
        }
        size_t tail = MIN_OF(used, keep);
        memmove(window, window + used - tail, tail);
        used = tail;
    }
}

void console_vmm_end(struct console_vmm *vmm)
{
    process_end(&vmm->process, SIGKILL);
    close_fd(&vmm->output);
}
