/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the family of pool commands. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/util.h"
#include "cli.h"
#include "listing.h"
#include "named.h"
#include "options.h"
#include "table.h"

#define POOLS "/v1/pools/"
#define POLL_EVERY_MS 100u
#define CREATE_TIMEOUT_MS (30u * 60 * 1000) /* a stock kernel on a simulated CPU takes minutes */

static const struct table_column pool_columns[] = {
    { "NAME", "name", TABLE_TEXT },
    { "STATE", "state", TABLE_TEXT },
    { "MEMORY", "memory_bytes", TABLE_BYTES },
    { "VCPUS", "vcpus", TABLE_NUMBER },
    { "MIN", "min", TABLE_NUMBER },
    { "MAX", "max", TABLE_NUMBER },
    { "PARKED", "slots.parked", TABLE_NUMBER },
    { "LEASED", "slots.leased", TABLE_NUMBER },
    { "WAITING", "waiting", TABLE_NUMBER },
    { "ACQUIRES", "acquires", TABLE_NUMBER },
    { "BOOT", "cold_boot_ms", TABLE_MS },
    { "SNAPSHOT", "snapshot_ms", TABLE_MS },
};
static const struct listing pool_listing = { "/v1/pools", "pools", pool_columns,
                                             ARRAY_LEN(pool_columns) };

static const struct table_column show_columns[] = {
    { "name", "name", TABLE_TEXT },
    { "state", "state", TABLE_TEXT },
    { "error", "error", TABLE_TEXT },
    { "created", "created", TABLE_TEXT },
    { "memory", "memory_bytes", TABLE_BYTES },
    { "vCPUs", "vcpus", TABLE_NUMBER },
    { "kernel", "kernel", TABLE_TEXT },
    { "initrd", "initrd", TABLE_TEXT },
    { "command line", "cmdline", TABLE_TEXT },
    { "warm-up", "warmup", TABLE_TEXT },
    { "image", "image", TABLE_TEXT },
    { "disk", "disk", TABLE_TEXT },
    { "network", "net", TABLE_TEXT },
    { "allowed", "net_allow", TABLE_TEXT },
    { "denied", "net_deny", TABLE_TEXT },
    { "snapshot", "snapshot", TABLE_TEXT },
    { "cold boot", "cold_boot_ms", TABLE_MS },
    { "snapshot took", "snapshot_ms", TABLE_MS },
    { "min parked", "min", TABLE_NUMBER },
    { "shells wanted", "shells", TABLE_NUMBER },
    { "max VMs", "max", TABLE_NUMBER },
    { "preparing", "slots.preparing", TABLE_NUMBER },
    { "shells", "slots.shell", TABLE_NUMBER },
    { "parked", "slots.parked", TABLE_NUMBER },
    { "leased", "slots.leased", TABLE_NUMBER },
    { "stopping", "slots.stopping", TABLE_NUMBER },
    { "acquires", "acquires", TABLE_NUMBER },
    { "  with none parked", "missed", TABLE_NUMBER },
    { "waiting", "waiting", TABLE_NUMBER },
    { "refill pauses", "backoff_ms", TABLE_MS },
};

/* ---- Creating, with progress ---- */

/* On a terminal one line that is drawn again and again; else a line for each new phase. */
struct progress {
    bool is_tty;
    char phase[64]; /* the last one shown */
};

static void progress_show(struct progress *progress, json_t *pool)
{
    char phase[TABLE_CELL_BYTES], elapsed[TABLE_CELL_BYTES];
    static const struct table_column phase_column = { NULL, "progress.phase", TABLE_TEXT };
    static const struct table_column elapsed_column = { NULL, "progress.elapsed_ms", TABLE_MS };
    json_int_t percent = api_number_of(json_object_get(pool, "progress"), "percent");

    if (!json_is_object(json_object_get(pool, "progress")))
        return;
    table_cell(pool, &phase_column, phase);
    if (json_is_true(json_object_get(json_object_get(pool, "progress"), "overdue")))
        strncat(phase, ", longer than usual", sizeof phase - strlen(phase) - 1);
    table_cell(pool, &elapsed_column, elapsed);
    if (progress->is_tty)
        fprintf(stderr, "\r\033[K%s  %3d%%  %s", phase, (int)percent, elapsed);
    else if (strncmp(phase, progress->phase, sizeof progress->phase - 1) != 0)
        fprintf(stderr, "%s (%s)\n", phase, elapsed);
    snprintf(progress->phase, sizeof progress->phase, "%s", phase);
}

static void progress_end(const struct progress *progress)
{
    if (progress->is_tty && *progress->phase)
        fprintf(stderr, "\r\033[K");
}

