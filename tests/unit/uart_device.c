/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the UART prints everything, types everything no faster than the guest reads, interrupts for
 * each cause, and never leaves a guest waiting, not even one moved in the middle of a transmission.
 * Method: registers read and written as Linux' 8250 driver does; clients on socket pairs and pipes.
 */
#include "devices/uart.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/util.h"
#include "fake_vm.h"
#include "tap_main.h"

enum { THR = 0, RBR = 0, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };

struct fixture {
    struct vm *vm;
    struct uart *uart;
    struct device *dev;
};

static void set_up(struct fixture *f)
{
    struct err err = { 0 };

    f->vm = fake_vm_create();
    ck_assert_msg(uart_create(f->vm, &f->uart, &err) == 0, "%s", err.msg);
    f->dev = uart_device(f->uart);
}

static void tear_down(struct fixture *f)
{
    f->dev->ops->destroy(f->dev);
    ck_assert_uint_eq(f->vm->polls, 0);
    fake_vm_destroy(f->vm);
}

static uint8_t in(struct fixture *f, unsigned offset)
{
    return (uint8_t)fake_read(f->dev, offset, 1);
}

static void out(struct fixture *f, unsigned offset, unsigned value)
{
    fake_write(f->dev, offset, value, 1);
}

static void print(struct fixture *f, const char *text)
{
    for (; *text; text++)
        out(f, THR, (uint8_t)*text);
}

static unsigned pulses(struct fixture *f)
{
    return atomic_exchange(&f->vm->pulses[UART_GSI], 0);
}

/* A client on a socket pair; returns our end. */
static int attach(struct fixture *f, bool backlog_only)
{
    struct err err = { 0 };
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    ck_assert_msg(uart_attach(f->uart, pair[1], backlog_only, &err) == 0, "%s", err.msg);
    return pair[0];
}

static void expect(struct fixture *f, int fd, const char *text)
{
    char buffer[256] = "";

    fake_vm_run(f->vm, 100);
    ssize_t n = read(fd, buffer, sizeof(buffer) - 1);
    ck_assert_int_eq(n, (ssize_t)strlen(text));
    ck_assert_str_eq(buffer, text);
}

static void expect_eof(struct fixture *f, int fd)
{
    char byte;

    fake_vm_run(f->vm, 100);
    ck_assert_int_eq(read(fd, &byte, 1), 0);
}

/* What Linux' driver enables when a tty is opened. */
static void open_tty(struct fixture *f)
{
    out(f, FCR, 0x07);
    out(f, LCR, 0x03);
    out(f, MCR, 0x0b);
    out(f, IER, 0x05);
    pulses(f);
}

/* ---- Output. ---- */

