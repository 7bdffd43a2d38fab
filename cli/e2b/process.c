/* SPDX-License-Identifier: Apache-2.0 */
/* Owns processes of sandboxes: which there are, their sessions, their input; see process.h. */
#include "e2b/process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "e2b/guest_command.h"
#include "e2b/process_internal.h"
#include "e2b/sandbox.h"

#define STACK_BYTES 524288u
#define INPUT_TIMEOUT_S 60 /* for a process to take some */

/* ---- References ---- */

static void process_free(struct process *process)
{
    for (uint64_t i = process->first; i < process->next_chunk; i++)
        free(process->chunks[i % PROCESS_CHUNKS]);
    agent_close(process->agent);
    json_decref(process->config);
    sandbox_put(process->sandbox);
    pthread_mutex_destroy(&process->send_lock);
    pthread_mutex_destroy(&process->lock);
    pthread_cond_destroy(&process->room);
    pthread_cond_destroy(&process->granted);
    free(process);
}

void process_put(struct process *process)
{
    if (process && atomic_fetch_sub(&process->references, 1) == 1)
        process_free(process);
}

static struct process *process_get(struct process *process)
{
    atomic_fetch_add(&process->references, 1);
    return process;
}

static bool process_has_ended(struct process *process)
{
    pthread_mutex_lock(&process->lock);
    bool ended = process->end != PROCESS_RUNS;
    pthread_mutex_unlock(&process->lock);
    return ended;
}

struct process *process_find(struct sandbox *sandbox, uint32_t pid, const char *tag, bool ended)
{
    struct process *found = NULL;

    pthread_mutex_lock(&sandbox->lock);
    for (struct process *at = sandbox->processes; at && !found; at = at->next)
        if ((pid ? at->pid == pid : *tag && strcmp(at->tag, tag) == 0) &&
            (ended || !process_has_ended(at)))
            found = process_get(at);
    pthread_mutex_unlock(&sandbox->lock);
    return found;
}

json_t *processes_json(struct sandbox *sandbox)
{
    json_t *list = json_array();

    pthread_mutex_lock(&sandbox->lock);
    for (struct process *at = sandbox->processes; at; at = at->next) {
        if (process_has_ended(at))
            continue;
        json_t *one = json_pack("{s:O, s:I}", "config", at->config, "pid", (json_int_t)at->pid);
        if (at->tag[0])
            json_object_set_new(one, "tag", json_string(at->tag));
        json_array_append_new(list, one);
    }
    pthread_mutex_unlock(&sandbox->lock);
    return list;
}

static bool process_was_told(struct process *process)
{
    pthread_mutex_lock(&process->lock);
    bool told = process->told;
    pthread_mutex_unlock(&process->lock);
    return told;
}

void processes_forget(struct sandbox *sandbox)
{
    struct process **at = &sandbox->processes;
    unsigned ended = 0;

    while (*at) {
        struct process *process = *at;

        if (process_has_ended(process) &&
            (process_was_told(process) || ++ended > PROCESS_ENDED_MAX)) {
            *at = process->next;
            process_put(process);
        } else {
            at = &process->next;
        }
    }
}

void processes_end(struct sandbox *sandbox)
{
    pthread_mutex_lock(&sandbox->lock);
    struct process *next = take_pointer(&sandbox->processes);
    pthread_mutex_unlock(&sandbox->lock);
    while (next) {
        struct process *process = next;

        next = process->next;
        pthread_mutex_lock(&process->lock);
        process->abandoned = true;
        pthread_cond_broadcast(&process->room);
        if (process->session_fd >= 0)
            shutdown(process->session_fd, SHUT_RDWR); /* its thread sees that, and whoever sends */
        pthread_mutex_unlock(&process->lock);
        process_put(process);
    }
}

/* ---- The session ---- */

static void process_over(struct process *process, enum process_end end, uint32_t value,
                         const char *why)
{
    pthread_mutex_lock(&process->lock);
    process->end = end;
    process->value = value;
    snprintf(process->why, sizeof process->why, "%s", why);
    process_output_trim(process);
    process_readers_wake(process);
    pthread_cond_broadcast(&process->granted);
    pthread_mutex_unlock(&process->lock);
}

