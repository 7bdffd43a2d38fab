/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the names of leases' ends, and which failure leads to which; see lease_end.h. */
#include "pool/lease_end.h"

#include <assert.h>

#include "base/util.h"

static const struct end_row {
    const char *name, *sentence;
} rows[] = {
#define X(name, code, sentence) [name] = { code, sentence },
    LEASE_END_MAP(X)
#undef X
};
static_assert(ARRAY_LEN(rows) == LEASE_END_COUNT, "every end has a row");

/* The others are the VM's process's. */
static const struct failure_row {
    enum failure failure;
    enum lease_end end;
} failures[] = {
    { FAILURE_POWEROFF, LEASE_END_GUEST_POWEROFF },
    { FAILURE_TRIPLE_FAULT, LEASE_END_GUEST_CRASHED },
    { FAILURE_INTERNAL_ERROR, LEASE_END_GUEST_CRASHED },
    { FAILURE_ENTRY_FAILED, LEASE_END_GUEST_CRASHED },
    { FAILURE_BAD_ANSWER, LEASE_END_GUEST_CRASHED },
    { FAILURE_GUEST_MISBEHAVED, LEASE_END_GUEST_CRASHED },
    { FAILURE_NETWORK, LEASE_END_NETWORK_LOST },
    { FAILURE_OUT_OF_MEMORY, LEASE_END_OUT_OF_MEMORY },
    { FAILURE_TEMPLATE, LEASE_END_TEMPLATE_DIED },
    { FAILURE_HOST_MEMORY, LEASE_END_HOST_MEMORY },
};

const char *lease_end_name(enum lease_end end)
{
    return rows[end].name;
}

const char *lease_end_sentence(enum lease_end end)
{
    return rows[end].sentence;
}

enum lease_end lease_end_of(enum failure failure)
{
    for (unsigned i = 0; i < ARRAY_LEN(failures); i++) {
        if (failures[i].failure == failure)
            return failures[i].end;
    }
    return LEASE_END_VM_FAILED;
}
