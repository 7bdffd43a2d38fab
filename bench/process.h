/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes of a benchmark: started with the fds they are told of by number, ended by their
 * own pid, dead when volt-bench dies. */
#ifndef VOLT_BENCH_PROCESS_H
#define VOLT_BENCH_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct process {
    pid_t pid; /* 0: none */
    uint64_t start_ns;
};

/* Where its standard output and error go (borrowed); -1: to log_path, appended. */
struct process_output {
    int stdout_fd, stderr_fd;
    const char *log_path;
    int stdin_fd; /* its standard input (borrowed); 0: /dev/null */
};

/* Starts argv (NULL-terminated, argv[0] a path). keep_fds (borrowed) stay open under their numbers,
 * -1 is skipped. 0 or -errno; a program that can't be executed exits with 127. */
int process_start(struct process *process, const char *const *argv, const int *keep_fds,
                  unsigned keep_count, const struct process_output *output, struct err *err);

/* Sends the signal and reaps; SIGKILL after five seconds. Fine on one that was never started. */
void process_end(struct process *process, int signal);

/* Waits until it ends and reaps it; *ret_status: its exit code, or 128 and its signal. */
int process_wait(struct process *process, int *ret_status, struct err *err);

/* CPU time that all threads of a process have used that are still there; 0 if there is none. */
uint64_t process_cpu_ns(pid_t pid);
/* Of its first thread alone: a VM's vCPU 0. */
uint64_t process_vcpu0_ns(pid_t pid);

#endif
