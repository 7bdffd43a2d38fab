/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of a process share; see process.h. */
#ifndef VOLT_CLI_E2B_PROCESS_INTERNAL_H
#define VOLT_CLI_E2B_PROCESS_INTERNAL_H

#include "e2b/process.h"

/* Keeps some output, for which it waits until there is room. */
void process_output_take(struct process *process, enum process_stream stream, const uint8_t *data,
                         size_t bytes);
/* With the process' lock: tells readers that there is something new; and, of one that has ended, drops
 * all but the last of what nobody is reading. */
void process_readers_wake(const struct process *process);
void process_output_trim(struct process *process);

/* With the sandbox's lock: those that have ended are forgotten, but for the last few whose end nobody
 * knows. */
void processes_forget(struct sandbox *sandbox);

#endif
