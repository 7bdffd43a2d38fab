/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the running of small guests; see harness.h. */
#include "harness.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/util.h"
#include "boot/cpuid.h"
#include "guests/guest.h"
#include "snapshot/sections.h"
#include "snapshot/vm_codec.h"
#include "virtio/virtio_layout.h"
#include "volt-vmm/server.h"

#define PML4_GPA 0x2000u
#define PDPT_GPA 0x3000u
#define PD_GPA 0x4000u
#define PD_MMIO_GPA 0x5000u
#define PAGE_USER_RW 0x7ull
#define PAGE_LARGE 0x80ull

void harness_require_kvm(void)
{
    struct kvm_host kvm;
    struct err err;

    if (kvm_host_open(&kvm, &err) == 0) {
        kvm_host_close(&kvm);
        return;
    }
    printf("1..0 # SKIP %s\n", err.msg);
    exit(0);
}

/* Guest virtual = physical for the first 2 MiB; 1 GiB upwards: 2 MiB of the MMIO gap. */
static void write_page_tables(struct guest_mem *mem)
{
    uint64_t *pml4 = guest_mem_at(mem, PML4_GPA, 4096);
    uint64_t *pdpt = guest_mem_at(mem, PDPT_GPA, 4096);
    uint64_t *pd = guest_mem_at(mem, PD_GPA, 4096);
    uint64_t *pd_mmio = guest_mem_at(mem, PD_MMIO_GPA, 4096);

    pml4[0] = PDPT_GPA | PAGE_USER_RW;
    pdpt[0] = PD_GPA | PAGE_USER_RW;
    pdpt[1] = PD_MMIO_GPA | PAGE_USER_RW;
    pd[0] = PAGE_USER_RW | PAGE_LARGE;
    pd_mmio[0] = VIRTIO_MMIO_BASE_GPA | PAGE_USER_RW | PAGE_LARGE;
}

static void load_program(struct guest_mem *mem, const char *name)
{
    char path[512];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s.bin", GUEST_PROGRAMS_DIR, name);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0 && fstat(fd, &st) == 0, "%s: %s", path, strerror(errno));
    void *at = guest_mem_at(mem, GUEST_CODE_GPA, (uint64_t)st.st_size);
    ck_assert_ptr_nonnull(at);
    ck_assert_int_eq(pread_all(fd, at, (size_t)st.st_size, 0), 0);
}

static void set_registers(int vcpu_fd, uint32_t index)
{
    const struct kvm_segment cs = { .limit = UINT32_MAX,
                                    .selector = 0x33,
                                    .present = 1,
                                    .type = 11,
                                    .dpl = 3,
                                    .s = 1,
                                    .l = 1,
                                    .g = 1 };
    const struct kvm_segment ds = { .limit = UINT32_MAX,
                                    .selector = 0x2b,
                                    .present = 1,
                                    .type = 3,
                                    .dpl = 3,
                                    .s = 1,
                                    .db = 1,
                                    .g = 1 };
    struct kvm_regs regs = { .rip = GUEST_CODE_GPA,
                             .rsp = GUEST_STACK_GPA - 8 - index * GUEST_STACK_BYTES,
                             .rdi = index,
                             .rflags = 0x3002 };
    struct kvm_mp_state runnable = { .mp_state = KVM_MP_STATE_RUNNABLE };
    struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0] = { .xcr = 0, .value = 7 } };
    struct kvm_sregs sregs;

    ck_assert_int_eq(ioctl(vcpu_fd, KVM_SET_MP_STATE, &runnable), 0);
    ck_assert_int_eq(ioctl(vcpu_fd, KVM_GET_SREGS, &sregs), 0);
    sregs.cr0 = 0x80050033;
    sregs.cr3 = PML4_GPA;
    sregs.cr4 = 0x40620; /* PAE, OSFXSR, OSXMMEXCPT, OSXSAVE */
    sregs.efer = 0x501;
    sregs.cs = cs;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = ds;
    sregs.idt.limit = 0;
    ck_assert_int_eq(ioctl(vcpu_fd, KVM_SET_SREGS, &sregs), 0);
    ck_assert_int_eq(ioctl(vcpu_fd, KVM_SET_XCRS, &xcrs), 0);
    ck_assert_int_eq(ioctl(vcpu_fd, KVM_SET_REGS, &regs), 0);
}

static void set_cpuid(struct harness *h, uint32_t index)
{
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entry[VM_CPUID_MAX];
    } cpuid;
    const struct cpuid_request request = { .vcpu_index = index,
                                           .vcpu_count = h->machine.vm.vcpu_count };
    struct err err;

    ck_assert_int_eq(kvm_host_cpuid(&h->kvm, &cpuid.head, &err), 0);
    ck_assert_int_eq(cpuid_filter(&cpuid.head, VM_CPUID_MAX, &request, &err), 0);
    ck_assert_msg(vm_set_cpuid(&h->machine.vm, index, cpuid.entry, cpuid.head.nent, &err) == 0,
                  "%s", err.msg);
}

