/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's wire format without its actions: cutting a byte stream into frames, and taking an
 * EXEC request apart. Pure: compiles for host tests and fuzzers.
 */
#ifndef GUEST_AGENT_FRAME_H
#define GUEST_AGENT_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "guest_abi.h"
#include "text.h"

/* Who takes what the parser finds; each returns 0, or -errno with fail set, which ends it.
 * A frame is one begin, chunks of its payload (none if it is empty), one end. */
struct agent_frame_sink {
    int (*begin)(void *context, const struct agent_frame *frame, struct fail *fail);
    int (*chunk)(void *context, const uint8_t *data, size_t bytes, struct fail *fail);
    int (*end)(void *context, struct fail *fail);
};

struct agent_parser {
    uint32_t header_fill; /* bytes of `frame` that are there */
    uint32_t remaining;   /* bytes of payload to come */
    struct agent_frame frame;
};

void agent_parser_init(struct agent_parser *parser);

/* Takes the next bytes of the stream, any number. Refuses payloads over AGENT_PAYLOAD_MAX and types
 * that a client may not send. */
int agent_parser_feed(struct agent_parser *parser, const uint8_t *data, size_t bytes,
                      const struct agent_frame_sink *sink, void *context, struct fail *fail);

#define AGENT_ARGC_MAX 1024u
#define AGENT_ENVC_MAX 1024u

/* An EXEC request; the strings stay in the payload it was parsed from. */
struct agent_command {
    struct agent_exec exec;
    char *cwd;
    char *argv[AGENT_ARGC_MAX + 1]; /* NULL-terminated, as is envp */
    char *envp[AGENT_ENVC_MAX + 1];
};

/* 0, or -errno with fail set. */
int agent_command_parse(uint8_t *payload, size_t bytes, struct agent_command *ret_command,
                        struct fail *fail);

#endif