/* Polls until the pool is ready. 0 and its object (owned), or -errno when it failed. */
static int ready_wait(struct api *api, const char *path, json_t **ret_pool, struct err *err)
{
    struct progress progress = { .is_tty = isatty(STDERR_FILENO) };
    uint64_t deadline_ns = now_ns() + CREATE_TIMEOUT_MS * NS_PER_MS;
    const struct timespec pause = { .tv_nsec = POLL_EVERY_MS * NS_PER_MS };

    for (;;) {
        _cleanup_json_ json_t *pool = NULL;
        const char *state;
        int rc = api_call(api, "GET", path, NULL, API_TIMEOUT_MS, &pool, err);

        if (rc == 0)
            rc = api_get_string(pool, "state", &state, err);
        if (rc == 0 && strcmp(state, "failed") == 0)
            rc = err_set(err, EREMOTEIO, "%s", api_text_of(pool, "error"));
        if (rc == 0 && now_ns() > deadline_ns)
            rc = err_set(err, ETIMEDOUT, "it is still %s after %u minutes", state,
                         CREATE_TIMEOUT_MS / 60000);
        if (rc < 0 || strcmp(state, "ready") == 0) {
            progress_end(&progress);
            if (rc == 0)
                *ret_pool = json_incref(pool);
            return rc;
        }
        progress_show(&progress, pool);
        nanosleep(&pause, NULL);
    }
}

#define SIZE_NOT_GIVEN UINT64_MAX

/* What the command line gives; -1, SIZE_NOT_GIVEN and NULL: not given. What is given goes to poold
 * whatever it is: the ranges are poold's. */
struct create_options {
    const char *kernel, *initrd, *cmdline, *warmup, *image, *disk, *net, *net_address, *net_vhost;
    const char *net_allow, *net_deny;
    uint64_t memory_bytes, disk_bandwidth, net_bandwidth;
    int64_t vcpus, min, max, shells, disk_iops, net_pps, cpu_weight, cpu_percent;
    bool as_json, no_wait, balloon, net_any_source;
};

#define NONE_GIVEN                                                                                 \
    {                                                                                              \
        .memory_bytes = SIZE_NOT_GIVEN, .disk_bandwidth = SIZE_NOT_GIVEN,                          \
        .net_bandwidth = SIZE_NOT_GIVEN, .vcpus = -1, .min = -1, .max = -1, .shells = -1,          \
        .disk_iops = -1, .net_pps = -1, .cpu_weight = -1, .cpu_percent = -1,                       \
    }

static int set_text(json_t *body, const char *key, const char *text, struct err *err)
{
    if (text && json_object_set_new(body, key, json_string(text)) < 0)
        return err_set(err, EINVAL, "--%s is not valid UTF-8", key);
    return 0;
}

/* poold runs in another directory: it gets whole paths. */
static int set_path(json_t *body, const char *key, const char *path, struct err *err)
{
    char whole[PATH_MAX];

    if (!path)
        return 0;
    if (strcmp(path, "auto") == 0)
        return set_text(body, key, path, err);
    if (!realpath(path, whole))
        return err_set_errno(err, errno, "--%s %s", key, path);
    return set_text(body, key, whole, err);
}

/* "PATH" or "PATH,ro". */
static int set_disk(json_t *body, const char *disk, struct err *err)
{
    char path[PATH_MAX];
    size_t len = disk ? strlen(disk) : 0;
    bool read_only = len > 3 && strcmp(disk + len - 3, ",ro") == 0;

    if (!disk)
        return 0;
    if (len >= sizeof path)
        return err_set(err, ENAMETOOLONG, "--disk: the path is too long");
    snprintf(path, sizeof path, "%.*s", (int)(read_only ? len - 3 : len), disk);
    json_object_set_new(body, "disk_read_only", json_boolean(read_only));
    return set_path(body, "disk", path, err);
}

static void set_size(json_t *body, const char *key, uint64_t bytes)
{
    if (bytes != SIZE_NOT_GIVEN)
        json_object_set_new(body, key, json_integer((json_int_t)MIN_OF(bytes, INT64_MAX)));
}

static void set_number(json_t *body, const char *key, int64_t number)
{
    if (number >= 0)
        json_object_set_new(body, key, json_integer(number));
}

/* A VM's first command takes a third longer than its next ones, as the guest's kernel has never run
 * one. In the initramfs that Volt brings there is one to run ahead; what another root has is its
 * maker's to say. */
#define WARMUP_DEFAULT "true"

static const char *warmup_command(const struct create_options *create)
{
    if (create->warmup)
        return create->warmup[0] ? create->warmup : NULL;
    return create->initrd || create->image || create->disk ? NULL : WARMUP_DEFAULT;
}

