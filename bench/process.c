/* SPDX-License-Identifier: Apache-2.0 */
/* Owns starting and ending child processes; see process.h. */
#include "process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/util.h"

#define END_TIMEOUT_NS (60 * NS_PER_S)

static void become(const char *const *argv, const int *keep_fds, unsigned keep_count,
                   const struct process_output *output)
{
    int log = open(output->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int null = open("/dev/null", O_RDONLY);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (log < 0 || null < 0 || dup2(output->stdin_fd ? output->stdin_fd : null, STDIN_FILENO) < 0 ||
        dup2(output->stderr_fd < 0 ? log : output->stderr_fd, STDERR_FILENO) < 0 ||
        dup2(output->stdout_fd < 0 ? log : output->stdout_fd, STDOUT_FILENO) < 0)
        _exit(127);
    for (unsigned i = 0; i < keep_count; i++) {
        if (keep_fds[i] >= 0)
            fcntl(keep_fds[i], F_SETFD, 0);
    }
    execv(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "volt-bench: cannot run '%s': %m\n", argv[0]);
    _exit(127);
}

int process_start(struct process *process, const char *const *argv, const int *keep_fds,
                  unsigned keep_count, const struct process_output *output, struct err *err)
{
    uint64_t start_ns = now_ns();
    pid_t pid = fork();

    if (pid < 0)
        return err_set_errno(err, errno, "starting '%s'", argv[0]);
    if (pid == 0)
        become(argv, keep_fds, keep_count, output);
    *process = (struct process){ .pid = pid, .start_ns = start_ns };
    return 0;
}

static bool reaped_by(pid_t pid, uint64_t deadline_ns)
{
    const struct timespec pause = { .tv_nsec = NS_PER_MS };

    while (now_ns() < deadline_ns) {
        if (waitpid(pid, NULL, WNOHANG) != 0)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

void process_end(struct process *process, int signal)
{
    if (process->pid <= 0)
        return;
    kill(process->pid, signal);
    if (!reaped_by(process->pid, now_ns() + END_TIMEOUT_NS)) {
        kill(process->pid, SIGKILL);
        waitpid(process->pid, NULL, 0);
    }
    process->pid = 0;
}

int process_wait(struct process *process, int *ret_status, struct err *err)
{
    int status;

    while (waitpid(process->pid, &status, 0) < 0) {
        if (errno != EINTR)
            return err_set_errno(err, errno, "waiting for a process to end");
    }
    process->pid = 0;
    *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return 0;
}

static uint64_t thread_ns(pid_t pid, const char *tid)
{
    char path[300];
    uint64_t ns = 0;

    snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", (int)pid, tid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%" SCNu64, &ns) != 1)
        ns = 0;
    if (file)
        fclose(file);
    return ns;
}

uint64_t process_cpu_ns(pid_t pid)
{
    char path[32];
    uint64_t total_ns = 0;
    struct dirent *entry;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    while (dir && (entry = readdir(dir)))
        total_ns += thread_ns(pid, entry->d_name);
    if (dir)
        closedir(dir);
    return total_ns;
}

uint64_t process_vcpu0_ns(pid_t pid)
{
    char tid[16];

    snprintf(tid, sizeof tid, "%d", (int)pid);
    return thread_ns(pid, tid);
}
