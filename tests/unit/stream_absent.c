/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest of the streams' world has not, and the agent asks for: services, mounts and an
 * environment. */
#include <errno.h>

#include "../../guest-init/agent_session.h"
#include "applets.h"
#include "bell.h"
#include "child.h"
#include "io.h"
#include "stream_model.h"

/* Nothing listens in this world, and no process is a service. */
int io_connect_local(uint16_t port)
{
    (void)port;
    return -ECONNREFUSED;
}

int io_listen_local(uint16_t port, int backlog)
{
    (void)port;
    (void)backlog;
    return -EADDRINUSE;
}

ssize_t io_peek(int fd, void *data, size_t bytes)
{
    (void)fd;
    (void)data;
    (void)bytes;
    return -EAGAIN;
}

char *const environment_default[] = { (char[]){ "PATH=/bin" }, NULL };

const char *environment_get(char *const *envp, const char *name)
{
    (void)envp;
    (void)name;
    return NULL;
}

bool applets_known(const char *name)
{
    (void)name;
    return false;
}

/* ---- The bell: no service of these has one ---- */

int bell_open(struct bell_fds *ret)
{
    (void)ret;
    return -ENODEV;
}

bool bell_ready(void)
{
    return false;
}

void bell_let_ring(void)
{
    model_fail("a service was let ring");
}

void bell_stand_in(const char *sentence)
{
    model_fail("a bell was rung: %s", sentence);
}

/* ---- MOUNT and UNMOUNT are for a real guest: they mount, and kill every process. ---- */

void session_mount(struct session *session)
{
    session_result(session, AGENT_DONE, NULL, 0);
}

void session_unmount(struct session *session)
{
    session_result(session, AGENT_DONE, NULL, 0);
}
