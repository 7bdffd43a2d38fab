/* SPDX-License-Identifier: Apache-2.0 */
/* How far a suite is, on stderr: one line that is rewritten on a terminal, plain lines elsewhere.
 */
#ifndef VOLT_BENCH_PROGRESS_H
#define VOLT_BENCH_PROGRESS_H

#include <stddef.h>

/* Says that `done` of `total` of `what` are done; shown at most twice a second on a terminal, every
 * ten seconds elsewhere. total 0: unknown. */
void progress_show(const char *what, size_t done, size_t total);

/* Clears the line: before something else is printed. */
void progress_clear(void);

#endif
