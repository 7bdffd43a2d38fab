/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what: the rights of a peer by its uid and gids, and what each user has in use.
 *
 * The policy file is {"rules": [{"uid": N | "gid": N, "rights": ["acquire", "admin", "metrics"],
 * "pools": ["NAME"...]}...]}; "pools" limits acquires, absent: all pools. The first rule for the
 * uid counts, else the first for one of its gids, else there are no rights. Root and poold's own
 * user may do everything. Without a policy file all who can open the socket may acquire and read
 * metrics. */
#ifndef VOLT_POOLD_ACCESS_H
#define VOLT_POOLD_ACCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "list.h"

#define RIGHT_ACQUIRE 0x1u
#define RIGHT_ADMIN 0x2u
#define RIGHT_METRICS 0x4u

struct access_rule {
    bool by_gid;
    uint32_t id;
    uint32_t rights;
    uint32_t pool_count; /* 0: all */
    char (*pools)[64];
};

struct access {
    bool has_policy;
    struct access_rule *rules;
    uint32_t rule_count;
    struct list clients;
};

/* A user with an open connection. */
struct client {
    struct list node;
    uid_t uid;
    uint32_t connections, acquires; /* open; waiting */
};

struct peer {
    pid_t pid;
    uid_t uid;
    uint32_t rights;
    const struct access_rule *rule; /* NULL: not limited to pools */
    struct client *client;
};

/* path "": no policy. Blocks: start-up. */
int access_init(struct access *access, const char *path, struct err *err);
void access_fini(struct access *access);

/* Fills in the peer of a connected socket and counts its connection. 0, -errno. */
int access_peer_open(struct access *access, int fd, struct peer *ret_peer);
void access_peer_close(struct peer *peer);

bool access_pool_allowed(const struct peer *peer, const char *pool);

#endif
