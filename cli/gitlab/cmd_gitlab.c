/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the commands gitlab config, prepare, run and cleanup: the four stages of a custom executor of
 * GitLab's runner (job.h), a VM for each job. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "base/version.h"
#include "cli.h"
#include "exec_lease.h"
#include "job.h"
#include "lease.h"
#include "lease_keeper.h"
#include "services.h"

#define TTL_MS 600000u
#define TTL_MIN_MS 3000u
#define WAIT_MS 60000u

/* As the runner feeds scripts to a container: bash where it is, else sh. */
#define SHELL_SCRIPT "if command -v bash >/dev/null 2>&1; then exec bash; else exec sh; fi"

/* Of bash, git and sh the scripts need the last one to start at all. */
#define SHELL_TEST "command -v git >/dev/null || echo 'volt: the image has no git' >&2"

static int system_fail(const struct err *err)
{
    cli_fail(err);
    return job_system_failure();
}

#define TTL_SPEC(ttl_ms)                                                                           \
    {                                                                                              \
        "ttl", 0, OPTION_DURATION, ttl_ms, "TIME",                                                 \
            "VMs end that long after the runner has died (default 10m, at least 3s)"               \
    }

/* As options_parse; wrong usage is no fault of the job's. */
static bool options_take(struct options *options, const struct cli_command *command, int argc,
                         char **argv, int *ret_exit)
{
    if (options_parse(options, command, argc, argv, ret_exit))
        return true;
    if (*ret_exit != CLI_EXIT_OK)
        *ret_exit = job_system_failure();
    return false;
}

static int ttl_check(uint64_t ttl_ms, struct err *err)
{
    return ttl_ms >= TTL_MIN_MS
               ? 0
               : err_set(err, EINVAL, "--ttl must be at least %u s", TTL_MIN_MS / 1000);
}

/* ---- config: the job gets its VMs ---- */

struct config_options {
    struct option_list images;
    const char *pool, *builds_dir, *cache_dir;
    uint64_t wait_ms, ttl_ms;
    struct volume_options volumes;
};

/* A VM for that image, whose lease is added to `leases`. volumes: that it is given; NULL: none. */
static int vm_acquire(struct api *api, const struct config_options *config, const char *image,
                      const struct volume_options *volumes, json_t *leases, struct err *err)
{
    _cleanup_free_ char *pool = NULL;
    json_t *lease = NULL;
    int rc = job_pool_for(&config->images, config->pool, image, &pool, err);

    if (rc < 0)
        return rc;
    struct lease_request request = {
        .pool = pool, .wait_ms = config->wait_ms, .ttl_ms = config->ttl_ms, .ttl_set = true
    };
    if (volumes)
        request.volumes = *volumes; /* borrowed */
    rc = lease_acquire(api, &request, &lease, err);
    if (rc < 0)
        return err_wrap(err, "pool '%s'", pool ? pool : "default");
    json_array_append_new(leases, lease);
    return 0;
}

static int vms_acquire(struct api *api, const struct config_options *config, json_t *leases,
                       struct err *err)
{
    _cleanup_json_ json_t *services = NULL;
    int rc =
        vm_acquire(api, config, getenv("CUSTOM_ENV_CI_JOB_IMAGE"), &config->volumes, leases, err);

    if (rc == 0)
        rc = job_services_read(&services, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(services); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(services, i), "name"));

        rc = vm_acquire(api, config, name, NULL, leases, err);
        if (rc < 0)
            err_wrap(err, "service '%s'", name);
    }
    return rc;
}

