/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the request that starts a pool's service; see service_request.h. */
#include "vms/service_request.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "guest_abi.h"

#define OWN_MAX 8u /* variables of poold's */
#define OWN_BYTES (POOL_NAME_BYTES + 64)

struct own {
    char items[OWN_MAX][OWN_BYTES]; /* "K=V" */
    size_t count;
};

static void own_add(struct own *own, const char *name, const char *value)
{
    snprintf(own->items[own->count++], OWN_BYTES, "%s=%s", name, value);
}

static void own_add_number(struct own *own, const char *name, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    own_add(own, name, text);
}

/* What Lambda's runtimes look for. */
static void own_add_lambda(struct own *own, const struct pool_spec *spec, const char *name)
{
    char gate[32];

    snprintf(gate, sizeof gate, "127.0.0.1:%u", AGENT_GATE_PORT);
    own_add(own, "AWS_LAMBDA_RUNTIME_API", gate);
    own_add(own, "AWS_LAMBDA_FUNCTION_NAME", name);
    own_add(own, "AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
    own_add_number(own, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", spec->memory_bytes >> 20);
    own_add(own, "AWS_LAMBDA_INITIALIZATION_TYPE", "snap-start");
    own_add(own, "AWS_REGION", "local");
    own_add(own, "LAMBDA_TASK_ROOT", "/var/task");
}

static void own_make(struct own *own, const struct pool_spec *spec, const char *name)
{
    own->count = 0;
    if (spec->service_gate)
        own_add_lambda(own, spec, name);
    else if (spec->service_bell)
        own_add_number(own, FUNCTION_VARIABLE, FUNCTION_VERSION);
    else
        own_add_number(own, "PORT", spec->service_port);
}

/* Whether one of poold's has the name of this "K=V". */
static bool own_has(const struct own *own, const char *item)
{
    const size_t bytes = strcspn(item, "=") + 1;

    for (size_t i = 0; i < own->count; i++) {
        if (strncmp(own->items[i], item, bytes) == 0)
            return true;
    }
    return false;
}

struct writer {
    uint8_t *data;
    size_t bytes; /* also beyond the room, where nothing is written */
};

static void put(struct writer *writer, const char *text)
{
    const size_t bytes = strlen(text) + 1;

    if (writer->bytes + bytes <= AGENT_PAYLOAD_MAX)
        memcpy(writer->data + writer->bytes, text, bytes);
    writer->bytes += bytes;
}

/* The text of that key; NULL: there is none, or it is empty. */
static const char *text_of(const json_t *config, const char *key)
{
    const char *text = json_string_value(json_object_get(config, key));

    return text && *text ? text : NULL;
}

static uint16_t put_variables(struct writer *writer, const struct own *own, const json_t *config)
{
    const json_t *list = json_object_get(config, "env");
    uint16_t count = 0;

    for (size_t i = 0; i < own->count; i++, count++)
        put(writer, own->items[i]);
    for (size_t i = 0; i < json_array_size(list) && count < UINT16_MAX; i++) {
        const char *item = json_string_value(json_array_get(list, i));

        if (!item || own_has(own, item))
            continue;
        put(writer, item);
        count++;
    }
    return count;
}

int service_request_make(const struct pool_spec *spec, const char *name, const char *image_config,
                         uint8_t **ret_request, size_t *ret_bytes, struct err *err)
{
    _cleanup_free_ uint8_t *data = malloc(AGENT_PAYLOAD_MAX);
    json_auto_t *config = json_loads(image_config ? image_config : "{}", 0, NULL);
    const char *user = text_of(config, "user"), *directory = text_of(config, "workdir");
    struct agent_exec exec = { .flags = AGENT_EXEC_SERVICE, .argc = 3 };
    struct writer writer = { data, sizeof exec };
    struct own own;

    if (!data || !config)
        return err_set(err, ENOMEM, "out of memory");
    own_make(&own, spec, name);
    put(&writer, directory ? directory : "");
    put(&writer, "/bin/sh");
    put(&writer, "-c");
    put(&writer, spec->service);
    exec.envc = put_variables(&writer, &own, config);
    if (user)
        put(&writer, user);
    exec.flags |= (user ? AGENT_EXEC_USER : 0) | (spec->service_gate ? AGENT_EXEC_GATE : 0) |
                  (spec->service_bell ? AGENT_EXEC_BELL : 0);
    if (writer.bytes > AGENT_PAYLOAD_MAX)
        return err_set(err, E2BIG,
                       "the image's variables are too long: with the command they are "
                       "%zu bytes of at most %u",
                       writer.bytes, AGENT_PAYLOAD_MAX);
    memcpy(data, &exec, sizeof exec);
    *ret_bytes = writer.bytes;
    *ret_request = take_pointer(&data);
    return 0;
}
