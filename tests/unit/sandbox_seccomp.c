/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the kernel does what the filters say. Method: for each kind of thread, each system call
 * number (and its x32 and i386 twin) is made by a process of its own that has that kind's filter:
 * those in the table must return, all others must die by SIGSYS.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "control/control.h"
#include "leave.h"
#include "sandbox/sandbox_internal.h"
#include "sandbox/seccomp_table.h"
#include "tap_main.h"

#define SYSCALLS_END 472 /* a few past the newest that any kernel has */
#define X32_BIT 0x40000000
#define NO_SUCH_PID 0x3fffffff

static const struct {
    const struct seccomp_entry *entry;
    unsigned count;
} tables[] = {
    [SANDBOX_THREAD_TEMPLATE] = { seccomp_template, ARRAY_LEN(seccomp_template) },
    [SANDBOX_THREAD_DEVICE] = { seccomp_device, ARRAY_LEN(seccomp_device) },
    [SANDBOX_THREAD_ROOTLESS] = { seccomp_device, ARRAY_LEN(seccomp_device) - SECCOMP_DIAL_ROWS },
    [SANDBOX_THREAD_VCPU] = { seccomp_vcpu, ARRAY_LEN(seccomp_vcpu) },
    [SANDBOX_THREAD_OUTSIDE] = { seccomp_outside, ARRAY_LEN(seccomp_outside) },
    [SANDBOX_THREAD_GATE] = { seccomp_gate, ARRAY_LEN(seccomp_gate) },
};

static bool table_has(enum sandbox_thread_kind kind, int nr)
{
    for (unsigned i = 0; i < tables[kind].count; i++) {
        if (tables[kind].entry[i].nr == nr)
            return true;
    }
    return kind == SANDBOX_THREAD_TEMPLATE &&
           (table_has(SANDBOX_THREAD_DEVICE, nr) || table_has(SANDBOX_THREAD_VCPU, nr));
}

struct call {
    long nr;
    long arg[6];
    bool i386; /* by int 0x80 */
};

static void i386_call(long nr)
{
    long ret;

    __asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(-1l), "c"(-1l), "d"(-1l) : "memory");
    (void)ret;
}

