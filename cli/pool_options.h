/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line says of a pool that is to be made, alone or as a function's. */
#ifndef VOLT_CLI_POOL_OPTIONS_H
#define VOLT_CLI_POOL_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "options.h"

#define POOL_OPTION_COUNT 25
#define POOL_SIZE_NOT_GIVEN UINT64_MAX

/* A VM's first command takes a third longer than its next ones, as the guest's kernel has never run
 * one. In the initramfs that Volt brings there is one to run ahead; what another root has is its
 * maker's to say. */
#define POOL_WARMUP_DEFAULT "true"

/* What the command line gives; -1, POOL_SIZE_NOT_GIVEN and NULL: not given. What is given goes to
 * poold whatever it is: the ranges are poold's. */
struct pool_options {
    const char *kernel, *initrd, *cmdline, *warmup, *image, *disk, *net, *net_address, *net_vhost;
    const char *net_allow, *net_deny, *service;
    uint64_t memory_bytes, disk_bandwidth, net_bandwidth;
    int64_t vcpus, min, max, shells, disk_iops, net_pps, cpu_weight, cpu_percent, service_port,
        priority, volumes;
    bool balloon, net_any_source, service_gate, service_bell;
};
#define POOL_OPTIONS_NONE                                                                          \
    {                                                                                              \
        .memory_bytes = POOL_SIZE_NOT_GIVEN, .disk_bandwidth = POOL_SIZE_NOT_GIVEN,                \
        .net_bandwidth = POOL_SIZE_NOT_GIVEN, .vcpus = -1, .min = -1, .max = -1, .shells = -1,     \
        .disk_iops = -1, .net_pps = -1, .cpu_weight = -1, .cpu_percent = -1, .service_port = -1,   \
        .priority = -1, .volumes = -1,                                                             \
    }

/* The options that all have who make pools, with their values in *given. */
void pool_options_specs(struct pool_options *given,
                        struct option_spec ret_specs[POOL_OPTION_COUNT]);

/* The request's body, the caller's; with name NULL that of a pool's replacement, where what is not given
 * is as it was. 0, or -errno with a sentence. */
int pool_options_body(const struct pool_options *given, const char *name, json_t **ret_body,
                      struct err *err);

/* Sets a number that was given. */
void pool_option_number(json_t *body, const char *key, int64_t number);

#endif
