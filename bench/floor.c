/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the floor's VM: see floor.h. */
#include "floor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/util.h"

#define CODE_GPA 0x10000u
#define TSS_GPA 0xfffbd000ul

static const char *const kind_names[] = {
    [FLOOR_COLD] = "cold",
    [FLOOR_SHELL] = "shell",
    [FLOOR_PARKED] = "parked",
};
static_assert(ARRAY_LEN(kind_names) == FLOOR_COUNT, "a name for every kind");

const char *floor_kind_name(enum floor_kind kind)
{
    return kind_names[kind];
}

/* ---- The guest: writes port 0x10 for ever, in ring 3 (IOPL 3), first 2 MiB identity-mapped ----
 */

static int write_guest(int fd, uint64_t ram_bytes)
{
    static const uint8_t code[] = { 0xe6, 0x10, 0xeb, 0xfc };
    static const uint64_t pml4 = 0x3007, pdpt = 0x4007, pd = 0x87;
    _cleanup_free_ uint8_t *block = malloc(MIB(1));
    int rc = block ? 0 : -ENOMEM;

    if (rc == 0)
        memset(block, 0x5a, MIB(1));
    for (uint64_t at = MIB(8); rc == 0 && at < ram_bytes / 2; at += MIB(1))
        rc = pwrite_all(fd, block, MIB(1), at);
    if (rc == 0)
        rc = pwrite_all(fd, &pml4, sizeof pml4, 0x2000);
    if (rc == 0)
        rc = pwrite_all(fd, &pdpt, sizeof pdpt, 0x3000);
    if (rc == 0)
        rc = pwrite_all(fd, &pd, sizeof pd, 0x4000);
    return rc == 0 ? pwrite_all(fd, code, sizeof code, CODE_GPA) : rc;
}

int floor_init(struct floor *floor, const char *dir, uint64_t ram_bytes, struct err *err)
{
    *floor = (struct floor){ .ram_bytes = ram_bytes };
    floor->mem_fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (floor->mem_fd < 0)
        return err_set_errno(err, errno, "making the floor's memory file in '%s'", dir);
    int rc = ftruncate(floor->mem_fd, (off_t)ram_bytes) < 0 ? -errno : 0;
    if (rc == 0)
        rc = write_guest(floor->mem_fd, ram_bytes);
    if (rc < 0) {
        floor_fini(floor);
        return err_set_errno(err, -rc, "filling the floor's memory file");
    }
    return 0;
}

void floor_fini(struct floor *floor)
{
    close_fd(&floor->mem_fd);
    for (int i = 0; i < FLOOR_COUNT; i++)
        samples_fini(&floor->samples[i]);
}

/* ---- One VM ---- */

struct floor_vm {
    int kvm, vm, vcpu;
    void *ram;
    uint64_t ram_bytes;
    struct kvm_run *run;
    size_t run_bytes;
};

static void vm_close(struct floor_vm *vm)
{
    if (vm->run)
        munmap(vm->run, vm->run_bytes);
    close_fd(&vm->vcpu);
    close_fd(&vm->vm);
    close_fd(&vm->kvm);
    if (vm->ram)
        munmap(vm->ram, vm->ram_bytes);
}

static int call(int fd, unsigned long request, void *argument, const char *name, struct err *err)
{
    int value = ioctl(fd, request, argument);

    return value < 0 ? err_set_errno(err, errno, "%s", name) : value;
}
#define CALL(fd, request, argument) call(fd, request, argument, #request, err)

static int vm_map_memory(struct floor_vm *vm, int mem_fd, struct err *err)
{
    void *ram =
        mmap(NULL, vm->ram_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, mem_fd, 0);

    if (ram == MAP_FAILED)
        return err_set_errno(err, errno, "mapping the floor's memory file");
    vm->ram = ram;
    struct kvm_userspace_memory_region slot = { .memory_size = vm->ram_bytes,
                                                .userspace_addr = (uintptr_t)ram };
    /* Before the irqchip: afterwards the same call waits for an SRCU period. */
    return CALL(vm->vm, KVM_SET_USER_MEMORY_REGION, &slot);
}

