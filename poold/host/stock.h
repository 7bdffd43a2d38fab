/* SPDX-License-Identifier: Apache-2.0 */
/* Open files that a VM needs and that take long to make (a namespace with a tap, a file without a
 * name), made ahead of need on the thread pool so that no acquire waits for them. Filled from the
 * first taking on: what no pool asks for costs nothing. Loop thread only, but for `make`.
 *
 * Nothing in a stock has a name outside: all of it is gone with its last fd. */
#ifndef VOLT_POOLD_STOCK_H
#define VOLT_POOLD_STOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define STOCK_ITEMS 16u
#define STOCK_ITEM_FDS 3u

struct stock_item {
    int fds[STOCK_ITEM_FDS]; /* what they are is make's to say; -1: none */
    uint32_t number;         /* and what this is */
};

#define STOCK_ITEM_INIT                                                                            \
    (struct stock_item)                                                                            \
    {                                                                                              \
        { -1, -1, -1 }, 0                                                                          \
    }

/* Fills an item that is STOCK_ITEM_INIT. 0 or -errno; what is open then is closed by the caller.
 * Any thread. */
typedef int stock_make(void *context, struct stock_item *ret_item);

struct stock {
    uv_loop_t *loop;
    stock_make *make;
    void *context; /* make's */
    struct stock_item items[STOCK_ITEMS];
    struct stock_item made[STOCK_ITEMS]; /* the work's until it is done */
    uint32_t count, made_count;
    bool busy; /* a work fills `made` */
};

void stock_init(struct stock *stock, uv_loop_t *loop, stock_make *make, void *context);
/* 0 and an item that is the caller's, or -errno. Makes one on the spot only when there is none. */
int stock_take(struct stock *stock, struct stock_item *ret_item);
/* Nothing is under way. */
bool stock_idle(const struct stock *stock);
void stock_fini(struct stock *stock);

void stock_item_close(struct stock_item *item);

#endif
