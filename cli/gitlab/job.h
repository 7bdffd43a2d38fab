/* SPDX-License-Identifier: Apache-2.0 */
/* A job of GitLab's runner as its custom executor tells of it: in the environment.
 *
 * The runner calls us once for each stage, with nothing of our own in common between the calls but
 * `job_env`, which our answer to `config` names and which the later stages get as variables. The
 * leases are in it, so nothing is stored on the host, and a job, which may set any CUSTOM_ENV_
 * variable, can't name another job's VM.
 *
 * Contract: GitLab Runner, "The Custom executor" (docs/executors/custom).
 */
#ifndef VOLT_CLI_GITLAB_JOB_H
#define VOLT_CLI_GITLAB_JOB_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "exec_env.h"
#include "options.h"

#define JOB_LEASE_VARIABLE "VOLT_GITLAB_LEASE"
#define JOB_SERVICES_VARIABLE "VOLT_GITLAB_SERVICES" /* leases, a blank between them */
#define JOB_SERVICES_MAX 16

/* The VMs of a job. */
struct job_vms {
    char *text;                               /* of what the names point into; owned */
    const char *leases[1 + JOB_SERVICES_MAX]; /* the job's own first */
    size_t count;
};

/* From the variables of a stage behind `config`. -EINVAL with a sentence when they aren't there. */
int job_vms_read(struct job_vms *vms, struct err *err);
void job_vms_fini(struct job_vms *vms);

/* Whether each is PATTERN=POOL. -EINVAL with a sentence. */
int job_map_check(const struct option_list *map, struct err *err);

/* The pool for an image: that of the first PATTERN=POOL (checked) whose pattern (fnmatch) it matches. An
 * empty image takes `pool` (NULL: poold's default pool, *ret_pool NULL). -ENOENT with a sentence
 * when no pattern matches. */
int job_pool_for(const struct option_list *map, const char *pool, const char *image,
                 char **ret_pool, struct err *err);

/* The services that the job asks for, as the runner's JSON array; NULL when there are none. Each is
 * an object with a name. -EINVAL with a sentence when that is not what it is. */
int job_services_read(json_t **ret_services, struct err *err);

/* The names that a service has for its job, a blank before each: its alias if it has one, else
 * what GitLab makes of its image's name. Only what a host's name may have. Freed by the caller. */
char *job_service_names(json_t *service);

#define JOB_WORDS_MAX 256

/* What a service runs, as GitLab's runner has docker run it: its own `entrypoint`, which replaces the
 * image's and its command, or the image's; and behind it its own `command`, or else the image's. image: how
 * the image's programs are started (exec_config.h). Puts *ret_count words into ret_words, borrowed from
 * both; 0 of them: nothing is to be started. -EINVAL with a sentence when they are no lists of texts. */
int job_service_words(const json_t *service, const json_t *image,
                      const char *ret_words[JOB_WORDS_MAX], unsigned *ret_count, struct err *err);

/* The job's variables, without CUSTOM_ENV_. */
int job_env_add(struct exec_env *env, struct err *err);

/* The exit code for what failed on our side (SYSTEM_FAILURE_EXIT_CODE), and for a script of the job
 * that ended with `exit_code`: that is told in BUILD_EXIT_CODE_FILE, and it is
 * BUILD_FAILURE_EXIT_CODE. */
int job_system_failure(void);
int job_build_failure(int exit_code);

#endif
