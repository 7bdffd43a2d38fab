/* SPDX-License-Identifier: Apache-2.0 */
/* What poold's configuration says of clients' leases (settings.c). */
#ifndef VOLT_POOLD_API_SETTINGS_H
#define VOLT_POOLD_API_SETTINGS_H

#include <stdint.h>

struct api_settings {
    /* Of one user who is no administrator. */
    uint32_t leases_per_client, acquires_per_client;
    uint64_t lease_ttl_ms;          /* of leases whose client asks for none */
    uint64_t memory_per_client_mib; /* of leases; 0: no limit */
    uint64_t volumes_per_client_mib;
};

#endif
