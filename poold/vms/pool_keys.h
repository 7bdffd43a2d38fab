/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of a pool, in one table: a row says how a key is asked for (POST /v1/pools, a section
 * [pool NAME] of a configuration file), how it is kept (pools/NAME.json), how it is shown
 * (GET /v1/pools) and what the documentation says of it. Any thread; the tables are constant. */
#ifndef VOLT_POOLD_POOL_KEYS_H
#define VOLT_POOLD_POOL_KEYS_H

#include <jansson.h>

#include "http/json_keys.h"
#include "vms/pool_spec.h"

/* What is kept of a pool. */
struct pool_record {
    struct pool_body body; /* but for its name, which is the file's */
    char created[32];
    uint64_t cold_boot_ms, snapshot_ms; /* 0: not known */
    bool draining, booting;             /* booting: its snapshot is not there yet */
};

/* Keys of struct pool_body: all that can be asked for, of a pool that is there (all but its name), and
 * those that a pool may be given while it runs (PATCH). */
extern const struct json_table pool_body_table, pool_replace_table, pool_limit_table;
/* Of struct pool_record. A text or number that was not asked for is "" or 0. */
extern const struct json_table pool_record_table;

enum pool_key_shown {
    POOL_SHOWN_NOT,              /* or by other code: everybody sees it */
    POOL_SHOWN_AS_IS,            /* to administrators */
    POOL_SHOWN_OR_NULL,          /* null when it was not asked for */
    POOL_SHOWN_WITH_DISK,        /* as it is, of a pool with a disk */
    POOL_SHOWN_WITH_NET,         /* and of one with a network; */
    POOL_SHOWN_DEFAULT_WITH_NET, /* as its default when it was not asked for */
};

/* A key of pool_body_table, but for "name". */
struct pool_key {
    struct json_key key;
    enum pool_key_shown shown;
    const char *help;     /* without a full stop */
    const char *fallback; /* what it is when it is not given, for people; "": nothing */
};
extern const struct pool_key pool_keys[];
extern const size_t pool_key_count;

/* What a value of the key may be, for people: "1 to 8". */
#define POOL_KEY_VALUES_BYTES 64
const char *pool_key_values(const struct json_key *key, char ret[POOL_KEY_VALUES_BYTES]);

/* Those that are shown, as an object: the caller's. */
json_t *pool_keys_show(const struct pool_body *body);

#endif
