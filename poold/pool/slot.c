/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the table of moves of a slot's life, and the names of states and tiers; see slot.h. */
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

#define TO(state) (1u << (state))

static const uint8_t moves[SLOT_STATE_COUNT] = {
    /* A cold clone made for an acquire is WAKING from the start: PREPARING is left at once. */
    [SLOT_PREPARING] = TO(SLOT_SHELL) | TO(SLOT_PARKED) | TO(SLOT_WAKING) | TO(SLOT_STOPPING),
    [SLOT_SHELL] = TO(SLOT_PREPARING) | TO(SLOT_WAKING) | TO(SLOT_STOPPING),
    [SLOT_PARKED] = TO(SLOT_WAKING) | TO(SLOT_STOPPING),
    [SLOT_WAKING] = TO(SLOT_LEASED) | TO(SLOT_STOPPING),
    [SLOT_LEASED] = TO(SLOT_STOPPING),
    [SLOT_STOPPING] = TO(SLOT_DEAD),
    [SLOT_DEAD] = 0,
};

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
    return moves[from] & TO(to);
}