static int create_body(const char *name, const struct create_options *create, json_t **ret_body,
                       struct err *err)
{
    const struct {
        int (*set)(json_t *body, const char *key, const char *text, struct err *err);
        const char *key, *text;
    } texts[] = {
        { set_text, "name", name },
        { set_path, "kernel", create->kernel },
        { set_path, "initrd", create->initrd },
        { set_text, "cmdline", create->cmdline },
        { set_text, "warmup", warmup_command(create) },
        { set_text, "image", create->image },
        { set_text, "net", create->net },
        { set_text, "net_address", create->net_address },
        { set_text, "net_vhost", create->net_vhost },
        { set_text, "net_allow", create->net_allow },
        { set_text, "net_deny", create->net_deny },
    };
    _cleanup_json_ json_t *body = json_object();
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < ARRAY_LEN(texts); i++)
        rc = texts[i].set(body, texts[i].key, texts[i].text, err);
    if (rc == 0)
        rc = set_disk(body, create->disk, err);
    if (rc < 0)
        return rc;
    set_size(body, "memory", create->memory_bytes);
    set_size(body, "disk_bandwidth", create->disk_bandwidth);
    set_size(body, "net_bandwidth", create->net_bandwidth);
    set_number(body, "net_pps", create->net_pps);
    if (create->net_any_source)
        json_object_set_new(body, "net_any_source", json_true());
    if (create->balloon)
        json_object_set_new(body, "balloon", json_true());
    set_number(body, "disk_iops", create->disk_iops);
    set_number(body, "vcpus", create->vcpus);
    set_number(body, "cpu_weight", create->cpu_weight);
    set_number(body, "cpu_percent", create->cpu_percent);
    set_number(body, "min", create->min);
    set_number(body, "max", create->max);
    set_number(body, "shells", create->shells);
    *ret_body = json_incref(body);
    return 0;
}

/* *ret_pool is the caller's (json_decref). */
static int pool_create(const char *name, const struct create_options *create, json_t **ret_pool,
                       struct err *err)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_json_ json_t *body = NULL;
    _cleanup_json_ json_t *pool = NULL;
    _cleanup_json_ json_t *ready = NULL;
    char path[API_PATH_BYTES];
    int rc = create_body(name, create, &body, err);

    if (rc == 0)
        rc = api_init(&api, err);
    if (rc == 0)
        rc = api_path(path, err, POOLS, name, "");
    if (rc == 0)
        rc = api_call(&api, "POST", "/v1/pools", body, API_TIMEOUT_MS, &pool, err);
    if (rc == 0 && !create->no_wait)
        rc = ready_wait(&api, path, &ready, err);
    if (rc < 0)
        return rc;
    *ret_pool = json_incref(ready ? ready : pool);
    return 0;
}

static int create_and_print(const char *name, const struct create_options *create)
{
    _cleanup_json_ json_t *pool = NULL;
    struct err err;

    if (pool_create(name, create, &pool, &err) < 0) {
        err_wrap(&err, "pool %s", name);
        return cli_fail(&err);
    }
    return listing_print_one(&pool_listing, pool, create->as_json);
}