/* What the runner reads. NULL: out of memory. */
static json_t *config_answer(const struct config_options *config, json_t *leases)
{
    json_t *job = json_array_get(leases, 0);
    _cleanup_free_ char *services = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&services, &bytes);

    if (!out)
        return NULL;
    for (size_t i = 1; i < json_array_size(leases); i++)
        fprintf(out, "%s%s", i > 1 ? " " : "", api_text_of(json_array_get(leases, i), "lease"));
    if (fclose(out) != 0)
        return NULL;
    return json_pack("{s:s, s:s, s:b, s:s, s:{s:s, s:s}, s:{s:s, s:s}}", "builds_dir",
                     config->builds_dir, "cache_dir", config->cache_dir, "builds_dir_is_shared", 0,
                     "hostname", api_text_of(job, "hostname"), "driver", "name", "Volt", "version",
                     VOLT_VERSION, "job_env", JOB_LEASE_VARIABLE, api_text_of(job, "lease"),
                     JOB_SERVICES_VARIABLE, services);
}

/* Nobody will hear of them. */
static void vms_release(struct api *api, json_t *leases)
{
    for (size_t i = 0; i < json_array_size(leases); i++) {
        const char *lease = api_text_of(json_array_get(leases, i), "lease");
        struct err err;

        if (lease_release(api, lease, true, &err) < 0 && err.code != API_ERROR_MISSING)
            cli_failf("lease %.12s could not be released: %s", lease, err.msg);
    }
}

static int config_run(const struct config_options *config)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_json_ json_t *leases = json_array(), *answer = NULL;
    struct err err;
    int rc = ttl_check(config->ttl_ms, &err);

    if (rc == 0)
        rc = job_map_check(&config->images, &err);
    if (rc == 0)
        rc = api_init(&api, &err);
    if (rc == 0)
        rc = vms_acquire(&api, config, leases, &err);
    if (rc == 0) {
        answer = config_answer(config, leases);
        if (!answer)
            rc = err_set(&err, ENOMEM, "out of memory");
    }
    if (rc == 0) {
        api_print_json(answer);
        rc = cli_flush(&err);
    }
    if (rc == 0)
        return CLI_EXIT_OK;
    vms_release(&api, leases);
    return system_fail(&err);
}

int cmd_gitlab_config_run(const struct cli_command *command, int argc, char **argv)
{
    _cleanup_option_list_ struct option_list images = { 0 };
    struct config_options config = {
        .builds_dir = "/builds", .cache_dir = "/cache", .wait_ms = WAIT_MS, .ttl_ms = TTL_MS
    };
    const struct option_spec specs[] = {
        { "image", 0, OPTION_LIST, &images, "PATTERN=POOL",
          "jobs and services whose image matches get a VM of that pool; the first that matches" },
        { "pool", 0, OPTION_STRING, &config.pool, "POOL", "for jobs without an image (default)",
          COMPLETE_POOL },
        { "builds-dir", 0, OPTION_STRING, &config.builds_dir, "DIR", "in the VM (/builds)" },
        { "cache-dir", 0, OPTION_STRING, &config.cache_dir, "DIR", "in the VM (/cache)" },
        { "wait", 0, OPTION_DURATION, &config.wait_ms, "TIME",
          "queue for a VM, and for a volume that another job writes, that long (default 1m)" },
        VOLUME_SPECS(&config.volumes),
        TTL_SPEC(&config.ttl_ms),
    };
    struct options options = { specs, ARRAY_LEN(specs) };
    int exit_code;

    if (!options_take(&options, command, argc, argv, &exit_code)) {
        volume_options_fini(&config.volumes);
        return exit_code;
    }
    config.images = images;
    exit_code = config_run(&config);
    volume_options_fini(&config.volumes);
    return exit_code;
}

/* ---- The stages that have VMs ---- */

/* What a stage does with them. 0, with the exit code of the job's script; or -errno. */
typedef int (*stage_fn)(const struct job_vms *vms, const struct options *options, int *ret_exit,
                        struct err *err);

/* While it does it, its VMs are kept alive. */
static int stage_work(stage_fn work, const struct options *options, uint64_t ttl_ms, int *ret_exit,
                      struct err *err)
{
    struct lease_keeper keeper;
    struct job_vms vms;
    int rc = ttl_check(ttl_ms, err);

