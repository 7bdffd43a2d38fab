/* SPDX-License-Identifier: Apache-2.0 */
/* What a pool is asked to be: the keys of POST /v1/pools, which are those of a section [pool NAME]
 * of a configuration file too. Any thread. */
#ifndef VOLT_POOLD_POOL_BODY_H
#define VOLT_POOLD_POOL_BODY_H

#include <jansson.h>

#include "http/json_keys.h"
#include "pool/pool.h"
#include "vms/pool_spec.h"
#include "vms/vms_settings.h"

struct pool_body {
    char name[POOL_NAME_BYTES];
    struct pool_spec spec;
    uint32_t min, max, shells;
};

/* All of them, and those that a running pool may be given (PATCH). */
extern const struct json_table pool_body_table, pool_limit_table;

/* What a key of pool_body_table but "name" means, without a full stop, and what it is when it is not
 * given ("": nothing). */
struct pool_key_text {
    const char *name, *help, *fallback;
};
extern const struct pool_key_text pool_key_texts[];
extern const size_t pool_key_text_count;

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

/* Whether poold itself can read kernel, initramfs and disk. Blocks. 0 or -errno with a sentence. */
int pool_body_look(const struct pool_body *body, struct err *err);

#endif
