/* SPDX-License-Identifier: Apache-2.0 */
/* What clients see of a pool: POOL of docs/api.md. Loop thread only. */
#ifndef VOLT_POOLD_POOLS_JSON_H
#define VOLT_POOLD_POOLS_JSON_H

#include <jansson.h>

#include "http/http.h"
#include "vms/vms.h"

/* All of it for administrators, else what whoever acquires may know. The caller's. */
json_t *pools_json_of(const struct http_request *request, const struct hosted_pool *hosted);

#endif
