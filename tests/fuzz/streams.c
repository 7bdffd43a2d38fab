/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the streams of exec: the input chooses what the command, the wire and the user do, step by
 * step (tests/unit/stream_model.h), and the agent and voltctl's session must get through; or the
 * input is what a client sends to the agent. Input: a byte that says which, then the choices, or
 * the bytes. */
#include <errno.h>
#include <stdlib.h>

#include "../../guest-init/agent_session.h"
#include "../unit/stream_model.h"
#include "fuzz.h"

/* No files: what a fuzzer names is not to be touched. */
static void refuse(struct session *session)
{
    struct fail fail;

    fail_set(&fail, EACCES, "no files here", NULL, NULL);
    session_error(session, &fail);
}

void session_put_start(struct session *session)
{
    refuse(session);
}

void session_get_start(struct session *session)
{
    refuse(session);
}

int session_put_data(struct session *session, const uint8_t *data, size_t bytes, struct fail *fail)
{
    (void)session, (void)data, (void)bytes, (void)fail;
    abort();
}

void session_put_eof(struct session *session)
{
    (void)session;
    abort();
}

void session_put_fini(struct session *session)
{
    (void)session;
    abort();
}

bool session_get_produce(struct session *session)
{
    (void)session;
    abort();
}

static void run_model(const uint8_t *data, size_t bytes)
{
    struct outcome outcome;
    struct plan plan;

    model_choices(bytes, data, bytes);
    plan_choose(&plan);
    uint32_t *const sizes[] = { &plan.request_bytes, &plan.stdin_bytes, &plan.output_bytes[0],
                                &plan.output_bytes[1] };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        *sizes[i] = MIN_OF(*sizes[i], 1000);
    model_run(&plan, &outcome);
}

/* A client that sends these bytes and takes what comes. */
static void run_client(const uint8_t *data, size_t bytes)
{
    struct plan plan;
    uint8_t taken[256];
    size_t sent = 0;
    bool any = true;

    model_choices(bytes, NULL, 0);
    plan_choose(&plan);
    plan.wire_capacity = LANE_BYTES_MAX;
    plan.pipe_capacity = LANE_BYTES_MAX;
    plan.connection_breaks = false;
    plan.any_request = true;
    model_start(&plan);
    while (any || world_step()) {
        size_t put = lane_put(&world.sent[WIRE_TO_GUEST], data + sent, bytes - sent);

        sent += put;
        any = lane_take(&world.come[WIRE_TO_HOST], taken, sizeof(taken)) > 0 || put > 0;
    }
    model_stop();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };

    if (fuzz_u8(&input) & 1)
        run_client(input.data, input.bytes);
    else
        run_model(input.data, input.bytes);
    return 0;
}
