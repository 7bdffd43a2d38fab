/* SPDX-License-Identifier: Apache-2.0 */
/* Installs the seccomp filters that were compiled when the project was built. */
#include <assert.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control/control.h"
#include "sandbox/sandbox_internal.h"
#include "sandbox/seccomp_table.h"
#include "seccomp_filters.h"

/* Longest filter that is patched on the stack: the tables are far from it. */
#define FILTER_INSNS_MAX 512u

static const struct {
    const char *name;
    const struct sock_filter *insn;
    unsigned count;
} filters[] = {
    [SANDBOX_THREAD_TEMPLATE] = { "template", seccomp_filter_template,
                                  ARRAY_LEN(seccomp_filter_template) },
    [SANDBOX_THREAD_DEVICE] = { "device", seccomp_filter_device, ARRAY_LEN(seccomp_filter_device) },
    [SANDBOX_THREAD_ROOTLESS] = { "device (rootless)", seccomp_filter_device_rootless,
                                  ARRAY_LEN(seccomp_filter_device_rootless) },
    [SANDBOX_THREAD_VCPU] = { "vcpu", seccomp_filter_vcpu, ARRAY_LEN(seccomp_filter_vcpu) },
    [SANDBOX_THREAD_OUTSIDE] = { "outside", seccomp_filter_outside,
                                 ARRAY_LEN(seccomp_filter_outside) },
    [SANDBOX_THREAD_GATE] = { "gate", seccomp_filter_gate, ARRAY_LEN(seccomp_filter_gate) },
};

static_assert(ARRAY_LEN(filters) == SANDBOX_THREAD_COUNT, "one filter a kind");
static_assert(sizeof(seccomp_filter_template) <= FILTER_INSNS_MAX * sizeof(struct sock_filter) &&
                  sizeof(seccomp_filter_device) <= FILTER_INSNS_MAX * sizeof(struct sock_filter) &&
                  sizeof(seccomp_filter_device_rootless) <=
                      FILTER_INSNS_MAX * sizeof(struct sock_filter) &&
                  sizeof(seccomp_filter_vcpu) <= FILTER_INSNS_MAX * sizeof(struct sock_filter) &&
                  sizeof(seccomp_filter_outside) <= FILTER_INSNS_MAX * sizeof(struct sock_filter) &&
                  sizeof(seccomp_filter_gate) <= FILTER_INSNS_MAX * sizeof(struct sock_filter),
              "every filter fits");

const char *sandbox_thread_kind_name(enum sandbox_thread_kind kind)
{
    return filters[kind].name;
}

const struct sock_filter *sandbox_filter_get(enum sandbox_thread_kind kind,
                                             unsigned *ret_insn_count)
{
    *ret_insn_count = filters[kind].count;
    return filters[kind].insn;
}

/* The one thing that is not known at build time: whom tgkill may signal. */
static void own_pid_patch(struct sock_filter *insn, unsigned count, uint32_t pid)
{
    for (unsigned i = 0; i < count; i++) {
        if (insn[i].code == (BPF_JMP | BPF_JEQ | BPF_K) && insn[i].k == SECCOMP_OWN_PID)
            insn[i].k = pid;
    }
}

int sandbox_install_filter(const struct sandbox_config *config, enum sandbox_thread_kind kind,
                           struct sandbox_status *status, struct err *err)
{
    struct sock_filter insn[FILTER_INSNS_MAX];
    struct sock_fprog program = { .len = (unsigned short)filters[kind].count, .filter = insn };

    if (!config->seccomp)
        return 0;
    memcpy(insn, filters[kind].insn, filters[kind].count * sizeof(insn[0]));
    own_pid_patch(insn, filters[kind].count, (uint32_t)getpid());
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        return err_set_errno(err, errno, "installing the seccomp filter of a %s thread",
                             filters[kind].name);
    if (status && (kind == SANDBOX_THREAD_DEVICE || kind == SANDBOX_THREAD_ROOTLESS))
        status->layers |= CONTROL_LAYER_SECCOMP;
    return 0;
}
