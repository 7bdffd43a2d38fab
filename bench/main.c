/* SPDX-License-Identifier: Apache-2.0 */
/* volt-bench: runs suites of benchmarks; bench/run finds everything it needs and starts it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "bench.h"
#include "daemon.h"
#include "image.h"

static const struct option_row {
    const char *name, *argument, *help;
    size_t offset;
} rows[] = {
    { "--json", "FILE", "write the results there", offsetof(struct bench_options, json_path) },
    { "--work-dir", "DIR", "snapshots and sockets; must exist",
      offsetof(struct bench_options, work_dir) },
    { "--volt-vmm", "PATH", "the programs to measure", offsetof(struct bench_options, volt_vmm) },
    { "--poold", "PATH", NULL, offsetof(struct bench_options, poold) },
    { "--voltctl", "PATH", NULL, offsetof(struct bench_options, voltctl) },
    { "--volt-init", "PATH", NULL, offsetof(struct bench_options, volt_init) },
    { "--kernel", "FILE", "the guest", offsetof(struct bench_options, kernel) },
    { "--initrd", "FILE", NULL, offsetof(struct bench_options, initrd) },
    { "--busybox", "FILE", "what is in the initramfs, to subtract",
      offsetof(struct bench_options, busybox) },
    { "--qemu", "PATH", "qemu-system-x86_64, for comparing", offsetof(struct bench_options, qemu) },
    { "--firecracker", "PATH", "other monitors, for comparing",
      offsetof(struct bench_options, firecracker) },
    { "--cloud-hypervisor", "PATH", NULL, offsetof(struct bench_options, cloud_hypervisor) },
    { "--answering-initrd", "FILE", "the guest of those",
      offsetof(struct bench_options, answering_initrd) },
    { "--guest-spawner", "FILE", "times the floor of an exec, in the guest",
      offsetof(struct bench_options, guest_spawner) },
    { "--function-initrd", "FILE", "the guest of suite functions",
      offsetof(struct bench_options, function_initrd) },
    { "--commit", "ID", "of what is measured", offsetof(struct bench_options, commit) },
};

static void print_help(void)
{
    puts("usage: volt-bench --work-dir DIR [OPTION...] [SUITE...]\n"
         "Measures Volt. bench/run starts it with all it needs.\n\noptions:\n"
         "  --quick                   few samples, to check the plumbing");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        printf("  %-18s %-6s %s\n", rows[i].name, rows[i].argument,
               rows[i].help ? rows[i].help : "");
    puts("\nsuites (all of them when none is named):");
    for (unsigned i = 0; i < suite_count; i++)
        printf("  %-12s %s\n", suites[i].name, suites[i].summary);
}

static const struct suite *find_suite(const char *name)
{
    for (unsigned i = 0; i < suite_count; i++) {
        if (strcmp(suites[i].name, name) == 0)
            return &suites[i];
    }
    return NULL;
}

static const struct option_row *find_row(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

/* Names of suites are marked in `chosen`. */
static int parse(struct bench_options *options, bool *chosen, int argc, char **argv,
                 struct err *err)
{
    for (int i = 1; i < argc; i++) {
        const struct option_row *row = find_row(argv[i]);
        const struct suite *suite = find_suite(argv[i]);

        if (strcmp(argv[i], "--quick") == 0)
            options->quick = true;
        else if (suite)
            chosen[suite - suites] = true;
        else if (!row)
            return err_set(err, EINVAL, "there is no option or suite '%s'; see --help", argv[i]);
        else if (++i == argc)
            return err_set(err, EINVAL, "%s needs a value", row->name);
        else
            *(const char **)((char *)options + row->offset) = argv[i];
    }
    if (!options->work_dir)
        return err_set(err, EINVAL, "--work-dir is missing");
    return 0;
}

/* True if the suite did not fail. */
static bool run_suite(struct bench *bench, const struct suite *suite)
{
    struct err err = { 0 };
    uint64_t start_ns = now_ns();

    bench->report.suite = suite->name;
    int rc = suite->run(bench, &err);
    progress_clear();
    const char *status = rc == 0 ? "done" : rc == BENCH_SKIPPED ? "skipped" : "failed";
    if (rc != 0)
        printf("%-10s %s: %s\n", suite->name, status, err.msg);
    fflush(stdout);
    report_suite_end(&bench->report, status, rc ? err.msg : NULL, now_ns() - start_ns);
    return rc >= 0;
}

static int run(struct bench *bench, const bool *chosen, struct err *err)
{
    bool all = true, good = true;
    json_t *host = host_describe(bench);
    int rc = host && report_init(&bench->report) == 0 ? 0 : err_set(err, ENOMEM, "out of memory");

    for (unsigned i = 0; i < suite_count; i++)
        all = all && !chosen[i];
    for (unsigned i = 0; rc == 0 && i < suite_count; i++) {
        if (!all && !chosen[i])
            continue;
        good = run_suite(bench, &suites[i]) && good;
        /* After each, so that an interrupted run keeps what it has. */
        if (bench->options.json_path)
            rc = report_write(&bench->report, host, bench->options.quick, bench->options.json_path,
                              err);
    }
    daemon_free(bench);
    image_free_all(bench);
    json_decref(host);
    report_fini(&bench->report);
    return rc < 0 ? rc : !good;
}

int main(int argc, char **argv)
{
    struct bench bench = { 0 };
    _cleanup_free_ bool *chosen = calloc(suite_count, sizeof *chosen);
    struct err err = { 0 };

    signal(SIGPIPE, SIG_IGN);
    if (!chosen)
        return 70;
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        print_help();
        return 0;
    }
    int rc = parse(&bench.options, chosen, argc, argv, &err);
    if (rc == 0)
        rc = run(&bench, chosen, &err);
    if (rc < 0)
        fprintf(stderr, "volt-bench: %s\n", err.msg);
    return rc == -EINVAL ? 64 : rc ? 1 : 0;
}
