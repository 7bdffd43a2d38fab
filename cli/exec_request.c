/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the encoding of a request to run a command; see exec_request.h. */
#include "exec_request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "guest_abi.h"
#include "tty.h"

/* A payload that is made twice: first only its size is counted. */
struct writer {
    uint8_t *data; /* NULL: count */
    size_t bytes;
};

static void append(struct writer *writer, const void *data, size_t bytes)
{
    if (writer->data)
        memcpy(writer->data + writer->bytes, data, bytes);
    writer->bytes += bytes;
}

static void append_text(struct writer *writer, const char *text)
{
    append(writer, text, strlen(text) + 1);
}

/* The strings of the payload. Sets how many there are. */
static void append_strings(struct writer *writer, const struct exec_request *request,
                           struct agent_exec_counts *ret_counts)
{
    append_text(writer, request->cwd ? request->cwd : "");
    ret_counts->argc = (uint32_t)request->argc;
    for (int i = 0; i < request->argc; i++)
        append_text(writer, request->argv[i]);
    ret_counts->envc = (uint32_t)request->env->count;
    for (size_t i = 0; i < request->env->count; i++)
        append_text(writer, request->env->items[i]);
    if (request->user)
        append_text(writer, request->user);
}

int exec_request_encode(const struct exec_request *request, uint8_t **ret_payload,
                        size_t *ret_bytes, struct err *err)
{
    struct agent_exec exec = { .timeout_ms = request->timeout_ms };
    struct agent_exec_counts counts;
    struct writer strings = { 0 };

    append_strings(&strings, request, &counts);
    exec.flags |= request->tty ? AGENT_EXEC_PTY : 0;
    exec.flags |= request->interactive ? AGENT_EXEC_STDIN : 0;
    exec.flags |= request->user ? AGENT_EXEC_USER : 0;
    tty_size(&exec.rows, &exec.cols);
    bool many = counts.argc > UINT16_MAX || counts.envc > UINT16_MAX;
    exec.flags |= many ? AGENT_EXEC_COUNTS : 0;
    exec.argc = many ? 0 : (uint16_t)counts.argc;
    exec.envc = many ? 0 : (uint16_t)counts.envc;
    size_t bytes = sizeof exec + (many ? sizeof counts : 0) + strings.bytes;
    if (bytes > AGENT_REQUEST_MAX)
        return err_set(err, E2BIG,
                       "the command's arguments and environment are %zu bytes, more than the %u "
                       "that a command can be given",
                       bytes, AGENT_REQUEST_MAX);
    struct writer payload = { .data = malloc(bytes) };
    if (!payload.data)
        return err_set(err, ENOMEM, "out of memory");
    append(&payload, &exec, sizeof exec);
    if (many)
        append(&payload, &counts, sizeof counts);
    append_strings(&payload, request, &counts);
    *ret_payload = payload.data;
    *ret_bytes = payload.bytes;
    return 0;
}
