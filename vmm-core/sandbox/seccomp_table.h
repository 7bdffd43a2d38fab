/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls that each kind of thread may make, each with the reason why: the one place to
 * look at and to change. gen/filter_gen.c compiles these tables into BPF when the project is
 * built; the tests read them too. A call that is not here kills the process.
 *
 * The first row's ioctl is decided before everything else. Calls without conditions cost nothing:
 * the kernel remembers that they are allowed. A row without a condition allows the call whatever
 * its arguments. Rows of one call with conditions are alternatives.
 *
 * `tests/run seccomp-audit` runs all end-to-end scenarios and fails for each row that none of them
 * uses, unless its reason says why not, behind "not in e2e: ".
 */
#ifndef VOLT_SANDBOX_SECCOMP_TABLE_H
#define VOLT_SANDBOX_SECCOMP_TABLE_H

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/userfaultfd.h>
#include <linux/vhost.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/util.h"

#define SECCOMP_CONDITIONS_MAX 2u

/* Stands for the caller's process id in a condition; sandbox_install_filter puts the real one into
 * the compiled filter. */
#define SECCOMP_OWN_PID 0x5a17c0deu

enum seccomp_op {
    SECCOMP_OP_NONE = 0,
    SECCOMP_OP_EQ,     /* argument == value */
    SECCOMP_OP_MASKED, /* (argument & mask) == value */
};

struct seccomp_condition {
    uint8_t argument; /* 0 to 5 */
    uint8_t op;       /* enum seccomp_op */
    uint32_t mask;
    uint32_t value;
};

struct seccomp_entry {
    const char *name;
    int nr;
    struct seccomp_condition condition[SECCOMP_CONDITIONS_MAX]; /* all must hold */
    const char *reason;
};

#define ANY(call, why)                                                                             \
    {                                                                                              \
        .name = #call, .nr = SYS_##call, .reason = why                                             \
    }
#define IF_EQ(call, arg, val, why)                                                                 \
    {                                                                                              \
        .name = #call, .nr = SYS_##call,                                                           \
        .condition = { { .argument = arg, .op = SECCOMP_OP_EQ, .value = (uint32_t)(val) } },       \
        .reason = why                                                                              \
    }
#define IF_MASKED(call, arg, m, val, why)                                                          \
    {                                                                                              \
        .name = #call, .nr = SYS_##call,                                                           \
        .condition = { { .argument = arg,                                                          \
                         .op = SECCOMP_OP_MASKED,                                                  \
                         .mask = (uint32_t)(m),                                                    \
                         .value = (uint32_t)(val) } },                                             \
        .reason = why                                                                              \
    }
/* mmap without PROT_EXEC of anonymous memory: no file, and nothing that could be executed. */
#define ANON_MMAP(why)                                                                             \
    {                                                                                              \
        .name = "mmap", .nr = SYS_mmap,                                                            \
        .condition = { { .argument = 2, .op = SECCOMP_OP_MASKED, .mask = PROT_EXEC, .value = 0 },  \
                       { .argument = 3,                                                            \
                         .op = SECCOMP_OP_MASKED,                                                  \
                         .mask = MAP_ANONYMOUS,                                                    \
                         .value = MAP_ANONYMOUS } },                                               \
        .reason = why                                                                              \
    }
/* fcntl(F_SETFL) that can do no more than make a socket non-blocking: some of a VM's files are open
 * in other VMs by the same description, whose flags are theirs too (O_DIRECT on a shared disk would
 * fail their reads). 0100000 is the kernel's O_LARGEFILE. */
#define SETFL_NONBLOCK(why)                                                                        \
    {                                                                                              \
        .name = "fcntl", .nr = SYS_fcntl,                                                          \
        .condition = { { .argument = 1, .op = SECCOMP_OP_EQ, .value = F_SETFL },                   \
                       { .argument = 2,                                                            \
                         .op = SECCOMP_OP_MASKED,                                                  \
                         .mask = ~(uint32_t)(O_ACCMODE | O_NONBLOCK | 0100000),                    \
                         .value = 0 } },                                                           \
        .reason = why                                                                              \
    }
#define IOCTL(request, why) IF_EQ(ioctl, 1, request, why)
#define MADVISE(advice, why) IF_EQ(madvise, 2, advice, why)

/* A vCPU thread: runs the guest, loads its state, answers its port and MMIO accesses. 25 calls at
 * most. */
