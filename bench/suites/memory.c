/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `memory`: a clone's private memory, the guest's and the VMM's own told apart by mapping. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "bench.h"
#include "image.h"

struct usage {
    uint64_t guest_bytes, vmm_bytes; /* private, resident */
    uint64_t page_table_bytes;
};

/* The guest's mapping is the one that is at least as large as its RAM. */
static int read_usage(pid_t pid, uint64_t ram_bytes, struct usage *ret, struct err *err)
{
    char path[64], line[512];
    bool guest = false;
    uint64_t kib;

    *ret = (struct usage){ 0 };
    snprintf(path, sizeof path, "/proc/%d/smaps", (int)pid);
    FILE *smaps = fopen(path, "re");
    if (!smaps)
        return err_set_errno(err, errno, "opening %s", path);
    while (fgets(line, sizeof line, smaps)) {
        uint64_t from, to;

        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2)
            guest = to - from >= ram_bytes;
        else if (sscanf(line, "Private_Clean: %" SCNu64, &kib) == 1 ||
                 sscanf(line, "Private_Dirty: %" SCNu64, &kib) == 1)
            *(guest ? &ret->guest_bytes : &ret->vmm_bytes) += kib << 10;
    }
    fclose(smaps);
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "re");
    while (status && fgets(line, sizeof line, status)) {
        if (sscanf(line, "VmPTE: %" SCNu64, &kib) == 1)
            ret->page_table_bytes = kib << 10;
    }
    if (status)
        fclose(status);
    return 0;
}

static void report_usage(struct bench *bench, const char *state, const struct usage *usage)
{
    const struct {
        const char *what;
        uint64_t bytes;
    } rows[] = { { "VMM private", usage->vmm_bytes },
                 { "guest private", usage->guest_bytes },
                 { "page tables", usage->page_table_bytes } };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        char name[64];
        const struct report_row row = { .name = name, .unit = "bytes" };

        snprintf(name, sizeof name, "%s, %s", rows[i].what, state);
        report_value(&bench->report, &row, (double)rows[i].bytes);
    }
}

static int measure(struct bench *bench, struct vmm_clone *clone, struct err *err)
{
    struct control_msg wake, msg;
    struct usage usage;
    uint64_t sent_ns;
    int rc = vmm_clone_hello(clone, err);
    pid_t pid = vmm_clone_pid(clone);

    if (rc == 0)
        rc = read_usage(pid, MIB(128), &usage, err);
    if (rc < 0)
        return rc;
    report_usage(bench, "shell", &usage);
    vmm_wake_init(&wake, DOORBELL_OP_RESTORE, DOORBELL_FLAG_PARK_AGAIN);
    rc = vmm_clone_wake(clone, &wake, &sent_ns, err);
    if (rc == 0)
        rc = vmm_clone_expect(clone, CONTROL_PARKED, &msg, err);
    if (rc == 0)
        rc = read_usage(pid, MIB(128), &usage, err);
    if (rc == 0)
        report_usage(bench, "parked", &usage);
    return rc;
}

int suite_memory(struct bench *bench, struct err *err)
{
    struct err ignored = { 0 };
    struct vmm_clone clone;
    struct image *image;
    struct vmm template;
    int rc = image_get(bench, MIB(128), &image, err);

    if (rc != 0)
        return rc;
    rc = vmm_template(&template, bench, image->dir_fd, NULL, err);
    if (rc < 0)
        return rc;
    rc = vmm_clone_start(&clone, &template, NULL, err);
    if (rc == 0)
        rc = measure(bench, &clone, err);
    vmm_clone_end(&clone, &ignored);
    vmm_end(&template);
    /* A VM is not dumpable and of another uid: only root may look at it. */
    if (rc == -EACCES || rc == -EPERM)
        return bench_skip(err, "only root can read the maps of a VM: run it as root");
    return rc;
}
