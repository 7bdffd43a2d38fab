/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the policy file and the judgement of peers; see access.h. */
#include "http/access.h"

#include <errno.h>
#include <jansson.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/trusted_file.h"
#include "base/util.h"
#include "http/json_keys.h"

#define RULES_MAX 256
#define QUOTA_MAX (1 << 30)
#define NAMES_MAX 256
#define GROUPS_MAX 1024

static const struct right_row {
    const char *name;
    uint32_t bit;
} rights[] = {
    { "acquire", RIGHT_ACQUIRE },
    { "admin", RIGHT_ADMIN },
    { "metrics", RIGHT_METRICS },
};

static int rights_parse(const json_t *array, uint32_t *ret_rights, struct err *err)
{
    *ret_rights = 0;
    for (size_t i = 0; i < json_array_size(array); i++) {
        const char *name = json_string_value(json_array_get(array, i));
        uint32_t bit = 0;

        for (unsigned r = 0; r < ARRAY_LEN(rights); r++)
            bit |= name && strcmp(name, rights[r].name) == 0 ? rights[r].bit : 0;
        if (!bit)
            return err_set(err, EINVAL, "'rights' must be of \"acquire\", \"admin\", \"metrics\"");
        *ret_rights |= bit;
    }
    return json_is_array(array) ? 0 : err_set(err, EINVAL, "'rights' must be a list");
}

/* As the kernel's dev_valid_name. */
static bool link_name_valid(const char *name)
{
    size_t len = strlen(name);

    return len >= 1 && len < IFNAMSIZ && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strcspn(name, "/: \t\n\v\f\r") == len;
}

/* What a list of a rule has, and which of its names are none. */
static const struct list_row {
    const char *key, *what;
    bool (*valid)(const char *name);
} pools_row = { "pools", "pool", pool_name_valid },
  links_row = { "links", "link", link_name_valid };

/* A list of 1 to NAMES_MAX names; array NULL: none is given. */
static int names_parse(const json_t *array, const struct list_row *row, uint32_t *ret_count,
                       char (**ret_names)[ACCESS_NAME_BYTES], struct err *err)
{
    size_t count = json_array_size(array);

    if (!array)
        return 0;
    if (!json_is_array(array) || count == 0 || count > NAMES_MAX)
        return err_set(err, EINVAL, "'%s' must be a list of 1 to %d names", row->key, NAMES_MAX);
    *ret_names = calloc(count, sizeof **ret_names);
    if (!*ret_names)
        return err_set(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(array, i));

        if (!name || !row->valid(name))
            return err_set(err, EINVAL, "'%s' has something that is no %s's name", row->key,
                           row->what);
        snprintf((*ret_names)[i], ACCESS_NAME_BYTES, "%s", name);
    }
    *ret_count = (uint32_t)count;
    return 0;
}

/* value NULL: none is given. */
static int quota_parse(const json_t *value, const char *key, uint32_t *ret, struct err *err)
{
    if (!value)
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 1 ||
        json_integer_value(value) > QUOTA_MAX)
        return err_set(err, EINVAL, "'%s' must be from 1 to %d", key, QUOTA_MAX);
    *ret = (uint32_t)json_integer_value(value);
    return 0;
}

static int rule_parse(json_t *object, struct access_rule *rule, struct err *err)
{
    const json_t *uid = json_object_get(object, "uid"), *gid = json_object_get(object, "gid");
    const json_t *id = uid ? uid : gid, *pools = json_object_get(object, "pools");
    const json_t *links = json_object_get(object, "links");
    const json_t *leases = json_object_get(object, "leases");
    const json_t *memory = json_object_get(object, "memory_mib");
    size_t known = 1 + (json_object_get(object, "rights") != NULL) + (pools != NULL) +
                   (links != NULL) + (leases != NULL) + (memory != NULL);

    if (!json_is_integer(id) || (uid && gid) || json_integer_value(id) < 0 ||
        json_integer_value(id) >= UINT32_MAX)
        return err_set(err, EINVAL, "a rule needs either 'uid' or 'gid', a number");
    if (json_object_size(object) != known)
        return err_set(err, EINVAL,
                       "a rule has 'uid' or 'gid', 'rights', 'pools', 'links', 'leases', "
                       "'memory_mib' and nothing else");
    rule->by_gid = gid != NULL;
    rule->id = (uint32_t)json_integer_value(id);
    if (rights_parse(json_object_get(object, "rights"), &rule->rights, err) < 0 ||
        names_parse(pools, &pools_row, &rule->pool_count, &rule->pools, err) < 0 ||
        names_parse(links, &links_row, &rule->link_count, &rule->links, err) < 0 ||
        quota_parse(leases, "leases", &rule->leases, err) < 0 ||
        quota_parse(memory, "memory_mib", &rule->memory_mib, err) < 0)
        return -EINVAL;
    return 0;
}

