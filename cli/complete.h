/* SPDX-License-Identifier: Apache-2.0 */
/* What a word of the command line may be, for the completion of shells. */
#ifndef VOLT_CLI_COMPLETE_H
#define VOLT_CLI_COMPLETE_H

enum complete {
    COMPLETE_NOTHING, /* nobody knows */
    COMPLETE_FILE,
    COMPLETE_POOL, /* a name that `voltctl names` lists, from here on */
    COMPLETE_LEASE,
    COMPLETE_IMAGE,
    COMPLETE_SNAPSHOT,
    COMPLETE_VOLUME,
    COMPLETE_COUNT,
};

/* "file", "pools", "leases" ...; "" for nothing. */
const char *complete_name(enum complete complete);

#endif
