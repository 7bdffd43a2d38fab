/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the start of services, and how a job's VM finds them; see services.h. */
#include "services.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "base/util.h"
#include "exec_config.h"
#include "exec_lease.h"

/* In the background, with an end of its own: it outlives the call that starts it. */
#define START_SCRIPT                                                                               \
    "command -v -- \"$1\" >/dev/null || { echo \"there is no program '$1' in it\" >&2; exit 127; " \
    "}; "                                                                                          \
    "setsid \"$@\" </dev/null >/tmp/volt-service.log 2>&1 &"
#define HOSTS_SCRIPT "printf '%s\\n' \"$1\" >>/etc/hosts"

/* Runs a command to its end; what it is started with is the request's own. */
static int run(struct api *api, const char *lease, struct exec_request *request, struct err *err)
{
    int exit_code;
    int rc = exec_lease_run(api, lease, request, &exit_code, err);

    if (rc == 0 && exit_code)
        rc = err_set(err, EREMOTEIO, "'%s' ended with %d", request->argv[0], exit_code);
    return rc;
}

int services_exec(const char *lease, char *const *argv, struct err *err)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_exec_env_ struct exec_env env = { 0 };
    struct exec_request request = { .argv = (char **)(uintptr_t)argv, .env = &env };

    while (argv[request.argc])
        request.argc++;
    return api_init(&api, err) < 0 ? -err->code : run(&api, lease, &request, err);
}

/* Starts what it says or what its image does, as the user, in the directory and with the variables that
 * the image says. */
static int service_program_start(const char *lease, const json_t *service, struct err *err)
{
    static const char *const start[] = { "/bin/sh", "-c", START_SCRIPT, "sh" };
    _cleanup_exec_config_ struct exec_config image = { 0 };
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_exec_env_ struct exec_env env = { 0 };
    const char *argv[ARRAY_LEN(start) + JOB_WORDS_MAX];
    struct exec_request request = { .argv = (char **)(uintptr_t)argv, .env = &env };
    unsigned count = 0;
    int rc = api_init(&api, err);

    memcpy(argv, start, sizeof start);
    if (rc == 0)
        rc = exec_config_get(&image, &api, lease, err);
    if (rc == 0)
        rc = job_service_words(service, image.json, argv + ARRAY_LEN(start), &count, err);
    if (rc < 0 || count == 0)
        return rc;
    request.argc = (int)(ARRAY_LEN(start) + count);
    rc = exec_config_apply(&image, &request, &env, err);
    return rc == 0 ? run(&api, lease, &request, err) : rc;
}

/* The address of a lease's VM, without its prefix; freed by the caller. */
static int address_of(const char *lease, char **ret_address, struct err *err)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_json_ json_t *json = NULL;
    char path[API_PATH_BYTES];
    int rc = api_path(path, err, "/v1/leases/", lease, "");

    if (rc == 0)
        rc = api_init(&api, err);
    if (rc == 0)
        rc = api_call(&api, "GET", path, NULL, API_TIMEOUT_MS, &json, err);
    if (rc < 0)
        return rc;
    const char *address =
        json_string_value(json_object_get(json_object_get(json, "network"), "address"));
    if (!address)
        return err_set(err, ENOTCONN,
                       "its pool '%s' has no network: services need pools on one bridge "
                       "(voltctl pool create NAME --net bridge=LINK)",
                       api_text_of(json, "pool"));
    *ret_address = strndup(address, strcspn(address, "/"));
    return *ret_address ? 0 : err_set(err, ENOMEM, "out of memory");
}

static int service_name_tell(const struct job_vms *vms, size_t i, json_t *service, struct err *err)
{
    char shell[] = "/bin/sh", option[] = "-c", script[] = HOSTS_SCRIPT, name[] = "sh";
    _cleanup_free_ char *address = NULL, *names = job_service_names(service), *line = NULL;
    int rc = address_of(vms->leases[i], &address, err);

    if (rc < 0)
        return rc;
    if (!names || asprintf(&line, "%s%s", address, names) < 0) {
        line = NULL;
        return err_set(err, ENOMEM, "out of memory");
    }
    if (!*names)
        return err_set(err, EINVAL, "it has no name that a host may have: give it an alias");
    printf("volt: service %s is at %s\n", names + 1, address);
    fflush(stdout);
    return services_exec(vms->leases[0], (char *[]){ shell, option, script, name, line, NULL },
                         err);
}

int services_start(const struct job_vms *vms, json_t *services, struct err *err)
{
    for (size_t i = 0; i < json_array_size(services); i++) {
        json_t *service = json_array_get(services, i);
        int rc = 0;

        if (i + 1 >= vms->count)
            return err_set(err, EINVAL, "there are more services than VMs for them");
        rc = service_program_start(vms->leases[i + 1], service, err);
        if (rc == 0)
            rc = service_name_tell(vms, i + 1, service, err);
        if (rc < 0)
            return err_wrap(err, "service '%s'",
                            json_string_value(json_object_get(service, "name")));
    }
    return 0;
}
