/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what becomes of that which VMs and pools tell of leases: the API's news, and events. */
#include <errno.h>
#include <stdio.h>

#include "api/lease_news.h"
#include "base/log.h"
#include "base/version.h"
#include "daemon.h"
#include "http/http.h"

static void on_lease_ended(void *data, struct slot *slot)
{
    struct daemon *daemon = data;

    lease_news_ended(&daemon->api, slot);
}

static void on_lease_forgotten(void *data, struct slot *slot)
{
    struct daemon *daemon = data;

    lease_news_forgotten(&daemon->api, slot);
}

static void on_lease_lost(void *data, const struct ledger_vm *entry)
{
    struct daemon *daemon = data;

    lease_news_lost(&daemon->api, entry->id, entry->pool, entry->owner_uid, entry->labels,
                    &entry->request);
}

static void on_pool_changed(void *data, const struct pool *pool, bool deleted)
{
    struct daemon *daemon = data;
    char text[POOL_NAME_BYTES + 64];

    snprintf(text, sizeof text, "\"pool\":\"%s\",\"state\":\"%s\"", pool->name,
             deleted ? "deleted" : pool_state_name(pool->state));
    news_add(&daemon->api, HISTORY_POOL_STATE, pool->name, text);
}

int daemon_news_init(struct daemon *daemon, struct err *err)
{
    struct vms *vms = &daemon->vms;
    struct err notice;

    vms->lease_ended = on_lease_ended;
    vms->lease_forgotten = on_lease_forgotten;
    vms->lease_lost = on_lease_lost;
    vms->pool_changed = on_pool_changed;
    lease_news_init(&daemon->api.news);
    daemon->api.client_lines =
        (struct log_share){ .what = "clients' calls", .most = CLIENT_LINES_PER_SECOND };
    list_init(&daemon->api.event_streams);
    list_init(&daemon->api.logs);
    list_init(&daemon->api.pending);
    daemon->api.history = history_open(daemon->config.run_dir, &notice);
    if (!daemon->api.history)
        return err_set(err, ENOMEM, "out of memory for events");
    if (notice.code)
        log_warn("%s", notice.msg);
    news_add(&daemon->api, HISTORY_POOLD_STARTED, "", "\"version\":\"" VOLT_VERSION "\"");
    return 0;
}

void daemon_news_stopped(struct daemon *daemon)
{
    lease_news_tell(&daemon->api);
    news_add(&daemon->api, HISTORY_POOLD_STOPPED, "",
             daemon->leaving ? "\"vms\":\"kept\"" : "\"vms\":\"ended\"");
    api_events_end(&daemon->api);
    http_flush(daemon->http);
}
