/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the meaning of poold's answers: JSON, errors, missing members; see api.h. */
#include "api.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json_text.h"
#include "base/util.h"
#include "cli.h"

int api_init(struct api *api, struct err *err)
{
    char path[108];

    api->client.fd = -1;
    int rc = client_socket_path(cli_socket_option, path, err);
    return rc < 0 ? rc : client_init(&api->client, path, err);
}

void api_fini(struct api *api)
{
    client_fini(&api->client);
}

/* The sentence of an error answer, or one of our own when the body is not what was promised. */
static int answer_fail(const struct client_response *response, struct err *err)
{
    _cleanup_json_ json_t *json = json_texts_clean(
        json_loadb(response->body ? response->body : "", response->body_bytes, 0, NULL));
    const char *code = json_string_value(json_object_get(json_object_get(json, "error"), "code"));
    const char *message =
        json_string_value(json_object_get(json_object_get(json, "error"), "message"));

    if (!code || !message)
        return err_set(err, EPROTO, "poold answered with HTTP status %u and no error in it",
                       response->status);
    if (strcmp(code, "no_vm_free") == 0)
        return err_set(err, API_ERROR_NO_VM, "%s", message);
    if (strcmp(code, "request_pending") == 0)
        return err_set(err, API_ERROR_PENDING, "%s", message);
    if (strcmp(code, "volume_busy") == 0)
        return err_set(err, API_ERROR_BUSY, "%s", message);
    if (response->status == 404 || response->status == 410)
        return err_set(err, API_ERROR_MISSING, "%s", message);
    return err_set(err, EREMOTEIO, "%s (%s)", message, code);
}

static int answer_parse(const struct client_response *response, json_t **ret_json, struct err *err)
{
    json_error_t error;

    if (response->body_bytes == 0) {
        *ret_json = NULL;
        return 0;
    }
    json_t *json = json_loadb(response->body, response->body_bytes, 0, &error);
    if (!json)
        return err_set(err, EPROTO, "poold's answer is not JSON: %s (byte %d)", error.text,
                       error.position);
    *ret_json = json_texts_clean(json);
    return 0;
}

/* What an answer says; takes the response. */
static int answer_take(struct client_response *response, json_t **ret_json, struct err *err)
{
    json_t *json = NULL;
    int rc;

    if (response->status >= 200 && response->status < 300)
        rc = answer_parse(response, &json, err);
    else
        rc = answer_fail(response, err);
    client_response_fini(response);
    if (rc == 0 && ret_json)
        *ret_json = json;
    else
        json_decref(json);
    return rc;
}

int api_upload(struct api *api, const char *path, const char *before, int fd, uint64_t bytes,
               uint64_t timeout_ms, json_t **ret_json, struct err *err)
{
    struct client_response response;
    int rc = client_upload(&api->client, path, before, fd, bytes, timeout_ms, &response, err);

    return rc < 0 ? rc : answer_take(&response, ret_json, err);
}

int api_call(struct api *api, const char *method, const char *path, json_t *body,
             uint64_t timeout_ms, json_t **ret_json, struct err *err)
{
    struct client_response response;
    _cleanup_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    if (body && !text)
        return err_set(err, EINVAL, "an argument is not valid UTF-8");
    int rc = client_request(&api->client, method, path, text, timeout_ms, &response, err);
    return rc < 0 ? rc : answer_take(&response, ret_json, err);
}

int api_invoke(struct api *api, const char *path, const char *type, const void *data, size_t bytes,
               uint64_t timeout_ms, struct client_response *ret_response, struct err *err)
{
    struct client_response response;
    int rc = client_post(&api->client, path, type, data, bytes, timeout_ms, &response, err);

    if (rc < 0)
        return rc;
    if (!response.invocation[0]) {
        rc = answer_fail(&response, err);
        client_response_fini(&response);
        return rc;
    }
    *ret_response = response;
    return 0;
}

