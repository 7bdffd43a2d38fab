/* SPDX-License-Identifier: Apache-2.0 */
/* Drives volt-vmm directly over its control protocol (control.h), without poold: boots a VM, starts
 * a template, makes clones of it, wakes them, waits for their answers. One thread; calls block. */
#ifndef VOLT_BENCH_VMM_H
#define VOLT_BENCH_VMM_H

#include "bench.h"
#include "control/control.h"
#include "process.h"

#define VMM_ANSWER_TIMEOUT_MS 120000u
#define VMM_BOOT_TIMEOUT_MS 300000u
#define VMM_EXTRA_ARGS_MAX 8u

/* A boot VM or a template. */
struct vmm {
    struct process process;
    int control, bell; /* ours of each pair, owned; bell -1 for a template */
    uint64_t next_cookie;
};

struct vmm_clone {
    struct vmm *template;
    uint64_t cookie;
    int control, bell, pidfd; /* owned */
    uint64_t sent_ns;         /* just before CLONE was sent */
    uint64_t setup_ns;        /* of its HELLO, once that came */
    uint32_t layers;
};

/* Of a guest with so much memory: 8 from 4 GiB on, else 1. */
unsigned vmm_vcpus(uint64_t ram_bytes);

/* Starts `volt-vmm run`; vmm_expect(vmm->bell, ...) then gives BANNER and PARKED. extra: arguments,
 * NULL-terminated, or NULL. */
int vmm_boot(struct vmm *vmm, const struct bench *bench, uint64_t ram_bytes,
             const char *const *extra, struct err *err);

/* Starts `volt-vmm template` on the snapshot in dir_fd (borrowed); returns when it is ready. */
int vmm_template(struct vmm *vmm, const struct bench *bench, int dir_fd, const char *const *extra,
                 struct err *err);

/* Kills and reaps. Fine on a zeroed or half-built one, and twice. */
void vmm_end(struct vmm *vmm);

/* Waits for a message of this type on fd. Any other message of the same socket that may come in
 * between is dropped; EXITED and end of file are failures that tell why. *ret_fd (may be NULL): the
 * fd that came with it, or -1. */
int vmm_expect(int fd, enum control_type type, uint32_t timeout_ms, struct control_msg *ret_msg,
               int *ret_fd, struct err *err);

/* Makes a random WAKE. flags: DOORBELL_FLAG_*. */
void vmm_wake_init(struct control_msg *wake, enum doorbell_op op, uint32_t flags);

/* Asks for a clone, with `wake` waiting on its bell already, or NULL: it becomes a shell. */
int vmm_clone_start(struct vmm_clone *clone, struct vmm *template, struct control_msg *wake,
                    struct err *err);

/* Takes CLONED and HELLO: the clone is a shell, or more. */
int vmm_clone_hello(struct vmm_clone *clone, struct err *err);

/* Waits on the clone's bell. */
int vmm_clone_expect(struct vmm_clone *clone, enum control_type type, struct control_msg *ret_msg,
                     struct err *err);

/* Sends WAKE; *ret_sent_ns is the time just before. */
int vmm_clone_wake(struct vmm_clone *clone, struct control_msg *wake, uint64_t *ret_sent_ns,
                   struct err *err);

/* Its pid as this process sees it; 0 if it can't be told. */
pid_t vmm_clone_pid(const struct vmm_clone *clone);

/* Kills it and waits until its template has reaped it. */
int vmm_clone_end(struct vmm_clone *clone, struct err *err);

#endif
