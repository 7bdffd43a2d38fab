/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the registers and interrupts of the 16550A; the console behind it is console.c's.
 *
 * How interrupts work
 *   GSI 4 is edge-triggered, so a cause that comes while another is pending must not get lost, and
 *   neither must an edge that the guest had masked. The UART therefore pulses the line when a cause
 *   arises, and again whenever the guest writes IER or MCR, or a saved UART is loaded, with a cause
 *   still pending. A pulse too many costs the guest one look at IIR; a pulse too few, its console.
 *
 *   Transmission takes no time: THR is empty again when the write to it ends, and an enabled THR
 *   empty interrupt becomes pending there. It is the only cause with a memory: reading IIR while it
 *   is the one shown clears it (16550 data sheet, table IV). It is not saved but loaded as pending
 *   wherever it is enabled: a guest caught in mid-transmit then goes on.
 */
#include "devices/uart.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/util.h"
#include "devices/console.h"

#define RX_BYTES 256u /* deeper than the chip's 16: fewer interrupts for the same input */

enum uart_register { RBR_THR_DLL, IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RDI 0x01u
#define IER_THRI 0x02u
#define IER_RLSI 0x04u
#define IER_MASK 0x0fu
#define IIR_NONE 0x01u
#define IIR_THRI 0x02u
#define IIR_RDI 0x04u
#define IIR_RLSI 0x06u
#define IIR_FIFO 0xc0u
#define FCR_ENABLE 0x01u
#define FCR_CLEAR_RX 0x02u
#define LCR_DLAB 0x80u
#define MCR_OUT2 0x08u
#define MCR_LOOP 0x10u
#define MCR_MASK 0x1fu
#define LSR_DR 0x01u
#define LSR_OVERRUN 0x02u
#define LSR_THRE_TEMT 0x60u
#define MSR_CONNECTED 0xb0u /* DCD, DSR, CTS: a terminal is there */

/* Saved. */
struct uart_state {
    uint8_t ier, fcr, lcr, mcr, scr, dll, dlm, overrun;
    uint16_t rx_count;
    uint8_t rx[RX_BYTES]; /* oldest first */
};

struct uart {
    struct device device;
    struct console console;
    pthread_mutex_t lock; /* of what follows; never held with the console's */
    struct uart_state state;
    uint16_t rx_at; /* state.rx is a ring that starts here; 0 in a saved state */
    bool thri_pending;
};

/* IIR's cause bits: the most urgent enabled and pending cause. */
static uint8_t pending_cause(const struct uart *uart)
{
    const struct uart_state *s = &uart->state;

    if ((s->ier & IER_RLSI) && s->overrun)
        return IIR_RLSI;
    if ((s->ier & IER_RDI) && s->rx_count > 0)
        return IIR_RDI;
    if ((s->ier & IER_THRI) && uart->thri_pending)
        return IIR_THRI;
    return IIR_NONE;
}

static bool interrupt_due(const struct uart *uart)
{
    return pending_cause(uart) != IIR_NONE && (uart->state.mcr & MCR_OUT2);
}

static bool rx_push(struct uart *uart, uint8_t byte)
{
    struct uart_state *s = &uart->state;

    if (s->rx_count == RX_BYTES) {
        s->overrun = 1;
        return false;
    }
    s->rx[(uart->rx_at + s->rx_count++) % RX_BYTES] = byte;
    return true;
}

static uint8_t rx_pop(struct uart *uart)
{
    struct uart_state *s = &uart->state;

    if (s->rx_count == 0)
        return 0;
    uint8_t byte = s->rx[uart->rx_at];
    uart->rx_at = (uart->rx_at + 1) % RX_BYTES;
    s->rx_count--;
    return byte;
}

static uint8_t read_iir(struct uart *uart)
{
    uint8_t cause = pending_cause(uart);

    if (cause == IIR_THRI)
        uart->thri_pending = false;
    return cause | (uart->state.fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t read_lsr(struct uart *uart)
{
    uint8_t lsr = LSR_THRE_TEMT;

    if (uart->state.rx_count > 0)
        lsr |= LSR_DR;
    if (uart->state.overrun)
        lsr |= LSR_OVERRUN;
    uart->state.overrun = 0;
    return lsr;
}

static uint8_t read_msr(const struct uart *uart)
{
    uint8_t mcr = uart->state.mcr;

    if (!(mcr & MCR_LOOP))
        return MSR_CONNECTED;
    /* Loopback: DTR, RTS, OUT1 and OUT2 come back as DSR, CTS, RI and DCD. */
    return (uint8_t)((mcr & 0x01) << 5 | (mcr & 0x02) << 3 | (mcr & 0x04) << 4 | (mcr & 0x08) << 4);
}

static uint8_t read_register(struct uart *uart, uint64_t offset)
{
    const struct uart_state *s = &uart->state;
    bool dlab = s->lcr & LCR_DLAB;

    switch (offset) {
    case RBR_THR_DLL:
        return dlab ? s->dll : rx_pop(uart);
    case IER_DLM:
        return dlab ? s->dlm : s->ier;
    case IIR_FCR:
        return read_iir(uart);
    case LCR:
        return s->lcr;
    case MCR:
        return s->mcr;
    case LSR:
        return read_lsr(uart);
    case MSR:
        return read_msr(uart);
    default:
        return s->scr;
    }
}

static void uart_read(struct device *dev, uint64_t offset, void *value, uint32_t bytes)
{
    struct uart *uart = (struct uart *)dev;
    bool emptied = false;

    memset(value, 0xff, bytes);
    if (bytes != 1 || offset >= UART_PIO_BYTES)
        return;
    pthread_mutex_lock(&uart->lock);
    uint16_t before = uart->state.rx_count;
    *(uint8_t *)value = read_register(uart, offset);
    emptied = before > 0 && uart->state.rx_count == 0;
    pthread_mutex_unlock(&uart->lock);
    if (emptied)
        console_input_wanted(&uart->console);
}

static void write_fcr(struct uart *uart, uint8_t value)
{
    if ((value & FCR_CLEAR_RX) || ((value ^ uart->state.fcr) & FCR_ENABLE))
        uart->state.rx_count = 0;
    uart->state.fcr = value & FCR_ENABLE;
}

static void write_ier(struct uart *uart, uint8_t value)
{
    /* Enabling the interrupt while THR is empty, as it always is, makes it pending. */
    if ((value & IER_THRI) && !(uart->state.ier & IER_THRI))
        uart->thri_pending = true;
    uart->state.ier = value & IER_MASK;
}

/* The next two return whether the guest's interrupt line needs a pulse. */
static bool write_thr(struct uart *uart, uint8_t value)
{
    bool told = uart->thri_pending; /* at the byte before, and not looked at since */

    uart->thri_pending = true;
    if (uart->state.mcr & MCR_LOOP) {
        rx_push(uart, value);
        told = false;
    }
    return !told && interrupt_due(uart);
}

static bool write_register(struct uart *uart, uint64_t offset, uint8_t value)
{
    struct uart_state *s = &uart->state;
    bool dlab = s->lcr & LCR_DLAB;

    switch (offset) {
    case RBR_THR_DLL:
        if (dlab) {
            s->dll = value;
            return false;
        }
        return write_thr(uart, value);
    case IER_DLM:
        if (dlab) {
            s->dlm = value;
            return false;
        }
        write_ier(uart, value);
        return interrupt_due(uart);
    case IIR_FCR:
        write_fcr(uart, value);
        return false;
    case LCR:
        s->lcr = value;
        return false;
    case MCR:
        s->mcr = value & MCR_MASK;
        return interrupt_due(uart);
    case SCR:
        s->scr = value;
        return false;
    default:
        return false;
    }
}

static void uart_write(struct device *dev, uint64_t offset, const void *value, uint32_t bytes)
{
    struct uart *uart = (struct uart *)dev;
    uint8_t byte = *(const uint8_t *)value;

    if (bytes != 1 || offset >= UART_PIO_BYTES)
        return;
    pthread_mutex_lock(&uart->lock);
    bool printed =
        offset == RBR_THR_DLL && !(uart->state.lcr & LCR_DLAB) && !(uart->state.mcr & MCR_LOOP);
    bool pulse = write_register(uart, offset, byte);
    pthread_mutex_unlock(&uart->lock);
    if (printed)
        console_put(&uart->console, byte);
    if (pulse)
        vm_irq_pulse(uart->device.vm, UART_GSI);
    if (offset == IIR_FCR && (byte & FCR_CLEAR_RX))
        console_input_wanted(&uart->console);
}

static uint32_t input_space(void *owner)
{
    struct uart *uart = owner;

    pthread_mutex_lock(&uart->lock);
    uint32_t space = RX_BYTES - uart->state.rx_count;
    pthread_mutex_unlock(&uart->lock);
    return space;
}

static void take_input(void *owner, const uint8_t *bytes, uint32_t count)
{
    struct uart *uart = owner;

    pthread_mutex_lock(&uart->lock);
    for (uint32_t i = 0; i < count; i++)
        rx_push(uart, bytes[i]);
    bool pulse = interrupt_due(uart);
    pthread_mutex_unlock(&uart->lock);
    if (pulse)
        vm_irq_pulse(uart->device.vm, UART_GSI);
}

/* ---- Saved state. ---- */

static int uart_post_load(const void *state, struct err *err)
{
    const struct uart_state *s = state;

    if (s->rx_count > RX_BYTES)
        return err_set(err, EINVAL, "rx_count is %u: at most %u", s->rx_count, RX_BYTES);
    return 0;
}

static const struct state_field uart_fields[] = {
    STATE_FIELD(struct uart_state, ier, STATE_U8, 1, 1),
    STATE_FIELD(struct uart_state, fcr, STATE_U8, 1, 1),
    STATE_FIELD(struct uart_state, lcr, STATE_U8, 1, 1),
    STATE_FIELD(struct uart_state, mcr, STATE_U8, 1, 1),
    STATE_FIELD(struct uart_state, scr, STATE_U8, 1, 1),
    STATE_FIELD(struct uart_state, dll, STATE_U8, 1, 1),
    STATE_FIELD(struct uart_state, dlm, STATE_U8, 1, 1),
    STATE_FIELD(struct uart_state, overrun, STATE_U8, 1, 1),
    STATE_FIELD(struct uart_state, rx_count, STATE_U16, 1, 1),
    STATE_FIELD(struct uart_state, rx, STATE_BYTES, RX_BYTES, 1),
};

static const struct state_desc uart_desc = {
    .name = "uart",
    .version = 1,
    .field_count = ARRAY_LEN(uart_fields),
    .field = uart_fields,
    .struct_bytes = sizeof(struct uart_state),
    .post_load = uart_post_load,
};

static void uart_save(struct device *dev, void *ret_state)
{
    struct uart *uart = (struct uart *)dev;
    struct uart_state *ret = ret_state;

    pthread_mutex_lock(&uart->lock);
    *ret = uart->state;
    memset(ret->rx, 0, sizeof(ret->rx));
    for (unsigned i = 0; i < ret->rx_count; i++)
        ret->rx[i] = uart->state.rx[(uart->rx_at + i) % RX_BYTES];
    pthread_mutex_unlock(&uart->lock);
}

static int uart_load(struct device *dev, const void *state, struct err *err)
{
    struct uart *uart = (struct uart *)dev;
    const struct uart_state *s = state;

    (void)err;
    pthread_mutex_lock(&uart->lock);
    uart->state = *s;
    uart->state.ier &= IER_MASK;
    uart->state.fcr &= FCR_ENABLE;
    uart->state.mcr &= MCR_MASK;
    uart->rx_at = 0;
    uart->thri_pending = uart->state.ier & IER_THRI;
    bool pulse = interrupt_due(uart);
    pthread_mutex_unlock(&uart->lock);
    if (pulse)
        vm_irq_pulse(uart->device.vm, UART_GSI);
    return 0;
}

/* ---- Life. ---- */

static void uart_destroy(struct device *dev)
{
    struct uart *uart = (struct uart *)dev;

    if (!uart)
        return;
    console_fini(&uart->console);
    pthread_mutex_destroy(&uart->lock);
    free(uart);
}

static const struct dev_ops uart_ops = {
    .name = "uart",
    .read = uart_read,
    .write = uart_write,
    .desc = &uart_desc,
    .save = uart_save,
    .load = uart_load,
    .destroy = uart_destroy,
};

int uart_create(struct vm *vm, struct uart **ret_uart, struct err *err)
{
    struct uart *uart = calloc(1, sizeof(*uart));

    if (!uart)
        return err_set(err, ENOMEM, "no memory for the UART");
    pthread_mutex_init(&uart->lock, NULL);
    uart->device = (struct device){ .ops = &uart_ops,
                                    .vm = vm,
                                    .bus = BUS_PIO,
                                    .base = UART_PIO_BASE,
                                    .bytes = UART_PIO_BYTES,
                                    .gsi = UART_GSI,
                                    .name = "uart" };
    uart->console.input_space = input_space;
    uart->console.take_input = take_input;
    uart->console.owner = uart;
    int rc = console_init(&uart->console, vm, err);
    if (rc < 0) {
        uart_destroy(&uart->device);
        return rc;
    }
    *ret_uart = uart;
    return 0;
}

struct device *uart_device(struct uart *uart)
{
    return &uart->device;
}

int uart_attach(struct uart *uart, int client_fd, bool backlog_only, struct err *err)
{
    return console_attach(&uart->console, client_fd, backlog_only, err);
}

void uart_set_log(struct uart *uart, int log_fd)
{
    console_set_log(&uart->console, log_fd);
}

uint64_t uart_dropped_bytes(struct uart *uart)
{
    return console_dropped_bytes(&uart->console);
}

bool uart_is_attached(const struct uart *uart)
{
    return console_is_attached(&uart->console);
}
