/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the thread of the TLS door, its listening socket and its ends; see tls_door.h. */
#include "http/tls_door.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "http/tls_internal.h"

#define ACCEPTS_MAX 16 /* in a turn */
#define TICK_MS 250
#define END_NS NS_PER_S
#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

void tls_identity_leave(struct tls_identity *identity)
{
    if (identity && --identity->users == 0)
        tls_identity_free(identity);
}

/* ---- In the thread ---- */

int tls_door_pass(struct tls_door *door, int fd, const struct sockaddr_storage *address)
{
    struct tls_arrival *arrival = malloc(sizeof *arrival);

    if (!arrival) {
        close(fd);
        return -ENOMEM;
    }
    arrival->fd = fd;
    arrival->address = *address;
    uv_mutex_lock(&door->mutex);
    list_append(&door->arrivals, &arrival->node);
    uv_mutex_unlock(&door->mutex);
    uv_async_send(&door->arrived);
    return 0;
}

/* False: there is none to accept, for now. */
static bool accept_one(struct tls_door *door)
{
    struct sockaddr_storage address;
    socklen_t bytes = sizeof address;
    struct peer peer;
    int fd = accept4(door->listener_fd, (struct sockaddr *)&address, &bytes,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0)
        return errno == EINTR || errno == ECONNABORTED;
    if (access_peer_open_from(&door->access, (struct sockaddr *)&address, &peer) < 0)
        close(fd);
    else
        tls_connection_begin(door, fd, &address, &peer);
    return true;
}

static void on_listen(uv_poll_t *poll, int status, int events)
{
    struct tls_door *door = poll->data;
    unsigned accepted = 0;

    (void)status;
    (void)events;
    while (accepted < ACCEPTS_MAX && accept_one(door))
        accepted++;
    /* Without descriptors it would be readable again at once: until the next tick. */
    if (accepted < ACCEPTS_MAX && errno != EAGAIN)
        uv_poll_stop(poll);
}

static void listen_stop(struct tls_door *door)
{
    uv_poll_stop(&door->listen);
    close_fd(&door->listener_fd);
}

static void end_if_idle(struct tls_door *door)
{
    if (door->ending && list_empty(&door->connections))
        uv_stop(&door->loop);
}

static void on_tick(uv_timer_t *timer)
{
    struct tls_door *door = timer->data;
    const uint64_t now = now_ns();

    LIST_FOR_EACH(at, &door->connections)
    {
        struct tls_connection *connection = list_entry(at, struct tls_connection, node);

        if (connection->deadline_ns <= now)
            tls_connection_end(connection);
    }
    if (door->listener_fd >= 0)
        uv_poll_start(&door->listen, UV_READABLE, on_listen);
    end_if_idle(door);
}

/* Who still writes has a second. */
static void end_begin(struct tls_door *door)
{
    if (door->ending)
        return;
    door->ending = true;
    door->end_ns = now_ns() + END_NS;
    LIST_FOR_EACH(at, &door->connections)
    {
        struct tls_connection *connection = list_entry(at, struct tls_connection, node);

        connection->deadline_ns = MIN_OF(connection->deadline_ns, door->end_ns);
    }
    end_if_idle(door);
}

static void on_asked(uv_async_t *async)
{
    struct tls_door *door = async->data;
    struct tls_identity *next;
    bool stop, end;

    uv_mutex_lock(&door->mutex);
    next = take_pointer(&door->next);
    stop = door->stop;
    end = door->end;
    uv_mutex_unlock(&door->mutex);
    if (next) {
        tls_identity_leave(door->identity);
        door->identity = next;
        next->users++;
    }
    if (stop)
        listen_stop(door);
    if (end)
        end_begin(door);
}

