/* SPDX-License-Identifier: Apache-2.0 */
/* An 8250/16550A UART at COM1 (0x3f8, GSI 4) and the serial console behind it.
 *
 * Whatever the guest prints goes into a ring of the last UART_BACKLOG_BYTES bytes. From there the
 * device thread copies it to one attached client and to a log, if there are any; with neither, a
 * byte printed costs no system call. A reader that falls behind by more than the ring loses the
 * oldest bytes. What the client sends is typed into the guest, no faster than the guest reads.
 */
#ifndef VOLT_DEVICES_UART_H
#define VOLT_DEVICES_UART_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/device.h"

#define UART_PIO_BASE 0x3f8u
#define UART_PIO_BYTES 8u
#define UART_GSI 4u
#define UART_BACKLOG_BYTES 65536u
#define UART_LOG_BYTES_MAX (4ull << 20)

struct uart;

/* Makes the UART of vm. Before vm_run. 0 or -errno with a sentence. */
int uart_create(struct vm *vm, struct uart **ret_uart, struct err *err);

/* The device to put into the machine's device array; its ops->destroy frees the uart. */
struct device *uart_device(struct uart *uart);

/* Attaches a client, a stream socket or terminal (transferred, also on failure; made
 * non-blocking): it gets the backlog, then live output. With backlog_only it gets the backlog, no
 * input is taken, and it is closed when it has it. An attached client is replaced and closed.
 * Device thread, or any thread before vm_run. 0 or -errno. */
int uart_attach(struct uart *uart, int client_fd, bool backlog_only, struct err *err);

/* Copies all output from now on to log_fd (transferred; -1 ends it), a file. The log ends silently
 * at the first write that fails, or when the file has UART_LOG_BYTES_MAX: a guest must not fill the
 * host's file system by it. Device thread, or before vm_run. */
void uart_set_log(struct uart *uart, int log_fd);

/* Bytes that fell out of the backlog since creation. Any thread. */
uint64_t uart_dropped_bytes(struct uart *uart);
/* Whether a client is attached, for more than the backlog. Device thread. */
bool uart_is_attached(const struct uart *uart);

#endif
