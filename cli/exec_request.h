/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest is asked to run, and the bytes that ask for it (AGENT_EXEC in guest_abi.h). */
#ifndef VOLT_CLI_EXEC_REQUEST_H
#define VOLT_CLI_EXEC_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "exec_env.h"

struct exec_request {
    int argc; /* at least 1 */
    char **argv;
    const char *cwd;  /* NULL: the guest's "/" */
    const char *user; /* "USER[:GROUP]"; NULL: root */
    const struct exec_env *env;
    uint32_t timeout_ms;    /* 0: none */
    uint32_t kill_after_ms; /* what it has to end itself after our SIGTERM; 0: for ever */
    bool interactive;       /* our standard input is the command's; else /dev/null is */
    bool tty;               /* it gets a terminal, in step with ours if we have one */
};

/* Makes the request's payload; *ret_payload is the caller's (free). 0, -E2BIG with a sentence when
 * it is longer than AGENT_REQUEST_MAX, -ENOMEM. */
int exec_request_encode(const struct exec_request *request, uint8_t **ret_payload,
                        size_t *ret_bytes, struct err *err);

#endif
