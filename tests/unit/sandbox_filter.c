/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the compiled seccomp filters say exactly what the tables say, and decide hot calls fast.
 * Method: run the BPF in an interpreter, over every system call number, every row of the tables,
 * and every row with one argument made wrong.
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "sandbox/sandbox_internal.h"
#include "sandbox/seccomp_table.h"
#include "tap_main.h"

#define SYSCALLS_END 512
#define X32_BIT 0x40000000

static const struct {
    const struct seccomp_entry *entry;
    unsigned count;
    unsigned calls_max;
} tables[] = {
    [SANDBOX_THREAD_TEMPLATE] = { seccomp_template, ARRAY_LEN(seccomp_template), 64 },
    [SANDBOX_THREAD_DEVICE] = { seccomp_device, ARRAY_LEN(seccomp_device), 40 },
    [SANDBOX_THREAD_ROOTLESS] = { seccomp_device, ARRAY_LEN(seccomp_device) - SECCOMP_DIAL_ROWS,
                                  37 },
    [SANDBOX_THREAD_VCPU] = { seccomp_vcpu, ARRAY_LEN(seccomp_vcpu), 25 },
    [SANDBOX_THREAD_OUTSIDE] = { seccomp_outside, ARRAY_LEN(seccomp_outside), 9 },
    [SANDBOX_THREAD_GATE] = { seccomp_gate, ARRAY_LEN(seccomp_gate), 8 },
};

/* Runs a filter on one call. Returns its verdict; the instructions it took in *ret_steps. */
static uint32_t filter_run(enum sandbox_thread_kind kind, const struct seccomp_data *data,
                           unsigned *ret_steps)
{
    unsigned count, pc = 0, steps = 0;
    const struct sock_filter *insn = sandbox_filter_get(kind, &count);
    uint32_t a = 0;

    for (;; pc++) {
        const struct sock_filter *at = &insn[pc];

        ck_assert_uint_lt(pc, count);
        steps++;
        switch (at->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            ck_assert_uint_le(at->k, sizeof(*data) - 4);
            memcpy(&a, (const char *)data + at->k, sizeof(a));
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= at->k;
            break;
        case BPF_JMP | BPF_JA:
            pc += at->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            pc += a == at->k ? at->jt : at->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            pc += a >= at->k ? at->jt : at->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            pc += a > at->k ? at->jt : at->jf;
            break;
        case BPF_RET | BPF_K:
            if (ret_steps)
                *ret_steps = steps;
            return at->k;
        default:
            ck_abort_msg("instruction %u has code 0x%x", pc, at->code);
        }
    }
}

/* A call that fulfils a row's conditions; all other argument bits are set. */
static struct seccomp_data call_of(const struct seccomp_entry *entry)
{
    struct seccomp_data data = { .nr = entry->nr, .arch = AUDIT_ARCH_X86_64 };

    memset(data.args, 0xff, sizeof(data.args));
    for (unsigned i = 0; i < SECCOMP_CONDITIONS_MAX; i++) {
        const struct seccomp_condition *c = &entry->condition[i];

        if (c->op == SECCOMP_OP_EQ)
            data.args[c->argument] = c->value;
        else if (c->op == SECCOMP_OP_MASKED)
            data.args[c->argument] = (data.args[c->argument] & ~(uint64_t)c->mask) | c->value;
    }
    return data;
}

static bool table_has(enum sandbox_thread_kind kind, int nr)
{
    for (unsigned i = 0; i < tables[kind].count; i++) {
        if (tables[kind].entry[i].nr == nr)
            return true;
    }
    /* The template's filter takes in the other two. */
    return kind == SANDBOX_THREAD_TEMPLATE &&
           (table_has(SANDBOX_THREAD_DEVICE, nr) || table_has(SANDBOX_THREAD_VCPU, nr));
}

