/* SPDX-License-Identifier: Apache-2.0 */
/* What the configuration allows the clients of an HTTP server, local or by TCP. */
#ifndef VOLT_POOLD_HTTP_LIMITS_H
#define VOLT_POOLD_HTTP_LIMITS_H

#include "config.h"
#include "http/http.h"

/* connections_kept of connections_all are for trusted clients. */
struct http_limits http_limits_of(const struct config *config, uint32_t connections_all,
                                  uint32_t connections_kept);

#endif
