/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the table of the phases of a slot's life, and the names of states and tiers; see slot.h. */
#include "pool/slot.h"

#include <assert.h>

#include "base/util.h"

static const char *const state_names[] = {
    [SLOT_PREPARING] = "preparing", [SLOT_SHELL] = "shell",   [SLOT_PARKED] = "parked",
    [SLOT_WAKING] = "waking",       [SLOT_LEASED] = "leased", [SLOT_STOPPING] = "stopping",
    [SLOT_DEAD] = "dead",
};
static_assert(ARRAY_LEN(state_names) == SLOT_STATE_COUNT, "every state has a name");

static const char *const tier_names[] = {
    [TIER_PARKED] = "parked",
    [TIER_SHELL] = "shell",
    [TIER_COLD] = "cold",
};
static_assert(ARRAY_LEN(tier_names) == TIER_COUNT, "every tier has a name");

#define P(phase) (1u << SLOT_PHASE_##phase)
/* How any phase before those of STOPPING may end: by way of the kill queue, or (a trial, and what has
 * no process) on the spot. */
#define ENDS (P(QUEUED) | P(KILLED))
#define RULE(phase, state, to, is, expects) [SLOT_PHASE_##phase] = { SLOT_##state, to, is, expects }
#define DEMANDED (SLOT_COUNTS_WAKING | SLOT_COUNTS_DEMANDED)
#define HELD (SLOT_COUNTS_WAKING | SLOT_IS_HELD)
#define GOING (SLOT_COUNTS_WAKING | SLOT_COUNTS_GOING | SLOT_IS_READYING)
#define SETTLING (SLOT_COUNTS_REFILLING | SLOT_IS_READYING)

static const struct slot_rule rules[] = {
    RULE(NEW, PREPARING, P(CLONING) | P(RESTORING) | P(DEMANDED) | ENDS, SLOT_COUNTS_REFILLING, 0),
    RULE(CLONING, PREPARING, P(SHELL) | ENDS, SLOT_COUNTS_REFILLING, SLOT_SAYS_HELLO),
    RULE(RESTORING, PREPARING, P(SETTLING) | ENDS, SLOT_COUNTS_REFILLING, SLOT_SAYS_AWAKE),
    RULE(SETTLING, PREPARING, P(PARKING) | P(TRIAL) | ENDS, SETTLING, SLOT_SAYS_READY),
    RULE(PARKING, PREPARING, P(PARKED) | ENDS, SLOT_COUNTS_REFILLING, SLOT_SAYS_PARKED),
    RULE(TRIAL, PREPARING, ENDS, SLOT_COUNTS_REFILLING, 0),
    RULE(SHELL, SHELL, P(RESTORING) | P(DEMANDED) | ENDS, 0, 0),
    RULE(PARKED, PARKED, P(LEASING) | ENDS, 0, 0),
    RULE(DEMANDED, WAKING, P(HELD) | ENDS, DEMANDED, SLOT_SAYS_AWAKE),
    RULE(HELD, WAKING, P(GOING) | P(LEASED) | ENDS, HELD, SLOT_SAYS_READY),
    RULE(GOING, WAKING, P(LEASED) | ENDS, GOING, SLOT_SAYS_READY),
    RULE(LEASING, WAKING, P(LEASED) | ENDS, SLOT_COUNTS_WAKING, SLOT_SAYS_AWAKE),
    RULE(LEASED, LEASED, ENDS, 0, 0),
    RULE(QUEUED, STOPPING, P(FROZEN) | P(KILLED) | P(DEAD), 0, 0),
    RULE(FROZEN, STOPPING, P(KILLED) | P(DEAD), SLOT_COUNTS_FROZEN | SLOT_COUNTS_VACATED, 0),
    RULE(KILLED, STOPPING, P(DEAD), SLOT_COUNTS_DYING | SLOT_COUNTS_VACATED, 0),
    RULE(DEAD, DEAD, 0, 0, 0),
};
static_assert(ARRAY_LEN(rules) == SLOT_PHASE_COUNT, "every phase has its rule");

const struct slot_rule *slot_rule(enum slot_phase phase)
{
    return &rules[phase];
}

const char *slot_state_name(enum slot_state state)
{
    return state_names[state];
}

const char *tier_name(enum tier tier)
{
    return tier_names[tier];
}

bool slot_may_move(enum slot_state from, enum slot_state to)
{
    for (unsigned phase = 0; phase < SLOT_PHASE_COUNT && from != to; phase++) {
        if (rules[phase].state != from)
            continue;
        for (unsigned next = 0; next < SLOT_PHASE_COUNT; next++) {
            if (rules[phase].to & 1u << next && rules[next].state == to)
                return true;
        }
    }
    return false;
}
