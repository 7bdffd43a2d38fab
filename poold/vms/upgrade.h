/* SPDX-License-Identifier: Apache-2.0 */
/* What poold says while it brings images and snapshots of an older format version up to date. */
#ifndef VOLT_POOLD_UPGRADE_H
#define VOLT_POOLD_UPGRADE_H

#include <stdint.h>

#include "snapshot/upgrade_log.h"

struct upgrade_talk {
    uint64_t said_ns; /* when the last line was written; 0: nothing of this one yet */
};

/* A log to hand to the stores: when one begins, every other second, and how it ended. `talk` is
 * zeroed, and must outlive the log. */
struct upgrade_log upgrade_log_of(struct upgrade_talk *talk);

#endif
