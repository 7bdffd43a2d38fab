/* SPDX-License-Identifier: Apache-2.0 */
/* Another VMM as a child process whose standard streams are its guest's serial console. */
#ifndef VOLT_BENCH_CONSOLE_VMM_H
#define VOLT_BENCH_CONSOLE_VMM_H

#include "bench.h"
#include "process.h"

#define CONSOLE_BANNER "VOLT VM READY"

struct console_vmm {
    struct process process;
    int output; /* its standard output, owned */
};

/* log_name: of its standard error, in the work directory. */
int console_vmm_start(struct console_vmm *vmm, const struct bench *bench, const char *const *argv,
                      const char *log_name, struct err *err);

/* Waits until the console has said `text`, from the process's start. *ret_ns: how long it took. */
int console_vmm_wait(struct console_vmm *vmm, const char *text, uint64_t timeout_ns,
                     uint64_t *ret_ns, struct err *err);
void console_vmm_end(struct console_vmm *vmm);

#endif
