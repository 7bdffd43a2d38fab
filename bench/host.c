/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the facts about the machine that go with every result. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/util.h"
#include "bench.h"
#include "snapshot/host.h"

static void read_line(const char *path, char *text, size_t bytes)
{
    FILE *file = fopen(path, "re");

    text[0] = '\0';
    if (file && fgets(text, (int)bytes, file))
        text[strcspn(text, "\n")] = '\0';
    if (file)
        fclose(file);
}

static const char *kvm_kind(const struct manifest_cpu *cpu)
{
    if (access("/dev/kvm", R_OK | W_OK) != 0)
        return "none";
    if (cpu->software_only_kvm)
        return access("/sys/module/kvm_pvm", F_OK) == 0 ? "pvm" : "software-only";
    return strcmp(cpu->vendor, "AuthenticAMD") == 0 ? "svm" : "vmx";
}

json_t *host_describe(const struct bench *bench)
{
    struct manifest_cpu cpu = { 0 };
    struct utsname uts = { 0 };
    char governor[64], started[64], thp[128];
    time_t now = time(NULL);
    struct tm tm;

    host_cpu_detect(&cpu);
    uname(&uts);
    read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", governor, sizeof governor);
    read_line("/sys/kernel/mm/transparent_hugepage/enabled", thp, sizeof thp);
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
    double load[1] = { 0 };
    getloadavg(load, 1);
    return json_pack("{s:s, s:s, s:i, s:s, s:s, s:I, s:s, s:s, s:f, s:s, s:s}", "cpu",
                     cpu.model_name, "cpu_vendor", cpu.vendor, "cpus",
                     (int)sysconf(_SC_NPROCESSORS_ONLN), "kernel", uts.release, "kvm",
                     kvm_kind(&cpu), "memory_bytes",
                     (json_int_t)sysconf(_SC_PHYS_PAGES) * HOST_PAGE_BYTES, "governor", governor,
                     "transparent_hugepage", thp, "load_at_start", load[0], "commit",
                     bench->options.commit ? bench->options.commit : "unknown", "started", started);
}
