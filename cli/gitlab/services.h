/* SPDX-License-Identifier: Apache-2.0 */
/* The services beside a job: each a VM of its own on the network of the job's, whose name the job's
 * VM knows. */
#ifndef VOLT_CLI_GITLAB_SERVICES_H
#define VOLT_CLI_GITLAB_SERVICES_H

#include "job.h"

/* Starts in each service's VM what it says or its image does (job_service_words; neither: what its pool's
 * snapshot runs already is all), and adds "ADDRESS NAMES" to /etc/hosts of the job's VM. vms->leases[1...] are
 * theirs, in their order. 0, or -errno with a sentence that names the service. */
int services_start(const struct job_vms *vms, json_t *services, struct err *err);

/* Runs a command in a lease as root, without input; its output is ours. 0, -EREMOTEIO with a sentence when
 * it exits with anything but 0, or -errno. */
int services_exec(const char *lease, char *const *argv, struct err *err);

#endif
