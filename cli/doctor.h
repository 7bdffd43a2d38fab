/* SPDX-License-Identifier: Apache-2.0 */
/* What `voltctl doctor` finds out about this host, one finding at a time. */
#ifndef VOLT_CLI_DOCTOR_H
#define VOLT_CLI_DOCTOR_H

#include <jansson.h>

enum doctor_level {
    DOCTOR_OK,      /* as it should be */
    DOCTOR_INFO,    /* worth knowing */
    DOCTOR_WARNING, /* works, but less well */
    DOCTOR_ERROR,   /* VMs cannot run until it is put right */
    DOCTOR_LEVEL_COUNT,
};

struct doctor {
    json_t *findings; /* of {"check", "level", "found", "advice"} */
    unsigned counts[DOCTOR_LEVEL_COUNT];
};

/* Adds a finding; `advice` says what to do, "" for nothing. */
void doctor_add(struct doctor *doctor, const char *check, enum doctor_level level,
                const char *advice, const char *found_fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* All about /dev/kvm: opens, version, capabilities, hardware or software. */
void doctor_check_kvm(struct doctor *doctor);

#endif
