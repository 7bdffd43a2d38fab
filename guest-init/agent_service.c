/* SPDX-License-Identifier: Apache-2.0 */
/* The VM's service: a process that outlives the session which started it, and the pipe with what it
 * writes. That pipe has both its ends here, so that it never ends and never signals. */
#include <errno.h>
#include <sys/wait.h>

#include "agent_session.h"

static pid_t service_pid; /* 0: there is none, or it has ended */
static struct exec_fds service_fds = { { -1, -1, -1 }, -1, { -1, -1 } };
static bool known, ended;
static int ended_status;

bool service_refused(bool gate, struct fail *fail)
{
    int status;

    if (known) {
        fail_set(fail, EBUSY, "this VM has its service already", NULL, NULL);
        return true;
    }
    status = gate ? gate_open() : 0;
    if (status < 0)
        fail_set_errno(fail, -status, "can't listen for the service", NULL);
    return status < 0;
}

void session_service_started(struct session *session)
{
    service_pid = session->pid;
    service_fds = session->fds;
    session->pid = 0;
    session->fds = (struct exec_fds){ { -1, -1, -1 }, -1, { -1, -1 } };
    known = true;
    session_result(session, AGENT_DONE, NULL, 0);
}

bool service_child_ended(pid_t pid, int wait_status)
{
    if (!known || ended || pid != service_pid)
        return false;
    service_pid = 0;
    ended = true;
    ended_status = wait_status;
    return true;
}

bool service_ended(struct text *text)
{
    if (!ended)
        return false;
    if (WIFSIGNALED(ended_status)) {
        text_add(text, "the service was ended by signal ");
        text_add_u64(text, (uint64_t)WTERMSIG(ended_status));
    } else {
        text_add(text, "the service ended with exit code ");
        text_add_u64(text, (uint64_t)WEXITSTATUS(ended_status));
    }
    return true;
}

int service_output(void)
{
    return service_fds.streams[0] < 0 ? -1 : exec_fd_duplicate(service_fds.streams[0]);
}
