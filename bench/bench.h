/* SPDX-License-Identifier: Apache-2.0 */
/* volt-bench: what every suite gets, and the table of suites.
 *
 * How it measures
 *   1. A latency of a restore ends when the guest's checked answer arrived (CONTROL_AWAKE).
 *   2. Each sample of a restore is taken next to one of the floor (floor.h): what this machine's
 *      KVM needs at least, at that moment of that run.
 *   3. A VM that was measured is dead and reaped before the next sample: closing a KVM VM takes
 *      longer than making one.
 *   4. Where requests come at a rate, latency counts from when a request was due.
 */
#ifndef VOLT_BENCH_H
#define VOLT_BENCH_H

#include <stdbool.h>

#include "base/err.h"
#include "progress.h"
#include "report.h"

struct bench_options {
    bool quick; /* few samples: for checking the plumbing */
    const char *kernel, *initrd;
    const char *volt_vmm, *poold, *voltctl, *volt_init, *busybox;
    const char *qemu, *firecracker, *cloud_hypervisor; /* NULL: not there */
    const char *answering_initrd;                      /* for those */
    const char *guest_spawner;                         /* times the floor of an exec */
    const char *function_initrd;                       /* with /bin/function in it (function.c) */
    const char *work_dir;                              /* ours; removed by who made it */
    const char *json_path, *commit;
};

struct image;
struct daemon;

struct bench {
    struct bench_options options;
    struct report report;
    struct image *images;  /* made on demand by image_get, kept for the run */
    struct daemon *daemon; /* made on demand by daemon_get */
};

#define BENCH_BANNER "VOLT VM READY" /* what the guest's console says when it is up */

/* A suite returns 0, BENCH_SKIPPED with the reason in err, or -errno. */
#define BENCH_SKIPPED 1

struct suite {
    const char *name, *summary;
    int (*run)(struct bench *bench, struct err *err);
};

extern const struct suite suites[];
extern const unsigned suite_count;

/* n, or n_quick with --quick. */
static inline unsigned bench_runs(const struct bench *bench, unsigned n, unsigned n_quick)
{
    return bench->options.quick ? n_quick : n;
}

int bench_skip(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Facts about this machine for the results (host.c); a new reference. */
json_t *host_describe(const struct bench *bench);

int suite_floor(struct bench *bench, struct err *err);
int suite_restore(struct bench *bench, struct err *err);
int suite_direct(struct bench *bench, struct err *err);
int suite_steps(struct bench *bench, struct err *err);
int suite_acquire(struct bench *bench, struct err *err);
int suite_burst(struct bench *bench, struct err *err);
int suite_churn(struct bench *bench, struct err *err);
int suite_busy(struct bench *bench, struct err *err);
int suite_sporadic(struct bench *bench, struct err *err);
int suite_exec(struct bench *bench, struct err *err);
int suite_work(struct bench *bench, struct err *err);
int suite_density(struct bench *bench, struct err *err);
int suite_first_exec(struct bench *bench, struct err *err);
int suite_snapshot(struct bench *bench, struct err *err);
int suite_verify(struct bench *bench, struct err *err);
int suite_boot(struct bench *bench, struct err *err);
int suite_memory(struct bench *bench, struct err *err);
int suite_size(struct bench *bench, struct err *err);
int suite_security(struct bench *bench, struct err *err);
int suite_peers(struct bench *bench, struct err *err);
int suite_functions(struct bench *bench, struct err *err);

#endif
