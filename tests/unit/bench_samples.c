/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the figures that benchmarks publish are right. Method: percentiles, quantiles and due times
 * of known samples, goals at their limits, and a report read back from its file. */
#include <check.h>
#include <stdio.h>

#include "base/util.h"
#include "goals.h"
#include "report.h"
#include "samples.h"
#include "tap_main.h"

/* 1..count, in an order that is not sorted. */
static struct samples made_of(uint64_t count)
{
    struct samples s = { 0 };

    for (uint64_t i = 0; i < count; i++)
        samples_add(&s, (i * 7919) % count + 1);
    return s;
}

START_TEST(percentiles_are_nearest_rank)
{
    struct samples s = made_of(1000);

    ck_assert_uint_eq(samples_percentile(&s, 0), 1);
    ck_assert_uint_eq(samples_percentile(&s, 50), 500);
    ck_assert_uint_eq(samples_percentile(&s, 90), 900);
    ck_assert_uint_eq(samples_percentile(&s, 99), 990);
    ck_assert_uint_eq(samples_percentile(&s, 99.95), 1000);
    ck_assert_uint_eq(samples_percentile(&s, 100), 1000);
    samples_fini(&s);
}
END_TEST

START_TEST(percentiles_of_few_and_of_none)
{
    struct samples none = { 0 }, one = { 0 }, two = { 0 };

    samples_add(&one, 7);
    samples_add(&two, 9);
    samples_add(&two, 3);
    ck_assert_uint_eq(samples_percentile(&none, 50), 0);
    ck_assert_uint_eq(samples_percentile(&one, 1), 7);
    ck_assert_uint_eq(samples_percentile(&one, 99), 7);
    ck_assert_uint_eq(samples_percentile(&two, 50), 3);
    ck_assert_uint_eq(samples_percentile(&two, 51), 9);
    samples_fini(&one);
    samples_fini(&two);
}
END_TEST

START_TEST(adding_after_reading_counts)
{
    struct samples s = made_of(10);

    ck_assert_uint_eq(samples_percentile(&s, 100), 10);
    samples_add(&s, 5000);
    ck_assert_uint_eq(samples_percentile(&s, 100), 5000);
    struct summary summary = samples_summarize(&s);
    ck_assert_uint_eq(summary.count, 11);
    ck_assert_uint_eq(summary.min, 1);
    ck_assert_uint_eq(summary.p50, 6);
    ck_assert_double_eq_tol(summary.mean, (55 + 5000) / 11.0, 1e-6);
    samples_fini(&s);
}
END_TEST

START_TEST(quantiles_keep_ends_and_order)
{
    struct samples s = made_of(100000);
    uint64_t quantile[101];

    ck_assert_uint_eq(samples_quantiles(&s, quantile, ARRAY_LEN(quantile)), 101);
    ck_assert_uint_eq(quantile[0], 1);
    ck_assert_uint_eq(quantile[100], 100000);
    for (size_t i = 1; i < ARRAY_LEN(quantile); i++)
        ck_assert_uint_le(quantile[i - 1], quantile[i]);
    ck_assert_uint_ge(quantile[50], 49990);
    ck_assert_uint_le(quantile[50], 50010);
    samples_fini(&s);
    s = made_of(5);
    ck_assert_uint_eq(samples_quantiles(&s, quantile, ARRAY_LEN(quantile)), 5);
    ck_assert_uint_eq(quantile[4], 5);
    samples_fini(&s);
}
END_TEST

/* An open loop's requests are due by the clock alone: no drift over a day. */
START_TEST(due_times_do_not_drift)
{
    ck_assert_uint_eq(samples_due_ns(17, 200, 0), 17);
    ck_assert_uint_eq(samples_due_ns(0, 200, 1), 5 * NS_PER_MS);
    ck_assert_uint_eq(samples_due_ns(0, 1000, 86400000), 86400 * NS_PER_S);
    uint64_t third = samples_due_ns(0, 3, 3000000);
    ck_assert_uint_le(third, 1000000 * NS_PER_S + 1000);
    ck_assert_uint_ge(third, 1000000 * NS_PER_S - 1000);
}
END_TEST

