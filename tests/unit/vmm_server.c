/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a VM answers poold on its two sockets as control.h says, and whatever else comes ends it with
 * a reason, or costs nothing.
 * Method: a machine with all its devices, without KVM (nothing here runs a guest); its device thread
 * runs; the test is poold. */
#include "volt-vmm/server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/util.h"
#include "tap_main.h"

#define PATIENCE_MS 60000

static const struct kvm_host kvm = { .fd = -1 };
static struct machine machine;
static struct server server;
static int control, bell; /* poold's ends */
static pthread_t device_thread;
static enum control_exit_reason reason;

static void *run(void *arg)
{
    (void)arg;
    reason = vm_loop_run(&machine.vm);
    return NULL;
}

static void set_up(void)
{
    struct machine_config config = MACHINE_CONFIG_INIT;
    struct guest_mem mem;
    struct err err = { 0 };
    int pair[2], bells[2];

    config.volumes = 1;
    ck_assert_int_eq(guest_mem_init(&mem, MIB(32), &err), 0);
    ck_assert_int_eq(guest_mem_map_new(&mem, false, &err), 0);
    ck_assert_msg(vm_init(&machine.vm, &kvm, &mem, &config.vm, &err) == 0, "%s", err.msg);
    ck_assert_msg(machine_add_devices(&machine, &config, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, bells), 0);
    control = pair[0];
    bell = bells[0];
    machine.vm.doorbell.ops = &server_bell_ops;
    machine.vm.doorbell.fd = bells[1];
    ck_assert_msg(server_init(&server, &machine, pair[1], &err) == 0, "%s", err.msg);
    ck_assert_int_eq(pthread_create(&device_thread, NULL, run, NULL), 0);
}

static void tear_down(void)
{
    vm_end(&machine.vm, EXIT_REASON_STOPPED, "the test is over");
    pthread_join(device_thread, NULL);
    close(server.control.fd);
    close(machine.vm.doorbell.fd);
    vm_destroy(&machine.vm);
    close(control);
    close(bell);
}

static void tell(enum control_type type, const int *fds, unsigned fd_count)
{
    struct control_msg msg = { .type = type };

    ck_assert_int_eq(control_send(control, &msg, fds, fd_count), 0);
}

static struct control_msg expect(int fd, enum control_type type)
{
    struct pollfd polled = { .fd = fd, .events = POLLIN };
    struct control_msg msg;
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    ck_assert_msg(poll(&polled, 1, PATIENCE_MS) == 1, "no message %d came", type);
    ck_assert_int_eq(control_recv(fd, &msg, fds, &fd_count), 0);
    ck_assert_uint_eq(msg.type, type);
    return msg;
}

static void assert_ended(enum control_exit_reason wanted, const char *detail)
{
    ck_assert_int_eq(pthread_join(device_thread, NULL), 0);
    ck_assert_int_eq(reason, wanted);
    ck_assert_msg(strstr(machine.vm.end_detail, detail) != NULL, "%s", machine.vm.end_detail);
    ck_assert_int_eq(pthread_create(&device_thread, NULL, run, NULL), 0); /* for tear_down */
}

/* ---- Control ---- */

START_TEST(hello_and_exited_say_what_they_are_told)
{
    ck_assert_int_eq(server_hello(&server, CONTROL_LAYER_CPUID, 7), 0);
    struct control_msg msg = expect(control, CONTROL_HELLO);
    ck_assert_uint_eq(msg.u.hello.version, CONTROL_VERSION);
    ck_assert_uint_eq(msg.u.hello.vcpu_count, 1);
    ck_assert_uint_eq(msg.u.hello.ram_bytes, MIB(32));
    ck_assert_uint_eq(msg.u.hello.layers, CONTROL_LAYER_CPUID);
    ck_assert_uint_eq(msg.u.hello.landlock_abi, 7);
    vm_end(&machine.vm, EXIT_REASON_BAD_ANSWER, "because of %d", 5);
    server_exited(&server, EXIT_REASON_BAD_ANSWER);
    msg = expect(control, CONTROL_EXITED);
    ck_assert_uint_eq(msg.u.exited.reason, EXIT_REASON_BAD_ANSWER);
    ck_assert_str_eq(msg.u.exited.detail, "because of 5");
}
END_TEST

