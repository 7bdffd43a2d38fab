/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `size`: the programs as they would be installed, stripped, and the initramfs. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/util.h"
#include "bench.h"
#include "process.h"

static int file_bytes(const char *path, double *ret_bytes, struct err *err)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return err_set_errno(err, errno, "'%s'", path);
    *ret_bytes = (double)st.st_size;
    return 0;
}

static int stripped_bytes(const struct bench *bench, const char *path, double *ret_bytes,
                          struct err *err)
{
    char output[512], log[512];
    const char *const argv[] = { "/usr/bin/strip", "-o", output, path, NULL };
    struct process strip;
    int status;

    snprintf(output, sizeof output, "%s/stripped", bench->options.work_dir);
    snprintf(log, sizeof log, "%s/strip.log", bench->options.work_dir);
    int rc = process_start(&strip, argv, NULL, 0, &(struct process_output){ -1, -1, log }, err);
    if (rc < 0)
        return rc;
    if (waitpid(strip.pid, &status, 0) < 0 || status != 0)
        return err_set(err, EIO, "strip could not work on '%s'", path);
    rc = file_bytes(output, ret_bytes, err);
    unlink(output);
    return rc;
}

static void report_bytes(struct bench *bench, const char *name, double bytes, const char *note)
{
    const struct report_row row = { .name = name, .unit = "bytes", .note = note };

    report_value(&bench->report, &row, bytes);
}

int suite_size(struct bench *bench, struct err *err)
{
    const struct bench_options *options = &bench->options;
    const struct {
        const char *name, *path;
    } programs[] = { { "volt-vmm", options->volt_vmm },
                     { "volt-init", options->volt_init },
                     { "poold", options->poold } };
    double bytes[ARRAY_LEN(programs)] = { 0 }, initramfs = 0, busybox = 0;

    for (unsigned i = 0; i < ARRAY_LEN(programs); i++) {
        int rc = programs[i].path ? stripped_bytes(bench, programs[i].path, &bytes[i], err) : 0;

        if (rc < 0)
            return rc;
        if (bytes[i] > 0)
            report_bytes(bench, programs[i].name, bytes[i], "stripped");
    }
    if (!options->initrd || !options->volt_init)
        return bench_skip(err, "the rest: no initramfs or volt-init");
    int rc = file_bytes(options->initrd, &initramfs, err);
    if (rc == 0 && options->busybox)
        rc = file_bytes(options->busybox, &busybox, err);
    if (rc < 0)
        return rc;
    report_bytes(bench, "initramfs without busybox", initramfs - busybox, NULL);
    report_bytes(bench, "all without busybox", bytes[0] + initramfs - busybox,
                 "volt-vmm and the initramfs, volt-init in it");
    return 0;
}
