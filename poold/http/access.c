/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the judgement of peers and what they have in use; see access.h. */
#include "http/access.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "http/callers.h"

#define GROUPS_MAX 1024

/* Nobody gets rights by it any more. */
static void policy_retire(struct access_policy *policy)
{
    if (policy && policy->peers)
        policy->replaced = true;
    else
        access_policy_free(policy);
}

void access_policy_replace(struct access *access, struct access_policy *policy)
{
    policy_retire(access->policy);
    access->policy = policy;
    access->generation++;
}

/* Leaves it without rights. */
static void peer_unjudge(struct peer *peer)
{
    struct access_policy *policy = peer->rule ? peer->rule->policy : NULL;

    peer->rule = NULL;
    peer->rights = 0;
    if (policy && --policy->peers == 0 && policy->replaced)
        access_policy_free(policy);
}

static void access_clear(struct access *access)
{
    memset(access, 0, sizeof *access);
    for (unsigned i = 0; i < ACCESS_BUCKETS; i++)
        list_init(&access->clients[i]);
}

int access_init(struct access *access, const char *path, struct err *err)
{
    access_clear(access);
    return access_policy_read(path, &access->policy, err);
}

void access_init_callers(struct access *access, struct access_policy *policy)
{
    access_clear(access);
    access->of_callers = true;
    access->policy = policy;
}

void access_fini(struct access *access)
{
    access_policy_replace(access, NULL);
}

/* ---- Shares ---- */

static bool share_take(struct access_share *share, bool trusted, uint64_t *own, uint64_t amount)
{
    uint64_t room = share->all - share->kept, left = room - MIN_OF(room, share->used);
    uint64_t used = share->used + share->used_trusted;

    if (used + amount > share->all)
        return false;
    if (!trusted && (*own + amount > share->each || *own + amount > left))
        return false;
    *(trusted ? &share->used_trusted : &share->used) += amount;
    *own += amount;
    return true;
}

static void share_give(struct access_share *share, bool trusted, uint64_t *own, uint64_t amount)
{
    *(trusted ? &share->used_trusted : &share->used) -= amount;
    *own -= amount;
}

/* ---- Peers ---- */

/* The peer's gids, its primary one first. */
static uint32_t peer_gids(int fd, gid_t primary, gid_t gids[GROUPS_MAX])
{
    socklen_t bytes = (GROUPS_MAX - 1) * sizeof(gid_t);

    gids[0] = primary;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, &gids[1], &bytes) < 0)
        return 1;
    return 1 + (uint32_t)(bytes / sizeof(gid_t));
}

static const struct access_rule *rule_find(const struct access *access, int fd,
                                           const struct ucred *cred)
{
    gid_t gids[GROUPS_MAX];
    uint32_t gid_count = peer_gids(fd, cred->gid, gids);

    const struct access_policy *policy = access->policy;

    for (uint32_t i = 0; i < policy->rule_count; i++) {
        if (!policy->rules[i].by_gid && policy->rules[i].id == cred->uid)
            return &policy->rules[i];
    }
    for (uint32_t i = 0; i < policy->rule_count; i++) {
        for (uint32_t g = 0; policy->rules[i].by_gid && g < gid_count; g++) {
            if (policy->rules[i].id == gids[g])
                return &policy->rules[i];
        }
    }
    return NULL;
}

/* Gives it its rights; a rule that it had has been left. */
static void peer_judge(const struct access *access, int fd, const struct ucred *cred,
                       struct peer *peer)
{
    peer->pid = cred->pid;
    peer->uid = cred->uid;
    peer->trusted = cred->uid == 0 || cred->uid == geteuid();
    peer->rule = NULL;
    if (peer->trusted) {
        peer->rights = RIGHT_ACQUIRE | RIGHT_ADMIN | RIGHT_METRICS;
    } else if (access->policy) {
        peer->rule = rule_find(access, fd, cred);
        peer->rights = peer->rule ? peer->rule->rights : 0;
    } else {
        peer->rights = RIGHT_ACQUIRE | RIGHT_METRICS;
    }
    if (peer->rule)
        peer->rule->policy->peers++;
    peer->generation = access->generation;
}

static struct client *client_find(struct access *access, uint64_t key)
{
    struct list *bucket = &access->clients[key % ACCESS_BUCKETS];
    struct client *client;

    LIST_FOR_EACH(at, bucket)
    {
        client = list_entry(at, struct client, node);
        if (client->key == key)
            return client;
    }
    client = calloc(1, sizeof *client);
    if (client) {
        client->key = key;
        list_init(&client->held);
        list_init(&client->held_node);
        list_append(bucket, &client->node);
    }
    return client;
}

void access_client_leave(struct client *client)
{
    if (client->connections || client->holds)
        return;
    list_remove(&client->node);
    free(client);
}

/* Counts its connection to the client of that key. */
static int peer_count(struct access *access, uint64_t key, struct peer *peer)
{
    uint64_t used;

    peer->client = peer->connected = client_find(access, key);
    if (!peer->client) {
        peer_unjudge(peer);
        return -ENOMEM;
    }
    if (share_take(&access->connections, peer->trusted, &peer->client->connections, 1))
        return 0;
    used = peer->client->connections;
    access_client_leave(peer->client);
    peer_unjudge(peer);
    return used ? -EDQUOT : -EUSERS;
}

