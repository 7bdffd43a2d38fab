/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the table of metrics and their text; see metrics_text.h. */
#include "api/metrics_text.h"

#include <inttypes.h>
#include <string.h>

#include "api/api.h"
#include "base/version.h"
#include "vms/clone.h"
#include "vms/hosted.h"

/* ---- Of poold ---- */

static void print_build(const struct api *api, const struct metric_family *family, FILE *out)
{
    fprintf(out, "%s{version=\"%s\",kvm=\"%s\"} 1\n", family->name, VOLT_VERSION, api->kvm_kind);
}

static void print_started(const struct api *api, const struct metric_family *family, FILE *out)
{
    uint64_t up_ns = now_ns() - api->started_ns;

    fprintf(out, "%s %.3f\n", family->name, (double)(clock_ns(CLOCK_REALTIME) - up_ns) / 1e9);
}

static void print_passt_restarts(const struct api *api, const struct metric_family *family,
                                 FILE *out)
{
    fprintf(out, "%s %" PRIu64 "\n", family->name, api->vms->walls.passt_restarts);
}

static void print_reload_good(const struct api *api, const struct metric_family *family, FILE *out)
{
    fprintf(out, "%s %d\n", family->name, api->ops->reload_good(api->daemon));
}

/* ---- Of pools ---- */

static void print_states(const struct hosted_pool *hosted, const struct metric_family *family,
                         FILE *out)
{
    for (unsigned i = 0; i < POOL_STATE_COUNT; i++)
        fprintf(out, "%s{pool=\"%s\",state=\"%s\"} %d\n", family->name, hosted->pool.name,
                pool_state_name((enum pool_state)i), hosted->pool.state == i);
}

/* A uint32_t or uint64_t at the family's offset in struct hosted_pool. */
static void print_count(const struct hosted_pool *hosted, const struct metric_family *family,
                        FILE *out)
{
    uint32_t value;

    memcpy(&value, (const char *)hosted + family->offset, sizeof value);
    fprintf(out, "%s{pool=\"%s\"} %" PRIu32 "\n", family->name, hosted->pool.name, value);
}

static void print_counter(const struct hosted_pool *hosted, const struct metric_family *family,
                          FILE *out)
{
    uint64_t value;

    memcpy(&value, (const char *)hosted + family->offset, sizeof value);
    fprintf(out, "%s{pool=\"%s\"} %" PRIu64 "\n", family->name, hosted->pool.name, value);
}

static void print_vms(const struct hosted_pool *hosted, const struct metric_family *family,
                      FILE *out)
{
    for (unsigned i = 0; i < SLOT_DEAD; i++)
        fprintf(out, "%s{pool=\"%s\",state=\"%s\"} %u\n", family->name, hosted->pool.name,
                slot_state_name((enum slot_state)i),
                pool_state_count_all(&hosted->pool, (enum slot_state)i));
}

static void print_backoff(const struct hosted_pool *hosted, const struct metric_family *family,
                          FILE *out)
{
    uint64_t now = now_ns();

    const struct backoff *backoff = &hosted->pool.backoff;
    double left = backoff_active(backoff, now) ? (double)(backoff->until_ns - now) / 1e9 : 0;

    fprintf(out, "%s{pool=\"%s\"} %.3f\n", family->name, hosted->pool.name, left);
}

static void print_failures(const struct hosted_pool *hosted, const struct metric_family *family,
                           FILE *out)
{
    for (unsigned i = 0; i < FAILURE_COUNT; i++)
        fprintf(out, "%s{pool=\"%s\",reason=\"%s\"} %" PRIu64 "\n", family->name, hosted->pool.name,
                failure_name((enum failure)i), hosted->pool.counters.failures[i]);
}

static void print_lease_ends(const struct hosted_pool *hosted, const struct metric_family *family,
                             FILE *out)
{
    for (unsigned i = 0; i < LEASE_END_COUNT; i++)
        fprintf(out, "%s{pool=\"%s\",reason=\"%s\"} %" PRIu64 "\n", family->name, hosted->pool.name,
                lease_end_name((enum lease_end)i), hosted->pool.lease_ends[i]);
}

