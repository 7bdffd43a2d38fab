/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `firecracker`: another VMM on this machine with the same kernel and initramfs: cold boot to
 * the guest's banner. Only with --firecracker PATH. */
#include <errno.h>
#include <stdio.h>

#include "base/util.h"
#include "bench.h"
#include "default_cmdline.h"
#include "snapshot/host.h"
#include "speaker.h"

#define TIMEOUT_NS (300 * NS_PER_S)

static int write_config(const struct bench *bench, const char *path, struct err *err)
{
    struct manifest_cpu cpu = { 0 };

    host_cpu_detect(&cpu);
    json_t *config = json_pack(
        "{s:{s:s, s:s*, s:s}, s:[], s:{s:i, s:i}}", "boot-source", "kernel_image_path",
        bench->options.kernel, "initrd_path", bench->options.initrd, "boot_args",
        cpu.software_only_kvm ? DEFAULT_CMDLINE " " SOFTWARE_ONLY_CMDLINE : DEFAULT_CMDLINE,
        "drives", "machine-config", "vcpu_count", 1, "mem_size_mib", 128);
    int rc = config ? json_dump_file(config, path, 0) : -1;

    json_decref(config);
    return rc < 0 ? err_set(err, EIO, "writing '%s' failed", path) : 0;
}

static int boot(struct bench *bench, const char *config, struct samples *samples, struct err *err)
{
    const char *const argv[] = { bench->options.firecracker, "--no-api", "--config-file", config,
                                 NULL };
    struct speaker vmm;
    uint64_t at_ns;
    int rc = speaker_start(&vmm, bench, argv, SPEAKER_STDOUT, "firecracker.log", err);

    if (rc < 0)
        return rc;
    progress_show("booting with Firecracker", 0, 0);
    rc = speaker_wait(&vmm, BENCH_BANNER, TIMEOUT_NS, &at_ns, err);
    speaker_end(&vmm);
    if (rc < 0)
        return err_wrap(err, "Firecracker (see firecracker.log in the work directory)");
    samples_add(samples, at_ns - vmm.process.start_ns);
    return 0;
}

int suite_firecracker(struct bench *bench, struct err *err)
{
    struct samples samples = { 0 };
    char config[512];
    int rc;

    if (!bench->options.firecracker)
        return bench_skip(err, "--firecracker PATH was not given");
    if (!bench->options.kernel)
        return bench_skip(err, "no guest kernel: see guest-init/kernel/build-kernel");
    snprintf(config, sizeof config, "%s/firecracker.json", bench->options.work_dir);
    rc = write_config(bench, config, err);
    for (unsigned i = 0; rc == 0 && i < bench_runs(bench, 5, 1); i++)
        rc = boot(bench, config, &samples, err);
    progress_clear();
    if (rc == 0)
        report_latency(&bench->report, &(struct report_row){ .name = "boot to banner" }, &samples);
    samples_fini(&samples);
    return rc;
}
