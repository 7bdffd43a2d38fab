/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the end of poold that waits for leases; see daemon.h.
 *
 *   running --- POST /v1/shutdown {"drain": true} ---> draining --- no lease, or its time is over --->
 *   stopping, as without draining. A signal, or a shutdown without draining, has it stop at once; there
 *   is no way back. */
#include "base/log.h"
#include "daemon.h"
#include "vms/vms_life.h"

static uint32_t lease_count(const struct daemon *daemon)
{
    uint32_t count = 0;

    LIST_FOR_EACH(at, &daemon->vms.pools)
    count += list_entry(at, struct pool, node)->counts[SLOT_LEASED];
    return count;
}

void daemon_drain(struct daemon *daemon, uint64_t grace_ms)
{
    if (daemon->vms.env.stopping)
        return;
    log_info("draining: no new leases; the end comes when the last of %u is over%s",
             lease_count(daemon), grace_ms ? ", or its time" : "");
    daemon->drain_until_ns = grace_ms ? now_ns() + grace_ms * NS_PER_MS : UINT64_MAX;
    vms_drain(&daemon->vms);
    turn_arm(&daemon->turn, daemon->drain_until_ns);
    turn_schedule(&daemon->turn);
}

uint64_t daemon_drain_pump(struct daemon *daemon)
{
    if (!daemon->vms.env.draining || daemon->vms.env.stopping)
        return UINT64_MAX;
    if (lease_count(daemon) > 0 && now_ns() < daemon->drain_until_ns)
        return daemon->drain_until_ns;
    daemon_shutdown(daemon);
    return UINT64_MAX;
}