START_TEST(output_wakes_nobody_unless_somebody_reads)
{
    struct fixture f;

    set_up(&f);
    print(&f, "one ");
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0);
    int fd = attach(&f, false);
    expect(&f, fd, "one ");
    print(&f, "two three");
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 1); /* one wake-up for all of it */
    expect(&f, fd, "two three");
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(backlog_keeps_the_newest)
{
    struct fixture f;
    char got[UART_BACKLOG_BYTES + 1];
    size_t total = 0;

    set_up(&f);
    for (unsigned i = 0; i < UART_BACKLOG_BYTES + 1000; i++)
        out(&f, THR, 'a' + i % 26);
    ck_assert_uint_eq(uart_dropped_bytes(f.uart), 1000);
    int fd = attach(&f, true);
    for (ssize_t n = 1; n > 0;) {
        n = read(fd, got + total, sizeof(got) - total);
        total += n > 0 ? (size_t)n : 0;
        fake_vm_run(f.vm, 100);
    }
    ck_assert_uint_eq(total, UART_BACKLOG_BYTES);
    for (unsigned i = 0; i < total; i++)
        ck_assert_int_eq(got[i], 'a' + (int)((i + 1000) % 26));
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(backlog_only_ends_after_it)
{
    struct fixture f;

    set_up(&f);
    print(&f, "log");
    int fd = attach(&f, true);
    print(&f, "later");
    expect(&f, fd, "log");
    expect_eof(&f, fd);
    close(fd);
    fd = attach(&f, true); /* empty-handed clients are not kept waiting either */
    expect(&f, fd, "loglater");
    expect_eof(&f, fd);
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(second_client_replaces_the_first)
{
    struct fixture f;

    set_up(&f);
    int first = attach(&f, false);
    int second = attach(&f, false);
    expect_eof(&f, first);
    print(&f, "x");
    expect(&f, second, "x");
    close(first);
    close(second);
    tear_down(&f);
}
END_TEST

START_TEST(client_that_does_not_read_loses_the_oldest)
{
    struct fixture f;
    static char got[4 << 20];
    size_t total = 0;
    const size_t printed = 2 << 20;

    set_up(&f);
    int fd = attach(&f, false);
    for (size_t i = 0; i < printed; i++) {
        out(&f, THR, (unsigned)(i / 4096) & 0xff);
        if (i % 1000 == 0)
            fake_vm_run(f.vm, 10);
    }
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0); /* does not spin */
    for (ssize_t n = 1; n > 0;) {
        n = read(fd, got + total, sizeof(got) - total);
        total += n > 0 ? (size_t)n : 0;
        fake_vm_run(f.vm, 100);
    }
    ck_assert_uint_ge(total, UART_BACKLOG_BYTES);
    ck_assert_uint_lt(total, printed);
    ck_assert_int_eq((uint8_t)got[total - 1], (int)((printed - 1) / 4096) & 0xff);
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(log_gets_everything_from_then_on)
{
    struct fixture f;
    char got[64] = "";
    int fd = memfd_create("log", MFD_CLOEXEC);

    set_up(&f);
    print(&f, "before ");
    uart_set_log(f.uart, dup(fd));
    print(&f, "after");
    fake_vm_run(f.vm, 100);
    ck_assert_int_eq(pread(fd, got, sizeof(got), 0), 5);
    ck_assert_str_eq(got, "after");
    close(fd);
    tear_down(&f);
}
END_TEST

/* ---- Input. ---- */

START_TEST(input_interrupts_and_is_read)
{
    struct fixture f;

    set_up(&f);
    open_tty(&f);
    int fd = attach(&f, false);
    ck_assert_int_eq(write(fd, "ls\n", 3), 3);
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(pulses(&f), 1);
    ck_assert_uint_eq(in(&f, IIR), 0xc4);
    ck_assert_uint_eq(in(&f, LSR), 0x61);
    ck_assert_uint_eq(in(&f, RBR), 'l');
    ck_assert_uint_eq(in(&f, RBR), 's');
    ck_assert_uint_eq(in(&f, RBR), '\n');
    ck_assert_uint_eq(in(&f, LSR), 0x60);
    ck_assert_uint_eq(in(&f, IIR), 0xc1);
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(input_waits_until_the_guest_reads)
{
    struct fixture f;
    static uint8_t data[10000];
    unsigned got = 0;

    set_up(&f);
    open_tty(&f);
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7);
    int fd = attach(&f, false);
    ck_assert_int_eq(write(fd, data, sizeof(data)), (ssize_t)sizeof(data));
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0); /* full, and does not spin */
    while (in(&f, LSR) & 0x01) {
        ck_assert_uint_eq(in(&f, RBR), data[got]);
        got++;
        fake_vm_run(f.vm, 100);
    }
    ck_assert_uint_eq(got, sizeof(data));
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(half_closed_client_still_listens)
{
    struct fixture f;

    set_up(&f);
    int fd = attach(&f, false);
    shutdown(fd, SHUT_WR);
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0);
    print(&f, "still");
    expect(&f, fd, "still");
    close(fd);
    fake_vm_run(f.vm, 100);
    print(&f, "nobody");
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(fake_vm_run(f.vm, 100), 0);
    tear_down(&f);
}
END_TEST

START_TEST(client_that_is_no_socket)
{
    struct fixture f;
    struct err err = { 0 };
    int ends[2];
    char got[8] = "";

    set_up(&f);
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(uart_attach(f.uart, ends[1], false, &err), 0);
    print(&f, "pipe");
    fake_vm_run(f.vm, 10);
    ck_assert_int_eq(read(ends[0], got, sizeof(got)), 4);
    ck_assert_str_eq(got, "pipe");
    ck_assert_int_lt(uart_attach(f.uart, -1, false, &err), 0);
    close(ends[0]);
    tear_down(&f);
}
END_TEST

/* ---- Registers and interrupts. ---- */

START_TEST(registers_read_back)
{
    struct fixture f;

    set_up(&f);
    out(&f, SCR, 0x5a);
    ck_assert_uint_eq(in(&f, SCR), 0x5a);
    out(&f, LCR, 0x83);
    out(&f, 0, 0x0c);
    out(&f, 1, 0x01);
    ck_assert_uint_eq(in(&f, 0), 0x0c);
    ck_assert_uint_eq(in(&f, 1), 0x01);
    out(&f, LCR, 0x03);
    ck_assert_uint_eq(in(&f, IER), 0);
    out(&f, IER, 0xff);
    ck_assert_uint_eq(in(&f, IER), 0x0f);
    ck_assert_uint_eq(in(&f, MSR), 0xb0);
    ck_assert_uint_eq(fake_read(f.dev, 0, 4), UINT32_MAX); /* bytes only */
    ck_assert_uint_eq(fake_read(f.dev, 8, 1), 0xff);
    fake_write(f.dev, 200, 1, 1);
    tear_down(&f);
}
END_TEST

START_TEST(loopback_returns_what_is_sent)
{
    struct fixture f;

    set_up(&f);
    int fd = attach(&f, false);
    out(&f, MCR, 0x1a); /* as Linux probes */
    ck_assert_uint_eq(in(&f, MSR) & 0xf0, 0x90);
    out(&f, THR, 'L');
    ck_assert_uint_eq(in(&f, LSR) & 1, 1);
    ck_assert_uint_eq(in(&f, RBR), 'L');
    for (unsigned i = 0; i < 400; i++)
        out(&f, THR, i & 0xff);
    ck_assert_uint_eq(in(&f, LSR) & 0x02, 0x02); /* overrun, told once */
    ck_assert_uint_eq(in(&f, LSR) & 0x02, 0);
    out(&f, FCR, 0x03);
    ck_assert_uint_eq(in(&f, LSR) & 1, 0);
    out(&f, MCR, 0x0b);
    print(&f, "out");
    expect(&f, fd, "out"); /* and nothing of the loopback */
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(thr_empty_interrupt)
{
    struct fixture f;

    set_up(&f);
    open_tty(&f);
    out(&f, IER, 0x07); /* start_tx */
    ck_assert_uint_eq(pulses(&f), 1);
    ck_assert_uint_eq(in(&f, IIR), 0xc2);
    ck_assert_uint_eq(in(&f, IIR), 0xc1); /* looking clears it */
    print(&f, "0123456789abcdef");
    ck_assert_uint_eq(pulses(&f), 1); /* one a batch */
    ck_assert_uint_eq(in(&f, IIR), 0xc2);
    out(&f, IER, 0x05); /* stop_tx */
    print(&f, "x");
    ck_assert_uint_eq(pulses(&f), 0);
    tear_down(&f);
}
END_TEST

START_TEST(no_interrupt_without_out2)
{
    struct fixture f;

    set_up(&f);
    out(&f, IER, 0x02);
    ck_assert_uint_eq(pulses(&f), 0);
    out(&f, MCR, 0x08);
    ck_assert_uint_eq(pulses(&f), 1);
    tear_down(&f);
}
END_TEST

/* ---- Saved state. ---- */

static void move_to_new(struct fixture *f)
{
    struct device *old = f->dev;
    struct err err = { 0 };

    ck_assert_int_eq(uart_create(f->vm, &f->uart, &err), 0);
    f->dev = uart_device(f->uart);
    pulses(f);
    ck_assert_msg(fake_vm_move(old, f->dev, &err) == 0, "%s", err.msg);
    old->ops->destroy(old);
}

START_TEST(moved_in_mid_transmit_goes_on)
{
    struct fixture f;

    set_up(&f);
    open_tty(&f);
    out(&f, IER, 0x07);
    ck_assert_uint_eq(in(&f, IIR), 0xc2);
    print(&f, "half a li");
    move_to_new(&f); /* the interrupt was on its way, or has just been looked at: */
    ck_assert_uint_eq(pulses(&f), 1);
    ck_assert_uint_eq(in(&f, IIR), 0xc2);
    ck_assert_uint_eq(in(&f, IER), 0x07);
    tear_down(&f);
}
END_TEST

START_TEST(moved_at_rest_stays_quiet_and_keeps_input)
{
    struct fixture f;

    set_up(&f);
    open_tty(&f);
    out(&f, SCR, 0x77);
    move_to_new(&f);
    ck_assert_uint_eq(pulses(&f), 0);
    ck_assert_uint_eq(in(&f, SCR), 0x77);
    int fd = attach(&f, false);
    ck_assert_int_eq(write(fd, "abc", 3), 3);
    fake_vm_run(f.vm, 100);
    ck_assert_uint_eq(in(&f, RBR), 'a');
    move_to_new(&f);
    ck_assert_uint_eq(pulses(&f), 1);
    ck_assert_uint_eq(in(&f, RBR), 'b');
    ck_assert_uint_eq(in(&f, RBR), 'c');
    ck_assert_uint_eq(in(&f, LSR) & 1, 0);
    close(fd);
    tear_down(&f);
}
END_TEST

START_TEST(bad_state_is_refused)
{
    struct fixture f;
    struct err err = { 0 };

    set_up(&f);
    const struct state_desc *desc = f.dev->ops->desc;
    _cleanup_free_ uint8_t *state = calloc(1, desc->struct_bytes);
    f.dev->ops->save(f.dev, state);
    ck_assert_int_eq(desc->post_load(state, &err), 0);
    for (unsigned i = 0; i < desc->field_count; i++) {
        const struct state_field *field = &desc->field[i];
        uint32_t width = field->kind == STATE_BYTES ? 1 : field->kind;

        ck_assert_uint_le(field->offset + width * field->count, desc->struct_bytes);
        if (strcmp(field->name, "rx_count") == 0)
            memset(state + field->offset, 0xff, 2);
    }
    ck_assert_int_eq(desc->post_load(state, &err), -EINVAL);
    ck_assert_ptr_nonnull(strstr(err.msg, "rx_count"));
    tear_down(&f);
}
END_TEST

START_TEST(random_accesses_do_no_harm)
{
    struct fixture f;
    unsigned seed = 1;

    set_up(&f);
    int fd = attach(&f, false);
    for (unsigned i = 0; i < 200000; i++) {
        char sink[4096];
        unsigned r = (unsigned)rand_r(&seed);

        if (r & 1)
            fake_write(f.dev, (r >> 1) & 15, r >> 8, 1u << ((r >> 5) & 3));
        else
            fake_read(f.dev, (r >> 1) & 15, 1u << ((r >> 5) & 3));
        if (i % 64 == 0) {
            ssize_t n = send(fd, "input", 5, MSG_NOSIGNAL);
            n += read(fd, sink, sizeof(sink));
            (void)n;
            fake_vm_run(f.vm, 20);
        }
        if (i % 5000 == 0) {
            move_to_new(&f);
            close(fd);
            fd = attach(&f, false);
        }
    }
    close(fd);
    tear_down(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("uart_device");
    TCase *tests = tap_case(suite, "uart");

    tcase_add_test(tests, output_wakes_nobody_unless_somebody_reads);
    tcase_add_test(tests, backlog_keeps_the_newest);
    tcase_add_test(tests, backlog_only_ends_after_it);
    tcase_add_test(tests, second_client_replaces_the_first);
    tcase_add_test(tests, client_that_does_not_read_loses_the_oldest);
    tcase_add_test(tests, log_gets_everything_from_then_on);
    tcase_add_test(tests, input_interrupts_and_is_read);
    tcase_add_test(tests, input_waits_until_the_guest_reads);
    tcase_add_test(tests, half_closed_client_still_listens);
    tcase_add_test(tests, client_that_is_no_socket);
    tcase_add_test(tests, registers_read_back);
    tcase_add_test(tests, loopback_returns_what_is_sent);
    tcase_add_test(tests, thr_empty_interrupt);
    tcase_add_test(tests, no_interrupt_without_out2);
    tcase_add_test(tests, moved_in_mid_transmit_goes_on);
    tcase_add_test(tests, moved_at_rest_stays_quiet_and_keeps_input);
    tcase_add_test(tests, bad_state_is_refused);
    tcase_add_test(tests, random_accesses_do_no_harm);
    return tap_main(suite);
}
