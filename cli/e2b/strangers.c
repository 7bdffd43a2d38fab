/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the list of connections that have proved nothing yet; see strangers.h. */
#include "e2b/strangers.h"

#include <netinet/in.h>
#include <string.h>

#include "base/util.h"

struct stranger {
    struct stranger *next;
    const struct MHD_Connection *mhd;
    int fd;        /* MHD's, who closes it after strangers_forget */
    uint64_t from; /* key_of its address */
    uint64_t since_ns;
};

/* An IPv4 address, also one within IPv6's; of IPv6 what a site has. */
static uint64_t key_of(const struct sockaddr *address)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
    uint64_t key = 0;

    if (address->sa_family != AF_INET6)
        memcpy(&key, &((const struct sockaddr_in *)address)->sin_addr, 4);
    else if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        memcpy(&key, &six->sin6_addr.s6_addr[12], 4);
    else
        memcpy(&key, six->sin6_addr.s6_addr, 8);
    return key;
}

enum MHD_Result strangers_allow(void *data, const struct sockaddr *address, socklen_t bytes)
{
    struct server *server = data;
    const unsigned used = atomic_load(&server->connections);
    const unsigned left = SERVER_CONNECTIONS - MIN_OF(used, (unsigned)SERVER_CONNECTIONS);
    const uint64_t from = key_of(address);
    unsigned own = 0;

    (void)bytes;
    pthread_mutex_lock(&server->strangers_lock);
    for (const struct stranger *at = server->strangers; at; at = at->next)
        own += at->from == from;
    pthread_mutex_unlock(&server->strangers_lock);
    return own < left ? MHD_YES : MHD_NO;
}

void strangers_add(struct server *server, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    const union MHD_ConnectionInfo *client =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct stranger *stranger = malloc(sizeof *stranger);

    if (!stranger || !info || !client)
        abort(); /* of SERVER_CONNECTIONS */
    *stranger = (struct stranger){ .mhd = mhd,
                                   .fd = info->connect_fd,
                                   .from = key_of(client->client_addr),
                                   .since_ns = now_ns() };
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