static void describe_devices(const struct harness_devices *devices, struct machine_config *config)
{
    struct err err = { 0 };

    config->has_disk = config->has_net = config->has_balloon = true;
    config->disk.disk = devices->disk;
    config->disk.limit.ops.per_s = HARNESS_DISK_OPS_PER_S;
    config->disk.limit.ops.burst = 1;
    ck_assert_msg(net_stream_open(devices->net_fd, &config->net.backend, &err) == 0, "%s", err.msg);
}

static void save(struct vm_poll *poll, uint32_t events)
{
    struct harness *h = (struct harness *)(void *)((char *)poll - offsetof(struct harness, save));
    struct vm *vm = &h->machine.vm;
    uint64_t count;

    (void)events;
    ck_assert_int_eq(read(poll->fd, &count, sizeof count), sizeof count);
    pthread_mutex_lock(&vm->run_lock);
    machine_snapshot(&h->machine, h->save.state_fd, h->save.memory_fd, &h->save.done);
    pthread_mutex_unlock(&vm->run_lock);
    sem_post(&h->save.over);
}

static void create_machine(struct harness *h, struct guest_mem *mem, uint32_t vcpu_count,
                           const struct harness_devices *devices)
{
    struct machine_config config = MACHINE_CONFIG_INIT;
    struct err err = { 0 };

    config.vm.vcpu_count = vcpu_count;
    if (devices)
        describe_devices(devices, &config);
    ck_assert_msg(machine_create(&h->machine, &h->kvm, mem, &config, &err) == 0, "%s", err.msg);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, h->bell), 0);
    h->machine.vm.doorbell.ops = &server_bell_ops;
    h->machine.vm.doorbell.fd = h->bell[1];
    h->save.asked = (struct vm_poll){ .ready = save, .fd = eventfd(0, EFD_CLOEXEC) };
    sem_init(&h->save.over, 0, 0);
    ck_assert_int_eq(vm_poll_add(&h->machine.vm, &h->save.asked, EPOLLIN), 0);
}

static void open_kvm(struct harness *h)
{
    struct err err = { 0 };

    memset(h, 0, sizeof *h);
    ck_assert_msg(kvm_host_open(&h->kvm, &err) == 0, "%s", err.msg);
    ck_assert_msg(kvm_host_list_msrs(&h->kvm, &err) == 0, "%s", err.msg);
}

static void create(struct harness *h, const char *name, uint32_t vcpu_count,
                   const struct harness_devices *devices)
{
    struct guest_mem mem;
    struct err err;

    open_kvm(h);
    ck_assert_int_eq(guest_mem_init(&mem, HARNESS_RAM_BYTES, &err), 0);
    ck_assert_int_eq(guest_mem_map_new(&mem, false, &err), 0);
    write_page_tables(&mem);
    load_program(&mem, name);
    create_machine(h, &mem, vcpu_count, devices);
    for (uint32_t i = 0; i < vcpu_count; i++) {
        set_cpuid(h, i);
        set_registers(h->machine.vm.vcpu[i].fd, i);
    }
}

void harness_create_smp(struct harness *h, const char *name, uint32_t vcpu_count)
{
    create(h, name, vcpu_count, NULL);
}

void harness_create(struct harness *h, const char *name)
{
    create(h, name, 1, NULL);
}

void harness_create_devices(struct harness *h, const char *name,
                            const struct harness_devices *devices)
{
    create(h, name, 1, devices);
}

void harness_create_clone(struct harness *h, int memory_fd, const struct machine_image *image)
{
    harness_create_clone_devices(h, memory_fd, image, NULL);
}

void harness_create_clone_devices(struct harness *h, int memory_fd,
                                  const struct machine_image *image,
                                  const struct harness_devices *devices)
{
    struct guest_mem mem;
    struct err err = { 0 };

    open_kvm(h);
    ck_assert_int_eq(guest_mem_init(&mem, HARNESS_RAM_BYTES, &err), 0);
    ck_assert_int_eq(guest_mem_map_private(&mem, memory_fd, &err), 0);
    create_machine(h, &mem, image->vm.vcpu_count, devices);
    for (uint32_t i = 0; i < image->vm.vcpu_count; i++)
        ck_assert_int_eq(vm_set_cpuid(&h->machine.vm, i, image->vm.vcpu[i].cpuid,
                                      image->vm.vcpu[i].cpuid_count, &err),
                         0);
    ck_assert_msg(machine_load_devices(&h->machine, image, &err) == 0, "%s", err.msg);
    h->machine.vm.restore_from = &image->vm;
}

static void *run_loop(void *arg)
{
    struct harness *h = arg;

    h->reason = vm_loop_run(&h->machine.vm);
    return NULL;
}

static void *run_vcpu(void *arg)
{
    struct harness *h = arg;

    vm_run(&h->machine.vm);
    return NULL;
}

void harness_start(struct harness *h)
{
    ck_assert_int_eq(pthread_create(&h->vcpu, NULL, run_vcpu, h), 0);
    ck_assert_int_eq(pthread_create(&h->loop, NULL, run_loop, h), 0);
    h->started = true;
}

void harness_start_parked(struct harness *h)
{
    harness_start(h);
    harness_expect(h, CONTROL_PARKED);
}