static const struct seccomp_entry seccomp_vcpu[] = {
    IOCTL(KVM_RUN, "run the guest"),
    IOCTL(KVM_IRQ_LINE, "a device access raises or lowers its interrupt line"),
    ANY(futex, "a device's mutex; wait for the other vCPUs at a stop; rest after an answer"),
    ANY(recvmsg, "WAKE on the bell socket"),
    ANY(sendmsg, "AWAKE, READY and the other progress messages"),
    ANY(write, "wake the device thread through its eventfd"),
    ANY(poll, "wait at the bell for a WAKE or a stop"),
    IOCTL(KVM_SET_REGS, "restore: general registers; hold the timer tick back at the doorbell"),
    IOCTL(KVM_GET_REGS, "where KVM gave up; the doorbell's RFLAGS.IF on kernels without "
                        "KVM_CAP_SYNC_REGS; not in e2e: this one has it, and no guest fails so"),
    IOCTL(KVM_SET_SREGS, "restore: segments, control registers"),
    IOCTL(KVM_SET_MSRS, "restore: MSRs"),
    IOCTL(KVM_SET_XSAVE, "restore: FPU, SSE, AVX; the same for a guest's kernel without XSAVE"),
    IOCTL(KVM_GET_XSAVE, "for a guest's kernel without XSAVE, as on a software-only KVM"),
    IOCTL(KVM_GET_XSAVE2, "the same where 4 KiB do not hold all; not in e2e: here they do"),
    IOCTL(KVM_SET_XCRS, "restore: XCR0"),
    IOCTL(KVM_SET_LAPIC, "restore: local APIC"),
    IOCTL(KVM_SET_VCPU_EVENTS, "restore: pending exceptions and interrupts"),
    IOCTL(KVM_SET_MP_STATE, "restore: halted or runnable; secondary vCPUs wait for SIPI"),
    IOCTL(KVM_SET_DEBUGREGS, "restore: debug registers"),
    IOCTL(KVM_SET_TSC_KHZ, "restore: guest TSC frequency, where the host can scale; not in e2e: a "
                           "software-only KVM can't"),
    IOCTL(KVM_SET_CLOCK, "restore: kvmclock"),
    IOCTL(KVM_SET_IRQCHIP, "restore: PICs and I/O APIC"),
    IOCTL(KVM_SET_PIT2, "restore: interval timer; not in e2e: pools have none"),
    IOCTL(VHOST_NET_SET_BACKEND, "the guest's driver resets a card of vhost-net: it leaves the "
                                 "guest's memory alone at once; not in e2e: hwkvm has vhost-net"),
    ANY(clock_gettime, "durations, where the vDSO has to fall back to the kernel"),
    ANY(rt_sigreturn, "return from the kick signal's handler; not in e2e: it takes several vCPUs"),
    ANY(rt_sigprocmask, "pthread_kill and a thread's end; not in e2e: it takes several vCPUs"),
    ANY(restart_syscall, "a timed wait goes on after a pause; not in e2e: no VM is paused in one"),
    ANY(close, "fds that came with a message on the bell; not in e2e: poold sends none"),
    IF_EQ(tgkill, 0, SECCOMP_OWN_PID,
          "kick another vCPU out of KVM_RUN; abort(); not in e2e: it takes several vCPUs"),
    ANY(getpid, "pthread_kill asks for it; not in e2e: it takes several vCPUs"),
    ANY(gettid, "whom the timer of a function's calls is for; abort()"),
    IOCTL(KVM_GET_MSRS, "the guest's timer, that is held back during a function's call"),
    IF_EQ(timer_create, 0, CLOCK_MONOTONIC, "for how long, at most"),
    ANY(timer_settime, "the same"),
    MADVISE(MADV_NORMAL, "read ahead again after the first answer"),
    MADVISE(MADV_POPULATE_READ, "map the recorded working set in one go"),
    MADVISE(MADV_POPULATE_WRITE, "break copy-on-write of pages that are sure to be written"),
    MADVISE(MADV_DONTNEED,
            "give back a thread's stack when it ends; not in e2e: it takes several vCPUs"),
    ANON_MMAP("malloc, should libc need it for an error's text; not in e2e: no such error"),
    ANY(munmap, "free; a thread's stack when it ends; not in e2e: it takes several vCPUs"),
    IF_MASKED(mprotect, 2, PROT_EXEC, 0, "malloc in a thread's heap; not in e2e: as for mmap"),
    ANY(brk, "malloc; not in e2e: as for mmap"),
    ANY(exit, "the thread ends; not in e2e: it takes several vCPUs"),
    ANY(exit_group, "abort(), and the end should the device thread be gone; not in e2e: neither"),
};

/* The device thread: epoll loop over control socket, console, vsock connections and eventfds;
 * writes the snapshot. 40 calls at most. */
