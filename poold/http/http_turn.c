/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the order in which requests come to their handlers. Those of trusted users always do at once.
 * All others have TURN_NS of each turn of the loop; those beyond wait, suspended, and get the next
 * turns, one of each user after the other. So neither a trusted user's request nor what VMs say waits
 * for more than that, however many requests a user sends, and users do not wait for one who sends
 * more than its share. */
#include "base/util.h"
#include "http/http_internal.h"

#define TURN_NS (300 * NS_PER_US)

static bool anyone_waits(const struct http *http)
{
    return !list_empty(&http->held_clients);
}

static struct http_request *next_take(struct http *http)
{
    struct client *client = list_entry(http->held_clients.next, struct client, held_node);
    struct http_request *request = list_entry(client->held.next, struct http_request, held_node);

    list_remove(&request->held_node);
    list_remove(&client->held_node);
    if (!list_empty(&client->held))
        list_append(&http->held_clients, &client->held_node);
    return request;
}

/* The turn begins with its first request. */
static bool turn_has_time(struct http *http)
{
    uint64_t now = now_ns();

    if (http->turn_end_ns == 0)
        http->turn_end_ns = now + TURN_NS;
    return now < http->turn_end_ns;
}

static void on_go_on(uv_idle_t *idle)
{
    struct http *http = idle->data;

    http->turn_end_ns = 0;
    while (anyone_waits(http) && turn_has_time(http))
        http->dispatch(next_take(http));
    if (!anyone_waits(http))
        uv_idle_stop(idle);
    http->config.schedule(http->config.context);
}

static void on_begin(uv_prepare_t *prepare)
{
    struct http *http = prepare->data;

    if (!anyone_waits(http)) /* else those who wait have the turn */
        http->turn_end_ns = 0;
}

void http_turn_init(struct http *http, void (*dispatch)(struct http_request *request))
{
    http->dispatch = dispatch;
    list_init(&http->held_clients);
    uv_idle_init(http->config.loop, &http->turn_go_on);
    uv_prepare_init(http->config.loop, &http->turn_begin);
    http->turn_go_on.data = http->turn_begin.data = http;
    uv_prepare_start(&http->turn_begin, on_begin);
}

void http_turn_dispatch(struct http_request *request)
{
    const struct peer *peer = &request->connection->peer;
    struct http *http = request->http;

    if (peer->trusted) {
        http->dispatch(request);
        return;
    }
    if (!anyone_waits(http) && turn_has_time(http)) {
        http->dispatch(request);
        return;
    }
    request->suspended = true;
    MHD_suspend_connection(request->mhd);
    if (list_empty(&peer->client->held))
        list_append(&http->held_clients, &peer->client->held_node);
    list_append(&peer->client->held, &request->held_node);
    uv_idle_start(&http->turn_go_on, on_go_on);
}

void http_turn_stop(struct http *http)
{
    while (anyone_waits(http))
        http_reply_error(next_take(http), API_SHUTTING_DOWN, "poold is shutting down");
}
