/* SPDX-License-Identifier: Apache-2.0 */
/* The one event loop of volt-init: epoll, edge-triggered, single-threaded.
 *
 * A source remembers what it was told (loop.h's users keep readiness flags) and is not watched for
 * room before it was met full, because on a software-only KVM each epoll_ctl costs a millisecond, and
 * so does being told at once of what was known.
 */
#ifndef GUEST_LOOP_H
#define GUEST_LOOP_H

#include <stdbool.h>
#include <stdint.h>

/* Embedded in its owner. After loop_remove no event for it is delivered any more. */
struct loop_source {
    void (*ready)(struct loop_source *source, uint32_t events); /* EPOLLIN, EPOLLOUT, ... */
    int fd;                                                     /* the owner's */
};

/* One deadline; embedded in its owner, which must outlive it or stop it. */
struct loop_timer {
    void (*expired)(struct loop_timer *timer);
    uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: not running */
    struct loop_timer *next;
};

/* 0 or -errno. */
int loop_init(void);
int loop_add(struct loop_source *source, uint32_t events);
/* The same, level-triggered: what is not dealt with is told again. */
int loop_add_level(struct loop_source *source, uint32_t events);
/* Watches one that was added for other events. What is so already is told again. */
int loop_change(struct loop_source *source, uint32_t events);
/* The fd must still be open. */
void loop_remove(struct loop_source *source);
/* The same for an fd that is closed next, with all its duplicates: that takes it out of the epoll,
 * too. */
void loop_forget(const struct loop_source *source);

/* Starts, or moves, a timer. */
void loop_timer_start(struct loop_timer *timer, uint64_t after_ns);
void loop_timer_stop(struct loop_timer *timer);

/* Waits for events and delivers them, then the timers due; with `poll` it does not wait. */
void loop_turn(bool poll);

/* CLOCK_MONOTONIC; no system call where the vDSO serves it. */
uint64_t monotonic_ns(void);

#endif
