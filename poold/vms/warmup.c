/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the steps of a warm-up, a session with the agent each; see warmup.h. */
#include "vms/warmup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"
#include "guest_abi.h"
#include "vms/agent_stream.h"
#include "vms/pool_spec.h"
#include "vms/service_request.h"

#define REQUEST_BYTES_MAX (sizeof(struct agent_exec) + 512 + WARMUP_BYTES)
#define TAIL_BYTES 160u

enum step {
    STEP_COMMAND, /* the pool's command, to its end */
    STEP_SERVICE, /* its service is started */
    STEP_AWAIT,   /* until that accepts connections */
    STEP_PARK,
    STEP_COUNT,
};

struct warmup {
    uv_loop_t *loop;
    const struct pool_spec *spec;
    const char *name; /* the pool's */
    const char *image_config;
    const struct warmup_ops *ops;
    void *owner;
    struct agent_stream *stream; /* of the step */
    enum step step;
    bool boot;
    uint64_t wait_ms;
    struct err err; /* why a request can't be made; code 0: none */
    size_t tail_bytes;
    char tail[TAIL_BYTES]; /* of what was written in this step */
};

static void step_start(struct warmup *warmup);

static void warmup_free(struct warmup *warmup)
{
    agent_stream_close(warmup->stream);
    free(warmup);
}

void warmup_cancel(struct warmup *warmup)
{
    if (warmup)
        warmup_free(warmup);
}

static void finish(struct warmup *warmup, const struct err *err)
{
    const struct warmup_ops *ops = warmup->ops;
    void *owner = warmup->owner;

    warmup_free(warmup);
    ops->done(owner, err);
}

/* With the last that was written, which mostly says more. */
static void fail(struct warmup *warmup, const char *what)
{
    char clean[2 * TAIL_BYTES];
    struct err err;

    while (warmup->tail_bytes && strchr(" \r\n", warmup->tail[warmup->tail_bytes - 1]))
        warmup->tail_bytes--;
    text_clean(clean, sizeof clean, warmup->tail, warmup->tail_bytes);
    if (warmup->tail_bytes)
        err_set(&err, EIO, "the warm-up: %.200s; what it wrote ends with \"%s\"", what, clean);
    else
        err_set(&err, EIO, "the warm-up: %s", what);
    finish(warmup, &err);
}

static void tail_add(struct warmup *warmup, const uint8_t *bytes, size_t count)
{
    const size_t take = MIN_OF(count, (size_t)TAIL_BYTES);
    const size_t keep = MIN_OF(warmup->tail_bytes, TAIL_BYTES - take);

    memmove(warmup->tail, warmup->tail + warmup->tail_bytes - keep, keep);
    memcpy(warmup->tail + keep, bytes + count - take, take);
    warmup->tail_bytes = keep + take;
}

/* ---- What is asked ---- */

/* Appends a NUL-terminated string to a request. */
static size_t put_string(uint8_t *request, size_t at, const char *text)
{
    size_t len = strlen(text) + 1;

    memcpy(request + at, text, len);
    return at + len;
}

/* `sh -c` of the pool's command. */
static int send_command(struct warmup *warmup)
{
    const struct agent_exec exec = { .argc = 3 };
    uint8_t request[REQUEST_BYTES_MAX];
    size_t at = sizeof exec;

    memcpy(request, &exec, sizeof exec);
    at = put_string(request, at, "");
    at = put_string(request, at, "/bin/sh");
    at = put_string(request, at, "-c");
    at = put_string(request, at, warmup->spec->warmup);
    return agent_stream_send(warmup->stream, AGENT_EXEC, request, at);
}

static int send_service(struct warmup *warmup)
{
    _cleanup_free_ uint8_t *request = NULL;
    size_t bytes = 0;
    int rc = service_request_make(warmup->spec, warmup->name, warmup->image_config, &request,
                                  &bytes, &warmup->err);

    return rc < 0 ? rc : agent_stream_send(warmup->stream, AGENT_EXEC, request, bytes);
}

static int request_send(struct warmup *warmup)
{
    const struct pool_spec *spec = warmup->spec;
    const struct agent_call call = { .port = (uint16_t)spec->service_port,
                                     .flags = spec->service_gate   ? AGENT_CALL_ACCEPT
                                              : spec->service_bell ? AGENT_CALL_BELL
                                                                   : 0,
                                     .wait_ms = (uint32_t)MIN_OF(warmup->wait_ms, UINT32_MAX) };

    switch (warmup->step) {
    case STEP_COMMAND:
        return send_command(warmup);
    case STEP_SERVICE:
        return send_service(warmup);
    case STEP_AWAIT:
        return agent_stream_send(warmup->stream, AGENT_CALL, &call, sizeof call);
    default:
        return agent_stream_send(warmup->stream, AGENT_PARK, NULL, 0);
    }
}

static bool step_wanted(const struct warmup *warmup, enum step step)
{
    switch (step) {
    case STEP_COMMAND:
        return warmup->spec->warmup[0];
    case STEP_SERVICE:
        return warmup->spec->service[0] && warmup->boot;
    case STEP_AWAIT:
        return warmup->spec->service[0];
    default:
        return warmup->boot;
    }
}