static void print_answers(const struct hosted_pool *hosted, const struct metric_family *family,
                          FILE *out)
{
    for (unsigned tier = 0; tier < TIER_COUNT; tier++) {
        for (unsigned result = 0; result < ACQUIRE_RESULT_COUNT; result++)
            fprintf(out, "%s{pool=\"%s\",tier=\"%s\",result=\"%s\"} %" PRIu64 "\n", family->name,
                    hosted->pool.name, tier_name(tier),
                    acquire_result_name((enum acquire_result)result),
                    hosted->pool.counters.answers[tier][result]);
    }
}

/* Of its VMs, and of those that are gone. */
static void print_drops(const struct hosted_pool *hosted, const struct metric_family *family,
                        FILE *out)
{
    uint64_t count[NET_VERDICT_COUNT];

    if (!hosted->spec.net.kind[0])
        return;
    memcpy(count, hosted->net.dropped, sizeof count);
    for (unsigned state = 0; state < SLOT_DEAD; state++) {
        LIST_FOR_EACH(at, &hosted->pool.slots[state])
        {
            const struct slot *slot = list_entry(at, struct slot, node);
            struct net_drops drops = { .denied_address = 0 };

            if (slot->vm)
                vm_net_drops(clone_net(slot), &hosted->vms->walls, &drops);
            for (unsigned i = 0; i < NET_VERDICT_COUNT; i++)
                count[i] += drops.count[i];
        }
    }
    for (unsigned i = NET_DENIED; i < NET_VERDICT_COUNT; i++)
        fprintf(out, "%s{pool=\"%s\",reason=\"%s\"} %" PRIu64 "\n", family->name, hosted->pool.name,
                net_verdict_name((enum net_verdict)i), count[i]);
}

static void print_histogram(const struct hosted_pool *hosted, const struct metric_family *family,
                            FILE *out)
{
    const struct histogram *h = (const void *)((const char *)hosted + family->offset);

    histogram_print(h, out, family->name, hosted->pool.name);
}

/* ---- Of functions ---- */

static void print_invocations(const struct function *function, const struct metric_family *family,
                              FILE *out)
{
    for (unsigned i = 0; i < INVOCATION_RESULT_COUNT; i++)
        fprintf(out, "%s{function=\"%s\",result=\"%s\"} %" PRIu64 "\n", family->name,
                function->name, invocation_result_name((enum invocation_result)i),
                function->results[i]);
}

static void print_under_way(const struct function *function, const struct metric_family *family,
                            FILE *out)
{
    fprintf(out, "%s{function=\"%s\",state=\"queued\"} %u\n", family->name, function->name,
            function->queued_count);
    fprintf(out, "%s{function=\"%s\",state=\"on\"} %u\n", family->name, function->name,
            function->on_count);
}

static void print_total(const struct function *function, const struct metric_family *family,
                        FILE *out)
{
    histogram_print(&function->total, out, family->name, function->name);
}

/* ---- The table ---- */

#define OF_POOL(member) offsetof(struct hosted_pool, pool.member)

