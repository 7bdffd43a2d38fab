/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes from the kernel, fetched some leases ahead so that most take no system call. A byte
 * is handed out once and wiped. Loop thread only. */
#ifndef VOLT_POOLD_RANDOM_STOCK_H
#define VOLT_POOLD_RANDOM_STOCK_H

#include <assert.h>
#include <string.h>

#include "base/util.h"

struct random_stock {
    uint8_t bytes[256];
    size_t left;
};

static inline void random_stock_take(struct random_stock *stock, void *ret_bytes, size_t bytes)
{
    assert(bytes <= sizeof stock->bytes);
    if (stock->left < bytes) {
        random_bytes(stock->bytes, sizeof stock->bytes);
        stock->left = sizeof stock->bytes;
    }
    stock->left -= bytes;
    memcpy(ret_bytes, stock->bytes + stock->left, bytes);
    explicit_bzero(stock->bytes + stock->left, bytes);
}

/* The same as a control_random_fn. */
static inline void random_stock_draw(void *stock, void *ret_bytes, size_t bytes)
{
    random_stock_take(stock, ret_bytes, bytes);
}

#endif
