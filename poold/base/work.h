/* SPDX-License-Identifier: Apache-2.0 */
/* Runs what blocks (files, hashing) on libuv's thread pool. */
#ifndef VOLT_POOLD_WORK_H
#define VOLT_POOLD_WORK_H

#include <uv.h>

/* Calls run(data) on a pool thread, then done(data) on the loop. 0, or -ENOMEM: neither is called.
 */
int work_start(uv_loop_t *loop, void (*run)(void *data), void (*done)(void *data), void *data);

#endif