static int vm_add_vcpu(struct floor_vm *vm, struct err *err)
{
    static struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entry[FLOOR_CPUID_MAX];
    } cpuid;

    vm->vcpu = CALL(vm->vm, KVM_CREATE_VCPU, NULL);
    if (vm->vcpu < 0)
        return vm->vcpu;
    int run_bytes = CALL(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (run_bytes < 0)
        return run_bytes;
    vm->run_bytes = (size_t)run_bytes;
    void *run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
    if (run == MAP_FAILED)
        return err_set_errno(err, errno, "mapping kvm_run");
    vm->run = run;
    cpuid.head.nent = FLOOR_CPUID_MAX;
    int rc = CALL(vm->kvm, KVM_GET_SUPPORTED_CPUID, &cpuid);
    return rc < 0 ? rc : CALL(vm->vcpu, KVM_SET_CPUID2, &cpuid);
}

static int vm_make(struct floor_vm *vm, int mem_fd, struct err *err)
{
    struct kvm_pit_config pit = { 0 };

    vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (vm->kvm < 0)
        return err_set_errno(err, errno, "opening /dev/kvm");
    vm->vm = CALL(vm->kvm, KVM_CREATE_VM, NULL);
    if (vm->vm < 0)
        return vm->vm;
    int rc = vm_map_memory(vm, mem_fd, err);
    /* The address is the ioctl's argument itself. */
    if (rc >= 0 && ioctl(vm->vm, KVM_SET_TSS_ADDR, TSS_GPA) < 0)
        rc = err_set_errno(err, errno, "KVM_SET_TSS_ADDR");
    if (rc >= 0)
        rc = CALL(vm->vm, KVM_CREATE_IRQCHIP, NULL);
    if (rc >= 0)
        rc = CALL(vm->vm, KVM_CREATE_PIT2, &pit);
    return rc < 0 ? rc : vm_add_vcpu(vm, err);
}

static int load_msrs(int vcpu, struct err *err)
{
    static const uint32_t index[] = { 0x174,      0x175,      0x176,      0xc0000081,
                                      0xc0000083, 0xc0000102, 0xc0000084, 0xc0000082,
                                      0x10,       0x277,      0x6e0,      0x1a0 };
    struct {
        struct kvm_msrs head;
        struct kvm_msr_entry entry[ARRAY_LEN(index)];
    } msrs = { .head = { .nmsrs = ARRAY_LEN(index) } };

    for (size_t i = 0; i < ARRAY_LEN(index); i++)
        msrs.entry[i].index = index[i];
    int rc = CALL(vcpu, KVM_GET_MSRS, &msrs);
    return rc < 0 ? rc : CALL(vcpu, KVM_SET_MSRS, &msrs);
}

static void set_user_mode(struct kvm_sregs *sregs)
{
    const struct kvm_segment cs = { .limit = 0xffffffff,
                                    .selector = 0x33,
                                    .present = 1,
                                    .type = 11,
                                    .dpl = 3,
                                    .s = 1,
                                    .l = 1,
                                    .g = 1 };
    const struct kvm_segment ds = { .limit = 0xffffffff,
                                    .selector = 0x2b,
                                    .present = 1,
                                    .type = 3,
                                    .dpl = 3,
                                    .s = 1,
                                    .db = 1,
                                    .g = 1 };

    sregs->cr0 = 0x80050033;
    sregs->cr3 = 0x2000;
    sregs->cr4 = 0x620;
    sregs->efer = 0x501;
    sregs->cs = cs;
    sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = ds;
}

