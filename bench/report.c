/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the presentation of results: the printed table and the JSON file; see report.h. */
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "goals.h"

int report_init(struct report *report)
{
    report->results = json_array();
    report->suites = json_array();
    report->suite = "";
    return report->results && report->suites ? 0 : -ENOMEM;
}

void report_fini(struct report *report)
{
    json_decref(report->results);
    json_decref(report->suites);
}

/* ---- For people ---- */

static const char *duration_text(char text[32], double ns)
{
    static const struct {
        double from_ns, per_unit;
        const char *unit;
    } units[] = { { 1e9, 1e9, "s" }, { 1e6, 1e6, "ms" }, { 0, 1e3, "us" } };
    size_t i = 0;

    while (ns < units[i].from_ns)
        i++;
    snprintf(text, 32, "%.4g %s", ns / units[i].per_unit, units[i].unit);
    return text;
}

static const char *value_text(char text[32], double value, const char *unit)
{
    if (strcmp(unit, "ns") == 0)
        return duration_text(text, value);
    if (strcmp(unit, "bytes") == 0)
        snprintf(text, 32, value >= 1048576 ? "%.2f MiB" : "%.1f KiB",
                 value / (value >= 1048576 ? 1048576 : 1024));
    else
        snprintf(text, 32, "%.4g%s%s", value, *unit ? " " : "", unit);
    return text;
}

static void print_latency(const struct report *report, const struct report_row *row,
                          const struct summary *s, double floor_p50)
{
    char text[5][32];

    printf("%-10s %-44s p50 %10s  p90 %10s  p99 %10s  max %10s  n %6zu", report->suite, row->name,
           duration_text(text[0], (double)s->p50), duration_text(text[1], (double)s->p90),
           duration_text(text[2], (double)s->p99), duration_text(text[3], (double)s->max),
           s->count);
    if (floor_p50 > 0)
        printf("  %.2f x %s floor (%s)", (double)s->p50 / floor_p50, row->floor_name,
               duration_text(text[4], floor_p50));
    printf("%s%s\n", row->note ? "  # " : "", row->note ? row->note : "");
    fflush(stdout);
}

/* ---- Goals ---- */

static void print_goal(const struct goal *goal, const char *unit, double figure, bool met)
{
    char limit_text[32], figure_text[32];

    if (goal->metric == GOAL_P50 || goal->metric == GOAL_P99)
        unit = "ns";
    else if (goal->metric == GOAL_FLOOR_RATIO)
        unit = "x";
    value_text(limit_text, goal->limit, unit);
    value_text(figure_text, figure, unit);
    printf("%-10s   goal: %s %s: %s (%s)\n", "", goal_metric_name(goal->metric), limit_text,
           met ? "met" : "NOT met", figure_text);
}

static void add_goals(const struct report *report, const struct report_row *row, json_t *result,
                      const struct summary *summary, double value, double floor_p50)
{
    json_t *held = json_array();

    for (unsigned i = 0; i < goal_count; i++) {
        const struct goal *goal = &goals[i];
        double figure;

        if (strcmp(goal->suite, report->suite) != 0 || strcmp(goal->name, row->name) != 0 ||
            !goal_figure(goal, summary, value, floor_p50, &figure))
            continue;
        bool met = goal_met(goal, figure);
        json_array_append_new(held, json_pack("{s:s, s:f, s:f, s:b}", "metric",
                                              goal_metric_name(goal->metric), "limit", goal->limit,
                                              "figure", figure, "met", met));
        print_goal(goal, row->unit ? row->unit : "", figure, met);
    }
    json_object_set_new(result, "goals", held);
}

/* ---- Rows ---- */

static void set_text(json_t *object, const char *key, const char *text)
{
    if (text)
        json_object_set_new(object, key, json_string(text));
}

static json_t *row_object(const struct report *report, const struct report_row *row,
                          const char *kind, const char *unit)
{
    json_t *result = json_pack("{s:s, s:s, s:s, s:s}", "suite", report->suite, "name", row->name,
                               "kind", kind, "unit", unit);

    set_text(result, "page_cache", row->page_cache);
    set_text(result, "note", row->note);
    if (row->x_name) {
        set_text(result, "x_name", row->x_name);
        json_object_set_new(result, "x", json_real(row->x));
    }
    return result;
}

static void set_summary(json_t *object, const struct summary *s)
{
    const struct {
        const char *key;
        uint64_t value;
    } fields[] = { { "n", s->count }, { "min", s->min }, { "p50", s->p50 },
                   { "p90", s->p90 }, { "p99", s->p99 }, { "max", s->max } };

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        json_object_set_new(object, fields[i].key, json_integer((json_int_t)fields[i].value));
    json_object_set_new(object, "mean", json_real(s->mean));
}

void report_latency(struct report *report, const struct report_row *row, struct samples *samples)
{
    struct summary summary = samples_summarize(samples);
    uint64_t quantile[REPORT_QUANTILES];
    double floor_p50 = row->floor ? (double)samples_percentile(row->floor, 50) : 0;

    if (summary.count == 0)
        return;
    print_latency(report, row, &summary, floor_p50);
    json_t *result = row_object(report, row, "latency", "ns");
    json_t *quantiles = json_array();
    size_t count = samples_quantiles(samples, quantile, REPORT_QUANTILES);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(quantiles, json_integer((json_int_t)quantile[i]));
    set_summary(result, &summary);
    json_object_set_new(result, "quantiles", quantiles);
    if (floor_p50 > 0) {
        struct summary floor = samples_summarize(row->floor);
        json_t *object = json_pack("{s:s}", "name", row->floor_name);

        set_summary(object, &floor);
        json_object_set_new(result, "floor", object);
        json_object_set_new(result, "ratio_to_floor", json_real((double)summary.p50 / floor_p50));
    }
    add_goals(report, row, result, &summary, 0, floor_p50);
    json_array_append_new(report->results, result);
}

void report_value(struct report *report, const struct report_row *row, double value)
{
    const char *unit = row->unit ? row->unit : "";
    json_t *result = row_object(report, row, "value", unit);
    char text[32];

    printf("%-10s %-44s %s%s%s\n", report->suite, row->name, value_text(text, value, unit),
           row->note ? "  # " : "", row->note ? row->note : "");
    fflush(stdout);
    json_object_set_new(result, "value", json_real(value));
    add_goals(report, row, result, NULL, value, 0);
    json_array_append_new(report->results, result);
}

void report_suite_end(struct report *report, const char *status, const char *message,
                      uint64_t elapsed_ns)
{
    json_t *suite = json_pack("{s:s, s:s, s:f}", "name", report->suite, "status", status,
                              "elapsed_s", (double)elapsed_ns / 1e9);

    set_text(suite, "message", message);
    json_array_append_new(report->suites, suite);
}

int report_write(const struct report *report, json_t *host, bool quick, const char *path,
                 struct err *err)
{
    json_t *root =
        json_pack("{s:s, s:i, s:b, s:O, s:O, s:O}", "format", "volt-bench", "version", 1, "quick",
                  quick, "host", host, "suites", report->suites, "results", report->results);

    if (!root)
        return err_set(err, ENOMEM, "putting the results together failed");
    int rc = json_dump_file(root, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
    json_decref(root);
    return rc < 0 ? err_set_errno(err, errno ? errno : EIO, "writing '%s'", path) : 0;
}
