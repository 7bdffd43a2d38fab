/* SPDX-License-Identifier: Apache-2.0 */
/* Owns which settings are the limits of an HTTP server; see http_limits.h. */
#include "http_limits.h"

struct http_limits http_limits_of(const struct config *config, uint32_t connections_all,
                                  uint32_t connections_kept)
{
    return (struct http_limits){ .connections = config->connections_per_client,
                                 .connections_all = connections_all,
                                 .connections_kept = connections_kept,
                                 .request_ms = config->request_timeout_ms,
                                 .transfer_ms = config->transfer_timeout_ms,
                                 .idle_ms = config->idle_timeout_ms };
}
