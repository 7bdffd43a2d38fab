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
    case AGENT_PUT:
    case AGENT_GET:
    case AGENT_STDIN:
    case AGENT_EOF:
    case AGENT_SIGNAL:
    case AGENT_RESIZE:
    case AGENT_PARK:
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

/* The next NUL-terminated string of the payload, or NULL if there is none. */
static char *string_next(uint8_t **at, const uint8_t *end)
{
    char *string = (char *)*at;
    uint8_t *nul = memchr(*at, '\0', (size_t)(end - *at));

    if (!nul)
        return NULL;
    *at = nul + 1;
    return string;
}

int agent_command_parse(uint8_t *payload, size_t bytes, struct agent_command *ret_command,
                        struct fail *fail)
{
    struct agent_exec *exec = &ret_command->exec;
    const uint32_t known = AGENT_EXEC_PTY | AGENT_EXEC_STDIN | AGENT_EXEC_CLEAR_ENV;
    uint8_t *at = payload + sizeof(*exec), *end = payload + bytes;

    if (bytes < sizeof(*exec))
        return fail_set(fail, EPROTO, "the EXEC request is too short", NULL, NULL);
    memcpy(exec, payload, sizeof(*exec));
    if (exec->flags & ~known)
        return fail_set(fail, EPROTO, "the EXEC request has unknown flags", NULL, NULL);
    if (exec->argc < 1 || exec->argc > AGENT_ARGC_MAX || exec->envc > AGENT_ENVC_MAX)
        return fail_set(fail, E2BIG, "the EXEC request has no arguments, or more than 1024", NULL,
                        NULL);
    ret_command->cwd = string_next(&at, end);
    for (unsigned i = 0; i < exec->argc; i++)
        ret_command->argv[i] = string_next(&at, end);
    for (unsigned i = 0; i < exec->envc; i++)
        ret_command->envp[i] = string_next(&at, end);
    ret_command->argv[exec->argc] = NULL;
    ret_command->envp[exec->envc] = NULL;
    /* Once there is no string, there is none for those after it either. */
    if (!ret_command->cwd || !ret_command->argv[exec->argc - 1] ||
        (exec->envc && !ret_command->envp[exec->envc - 1]) || at != end)
        return fail_set(fail, EPROTO, "the EXEC request's strings are not as many as it says", NULL,
                        NULL);
    for (unsigned i = 0; i < exec->envc; i++)
        if (!strchr(ret_command->envp[i], '='))
            return fail_set(fail, EINVAL, "not of the form NAME=VALUE:", ret_command->envp[i],
                            NULL);
    return 0;
}