static void exit_take(struct process *process, const struct agent_message *message)
{
    static const enum process_end ends[] = {
        [AGENT_EXIT_CODE] = PROCESS_EXITED,
        [AGENT_EXIT_SIGNAL] = PROCESS_SIGNALED,
        [AGENT_EXIT_TIMEOUT] = PROCESS_TIMED_OUT,
        [AGENT_EXIT_NOT_FOUND] = PROCESS_NOT_FOUND,
        [AGENT_EXIT_NOT_EXECUTABLE] = PROCESS_REFUSED,
    };
    struct agent_exit result;

    if (message->bytes != sizeof result) {
        process_over(process, PROCESS_REFUSED, 0, "the guest's agent sent a cut EXIT frame");
        return;
    }
    memcpy(&result, message->payload, sizeof result);
    process_over(process, result.kind < ARRAY_LEN(ends) ? ends[result.kind] : PROCESS_REFUSED,
                 result.value,
                 result.kind < AGENT_EXIT_NOT_FOUND ? "" : strerror((int)result.value));
}

/* False: that was its last. */
static bool message_take(struct process *process, const struct agent_message *message)
{
    uint32_t credit;
    struct err err;

    switch (message->type) {
    case AGENT_STDOUT:
        process_output_take(process, PROCESS_STDOUT, message->payload, message->bytes);
        return true;
    case AGENT_STDERR:
        process_output_take(process, PROCESS_STDERR, message->payload, message->bytes);
        return true;
    case AGENT_CREDIT:
        if (message->bytes == sizeof credit) {
            memcpy(&credit, message->payload, sizeof credit);
            pthread_mutex_lock(&process->lock);
            process->credit +=
                MIN_OF(credit, AGENT_STDIN_CREDIT - MIN_OF(process->credit, AGENT_STDIN_CREDIT));
            pthread_cond_broadcast(&process->granted);
            pthread_mutex_unlock(&process->lock);
        }
        return true;
    case AGENT_EXIT:
        exit_take(process, message);
        return false;
    default:
        agent_refusal(message, &err);
        process_over(process, PROCESS_REFUSED, 0, err.msg);
        return false;
    }
}

/* Nobody sends from now on. */
static void session_close(struct process *process)
{
    pthread_mutex_lock(&process->lock);
    process->session_fd = -1;
    pthread_mutex_unlock(&process->lock);
    shutdown(process->agent->fd, SHUT_RDWR); /* who is sending stops */
    pthread_mutex_lock(&process->send_lock);
    agent_close(take_pointer(&process->agent));
    pthread_mutex_unlock(&process->send_lock);
}

static void *process_run(void *data)
{
    struct process *process = data;
    struct agent_message message;
    struct err err;
    int rc;

    while ((rc = agent_receive(process->agent, UINT64_MAX, &message, &err)) == 0 &&
           message_take(process, &message))
        ;
    if (rc < 0)
        process_over(process, PROCESS_LOST, 0, err.msg);
    session_close(process);
    atomic_fetch_sub(&process->server->processes, 1);
    pthread_mutex_lock(&process->sandbox->lock);
    processes_forget(process->sandbox);
    pthread_mutex_unlock(&process->sandbox->lock);
    process_put(process);
    return NULL;
}

/* ---- Start ---- */

static struct process *process_new(struct server *server, struct sandbox *sandbox,
                                   const struct process_wish *wish)
{
    struct process *process = calloc(1, sizeof *process);

    if (!process)
        abort(); /* of PROCESSES_MAX */
    process->server = server;
    process->sandbox = sandbox;
    atomic_fetch_add(&sandbox->references, 1);
    process->references = 1;
    process->session_fd = -1;
    process->pty = wish->pty;
    process->input = wish->pty || wish->input;
    process->credit = AGENT_STDIN_CREDIT;
    snprintf(process->tag, sizeof process->tag, "%s", wish->tag);
    process->config = json_pack("{s:s}", "cmd", wish->cmd);
    json_object_set_new(process->config, "args",
                        wish->args ? json_incref(wish->args) : json_array());
    json_object_set_new(process->config, "envs",
                        wish->envs ? json_incref(wish->envs) : json_object());
    if (wish->cwd)
        json_object_set_new(process->config, "cwd", json_string(wish->cwd));
    pthread_mutex_init(&process->send_lock, NULL);
    pthread_mutex_init(&process->lock, NULL);
    pthread_cond_init(&process->room, NULL);
    pthread_cond_init(&process->granted, NULL);
    return process;
}

/* Under the sandbox's lock; how many have ended is bounded by processes_forget. */
static unsigned running_count(const struct sandbox *sandbox)
{
    unsigned count = 0;

    for (struct process *at = sandbox->processes; at; at = at->next)
        count += !process_has_ended(at);
    return count;
}