    if (rc == 0)
        rc = job_vms_read(&vms, err);
    if (rc < 0)
        return rc;
    rc = lease_keeper_start(&keeper, vms.leases, vms.count, ttl_ms, err);
    if (rc == 0) {
        rc = work(&vms, options, ret_exit, err);
        lease_keeper_stop(&keeper);
    }
    job_vms_fini(&vms);
    return rc;
}

static int stage_run(stage_fn work, size_t words, const struct cli_command *command, int argc,
                     char **argv)
{
    uint64_t ttl_ms = TTL_MS;
    const struct option_spec specs[] = { TTL_SPEC(&ttl_ms) };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = words,
                               .positional_max = words };
    int exit_code = CLI_EXIT_OK;
    struct err err;

    if (!options_take(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (stage_work(work, &options, ttl_ms, &exit_code, &err) < 0)
        return system_fail(&err);
    return exit_code ? job_build_failure(exit_code) : CLI_EXIT_OK;
}

static int prepare(const struct job_vms *vms, const struct options *options, int *ret_exit,
                   struct err *err)
{
    char shell[] = "/bin/sh", option[] = "-c", script[] = SHELL_TEST;
    _cleanup_json_ json_t *services = NULL;

    (void)options, (void)ret_exit;
    printf("volt: this job has a VM of its own, lease %.12s\n", vms->leases[0]);
    fflush(stdout);
    int rc = services_exec(vms->leases[0], (char *[]){ shell, option, script, NULL }, err);
    if (rc < 0)
        return err_wrap(err, "the job's VM cannot run scripts");
    rc = job_services_read(&services, err);
    return rc == 0 ? services_start(vms, services, err) : rc;
}

int cmd_gitlab_prepare_run(const struct cli_command *command, int argc, char **argv)
{
    return stage_run(prepare, 0, command, argc, argv);
}

/* Runs a script of the job; it comes in by our standard input. */
static int script_run(const struct job_vms *vms, const struct options *options, int *ret_exit,
                      struct err *err)
{
    const char *path = options->positionals[0], *stage = options->positionals[1];
    char shell[] = "/bin/sh", option[] = "-c", script[] = SHELL_SCRIPT;
    char *argv[] = { shell, option, script, NULL };
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_exec_env_ struct exec_env env = { 0 };
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct exec_request request = {
        .argc = 3, .argv = argv, .env = &env, .kill_after_ms = 10000, .interactive = true
    };
    int rc;

    if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
        return err_set_errno(err, errno, "the script %s", path);
    rc = job_env_add(&env, err);
    if (rc == 0)
        rc = api_init(&api, err);
    if (rc == 0)
        rc = exec_lease_run_in_image(&api, vms->leases[0], &request, &env, ret_exit, err);
    return rc < 0 ? err_wrap(err, "stage %s", stage) : 0;
}

int cmd_gitlab_run_run(const struct cli_command *command, int argc, char **argv)
{
    return stage_run(script_run, 2, command, argc, argv);
}

/* ---- cleanup ---- */

/* A lease that has ended is what is wanted. What can't be kept of its volumes does not keep the VM. */
static int vm_give_back(struct api *api, const char *lease, struct err *err)
{
    struct err ignored;
    int rc = lease_release(api, lease, false, err);

    if (rc == 0 || rc == -API_ERROR_MISSING)
        return 0;
    (void)lease_release(api, lease, true, &ignored);
    return rc;
}

/* All are tried. */
int cmd_gitlab_cleanup_run(const struct cli_command *command, int argc, char **argv)
{
    struct options options = { NULL, 0 };
    _cleanup_api_ struct api api = { .client.fd = -1 };
    int exit_code = CLI_EXIT_OK;
    struct job_vms vms;
    struct err err;

    if (!options_take(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (job_vms_read(&vms, &err) < 0)
        return system_fail(&err);
    if (api_init(&api, &err) < 0)
        exit_code = system_fail(&err);
    for (size_t i = 0; api.client.fd >= 0 && i < vms.count; i++)
        if (vm_give_back(&api, vms.leases[i], &err) < 0)
            exit_code = system_fail(&err);
    job_vms_fini(&vms);
    return exit_code;
}