const struct metric_family metric_families[] = {
    { "volt_build_info", "gauge", "Which poold this is, and which kind of KVM the host has; 1.",
      "version, kvm", .print_poold = print_build },
    { "volt_start_time_seconds", "gauge", "When poold was started, in seconds since 1970.", "",
      .print_poold = print_started },
    { "volt_config_reload_successful", "gauge",
      "1 if the configuration was right when it was read last.", "",
      .print_poold = print_reload_good },
    { "volt_pool_state", "gauge", "1 for the state that a pool is in, 0 for all others.",
      "pool, state", .print_pool = print_states },
    { "volt_pool_min", "gauge", "VMs that a pool keeps parked.", "pool", .print_pool = print_count,
      .offset = OF_POOL(min) },
    { "volt_pool_max", "gauge", "VMs that a pool has in all, at most.", "pool",
      .print_pool = print_count, .offset = OF_POOL(max) },
    { "volt_pool_shells", "gauge", "Processes that a pool keeps ready without state.", "pool",
      .print_pool = print_count, .offset = OF_POOL(shells) },
    { "volt_pool_vms", "gauge", "VMs of a pool by the state of their slots.", "pool, state",
      .print_pool = print_vms },
    { "volt_pool_waiting", "gauge", "Acquires that wait.", "pool", .print_pool = print_count,
      .offset = OF_POOL(waiting) },
    { "volt_pool_backoff_seconds", "gauge", "How long refills pause yet, as the last ones failed.",
      "pool", .print_pool = print_backoff },
    { "volt_pool_acquires_total", "counter", "Leases given.", "pool", .print_pool = print_counter,
      .offset = OF_POOL(counters.acquires) },
    { "volt_pool_missed_total", "counter", "Acquires that found no parked VM.", "pool",
      .print_pool = print_counter, .offset = OF_POOL(counters.missed) },
    { "volt_acquires_total", "counter",
      "Acquires by the tier they were served from and result; failed ones count as cold.",
      "pool, tier, result", .print_pool = print_answers },
    { "volt_lease_ends_total", "counter", "Leases that ended, by reason.", "pool, reason",
      .print_pool = print_lease_ends },
    { "volt_restores_total", "counter", "Restores that reached READY.", "pool",
      .print_pool = print_counter, .offset = OF_POOL(counters.restores) },
    { "volt_failures_total", "counter", "VMs discarded, by reason.", "pool, reason",
      .print_pool = print_failures },
    { "volt_template_restarts_total", "counter", "Template processes that ended by themselves.",
      "pool", .print_pool = print_counter,
      .offset = offsetof(struct hosted_pool, template_restarts) },
    { "volt_net_dropped_frames_total", "counter",
      "Frames of VMs that their policy did not let pass.", "pool, reason",
      .print_pool = print_drops },
    { "volt_passt_restarts_total", "counter", "passt processes that ended before their VM.", "",
      .print_poold = print_passt_restarts },
    { "volt_acquire_seconds", "histogram", "Request read to response ready.", "pool",
      .print_pool = print_histogram, .offset = OF_POOL(counters.acquire) },
    { "volt_load_seconds", "histogram", "Making and loading the VM of an acquire or a refill.",
      "pool", .print_pool = print_histogram, .offset = OF_POOL(counters.load) },
    { "volt_awake_seconds", "histogram", "To the guest's checked answer, restores and leases.",
      "pool", .print_pool = print_histogram, .offset = OF_POOL(counters.awake) },
    { "volt_ready_seconds", "histogram",
      "From the guest's answer until it is unique and its clock right.", "pool",
      .print_pool = print_histogram, .offset = OF_POOL(counters.ready) },
    { "volt_function_invocations_total", "counter", "Calls of functions by how they ended.",
      "function, result", .print_function = print_invocations },
    { "volt_function_invocations", "gauge", "Calls of functions that wait, or are on.",
      "function, state", .print_function = print_under_way },
    { "volt_function_seconds", "histogram",
      "From a call to its answer, of those that were answered.", "pool",
      .print_function = print_total },
};
const size_t metric_family_count = ARRAY_LEN(metric_families);

void metrics_text_print(const struct api *api, const struct peer *peer, FILE *out)
{
    for (size_t i = 0; i < metric_family_count; i++) {
        const struct metric_family *family = &metric_families[i];

        fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
                family->type);
        if (family->print_poold)
            family->print_poold(api, family, out);
        LIST_FOR_EACH(at, &api->vms->pools)
        {
            const struct pool *pool = list_entry(at, struct pool, node);

            if (family->print_pool && hosted_is_current(pool) && access_pool_seen(peer, pool->name))
                family->print_pool(pool->owner, family, out);
        }
        LIST_FOR_EACH(at, &api->functions->all)
        {
            const struct function *function = list_entry(at, struct function, node);

            if (family->print_function && access_pool_seen(peer, function->name))
                family->print_function(function, family, out);
        }
    }
}