START_TEST(figures_are_told)
{
    atomic_store(&machine.vm.unknown_pio, 3);
    atomic_store(&machine.vm.doorbell.ignored, 4);
    machine.vm.vcpu[0].exits = 5;
    tell(CONTROL_QUERY_STATS, NULL, 0);
    struct control_msg msg = expect(control, CONTROL_STATS);
    ck_assert_uint_eq(msg.u.stats.unknown_pio, 3);
    ck_assert_uint_eq(msg.u.stats.doorbell_ignored, 4);
    ck_assert_uint_eq(msg.u.stats.exits, 5);
    ck_assert_uint_eq(msg.u.stats.vsock_connections, 0);
}
END_TEST

START_TEST(snapshot_of_a_running_vm_is_refused)
{
    const int files[] = { memfd_create("state", MFD_CLOEXEC), memfd_create("memory", MFD_CLOEXEC) };

    atomic_store(&machine.vm.phase, VM_RUNNING);
    tell(CONTROL_SNAPSHOT, files, 2);
    struct control_msg msg = expect(control, CONTROL_SNAPSHOT_DONE);
    ck_assert_int_eq(msg.u.snapshot_done.error, EBUSY);
    ck_assert_str_eq(msg.u.snapshot_done.detail, "the VM is not parked");
    ck_assert_int_eq(lseek(files[1], 0, SEEK_END), 0);
}
END_TEST

START_TEST(snapshot_while_a_vcpu_is_at_it_is_refused)
{
    const int files[] = { memfd_create("state", MFD_CLOEXEC), memfd_create("memory", MFD_CLOEXEC) };

    atomic_store(&machine.vm.phase, VM_PARKED);
    pthread_mutex_lock(&machine.vm.run_lock);
    tell(CONTROL_SNAPSHOT, files, 2);
    struct control_msg msg = expect(control, CONTROL_SNAPSHOT_DONE);
    ck_assert_int_eq(msg.u.snapshot_done.error, EBUSY);
    pthread_mutex_unlock(&machine.vm.run_lock);
}
END_TEST

START_TEST(snapshot_that_fails_says_why)
{
    const int files[] = { memfd_create("state", MFD_CLOEXEC), memfd_create("memory", MFD_CLOEXEC) };

    atomic_store(&machine.vm.phase, VM_PARKED); /* but there is no KVM to ask */
    tell(CONTROL_SNAPSHOT, files, 2);
    struct control_msg msg = expect(control, CONTROL_SNAPSHOT_DONE);
    ck_assert_int_eq(msg.u.snapshot_done.error, EBADF);
    ck_assert_ptr_nonnull(strstr(msg.u.snapshot_done.detail, "saving vCPU 0"));
    tell(CONTROL_QUERY_STATS, NULL, 0); /* it goes on */
    expect(control, CONTROL_STATS);
}
END_TEST

START_TEST(console_is_attached)
{
    const uint8_t byte = 'x';
    struct device *uart = uart_device(machine.uart);
    char got = 0;
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    tell(CONTROL_CONSOLE, &pair[1], 1);
    close(pair[1]);
    tell(CONTROL_QUERY_STATS, NULL, 0);
    expect(control, CONTROL_STATS); /* it is attached by now */
    uart->ops->write(uart, 0, &byte, 1);
    ck_assert_int_eq(read(pair[0], &got, 1), 1);
    ck_assert_int_eq(got, 'x');
    close(pair[0]);
}
END_TEST

START_TEST(stream_to_a_guest_without_a_driver_is_closed)
{
    char byte;
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    tell(CONTROL_VSOCK_CONNECT, &pair[1], 1);
    close(pair[1]);
    ck_assert_int_eq(read(pair[0], &byte, 1), 0);
}
END_TEST

static void tell_volume(uint32_t slot, enum control_volume_mode mode, uint64_t bytes,
                        const int *fds, unsigned fd_count)
{
    struct control_msg msg = { .type = CONTROL_VOLUME };

    msg.u.volume.slot = slot;
    msg.u.volume.mode = mode;
    msg.u.volume.bytes = bytes;
    ck_assert_int_eq(control_send(control, &msg, fds, fd_count), 0);
}