/* Do the arguments fulfil another row of the same call? */
static bool other_row_allows(enum sandbox_thread_kind kind, const struct seccomp_data *data)
{
    for (unsigned i = 0; i < tables[kind].count; i++) {
        const struct seccomp_entry *entry = &tables[kind].entry[i];
        bool all = entry->nr == data->nr;

        for (unsigned j = 0; all && j < SECCOMP_CONDITIONS_MAX; j++) {
            const struct seccomp_condition *c = &entry->condition[j];
            uint64_t arg = data->args[c->argument];

            if (c->op == SECCOMP_OP_EQ)
                all = arg == c->value;
            else if (c->op == SECCOMP_OP_MASKED)
                all = (arg & c->mask) == c->value;
        }
        if (all)
            return true;
    }
    return false;
}

START_TEST(rows_are_allowed_and_have_reasons)
{
    const enum sandbox_thread_kind kind = (enum sandbox_thread_kind)_i;

    for (unsigned i = 0; i < tables[kind].count; i++) {
        const struct seccomp_entry *entry = &tables[kind].entry[i];
        struct seccomp_data data = call_of(entry);

        ck_assert_msg(strlen(entry->reason) > 3, "%s has no reason", entry->name);
        ck_assert_msg(filter_run(kind, &data, NULL) == SECCOMP_RET_ALLOW, "%s (%s) is killed",
                      entry->name, entry->reason);
    }
}
END_TEST

START_TEST(wrong_arguments_are_killed)
{
    const enum sandbox_thread_kind kind = (enum sandbox_thread_kind)_i;
    unsigned tried = 0;

    for (unsigned i = 0; i < tables[kind].count; i++) {
        const struct seccomp_entry *entry = &tables[kind].entry[i];

        for (unsigned j = 0; j < SECCOMP_CONDITIONS_MAX; j++) {
            const struct seccomp_condition *c = &entry->condition[j];

            /* Every single bit that the condition looks at; for == that is all 64. */
            for (unsigned bit = 0; c->op != SECCOMP_OP_NONE && bit < 64; bit++) {
                struct seccomp_data data = call_of(entry);

                if (c->op == SECCOMP_OP_MASKED && !(c->mask & (1ull << bit)))
                    continue;
                data.args[c->argument] ^= 1ull << bit;
                if (other_row_allows(kind, &data))
                    continue;
                tried++;
                ck_assert_msg(filter_run(kind, &data, NULL) == SECCOMP_RET_KILL_PROCESS,
                              "%s (%s) with argument %u = 0x%llx lives", entry->name, entry->reason,
                              c->argument, (unsigned long long)data.args[c->argument]);
            }
        }
    }
    if (kind == SANDBOX_THREAD_GATE) /* none of its rows has a condition */
        return;
    ck_assert_uint_gt(tried,
                      kind == SANDBOX_THREAD_DEVICE || kind == SANDBOX_THREAD_VCPU ? 1000 : 0);
}
END_TEST

START_TEST(other_calls_are_killed)
{
    const enum sandbox_thread_kind kind = (enum sandbox_thread_kind)_i;
    unsigned calls = 0;

    for (int nr = 0; nr < SYSCALLS_END; nr++) {
        struct seccomp_data data = { .nr = nr, .arch = AUDIT_ARCH_X86_64 };

        calls += table_has(kind, nr);
        if (!table_has(kind, nr))
            ck_assert_msg(filter_run(kind, &data, NULL) == SECCOMP_RET_KILL_PROCESS,
                          "call %d lives", nr);
        data.nr = nr | X32_BIT;
        ck_assert_msg(filter_run(kind, &data, NULL) == SECCOMP_RET_KILL_PROCESS,
                      "x32 call %d lives", nr);
        data.nr = nr;
        data.arch = AUDIT_ARCH_I386;
        ck_assert_msg(filter_run(kind, &data, NULL) == SECCOMP_RET_KILL_PROCESS,
                      "i386 call %d lives", nr);
    }
    printf("# %s: %u calls, %u rows\n", sandbox_thread_kind_name(kind), calls, tables[kind].count);
    if (kind != SANDBOX_THREAD_TEMPLATE)
        ck_assert_uint_le(calls, tables[kind].calls_max);
}
END_TEST

