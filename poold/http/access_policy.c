/* SPDX-License-Identifier: Apache-2.0 */
/* Owns policies and the file that they are read from; see access.h. */
#include <errno.h>
#include <jansson.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/trusted_file.h"
#include "base/util.h"
#include "http/access.h"
#include "http/callers.h"
#include "http/json_keys.h"

#define RULES_MAX 256
#define QUOTA_MAX (1 << 30)
#define NAMES_MAX 256

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

struct access_policy *access_policy_make(uint32_t rule_count, bool of_callers)
{
    struct access_policy *policy = calloc(1, sizeof *policy + rule_count * sizeof policy->rules[0]);

    if (!policy)
        return NULL;
    policy->rule_count = rule_count;
    for (uint32_t i = 0; i < rule_count; i++)
        policy->rules[i].policy = policy;
    policy->callers = of_callers ? calloc(MAX_OF(rule_count, 1u), sizeof *policy->callers) : NULL;
    if (of_callers && !policy->callers) {
        free(policy);
        return NULL;
    }
    return policy;
}

static int policy_parse(const json_t *root, struct access_policy **ret_policy, struct err *err)
{
    json_t *list = json_object_get(root, "rules");
    size_t count = json_array_size(list);
    struct access_policy *policy;

    if (!json_is_array(list) || json_object_size(root) != 1 || count > RULES_MAX)
        return err_set(err, EINVAL, "it must be {\"rules\": [...]} with at most %d rules",
                       RULES_MAX);
    policy = access_policy_make((uint32_t)count, false);
    if (!policy)
        return err_set(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
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
    if (policy && policy->callers)
        explicit_bzero(policy->callers, policy->rule_count * sizeof *policy->callers);
    if (policy)
        free(policy->callers);
    free(policy);
}
