/* SPDX-License-Identifier: Apache-2.0 */
/* Owns how commands are started in guests, and volt-files; see guest_command.h. */
#include "e2b/guest_command.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/text.h"
#include "base/util.h"
#include "cli.h"
#include "e2b/sandbox.h"
#include "exec_request.h"

#define BASH "/bin/bash"
#define SHELL "/bin/sh"
#define ARGS_MAX 4096u
#define SEND_TIMEOUT_S 60
#define FILES_TIMEOUT_NS (60 * NS_PER_S) /* for volt-files to say something */

/* ---- Starting ---- */

/* A connection of its own: the sandbox's is the lease's. */
static int session_open(struct agent **ret_agent, struct sandbox *sandbox, struct err *err)
{
    const struct timeval send_timeout = { .tv_sec = SEND_TIMEOUT_S };
    struct api api;
    int rc = api_init(&api, err);

    if (rc < 0)
        return rc;
    rc = agent_open(ret_agent, &api, sandbox->id, err);
    api_fini(&api);
    if (rc == 0) /* a guest that takes nothing holds nobody up for longer */
        setsockopt((*ret_agent)->fd, SOL_SOCKET, SO_SNDTIMEO, &send_timeout, sizeof send_timeout);
    if (rc < 0 && !sandbox_alive(sandbox))
        return err_set(err, ENOTCONN, "The sandbox was not found");
    return rc;
}

static int env_add_all(struct exec_env *env, const json_t *object, struct err *err)
{
    const char *key;
    json_t *value;
    int rc = 0;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        _cleanup_free_ char *item = NULL;

        if (rc == 0 && asprintf(&item, "%s=%s", key, json_string_value(value)) < 0)
            abort(); /* of a bounded body */
        if (rc == 0)
            rc = exec_env_default(env, item, err);
    }
    return rc;
}

/* In frames as long as they may be. The size of a terminal goes in by hand: the encoding has our own. */
static int request_send(struct agent *agent, uint8_t *payload, size_t bytes,
                        const struct process_wish *wish, struct err *err)
{
    struct agent_exec exec;
    int rc = 0;

    memcpy(&exec, payload, sizeof exec);
    exec.rows = wish->rows;
    exec.cols = wish->cols;
    memcpy(payload, &exec, sizeof exec);
    for (; rc == 0 && bytes > AGENT_PAYLOAD_MAX; bytes -= AGENT_PAYLOAD_MAX) {
        rc = agent_send(agent, AGENT_EXEC_PART, payload, AGENT_PAYLOAD_MAX, err);
        payload += AGENT_PAYLOAD_MAX;
    }
    return rc < 0 ? rc : agent_send(agent, AGENT_EXEC, payload, bytes, err);
}

/* E2B's clients name bash; not every image has it. Asked once a sandbox. */
static const char *program_of(struct sandbox *sandbox, const char *cmd)
{
    struct guest_files files;
    struct err err;

    if (strcmp(cmd, BASH) != 0)
        return cmd;
    pthread_mutex_lock(&sandbox->lock);
    bool asked = sandbox->bash_asked, there = sandbox->bash;
    pthread_mutex_unlock(&sandbox->lock);
    if (!asked) {
        int rc = guest_files_run(&files, sandbox, "root", "stat", BASH, NULL, &err);

        there = !(rc == -ENOENT && files.refused);
        guest_files_close(&files);
        pthread_mutex_lock(&sandbox->lock);
        sandbox->bash_asked = true;
        sandbox->bash = there;
        pthread_mutex_unlock(&sandbox->lock);
    }
    return there ? BASH : SHELL;
}

static int request_make(struct sandbox *sandbox, const struct process_wish *wish, char **argv,
                        struct exec_env *env, uint8_t **ret_payload, size_t *ret_bytes,
                        struct err *err)
{
    bool root = wish->user && strcmp(wish->user, "root") == 0;
    struct exec_request request = { .argc = 1,
                                    .argv = argv,
                                    .cwd = wish->cwd && *wish->cwd ? wish->cwd : NULL,
                                    .user = wish->user,
                                    .env = env,
                                    .timeout_ms = wish->timeout_ms,
                                    .interactive = wish->input || wish->pty,
                                    .tty = wish->pty };

