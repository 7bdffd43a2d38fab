/* SPDX-License-Identifier: Apache-2.0 */
/* The host's end of a serial console: a ring of the last output, one client, one log. */
#ifndef VOLT_DEVICES_CONSOLE_H
#define VOLT_DEVICES_CONSOLE_H

#include <pthread.h>

#include "devices/device.h"
#include "devices/uart.h"

/* How it works
 *   console_put appends to the ring on the vCPU's thread. Readers (the client, the log) are on the
 *   device thread and hold a position, counted in bytes since creation; they are woken by an
 *   eventfd, once until they have looked. Input goes from the client to `take_input`, and stops
 *   when that takes less than it was given, until console_input_wanted.
 *
 * Locking: `lock` guards ring, written, has_reader and kicked. The rest is the device thread's.
 */
struct console {
    struct vm *vm;
    pthread_mutex_t lock;
    uint8_t *ring;    /* UART_BACKLOG_BYTES; made at the first byte */
    uint64_t written; /* bytes since creation; the ring holds the last of them */
    bool has_reader;
    bool kicked;
    bool input_paused;

    struct vm_poll kick;   /* eventfd */
    struct vm_poll client; /* fd -1: nobody */
    uint32_t client_events;
    uint64_t client_at;
    uint64_t client_end; /* backlog_only: closed when client_at gets here; else UINT64_MAX */
    bool client_full;    /* the last write did not take everything */
    bool client_mute;    /* sends nothing any more */
    int log_fd;
    uint64_t log_at;
    uint64_t log_room; /* bytes until it is full */

    /* How many bytes of input there is room for, and where they go. Device thread. */
    uint32_t (*input_space)(void *owner);
    void (*take_input)(void *owner, const uint8_t *bytes, uint32_t count);
    void *owner;
};

/* input_space, take_input and owner are set by the caller beforehand. 0 or -errno. */
int console_init(struct console *console, struct vm *vm, struct err *err);
void console_fini(struct console *console);

/* Appends a byte of output. Any thread; no system call unless a reader has to be woken. */
void console_put(struct console *console, uint8_t byte);

/* There is room for input again. Any thread; a system call only when input is waiting. */
void console_input_wanted(struct console *console);

/* See uart.h. */
int console_attach(struct console *console, int client_fd, bool backlog_only, struct err *err);
void console_set_log(struct console *console, int log_fd);
uint64_t console_dropped_bytes(struct console *console);
/* Whether a client is attached, for more than the backlog. Device thread. */
bool console_is_attached(const struct console *console);

#endif
