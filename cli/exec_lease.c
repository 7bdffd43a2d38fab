/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the way from a lease to a command's exit code; see exec_lease.h. */
#include "exec_lease.h"

#include <errno.h>

#include "agent.h"
#include "exec_session.h"
#include "lease.h"

int exec_lease_run(struct api *api, const char *lease, const struct exec_request *request,
                   int *ret_exit, struct err *err)
{
    _cleanup_agent_ struct agent *agent = NULL;
    int rc = agent_open(&agent, api, lease, err);

    if (rc == 0)
        rc = exec_session_run(agent, request, ret_exit, err);
    if (rc == -ENOTCONN)
        lease_explain(lease, err);
    return rc < 0 ? err_wrap(err, "lease %.12s", lease) : 0;
}
