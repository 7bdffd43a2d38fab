/* SPDX-License-Identifier: Apache-2.0 */
/* The LEASE object of docs/api.md as text, made without the JSON library: it is on the path of
 * every acquire. */
#ifndef VOLT_POOLD_LEASE_TEXT_H
#define VOLT_POOLD_LEASE_TEXT_H

#include <stddef.h>

#include "api/api.h"

#define LEASE_TEXT_BYTES (PATH_MAX + 3072)

#define WALL_TEXT_BYTES 32

/* "2026-11-21T20:00:00.123Z"; returns its length. */
size_t wall_text(uint64_t wall_ns, char ret_text[WALL_TEXT_BYTES]);

/* The object of a leased slot in ret_text; returns its length. now 0: as the answer to an acquire;
 * else with age_ms, expires_in_ms and pid. */
size_t lease_text(const struct api *api, const struct slot *slot, uint64_t now,
                  char ret_text[LEASE_TEXT_BYTES]);

#endif
