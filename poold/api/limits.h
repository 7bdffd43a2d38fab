/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps an acquire from a VM beside its pool: limits of its user, and of all pools together.
 * Loop thread only. */
#ifndef VOLT_POOLD_LIMITS_H
#define VOLT_POOLD_LIMITS_H

#include "api/api.h"

/* Whether the request's user may have one more lease, of this pool. Administrators have no limits but
 * those of all. False: it has replied. */
bool limits_allow(struct http_request *request, const struct pool *pool);
/* Which limit of all pools keeps this one from a VM: a sentence. */
void limits_tell_room(const struct api *api, const struct pool *pool, char *ret_text, size_t bytes);

#endif
