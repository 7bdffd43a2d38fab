/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the benchmark's conversation with an agent; see guest_command.h. */
#include "guest_command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

#define COMMAND_TIMEOUT_NS (300 * NS_PER_S)
#define STRINGS_BYTES 512u

int command_start(struct agent **ret_agent, struct api *api, const char *lease,
                  const char *const *argv, uint32_t flags, struct err *err)
{
    struct {
        struct agent_exec head;
        char strings[STRINGS_BYTES];
    } exec = { .head = { .flags = flags, .rows = 24, .cols = 80 } };
    size_t at = 1; /* behind the working directory, which is empty */

    for (; exec.head.argc < COMMAND_ARGS_MAX && argv[exec.head.argc]; exec.head.argc++) {
        size_t bytes = strlen(argv[exec.head.argc]) + 1;

        if (at + bytes > sizeof exec.strings)
            return err_set(err, E2BIG, "the command is too long");
        memcpy(exec.strings + at, argv[exec.head.argc], bytes);
        at += bytes;
    }
    struct agent *agent = NULL;
    int rc = agent_open(&agent, api, lease, err);
    if (rc == 0)
        rc = agent_send(agent, AGENT_EXEC, &exec, sizeof exec.head + at, err);
    if (rc < 0)
        agent_close(agent);
    else
        *ret_agent = agent;
    return rc;
}

/* The next frame, a refusal made a failure. */
static int receive(struct agent *agent, struct agent_message *message, struct err *err)
{
    int rc = agent_receive(agent, now_ns() + COMMAND_TIMEOUT_NS, message, err);

    return rc == 0 && message->type == AGENT_ERROR ? agent_refusal(message, err) : rc;
}

int command_end(struct agent *agent, struct err *err)
{
    struct agent_message message = { 0 };
    struct agent_exit end;
    int rc = 0;

    while (rc == 0 && message.type != AGENT_EXIT)
        rc = receive(agent, &message, err);
    if (rc < 0)
        return rc;
    if (message.bytes != sizeof end)
        return err_set(err, EPROTO, "the agent's EXIT is malformed");
    memcpy(&end, message.payload, sizeof end);
    if (end.kind != AGENT_EXIT_CODE || end.value != 0)
        return err_set(err, EIO, "the command ended with kind %u, value %u", end.kind, end.value);
    return 0;
}

int command_read_line(struct agent *agent, char ret_line[COMMAND_LINE_BYTES], struct err *err)
{
    struct agent_message message = { 0 };
    int rc = 0;

    while (rc == 0 && message.type != AGENT_STDOUT) {
        rc = receive(agent, &message, err);
        if (rc == 0 && message.type == AGENT_EXIT)
            return err_set(err, EIO, "the command ended before it said what it should");
    }
    if (rc < 0)
        return rc;
    if (message.bytes == 0 || message.payload[message.bytes - 1] != '\n')
        return err_set(err, EPROTO, "the command said no whole line");
    snprintf(ret_line, COMMAND_LINE_BYTES, "%.*s", (int)message.bytes - 1,
             (const char *)message.payload);
    return 0;
}

int command_run(struct api *api, const char *lease, const char *const *argv, uint32_t flags,
                uint64_t *ret_ns, struct err *err)
{
    _cleanup_agent_ struct agent *agent = NULL;
    uint64_t start_ns = now_ns();
    int rc = command_start(&agent, api, lease, argv, flags, err);

    if (rc == 0)
        rc = command_end(agent, err);
    *ret_ns = now_ns() - start_ns;
    return rc;
}

int command_install(struct api *api, const char *lease, const char *host_path,
                    const char *guest_path, struct err *err)
{
    static const char script[] = "cat >\"$0\" && chmod 755 \"$0\"";
    const char *const argv[] = { "/bin/sh", "-c", script, guest_path, NULL };
    _cleanup_agent_ struct agent *agent = NULL;
    _cleanup_free_ char *data = malloc(AGENT_STDIN_CREDIT + 1);
    _cleanup_close_ int fd = open(host_path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes = data && fd >= 0 ? pread(fd, data, AGENT_STDIN_CREDIT + 1, 0) : -1;

    if (bytes < 0)
        return err_set_errno(err, data ? errno : ENOMEM, "reading '%s'", host_path);
    if (bytes > (ssize_t)AGENT_STDIN_CREDIT)
        return err_set(err, EFBIG, "'%s' is larger than what is sent at once", host_path);
    int rc = command_start(&agent, api, lease, argv, AGENT_EXEC_STDIN, err);
    if (rc == 0)
        rc = agent_send(agent, AGENT_STDIN, data, (size_t)bytes, err);
    if (rc == 0)
        rc = agent_send(agent, AGENT_EOF, NULL, 0, err);
    return rc == 0 ? command_end(agent, err) : rc;
}