START_TEST(hot_calls_are_decided_in_few_instructions)
{
    static const struct {
        enum sandbox_thread_kind kind;
        int nr;
        uint64_t request;
        unsigned steps_max;
    } hot[] = {
        { SANDBOX_THREAD_VCPU, SYS_ioctl, KVM_RUN, 9 },
        { SANDBOX_THREAD_DEVICE, SYS_ioctl, KVM_IRQ_LINE, 9 },
        /* No argument is looked at: the kernel remembers the verdict and runs no BPF. */
        { SANDBOX_THREAD_TEMPLATE, SYS_ioctl, KVM_RUN, 16 },
        { SANDBOX_THREAD_VCPU, SYS_recvmsg, 0, 20 },
        { SANDBOX_THREAD_VCPU, SYS_sendmsg, 0, 20 },
        { SANDBOX_THREAD_DEVICE, SYS_epoll_wait, 0, 20 },
    };

    for (unsigned i = 0; i < ARRAY_LEN(hot); i++) {
        struct seccomp_data data = { .nr = hot[i].nr,
                                     .arch = AUDIT_ARCH_X86_64,
                                     .args = { 3, hot[i].request } };
        unsigned steps = 0;

        ck_assert_uint_eq(filter_run(hot[i].kind, &data, &steps), SECCOMP_RET_ALLOW);
        ck_assert_msg(steps <= hot[i].steps_max, "row %u takes %u instructions", i, steps);
    }
}
END_TEST

START_TEST(the_dangerous_are_absent)
{
    static const int never[] = { SYS_execve,
                                 SYS_execveat,
                                 SYS_ptrace,
                                 SYS_open,
                                 SYS_openat,
                                 SYS_openat2,
                                 SYS_open_by_handle_at,
                                 SYS_process_vm_readv,
                                 SYS_process_vm_writev,
                                 SYS_mount,
                                 SYS_umount2,
                                 SYS_unshare,
                                 SYS_setns,
                                 SYS_bpf,
                                 SYS_perf_event_open,
                                 SYS_init_module,
                                 SYS_kexec_load,
                                 SYS_keyctl,
                                 SYS_userfaultfd,
                                 SYS_io_uring_setup,
                                 SYS_memfd_create,
                                 SYS_pidfd_getfd,
                                 SYS_personality,
                                 SYS_fork,
                                 SYS_vfork };
    static const int only_template[] = { SYS_clone,  SYS_clone3,    SYS_kill,
                                         SYS_bind,   SYS_prctl,     SYS_seccomp,
                                         SYS_chroot, SYS_setresuid, SYS_capset };

    for (unsigned i = 0; i < ARRAY_LEN(never); i++) {
        for (int kind = 0; kind < SANDBOX_THREAD_COUNT; kind++)
            ck_assert_msg(!table_has((enum sandbox_thread_kind)kind, never[i]),
                          "call %d is in a table", never[i]);
    }
    for (unsigned i = 0; i < ARRAY_LEN(only_template); i++) {
        ck_assert(!table_has(SANDBOX_THREAD_DEVICE, only_template[i]));
        ck_assert(!table_has(SANDBOX_THREAD_VCPU, only_template[i]));
        ck_assert(!table_has(SANDBOX_THREAD_OUTSIDE, only_template[i]));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sandbox_filter");
    TCase *tests = tap_case(suite, "filter");

    tcase_add_loop_test(tests, rows_are_allowed_and_have_reasons, 0, SANDBOX_THREAD_COUNT);
    tcase_add_loop_test(tests, wrong_arguments_are_killed, 0, SANDBOX_THREAD_COUNT);
    tcase_add_loop_test(tests, other_calls_are_killed, 0, SANDBOX_THREAD_COUNT);
    tcase_add_test(tests, hot_calls_are_decided_in_few_instructions);
    tcase_add_test(tests, the_dangerous_are_absent);
    return tap_main(suite);
}
