/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop: see loop.h. Timers are few, so they are a plain list. */
#include "loop.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <time.h>

#define BATCH_EVENTS 16

static int epoll_fd = -1;
static struct epoll_event batch[BATCH_EVENTS];
static int batch_count;
static struct loop_timer *timers;

uint64_t monotonic_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int loop_init(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return epoll_fd < 0 ? -errno : 0;
}

int loop_add_level(struct loop_source *source, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = source };

    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, source->fd, &event) < 0 ? -errno : 0;
}

int loop_add(struct loop_source *source, uint32_t events)
{
    return loop_add_level(source, events | EPOLLET);
}

int loop_change(struct loop_source *source, uint32_t events)
{
    struct epoll_event event = { .events = events | EPOLLET, .data.ptr = source };

    return epoll_ctl(epoll_fd, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno : 0;
}

void loop_forget(const struct loop_source *source)
{
    for (int i = 0; i < batch_count; i++)
        if (batch[i].data.ptr == source)
            batch[i].data.ptr = NULL;
}

void loop_remove(struct loop_source *source)
{
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
    loop_forget(source);
}

void loop_timer_stop(struct loop_timer *timer)
{
    for (struct loop_timer **at = &timers; *at; at = &(*at)->next) {
        if (*at == timer) {
            *at = timer->next;
            break;
        }
    }
    timer->deadline_ns = 0;
}

void loop_timer_start(struct loop_timer *timer, uint64_t after_ns)
{
    loop_timer_stop(timer);
    timer->deadline_ns = monotonic_ns() + after_ns;
    timer->next = timers;
    timers = timer;
}

/* Milliseconds to the next deadline, rounded up; -1 without one. */
static int timeout_ms(void)
{
    uint64_t now, least = UINT64_MAX;

    if (!timers)
        return -1;
    for (const struct loop_timer *timer = timers; timer; timer = timer->next)
        least = timer->deadline_ns < least ? timer->deadline_ns : least;
    now = monotonic_ns();
    if (least <= now)
        return 0;
    least = (least - now + 999999) / 1000000;
    return least > 3600000 ? 3600000 : (int)least;
}

static void timers_expire(void)
{
    uint64_t now = timers ? monotonic_ns() : 0;
    struct loop_timer *timer = timers;

    while (timer) {
        if (timer->deadline_ns > now) {
            timer = timer->next;
            continue;
        }
        loop_timer_stop(timer);
        timer->expired(timer);
        timer = timers; /* the callback may have changed the list */
    }
}

void loop_turn(bool poll)
{
    batch_count = epoll_wait(epoll_fd, batch, BATCH_EVENTS, poll ? 0 : timeout_ms());
    for (int i = 0; i < batch_count; i++) {
        struct loop_source *source = batch[i].data.ptr;

        if (source)
            source->ready(source, batch[i].events);
    }
    batch_count = 0;
    timers_expire();
}
