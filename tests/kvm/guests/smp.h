/* SPDX-License-Identifier: Apache-2.0 */
/* What the guest program smp.c and its test share: a counter for each vCPU, by index. */
#ifndef VOLT_TESTS_SMP_H
#define VOLT_TESTS_SMP_H

#include <stdint.h>

#define SMP_COUNTERS_GPA 0x90000ul

struct smp_counter {
    uint64_t rounds, wrong;
    uint64_t apart[6]; /* a cache line each */
};

#endif