static const struct seccomp_entry seccomp_device[] = {
    IOCTL(KVM_IRQ_LINE, "interrupt lines of the devices"),
    IOCTL(UFFDIO_COPY, "load kernel and initramfs while the guest starts"),
    ANY(epoll_wait, "the loop"),
    ANY(read, "vsock streams, eventfds, timerfds"),
    ANY(write, "vsock streams, console client, eventfds"),
    ANY(readv, "a frame from the network into a guest's buffers"),
    ANY(writev, "a frame out of a guest's buffers to the network"),
    ANY(recvmsg, "control messages with fds"),
    ANY(sendmsg, "control messages; streams without SIGPIPE"),
    ANY(recvfrom, "recv() on a stream"),
    ANY(sendto, "send() on a stream, without SIGPIPE"),
    ANY(futex, "devices' mutexes; wait until the vCPUs have stopped"),
    ANY(epoll_ctl, "connections come and go"),
    ANY(accept4, "a connection to the VM's vsock socket"),
    ANY(close, "connections end"),
    ANY(shutdown, "half-closed vsock connections"),
    ANY(pwrite64, "snapshot"),
    ANY(preadv, "disk, into a guest's buffers"),
    ANY(pwritev, "disk, out of a guest's buffers"),
    ANY(fdatasync, "disk flush"),
    /* Other modes take the host's space, whatever RLIMIT_FSIZE says. */
    IF_EQ(fallocate, 1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, "disk discard; balloon"),
    ANY(ftruncate, "snapshot: the memory file's size"),
    ANY(lseek, "snapshot: a memory file's size and holes"),
    ANY(timerfd_settime, "rate limits of disk and network; not in e2e: no scenario reaches one"),
    IOCTL(TUNSETOFFLOAD, "the guest's driver chose its network offloads"),
    IOCTL(VHOST_SET_FEATURES, "vhost-net: the driver is up; not in e2e: hwkvm has vhost-net"),
    IOCTL(VHOST_SET_VRING_NUM, "vhost-net: a ring's length; not in e2e: as above"),
    IOCTL(VHOST_SET_VRING_ADDR, "vhost-net: where a ring is; not in e2e: as above"),
    IOCTL(VHOST_SET_VRING_BASE, "vhost-net: where to go on in it; not in e2e: as above"),
    IOCTL(VHOST_GET_VRING_BASE, "vhost-net, snapshot: how far it got; not in e2e: as above"),
    IOCTL(VHOST_NET_SET_BACKEND, "vhost-net: a ring starts or stops; not in e2e: as above"),
    IF_EQ(tgkill, 0, SECCOMP_OWN_PID, "abort(); not in e2e: nothing aborts"),
    ANY(getpid, "abort(); not in e2e: nothing aborts"),
    ANY(clock_gettime, "durations, where the vDSO has to fall back to the kernel; not in e2e: it "
                       "seldom has to"),
    ANY(getrandom, "virtio-rng"),
    ANY(rt_sigprocmask, "abort(); not in e2e: nothing aborts"),
    IF_EQ(fcntl, 1, F_GETFL, "make a passed stream non-blocking"),
    SETFL_NONBLOCK("make a passed stream non-blocking"),
    ANON_MMAP("malloc; buffers of the snapshot"),
    ANY(munmap, "free"),
    ANY(mremap, "realloc of large buffers; not in e2e: the state of these VMs is small"),
    ANY(brk, "malloc"),
    MADVISE(MADV_DONTNEED, "the balloon gives memory back; malloc trims"),
    IOCTL(KVM_GET_REGS, "snapshot"),
    IOCTL(KVM_GET_SREGS, "snapshot"),
    IOCTL(KVM_GET_MSRS, "snapshot"),
    IOCTL(KVM_SET_MSRS, "snapshot: drop the MSRs that KVM takes no writes of"),
    IOCTL(KVM_GET_XSAVE, "snapshot, on kernels without KVM_CAP_XSAVE2"),
    IOCTL(KVM_GET_XSAVE2, "snapshot; not in e2e: KVM_GET_XSAVE does where its 4 KiB hold all"),
    IOCTL(KVM_GET_XCRS, "snapshot"),
    IOCTL(KVM_GET_LAPIC, "snapshot"),
    IOCTL(KVM_GET_VCPU_EVENTS, "snapshot"),
    IOCTL(KVM_GET_MP_STATE, "snapshot"),
    IOCTL(KVM_GET_DEBUGREGS, "snapshot"),
    IOCTL(KVM_GET_TSC_KHZ, "snapshot"),
    IOCTL(KVM_GET_CPUID2, "snapshot"),
    IOCTL(KVM_GET_CLOCK, "snapshot"),
    IOCTL(KVM_GET_IRQCHIP, "snapshot"),
    IOCTL(KVM_GET_PIT2, "snapshot; not in e2e: pools have none"),
    ANY(exit_group, "the VM ends"),
    /* SECCOMP_DIAL_ROWS: only where the VM's own directory is its root. Elsewhere a name leads to
     * any socket of the host that its user may connect to, and Landlock does not see it. */
    IF_EQ(socket, 0, AF_UNIX,
          "guest-initiated vsock connection: a Unix socket, nothing else; not "
          "in e2e: the guest has no program for it"),
    ANY(connect, "guest-initiated vsock connection; not in e2e: as for socket"),
    ANY(fchdir, "guest-initiated vsock connection: names are relative to the VM's directory; not "
                "in e2e: as for socket"),
};
#define SECCOMP_DIAL_ROWS 3u