int cmd_pool_create_run(const struct cli_command *command, int argc, char **argv)
{
    struct create_options create = NONE_GIVEN;
    const struct option_spec specs[] = {
        { "memory", 'm', OPTION_SIZE, &create.memory_bytes, "SIZE", "RAM of each VM (128M)" },
        { "vcpus", 0, OPTION_NUMBER, &create.vcpus, "N", "virtual CPUs of each VM (1)" },
        { "cpu-weight", 0, OPTION_NUMBER, &create.cpu_weight, "N",
          "share of the CPUs of each VM, where everyone's is 100" },
        { "cpu-percent", 0, OPTION_NUMBER, &create.cpu_percent, "N",
          "CPU time of each VM, in percent of one CPU (no limit)" },
        { "kernel", 0, OPTION_STRING, &create.kernel, "FILE|auto",
          "vmlinux or bzImage (auto: stock on hardware KVM, else the built one)", COMPLETE_FILE },
        { "initrd", 0, OPTION_STRING, &create.initrd, "FILE", "initramfs (the one for the kernel)",
          COMPLETE_FILE },
        { "cmdline", 0, OPTION_STRING, &create.cmdline, "TEXT",
          "added to the kernel command line" },
        { "image", 0, OPTION_STRING, &create.image, "NAME",
          "root filesystem (see voltctl image build)", COMPLETE_IMAGE },
        { "disk", 0, OPTION_STRING, &create.disk, "PATH[,ro]",
          "disk /dev/vda: a file or block device; VMs write to copies of their own",
          COMPLETE_FILE },
        { "disk-bandwidth", 0, OPTION_SIZE, &create.disk_bandwidth, "SIZE",
          "bytes a second to and from each VM's disk (no limit)" },
        { "disk-iops", 0, OPTION_NUMBER, &create.disk_iops, "N",
          "operations a second of each VM's disk (no limit)" },
        { "net", 0, OPTION_STRING, &create.net, "KIND[=LINK]",
          "network card eth0: user (passt), tap, bridge=LINK, macvtap=LINK (none)" },
        { "net-address", 0, OPTION_STRING, &create.net_address, "NET/BITS",
          "where VMs' addresses are from (10.86.0.0/16)" },
        { "net-bandwidth", 0, OPTION_SIZE, &create.net_bandwidth, "SIZE",
          "bytes a second each way of each VM (no limit)" },
        { "net-pps", 0, OPTION_NUMBER, &create.net_pps, "N",
          "frames a second each way of each VM (no limit)" },
        { "net-vhost", 0, OPTION_STRING, &create.net_vhost, "auto|on|off",
          "vhost-net moves a tap's frames (auto: where it can)" },
        { "net-allow", 0, OPTION_STRING, &create.net_allow, "CIDR[:PORT][,...]",
          "what VMs reach though it is the host's own, link-local or denied" },
        { "net-deny", 0, OPTION_STRING, &create.net_deny, "CIDR[:PORT][,...]",
          "what VMs don't reach; the most specific of the two decides" },
        { "net-any-source", 0, OPTION_FLAG, &create.net_any_source, NULL,
          "VMs may send with any MAC and address, not their own alone" },
        { "balloon", 0, OPTION_FLAG, &create.balloon, NULL,
          "memory that a guest frees goes back to the host" },
        { "min", 0, OPTION_NUMBER, &create.min, "N", "VMs kept parked (2)" },
        { "max", 0, OPTION_NUMBER, &create.max, "N", "VMs in all (64)" },
        { "shells", 0, OPTION_NUMBER, &create.shells, "N",
          "processes kept ready without state (0)" },
        { "warmup", 0, OPTION_STRING, &create.warmup, "CMD",
          "run before the snapshot is taken ('" WARMUP_DEFAULT
          "' without --initrd, --image and --disk; '' for none)" },
        { "no-wait", 0, OPTION_FLAG, &create.no_wait, NULL, "do not wait until it is ready" },
        { "json", 0, OPTION_FLAG, &create.as_json, NULL, "print JSON" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1 };
    int exit_code;

    return options_parse(&options, command, argc, argv, &exit_code)
               ? create_and_print(options.positionals[0], &create)
               : exit_code;
}

/* ---- The others ---- */

int cmd_pool_list_run(const struct cli_command *command, int argc, char **argv)
{
    return listing_run(&pool_listing, command, argc, argv);
}

static void failures_print(json_t *pool)
{
    const char *reason;
    json_t *count;

    json_object_foreach(json_object_get(pool, "failures"), reason, count)
    {
        if (json_integer_value(count) > 0)
            printf("failed: %-10s  %" JSON_INTEGER_FORMAT "\n", reason, json_integer_value(count));
    }
}

int cmd_pool_show_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "GET", POOLS, "" };
    _cleanup_json_ json_t *pool = NULL;
    int exit_code;

    if (!named_ask(&request, command, argc, argv, &pool, &exit_code))
        return exit_code;
    table_print_fields(pool, show_columns, ARRAY_LEN(show_columns));
    failures_print(pool);
    return CLI_EXIT_OK;
}

int cmd_pool_scale_run(const struct cli_command *command, int argc, char **argv)
{
    int64_t min = -1, max = -1, shells = -1;
    const struct option_spec specs[] = {
        { "min", 0, OPTION_NUMBER, &min, "N", "VMs kept parked" },
        { "max", 0, OPTION_NUMBER, &max, "N", "VMs in all" },
        { "shells", 0, OPTION_NUMBER, &shells, "N", "processes kept ready without state" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1 };
    _cleanup_json_ json_t *body = json_object();
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (min < 0 && max < 0 && shells < 0)
        return cli_failf("pool scale: give at least one of --min, --max and --shells");
    set_number(body, "min", min);
    set_number(body, "max", max);
    set_number(body, "shells", shells);
    const struct named_request request = { "PATCH", POOLS, "", .body = body };
    return named_call(&request, options.positionals[0], NULL, &err) < 0 ? cli_fail(&err)
                                                                        : CLI_EXIT_OK;
}

int cmd_pool_drain_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "POST", POOLS, "/drain" };

    return named_run(&request, command, argc, argv);
}

int cmd_pool_retry_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "POST", POOLS, "/retry" };

    return named_run(&request, command, argc, argv);
}

int cmd_pool_delete_run(const struct cli_command *command, int argc, char **argv)
{
    bool force = false;
    const struct option_spec specs[] = {
        { "force", 'f', OPTION_FLAG, &force, NULL, "even while VMs of it are leased" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1 };
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    const struct named_request request = { "DELETE", POOLS, force ? "?force=1" : "" };
    return named_call(&request, options.positionals[0], NULL, &err) < 0 ? cli_fail(&err)
                                                                        : CLI_EXIT_OK;
}