    argv[0] = (char *)(uintptr_t)program_of(sandbox, wish->cmd);
    for (size_t i = 0; i < json_array_size(wish->args); i++)
        argv[request.argc++] = (char *)(uintptr_t)json_string_value(json_array_get(wish->args, i));
    int rc = env_add_all(env, wish->envs, err);
    if (rc == 0)
        rc = env_add_all(env, sandbox->env, err);
    if (rc == 0)
        rc = exec_config_apply(&sandbox->config, &request, env, err);
    if (root)
        request.user = NULL; /* the agent is; an image may have no table of users */
    return rc < 0 ? rc : exec_request_encode(&request, ret_payload, ret_bytes, err);
}

int guest_command_open(struct agent **ret_agent, struct sandbox *sandbox,
                       const struct process_wish *wish, struct err *err)
{
    _cleanup_free_ uint8_t *payload = NULL;
    _cleanup_exec_env_ struct exec_env env = { 0 };
    struct agent *agent = NULL;
    size_t bytes = 0;

    if (json_array_size(wish->args) > ARGS_MAX)
        return err_set(err, E2BIG, "a command may have %u arguments", ARGS_MAX);
    _cleanup_free_ char **argv = calloc(json_array_size(wish->args) + 2, sizeof *argv);
    if (!argv)
        abort(); /* a few KiB */
    int rc = request_make(sandbox, wish, argv, &env, &payload, &bytes, err);
    if (rc == 0)
        rc = session_open(&agent, sandbox, err);
    if (rc == 0)
        rc = request_send(agent, payload, bytes, wish, err);
    if (rc < 0)
        agent_close(agent);
    else
        *ret_agent = agent;
    return rc;
}

/* ---- volt-files ---- */

int guest_files_open(struct guest_files *files, struct sandbox *sandbox, const char *user,
                     const char *operation, const char *path, const char *more, struct err *err)
{
    _cleanup_json_ json_t *args = json_pack("[s, s]", operation, path);
    const struct process_wish wish = {
        .cmd = FILES_PROGRAM, .args = args, .user = user, .input = strcmp(operation, "write") == 0
    };

    *files = (struct guest_files){ .credit = AGENT_STDIN_CREDIT };
    if (!args)
        return err_set(err, EINVAL, "a path must be UTF-8");
    if (more)
        json_array_append_new(args, json_string(more));
    return guest_command_open(&files->agent, sandbox, &wish, err);
}

/* "ERRNO SENTENCE", by a guest. */
static int complaint_take(struct guest_files *files, struct err *err)
{
    char text[sizeof files->complaint * TEXT_GROWTH + 1];
    char *sentence;

    text_clean(text, sizeof text, files->complaint, files->complaint_bytes);
    long number = strtol(text, &sentence, 10);
    if (number <= 0 || number > 4095 || *sentence != ' ')
        return err_set(err, EREMOTEIO, "volt-files failed in the guest: %.200s", text);
    return err_set(err, (int)number, "%s", sentence + 1);
}

static int exit_take(struct guest_files *files, const struct agent_message *message,
                     struct err *err)
{
    struct agent_exit result = { 0 };

    files->over = true;
    files->refused = message->bytes != sizeof result;
    if (files->refused)
        return err_set(err, EPROTO, "the guest's agent sent a cut EXIT frame");
    memcpy(&result, message->payload, sizeof result);
    if (result.kind == AGENT_EXIT_CODE && result.value == 0)
        return 0;
    files->refused = true;
    if (result.kind == AGENT_EXIT_NOT_FOUND)
        return err_set(err, ENOSYS,
                       "the guest has no volt-files: its pool was made by an older Volt; "
                       "'voltctl pool replace' makes it anew");
    return complaint_take(files, err);
}

