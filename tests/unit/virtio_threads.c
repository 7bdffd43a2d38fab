/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: vCPUs that notify, reset and restart devices, print and read registers while the device
 * thread is at work on the same devices never see a device stuck or a connection mixed up.
 * Method: two threads over one machine, for a second; then the devices must work as new. It is the
 * test to run under ThreadSanitizer, which will find fault with guest memory alone.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "base/util.h"
#include "devices/uart.h"
#include "tap_main.h"
#include "virtio/rng.h"
#include "virtio/vsock_internal.h"
#include "virtio_driver.h"

#define RUN_NS NS_PER_S

struct fixture {
    struct vm *vm;
    struct device *rng;
    struct vsock *vsock;
    struct uart *uart;
    int console; /* our end */
    atomic_bool stop;
};

static void set_up(struct fixture *f)
{
    const struct vsock_config config = { .guest_cid = 3, .dir_fd = -1, .listen_fd = -1 };
    struct err err = { 0 };
    int pair[2];

    memset(f, 0, sizeof(*f));
    f->vm = fake_vm_create();
    ck_assert_int_eq(rng_create(f->vm, 1, &f->rng, &err), 0);
    ck_assert_int_eq(vsock_create(f->vm, 0, &config, &f->vsock, &err), 0);
    ck_assert_int_eq(uart_create(f->vm, &f->uart, &err), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    ck_assert_int_eq(uart_attach(f->uart, pair[1], false, &err), 0);
    f->console = pair[0];
}

/* The device thread, which also brings clients that come and go. */
static void *device_thread(void *arg)
{
    struct fixture *f = arg;
    char sink[4096];

    while (!atomic_load(&f->stop)) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0)
            break;
        if (vsock_connect_fd(f->vsock, 1024, pair[1]) == 0)
            (void)!write(pair[0], "hello", 5);
        (void)!write(f->console, "typed", 5);
        fake_vm_run(f->vm, 100);
        (void)!read(f->console, sink, sizeof(sink));
        close(pair[0]);
    }
    return NULL;
}

/* Restarts the device now and then, offers chains and notifies in between. */
static void drive(struct virtio_driver *driver, struct vm *vm, struct device *dev,
                  unsigned queue_count, unsigned round)
{
    uint16_t head;
    uint32_t bytes;

    if (round % 16 == 0) {
        ck_assert(driver_start_at(driver, vm, dev, VIRTIO_FEATURE_EVENT_IDX, queue_count, 32,
                                  0x100000 * queue_count));
        const struct driver_buffer buffer = { driver_alloc(driver, 4096), 4096 };
        for (unsigned i = 0; i < 16; i++)
            driver_add(driver, 0, &buffer, 0, 1);
    }
    for (unsigned queue = 0; queue < queue_count; queue++)
        driver_notify(driver, queue);
    while (driver_used(driver, 0, &head, &bytes))
        ;
    driver_interrupts(driver);
}

START_TEST(two_threads_on_one_machine)
{
    struct fixture f;
    struct virtio_driver rng, vsock;
    pthread_t thread;

    set_up(&f);
    ck_assert_int_eq(pthread_create(&thread, NULL, device_thread, &f), 0);
    uint64_t end_ns = now_ns() + RUN_NS;
    for (unsigned round = 0; now_ns() < end_ns; round++) {
        drive(&rng, f.vm, f.rng, 1, round);
        drive(&vsock, f.vm, vsock_device(f.vsock), VSOCK_QUEUE_COUNT, round);
        fake_write(uart_device(f.uart), 0, 'x', 1);
        fake_write(uart_device(f.uart), 1, round & 7, 1);
        fake_read(uart_device(f.uart), 0, 1);
        fake_read(uart_device(f.uart), 2, 1);
    }
    atomic_store(&f.stop, true);
    pthread_join(thread, NULL);
    /* As new after a restart. */
    drive(&rng, f.vm, f.rng, 1, 0);
    fake_vm_run(f.vm, 100);
    uint16_t head;
    uint32_t bytes;
    driver_notify(&rng, 0);
    fake_vm_run(f.vm, 100);
    ck_assert(driver_used(&rng, 0, &head, &bytes));
    ck_assert_uint_eq(bytes, 4096);
    f.rng->ops->destroy(f.rng);
    vsock_device(f.vsock)->ops->destroy(vsock_device(f.vsock));
    uart_device(f.uart)->ops->destroy(uart_device(f.uart));
    ck_assert_uint_eq(f.vm->polls, 0);
    close(f.console);
    fake_vm_destroy(f.vm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("virtio_threads");
    TCase *tests = tap_case(suite, "threads");

    tcase_add_test(tests, two_threads_on_one_machine);
    return tap_main(suite);
}
