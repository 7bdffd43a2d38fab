/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes voltctl: its command line, what a hostile guest's agent sends it, and what something that
 * is not poold answers. Input: a byte that chooses, then arguments (each ended by a NUL) or bytes
 * that come over a socket. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/agent.h"
#include "cli/client.h"
#include "cli/options.h"
#include "fuzz.h"

#define ARGS_MAX 32

static void arguments_try(struct fuzz_input *input)
{
    bool flag = false;
    const char *string = NULL;
    uint64_t size = 0, duration = 0;
    int64_t number = 0;
    _cleanup_option_list_ struct option_list list = { 0 };
    const struct option_spec specs[] = {
        { "flag", 'f', OPTION_FLAG, &flag, NULL, "a flag" },
        { "string", 's', OPTION_STRING, &string, "TEXT", "a string" },
        { "size", 'b', OPTION_SIZE, &size, "BYTES", "a size" },
        { "duration", 'd', OPTION_DURATION, &duration, "TIME", "a duration" },
        { "number", 'n', OPTION_NUMBER, &number, "N", "a number" },
        { "list", 'l', OPTION_LIST, &list, "ITEM", "a list" },
    };
    struct options options = { .specs = specs,
                               .spec_count = ARRAY_LEN(specs),
                               .positional_max = 2,
                               .takes_command = fuzz_u8(input) & 1 };
    const struct cli_command command = {
        .name = "fuzz", .args = "[A] [B]", .summary = "a test", .example = "fuzz"
    };
    char *text = malloc(input->bytes + 1), *argv[ARGS_MAX + 1] = { NULL };
    int argc = 0, exit_code = 0;

    if (!text)
        return;
    memcpy(text, input->data, input->bytes);
    text[input->bytes] = '\0';
    for (size_t at = 0; at <= input->bytes && argc < ARGS_MAX; at += strlen(text + at) + 1)
        argv[argc++] = text + at;
    if (options_parse(&options, &command, argc, argv, &exit_code)) {
        if (list.count > ARGS_MAX || options.positional_count > 2 || number < 0)
            abort();
        for (size_t i = 0; i < list.count; i++)
            (void)strlen(list.items[i]);
        for (int i = 0; i < options.rest_count; i++)
            (void)strlen(options.rest[i]);
    }
    free(text);
}

/* A socket whose other end has sent this and hung up. */
static int peer_make(struct fuzz_input *input)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        abort();
    (void)!send(pair[0], input->data, MIN_OF(input->bytes, 65536), MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)shutdown(pair[0], SHUT_WR);
    /* Its reading side stays open for a request that nobody reads. */
    return fcntl(pair[0], F_SETFD, FD_CLOEXEC) < 0 ? -1 : (pair[1] | pair[0] << 16);
}

static void agent_try(struct fuzz_input *input)
{
    int peer = peer_make(input);
    struct agent *agent = agent_create(peer & 0xffff);
    struct agent_message message;
    struct err err = { 0 };
    int r;

    if (!agent)
        abort();
    do {
        r = agent_fill(agent);
        while (agent_next(agent, &message, &err) == 1) {
            volatile uint8_t sum = 0;

            if (message.bytes > AGENT_PAYLOAD_MAX)
                abort();
            for (size_t i = 0; i < message.bytes; i++)
                sum = (uint8_t)(sum + message.payload[i]);
            (void)agent_refusal(&message, &err);
        }
    } while (r == 0 && err.code == 0);
    agent_close(agent);
    close(peer >> 16);
}

static void client_try(struct fuzz_input *input)
{
    uint8_t what = fuzz_u8(input);
    int peer = peer_make(input);
    struct client client = { .fd = peer & 0xffff };
    struct client_response response = { 0 };
    static struct client_stream stream;
    struct err err = { 0 };
    int r;

    stream.fd = -1;
    if (what & 1)
        r = client_upgrade(&client, "/v1/leases/1/vsock?port=1", "volt-vsock", 1000, &stream,
                           &response, &err);
    else
        r = client_request(&client, what & 2 ? "GET" : "POST", "/v1/x", "{}", 1000, &response,
                           &err);
    if (r == 0 && response.body && strlen(response.body) > response.body_bytes)
        abort();
    if (r < 0 && err.msg[0] == '\0')
        abort();
    if (stream.early_bytes > sizeof(stream.early))
        abort();
    client_response_fini(&response);
    close_fd(&stream.fd);
    client_fini(&client);
    close(peer >> 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    static int quiet = -1;
    int loud = dup(STDERR_FILENO), out = dup(STDOUT_FILENO);

    /* voltctl's own messages are not of interest; a sanitizer's are, from elsewhere in the run. */
    if (quiet < 0)
        quiet = open("/dev/null", O_WRONLY | O_CLOEXEC);
    switch (fuzz_u8(&input) % 3) {
    case 0:
        dup2(quiet, STDERR_FILENO);
        dup2(quiet, STDOUT_FILENO);
        arguments_try(&input);
        fflush(stdout);
        dup2(loud, STDERR_FILENO);
        dup2(out, STDOUT_FILENO);
        break;
    case 1:
        agent_try(&input);
        break;
    default:
        client_try(&input);
        break;
    }
    close(loud);
    close(out);
    return 0;
}
