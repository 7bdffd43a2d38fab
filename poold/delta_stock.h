/* SPDX-License-Identifier: Apache-2.0 */
/* Empty files without a name, for what clones write to their disks: made ahead of need on the
 * thread pool, gone with the last process that has them open. Loop thread only. */
#ifndef VOLT_POOLD_DELTA_STOCK_H
#define VOLT_POOLD_DELTA_STOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define DELTA_STOCK 16u

struct delta_stock {
    uv_loop_t *loop;
    int dir_fd; /* borrowed: the file system that they are on */
    int fds[DELTA_STOCK], made[DELTA_STOCK];
    uint32_t count, made_count;
    bool busy; /* a work fills `made` */
};

void delta_stock_init(struct delta_stock *stock, uv_loop_t *loop, int dir_fd);
/* The fd (the caller's), or -errno. Makes one on the spot only when the stock is empty. */
int delta_stock_take(struct delta_stock *stock);
/* Nothing is under way. */
bool delta_stock_idle(const struct delta_stock *stock);
void delta_stock_fini(struct delta_stock *stock);

#endif
