/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the client threads; see clients.h. */
#include "clients.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define CLIENT_STACK_BYTES (512u << 10)

struct go {
    const struct client_plan *plan;
    pthread_barrier_t barrier;
    uint64_t start_ns; /* set between the barrier's two rounds */
};

struct client_thread {
    struct go *go;
    unsigned index;
    pthread_t thread;
    struct api api;
    struct client_event *event;
    size_t count, room;
    int rc;
    struct err err;
};

static int add_event(struct client_thread *client, uint64_t due_ns,
                     const struct daemon_lease *lease)
{
    if (client->count == client->room) {
        size_t room = client->room ? 2 * client->room : 64;
        struct client_event *grown = reallocarray(client->event, room, sizeof *grown);

        if (!grown)
            return err_set_errno(&client->err, ENOMEM, "keeping results");
        client->event = grown;
        client->room = room;
    }
    struct client_event *event = &client->event[client->count++];
    *event = (struct client_event){
        .due_ns = due_ns,
        .latency_ns = lease->response_at_ns - due_ns,
        .awake_ns = lease->response_at_ns - lease->ready_us * NS_PER_US,
        .response_ns = lease->response_at_ns,
    };
    snprintf(event->tier, sizeof event->tier, "%s", lease->tier);
    return 0;
}

static void sleep_until(uint64_t at_ns)
{
    const struct timespec at = { .tv_sec = (time_t)(at_ns / NS_PER_S),
                                 .tv_nsec = (long)(at_ns % NS_PER_S) };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

/* The i-th request of this client: when it is due, waited for in an open loop. */
static uint64_t due(const struct client_thread *client, size_t i)
{
    const struct client_plan *plan = client->go->plan;

    if (plan->per_second <= 0)
        return now_ns();
    uint64_t at_ns =
        samples_due_ns(client->go->start_ns, plan->per_second, i * plan->clients + client->index);
    sleep_until(at_ns);
    return at_ns;
}

static bool more_to_do(const struct client_thread *client, size_t done)
{
    const struct client_plan *plan = client->go->plan;

    return plan->acquires ? done < plan->acquires : now_ns() < client->go->start_ns + plan->run_ns;
}

static void *client_main(void *data)
{
    struct client_thread *client = data;
    struct daemon_lease lease;

    pthread_barrier_wait(&client->go->barrier);
    pthread_barrier_wait(&client->go->barrier);
    for (size_t i = 0; client->rc == 0 && more_to_do(client, i); i++) {
        uint64_t due_ns = due(client, i);

        client->rc = daemon_acquire(&client->api, &lease, &client->err);
        if (client->rc == 0)
            client->rc = add_event(client, due_ns, &lease);
        if (client->rc == 0 && client->go->plan->release)
            client->rc = daemon_release(&client->api, &lease, &client->err);
    }
    return NULL;
}

static int gather(struct client_thread *clients, unsigned count, struct client_events *events,
                  struct err *err)
{
    size_t total = 0;
    int rc = 0;

    for (unsigned i = 0; i < count; i++) {
        total += clients[i].count;
        if (rc == 0 && clients[i].rc < 0) {
            rc = clients[i].rc;
            *err = clients[i].err;
        }
    }
    events->event = calloc(MAX_OF(total, 1u), sizeof *events->event);
    if (!events->event)
        return err_set_errno(err, ENOMEM, "keeping results");
    for (unsigned i = 0; i < count; i++) {
        if (clients[i].count)
            memcpy(&events->event[events->count], clients[i].event,
                   clients[i].count * sizeof *events->event);
        events->count += clients[i].count;
    }
    return rc;
}

static int start_threads(struct client_thread *clients, struct go *go, unsigned *ret_started,
                         struct err *err)
{
    pthread_attr_t attr;
    int rc = 0;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, CLIENT_STACK_BYTES);
    for (*ret_started = 0; rc == 0 && *ret_started < go->plan->clients; (*ret_started)++)
        rc = pthread_create(&clients[*ret_started].thread, &attr, client_main,
                            &clients[*ret_started]);
    pthread_attr_destroy(&attr);
    if (rc) {
        (*ret_started)--;
        return err_set_errno(err, rc, "starting client threads");
    }
    return 0;
}

int clients_run(const struct daemon *daemon, const struct client_plan *plan,
                struct client_events *ret_events, struct err *err)
{
    struct client_thread *clients = calloc(plan->clients, sizeof *clients);
    struct go go = { .plan = plan };
    struct client_events events = { 0 };
    unsigned started = 0;
    int rc = clients ? 0 : err_set_errno(err, ENOMEM, "making clients");

    for (unsigned i = 0; rc == 0 && i < plan->clients; i++) {
        clients[i].go = &go;
        clients[i].index = i;
        rc = daemon_connect(daemon, &clients[i].api, err);
    }
    if (rc == 0) {
        pthread_barrier_init(&go.barrier, NULL, plan->clients + 1);
        rc = start_threads(clients, &go, &started, err);
        if (rc < 0) /* those that started wait at the barrier for ever: nothing to go on with */
            return rc;
        pthread_barrier_wait(&go.barrier);
        events.start_ns = go.start_ns = now_ns() + NS_PER_MS;
        pthread_barrier_wait(&go.barrier);
        for (unsigned i = 0; i < started; i++)
            pthread_join(clients[i].thread, NULL);
        pthread_barrier_destroy(&go.barrier);
        rc = gather(clients, plan->clients, &events, err);
    }
    for (unsigned i = 0; clients && i < plan->clients; i++) {
        if (clients[i].go)
            api_fini(&clients[i].api);
        free(clients[i].event);
    }
    free(clients);
    if (rc < 0)
        client_events_fini(&events);
    else
        *ret_events = events;
    return rc;
}

void client_events_fini(struct client_events *events)
{
    free_pointer(&events->event);
    events->count = 0;
}