/* Puts it into its sandbox. 0; -ENOTCONN, -EDQUOT. */
static int process_add(struct process *process, struct err *err)
{
    struct sandbox *sandbox = process->sandbox;
    int rc = 0;

    pthread_mutex_lock(&sandbox->lock);
    if (sandbox->ended) {
        rc = err_set(err, ENOTCONN, "the sandbox has ended");
    } else if (running_count(sandbox) >= SANDBOX_PROCESSES_MAX ||
               atomic_load(&process->server->processes) >= PROCESSES_MAX) {
        rc = err_set(err, EDQUOT, "too many processes run; a sandbox may have %d",
                     SANDBOX_PROCESSES_MAX);
    } else {
        process->pid = ++sandbox->last_pid;
        process->next = sandbox->processes;
        sandbox->processes = process_get(process);
        process->session_fd = process->agent->fd;
        atomic_fetch_add(&process->server->processes, 1);
    }
    pthread_mutex_unlock(&sandbox->lock);
    return rc;
}

static int thread_start(struct process *process)
{
    pthread_attr_t attributes;
    pthread_t thread;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int rc = pthread_create(&thread, &attributes, process_run, process_get(process));
    pthread_attr_destroy(&attributes);
    return rc;
}

int process_start(struct server *server, struct sandbox *sandbox, const struct process_wish *wish,
                  struct process **ret_process, struct err *err)
{
    struct process *process = process_new(server, sandbox, wish);
    int rc = guest_command_open(&process->agent, sandbox, wish, err);

    if (rc == 0)
        rc = process_add(process, err);
    if (rc < 0) {
        process_put(process);
        return rc;
    }
    if (thread_start(process) != 0)
        abort(); /* of PROCESSES_MAX */
    *ret_process = process;
    return 0;
}

/* ---- Input ---- */

/* Waits for credit of `wanted` bytes at most. Bytes, -EPIPE or -ETIMEDOUT. */
static ssize_t credit_take(struct process *process, size_t wanted)
{
    struct timespec until;
    ssize_t taken = 0;
    int rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += INPUT_TIMEOUT_S;
    pthread_mutex_lock(&process->lock);
    while (process->credit == 0 && process->end == PROCESS_RUNS && rc == 0)
        rc = pthread_cond_clockwait(&process->granted, &process->lock, CLOCK_MONOTONIC, &until);
    if (process->end != PROCESS_RUNS)
        taken = -EPIPE;
    else if (process->credit == 0)
        taken = -ETIMEDOUT;
    else
        taken = (ssize_t)MIN_OF(wanted, process->credit);
    process->credit -= taken > 0 ? (uint32_t)taken : 0;
    pthread_mutex_unlock(&process->lock);
    return taken;
}

static int frame_send(struct process *process, enum agent_frame_type type, const void *payload,
                      size_t bytes)
{
    struct err err;

    pthread_mutex_lock(&process->send_lock);
    bool closed =
        !process->agent || (process->input_ended && (type == AGENT_STDIN || type == AGENT_EOF));
    int rc = closed ? -EPIPE : agent_send(process->agent, type, payload, bytes, &err);
    process->input_ended |= type == AGENT_EOF;
    pthread_mutex_unlock(&process->send_lock);
    return rc < 0 ? -EPIPE : 0;
}

int process_write(struct process *process, const uint8_t *data, size_t bytes)
{
    int rc = process->input ? 0 : -EPIPE;

    while (rc == 0 && bytes > 0) {
        ssize_t count = credit_take(process, MIN_OF(bytes, (size_t)AGENT_PAYLOAD_MAX));

        rc = count < 0 ? (int)count : frame_send(process, AGENT_STDIN, data, (size_t)count);
        data += count > 0 ? count : 0;
        bytes -= count > 0 ? (size_t)count : 0;
    }
    return rc;
}

int process_close_input(struct process *process)
{
    return process->input ? frame_send(process, AGENT_EOF, NULL, 0) : -EPIPE;
}

int process_signal(struct process *process, uint32_t signal)
{
    return frame_send(process, AGENT_SIGNAL, &signal, sizeof signal);
}

int process_resize(struct process *process, uint16_t rows, uint16_t cols)
{
    const struct agent_winsize size = { .rows = rows, .cols = cols };

    return frame_send(process, AGENT_RESIZE, &size, sizeof size);
}