START_TEST(a_volume_goes_into_its_slot_and_nowhere_else)
{
    static const struct {
        uint32_t slot, mode;
        uint64_t bytes;
        unsigned fd_count;
        const char *trouble;
    } tries[] = {
        { 0, CONTROL_VOLUME_READ_ONLY, 4096, 1, NULL },
        { 0, CONTROL_VOLUME_COPY, 4096, 2, NULL },
        { 0, CONTROL_VOLUME_IN_PLACE, 4096, 1, NULL },
        { 1, CONTROL_VOLUME_READ_ONLY, 4096, 1, "a slot that this VM does not have" },
        { UINT32_MAX, CONTROL_VOLUME_READ_ONLY, 4096, 1, "a slot that this VM does not have" },
        { 0, CONTROL_VOLUME_COPY, 4096, 1, "a slot that this VM does not have" },
        { 0, CONTROL_VOLUME_IN_PLACE, 4096, 2, "a slot that this VM does not have" },
        { 0, CONTROL_VOLUME_READ_ONLY, 0, 1, "a slot that this VM does not have" },
        { 0, CONTROL_VOLUME_READ_ONLY, 4096, 0, "a malformed message" },
    };
    int pipes[2][2], fds[2];
    char byte;

    for (unsigned i = 0; i < 2; i++) {
        ck_assert_int_eq(pipe(pipes[i]), 0);
        fds[i] = pipes[i][1];
    }
    if (!tries[_i].trouble) { /* files: they are written */
        for (unsigned i = 0; i < 2; i++) {
            close(fds[i]);
            fds[i] = memfd_create("volume", MFD_CLOEXEC);
        }
        tell_volume(tries[_i].slot, tries[_i].mode, tries[_i].bytes, fds, tries[_i].fd_count);
        tell(CONTROL_QUERY_STATS, NULL, 0);
        expect(control, CONTROL_STATS);
        uint32_t sectors = 0;
        machine.volume[0]->ops->read(machine.volume[0], 0x100, &sectors, 4);
        ck_assert_uint_eq(sectors, 8);
        tell_volume(tries[_i].slot, tries[_i].mode, tries[_i].bytes, fds, tries[_i].fd_count);
        assert_ended(EXIT_REASON_HOST_ERROR, "device volume0 has a disk already");
        return;
    }
    tell_volume(tries[_i].slot, (enum control_volume_mode)tries[_i].mode, tries[_i].bytes, fds,
                tries[_i].fd_count);
    assert_ended(EXIT_REASON_HOST_ERROR, tries[_i].trouble);
    for (unsigned i = 0; i < 2; i++) {
        close(pipes[i][1]);
        ck_assert_int_eq(read(pipes[i][0], &byte, 1), 0); /* ours was the last */
    }
}
END_TEST

START_TEST(stop_ends_it_well)
{
    tell(CONTROL_STOP, NULL, 0);
    assert_ended(EXIT_REASON_STOPPED, "asked to stop");
}
END_TEST

START_TEST(end_of_the_socket_ends_it)
{
    shutdown(control, SHUT_RDWR);
    assert_ended(EXIT_REASON_POOLD_GONE, "the control socket was closed");
}
END_TEST

/* A message that does not belong here, or with other fds than it has. */
static const struct {
    enum control_type type;
    unsigned fd_count;
} out_of_place[] = {
    { CONTROL_STOP, 1 },     { CONTROL_SNAPSHOT, 0 },      { CONTROL_SNAPSHOT, 1 },
    { CONTROL_SNAPSHOT, 3 }, { CONTROL_VSOCK_CONNECT, 0 }, { CONTROL_CONSOLE, 2 },
    { CONTROL_CLONE, 2 },    { CONTROL_WAKE, 0 },          { CONTROL_HELLO, 0 },
};

