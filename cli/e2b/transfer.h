/* SPDX-License-Identifier: Apache-2.0 */
/* What the server asks of /files (transfer_calls.c): uploads under way, and signed addresses. */
#ifndef VOLT_CLI_E2B_TRANSFER_H
#define VOLT_CLI_E2B_TRANSFER_H

#include "e2b/server.h"

/* NULL is fine. */
void transfer_free(struct transfer *transfer);

/* Whether the call's query has a signature with the token of its sandbox that is good now. */
bool transfer_is_signed(const struct call *call);
/* The sandbox with whose token it is; a reference or NULL. */
struct sandbox *transfer_signed(const struct call *call);

#endif
