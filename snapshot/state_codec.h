/* SPDX-License-Identifier: Apache-2.0 */
/* Turns a device's saved-state struct into bytes and back, driven by its struct state_desc
 * (devices/device.h): the fields in table order, little-endian, no padding. */
#ifndef VOLT_SNAPSHOT_STATE_CODEC_H
#define VOLT_SNAPSHOT_STATE_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "devices/device.h"
#include "snapshot/sections.h"

/* Bytes that a struct takes in a file of this version of its table: the fields with
 * since <= version. */
size_t state_desc_bytes(const struct state_desc *desc, uint32_t version);

/* Adds section `name` (device.name) with all fields of `state`, a struct of desc->struct_bytes, at
 * desc->version. Errors stick in the builder. */
int state_encode(struct state_builder *b, const char *name, const struct state_desc *desc,
                 const void *state);

/* Finds section `name` and decodes it into ret_state (desc->struct_bytes), which is zeroed first:
 * fields younger than the file's version load as 0, whatever the table does not name too. Then
 * desc->post_load judges it. -ENOENT no such section; -ENOTSUP a version newer than the table;
 * -EINVAL version 0, a wrong length, or post_load's refusal; sentences name the section. ret_state
 * is garbage after a failure: load it into no device. */
int state_decode(struct state_reader *r, const char *name, const struct state_desc *desc,
                 void *ret_state, struct err *err);

#endif
