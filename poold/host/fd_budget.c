/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the division of poold's descriptors; see fd_budget.h. */
#include "host/fd_budget.h"

#include <errno.h>
#include <sys/resource.h>

#include "base/util.h"

#define CONNECTIONS_MAX 8192u
#define CONNECTIONS_KEPT_LEAST 8u
#define CONNECTIONS_KEPT_MOST 64u
#define FOLDERS_LEAST 8u
#define FOLDERS_MOST 160u
#define FD_FOLDER 2u

static uint32_t clamp(uint32_t value, uint32_t least, uint32_t most)
{
    return MAX_OF(least, MIN_OF(value, most));
}

int fd_budget_divide(struct fd_budget *ret_budget, uint64_t limit, struct err *err)
{
    struct fd_budget budget = { .limit = (uint32_t)MIN_OF(limit, INT32_MAX) };
    uint32_t spare;

    if (budget.limit < FD_LEAST)
        return err_set(
            err, EMFILE,
            "poold needs %u file descriptors and may have %u: raise its limit (ulimit -n, "
            "LimitNOFILE= of a service)",
            FD_LEAST, budget.limit);
    spare = budget.limit - FD_FIXED;
    budget.connections_all = MIN_OF(spare * 3ull / 8 / FD_CONNECTION, CONNECTIONS_MAX);
    budget.connections_kept =
        clamp(budget.connections_all / 8, CONNECTIONS_KEPT_LEAST, CONNECTIONS_KEPT_MOST);
    budget.folders = clamp(spare / 8 / FD_FOLDER, FOLDERS_LEAST, FOLDERS_MOST);
    budget.vms = spare - FD_CONNECTION * budget.connections_all - FD_FOLDER * budget.folders;
    *ret_budget = budget;
    return 0;
}

int fd_budget_init(struct fd_budget *ret_budget, struct err *err)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return err_set_errno(err, errno, "can't tell how many file descriptors poold may have");
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
            return err_set_errno(err, errno, "can't raise the number of file descriptors");
    }
    return fd_budget_divide(ret_budget, limit.rlim_cur, err);
}

uint32_t fd_budget_of_vms(const struct fd_budget *budget, uint32_t pool_count)
{
    const uint64_t pools = (uint64_t)pool_count * FD_POOL;

    return pools >= budget->vms ? 0 : budget->vms - (uint32_t)pools;
}

bool fd_budget_has_pool(const struct fd_budget *budget, uint32_t pool_count, uint32_t staying)
{
    const uint64_t one_each = (pool_count + 1ull) * (FD_VM + FD_VM_GATE);

    return fd_budget_of_vms(budget, pool_count + 1) >= MAX_OF(one_each, staying);
}
