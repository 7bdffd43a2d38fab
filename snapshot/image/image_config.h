/* SPDX-License-Identifier: Apache-2.0 */
/* How the programs of an image want to be started: what its maker put into its OCI configuration.
 *
 * It is kept as JSON text, an object with any of these keys, others are refused: "user" and "workdir"
 * (texts), "env" (texts "NAME=VALUE"), "entrypoint" and "cmd" (texts). It is as little trusted as the
 * image. */
#ifndef VOLT_SNAPSHOT_IMAGE_CONFIG_H
#define VOLT_SNAPSHOT_IMAGE_CONFIG_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "snapshot/image/image_manifest.h" /* IMAGE_CONFIG_BYTES_MAX */

/* The one text that such an object has, malloc'ed, the caller's. -EINVAL with a sentence that names
 * the key, -E2BIG, -ENOMEM. */
int image_config_format(const json_t *config, char **ret_text, struct err *err);

/* The same of text[0..len). */
int image_config_parse(const char *text, size_t len, char **ret_text, struct err *err);

#endif
