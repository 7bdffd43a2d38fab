/* SPDX-License-Identifier: Apache-2.0 */
/* Functions as docs/api.md has them. */
#ifndef VOLT_POOLD_FUNCTIONS_JSON_H
#define VOLT_POOLD_FUNCTIONS_JSON_H

#include <jansson.h>

#include "api/api.h"

/* With `all` what only administrators see. The caller's. */
json_t *function_json(const struct function *function, bool all);

#endif
