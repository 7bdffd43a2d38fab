/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a service is started as its image says, poold's own variables come before the image's, and what
 * does not fit is refused. Method: the request's texts, one by one. */
#include "vms/service_request.h"

#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "guest_abi.h"
#include "tap_main.h"

static const struct row {
    const char *config;
    bool gate, bell;
    uint32_t flags;
    const char *texts[16]; /* directory, words, variables, user */
    unsigned variables;
} rows[] = {
    { NULL, false, false, 0, { "", "/bin/sh", "-c", "run", "PORT=80" }, 1 },
    { "{}",
      false,
      true,
      AGENT_EXEC_BELL,
      { "", "/bin/sh", "-c", "run", FUNCTION_VARIABLE "=1" },
      1 },
    { "{\"user\":\"me:us\",\"workdir\":\"/w\",\"env\":[\"A=b=c\",\"PORT=1\",\"PORTS=2\",\"A=2\"]}",
      false,
      false,
      AGENT_EXEC_USER,
      { "/w", "/bin/sh", "-c", "run", "PORT=80", "A=b=c", "PORTS=2", "A=2", "me:us" },
      4 },
    { "{\"user\":\"\",\"workdir\":\"\",\"env\":[\"AWS_REGION=x\",\"X=y\"]}",
      true,
      false,
      AGENT_EXEC_GATE,
      { "", "/bin/sh", "-c", "run", "AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001",
        "AWS_LAMBDA_FUNCTION_NAME=f", "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=128", "AWS_LAMBDA_INITIALIZATION_TYPE=snap-start",
        "AWS_REGION=local", "LAMBDA_TASK_ROOT=/var/task", "X=y" },
      8 },
};

START_TEST(requests)
{
    const struct row *row = &rows[_i];
    struct pool_spec spec = { .service = "run", .service_port = 80, .memory_bytes = 128ull << 20 };
    struct agent_exec exec;
    uint8_t *request = NULL;
    size_t bytes = 0, at = sizeof exec;
    struct err err;

    spec.service_gate = row->gate;
    spec.service_bell = row->bell;
    ck_assert_int_eq(service_request_make(&spec, "f", row->config, &request, &bytes, &err), 0);
    memcpy(&exec, request, sizeof exec);
    ck_assert_uint_eq(exec.flags, row->flags | AGENT_EXEC_SERVICE);
    ck_assert_uint_eq(exec.argc, 3);
    ck_assert_uint_eq(exec.envc, row->variables);
    for (size_t i = 0; row->texts[i]; i++) {
        ck_assert_str_eq((const char *)request + at, row->texts[i]);
        at += strlen(row->texts[i]) + 1;
    }
    ck_assert_uint_eq(at, bytes);
    free(request);
}
END_TEST

START_TEST(what_does_not_fit)
{
    struct pool_spec spec = { .service = "run", .service_port = 80 };
    const size_t room = AGENT_PAYLOAD_MAX - sizeof(struct agent_exec);
    const size_t rest = strlen("") + strlen("/bin/sh") + strlen("-c") + strlen("run") +
                        strlen("PORT=80") + 6 + strlen("A=");
    char *config = malloc(AGENT_PAYLOAD_MAX + 64);
    uint8_t *request = NULL;
    size_t bytes = 0;
    struct err err;

    if (!config)
        ck_abort();
    for (size_t more = 0; more < 2; more++) {
        const size_t value = room - rest + more;
        size_t at = (size_t)sprintf(config, "{\"env\":[\"A=");

        memset(config + at, 'x', value);
        strcpy(config + at + value, "\"]}");
        ck_assert_int_eq(service_request_make(&spec, "f", config, &request, &bytes, &err),
                         more ? -E2BIG : 0);
    }
    ck_assert_uint_eq(bytes, AGENT_PAYLOAD_MAX);
    free(request);
    free(config);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("service-request");
    TCase *tcase = tap_case(suite, "service-request");

    tcase_add_loop_test(tcase, requests, 0, ARRAY_LEN(rows));
    tcase_add_test(tcase, what_does_not_fit);
    return tap_main(suite);
}