ssize_t guest_files_next(struct guest_files *files, uint64_t deadline_ns, const uint8_t **ret_data,
                         struct err *err)
{
    struct agent_message message;
    uint32_t credit;

    while (!files->over) {
        int rc = agent_receive(files->agent, deadline_ns, &message, err);

        if (rc < 0)
            return rc;
        if (message.type == AGENT_STDOUT) {
            *ret_data = message.payload;
            return (ssize_t)message.bytes;
        }
        if (message.type == AGENT_STDERR) {
            size_t count = MIN_OF(message.bytes, sizeof files->complaint - files->complaint_bytes);

            memcpy(files->complaint + files->complaint_bytes, message.payload, count);
            files->complaint_bytes += count;
        } else if (message.type == AGENT_CREDIT && message.bytes == sizeof credit) {
            memcpy(&credit, message.payload, sizeof credit);
            files->credit += MIN_OF(credit, AGENT_STDIN_CREDIT - files->credit);
            *ret_data = message.payload;
            return 0;
        } else if (message.type == AGENT_EXIT) {
            return exit_take(files, &message, err);
        } else {
            files->over = files->refused = true;
            return agent_refusal(&message, err);
        }
    }
    return 0;
}

void guest_files_keep(struct guest_files *files, const uint8_t *data, size_t bytes)
{
    if (files->bytes + bytes > files->room) {
        files->room = MAX_OF(files->room * 2, files->bytes + bytes);
        files->output = realloc(files->output, files->room);
        if (!files->output)
            abort(); /* of GUEST_FILES_OUTPUT_MAX */
    }
    memcpy(files->output + files->bytes, data, bytes);
    files->bytes += bytes;
}

/* One step of what it prints. */
static int output_gather(struct guest_files *files, struct err *err)
{
    const uint8_t *data;
    ssize_t count = guest_files_next(files, now_ns() + FILES_TIMEOUT_NS, &data, err);

    if (count <= 0)
        return (int)count;
    if (files->bytes + (size_t)count > GUEST_FILES_OUTPUT_MAX)
        return err_set(err, E2BIG, "that are too many entries");
    guest_files_keep(files, data, (size_t)count);
    return 0;
}

int guest_files_write(struct guest_files *files, const void *data, size_t bytes, struct err *err)
{
    const uint8_t *at = data;
    int rc = 0;

    while (rc == 0 && bytes > 0) {
        size_t count = MIN_OF(bytes, MIN_OF(files->credit, AGENT_PAYLOAD_MAX));

        if (files->over)
            return err_set(err, EPIPE, "volt-files ended before the whole file had come");
        if (count == 0) {
            rc = output_gather(files, err);
            continue;
        }
        rc = agent_send(files->agent, AGENT_STDIN, at, count, err);
        if (rc < 0) { /* it has said why, before it ended */
            struct err why;
            int said;

            while ((said = output_gather(files, &why)) == 0 && !files->over)
                ;
            if (said < 0 && files->refused)
                return err_set(err, why.code, "%s", why.msg);
        }
        files->credit -= (uint32_t)count;
        at += count;
        bytes -= count;
    }
    return rc;
}

int guest_files_finish(struct guest_files *files, struct err *err)
{
    struct err unused;
    int rc = 0;

    if (!files->over)
        (void)agent_send(files->agent, AGENT_EOF, NULL, 0, &unused); /* what comes tells more */
    while (rc == 0 && !files->over)
        rc = output_gather(files, err);
    return rc;
}

int guest_files_run(struct guest_files *files, struct sandbox *sandbox, const char *user,
                    const char *operation, const char *path, const char *more, struct err *err)
{
    int rc = guest_files_open(files, sandbox, user, operation, path, more, err);

    while (rc == 0 && !files->over)
        rc = output_gather(files, err);
    return rc;
}

void guest_files_close(struct guest_files *files)
{
    agent_close(files->agent);
    free(files->output);
    *files = (struct guest_files){ 0 };
}
