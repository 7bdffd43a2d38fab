/* SPDX-License-Identifier: Apache-2.0 */
/* The request to a guest's agent that starts a pool's service (AGENT_EXEC, guest_abi.h): `sh -c` of the
 * command, as `docker run` would start it in the pool's image, with that one's user, directory and
 * variables, and with poold's own variables, which come before the image's. Pure; any thread. */
#ifndef VOLT_POOLD_SERVICE_REQUEST_H
#define VOLT_POOLD_SERVICE_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "vms/pool_spec.h"

/* In *ret_request, the caller's (free). name: the pool's. image_config: JSON as of
 * snapshot/image/image_config.h; NULL: the image says nothing. 0, -E2BIG with a sentence when it is more
 * than a frame has room for, -ENOMEM. */
int service_request_make(const struct pool_spec *spec, const char *name, const char *image_config,
                         uint8_t **ret_request, size_t *ret_bytes, struct err *err);

#endif
