/* SPDX-License-Identifier: Apache-2.0 */
/* Commands that list what poold has (pools, images, snapshots, volumes, leases): as JSON or as a table. */
#ifndef VOLT_CLI_LISTING_H
#define VOLT_CLI_LISTING_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "cli.h"
#include "options.h"
#include "table.h"

struct listing {
    const char *path; /* of the API */
    const char *key;  /* of the array in its answer */
    const struct table_column *columns;
    size_t column_count;
    /* Options beside --json; and a parameter of the query, with the value that one of them sets (NULL:
     * it was not given). */
    const struct option_spec *specs;
    size_t spec_count;
    const char *query;
    const char **query_value;
};

/* The whole command: options, request, output. Returns the exit code; has reported what failed. */
int listing_run(const struct listing *listing, const struct cli_command *command, int argc,
                char **argv);

/* One object, as it would be in the list, or NULL for an answer that had none: what commands print
 * that make one. Returns the exit code. */
int listing_print_one(const struct listing *listing, json_t *object, bool as_json);

/* That of pools: cmd_pool.c. */
extern const struct listing pool_listing;

#endif
