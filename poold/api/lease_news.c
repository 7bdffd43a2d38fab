/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what is told of leases, and when; see lease_news.h. */
#include "api/lease_news.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"
#include "base/log.h"
#include "base/text.h"

#define DETAIL_BYTES 128u

enum {
    NEWS_GIVEN = 1 << 0,
    NEWS_ENDED = 1 << 1,
};

/* A lease as it is told of; everything is borrowed. */
struct told {
    const char *lease, *pool, *labels;
    uint32_t uid;
    struct request_key request;
};

void lease_news_init(struct lease_news *news)
{
    list_init(&news->slots);
    news->lines = (struct log_share){ .what = "leases", .most = NEWS_LINES_PER_SECOND };
}

/* ---- Lines ---- */

/* why: the name of a row (VOLT_TIER, VOLT_REASON) and its value. */
static void line_print(struct api *api, enum history_type type, const struct told *told,
                       const char *name, const char *value, const char *text)
{
    char uid[16];
    const struct log_field fields[] = {
        { "VOLT_EVENT", history_type_name(type) },
        { "VOLT_LEASE", told->lease },
        { "VOLT_POOL", told->pool },
        { "VOLT_UID", uid },
        { "VOLT_LABELS", told->labels },
        { name, value },
    };

    if (!log_share_allows(&api->news.lines))
        return;
    snprintf(uid, sizeof uid, "%u", told->uid);
    log_print_about(LOG_LEVEL_INFO, fields, ARRAY_LEN(fields),
                    "lease %s of pool '%s', uid %u%s%s: %s", told->lease, told->pool, told->uid,
                    *told->labels ? ", " : "", told->labels, text);
}

/* ---- Events ---- */

static void event_add(struct api *api, enum history_type type, const struct told *told,
                      enum lease_end end, const char *more)
{
    struct history_event event = {
        .type = type, .uid = told->uid, .end = end, .request = told->request
    };

    snprintf(event.lease, sizeof event.lease, "%s", told->lease);
    snprintf(event.pool, sizeof event.pool, "%s", told->pool);
    snprintf(event.text, sizeof event.text,
             "\"lease\":\"%s\",\"pool\":\"%s\",\"uid\":%u,\"labels\":%s,%s", told->lease,
             told->pool, told->uid, *told->labels ? told->labels : "{}", more);
    history_add(api->history, &event);
}

void news_add(struct api *api, enum history_type type, const char *pool, const char *text)
{
    struct history_event event = { .type = type };

    snprintf(event.pool, sizeof event.pool, "%s", pool);
    snprintf(event.text, sizeof event.text, "%s", text);
    history_add(api->history, &event);
}

static struct told told_of(const struct slot *slot)
{
    return (struct told){ slot->id, slot->pool->name, slot->labels, slot->owner_uid,
                          slot->request };
}

static void given_tell(struct api *api, const struct slot *slot)
{
    const struct timings *t = &slot->timings;
    const uint64_t us = (t->queue_ns + t->load_ns + t->awake_ns + t->ready_ns) / 1000;
    const struct told told = told_of(slot);
    char more[96];

    snprintf(more, sizeof more, "\"tier\":\"%s\",\"total_us\":%" PRIu64 ",\"ttl_ms\":%" PRIu64,
             tier_name(slot->tier), us, slot->ttl_ms);
    event_add(api, HISTORY_LEASE_ACQUIRED, &told, 0, more);
    snprintf(more, sizeof more, "acquired (%s, %" PRIu64 " us)", tier_name(slot->tier), us);
    line_print(api, HISTORY_LEASE_ACQUIRED, &told, "VOLT_TIER", tier_name(slot->tier), more);
}

/* age_ns 0: it is not known. */
static void end_tell(struct api *api, const struct told *told, enum lease_end end,
                     const char *detail, uint64_t age_ns)
{
    char clean[DETAIL_BYTES], more[3 * DETAIL_BYTES], line[3 * DETAIL_BYTES];

    text_clean(clean, sizeof clean, detail, SIZE_MAX);
    json_t *text = json_text_or_null(clean);
    _cleanup_free_ char *quoted = json_dumps(text, JSON_ENCODE_ANY);
    json_decref(text);
    snprintf(more, sizeof more, "\"reason\":\"%s\",\"detail\":%s,\"age_ms\":%" PRIu64,
             lease_end_name(end), quoted ? quoted : "null", (uint64_t)(age_ns / NS_PER_MS));
    event_add(api, HISTORY_LEASE_ENDED, told, end, more);
    snprintf(line, sizeof line, "ended after %.1f s: %s (%s)%s%s", (double)age_ns / NS_PER_S,
             lease_end_sentence(end), lease_end_name(end), *clean ? ": " : "", clean);
    line_print(api, HISTORY_LEASE_ENDED, told, "VOLT_REASON", lease_end_name(end), line);
}

static void slot_tell(struct api *api, struct slot *slot)
{
    const struct told told = told_of(slot);
    const uint32_t news = slot->news;

    slot->news = 0;
    list_remove(&slot->news_node);
    if (news & NEWS_GIVEN)
        given_tell(api, slot);
    if (news & NEWS_ENDED)
        end_tell(api, &told, (enum lease_end)slot->end, slot->end_detail,
                 slot->stopped_ns - slot->leased_ns);
}

/* ---- When ---- */

static void note(struct api *api, struct slot *slot, uint32_t what)
{
    if (list_empty(&api->news.slots))
        api->news.since_ns = now_ns();
    slot->news |= what;
    /* Behind those that have news since: its own are told in one go. */
    list_remove(&slot->news_node);
    list_append(&api->news.slots, &slot->news_node);
    turn_schedule(api->vms->turn);
}

void lease_news_given(struct api *api, struct slot *slot)
{
    slot->given = true;
    note(api, slot, NEWS_GIVEN);
}

void lease_news_ended(struct api *api, struct slot *slot)
{
    note(api, slot, NEWS_ENDED);
    if (*slot->end_detail)
        lease_news_tell(api);
}

void lease_news_forgotten(struct api *api, struct slot *slot)
{
    if (slot->news)
        lease_news_tell(api);
}

void lease_news_lost(struct api *api, const char *lease, const char *pool, uint32_t uid,
                     const char *labels, const struct request_key *request)
{
    const struct told told = { lease, pool, labels, uid, .request = *request };

    end_tell(api, &told, LEASE_END_LOST, "", 0);
}

void lease_news_tell(struct api *api)
{
    while (!list_empty(&api->news.slots))
        slot_tell(api, list_entry(api->news.slots.next, struct slot, news_node));
}

uint64_t lease_news_pump(struct api *api, bool pressed)
{
    const uint64_t late_ns = api->news.since_ns + NEWS_LATE_NS;

    if (list_empty(&api->news.slots))
        return UINT64_MAX;
    if (pressed && now_ns() < late_ns)
        return late_ns;
    lease_news_tell(api);
    return UINT64_MAX;
}
