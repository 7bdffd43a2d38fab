/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the stock of clones' delta files; see delta_stock.h. */
#include "delta_stock.h"

#include <errno.h>
#include <fcntl.h>

#include "base/util.h"
#include "work.h"

static int make(int dir_fd)
{
    int fd = openat(dir_fd, ".", O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);

    return fd < 0 ? -errno : fd;
}

static void fill_run(void *data)
{
    struct delta_stock *stock = data;

    for (stock->made_count = 0; stock->made_count < DELTA_STOCK; stock->made_count++) {
        int fd = make(stock->dir_fd);

        if (fd < 0)
            break;
        stock->made[stock->made_count] = fd;
    }
}

static void fill_done(void *data)
{
    struct delta_stock *stock = data;

    stock->busy = false;
    while (stock->made_count > 0) {
        int fd = stock->made[--stock->made_count];

        if (stock->count < DELTA_STOCK)
            stock->fds[stock->count++] = fd;
        else
            close(fd);
    }
}

void delta_stock_init(struct delta_stock *stock, uv_loop_t *loop, int dir_fd)
{
    *stock = (struct delta_stock){ .loop = loop, .dir_fd = dir_fd };
}

int delta_stock_take(struct delta_stock *stock)
{
    int fd = stock->count > 0 ? stock->fds[--stock->count] : make(stock->dir_fd);

    if (stock->count < DELTA_STOCK / 2 && !stock->busy)
        stock->busy = work_start(stock->loop, fill_run, fill_done, stock) == 0;
    return fd;
}

bool delta_stock_idle(const struct delta_stock *stock)
{
    return !stock->busy;
}

void delta_stock_fini(struct delta_stock *stock)
{
    while (stock->count > 0)
        close(stock->fds[--stock->count]);
}
