/* SPDX-License-Identifier: Apache-2.0 */
/* Small things every part needs: scope-bound cleanup, clocks, whole reads and writes, sizes. */
#ifndef VOLT_BASE_UTIL_H
#define VOLT_BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN_OF(a, b) ((a) < (b) ? (a) : (b))
#define MAX_OF(a, b) ((a) > (b) ? (a) : (b))
#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)
#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
#define HOST_PAGE_BYTES 4096u

/* Closes *fd if it is not negative and sets it to -1; errno is kept. */
void close_fd(int *fd);

static inline void free_pointer(void *pointer)
{
    void **p = pointer;

    free(*p);
    *p = NULL;
}

#define _cleanup_close_ __attribute__((cleanup(close_fd)))
#define _cleanup_free_ __attribute__((cleanup(free_pointer)))

/* Hands ownership out of a _cleanup_ variable. */
static inline int take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

#define take_pointer(p)                                                                            \
    ({                                                                                             \
        __auto_type taken_ = *(p);                                                                 \
        *(p) = NULL;                                                                               \
        taken_;                                                                                    \
    })

/* Opens the file of fd once more: a description of its own, with its own flags and offset. The new
 * fd (close-on-exec) or -errno. Reads /proc. */
int fd_reopen(int fd, int flags);

/* CLOCK_MONOTONIC, the clock of every duration in this project, and CLOCK_REALTIME. */
static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static inline uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t align_up(uint64_t value, uint64_t power_of_two)
{
    return (value + power_of_two - 1) & ~(power_of_two - 1);
}

/* One pass over a page of HOST_PAGE_BYTES, 64 at a time, so that the compiler uses vector registers
 * and a page with data is usually told by its first lines. */
static inline bool page_is_zero(const uint8_t *page)
{
    for (unsigned at = 0; at < HOST_PAGE_BYTES; at += 64) {
        uint64_t line[8];

        __builtin_memcpy(line, page + at, sizeof line);
        if (line[0] | line[1] | line[2] | line[3] | line[4] | line[5] | line[6] | line[7])
            return false;
    }
    return true;
}

/* Reads or writes all of `bytes` at `offset`, through short transfers and EINTR. 0 or -errno; a
 * file that ends early is -ENODATA. */
int pread_all(int fd, void *buffer, size_t bytes, uint64_t offset);
int pwrite_all(int fd, const void *buffer, size_t bytes, uint64_t offset);
/* The same at the file's own offset, or into what has none. */
int write_all(int fd, const void *buffer, size_t bytes);

/* Parses "512", "64K", "128M", "2G" (powers of 1024, optional "iB"). False on anything else, and
 * on overflow. */
bool parse_size(const char *text, uint64_t *ret_bytes);
/* The other way, in the largest unit without a remainder: ret. */
#define SIZE_TEXT_BYTES 24
const char *size_text(uint64_t bytes, char ret[SIZE_TEXT_BYTES]);

/* Fills `bytes` with random bytes from the kernel; it never fails once the host has booted. */
void random_bytes(void *buffer, size_t bytes);

#endif
