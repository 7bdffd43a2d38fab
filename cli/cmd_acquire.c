/* SPDX-License-Identifier: Apache-2.0 */
/* Owns leases: the commands acquire, release, renew and ps; see lease.h. */
#include "lease.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "cli.h"
#include "listing.h"
#include "named.h"
#include "options.h"
#include "table.h"

/* poold may hear of a VM's end a moment after whoever was connected to it. */
#define END_KNOWN_MS 2000u
#define END_POLL_US 20000u
#define KEY_BYTES_MAX 128u
#define REPEAT_US 100000u

static int labels_add(json_t *body, const struct option_list *labels, struct err *err)
{
    json_t *object = json_object();

    if (labels->count)
        json_object_set(body, "labels", object);
    for (size_t i = 0; i < labels->count; i++) {
        const char *label = labels->items[i], *equals = strchr(label, '=');
        char key[64]; /* longer ones are refused by poold, too */

        if (!equals || equals == label || equals - label >= (ptrdiff_t)sizeof key) {
            json_decref(object);
            return err_set(err, EINVAL, "--label must be KEY=VALUE, not '%.80s'", label);
        }
        snprintf(key, sizeof key, "%.*s", (int)(equals - label), label);
        if (json_object_set_new(object, key, json_string(equals + 1)) < 0) {
            json_decref(object);
            return err_set(err, EINVAL, "--label '%.80s' is not valid UTF-8", label);
        }
    }
    json_decref(object);
    return 0;
}

static int request_body(const struct lease_request *request, json_t *body, struct err *err)
{
    json_object_set_new(body, "wait_ms", json_integer((json_int_t)request->wait_ms));
    if (request->pool && json_object_set_new(body, "pool", json_string(request->pool)) < 0)
        return err_set(err, EINVAL, "the pool's name is not valid UTF-8");
    if (request->ttl_set)
        json_object_set_new(body, "ttl_ms", json_integer((json_int_t)request->ttl_ms));
    if (request->publish && json_object_set_new(body, "publish", json_string(request->publish)) < 0)
        return err_set(err, EINVAL, "--publish is not valid UTF-8");
    if (request->bind)
        json_object_set_new(body, "bind", json_true());
    return labels_add(body, &request->labels, err);
}

static bool worth_repeating(int rc)
{
    return rc == -ECONNRESET || rc == -ECONNREFUSED || rc == -EPIPE || rc == -API_ERROR_PENDING;
}

/* Asks for it; again and again, if it has a key and its reply is lost: the key makes that harmless. */
static int acquire_call(struct api *api, const struct lease_request *request, json_t *body,
                        json_t **ret_lease, struct err *err)
{
    const uint64_t timeout_ms = request->wait_ms + API_TIMEOUT_MS;
    const uint64_t until_ns = now_ns() + timeout_ms * NS_PER_MS;
    char header[256];
    int rc;

    if (!request->idempotency_key)
        return api_call(api, "POST", "/v1/leases", body, timeout_ms, ret_lease, err);
    if (strlen(request->idempotency_key) > KEY_BYTES_MAX ||
        strpbrk(request->idempotency_key, "\r\n"))
        return err_set(err, EINVAL, "--idempotency-key must be 1 to %u visible characters",
                       KEY_BYTES_MAX);
    snprintf(header, sizeof header, "Idempotency-Key: %s\r\n", request->idempotency_key);
    api->client.headers = header;
    while ((rc = api_call(api, "POST", "/v1/leases", body, timeout_ms, ret_lease, err)) < 0 &&
           worth_repeating(rc) && now_ns() < until_ns)
        usleep(REPEAT_US);
    api->client.headers = NULL;
    return rc;
}

/* Else the VM, which nobody was told of, is given back. By a connection of its own: that which a lease is
 * bound to stays open if poold is killed, for the next one, and what was asked on it has no answer. */
static int volumes_take(const struct lease_request *request, const struct volume_folders *folders,
                        const char *lease, struct err *err)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    struct err ignored;
    int rc = 0;

    if (request->volumes.volumes.count + request->volumes.shares.count == 0)
        return 0;
    rc = api_init(&api, err);
    if (rc == 0)
        rc = volumes_give(&api, lease, &request->volumes, folders, request->wait_ms, err);
    if (rc < 0)
        (void)lease_release(&api, lease, true, &ignored);
    return rc;
}