int access_peer_open(struct access *access, int fd, struct peer *ret_peer)
{
    struct peer peer = { 0 };
    struct ucred cred;
    socklen_t bytes = sizeof cred;
    int rc;

    assert(!access->of_callers);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) < 0)
        return -errno;
    peer_judge(access, fd, &cred, &peer);
    /* An administrator's list of all leases may be long. */
    peer.unlimited = peer.trusted || peer.rights & RIGHT_ADMIN;
    rc = peer_count(access, peer.rights ? cred.uid : UINT32_MAX, &peer);
    if (rc == 0)
        *ret_peer = peer;
    return rc;
}

/* ---- Callers ---- */

#define KEY_CALLER (1ull << 63)

/* FNV-1a: who finds addresses that collide shares one share with itself. */
static uint64_t key_of(const void *bytes, size_t count)
{
    const uint8_t *at = bytes;
    uint64_t key = 0xcbf29ce484222325ull;

    for (size_t i = 0; i < count; i++)
        key = (key ^ at[i]) * 0x100000001b3ull;
    return key & ~KEY_CALLER;
}

/* An IPv4 address, also one within IPv6's; of IPv6 what a site has. */
static uint64_t key_of_address(const struct sockaddr *address)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;

    if (address->sa_family != AF_INET6)
        return key_of(&((const struct sockaddr_in *)address)->sin_addr, 4);
    if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr))
        return key_of(&six->sin6_addr.s6_addr[12], 4);
    return key_of(six->sin6_addr.s6_addr, 8);
}

int access_peer_open_from(struct access *access, const struct sockaddr *address,
                          struct peer *ret_peer)
{
    struct peer peer = { .uid = UINT32_MAX };
    int rc;

    assert(access->of_callers);
    rc = peer_count(access, key_of_address(address), &peer);
    if (rc == 0)
        *ret_peer = peer;
    return rc;
}

int access_caller_enter(struct access *access, struct peer *peer, uint32_t caller)
{
    const struct access_rule *rule = &access->policy->rules[caller];
    const char *name = access->policy->callers[caller].name;
    struct client *client = client_find(access, key_of(name, strlen(name)) | KEY_CALLER);

    if (!client)
        return -ENOMEM;
    client->holds++;
    peer->client = client;
    peer->rights = rule->rights;
    peer->rule = rule;
    rule->policy->peers++;
    return 0;
}

void access_caller_leave(struct access *access, struct peer *peer)
{
    struct client *client = peer->client;

    if (!access->of_callers || client == peer->connected)
        return;
    peer_unjudge(peer);
    peer->client = peer->connected;
    client->holds--;
    access_client_leave(client);
}

void access_peer_renew(const struct access *access, int fd, struct peer *peer)
{
    struct ucred cred;
    socklen_t bytes = sizeof cred;

    /* Of a client by TCP each request proves its caller, by what holds then. */
    if (access->of_callers || peer->generation == access->generation)
        return;
    peer_unjudge(peer);
    /* What the kernel noted when it connected: it told us then, and does again. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) == 0)
        peer_judge(access, fd, &cred, peer);
}

void access_peer_close(struct access *access, struct peer *peer)
{
    struct client *client = peer->connected;

    access_caller_leave(access, peer);
    peer->client = peer->connected = NULL;
    peer_unjudge(peer);
    share_give(&access->connections, peer->trusted, &client->connections, 1);
    access_client_leave(client);
}

bool access_bytes_take(struct access *access, const struct peer *peer, uint64_t bytes)
{
    if (share_take(&access->bytes, peer->unlimited, &peer->client->bytes, bytes))
        return true;
    if (!peer->unlimited)
        return false;
    access->bytes.used_trusted += bytes;
    peer->client->bytes += bytes;
    return true;
}

void access_bytes_give(struct access *access, const struct peer *peer, uint64_t bytes)
{
    share_give(&access->bytes, peer->unlimited, &peer->client->bytes, bytes);
}

/* ---- Rights ---- */

bool access_has_right(const struct peer *peer, uint32_t needed)
{
    return !needed || peer->rights & (needed | RIGHT_ADMIN);
}

static bool names_have(char (*names)[ACCESS_NAME_BYTES], uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

bool access_pool_allowed(const struct peer *peer, const char *pool)
{
    const struct access_rule *rule = peer->rule;

    return !rule || rule->pool_count == 0 || names_have(rule->pools, rule->pool_count, pool);
}

bool access_link_allowed(const struct peer *peer, const char *link)
{
    const struct access_rule *rule = peer->rule;

    return peer->trusted || (rule && names_have(rule->links, rule->link_count, link));
}

bool access_pool_seen(const struct peer *peer, const char *pool)
{
    return peer->rights & RIGHT_ADMIN || (peer->rights && access_pool_allowed(peer, pool));
}
