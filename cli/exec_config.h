/* SPDX-License-Identifier: Apache-2.0 */
/* How programs of a lease's image are started: as the image's maker has said, and `docker run` and
 * `docker exec` would do it. It is as little trusted as the image: all of it goes to the guest only. */
#ifndef VOLT_CLI_EXEC_CONFIG_H
#define VOLT_CLI_EXEC_CONFIG_H

#include "api.h"
#include "exec_request.h"

/* A command and how it is started. Zeroed at first; exec_config_fini frees it. Texts are of `json`, of
 * the image's, or of what was asked for. */
struct exec_config {
    json_t *json; /* user, workdir, env, entrypoint, cmd; never NULL once got */
    char **argv;  /* owned, its texts borrowed */
    int argc;
};

/* Asks poold. 0 or -errno. */
int exec_config_get(struct exec_config *config, struct api *api, const char *lease,
                    struct err *err);

/* Sets user, directory and variables of the request, where it has none of its own. `env` is the
 * request's. */
int exec_config_apply(const struct exec_config *config, struct exec_request *request,
                      struct exec_env *env, struct err *err);

/* What `docker run` would run: the entry point, which `entrypoint` replaces unless it is NULL, and
 * behind it the request's own words, or else the image's, unless `entrypoint` is there. Makes these
 * the request's words. -EINVAL when there are none. */
int exec_config_command(struct exec_config *config, const char *entrypoint,
                        struct exec_request *request, struct err *err);

void exec_config_fini(struct exec_config *config);
#define _cleanup_exec_config_ __attribute__((cleanup(exec_config_fini)))

#endif
