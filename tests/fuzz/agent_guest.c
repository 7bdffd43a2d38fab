/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the guest's side of the agent protocol: any stream of bytes from a client, cut anywhere.
 * Input: a byte that says how the stream is cut, then the stream. */
#include <stdbool.h>
#include <stdlib.h>

#include "agent_frame.h"
#include "fuzz.h"

struct seen {
    uint32_t announced, got;
    bool open;
    size_t bytes;
    uint8_t payload[AGENT_PAYLOAD_MAX];
};

static int begin(void *context, const struct agent_frame *frame, struct fail *fail)
{
    struct seen *seen = context;

    (void)fail;
    if (seen->open || frame->payload_bytes > AGENT_PAYLOAD_MAX)
        abort();
    seen->open = true;
    seen->announced = frame->payload_bytes;
    seen->got = 0;
    return 0;
}

static int chunk(void *context, const uint8_t *data, size_t bytes, struct fail *fail)
{
    struct seen *seen = context;

    (void)fail;
    if (!seen->open || bytes > seen->announced - seen->got)
        abort();
    memcpy(seen->payload + seen->got, data, bytes);
    seen->got += (uint32_t)bytes;
    return 0;
}

/* The strings of a request, with exactly the room that is promised. */
static void strings_take(struct agent_command *command, struct fail *fail)
{
    char **room = calloc((size_t)command->argc + command->envc + 2, sizeof(*room));

    if (!room)
        abort();
    if (agent_command_strings(command, room, 0, fail) == 0) {
        volatile size_t total = strlen(command->cwd);

        for (char **s = command->argv; *s; s++)
            total += strlen(*s);
        for (char **s = command->envp; *s; s++)
            total += strlen(*s);
        total += command->user ? strlen(command->user) : 0;
    } else if (fail->sentence[0] == '\0') {
        abort();
    }
    free(room);
}

/* Every payload is tried as an EXEC request, whatever its type. */
static int end(void *context, struct fail *fail)
{
    struct agent_command command;
    struct seen *seen = context;
    uint8_t *exact;

    if (!seen->open || seen->got != seen->announced)
        abort();
    seen->open = false;
    exact = malloc(seen->got ? seen->got : 1);
    if (!exact)
        abort();
    memcpy(exact, seen->payload, seen->got);
    if (agent_command_parse(exact, seen->got, &command, fail) == 0)
        strings_take(&command, fail);
    else if (fail->sentence[0] == '\0')
        abort();
    free(exact);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const struct agent_frame_sink sink = { begin, chunk, end };
    static struct seen seen;
    struct fuzz_input input = { data, bytes };
    size_t step = 1u + fuzz_u8(&input);
    struct agent_parser parser;
    struct fail fail = { 0 };

    seen.open = false;
    agent_parser_init(&parser);
    while (input.bytes > 0) {
        size_t now = step < input.bytes ? step : input.bytes;

        if (agent_parser_feed(&parser, input.data, now, &sink, &seen, &fail) < 0)
            break;
        input.data += now;
        input.bytes -= now;
    }
    return 0;
}
