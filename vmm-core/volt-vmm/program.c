/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what all subcommands say of a failure; see program.h. */
#include "volt-vmm/program.h"

#include "volt-vmm/server.h"

/* The process's, as an assertion that fails anywhere has no context. */
static int speaks_on = -1;

void program_speaks_on(int control_fd)
{
    speaks_on = control_fd;
}

void program_report_failure(const struct err *err)
{
    if (speaks_on >= 0)
        server_say_exited(speaks_on, EXIT_REASON_HOST_ERROR, err->msg);
}