static int policy_parse(const json_t *root, struct access_policy **ret_policy, struct err *err)
{
    json_t *list = json_object_get(root, "rules");
    size_t count = json_array_size(list);
    struct access_policy *policy;

    if (!json_is_array(list) || json_object_size(root) != 1 || count > RULES_MAX)
        return err_set(err, EINVAL, "it must be {\"rules\": [...]} with at most %d rules",
                       RULES_MAX);
    policy = calloc(1, sizeof *policy + count * sizeof policy->rules[0]);
    if (!policy)
        return err_set(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        policy->rule_count = (uint32_t)i + 1;
        policy->rules[i].policy = policy;
        if (rule_parse(json_array_get(list, i), &policy->rules[i], err) < 0) {
            access_policy_free(policy);
            return err_wrap(err, "rule %zu", i + 1);
        }
    }
    *ret_policy = policy;
    return 0;
}

int access_policy_read(const char *path, struct access_policy **ret_policy, struct err *err)
{
    json_error_t error;

    *ret_policy = NULL;
    if (!*path)
        return 0;
    _cleanup_close_ int fd = trusted_file_open(path, err);
    if (fd < 0)
        return err_wrap(err, "the policy file %s", path);
    json_t *root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
    if (!root)
        return err_set(err, EINVAL, "the policy file %s: line %d: %s", path, error.line,
                       error.text);
    int rc = policy_parse(root, ret_policy, err);
    json_decref(root);
    return rc < 0 ? err_wrap(err, "the policy file %s", path) : 0;
}

void access_policy_free(struct access_policy *policy)
{
    for (uint32_t i = 0; policy && i < policy->rule_count; i++) {
        free(policy->rules[i].pools);
        free(policy->rules[i].links);
    }
    free(policy);
}

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

int access_init(struct access *access, const char *path, struct err *err)
{
    memset(access, 0, sizeof *access);
    for (unsigned i = 0; i < ACCESS_BUCKETS; i++)
        list_init(&access->clients[i]);
    return access_policy_read(path, &access->policy, err);
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

static struct client *client_find(struct access *access, uid_t uid)
{
    struct list *bucket = &access->clients[uid % ACCESS_BUCKETS];
    struct client *client;

    LIST_FOR_EACH(at, bucket)
    {
        client = list_entry(at, struct client, node);
        if (client->uid == uid)
            return client;
    }
    client = calloc(1, sizeof *client);
    if (client) {
        client->uid = uid;
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

int access_peer_open(struct access *access, int fd, struct peer *ret_peer)
{
    struct peer peer = { 0 };
    struct ucred cred;
    socklen_t bytes = sizeof cred;
    uint64_t used;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) < 0)
        return -errno;
    peer_judge(access, fd, &cred, &peer);
    /* An administrator's list of all leases may be long. */
    peer.unlimited = peer.trusted || peer.rights & RIGHT_ADMIN;
    peer.client = client_find(access, peer.rights ? cred.uid : UINT32_MAX);
    if (!peer.client) {
        peer_unjudge(&peer);
        return -ENOMEM;
    }
    if (!share_take(&access->connections, peer.trusted, &peer.client->connections, 1)) {
        used = peer.client->connections;
        access_client_leave(peer.client);
        peer_unjudge(&peer);
        return used ? -EDQUOT : -EUSERS;
    }
    *ret_peer = peer;
    return 0;
}

void access_peer_renew(const struct access *access, int fd, struct peer *peer)
{
    struct ucred cred;
    socklen_t bytes = sizeof cred;

    if (peer->generation == access->generation)
        return;
    peer_unjudge(peer);
    /* What the kernel noted when it connected: it told us then, and does again. */
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) == 0)
        peer_judge(access, fd, &cred, peer);
}

void access_peer_close(struct access *access, struct peer *peer)
{
    struct client *client = peer->client;

    peer->client = NULL;
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