/* Each part of a vCPU's state is read and written back, as the reading costs as much. */
static int vm_load_vcpu(const struct floor_vm *vm, struct err *err)
{
    struct kvm_regs regs = { .rip = CODE_GPA, .rsp = 0x80000, .rflags = 0x3002 };
    struct kvm_sregs sregs;
    struct kvm_xsave xsave;
    struct kvm_xcrs xcrs;
    struct kvm_lapic_state lapic;
    struct kvm_vcpu_events events;
    int rc = CALL(vm->vcpu, KVM_GET_SREGS, &sregs);

    if (rc < 0)
        return rc;
    set_user_mode(&sregs);
    if ((rc = CALL(vm->vcpu, KVM_SET_SREGS, &sregs)) < 0 || (rc = load_msrs(vm->vcpu, err)) < 0 ||
        (rc = CALL(vm->vcpu, KVM_GET_XSAVE, &xsave)) < 0 ||
        (rc = CALL(vm->vcpu, KVM_SET_XSAVE, &xsave)) < 0 ||
        (rc = CALL(vm->vcpu, KVM_GET_XCRS, &xcrs)) < 0 ||
        (rc = CALL(vm->vcpu, KVM_SET_XCRS, &xcrs)) < 0 ||
        (rc = CALL(vm->vcpu, KVM_GET_LAPIC, &lapic)) < 0 ||
        (rc = CALL(vm->vcpu, KVM_SET_LAPIC, &lapic)) < 0 ||
        (rc = CALL(vm->vcpu, KVM_SET_REGS, &regs)) < 0 ||
        (rc = CALL(vm->vcpu, KVM_GET_VCPU_EVENTS, &events)) < 0)
        return rc;
    return CALL(vm->vcpu, KVM_SET_VCPU_EVENTS, &events);
}

static int vm_run_to_port(const struct floor_vm *vm, struct err *err)
{
    int rc = CALL(vm->vcpu, KVM_RUN, NULL);

    if (rc >= 0 && vm->run->exit_reason != KVM_EXIT_IO)
        return err_set(err, EIO, "the floor's guest: unexpected KVM exit %u", vm->run->exit_reason);
    return rc;
}

int floor_measure(struct floor *floor, struct err *err)
{
    struct floor_vm vm = { .kvm = -1, .vm = -1, .vcpu = -1, .ram_bytes = floor->ram_bytes };
    uint64_t start = now_ns();
    int rc = vm_make(&vm, floor->mem_fd, err);
    uint64_t shell = now_ns();

    if (rc >= 0)
        rc = vm_load_vcpu(&vm, err);
    if (rc >= 0)
        rc = vm_run_to_port(&vm, err);
    uint64_t first = now_ns();
    if (rc >= 0) /* the first time round touches the exit's path */
        rc = vm_run_to_port(&vm, err);
    if (rc >= 0)
        rc = floor_vm_measure(floor, &vm, err);
    vm_close(&vm);
    if (rc < 0)
        return err_wrap(err, "measuring the floor");
    samples_add(&floor->samples[FLOOR_COLD], first - start);
    samples_add(&floor->samples[FLOOR_SHELL], first - shell);
    return 0;
}

int floor_vm_create(const struct floor *floor, struct floor_vm **ret_vm, struct err *err)
{
    struct floor_vm *vm = malloc(sizeof *vm);

    if (!vm)
        return err_set_errno(err, ENOMEM, "making the floor's VM");
    *vm = (struct floor_vm){ .kvm = -1, .vm = -1, .vcpu = -1, .ram_bytes = floor->ram_bytes };
    int rc = vm_make(vm, floor->mem_fd, err);
    if (rc >= 0)
        rc = vm_load_vcpu(vm, err);
    if (rc >= 0)
        rc = vm_run_to_port(vm, err);
    if (rc < 0) {
        floor_vm_destroy(vm);
        return err_wrap(err, "making the floor's VM");
    }
    *ret_vm = vm;
    return 0;
}

void floor_vm_destroy(struct floor_vm *vm)
{
    if (vm)
        vm_close(vm);
    free(vm);
}

int floor_vm_measure(struct floor *floor, const struct floor_vm *vm, struct err *err)
{
    uint64_t start = now_ns();
    int rc = vm_run_to_port(vm, err);

    if (rc >= 0)
        samples_add(&floor->samples[FLOOR_PARKED], now_ns() - start);
    return rc < 0 ? rc : 0;
}
