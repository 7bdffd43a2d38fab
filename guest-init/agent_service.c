/* SPDX-License-Identifier: Apache-2.0 */
/* The VM's service: a process that outlives the session which started it, and the pipe with what it
 * writes. That pipe has both its ends here, so that it never ends and never signals. */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "agent.h"
#include "agent_session.h"
#include "bell.h"
#include "io.h"

static pid_t service_pid; /* 0: there is none, or it has ended */
static struct exec_fds service_fds = { { -1, -1, -1 }, -1, { -1, -1 } };
static bool known, ended;
static int ended_status;
static struct bell_fds bell = { -1, -1 };
static bool rings; /* it is the service's turn at the bell, or volt-init's in its place */

#define TAIL_BYTES 200

bool service_refused(uint32_t flags, struct fail *fail)
{
    int status;

    if (known) {
        fail_set(fail, EBUSY, "this VM has its service already", NULL, NULL);
        return true;
    }
    status = flags & AGENT_EXEC_GATE ? gate_open() : 0;
    if (status < 0)
        fail_set_errno(fail, -status, "can't listen for the service", NULL);
    if (status == 0 && flags & AGENT_EXEC_BELL) {
        status = bell_open(&bell);
        if (status < 0)
            fail_set_errno(fail, -status, "can't make the function's bell", NULL);
    }
    return status < 0;
}

const struct bell_fds *service_bell(uint32_t flags)
{
    return flags & AGENT_EXEC_BELL ? &bell : NULL;
}

void session_service_started(struct session *session)
{
    service_pid = session->pid;
    service_fds = session->fds;
    session->pid = 0;
    session->fds = (struct exec_fds){ { -1, -1, -1 }, -1, { -1, -1 } };
    known = true;
    if (bell.gate >= 0)
        io_close(bell.gate);
    bell.gate = -1;
    session_result(session, AGENT_DONE, NULL, 0);
}

/* The end of what it wrote, as far as a sentence has room. */
static void add_tail(struct text *text)
{
    char piece[4096];
    ssize_t count, last = 0;

    for (int i = 0; i < (int)(AGENT_SERVICE_LOG_BYTES / sizeof(piece)); i++) {
        char next[sizeof(piece)];

        count = io_read(service_fds.streams[0], next, sizeof(next));
        if (count <= 0)
            break;
        memcpy(piece, next, (size_t)count);
        last = count;
    }
    while (last > 0 && piece[last - 1] == '\n')
        last--;
    if (last == 0)
        return;
    text_add(text, "; what it wrote ends with \"");
    text_add_bytes(text, piece + last - MIN_OF(last, TAIL_BYTES), (size_t)MIN_OF(last, TAIL_BYTES));
    text_add(text, "\"");
}

static void stand_in(void)
{
    char sentence[TAIL_BYTES + 128];
    struct text text;

    text_init(&text, sentence, sizeof(sentence));
    if (service_ended(&text))
        add_tail(&text);
    else
        text_add(&text, "this VM has no service");
    bell_stand_in(sentence);
}

void agent_service_rings(void)
{
    rings = true;
    if (service_pid)
        bell_let_ring();
    else
        stand_in();
}

bool service_child_ended(pid_t pid, int wait_status)
{
    if (!known || ended || pid != service_pid)
        return false;
    service_pid = 0;
    ended = true;
    ended_status = wait_status;
    if (rings)
        stand_in();
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
