/* SPDX-License-Identifier: Apache-2.0 */
/* What each layer of the sandbox costs to set up: the parts of suite `security`'s sum. */
#ifndef VOLT_BENCH_LAYER_COSTS_H
#define VOLT_BENCH_LAYER_COSTS_H

#include "base/err.h"
#include "samples.h"

/* In the order in which they are set up. */
enum layer_cost {
    /* once for a template, or a VM that boots */
    LAYER_COST_CLOSE_FDS,
    LAYER_COST_NAMESPACES,
    LAYER_COST_EMPTY_ROOT,
    LAYER_COST_LIMITS,
    LAYER_COST_LANDLOCK,
    LAYER_COST_CAPABILITIES,
    LAYER_COST_TEMPLATE_FILTER,
    /* for each VM */
    LAYER_COST_ENTER_VM, /* directory, Landlock, uid, capabilities; without a cgroup */
    LAYER_COST_DEVICE_FILTER,
    LAYER_COST_VCPU_FILTER,
    /* for each system call: 1,000 of them, under template and vCPU filter; and without any */
    LAYER_COST_1000_IOCTLS,
    LAYER_COST_1000_IOCTLS_UNFILTERED,
    LAYER_COST_COUNT,
};

extern const char *const layer_cost_names[LAYER_COST_COUNT];

/* Enters the sandbox `runs` times, each in a process of its own that does nothing else, and adds
 * one sample in ns per run and layer. As root each VM gets an own uid and root directory, as a user
 * neither. 0 or -errno. */
int layer_costs_measure(unsigned runs, struct samples ret_ns[LAYER_COST_COUNT], struct err *err);

#endif
