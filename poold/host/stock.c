/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what is in stock; see stock.h. */
#include "host/stock.h"

#include "base/util.h"
#include "base/work.h"

void stock_item_close(struct stock_item *item)
{
    for (unsigned i = 0; i < STOCK_ITEM_FDS; i++)
        close_fd(&item->fds[i]);
}

static int make_one(const struct stock *stock, struct stock_item *ret_item)
{
    *ret_item = STOCK_ITEM_INIT;
    int rc = stock->make(stock->context, ret_item);

    if (rc < 0)
        stock_item_close(ret_item);
    return rc;
}

static void fill_run(void *data)
{
    struct stock *stock = data;

    for (stock->made_count = 0; stock->made_count < STOCK_ITEMS; stock->made_count++) {
        if (make_one(stock, &stock->made[stock->made_count]) < 0)
            break;
    }
}

static void fill_done(void *data)
{
    struct stock *stock = data;

    stock->busy = false;
    while (stock->made_count > 0) {
        struct stock_item *item = &stock->made[--stock->made_count];

        if (stock->count < STOCK_ITEMS)
            stock->items[stock->count++] = *item;
        else
            stock_item_close(item);
    }
}

void stock_init(struct stock *stock, uv_loop_t *loop, stock_make *make, void *context)
{
    *stock = (struct stock){ .loop = loop, .make = make, .context = context };
}

int stock_take(struct stock *stock, struct stock_item *ret_item)
{
    int rc = 0;

    if (stock->count > 0)
        *ret_item = stock->items[--stock->count];
    else
        rc = make_one(stock, ret_item);
    if (rc == 0 && stock->count < STOCK_ITEMS / 2 && !stock->busy)
        stock->busy = work_start(stock->loop, fill_run, fill_done, stock) == 0;
    return rc;
}

bool stock_idle(const struct stock *stock)
{
    return !stock->busy;
}

void stock_fini(struct stock *stock)
{
    while (stock->count > 0)
        stock_item_close(&stock->items[--stock->count]);
}
