/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the file of callers; see callers.h. */
#include "http/callers.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "base/trusted_file.h"
#include "base/util.h"
#include "http/json_keys.h"

#define CALLERS_MAX 256u
#define FUNCTIONS_MAX 256u
#define FILE_BYTES_MAX (1u << 20)

/* What a secret text must be like. */
static const struct text_rule {
    const char *key;
    size_t least, most;
    bool word; /* letters, digits and _ */
} token_rule = { "token", 20, 256, false },
  key_rule = { "access_key_id", 16, SIGV4_KEY_ID_BYTES - 1, true },
  secret_rule = { "secret_access_key", 20, SIGV4_KEY_ID_BYTES - 1, false };

static bool text_good(const struct text_rule *rule, const char *text)
{
    const size_t bytes = strlen(text);

    for (const char *at = text; *at; at++) {
        const bool word = (*at >= '0' && *at <= '9') || (*at >= 'A' && *at <= 'Z') ||
                          (*at >= 'a' && *at <= 'z') || *at == '_';

        if (rule->word ? !word : *at <= ' ' || *at > '~')
            return false;
    }
    return bytes >= rule->least && bytes <= rule->most;
}

/* text NULL: none is given, which is right. */
static int text_check(const struct text_rule *rule, const char *text, struct err *err)
{
    if (!text || text_good(rule, text))
        return 0;
    return err_set(err, EINVAL, "'%s' must have %zu to %zu %s", rule->key, rule->least, rule->most,
                   rule->word ? "letters and digits" : "visible characters without blanks");
}

static int functions_parse(const json_t *array, struct access_rule *rule, struct err *err)
{
    const size_t count = json_array_size(array);

    if (!array)
        return 0;
    if (!json_is_array(array) || count == 0 || count > FUNCTIONS_MAX)
        return err_set(err, EINVAL, "'functions' must be a list of 1 to %u names", FUNCTIONS_MAX);
    rule->pools = calloc(count, sizeof *rule->pools);
    if (!rule->pools)
        return err_set(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(array, i));

        if (!name || !pool_name_valid(name))
            return err_set(err, EINVAL, "'functions' has something that is no function's name");
        snprintf(rule->pools[i], ACCESS_NAME_BYTES, "%s", name);
    }
    rule->pool_count = (uint32_t)count;
    return 0;
}

static int secrets_take(struct caller *caller, const char *token, const char *key_id,
                        const char *secret, struct err *err)
{
    if (!token && !key_id)
        return err_set(err, EINVAL, "it needs a 'token', or 'access_key_id' and its secret");
    if (!key_id != !secret)
        return err_set(err, EINVAL, "'access_key_id' and 'secret_access_key' need each other");
    if (text_check(&token_rule, token, err) < 0 || text_check(&key_rule, key_id, err) < 0 ||
        text_check(&secret_rule, secret, err) < 0)
        return -EINVAL;
    caller->has_token = token;
    if (token &&
        gnutls_hash_fast(GNUTLS_DIG_SHA256, token, strlen(token), caller->token_sha256) < 0)
        return err_set(err, EIO, "its token can't be digested");
    snprintf(caller->key_id, sizeof caller->key_id, "%s", key_id ? key_id : "");
    snprintf(caller->secret, sizeof caller->secret, "%s", secret ? secret : "");
    return 0;
}

/* The text of that key, counted; NULL: there is none. */
static const char *text_of(const json_t *object, const char *key, size_t *known)
{
    const char *text = json_string_value(json_object_get(object, key));

    *known += text != NULL;
    return text;
}

static int caller_parse(const json_t *object, struct caller *caller, struct access_rule *rule,
                        struct err *err)
{
    const json_t *functions = json_object_get(object, "functions");
    size_t known = functions != NULL;
    const char *name = text_of(object, "name", &known);
    const char *token = text_of(object, token_rule.key, &known);
    const char *key_id = text_of(object, key_rule.key, &known);
    const char *secret = text_of(object, secret_rule.key, &known);

    if (!json_is_object(object) || json_object_size(object) != known)
        return err_set(err, EINVAL,
                       "a caller has 'name', 'token', 'access_key_id', 'secret_access_key', which "
                       "are texts, 'functions' and nothing else");
    if (!name || !pool_name_valid(name))
        return err_set(err, EINVAL, "'name' must be 1 to 63 of a-z 0-9 - _ .");
    snprintf(caller->name, sizeof caller->name, "%s", name);
    rule->rights = RIGHT_ACQUIRE;
    if (secrets_take(caller, token, key_id, secret, err) < 0 ||
        functions_parse(functions, rule, err) < 0)
        return err_wrap(err, "'%s'", name);
    return 0;
}

