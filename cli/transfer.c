/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the line that tells how far something is; see transfer.h. */
#include "transfer.h"

#include <stdio.h>
#include <unistd.h>

#include "base/util.h"

#define SILENT_NS (2 * NS_PER_S)
#define TTY_STEP_NS (NS_PER_S / 5)
#define LINE_STEP_NS (10 * NS_PER_S)

void transfer_start(struct transfer *transfer, const char *what, uint64_t total_bytes)
{
    *transfer = (struct transfer){ .what = what,
                                   .total_bytes = total_bytes,
                                   .started_ns = now_ns(),
                                   .is_tty = isatty(STDERR_FILENO) };
}

void transfer_show(struct transfer *transfer, uint64_t bytes)
{
    uint64_t now = now_ns();
    char of[32] = "";

    if (now - transfer->started_ns < SILENT_NS ||
        (transfer->shown &&
         now - transfer->shown_ns < (transfer->is_tty ? TTY_STEP_NS : LINE_STEP_NS)))
        return;
    transfer->shown = true;
    transfer->shown_ns = now;
    if (transfer->total_bytes > 0)
        snprintf(of, sizeof of, " of %.1f", (double)transfer->total_bytes / (double)MIB(1));
    fprintf(stderr, "%s%s: %.1f%s MiB%s", transfer->is_tty ? "\r\033[K" : "", transfer->what,
            (double)bytes / (double)MIB(1), of, transfer->is_tty ? "" : "\n");
}

void transfer_end(struct transfer *transfer)
{
    if (transfer->shown && transfer->is_tty)
        fputs("\r\033[K", stderr);
    transfer->shown = false;
}
