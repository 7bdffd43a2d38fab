/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what limits acquires beside their pools; see limits.h. */
#include "api/limits.h"

#include <stdio.h>

#include "api/leases.h"
#include "base/util.h"

bool limits_allow(struct http_request *request, const struct pool *pool)
{
    const struct api_settings *settings = api_of(request)->settings;
    const struct peer *peer = &request->connection->peer;
    const struct access_rule *rule = peer->rule;
    const uint32_t leases_max = rule && rule->leases ? rule->leases : settings->leases_per_client;
    const uint64_t memory_mib =
        rule && rule->memory_mib ? rule->memory_mib : settings->memory_per_client_mib;

    if (peer->rights & RIGHT_ADMIN)
        return true;
    if (peer->client->acquires >= settings->acquires_per_client) {
        http_reply_error(request, API_TOO_MANY, "%u of your acquires wait already",
                         peer->client->acquires);
        return false;
    }
    /* Acquires that wait count as leases. */
    struct pool_room room = leases_of_user(api_of(request)->vms, peer->uid);
    room.vms += peer->client->acquires;
    room.bytes += peer->client->acquire_bytes + pool->vm_bytes;
    if (room.vms >= leases_max) {
        http_reply_error(request, API_TOO_MANY, "you may have %u leases; release some", leases_max);
        return false;
    }
    if (memory_mib && room.bytes > MIB(memory_mib)) {
        http_reply_error(request, API_TOO_MANY,
                         "you may have leases with %llu MiB of memory in all, and this one "
                         "has %llu; release some",
                         (unsigned long long)memory_mib,
                         (unsigned long long)(pool->vm_bytes >> 20));
        return false;
    }
    return true;
}

void limits_tell_room(const struct api *api, const struct pool *pool, char *ret_text, size_t bytes)
{
    const struct vms *vms = api->vms;

    switch (pool_room_lack(pool)) {
    case POOL_LACKS_BYTES:
        snprintf(ret_text, bytes,
                 "all VMs together may have %llu MiB of memory (max-memory-mib), and one of "
                 "pool '%s' has %llu; wait until others release theirs",
                 (unsigned long long)vms->settings->memory_max_mib, pool->name,
                 (unsigned long long)(pool->vm_bytes >> 20));
        return;
    case POOL_LACKS_FDS:
        snprintf(ret_text, bytes,
                 "there are as many VMs, %u, as poold's limit of descriptors allows: all VMs may "
                 "have %u, and one of pool '%s' has %u; wait until others release theirs",
                 vms->env.made.vms, vms->env.room.fds, pool->name, pool->vm_fds);
        return;
    default:
        snprintf(ret_text, bytes,
                 "there are as many VMs as all pools together may have, %u (max-vms); wait until "
                 "others release theirs",
                 vms->env.room.vms);
    }
}
