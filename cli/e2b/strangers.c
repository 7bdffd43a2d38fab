/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the list of connections that have proved nothing yet; see strangers.h. */
#include "e2b/strangers.h"

#include <sys/socket.h>

#include "base/util.h"

struct stranger {
    struct stranger *next;
    const struct MHD_Connection *mhd;
    int fd; /* MHD's, who closes it after strangers_forget */
    uint64_t since_ns;
};

void strangers_add(struct server *server, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct stranger *stranger = malloc(sizeof *stranger);

    if (!stranger || !info)
        abort(); /* of SERVER_CONNECTIONS */
    *stranger = (struct stranger){ .mhd = mhd, .fd = info->connect_fd, .since_ns = now_ns() };
    pthread_mutex_lock(&server->strangers_lock);
    stranger->next = server->strangers;
    server->strangers = stranger;
    pthread_mutex_unlock(&server->strangers_lock);
}

void strangers_forget(struct server *server, const struct MHD_Connection *mhd)
{
    struct stranger *found = NULL;

    pthread_mutex_lock(&server->strangers_lock);
    for (struct stranger **at = &server->strangers; *at && !found; at = &(*at)->next) {
        if ((*at)->mhd != mhd)
            continue;
        found = *at;
        *at = found->next;
        break;
    }
    pthread_mutex_unlock(&server->strangers_lock);
    free(found);
}

static void *watch(void *data)
{
    const struct timespec pause = { .tv_sec = 1 };
    struct server *server = data;

    for (;;) {
        nanosleep(&pause, NULL);
        const uint64_t now = now_ns();
        pthread_mutex_lock(&server->strangers_lock);
        for (const struct stranger *at = server->strangers; at; at = at->next)
            if (now - at->since_ns > SERVER_STRANGER_S * NS_PER_S)
                shutdown(at->fd, SHUT_RDWR); /* its thread does the rest */
        pthread_mutex_unlock(&server->strangers_lock);
    }
    return NULL;
}

int strangers_watch(struct server *server, struct err *err)
{
    pthread_t thread;

    pthread_mutex_init(&server->strangers_lock, NULL);
    int rc = pthread_create(&thread, NULL, watch, server);
    if (rc)
        return err_set_errno(err, rc, "can't start a thread");
    pthread_detach(thread);
    return 0;
}
