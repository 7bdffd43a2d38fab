/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's wire format: see agent_frame.h. */
#include "agent_frame.h"

#include <errno.h>
#include <string.h>

void agent_parser_init(struct agent_parser *parser)
{
    memset(parser, 0, sizeof(*parser));
}

static int header_check(const struct agent_frame *frame, struct fail *fail)
{
    if (frame->payload_bytes > AGENT_PAYLOAD_MAX)
        return fail_set(fail, EMSGSIZE, "the frame's payload is over 65536 bytes", NULL, NULL);
    if (frame->reserved[0] || frame->reserved[1] || frame->reserved[2])
        return fail_set(fail, EPROTO, "the frame's reserved bytes are not zero", NULL, NULL);
    switch (frame->type) {
    case AGENT_PING:
    case AGENT_EXEC:
    case AGENT_EXEC_PART:
    case AGENT_PUT:
    case AGENT_GET:
    case AGENT_STDIN:
    case AGENT_EOF:
    case AGENT_SIGNAL:
    case AGENT_RESIZE:
    case AGENT_PARK:
    case AGENT_CALL:
    case AGENT_MOUNT:
    case AGENT_UNMOUNT:
    case AGENT_DATA:
        return 0;
    default:
        return fail_set(fail, EPROTO, "the frame's type is none that a client may send", NULL,
                        NULL);
    }
}

static int header_feed(struct agent_parser *parser, const uint8_t *data, size_t bytes,
                       const struct agent_frame_sink *sink, void *context, struct fail *fail)
{
    int status;

    memcpy((uint8_t *)&parser->frame + parser->header_fill, data, bytes);
    parser->header_fill += (uint32_t)bytes;
    if (parser->header_fill < sizeof(parser->frame))
        return 0;
    status = header_check(&parser->frame, fail);
    if (status < 0)
        return status;
    parser->remaining = parser->frame.payload_bytes;
    return sink->begin(context, &parser->frame, fail);
}

int agent_parser_feed(struct agent_parser *parser, const uint8_t *data, size_t bytes,
                      const struct agent_frame_sink *sink, void *context, struct fail *fail)
{
    while (bytes > 0) {
        size_t take;
        int status;

        if (parser->header_fill < sizeof(parser->frame)) {
            take = MIN_OF(bytes, sizeof(parser->frame) - parser->header_fill);
            status = header_feed(parser, data, take, sink, context, fail);
        } else {
            take = MIN_OF(bytes, parser->remaining);
            parser->remaining -= (uint32_t)take;
            status = sink->chunk(context, data, take, fail);
        }
        if (status == 0 && parser->header_fill == sizeof(parser->frame) && parser->remaining == 0) {
            parser->header_fill = 0;
            status = sink->end(context, fail);
        }
        if (status < 0)
            return status;
        data += take;
        bytes -= take;
    }
    return 0;
}

int agent_command_parse(uint8_t *payload, size_t bytes, struct agent_command *ret_command,
                        struct fail *fail)
{
    struct agent_exec *exec = &ret_command->exec;
    const uint32_t known = AGENT_EXEC_PTY | AGENT_EXEC_STDIN | AGENT_EXEC_CLEAR_ENV |
                           AGENT_EXEC_COUNTS | AGENT_EXEC_USER | AGENT_EXEC_SERVICE |
                           AGENT_EXEC_GATE | AGENT_EXEC_BELL;
    const uint32_t not_service = AGENT_EXEC_PTY | AGENT_EXEC_STDIN;
    struct agent_exec_counts counts;
    size_t at = sizeof(*exec);

    if (bytes < at)
        return fail_set(fail, EPROTO, "the EXEC request is too short", NULL, NULL);
    memcpy(exec, payload, sizeof(*exec));
    if (exec->flags & ~known)
        return fail_set(fail, EPROTO, "the EXEC request has unknown flags", NULL, NULL);
    if (exec->flags & AGENT_EXEC_SERVICE && (exec->flags & not_service || exec->timeout_ms))
        return fail_set(fail, EPROTO, "a service has no terminal, no input and no time limit", NULL,
                        NULL);
    if (exec->flags & (AGENT_EXEC_GATE | AGENT_EXEC_BELL) && !(exec->flags & AGENT_EXEC_SERVICE))
        return fail_set(fail, EPROTO, "gate and bell are a service's", NULL, NULL);
    counts = (struct agent_exec_counts){ .argc = exec->argc, .envc = exec->envc };
    if (exec->flags & AGENT_EXEC_COUNTS) {
        if (bytes < at + sizeof(counts))
            return fail_set(fail, EPROTO, "the EXEC request is too short", NULL, NULL);
        memcpy(&counts, payload + at, sizeof(counts));
        at += sizeof(counts);
    }
    if (counts.argc < 1)
        return fail_set(fail, EPROTO, "the EXEC request has no arguments", NULL, NULL);
    if ((uint64_t)counts.argc + counts.envc >= bytes - at) /* each has a NUL, as has cwd */
        return fail_set(fail, EPROTO, "the EXEC request's strings are not as many as it says", NULL,
                        NULL);
    ret_command->argc = counts.argc;
    ret_command->envc = counts.envc;
    ret_command->strings = payload + at;
    ret_command->end = payload + bytes;
    return 0;
}

/* The next NUL-terminated string of the payload, or NULL if there is none. */
static char *string_next(struct agent_command *command)
{
    char *string = (char *)command->strings;
    uint8_t *nul = memchr(string, '\0', (size_t)(command->end - command->strings));

    if (!nul)
        return NULL;
    command->strings = nul + 1;
    return string;
}

int agent_command_strings(struct agent_command *command, char **room, size_t spare,
                          struct fail *fail)
{
    char *last = command->cwd = string_next(command);

    command->argv = room;
    command->envp = room + command->argc + 1 + spare;
    for (uint32_t i = 0; i < command->argc; i++)
        last = command->argv[i] = string_next(command);
    for (uint32_t i = 0; i < command->envc; i++)
        last = command->envp[i] = string_next(command);
    command->user = NULL;
    if (command->exec.flags & AGENT_EXEC_USER)
        last = command->user = string_next(command);
    command->argv[command->argc] = NULL;
    command->envp[command->envc] = NULL;
    /* Once there is no string, there is none for those after it either. */
    if (!last || command->strings != command->end)
        return fail_set(fail, EPROTO, "the EXEC request's strings are not as many as it says", NULL,
                        NULL);
    for (uint32_t i = 0; i < command->envc; i++)
        if (!strchr(command->envp[i], '='))
            return fail_set(fail, EINVAL, "not of the form NAME=VALUE:", command->envp[i], NULL);
    return 0;
}