static void handle_close(uv_handle_t *handle, void *data)
{
    (void)data;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void thread_run(void *data)
{
    struct tls_door *door = data;

    uv_run(&door->loop, UV_RUN_DEFAULT);
    while (!list_empty(&door->connections))
        tls_connection_end(list_entry(door->connections.next, struct tls_connection, node));
    listen_stop(door);
    uv_walk(&door->loop, handle_close, NULL);
    uv_run(&door->loop, UV_RUN_DEFAULT);
}

/* ---- In the server's loop ---- */

static struct tls_arrival *arrival_take(struct tls_door *door)
{
    struct tls_arrival *arrival = NULL;

    uv_mutex_lock(&door->mutex);
    if (!list_empty(&door->arrivals)) {
        arrival = list_entry(door->arrivals.next, struct tls_arrival, node);
        list_remove(&arrival->node);
    }
    uv_mutex_unlock(&door->mutex);
    return arrival;
}

static void on_arrived(uv_async_t *async)
{
    struct tls_door *door = async->data;
    struct tls_arrival *arrival;

    while ((arrival = arrival_take(door))) {
        door->config.connected(door->config.data, arrival->fd,
                               (struct sockaddr *)&arrival->address);
        free(arrival);
    }
}

static void ask(struct tls_door *door, struct tls_identity *identity, bool stop, bool end)
{
    struct tls_identity *unused = NULL;

    uv_mutex_lock(&door->mutex);
    if (identity) {
        unused = door->next;
        door->next = identity;
    }
    door->stop |= stop;
    door->end |= end;
    uv_mutex_unlock(&door->mutex);
    tls_identity_free(unused);
    uv_async_send(&door->asked);
}

void tls_door_set(struct tls_door *door, struct tls_identity *identity)
{
    ask(door, identity, false, false);
}

void tls_door_stop(struct tls_door *door)
{
    ask(door, NULL, true, false);
}

/* ---- Its life ---- */

static int loop_start(struct tls_door *door)
{
    int rc;

    list_init(&door->connections);
    door->end_ns = UINT64_MAX;
    access_init_callers(&door->access, NULL);
    door->access.connections =
        (struct access_share){ .each = door->config.connections, .all = door->config.connections };
    uv_async_init(&door->loop, &door->asked, on_asked);
    uv_timer_init(&door->loop, &door->timer);
    door->asked.data = door->timer.data = door->listen.data = door;
    rc = uv_poll_init(&door->loop, &door->listen, door->listener_fd);
    if (rc == 0)
        rc = uv_poll_start(&door->listen, UV_READABLE, on_listen);
    uv_timer_start(&door->timer, on_tick, TICK_MS, TICK_MS);
    return rc;
}

/* Signals are the loop's. */
static int thread_start(struct tls_door *door)
{
    sigset_t all, old;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = uv_thread_create(&door->thread, thread_run, door);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

static int door_start(struct tls_door *door)
{
    int rc = uv_loop_init(&door->loop);

    if (rc < 0)
        return rc;
    rc = uv_async_init(door->config.loop, &door->arrived, on_arrived);
    door->arrived.data = door;
    if (rc == 0)
        rc = loop_start(door);
    if (rc == 0)
        rc = thread_start(door);
    return rc;
}

int tls_door_create(struct tls_door **ret_door, const struct tls_door_config *config,
                    struct tls_identity *identity, struct err *err)
{
    struct tls_door *door = calloc(1, sizeof *door);
    int rc = -ENOMEM;

    if (door) {
        door->config = *config;
        door->listener_fd = config->listener_fd;
        door->identity = identity;
        identity->users = 1;
        list_init(&door->arrivals);
        rc = uv_mutex_init(&door->mutex);
        if (rc == 0 && gnutls_priority_init(&door->priorities, PRIORITIES, NULL) < 0)
            rc = -EIO;
    }
    if (rc == 0)
        rc = door_start(door);
    /* It is the start of poold that fails: what is left ends with the process. */
    if (rc < 0)
        return err_set_errno(err, -rc, "can't start TLS");
    *ret_door = door;
    return 0;
}

static void on_arrived_closed(uv_handle_t *handle)
{
    struct tls_door *door = handle->data;

    door->closed = true;
}

void tls_door_destroy(struct tls_door *door)
{
    struct tls_arrival *arrival;

    if (!door)
        return;
    ask(door, NULL, true, true);
    uv_thread_join(&door->thread);
    while ((arrival = arrival_take(door))) {
        close(arrival->fd);
        free(arrival);
    }
    uv_close((uv_handle_t *)&door->arrived, on_arrived_closed);
    while (!door->closed)
        uv_run(door->config.loop, UV_RUN_NOWAIT);
    uv_loop_close(&door->loop);
    tls_identity_leave(door->identity);
    tls_identity_free(door->next);
    access_fini(&door->access);
    gnutls_priority_deinit(door->priorities);
    uv_mutex_destroy(&door->mutex);
    free(door);
}
