/* SPDX-License-Identifier: Apache-2.0 */
/* From the configuration of an OCI image (config.md of the OCI image specification 1.1) to what poold
 * keeps of it. */
#ifndef VOLT_CLI_OCI_CONFIG_H
#define VOLT_CLI_OCI_CONFIG_H

#include <jansson.h>

#include "base/err.h"

/* An object with those of "user", "workdir", "env", "entrypoint" and "cmd" that the image has; NULL:
 * it has none of them. The caller's. -EINVAL with a sentence for what is of another type. */
int oci_config_take(const json_t *configuration, json_t **ret_config, struct err *err);

#endif