/* What waits outside of a pid namespace for its pid 1, and ends as that did. 9 calls at most. */
static const struct seccomp_entry seccomp_outside[] = {
    ANY(poll, "wait for pid 1, and for the end of who holds the lifeline"),
    ANY(wait4, "wait for pid 1"),
    ANY(rt_sigaction, "end by the signal that ended pid 1; not in e2e: nothing ends so"),
    ANY(rt_sigprocmask, "raise(); not in e2e: as above"),
    ANY(getpid, "raise(); not in e2e: as above"),
    ANY(gettid, "raise(); not in e2e: as above"),
    IF_EQ(tgkill, 0, SECCOMP_OWN_PID, "raise(); not in e2e: as above"),
    ANY(rt_sigreturn, "a signal that a tracer sends; not in e2e: none does"),
    ANY(exit_group, "end as pid 1 did; not in e2e: poold kills it"),
};

/* The template, and a clone until its own filters are in place: all of the above (the generator
 * adds what is not here), and what making a clone takes. */
static const struct seccomp_entry seccomp_template[] = {
    ANY(ioctl, "all KVM calls that make a VM; each thread's own filter narrows it down"),
    ANY(clone, "fork a clone"),
    ANY(clone3, "fork a clone with its pidfd; create its threads"),
    ANY(wait4, "reap a clone"),
    ANY(pidfd_open, "the pidfd of a clone, for poold"),
    IF_EQ(kill, 1, 9, "a clone that could not be set up; not in e2e: chaos has such"),
    ANY(tgkill,
        "the id differs from clone to clone: their own filters hold it to their own; not in "
        "e2e: it takes several vCPUs"),
    ANY(set_robust_list, "a new thread of a clone"),
    ANY(rseq, "a new thread of a clone"),
    ANY(rt_sigaction, "a clone's handler for kicks"),
    ANY(pread64, "a working set that was recorded after the template's start"),
    ANY(fstat, "fstat() of older C libraries; not in e2e: Debian 12's makes the next one"),
    ANY(newfstatat, "check that a passed fd is what it should be"),
    ANY(eventfd2, "a clone's kick and wake-up fds"),
    ANY(epoll_create1, "a clone's device loop"),
    ANY(timerfd_create, "a clone's timers"),
    IF_MASKED(mmap, 2, PROT_EXEC, 0, "guest memory, kvm_run pages, thread stacks"),
    IF_MASKED(mprotect, 2, PROT_EXEC, 0,
              "guard pages of thread stacks; not in e2e: it takes several vCPUs"),
    ANY(madvise, "guest memory: no core dump, huge pages, read-ahead"),
    ANY(prctl, "no core dump, death signal, thread names"),
    ANY(prlimit64, "a clone's limits"),
    ANY(setresuid, "a clone's own uid"),
    ANY(setresgid, "a clone's own gid"),
    ANY(gettid, "abort() asks for it; not in e2e: nothing aborts"),
    ANY(capget, "drop capabilities"),
    ANY(capset, "drop capabilities"),
    ANY(chroot, "a clone's own root directory"),
    ANY(landlock_create_ruleset, "a clone's own Landlock domain"),
    ANY(landlock_restrict_self, "a clone's own Landlock domain"),
    ANY(seccomp, "the filters of a clone's threads"),
};

/* volt-gate, the process between a VM's card and passt: frames from one socket to the other. */
static const struct seccomp_entry seccomp_gate[] = {
    ANY(poll, "the loop"),
    ANY(recvfrom, "frames from the VM and from passt"),
    ANY(sendto, "frames to them, without SIGPIPE"),
    ANY(recvmsg, "passt's end of a stream, from poold"),
    ANY(close,
        "the end of a passt that is gone; not in e2e: network.sh kills one, but not under strace"),
    ANY(clock_gettime,
        "how old a flow is, where the vDSO has to fall back to the kernel; not in e2e: "
        "it seldom has to"),
    ANY(restart_syscall, "poll goes on after a stop; not in e2e: nobody stops it"),
    ANY(exit_group, "it ends"),
};

#undef ANY
#undef IF_EQ
#undef IF_MASKED
#undef ANON_MMAP
#undef IOCTL
#undef MADVISE
#undef SETFL_NONBLOCK

#endif
