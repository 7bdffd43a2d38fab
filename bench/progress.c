/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the progress display; see progress.h. */
#include "progress.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define TTY_PERIOD_NS (NS_PER_S / 2)
#define PLAIN_PERIOD_NS (10 * NS_PER_S)

static struct {
    uint64_t shown_ns, began_ns;
    bool on_line;
    char what[96];
} state;

void progress_clear(void)
{
    if (state.on_line)
        fputs("\r\033[K", stderr);
    state.on_line = false;
}

void progress_show(const char *what, size_t done, size_t total)
{
    static int is_tty = -1;
    uint64_t now = now_ns();

    if (is_tty < 0)
        is_tty = isatty(STDERR_FILENO);
    if (strncmp(what, state.what, sizeof state.what - 1) != 0) {
        snprintf(state.what, sizeof state.what, "%s", what);
        state.began_ns = state.shown_ns = now;
        fprintf(stderr, "%s%s ...%s", is_tty ? "\r\033[K" : "", what, is_tty ? "" : "\n");
        state.on_line = is_tty;
        return;
    }
    if (now - state.shown_ns < (is_tty ? TTY_PERIOD_NS : PLAIN_PERIOD_NS))
        return;
    state.shown_ns = now;
    state.on_line = is_tty;
    fprintf(stderr, "%s%s: ", is_tty ? "\r\033[K" : "", what);
    if (total)
        fprintf(stderr, "%zu of %zu (%zu%%), ", done, total, 100 * done / total);
    fprintf(stderr, "%.0f s%s", (double)(now - state.began_ns) / 1e9, is_tty ? "" : "\n");
}