/* Whether none before has what it has. */
static int caller_is_new(const struct access_policy *policy, uint32_t at, struct err *err)
{
    const struct caller *caller = &policy->callers[at];

    for (uint32_t i = 0; i < at; i++) {
        const struct caller *other = &policy->callers[i];
        const char *what = NULL;

        if (strcmp(other->name, caller->name) == 0)
            what = "name";
        else if (other->has_token && caller->has_token &&
                 gnutls_memcmp(other->token_sha256, caller->token_sha256,
                               sizeof other->token_sha256) == 0)
            what = "token";
        else if (*caller->key_id && strcmp(other->key_id, caller->key_id) == 0)
            what = "access_key_id";
        if (what)
            return err_set(err, EINVAL, "'%s' has the %s of caller %u", caller->name, what, i + 1);
    }
    return 0;
}

static int callers_parse(const json_t *root, struct access_policy **ret_policy, struct err *err)
{
    const json_t *list = json_object_get(root, "callers");
    const size_t count = json_array_size(list);
    struct access_policy *policy;

    if (!json_is_array(list) || json_object_size(root) != 1 || count > CALLERS_MAX)
        return err_set(err, EINVAL, "it must be {\"callers\": [...]} with at most %u callers",
                       CALLERS_MAX);
    policy = access_policy_make((uint32_t)count, true);
    if (!policy)
        return err_set(err, ENOMEM, "out of memory");
    for (uint32_t i = 0; i < count; i++) {
        if (caller_parse(json_array_get(list, i), &policy->callers[i], &policy->rules[i], err) <
                0 ||
            caller_is_new(policy, i, err) < 0) {
            access_policy_free(policy);
            return err_wrap(err, "caller %u", i + 1);
        }
    }
    *ret_policy = policy;
    return 0;
}

/* Of those that open it: nobody else may read it. */
static int file_open(const char *path, struct err *err)
{
    _cleanup_close_ int fd = trusted_file_open(path, err);
    struct stat st;

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "can't look at it");
    if (!S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX)
        return err_set(err, EINVAL, "it is no file of at most %u bytes", FILE_BYTES_MAX);
    if (st.st_mode & (S_IRWXG | S_IRWXO))
        return err_set(err, EPERM,
                       "it has secrets, and others than its owner may open it (mode "
                       "%04o); chmod 0600 it",
                       (unsigned)st.st_mode & 07777);
    return take_fd(&fd);
}

int callers_read(const char *path, struct access_policy **ret_policy, struct err *err)
{
    _cleanup_close_ int fd = file_open(path, err);
    json_error_t error;
    json_t *root;
    int rc;

    if (fd < 0)
        return err_wrap(err, "the file of callers %s", path);
    root = json_loadfd(fd, JSON_REJECT_DUPLICATES, &error);
    /* Its own words would quote what it stumbled over. */
    if (!root)
        return err_set(err, EINVAL, "the file of callers %s: line %d, column %d: it is not JSON",
                       path, error.line, error.column);
    rc = callers_parse(root, ret_policy, err);
    json_decref(root);
    return rc < 0 ? err_wrap(err, "the file of callers %s", path) : 0;
}

uint32_t caller_of_token(const struct access_policy *policy, const char *token)
{
    uint8_t sum[SIGV4_SHA256_BYTES];
    uint32_t found = UINT32_MAX;

    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, token, strlen(token), sum) < 0)
        return UINT32_MAX;
    for (uint32_t i = 0; policy && i < policy->rule_count; i++) {
        const struct caller *caller = &policy->callers[i];

        if (gnutls_memcmp(caller->token_sha256, sum, sizeof sum) == 0 && caller->has_token)
            found = i;
    }
    return found;
}

uint32_t caller_of_key(const struct access_policy *policy, const char *key_id)
{
    for (uint32_t i = 0; policy && i < policy->rule_count; i++) {
        if (*key_id && strcmp(policy->callers[i].key_id, key_id) == 0)
            return i;
    }
    return UINT32_MAX;
}
