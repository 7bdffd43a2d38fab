/* SPDX-License-Identifier: Apache-2.0 */
/* Owns which lease a path names: by its id, or the beginning of it; see api.h. */
#include <string.h>

#include "api/api.h"
#include "api/lease_gone.h"
#include "api/leases.h"

#define PREFIX_MIN 4

struct slot *api_lease_find(struct http_request *request)
{
    const size_t prefix_bytes = strlen(request->param);
    struct slot *found = NULL;
    const unsigned matches =
        leases_match(api_of(request)->vms, &request->connection->peer, request->param, &found);

    if (matches == 1 && prefix_bytes >= PREFIX_MIN)
        return found;
    if (matches > 1 && prefix_bytes >= PREFIX_MIN)
        http_reply_error(request, API_BAD_REQUEST,
                         "'%s' is the beginning of %u leases; give more of it", request->param,
                         matches);
    else if (prefix_bytes < PREFIX_MIN)
        http_reply_error(request, API_BAD_REQUEST,
                         "a lease's id may be cut, but not to fewer than %d characters",
                         PREFIX_MIN);
    else
        lease_missing_reply(request);
    return NULL;
}
