/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the console's log has an end, which no guest can move. Method: a UART on a machine without
 * KVM (fake_vm.h), with a log that is nearly full. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "devices/uart.h"
#include "fake_vm.h"
#include "tap_main.h"

#define THR 0

/* What a log has after `count` bytes of output, when it had `before`. */
static off_t log_after(off_t before, unsigned count)
{
    struct vm *vm = fake_vm_create();
    int fd = memfd_create("log", MFD_CLOEXEC);
    struct err err = { 0 };
    struct uart *uart;
    struct stat st;

    ck_assert_int_eq(ftruncate(fd, before), 0);
    ck_assert_int_eq(lseek(fd, 0, SEEK_END), before);
    ck_assert_msg(uart_create(vm, &uart, &err) == 0, "%s", err.msg);
    uart_set_log(uart, dup(fd));
    for (unsigned i = 0; i < count; i++) {
        fake_write(uart_device(uart), THR, 'x', 1);
        if (i % 1000 == 0)
            fake_vm_run(vm, 100);
    }
    fake_vm_run(vm, 100);
    ck_assert_int_eq(fstat(fd, &st), 0);
    close(fd);
    uart_device(uart)->ops->destroy(uart_device(uart));
    ck_assert_uint_eq(vm->polls, 0);
    fake_vm_destroy(vm);
    return st.st_size;
}

START_TEST(a_log_has_an_end)
{
    const off_t most = UART_LOG_BYTES_MAX;

    ck_assert_int_eq(log_after(0, 5000), 5000);
    ck_assert_int_eq(log_after(most - 5000, 4999), most - 1);
    ck_assert_int_eq(log_after(most - 5000, 5000), most);
    ck_assert_int_eq(log_after(most - 5000, 9000), most);
    ck_assert_int_eq(log_after(most - 1, 100000), most);
    ck_assert_int_eq(log_after(most, 5000), most);
    ck_assert_int_eq(log_after(most + 7000, 5000), most + 7000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("uart-log");
    TCase *tcase = tap_case(suite, "log");

    tcase_add_test(tcase, a_log_has_an_end);
    return tap_main(suite);
}