/* Makes one call under a filter in a process of its own. Returns its wait status. */
static int call_try(enum sandbox_thread_kind kind, const struct call *call)
{
    const struct sandbox_config config = SANDBOX_CONFIG_ALL;
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        const long *a = call->arg;

        alarm(120);               /* a call that blocks for good fails the test */
        signal(SIGSEGV, SIG_DFL); /* AddressSanitizer's handler makes calls, too */
        if (sandbox_limits_set(NULL) < 0 || sandbox_install_filter(&config, kind, NULL, NULL) < 0)
            _exit(77);
        if (call->i386)
            i386_call(call->nr);
        else
            syscall(call->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
        leave(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(!(WIFEXITED(status) && WEXITSTATUS(status) == 77), "no filter was installed");
    ck_assert_msg(!(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM), "call %ld blocked",
                  call->nr);
    return status;
}

static bool killed_by_filter(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

/* uretprobe(2) and uprobe(2): kernels that have them exempt them from every seccomp filter. Called
 * from anywhere but a kernel-made trampoline, they answer with SIGILL or an error. */
static bool exempt_and_harmless(long nr, int status)
{
    return (nr == 335 || nr == 336) &&
           (status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGILL));
}

START_TEST(forbidden_calls_die)
{
    const enum sandbox_thread_kind kind = (enum sandbox_thread_kind)_i;
    unsigned tried = 0;

    for (long nr = 0; nr < SYSCALLS_END; nr++) {
        const struct call native = { .nr = nr, .arg = { -1, -1, -1, -1, -1, -1 } };
        const struct call x32 = { .nr = nr | X32_BIT, .arg = { -1, -1, -1, -1, -1, -1 } };

        if (!table_has(kind, (int)nr)) {
            int status = call_try(kind, &native);

            ck_assert_msg(killed_by_filter(status) || exempt_and_harmless(nr, status),
                          "%s: call %ld ends with status 0x%x", sandbox_thread_kind_name(kind), nr,
                          (unsigned)status);
            tried++;
        }
        ck_assert_msg(killed_by_filter(call_try(kind, &x32)), "%s: x32 call %ld lives",
                      sandbox_thread_kind_name(kind), nr);
        tried++;
    }
    printf("# %s: %u forbidden calls died\n", sandbox_thread_kind_name(kind), tried);
    ck_assert_uint_gt(tried, SYSCALLS_END);
}
END_TEST

/* Where the kernel takes int 0x80 at all; elsewhere it is a SIGSEGV with or without a filter. */
START_TEST(i386_calls_die)
{
    const enum sandbox_thread_kind kind = (enum sandbox_thread_kind)_i;

    for (long nr = 0; nr < SYSCALLS_END; nr++) {
        const struct call call = { .nr = nr, .i386 = true };
        int status = call_try(kind, &call);

        ck_assert_msg(killed_by_filter(status) ||
                          (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV),
                      "%s: i386 call %ld ends with status 0x%x", sandbox_thread_kind_name(kind), nr,
                      (unsigned)status);
    }
}
END_TEST

/* The call of a row, with arguments that the row asks for and that do no harm. */
static struct call harmless_call(const struct seccomp_entry *entry)
{
    struct call call = { .nr = entry->nr, .arg = { -1, -1, -1, -1, -1, -1 } };

    for (unsigned i = 0; i < SECCOMP_CONDITIONS_MAX; i++) {
        const struct seccomp_condition *c = &entry->condition[i];

        if (c->op != SECCOMP_OP_NONE)
            call.arg[c->argument] = c->value;
    }
    if (entry->nr == SYS_kill)
        call.arg[0] = NO_SUCH_PID;
    if (entry->nr == SYS_exit || entry->nr == SYS_exit_group)
        call.arg[0] = 0;
    if (entry->nr == SYS_clock_nanosleep)
        call.arg[0] = 99; /* no such clock */
    return call;
}

START_TEST(allowed_calls_live)
{
    const enum sandbox_thread_kind kind = (enum sandbox_thread_kind)_i;

    for (unsigned i = 0; i < tables[kind].count; i++) {
        const struct seccomp_entry *entry = &tables[kind].entry[i];
        struct call call = harmless_call(entry);
        int status;

        if (entry->condition[0].value == SECCOMP_OWN_PID)
            continue; /* tgkill_reaches_only_oneself */
        status = call_try(kind, &call);
        if (entry->nr == SYS_rt_sigreturn) /* returns to nowhere */
            ck_assert_msg(!killed_by_filter(status), "rt_sigreturn is killed");
        else
            ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                          "%s: %s (%s) ends with status 0x%x", sandbox_thread_kind_name(kind),
                          entry->name, entry->reason, (unsigned)status);
    }
}
END_TEST

START_TEST(tgkill_reaches_only_oneself)
{
    static const enum sandbox_thread_kind kinds[] = { SANDBOX_THREAD_DEVICE, SANDBOX_THREAD_VCPU,
                                                      SANDBOX_THREAD_OUTSIDE };
    const enum sandbox_thread_kind kind = kinds[_i];
    const struct sandbox_config config = SANDBOX_CONFIG_ALL;

    for (int foreign = 0; foreign < 2; foreign++) {
        int status;
        pid_t pid = fork();

        if (pid == 0) {
            pid_t target = foreign ? getppid() : getpid();

            if (sandbox_limits_set(NULL) < 0 ||
                sandbox_install_filter(&config, kind, NULL, NULL) < 0)
                _exit(77);
            syscall(SYS_tgkill, target, target, 0);
            leave(0);
        }
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        if (foreign)
            ck_assert(killed_by_filter(status));
        else
            ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}
END_TEST

START_TEST(switched_off_means_none)
{
    struct sandbox_config config = SANDBOX_CONFIG_ALL;
    struct sandbox_status state = { 0 };

    ck_assert(sandbox_config_option(&config, "--no-seccomp"));
    ck_assert(!sandbox_config_option(&config, "--no-such-thing"));
    ck_assert_int_eq(sandbox_install_filter(&config, SANDBOX_THREAD_DEVICE, &state, NULL), 0);
    ck_assert_uint_eq(state.layers & CONTROL_LAYER_SECCOMP, 0);
    ck_assert_int_ne(syscall(SYS_getppid), 0); /* on no VM thread's list */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sandbox_seccomp");
    TCase *tests = tap_case(suite, "seccomp");

    tcase_add_loop_test(tests, forbidden_calls_die, 0, SANDBOX_THREAD_COUNT);
    tcase_add_loop_test(tests, i386_calls_die, 0, SANDBOX_THREAD_COUNT);
    tcase_add_loop_test(tests, allowed_calls_live, 0, SANDBOX_THREAD_COUNT);
    tcase_add_loop_test(tests, tgkill_reaches_only_oneself, 0, 3);
    tcase_add_test(tests, switched_off_means_none);
    return tap_main(suite);
}
