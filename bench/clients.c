/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the client threads; see clients.h. */
#include "clients.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "paced.h"

#define CLIENT_STACK_BYTES (512u << 10)

struct go {
    const struct client_plan *plan;
    uint64_t start_ns;
    pthread_mutex_t lock; /* for the rest */
    pthread_cond_t changed;
    unsigned waiting; /* threads that are at the gate */
    enum { GATE_SHUT, GATE_OPEN, GATE_CALLED_OFF } gate;
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

/* The i-th request of this client: when it is due, waited for in an open loop. */
static uint64_t due(const struct client_thread *client, size_t i)
{
    const struct client_plan *plan = client->go->plan;

    if (plan->per_second <= 0)
        return now_ns();
    uint64_t at_ns =
        samples_due_ns(client->go->start_ns, plan->per_second, i * plan->clients + client->index);
    paced_sleep_until(at_ns);
    return at_ns;
}

static bool more_to_do(const struct client_thread *client, size_t done)
{
    const struct client_plan *plan = client->go->plan;

    return plan->acquires ? done < plan->acquires : now_ns() < client->go->start_ns + plan->run_ns;
}

/* False when nothing is to be done after all. */
static bool wait_at_gate(struct go *go)
{
    pthread_mutex_lock(&go->lock);
    go->waiting++;
    pthread_cond_broadcast(&go->changed);
    while (go->gate == GATE_SHUT)
        pthread_cond_wait(&go->changed, &go->lock);
    bool open = go->gate == GATE_OPEN;
    pthread_mutex_unlock(&go->lock);
    return open;
}

/* With all `expected` threads at the gate; start_ns is set before any of them sees it open. */
static void open_gate(struct go *go, unsigned expected, bool call_off)
{
    pthread_mutex_lock(&go->lock);
    while (go->waiting < expected)
        pthread_cond_wait(&go->changed, &go->lock);
    go->start_ns = now_ns();
    go->gate = call_off ? GATE_CALLED_OFF : GATE_OPEN;
    pthread_cond_broadcast(&go->changed);
    pthread_mutex_unlock(&go->lock);
}

static void *client_main(void *data)
{
    struct client_thread *client = data;
    struct daemon_lease lease;

    if (!wait_at_gate(client->go))
        return NULL;
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
    struct go go = { .plan = plan,
                     .lock = PTHREAD_MUTEX_INITIALIZER,
                     .changed = PTHREAD_COND_INITIALIZER };
    struct client_events events = { 0 };
    unsigned started = 0;
    int rc = clients ? 0 : err_set_errno(err, ENOMEM, "making clients");

    for (unsigned i = 0; rc == 0 && i < plan->clients; i++) {
        clients[i].go = &go;
        clients[i].index = i;
        rc = daemon_connect(daemon, &clients[i].api, err);
    }
    if (rc == 0) {
        rc = start_threads(clients, &go, &started, err);
        open_gate(&go, started, rc < 0);
        for (unsigned i = 0; i < started; i++)
            pthread_join(clients[i].thread, NULL);
        events.start_ns = go.start_ns;
        if (rc == 0)
            rc = gather(clients, plan->clients, &events, err);
    }
    for (unsigned i = 0; clients && i < plan->clients; i++) {
        if (clients[i].go) /* else it was never connected */
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
