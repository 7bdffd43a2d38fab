/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the calls about poold itself: version, status, shutdown, metrics. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api.h"
#include "base/json_text.h"
#include "base/version.h"
#include "log.h"
#include "reload.h"

static json_t *version_json(void)
{
    return json_pack("{s:o, s:i, s:i}", "version", json_text(VOLT_VERSION), "api", 1,
                     "control_protocol", (int)CONTROL_VERSION);
}

void api_version(struct http_request *request)
{
    http_reply_json(request, MHD_HTTP_OK, version_json());
}

void api_status(struct http_request *request)
{
    struct daemon *daemon = request->daemon;
    uint32_t vms = 0, leases = 0;

    LIST_FOR_EACH(at, &daemon->pools)
    {
        const struct pool *pool = list_entry(at, struct pool, node);

        vms += pool_vm_count(pool);
        leases += pool->counts[SLOT_LEASED];
    }
    http_reply_json(request, MHD_HTTP_OK,
                    json_pack("{s:o, s:i, s:I, s:{s:o, s:o}, s:i, s:i, s:i, s:o, s:o, s:o, s:b}",
                              "version", json_text(VOLT_VERSION), "pid", (int)getpid(), "uptime_ms",
                              (json_int_t)((now_ns() - daemon->started_ns) / NS_PER_MS), "kvm",
                              "kind", json_text(daemon->kvm_kind), "path", json_text("/dev/kvm"),
                              "pools", (int)daemon->pool_count, "leases", (int)leases, "vms",
                              (int)vms, "run_dir", json_text(daemon->config.run_dir), "state_dir",
                              json_text(daemon->config.state_dir), "log", json_text(log_target()),
                              "unsafe", (int)daemon->config.skip_guest_work));
}

/* A text's lines, each of them ended. */
static json_t *lines_json(const char *text)
{
    json_t *array = json_array();

    for (size_t bytes; *text; text += bytes + 1) {
        char line[512];

        bytes = strcspn(text, "\n");
        snprintf(line, sizeof line, "%.*s", (int)bytes, text);
        json_array_append_new(array, json_text(line));
    }
    return array;
}

static void on_reloaded(void *data, const struct err *err, const char *notes)
{
    struct http_request *request = data;

    if (!err)
        http_reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "notes", lines_json(notes)));
    else if (err->code == ESHUTDOWN)
        http_reply_error(request, API_SHUTTING_DOWN, "%s", err->msg);
    else
        http_reply_error(request, API_BAD_REQUEST, "%s; nothing was changed", err->msg);
}

void api_reload(struct http_request *request)
{
    daemon_reload(request->daemon, on_reloaded, request);
}

void api_shutdown(struct http_request *request)
{
    struct daemon *daemon = request->daemon;

    http_reply_json(request, MHD_HTTP_ACCEPTED, json_pack("{s:o}", "state", json_text("stopping")));
    daemon_shutdown(daemon);
}

static void pools_print(const struct daemon *daemon, FILE *out)
{
    fputs("# HELP volt_pool_vms VMs of a pool by the state of their slots.\n"
          "# TYPE volt_pool_vms gauge\n",
          out);
    LIST_FOR_EACH(at, &daemon->pools)
    {
        const struct pool *pool = list_entry(at, struct pool, node);

        for (unsigned i = 0; i < SLOT_DEAD; i++)
            fprintf(out, "volt_pool_vms{pool=\"%s\",state=\"%s\"} %u\n", pool->name,
                    slot_state_name((enum slot_state)i), pool->counts[i]);
    }
    fputs("# HELP volt_pool_waiting Acquires that wait.\n# TYPE volt_pool_waiting gauge\n", out);
    LIST_FOR_EACH(at, &daemon->pools)
    {
        const struct pool *pool = list_entry(at, struct pool, node);

        fprintf(out, "volt_pool_waiting{pool=\"%s\"} %u\n", pool->name, pool->waiting);
    }
}

static void counters_print(const struct daemon *daemon, FILE *out)
{
    static const struct counter_row {
        const char *name, *help;
        size_t offset;
    } rows[] = {
        { "volt_pool_acquires_total", "Leases given.", offsetof(struct pool_counters, acquires) },
        { "volt_pool_missed_total", "Acquires that found no parked VM.",
          offsetof(struct pool_counters, missed) },
        { "volt_restores_total", "Restores that reached READY.",
          offsetof(struct pool_counters, restores) },
    };

    for (unsigned r = 0; r < ARRAY_LEN(rows); r++) {
        fprintf(out, "# HELP %s %s\n# TYPE %s counter\n", rows[r].name, rows[r].help, rows[r].name);
        LIST_FOR_EACH(at, &daemon->pools)
        {
            const struct pool *pool = list_entry(at, struct pool, node);
            uint64_t value;

            memcpy(&value, (const char *)&pool->counters + rows[r].offset, sizeof value);
            fprintf(out, "%s{pool=\"%s\"} %" PRIu64 "\n", rows[r].name, pool->name, value);
        }
    }
    fputs("# HELP volt_failures_total VMs discarded, by reason.\n"
          "# TYPE volt_failures_total counter\n",
          out);
    LIST_FOR_EACH(at, &daemon->pools)
    {
        const struct pool *pool = list_entry(at, struct pool, node);

        for (unsigned i = 0; i < FAILURE_COUNT; i++)
            fprintf(out, "volt_failures_total{pool=\"%s\",reason=\"%s\"} %" PRIu64 "\n", pool->name,
                    failure_name((enum failure)i), pool->counters.failures[i]);
    }
}

static const char *result_label(unsigned result)
{
    return acquire_result_name((enum acquire_result)result);
}

void api_metrics(struct http_request *request)
{
    _cleanup_free_ char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);

    if (out) {
        pools_print(request->daemon, out);
        counters_print(request->daemon, out);
        metrics_print(&request->daemon->metrics, out, result_label, ACQUIRE_RESULT_COUNT);
        fclose(out);
    }
    if (!text) {
        http_reply_error(request, API_INTERNAL, "out of memory");
        return;
    }
    http_reply_text(request, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", text, bytes);
}
