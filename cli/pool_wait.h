/* SPDX-License-Identifier: Apache-2.0 */
/* Waits for a pool that is being made, with progress on stderr. */
#ifndef VOLT_CLI_POOL_WAIT_H
#define VOLT_CLI_POOL_WAIT_H

#include "api.h"

/* Until it is ready: 0 and its object (the caller's); or -errno with a sentence: it failed, or is not
 * there after half an hour. */
int pool_wait(struct api *api, const char *name, json_t **ret_pool, struct err *err);
/* The same for a pool that is being replaced, as `begun`, the answer of that, says: until what replaces
 * it is the pool. */
int pool_wait_replaced(struct api *api, const char *name, json_t *begun, json_t **ret_pool,
                       struct err *err);

#endif