int api_text(struct api *api, const char *path, char **ret_text, size_t *ret_bytes, struct err *err)
{
    struct client_response response;
    int rc = client_request(&api->client, "GET", path, NULL, API_TIMEOUT_MS, &response, err);

    if (rc < 0)
        return rc;
    if (response.status != 200) {
        rc = answer_fail(&response, err);
        client_response_fini(&response);
        return rc;
    }
    *ret_bytes = response.body_bytes;
    *ret_text = response.body;
    return 0;
}

int api_follow(struct api *api, const char *path, client_take_fn *take, void *data, struct err *err)
{
    struct client_response response;
    int rc = client_follow(&api->client, path, take, data, &response, err);

    if (rc < 0)
        return rc;
    if (response.status != 200)
        rc = answer_fail(&response, err);
    client_response_fini(&response);
    return rc;
}

int api_upgrade(struct api *api, const char *path, const char *protocol,
                struct client_stream *ret_stream, struct err *err)
{
    struct client_response response;
    int rc =
        client_upgrade(&api->client, path, protocol, API_TIMEOUT_MS, ret_stream, &response, err);

    if (rc < 0)
        return rc;
    if (response.status != 101)
        rc = answer_fail(&response, err);
    client_response_fini(&response);
    return rc;
}

int api_path(char ret_path[API_PATH_BYTES], struct err *err, const char *before, const char *name,
             const char *after)
{
    static const char hex[] = "0123456789ABCDEF";
    char encoded[256];
    size_t at = 0;

    for (const char *c = name; *c; c++) {
        unsigned char byte = (unsigned char)*c;

        if (at + 4 > sizeof encoded)
            return err_set(err, ENAMETOOLONG, "the name '%.40s...' is too long", name);
        /* A server takes it for the next part of the path, encoded or not. */
        if (byte == '/' && !strchr(before, '?'))
            return err_set(err, EINVAL, "'%s' is not a name: it has a '/'", name);
        if (isalnum(byte) || strchr("-_.", byte)) {
            encoded[at++] = *c;
            continue;
        }
        encoded[at++] = '%';
        encoded[at++] = hex[byte >> 4];
        encoded[at++] = hex[byte & 15];
    }
    if (at == 0)
        return err_set(err, EINVAL, "a name is empty");
    encoded[at] = '\0';
    snprintf(ret_path, API_PATH_BYTES, "%s%s%s", before, encoded, after);
    return 0;
}

int api_get_string(json_t *object, const char *key, const char **ret_text, struct err *err)
{
    const char *text = json_string_value(json_object_get(object, key));

    if (!text)
        return err_set(err, EPROTO, "poold's answer has no text '%s' in it", key);
    *ret_text = text;
    return 0;
}

int api_get_array(json_t *object, const char *key, json_t **ret_array, struct err *err)
{
    json_t *array = json_object_get(object, key);

    if (!json_is_array(array))
        return err_set(err, EPROTO, "poold's answer has no list '%s' in it", key);
    *ret_array = array;
    return 0;
}

static json_t *value_at(json_t *object, const char *key)
{
    const char *dot = strchr(key, '.');
    char first[64];

    if (!dot)
        return json_object_get(object, key);
    snprintf(first, sizeof first, "%.*s", (int)(dot - key), key);
    return json_object_get(json_object_get(object, first), dot + 1);
}

const char *api_text_of(json_t *object, const char *key)
{
    const char *text = json_string_value(value_at(object, key));

    return text ? text : "-";
}

json_int_t api_number_of(json_t *object, const char *key)
{
    json_t *value = value_at(object, key);

    return json_is_integer(value) ? json_integer_value(value) : -1;
}

int api_print_json(json_t *json)
{
    if (!json)
        return cli_failf("poold's answer is empty where JSON was promised");
    json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    putchar('\n');
    return CLI_EXIT_OK;
}
