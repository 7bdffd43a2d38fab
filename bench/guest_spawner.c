/* SPDX-License-Identifier: Apache-2.0 */
/* The floor of an exec, timed by a program in the guest: for each byte that it reads it starts a
 * program by vfork and exec, waits for its end, and says how many nanoseconds that took.
 *
 * usage: guest-spawner PROGRAM
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

/* Whether it ended with success. By vfork, which costs least: that is what is timed. */
static int run(char *program)
{
    char *const argv[] = { program, NULL };
    pid_t pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork) */
    int status;

    if (pid == 0) {
        execv(program, argv);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

int main(int argc, char **argv)
{
    char byte;

    if (argc != 2)
        return 64;
    while (read(STDIN_FILENO, &byte, 1) == 1) {
        long long start_ns = now_ns();

        if (!run(argv[1]))
            return 1;
        dprintf(STDOUT_FILENO, "%lld\n", now_ns() - start_ns);
    }
    return 0;
}
