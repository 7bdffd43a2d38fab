/* SPDX-License-Identifier: Apache-2.0 */
/* A preloaded library that puts a process's wall clock an hour ahead: for the test of a restore an
 * hour after its snapshot. With CLOCK_SHIFT_AFTER_S, so many seconds after the process has asked for the
 * time first: as if somebody had set the clock meanwhile. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SHIFT_S 3600

static time_t began_s;

static int has_come(void)
{
    const char *after = getenv("CLOCK_SHIFT_AFTER_S");
    struct timespec now;

    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    if (!began_s)
        began_s = now.tv_sec;
    return !after || now.tv_sec >= began_s + atoi(after);
}

__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *time)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, time);

    if (rc == 0 && has_come() && clock == CLOCK_REALTIME)
        time->tv_sec += SHIFT_S;
    return rc;
}