/* ---- What is answered ---- */

static void step_done(struct warmup *warmup)
{
    agent_stream_close(take_pointer(&warmup->stream));
    warmup->step++;
    warmup->tail_bytes = 0;
    step_start(warmup);
}

static const char *step_name(const struct warmup *warmup)
{
    return warmup->step == STEP_SERVICE ? "service" : "command";
}

static void on_exit_frame(struct warmup *warmup, const uint8_t *payload, uint32_t bytes)
{
    struct agent_exit ended;
    char what[96];

    if (bytes != sizeof ended) {
        fail(warmup, "the agent sent a malformed frame");
        return;
    }
    memcpy(&ended, payload, sizeof ended);
    if (ended.kind == AGENT_EXIT_CODE && ended.value == 0) {
        step_done(warmup);
        return;
    }
    if (ended.kind == AGENT_EXIT_NOT_FOUND || ended.kind == AGENT_EXIT_NOT_EXECUTABLE)
        snprintf(what, sizeof what, "the root can't run the %s: /bin/sh: %s", step_name(warmup),
                 strerror((int)ended.value));
    else
        snprintf(what, sizeof what, "the %s ended with %s %u", step_name(warmup),
                 ended.kind == AGENT_EXIT_CODE ? "exit code" : "signal", ended.value);
    fail(warmup, what);
}

/* Whether what it has asked at the gate is not for a call, but tells why it can take none. */
static bool asks_in_vain(struct warmup *warmup, const struct agent_frame *frame,
                         const uint8_t *payload)
{
    static const char path[] = "/runtime/init/error";

    if (warmup->step != STEP_AWAIT || !memmem(payload, frame->payload_bytes, path, sizeof path - 1))
        return false;
    tail_add(warmup, payload, frame->payload_bytes);
    return true;
}

static void on_frame(void *owner, const struct agent_frame *frame, const uint8_t *payload)
{
    struct warmup *warmup = owner;
    char sentence[AGENT_SENTENCE_BYTES], what[AGENT_SENTENCE_BYTES + 32];

    switch (frame->type) {
    case AGENT_STDOUT:
    case AGENT_STDERR:
        tail_add(warmup, payload, frame->payload_bytes);
        return;
    case AGENT_EXIT:
        if (warmup->step > STEP_SERVICE)
            break;
        on_exit_frame(warmup, payload, frame->payload_bytes);
        return;
    case AGENT_DONE:
        if (warmup->step == STEP_COMMAND)
            break;
        if (asks_in_vain(warmup, frame, payload))
            fail(warmup, "the service says that it can't start");
        else
            step_done(warmup);
        return;
    case AGENT_ERROR:
        snprintf(what, sizeof what, "the agent says: %s",
                 agent_error_sentence(frame, payload, sentence));
        fail(warmup, what);
        return;
    default:
        break;
    }
    fail(warmup, "the agent sent a frame out of place");
}

static void on_broken(void *owner, const char *why)
{
    fail(owner, why);
}

static int on_connect(void *owner, int fd)
{
    const struct warmup *warmup = owner;

    return warmup->ops->connect(warmup->owner, fd);
}

static const struct agent_stream_ops stream_ops = {
    .connect = on_connect,
    .frame = on_frame,
    .broken = on_broken,
};

/* ---- Steps ---- */

/* Goes on with the next one that is wanted. 1: there is none; or -errno. */
static int step_open(struct warmup *warmup)
{
    int rc;

    while (warmup->step < STEP_COUNT && !step_wanted(warmup, warmup->step))
        warmup->step++;
    if (warmup->step == STEP_COUNT)
        return 1;
    rc = agent_stream_open(&warmup->stream, warmup->loop, &stream_ops, warmup);
    return rc < 0 ? rc : request_send(warmup);
}

static void step_start(struct warmup *warmup)
{
    int rc = step_open(warmup);

    if (rc < 0)
        fail(warmup, warmup->err.code ? warmup->err.msg : "the VM takes no stream");
    else if (rc > 0)
        finish(warmup, NULL);
}

bool warmup_wanted(const struct pool_spec *spec)
{
    return spec->warmup[0] || spec->service[0];
}

int warmup_start(struct warmup **ret_warmup, uv_loop_t *loop, const char *name,
                 const struct pool_spec *spec, const char *image_config, bool boot,
                 uint64_t wait_ms, const struct warmup_ops *ops, void *owner, struct err *err)
{
    struct warmup *warmup = calloc(1, sizeof *warmup);
    int rc;

    if (!warmup)
        return err_set(err, ENOMEM, "out of memory");
    warmup->loop = loop;
    warmup->spec = spec;
    warmup->name = name;
    warmup->image_config = image_config;
    warmup->boot = boot;
    warmup->wait_ms = wait_ms;
    warmup->ops = ops;
    warmup->owner = owner;
    rc = step_open(warmup);
    if (rc < 0) {
        if (warmup->err.code)
            *err = warmup->err;
        else
            err_set_errno(err, -rc, "the VM takes no stream");
        warmup_free(warmup);
        return err_wrap(err, "the warm-up");
    }
    *ret_warmup = warmup;
    return 0;
}
