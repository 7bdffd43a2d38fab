/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the way from a lease to a command's exit code; see exec_lease.h. */
#include "exec_lease.h"

#include <errno.h>

#include "agent.h"
#include "exec_config.h"
#include "exec_session.h"
#include "lease.h"

int exec_lease_run(struct api *api, const char *lease, const struct exec_request *request,
                   int *ret_exit, struct err *err)
{
    _cleanup_agent_ struct agent *agent = NULL;
    int rc = agent_open(&agent, api, lease, err);

    if (rc == 0)
        rc = exec_session_run(agent, request, ret_exit, err);
    lease_explain_broken(lease, rc, err);
    return rc < 0 ? err_wrap(err, "lease %.12s", lease) : 0;
}

int exec_lease_run_in_image(struct api *api, const char *lease, struct exec_request *request,
                            struct exec_env *env, int *ret_exit, struct err *err)
{
    _cleanup_exec_config_ struct exec_config config = { 0 };
    int rc = exec_config_get(&config, api, lease, err);

    if (rc == 0)
        rc = exec_config_apply(&config, request, env, err);
    return rc == 0 ? exec_lease_run(api, lease, request, ret_exit, err) : rc;
}
