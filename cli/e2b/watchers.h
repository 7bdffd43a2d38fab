/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox has to know of its watchers (watch_calls.c). */
#ifndef VOLT_CLI_E2B_WATCHERS_H
#define VOLT_CLI_E2B_WATCHERS_H

#include "e2b/sandbox.h"

/* Ends all of them: with the last reference to the sandbox. */
void watchers_free(struct sandbox *sandbox);

#endif
