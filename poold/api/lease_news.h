/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of each lease that was given: an event (history.h) and a line of the log, when it is
 * given and when it ends. Loop thread only.
 *
 * How it works
 *   Telling takes longer than an acquire does. So what is to be told of a slot is noted in it, and told
 *   from the daemon's pump, when replies have gone out and no acquire waits for an answer, at the
 *   latest after NEWS_LATE_NS; before the slot is freed; or before an end that has a sentence of its
 *   own. It is told in the order in which it came.
 *   Lines of the log are bounded: NEWS_LINES_PER_SECOND, those left out are counted and said. Events
 *   are not. */
#ifndef VOLT_POOLD_LEASE_NEWS_H
#define VOLT_POOLD_LEASE_NEWS_H

#include "api/api.h"

#define NEWS_LINES_PER_SECOND 100u
#define NEWS_LATE_NS (50 * NS_PER_MS)

void lease_news_init(struct lease_news *news);
/* It was given: all of its lease is filled in, and its reply made. */
void lease_news_given(struct api *api, struct slot *slot);
/* It has ended: slot->end and slot->end_detail say why. */
void lease_news_ended(struct api *api, struct slot *slot);
/* Its slot is about to be freed. */
void lease_news_forgotten(struct api *api, struct slot *slot);
/* A lease of an earlier poold's ended before this one was there. */
void lease_news_lost(struct api *api, const char *lease, const char *pool, uint32_t uid,
                     const char *labels, const struct request_key *request);

/* Tells what is due: all of it, or while acquires wait (pressed) what is late. Returns when the rest
 * will be, UINT64_MAX for none. */
uint64_t lease_news_pump(struct api *api, bool pressed);
/* Tells all of it now: before a lease is looked for that may have ended. */
void lease_news_tell(struct api *api);

/* Events of pools and of poold itself; told at once. text: members of a JSON object, "" for none. */
void news_add(struct api *api, enum history_type type, const char *pool, const char *text);

#endif