START_TEST(message_out_of_place_ends_it_and_keeps_no_fd)
{
    int pipes[3][2], fds[3];
    char byte;

    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(pipe(pipes[i]), 0);
        fds[i] = pipes[i][1];
    }
    tell(out_of_place[_i].type, fds, out_of_place[_i].fd_count);
    assert_ended(EXIT_REASON_HOST_ERROR, "a malformed message on the control socket");
    for (unsigned i = 0; i < 3; i++) {
        close(pipes[i][1]);
        ck_assert_int_eq(read(pipes[i][0], &byte, 1), 0); /* ours was the last */
    }
}
END_TEST

START_TEST(nonsense_ends_it)
{
    ck_assert_int_eq(send(control, "nonsense", 8, 0), 8);
    assert_ended(EXIT_REASON_HOST_ERROR, "a malformed message on the control socket");
}
END_TEST

/* ---- The bell; here on the test's thread ---- */

START_TEST(bell_waits_for_what_is_asked_for)
{
    struct control_msg wake, msg;

    ck_assert(!server_bell_ops.pending(&machine.vm));
    control_wake_make(&wake, &(struct control_wake){ .op = DOORBELL_OP_LEASE }, NULL, NULL);
    ck_assert_int_eq(control_send(bell, &wake, NULL, 0), 0);
    ck_assert(server_bell_ops.pending(&machine.vm));
    ck_assert_int_eq(server_bell_ops.wait(&machine.vm, CONTROL_WAKE, &msg), 0);
    ck_assert_uint_eq(msg.u.wake.nonce, wake.u.wake.nonce);
    ck_assert_int_eq(control_send(bell, &wake, NULL, 0), 0);
    ck_assert_int_eq(server_bell_ops.wait(&machine.vm, CONTROL_GO, &msg), -EPROTO);
    shutdown(bell, SHUT_RDWR);
    ck_assert(server_bell_ops.pending(&machine.vm)); /* the end is something to wait for */
    ck_assert_int_eq(server_bell_ops.wait(&machine.vm, CONTROL_WAKE, &msg), -ENOTCONN);
}
END_TEST

START_TEST(bell_reports)
{
    struct control_msg msg = { .type = CONTROL_AWAKE };

    msg.u.progress.run_ns = 77;
    server_bell_ops.report(&machine.vm, &msg);
    ck_assert_uint_eq(expect(bell, CONTROL_AWAKE).u.progress.run_ns, 77);
    shutdown(bell, SHUT_RDWR);
    server_bell_ops.report(&machine.vm, &msg); /* control tells that poold is gone */
    ck_assert_int_eq(atomic_load(&machine.vm.end_reason), EXIT_REASON_NONE);
}
END_TEST

START_TEST(poold_that_does_not_listen_ends_the_vm)
{
    struct control_msg msg = { .type = CONTROL_PARKED };

    while (atomic_load(&machine.vm.end_reason) == EXIT_REASON_NONE)
        server_bell_ops.report(&machine.vm, &msg);
    assert_ended(EXIT_REASON_HOST_ERROR, "reporting on the bell");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("vmm_server");
    TCase *tc = tap_case(s, "vmm_server");

    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, hello_and_exited_say_what_they_are_told);
    tcase_add_test(tc, figures_are_told);
    tcase_add_test(tc, snapshot_of_a_running_vm_is_refused);
    tcase_add_test(tc, snapshot_while_a_vcpu_is_at_it_is_refused);
    tcase_add_test(tc, snapshot_that_fails_says_why);
    tcase_add_test(tc, console_is_attached);
    tcase_add_test(tc, stream_to_a_guest_without_a_driver_is_closed);
    tcase_add_loop_test(tc, a_volume_goes_into_its_slot_and_nowhere_else, 0, 9);
    tcase_add_test(tc, stop_ends_it_well);
    tcase_add_test(tc, end_of_the_socket_ends_it);
    tcase_add_loop_test(tc, message_out_of_place_ends_it_and_keeps_no_fd, 0,
                        ARRAY_LEN(out_of_place));
    tcase_add_test(tc, nonsense_ends_it);
    tcase_add_test(tc, bell_waits_for_what_is_asked_for);
    tcase_add_test(tc, bell_reports);
    tcase_add_test(tc, poold_that_does_not_listen_ends_the_vm);
    return s;
}

int main(void)
{
    return tap_main(suite());
}
