/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what: the rights of a peer by its uid and gids, and what each user has in use.
 *
 * The policy file is {"rules": [{"uid": N | "gid": N, "rights": ["acquire", "admin", "metrics"],
 * "pools": ["NAME"...], "links": ["NAME"...], "leases": N, "memory_mib": N}...]}; "pools" limits
 * acquires and what is seen, absent: all pools; "links" are the bridges and parents of macvtaps
 * that an administrator may connect VMs to, absent: none; "leases" and "memory_mib" are what each
 * of its users may have of those at a time, absent: what poold's configuration gives everybody.
 * The first rule for the uid counts, else the first for one of its gids, else there are no
 * rights. Root and poold's own user are trusted: they may do everything. Without a policy file
 * all who can open the socket may acquire and read metrics.
 *
 * What all share (connections, memory for bodies and replies) is given out by one rule: a user has
 * at most `each`, and never more than is left for the others. However many users take what they
 * can get, the next one finds something; and what is kept for trusted users is touched by nobody
 * else. Users without any right count as one.
 *
 * Of clients by TCP the kernel tells no user. They have an access of their own, whose policy has
 * callers (callers.h) in place of users: a connection is counted to the address that it comes from
 * (for IPv6: its first 64 bits) and has no right; a request whose caller has proved who it is
 * (access_caller_enter) is that caller's until it is over. Loop thread only. */
#ifndef VOLT_POOLD_ACCESS_H
#define VOLT_POOLD_ACCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/list.h"

#define RIGHT_ACQUIRE 0x1u
#define RIGHT_ADMIN 0x2u
#define RIGHT_METRICS 0x4u

#define ACCESS_BUCKETS 256u
#define ACCESS_NAME_BYTES 64

struct access_rule {
    struct access_policy *policy; /* that it is of */
    bool by_gid;
    uint32_t id;
    uint32_t rights;
    uint32_t pool_count; /* 0: all */
    char (*pools)[ACCESS_NAME_BYTES];
    uint32_t link_count; /* 0: none */
    char (*links)[ACCESS_NAME_BYTES];
    uint32_t leases, memory_mib; /* 0: as poold's configuration says */
};

/* Of something that all share. */
struct access_share {
    uint64_t each; /* at most, for one user that is not trusted */
    uint64_t all;  /* for all users */
    uint64_t kept; /* of them, for trusted ones */
    uint64_t used, used_trusted;
};

/* What a policy file says. Another may take its place while peers have rights by its rules: they are
 * judged anew when they ask for something (access_peer_renew), and what is under way goes on. */
struct access_policy {
    uint32_t peers;         /* that have a rule of it */
    bool replaced;          /* freed with its last peer */
    struct caller *callers; /* one for each rule; NULL: they are for users */
    uint32_t rule_count;
    struct access_rule rules[];
};

struct access {
    bool of_callers;                     /* its clients come by TCP */
    struct access_policy *policy;        /* NULL: the built-in one; of callers: nobody */
    uint32_t generation;                 /* of the policy: how often it was replaced */
    struct list clients[ACCESS_BUCKETS]; /* by key */
    struct access_share connections, bytes;
};

/* A user, an address or a caller with something open. */
struct client {
    struct list node;
    uint64_t key; /* a uid, UINT32_MAX: all those without a right; or what stands for the others */
    uint64_t connections;   /* open */
    uint32_t holds;         /* of it that are open */
    uint64_t bytes;         /* of bodies, and of replies that were not read yet */
    uint32_t acquires;      /* that wait, */
    uint64_t acquire_bytes; /* and the memory of the VMs that they wait for */
    /* Of the HTTP server (http_turn.c): requests that wait for their turn. */
    struct list held, held_node;
};

struct peer {
    pid_t pid;
    uid_t uid;
    bool trusted;
    bool unlimited;      /* access_bytes_take, from its first request to its last */
    uint32_t generation; /* of the policy that it was judged by */
    uint32_t rights;
    const struct access_rule *rule; /* NULL: not limited to pools */
    struct client *client;          /* whom it is counted to */
    struct client *connected;       /* whom its connection is */
};

/* path "": no policy. Sets no limits (the shares are the caller's to set). Blocks: start-up. */
int access_init(struct access *access, const char *path, struct err *err);
/* Reads a policy file; NULL in *ret_policy for "". Blocks. Freed by access_policy_free, or taken by
 * access_policy_replace: it holds for connections from now on. */
int access_policy_read(const char *path, struct access_policy **ret_policy, struct err *err);
void access_policy_free(struct access_policy *policy);
void access_policy_replace(struct access *access, struct access_policy *policy);
/* For clients by TCP, with a policy of callers_read's (taken). */
void access_init_callers(struct access *access, struct access_policy *policy);
void access_fini(struct access *access);
/* One without rights for anybody, for whoever fills it in; NULL: out of memory. */
struct access_policy *access_policy_make(uint32_t rule_count, bool of_callers);

/* Fills in the peer of a connected socket and counts its connection. -EDQUOT: its user has as many
 * as it may have; -EUSERS: all do; or another -errno. */
int access_peer_open(struct access *access, int fd, struct peer *ret_peer);
/* The same of callers, for a connection from this address. */
int access_peer_open_from(struct access *access, const struct sockaddr *address,
                          struct peer *ret_peer);
void access_peer_close(struct access *access, struct peer *peer);
/* The request that begins is this caller's of the policy; and is over. 0 or -ENOMEM. */
int access_caller_enter(struct access *access, struct peer *peer, uint32_t caller);
void access_caller_leave(struct access *access, struct peer *peer);
/* Before each of its requests: judges it anew if the policy is another one by now. Cheap if not. */
void access_peer_renew(const struct access *access, int fd, struct peer *peer);

/* Whether it has one of the rights in `needed` (0: none is needed). */
bool access_has_right(const struct peer *peer, uint32_t needed);
/* Whether it may acquire from the pool, whether or not there is one. */
bool access_pool_allowed(const struct peer *peer, const char *pool);
/* Whether it may connect VMs to this link of the host. */
bool access_link_allowed(const struct peer *peer, const char *link);
/* Whether it may know of the pool. */
bool access_pool_seen(const struct peer *peer, const char *pool);

/* Counts memory that is held for the peer. False: it has too much already. Administrators are not
 * limited. */
bool access_bytes_take(struct access *access, const struct peer *peer, uint64_t bytes);
void access_bytes_give(struct access *access, const struct peer *peer, uint64_t bytes);
/* Frees a client that has neither connections nor holds. */
void access_client_leave(struct client *client);

#endif
