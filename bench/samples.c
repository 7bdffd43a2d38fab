/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the storage of samples, percentiles and quantiles; see samples.h. */
#include "samples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

void samples_add(struct samples *s, uint64_t value)
{
    if (s->count == s->room) {
        size_t room = s->room ? 2 * s->room : 256;
        uint64_t *grown = reallocarray(s->value, room, sizeof *grown);

        if (!grown) {
            s->lost = true;
            return;
        }
        s->value = grown;
        s->room = room;
    }
    s->value[s->count++] = value;
    s->sorted = false;
}

void samples_append(struct samples *s, const struct samples *other)
{
    for (size_t i = 0; i < other->count; i++)
        samples_add(s, other->value[i]);
}

void samples_fini(struct samples *s)
{
    free(s->value);
    *s = (struct samples){ 0 };
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void sort(struct samples *s)
{
    if (!s->sorted && s->count > 0)
        qsort(s->value, s->count, sizeof *s->value, by_value);
    s->sorted = true;
}

uint64_t samples_percentile(struct samples *s, double percent)
{
    if (s->count == 0)
        return 0;
    sort(s);
    double rank = ceil(percent / 100 * (double)s->count);
    size_t index = rank < 1 ? 0 : (size_t)rank - 1;
    return s->value[MIN_OF(index, s->count - 1)];
}

struct summary samples_summarize(struct samples *s)
{
    struct summary summary = {
        .count = s->count,
        .min = samples_percentile(s, 0),
        .p50 = samples_percentile(s, 50),
        .p90 = samples_percentile(s, 90),
        .p99 = samples_percentile(s, 99),
        .max = samples_percentile(s, 100),
    };

    for (size_t i = 0; i < s->count; i++)
        summary.mean += (double)s->value[i] / (double)s->count;
    return summary;
}

size_t samples_quantiles(struct samples *s, uint64_t *ret, size_t count)
{
    sort(s);
    if (s->count <= count || count < 2) {
        size_t all = MIN_OF(s->count, count);

        memcpy(ret, s->value, all * sizeof *ret);
        return all;
    }
    for (size_t i = 0; i < count; i++)
        ret[i] = s->value[(size_t)((double)i * (double)(s->count - 1) / (double)(count - 1) + 0.5)];
    return count;
}

uint64_t samples_due_ns(uint64_t start_ns, double per_second, uint64_t i)
{
    return start_ns + (uint64_t)((double)i * (double)NS_PER_S / per_second);
}