int lease_acquire(struct api *api, const struct lease_request *request, json_t **ret_lease,
                  struct err *err)
{
    _cleanup_volume_folders_ struct volume_folders folders = { 0 };
    _cleanup_json_ json_t *body = json_object();
    const char *id;
    json_t *lease = NULL;
    int rc = request_body(request, body, err);

    if (rc == 0)
        rc = volumes_prepare(api, &request->volumes, &folders, err);
    if (rc == 0)
        rc = acquire_call(api, request, body, &lease, err);
    if (rc == 0)
        rc = api_get_string(lease, "lease", &id, err);
    if (rc == 0)
        rc = volumes_take(request, &folders, id, err);
    if (rc < 0) {
        json_decref(lease);
        return rc;
    }
    *ret_lease = lease;
    return 0;
}

int lease_release(struct api *api, const char *lease, bool discard, struct err *err)
{
    char path[API_PATH_BYTES];
    int rc = api_path(path, err, "/v1/leases/", lease, discard ? "?discard=1" : "");

    if (rc < 0)
        return rc;
    rc = api_call(api, "DELETE", path, NULL, VOLUME_TIMEOUT_MS, NULL, err);
    /* poold was killed over it. The next one does what is left to be done, or says that it was done. */
    if (rc == -ECONNRESET || rc == -EPIPE)
        rc = api_call(api, "DELETE", path, NULL, VOLUME_TIMEOUT_MS, NULL, err);
    return rc;
}

int lease_renew(const char *lease, uint64_t ttl_ms, struct err *err)
{
    _cleanup_json_ json_t *body = json_pack("{s:I}", "ttl_ms", (json_int_t)ttl_ms);
    const struct named_request request = { "POST", "/v1/leases/", "/renew", .body = body };

    return named_call(&request, lease, NULL, err);
}

int lease_fail(const struct err *err)
{
    cli_fail(err);
    return err->code == API_ERROR_NO_VM ? CLI_EXIT_NO_VM : CLI_EXIT_FAILURE;
}

void lease_explain(const char *lease, struct err *err)
{
    uint64_t deadline_ns = now_ns() + END_KNOWN_MS * NS_PER_MS;
    _cleanup_api_ struct api api = { .client.fd = -1 };
    char path[API_PATH_BYTES];
    struct err reason;
    int rc = api_path(path, &reason, "/v1/leases/", lease, "");

    if (rc < 0 || api_init(&api, &reason) < 0)
        return;
    do {
        rc = api_call(&api, "GET", path, NULL, API_TIMEOUT_MS, NULL, &reason);
        if (rc == 0)
            usleep(END_POLL_US);
    } while (rc == 0 && now_ns() < deadline_ns);
    if (rc < 0)
        *err = reason;
}

void lease_explain_broken(const char *lease, int rc, struct err *err)
{
    if (rc == -ENOTCONN || rc == -ECONNRESET || rc == -EPIPE)
        lease_explain(lease, err);
}

/* Prints the lease. One that nobody was told of is given back. */
static int lease_tell(struct api *api, json_t *lease, bool as_json)
{
    const char *id = api_text_of(lease, "lease");
    struct err err, release_err;

    signal(SIGPIPE, SIG_IGN); /* a reader that left must not be the end of us before that */
    if (as_json)
        api_print_json(lease);
    else
        puts(id);
    if (cli_flush(&err) == 0)
        return CLI_EXIT_OK;
    if (lease_release(api, id, true, &release_err) < 0)
        return cli_failf("%s; and lease %s could not be released: %s", err.msg, id,
                         release_err.msg);
    return cli_failf("%s; the lease was released", err.msg);
}

