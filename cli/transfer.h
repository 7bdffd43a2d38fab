/* SPDX-License-Identifier: Apache-2.0 */
/* A line on stderr for what takes longer than 2 s: rewritten on a terminal, else a new one now and
 * then. */
#ifndef VOLT_CLI_TRANSFER_H
#define VOLT_CLI_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

struct transfer {
    const char *what;     /* "unpacking deb.tar"; borrowed */
    uint64_t total_bytes; /* 0: nobody knows */
    uint64_t started_ns, shown_ns;
    bool is_tty, shown;
};

void transfer_start(struct transfer *transfer, const char *what, uint64_t total_bytes);
/* Cheap: for every block. */
void transfer_show(struct transfer *transfer, uint64_t bytes);
/* Leaves an empty line on a terminal. */
void transfer_end(struct transfer *transfer);

#endif
