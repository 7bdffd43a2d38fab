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

/* An EXEC request; the strings stay in the payload it was parsed from. */
struct agent_command {
    struct agent_exec exec;
    uint32_t argc, envc; /* together fewer than the payload has bytes */
    char *cwd;
    char **argv; /* NULL-terminated, as is envp */
    char **envp;
    char *user;             /* NULL: root */
    uint8_t *strings, *end; /* of the payload */
};

/* Takes the numbers out of a payload. 0, or -errno with fail set. */
int agent_command_parse(uint8_t *payload, size_t bytes, struct agent_command *ret_command,
                        struct fail *fail);

/* Then the strings. `room` has argc + 1 + spare + envc + 1 pointers and is used for argv and envp,
 * with `spare` unused ones in front of envp. 0, or -errno with fail set. */
int agent_command_strings(struct agent_command *command, char **room, size_t spare,
                          struct fail *fail);

#endif
