/* SPDX-License-Identifier: Apache-2.0 */
/* The history: the last events of poold, and how each lease among them ended. Loop thread only.
 *
 * How it works
 *   A ring of records of fixed size in a file of the run directory, mapped shared, whose place is
 *   taken when it is made: writing one is a copy in memory, and what is written outlives poold,
 *   however that ends. An event's number says where it is; numbers are never given out twice, as a
 *   new history begins with the time in microseconds. Where there is no such file, it is in memory
 *   and begins anew with each poold.
 *
 * Invariants
 *   1. Of HISTORY_EVENTS events that came last each is there whole, or is told to be missing: a record
 *      has its number and a checksum, so one that was being written when poold was killed is none.
 *   2. What is read of a file is checked, and is none if it is not right.
 *   3. Looking for a lease costs a walk through a table of 64 KiB, whoever asks. */
#ifndef VOLT_POOLD_HISTORY_H
#define VOLT_POOLD_HISTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "pool/lease_end.h"
#include "pool/pool.h"

#define HISTORY_EVENTS 8192u
#define HISTORY_TEXT_BYTES 872u
/* So long an ended lease is known, if so many events have not come since. */
#define HISTORY_LEASE_NS (3600 * NS_PER_S)

#define HISTORY_EVENT_MAP(X)                                                                       \
    X(HISTORY_POOLD_STARTED, "poold_started")                                                      \
    X(HISTORY_POOLD_STOPPED, "poold_stopped")                                                      \
    X(HISTORY_POOL_STATE, "pool_state")                                                            \
    X(HISTORY_LEASE_ACQUIRED, "lease_acquired")                                                    \
    X(HISTORY_LEASE_ENDED, "lease_ended")

enum history_type {
#define X(name, text) name,
    HISTORY_EVENT_MAP(X)
#undef X
        HISTORY_TYPE_COUNT,
};

const char *history_type_name(enum history_type type);

/* As it is in the file. */
struct history_event {
    uint64_t check; /* of all that follows */
    uint64_t id;    /* from 1 on */
    uint64_t wall_ns;
    uint32_t type; /* enum history_type */
    uint32_t uid;  /* of a lease's owner */
    uint32_t end;  /* enum lease_end, of LEASE_ENDED */
    uint32_t reserved;
    char lease[24];             /* "" in events of none */
    char pool[POOL_NAME_BYTES]; /* "" in events of poold */
    struct request_key request; /* of LEASE_ENDED: that the lease was asked for with */
    char text
        [HISTORY_TEXT_BYTES]; /* what else of it is told: members of a JSON object, in one line */
};

struct history;

/* run_dir: of poold, which has its lock. Always makes one; a sentence in ret_notice (code 0: none) when
 * it will not outlive poold, or an earlier one could not be read. NULL without memory. */
struct history *history_open(const char *run_dir, struct err *ret_notice);
/* NULL is fine. */
void history_close(struct history *history);

/* Adds one; sets its id, wall_ns (if 0) and checksum. */
void history_add(struct history *history, struct history_event *event);

/* A member of its text; the caller's, JSON null where there is none. */
json_t *history_member(const struct history_event *event, const char *name);

/* The number that the next event will have; and that of the oldest that may be there. */
uint64_t history_next(const struct history *history);
uint64_t history_oldest(const struct history *history);
/* Event `id`, in the history until the next is added; NULL: there is none such, or no longer. */
const struct history_event *history_get(const struct history *history, uint64_t id);

/* The end of the lease whose id begins with prefix, if there is one alone among those of `uid`
 * (any: of everybody) that ended in the last HISTORY_LEASE_NS; NULL: none. */
const struct history_event *history_lease_end(const struct history *history, const char *prefix,
                                              bool any, uint32_t uid);

/* The end of the lease that a request of that key of `uid` was given; as above. */
const struct history_event *history_request_end(const struct history *history,
                                                const struct request_key *key, uint32_t uid);

#endif