START_TEST(goals_at_their_limits)
{
    const struct goal p99 = { "s", "n", GOAL_P99, 700 };
    const struct goal ratio = { "s", "n", GOAL_FLOOR_RATIO, 1.5 };
    const struct goal most = { "s", "n", GOAL_AT_MOST, 2 }, least = { "s", "n", GOAL_AT_LEAST, 2 };
    const struct summary summary = { .count = 3, .p50 = 300, .p99 = 700 };
    double figure;

    ck_assert(goal_figure(&p99, &summary, 0, 0, &figure));
    ck_assert(goal_met(&p99, figure));
    ck_assert(!goal_met(&p99, figure + 1));
    ck_assert(goal_figure(&ratio, &summary, 0, 200, &figure));
    ck_assert_double_eq(figure, 1.5);
    ck_assert(!goal_figure(&ratio, &summary, 0, 0, &figure));
    ck_assert(!goal_figure(&most, &summary, 0, 0, &figure));
    ck_assert(goal_figure(&most, NULL, 2, 0, &figure));
    ck_assert(goal_met(&most, 2) && !goal_met(&most, 2.1));
    ck_assert(goal_met(&least, 2) && !goal_met(&least, 1.9));
}
END_TEST

START_TEST(report_reads_back)
{
    struct samples s = made_of(100), floor = made_of(50);
    char path[] = "/tmp/volt-bench-report.XXXXXX";
    _cleanup_close_ int fd = mkstemp(path);
    struct report report;
    struct err err = { 0 };

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(report_init(&report), 0);
    report.suite = "acquire";
    report_latency(&report,
                   &(struct report_row){
                       .name = "clients=1 tier=parked", .floor_name = "parked", .floor = &floor },
                   &s);
    report_value(&report, &(struct report_row){ .name = "v", .unit = "/s", .x_name = "x", .x = 4 },
                 2.5);
    report_suite_end(&report, "done", NULL, NS_PER_S);
    json_t *host = json_pack("{s:s}", "cpu", "test");
    ck_assert_int_eq(report_write(&report, host, true, path, &err), 0);
    json_t *read = json_load_file(path, 0, NULL);
    json_t *row = json_array_get(json_object_get(read, "results"), 0);
    json_t *value = json_array_get(json_object_get(read, "results"), 1);
    json_t *goals_held = json_object_get(row, "goals");

    ck_assert_int_eq(json_integer_value(json_object_get(row, "n")), 100);
    ck_assert_int_eq(json_integer_value(json_object_get(row, "p99")), 99);
    ck_assert_uint_eq(json_array_size(json_object_get(row, "quantiles")), 100);
    ck_assert_double_eq(json_real_value(json_object_get(row, "ratio_to_floor")), 2.0);
    ck_assert_uint_eq(json_array_size(goals_held), 3);
    ck_assert(json_is_true(json_object_get(json_array_get(goals_held, 0), "met")));
    ck_assert_double_eq(json_real_value(json_object_get(value, "value")), 2.5);
    ck_assert_double_eq(json_real_value(json_object_get(value, "x")), 4);
    json_decref(read);
    json_decref(host);
    report_fini(&report);
    unlink(path);
    samples_fini(&s);
    samples_fini(&floor);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bench_samples");
    TCase *tests = tap_case(suite, "samples");

    tcase_add_test(tests, percentiles_are_nearest_rank);
    tcase_add_test(tests, percentiles_of_few_and_of_none);
    tcase_add_test(tests, adding_after_reading_counts);
    tcase_add_test(tests, quantiles_keep_ends_and_order);
    tcase_add_test(tests, due_times_do_not_drift);
    tcase_add_test(tests, goals_at_their_limits);
    tcase_add_test(tests, report_reads_back);
    return tap_main(suite);
}
