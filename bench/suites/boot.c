/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `boot`: process start to the guest's banner, volt-vmm and QEMU's microvm machine taking
 * turns with the same kernel, initramfs and command line. */
#include <stdio.h>

#include "base/util.h"
#include "bench.h"
#include "image.h"
#include "peers/peer.h"
#include "speaker.h"

#define QEMU_TIMEOUT_NS (300 * NS_PER_S)

struct figures {
    struct samples volt, volt_setup, volt_guest, qemu;
};

static int boot_volt(struct bench *bench, struct figures *figures, struct err *err)
{
    struct control_msg banner;
    struct vmm vmm;
    int rc = image_boot(bench, &vmm, MIB(128), &banner, err);

    if (rc < 0)
        return rc;
    samples_add(&figures->volt, banner.u.progress.at_ns - vmm.process.start_ns);
    samples_add(&figures->volt_guest, banner.u.progress.run_ns);
    vmm_end(&vmm);
    return 0;
}

/* Process start to HELLO, which volt-vmm says right before its first KVM_RUN. */
static int set_up_volt(struct bench *bench, struct figures *figures, struct err *err)
{
    struct control_msg hello;
    struct vmm vmm;
    int rc = vmm_boot(&vmm, bench, MIB(128), NULL, err);

    if (rc < 0)
        return rc;
    rc = vmm_expect(vmm.control, CONTROL_HELLO, VMM_BOOT_TIMEOUT_MS, &hello, NULL, err);
    if (rc == 0)
        samples_add(&figures->volt_setup, now_ns() - vmm.process.start_ns);
    vmm_end(&vmm);
    return rc;
}

static int boot_qemu(struct bench *bench, struct figures *figures, struct err *err)
{
    const struct bench_options *options = &bench->options;
    struct speaker vmm;
    uint64_t at_ns;

    const char *const argv[] = {
        options->qemu,
        PEER_QEMU_MICROVM("128"),
        "-object", /* Volt has a virtio-rng, too (and a vsock, which needs a host module here) */
        "rng-random,filename=/dev/urandom,id=rng0",
        "-device",
        "virtio-rng-device,rng=rng0",
        "-kernel",
        options->kernel,
        "-append",
        peer_cmdline(),
        options->initrd ? "-initrd" : NULL,
        options->initrd,
        NULL,
    };
    int rc = speaker_start(&vmm, bench, argv, SPEAKER_STDOUT, "qemu.log", err);
    if (rc < 0)
        return rc;
    progress_show("booting with QEMU's microvm", 0, 0);
    rc = speaker_wait(&vmm, BENCH_BANNER, QEMU_TIMEOUT_NS, &at_ns, err);
    speaker_end(&vmm);
    if (rc < 0)
        return err_wrap(err, "QEMU (see qemu.log in the work directory)");
    samples_add(&figures->qemu, at_ns - vmm.process.start_ns);
    return 0;
}

static void report(struct bench *bench, struct figures *figures)
{
    const struct {
        const char *name;
        struct samples *samples;
    } rows[] = { { "volt-vmm to banner", &figures->volt },
                 { "volt-vmm set-up", &figures->volt_setup },
                 { "volt-vmm guest: first KVM_RUN to banner", &figures->volt_guest },
                 { "qemu microvm to banner", &figures->qemu } };

    progress_clear();
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        report_latency(&bench->report, &(struct report_row){ .name = rows[i].name },
                       rows[i].samples);
    if (figures->qemu.count)
        report_value(&bench->report,
                     &(struct report_row){ .name = "volt-vmm/qemu microvm", .note = "p50 / p50" },
                     (double)samples_percentile(&figures->volt, 50) /
                         (double)samples_percentile(&figures->qemu, 50));
}

int suite_boot(struct bench *bench, struct err *err)
{
    unsigned runs = bench_runs(bench, 5, 1), set_ups = bench_runs(bench, 40, 2);
    struct figures figures = { 0 };
    int rc = 0;

    if (!bench->options.kernel)
        return bench_skip(err, "no guest kernel: see guest-init/kernel/build-kernel");
    for (unsigned i = 0; rc == 0 && i < set_ups; i++)
        rc = set_up_volt(bench, &figures, err);
    for (unsigned i = 0; rc == 0 && i < runs; i++) {
        rc = boot_volt(bench, &figures, err);
        if (rc == 0 && bench->options.qemu && !bench->options.quick)
            rc = boot_qemu(bench, &figures, err);
    }
    if (rc == 0)
        report(bench, &figures);
    samples_fini(&figures.volt);
    samples_fini(&figures.volt_setup);
    samples_fini(&figures.volt_guest);
    samples_fini(&figures.qemu);
    return rc;
}
