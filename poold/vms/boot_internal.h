/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of a boot share: its steps (boot.c) and what its VM's process says
 * (boot_link.c). */
#ifndef VOLT_POOLD_BOOT_INTERNAL_H
#define VOLT_POOLD_BOOT_INTERNAL_H

#include "host/link.h"
#include "vms/boot.h"
#include "vms/pool_disk.h"
#include "vms/snapstore.h"
#include "vms/vms.h"

struct warmup;

/* What a boot is at. The table of moves is in boot.c.
 *
 *      the disk is open        PARKED                      the files are open
 *   WAITING ----> BOOTING ---------------------> PARKED ----> SAVING ----> COMMITTING ----> ENDED
 *                    |                              ^             SNAPSHOT_DONE   commit's work
 *                    | PARKED, with a warm-up       | PARKED
 *                    +----> WAKING ----> WARMING ---+
 *                                 AWAKE
 *
 * Any step ends in ENDED when something fails or the boot is cancelled. */
enum boot_step {
    BOOT_WAITING,    /* for its disk; there is no process */
    BOOT_BOOTING,    /* the kernel and volt-init run */
    BOOT_WAKING,     /* woken for its warm-up */
    BOOT_WARMING,    /* the command runs, and then the guest parks again */
    BOOT_PARKED,     /* as the snapshot has it; waits for the transaction */
    BOOT_SAVING,     /* it writes its snapshot */
    BOOT_COMMITTING, /* it is killed; a work commits the transaction */
    BOOT_ENDED,      /* well or badly (boot->err); what it has is let go of */
    BOOT_STEP_COUNT,
};

/* Who has the transaction, and the disk until the VM has it. */
enum boot_files {
    BOOT_FILES_NONE, /* there is none (any more) */
    BOOT_FILES_WORK, /* a work opens, commits or aborts it */
    BOOT_FILES_OPEN,
};

struct boot {
    struct link link;
    struct hosted_pool *hosted;
    enum boot_step step;
    enum boot_files files;
    unsigned refs; /* the link, the timer, a work: freed when none is left and it has ended */
    bool cancelled;
    struct snapstore_job job;
    struct pool_disk disk; /* until the VM has it */
    char *image_config;    /* what was said with it, for warmup_start */
    struct vm_dir dir;     /* whose uid and id (for its control group) are the VM's */
    bool dir_taken;
    int console_fd; /* the file of its console, or -1 */
    uint32_t console_bytes;
    uv_timer_t timer;
    pid_t pid;             /* 0: not running */
    uint32_t said;         /* bits 1 << CONTROL_*, of what is said once */
    struct warmup *warmup; /* its command runs */
    uint64_t began_ns, snapshot_began_ns, cold_boot_ms, stopped_ns;
    uint64_t expected_ms; /* for the boot, by an earlier one */
    int work_rc;
    struct err err;     /* why it failed; code 0: it did not */
    struct err job_err; /* the work's, read when it is done */
};

/* ---- The steps: boot.c ---- */

/* The end, good or bad (boot->err): everything is let go. Once; later calls do nothing. */
void boot_end(struct boot *boot);
void boot_fail(struct boot *boot, int code, const char *what);
/* Moves it on; not to BOOT_ENDED, which boot_end does. */
void boot_step_to(struct boot *boot, enum boot_step step);
/* Whether the VM may say that now (CONTROL_PARKED, _AWAKE, _SNAPSHOT_DONE). */
bool boot_expects(const struct boot *boot, uint32_t type);
/* One that referred to it (boot->refs) does no more. */
void boot_unref(struct boot *boot);
/* It fails unless this is called anew before so much time is over. */
void boot_timer_start(struct boot *boot, uint64_t timeout_ms);
/* Has the VM write its snapshot, if it is parked and the transaction open. */
void boot_snapshot(struct boot *boot);
/* The VM has written it. */
void boot_commit(struct boot *boot);

/* ---- Its process: boot_link.c ---- */

/* boot_fail, with the last lines of the guest's console, if it has printed any. */
void boot_fail_console(struct boot *boot, int code, const char *what);

extern const struct link_ops boot_link_ops;

/* Starts it and watches it. 0 or -errno; then nothing runs. */
int boot_spawn(struct boot *boot, struct err *err);

#endif