int cmd_acquire_run(const struct cli_command *command, int argc, char **argv)
{
    _cleanup_lease_request_ struct lease_request request = { .ttl_ms = UINT64_MAX };
    bool as_json = false;
    const struct option_spec specs[] = {
        { "wait", 0, OPTION_DURATION, &request.wait_ms, "TIME",
          "queue for a VM that long (default 0: fail at once)" },
        { "ttl", 0, OPTION_DURATION, &request.ttl_ms, "TIME",
          "the lease ends by itself after that (0: never; default 10m, and again while an exec, cp "
          "or console is open)" },
        { "publish", 'p', OPTION_STRING, &request.publish, "[ADDR:]HOST:GUEST[/udp][,...]",
          "forward ports of the host to the VM's, in a pool with --net user" },
        LEASE_LABEL_SPEC(&request),
        VOLUME_SPECS(&request.volumes),
        { "idempotency-key", 0, OPTION_STRING, &request.idempotency_key, "KEY",
          "of requests with the same KEY one gets a lease, and all are told of it" },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "print the whole lease, with its timings" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_max = 1 };
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_json_ json_t *lease = NULL;
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    request.pool = options.positional_count ? options.positionals[0] : NULL;
    request.ttl_set = request.ttl_ms != UINT64_MAX;
    if (api_init(&api, &err) < 0 || lease_acquire(&api, &request, &lease, &err) < 0)
        return lease_fail(&err);
    return lease_tell(&api, lease, as_json);
}

static int release_all(struct api *api)
{
    struct err err;
    _cleanup_json_ json_t *json = NULL;

    if (api_call(api, "DELETE", "/v1/leases", NULL, API_TIMEOUT_MS, &json, &err) < 0)
        return cli_fail(&err);
    printf("released %" JSON_INTEGER_FORMAT "\n", api_number_of(json, "released"));
    return CLI_EXIT_OK;
}

int cmd_release_run(const struct cli_command *command, int argc, char **argv)
{
    bool all = false, discard = false;
    const struct option_spec specs[] = {
        { "all", 'a', OPTION_FLAG, &all, NULL, "release every lease of yours" },
        { "discard", 0, OPTION_FLAG, &discard, NULL, "throw away what it wrote to volumes" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_max = 1 };
    _cleanup_api_ struct api api = { .client.fd = -1 };
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (all == (options.positional_count == 1))
        return cli_failf("release: give either a lease or --all");
    if (api_init(&api, &err) < 0)
        return cli_fail(&err);
    if (all)
        return release_all(&api);
    if (lease_release(&api, options.positionals[0], discard, &err) < 0)
        return cli_fail(&err);
    return CLI_EXIT_OK;
}

int cmd_renew_run(const struct cli_command *command, int argc, char **argv)
{
    uint64_t ttl_ms = 600000;
    const struct option_spec specs[] = {
        { "ttl", 0, OPTION_DURATION, &ttl_ms, "TIME",
          "from now on, whatever is open then (default 10m; 0: never ends by itself)" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1 };
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    return lease_renew(options.positionals[0], ttl_ms, &err) < 0 ? cli_fail(&err) : CLI_EXIT_OK;
}

static const struct table_column ps_columns[] = {
    { "LEASE", "lease", TABLE_TEXT },         { "POOL", "pool", TABLE_TEXT },
    { "HOSTNAME", "hostname", TABLE_TEXT },   { "TIER", "tier", TABLE_TEXT },
    { "PID", "pid", TABLE_NUMBER },           { "AGE", "age_ms", TABLE_MS },
    { "EXPIRES", "expires_in_ms", TABLE_MS }, { "ACQUIRE", "timings_us.total", TABLE_US },
    { "LABELS", "labels", TABLE_PAIRS },
};

int cmd_ps_run(const struct cli_command *command, int argc, char **argv)
{
    const char *label = NULL;
    const struct option_spec specs[] = {
        { "label", 'l', OPTION_STRING, &label, "K=V",
          "only leases that were labelled so; K alone: whatever its value" },
    };
    const struct listing listing = { "/v1/leases",     "leases",
                                     ps_columns,       ARRAY_LEN(ps_columns),
                                     .specs = specs,   .spec_count = ARRAY_LEN(specs),
                                     .query = "label", .query_value = &label };

    return listing_run(&listing, command, argc, argv);
}
