/* SPDX-License-Identifier: Apache-2.0 */
/* Commands on one object of poold by its name (a pool, an image, a snapshot, a lease): one request
 * each, on a connection of its own. */
#ifndef VOLT_CLI_NAMED_H
#define VOLT_CLI_NAMED_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "cli.h"

/* The request is METHOD FAMILY/NAME AFTER. */
struct named_request {
    const char *method;
    const char *family;  /* of the API, such as "/v1/pools/" */
    const char *after;   /* the name; "" nothing */
    json_t *body;        /* borrowed; NULL: none */
    uint64_t timeout_ms; /* 0: API_TIMEOUT_MS */
};

/* *ret_json as api_call gives it; it may be NULL. 0 or -errno with a sentence. */
int named_call(const struct named_request *request, const char *name, json_t **ret_json,
               struct err *err);

/* The command `NAME`, which prints nothing. Returns the exit code; has reported what failed. */
int named_run(const struct named_request *request, const struct cli_command *command, int argc,
              char **argv);

/* The command `NAME [--json]` up to what it prints for people: true with the answer in
 * *ret_json. Else all is done, and *ret_exit_code is the command's. *ret_json, NULL before, is the
 * caller's in either case. */
bool named_ask(const struct named_request *request, const struct cli_command *command, int argc,
               char **argv, json_t **ret_json, int *ret_exit_code);

/* The command `NAME [--json]` that checks what is stored: "every `unit` is right", or, by
 * print_damage, what is not. */
int named_verify(const struct named_request *request, const struct cli_command *command, int argc,
                 char **argv, const char *unit,
                 void (*print_damage)(const char *name, json_t *json));

#endif
