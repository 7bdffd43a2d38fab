/* SPDX-License-Identifier: Apache-2.0 */
/* `volt-gate run`: becomes passt, with less than a program of that uid has. */
#ifndef VOLT_POOLD_GATE_RUN_H
#define VOLT_POOLD_GATE_RUN_H

#include "base/err.h"

#define GATE_RUN_ARGS_LEAST 4

/* argv: UID PROCS_FD SHARES COMMAND [ARGUMENT...], see gate.h. Returns if it can't: the exit status,
 * with a sentence. */
int gate_run(char **argv, struct err *err);

#endif
