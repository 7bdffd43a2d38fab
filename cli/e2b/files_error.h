/* SPDX-License-Identifier: Apache-2.0 */
/* What E2B's clients are told when volt-files fails. */
#ifndef VOLT_CLI_E2B_FILES_ERROR_H
#define VOLT_CLI_E2B_FILES_ERROR_H

#include "e2b/guest_command.h"

/* rc: of a guest_files_* function. */
enum rpc_error files_error(const struct guest_files *files, int rc, unsigned *ret_status);
void reply_files_error(struct call *call, const struct guest_files *files, int rc,
                       const struct err *err);

#endif
