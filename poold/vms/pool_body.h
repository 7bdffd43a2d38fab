/* SPDX-License-Identifier: Apache-2.0 */
/* What a pool that is asked for becomes, and whether it can be: beyond the table of its keys
 * (pool_keys.h). Any thread. */
#ifndef VOLT_POOLD_POOL_BODY_H
#define VOLT_POOLD_POOL_BODY_H

#include <jansson.h>

#include "http/json_keys.h"
#include "vms/pool_spec.h"
#include "vms/vms_settings.h"

/* A pool of 128 MiB, of which 2 VMs are kept parked and 64 are the most. */
void pool_body_default(struct pool_body *body);

/* A value as a file has it, as JSON. NULL with a sentence when it can't be one of that key. The
 * caller's. */
json_t *pool_body_value(const struct json_key *key, const char *text, struct err *err);

/* What the key table can't say and what needs no look at files. 0 or -EINVAL with a sentence. */
int pool_body_check(const struct pool_body *body, struct err *err);

/* "auto", or nothing, becomes what poold found for this host's kind of KVM (vms_settings.h), and "none"
 * no network. -ENOENT: there is no kernel. */
int pool_body_choose(struct pool_body *body, const struct vms_settings *settings, struct err *err);

/* Makes of a body that a pool has the one to begin with for its replacement: what poold chose is chosen
 * again. And once keys have been read over it: of two that exclude each other, the one that is new
 * holds. */
void pool_body_again(struct pool_body *body, const struct vms_settings *settings);
void pool_body_over(struct pool_body *body, const struct pool_body *was);

/* Whether poold itself can read kernel, initramfs and disk. Blocks. 0 or -errno with a sentence. */
int pool_body_look(const struct pool_body *body, struct err *err);

#endif
