/* SPDX-License-Identifier: Apache-2.0 */
/* Acquires that are repeated: a client that has lost a reply asks again with the same Idempotency-Key,
 * and gets the lease that it has already. Loop thread only.
 *
 * How it works
 *   A key is its user's and pool's: what is kept of it is a hash of pool and key, and one of the body.
 *   There is no table of keys: an acquire under way has its own, a living lease has it in its slot (and
 *   in the ledger), and one that has ended in the history, for an hour; so what bounds those bounds
 *   keys, and all but the first survive poold.
 *
 *   found                     answer
 *   nothing                   the acquire goes on; if it fails, its key is forgotten
 *   an acquire under way      409 request_pending: waiting for another's reply would leave open whose
 *                             hang-up ends the acquire
 *   a living lease            200 with the lease, as it is now
 *   one that has ended        410 lease_ended, with its reason: a key never gives a second VM
 *   any, with another body    422 key_reused */
#ifndef VOLT_POOLD_REPEAT_H
#define VOLT_POOLD_REPEAT_H

#include "api/api.h"

#define REPEAT_KEY_BYTES_MAX 128u

/* Reads the request's key for that pool; none: all zeroes. False: it is no key, and it has replied. */
bool repeat_read(struct http_request *request, const char *pool, struct request_key *ret_key);
/* Whether the request is one that was made before: then it has replied. */
bool repeat_answered(struct http_request *request, const struct request_key *key);

/* An acquire under way, inside its call. */
struct repeat_pending {
    struct list node; /* api->pending */
    uint32_t uid;
    struct request_key key;
};

/* It begins; a key of zeroes is fine. It ends by list_remove(&pending->node). */
void repeat_begin(struct http_request *request, struct repeat_pending *pending,
                  const struct request_key *key);

#endif