/* A CPU simulated by QEMU takes its time for each exit. */
static int timeout_ms(const struct harness *h)
{
    return HARNESS_TIMEOUT_MS * (h->kvm.simulated_cpu ? 20 : 1);
}

struct control_msg harness_expect(struct harness *h, enum control_type type)
{
    struct pollfd polled[] = { { .fd = h->bell[0], .events = POLLIN },
                               { .fd = h->machine.vm.end_poll.fd, .events = POLLIN } };
    struct control_msg msg;
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;

    ck_assert_msg(poll(polled, 2, timeout_ms(h)) > 0, "no message %d in time", type);
    ck_assert_msg(polled[0].revents != 0, "the VM ended instead of message %d: %s", type,
                  h->machine.vm.end_detail);
    ck_assert_int_eq(control_recv(h->bell[0], &msg, fds, &fd_count), 0);
    ck_assert_uint_eq(msg.type, type);
    return msg;
}

struct control_msg harness_expect_ready(struct harness *h, uint32_t status)
{
    struct control_msg ready;

    if (status)
        harness_expect(h, CONTROL_TROUBLE);
    ready = harness_expect(h, CONTROL_READY);
    ck_assert_uint_eq(ready.u.progress.ready_status, status);
    return ready;
}

void harness_wake(struct harness *h, enum doorbell_op op, uint32_t flags)
{
    struct control_msg msg;

    control_wake_make(&msg, &(struct control_wake){ .op = op, .flags = flags }, NULL, NULL);
    ck_assert_int_eq(control_send(h->bell[0], &msg, NULL, 0), 0);
}

/* Of a machine that has ended: its other vCPUs may wait for vCPU 0, or be in the guest. */
static void join_others(struct vm *vm)
{
    pthread_mutex_lock(&vm->halt_lock);
    atomic_store(&vm->halt_others, false);
    pthread_cond_broadcast(&vm->halt_cond);
    pthread_mutex_unlock(&vm->halt_lock);
    for (uint32_t i = 1; i < vm->vcpu_count; i++) {
        __atomic_store_n(&vm->vcpu[i].run->immediate_exit, 1, __ATOMIC_RELAXED);
        pthread_kill(vm->vcpu[i].thread, SIGUSR1);
        pthread_join(vm->vcpu[i].thread, NULL);
    }
}

enum control_exit_reason harness_join(struct harness *h)
{
    struct pollfd end = { .fd = h->machine.vm.end_poll.fd, .events = POLLIN };

    ck_assert_msg(poll(&end, 1, timeout_ms(h)) == 1, "the VM did not end in time");
    pthread_join(h->loop, NULL);
    shutdown(h->bell[0], SHUT_RDWR); /* wakes a vCPU that waits on the bell */
    pthread_join(h->vcpu, NULL);
    join_others(&h->machine.vm);
    h->started = false;
    return h->reason;
}

static void kick(struct harness *h)
{
    __atomic_store_n(&h->machine.vm.vcpu[0].run->immediate_exit, 1, __ATOMIC_RELAXED);
    pthread_kill(h->vcpu, SIGUSR1);
}

void harness_destroy(struct harness *h)
{
    if (h->started) {
        vm_end(&h->machine.vm, EXIT_REASON_STOPPED, "the test is over");
        kick(h);
        harness_join(h);
    }
    vm_destroy(&h->machine.vm);
    close(h->bell[0]);
    close(h->bell[1]);
    close(h->save.asked.fd);
    sem_destroy(&h->save.over);
    kvm_host_close(&h->kvm);
}

int harness_snapshot(struct harness *h, struct machine_image *ret_image)
{
    const struct control_msg *done = &h->save.done;
    const uint64_t one = 1;
    _cleanup_close_ int state_fd = memfd_create("state", MFD_CLOEXEC);
    int memory_fd = memfd_create("memory", MFD_CLOEXEC);
    struct state_reader reader;
    struct err err = { 0 };
    struct stat st;

    h->save.state_fd = state_fd;
    h->save.memory_fd = memory_fd;
    ck_assert_int_eq(write(h->save.asked.fd, &one, sizeof one), sizeof one);
    while (sem_wait(&h->save.over) < 0)
        ;
    ck_assert_msg(done->u.snapshot_done.error == 0, "%s", done->u.snapshot_done.detail);
    ck_assert_int_eq(fstat(state_fd, &st), 0);
    ck_assert_int_eq(st.st_size, (off_t)done->u.snapshot_done.state_bytes);
    uint8_t *bytes = malloc((size_t)st.st_size);
    ck_assert_int_eq(pread_all(state_fd, bytes, (size_t)st.st_size, 0), 0);
    ck_assert_msg(state_reader_open(&reader, bytes, (size_t)st.st_size, &err) == 0, "%s", err.msg);
    memset(ret_image, 0, sizeof *ret_image);
    ck_assert_msg(vm_state_decode(&reader, &ret_image->vm, &err) == 0, "%s", err.msg);
    ck_assert_msg(machine_image_decode(&h->machine, &reader, ret_image, &err) == 0, "%s", err.msg);
    state_reader_fini(&reader);
    return memory_fd;
}
