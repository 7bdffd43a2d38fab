/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the measurement of the sandbox's layers one by one; see layer_costs.h. */
#include "layer_costs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/landlock.h"
#include "base/util.h"
#include "control/control.h"
#include "sandbox/sandbox_internal.h"

#define VM_UID 2000000000u

const char *const layer_cost_names[] = {
    [LAYER_COST_CLOSE_FDS] = "close inherited fds",
    [LAYER_COST_NAMESPACES] = "namespaces, fork to pid 1",
    [LAYER_COST_EMPTY_ROOT] = "empty root",
    [LAYER_COST_LIMITS] = "limits, no_new_privs",
    [LAYER_COST_LANDLOCK] = "Landlock",
    [LAYER_COST_CAPABILITIES] = "capabilities, bounding set",
    [LAYER_COST_TEMPLATE_FILTER] = "seccomp, template",
    [LAYER_COST_ENTER_VM] = "VM: directory, Landlock, uid, capabilities",
    [LAYER_COST_DEVICE_FILTER] = "VM: seccomp, device thread",
    [LAYER_COST_VCPU_FILTER] = "VM: seccomp, vCPU thread",
    [LAYER_COST_1000_IOCTLS] = "1000 ioctls under two filters",
    [LAYER_COST_1000_IOCTLS_UNFILTERED] = "1000 ioctls without a filter",
};
static_assert(ARRAY_LEN(layer_cost_names) == LAYER_COST_COUNT, "one name a layer");

/* Shared with the measured process. */
struct run {
    uint64_t ns[LAYER_COST_COUNT];
    bool whole;
    struct err err;
};

static uint64_t ioctls_time(void)
{
    uint64_t start_ns = now_ns();

    for (unsigned i = 0; i < 1000; i++)
        (void)ioctl(-1, KVM_RUN, 0);
    return now_ns() - start_ns;
}

static int namespaces_enter(struct sandbox_status *status, struct err *err)
{
    const struct sandbox_config config = SANDBOX_CONFIG_ALL;
    int rc = sandbox_pid_namespace_enter(&config, SANDBOX_KEEP_ID, status, err);

    return rc > 0 ? sandbox_namespaces_enter(status, err) : rc;
}

static int layer_run(enum layer_cost layer, int dir_fd, struct sandbox_status *status,
                     struct err *err)
{
    const struct sandbox_config config = SANDBOX_CONFIG_ALL;
    const bool own_uid = dir_fd >= 0; /* only root has one; geteuid is not to be called here */
    const struct sandbox_vm vm = { .uid = own_uid ? VM_UID : SANDBOX_KEEP_ID,
                                   .gid = own_uid ? VM_UID : SANDBOX_KEEP_ID,
                                   .socket_dir_fd = dir_fd };

    switch (layer) {
    case LAYER_COST_CLOSE_FDS:
        return sandbox_close_fds(&dir_fd, dir_fd >= 0, err);
    case LAYER_COST_NAMESPACES:
        return namespaces_enter(status, err);
    case LAYER_COST_EMPTY_ROOT:
        return status->layers & CONTROL_LAYER_NAMESPACES ? sandbox_root_empty(err) : 0;
    case LAYER_COST_LIMITS:
        return sandbox_limits_set(err);
    case LAYER_COST_LANDLOCK:
        return landlock_restrict(NULL, 0, &status->landlock_abi, err);
    case LAYER_COST_CAPABILITIES:
        return sandbox_capabilities_reduce(err);
    case LAYER_COST_TEMPLATE_FILTER:
        return sandbox_install_filter(&config, SANDBOX_THREAD_TEMPLATE, status, err);
    case LAYER_COST_ENTER_VM:
        return sandbox_enter_vm(&config, &vm, status, err);
    case LAYER_COST_DEVICE_FILTER: /* here both go on one thread: the cost is the same */
        return sandbox_install_filter(&config, SANDBOX_THREAD_DEVICE, status, err);
    case LAYER_COST_VCPU_FILTER:
        return sandbox_install_filter(&config, SANDBOX_THREAD_VCPU, status, err);
    default:
        return -EINVAL;
    }
}

static void __attribute__((noreturn)) measured_process(struct run *run, int dir_fd)
{
    struct sandbox_status status = { 0 };

    run->ns[LAYER_COST_1000_IOCTLS_UNFILTERED] = ioctls_time();
    for (unsigned i = 0; i <= LAYER_COST_VCPU_FILTER; i++) {
        uint64_t start_ns = now_ns();

        /* The two thread filters allow no seccomp(2), so the device thread's comes in a fork. */
        if (i == LAYER_COST_DEVICE_FILTER) {
            pid_t pid = fork();

            if (pid > 0) {
                waitpid(pid, NULL, 0);
                continue;
            }
            start_ns = now_ns();
        }
        if (layer_run((enum layer_cost)i, dir_fd, &status, &run->err) < 0)
            _exit(1);
        run->ns[i] = now_ns() - start_ns;
        if (i == LAYER_COST_DEVICE_FILTER)
            _exit(0);
    }
    run->ns[LAYER_COST_1000_IOCTLS] = ioctls_time();
    run->whole = true;
    _exit(0);
}

static int run_once(struct run *run, int dir_fd, struct err *err)
{
    pid_t pid;

    memset(run, 0, sizeof(*run));
    pid = fork();
    if (pid < 0)
        return err_set_errno(err, errno, "forking");
    if (pid == 0)
        measured_process(run, dir_fd);
    if (waitpid(pid, NULL, 0) != pid)
        return err_set_errno(err, errno, "waiting for a measured process");
    return run->whole ? 0 : err_set(err, EIO, "measuring the sandbox: %s", run->err.msg);
}

int layer_costs_measure(unsigned runs, struct samples ret_ns[LAYER_COST_COUNT], struct err *err)
{
    char dir[] = "/tmp/volt-layers-XXXXXX";
    _cleanup_close_ int dir_fd = -1;
    struct run *run =
        mmap(NULL, sizeof(*run), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int r = 0;

    if (run == MAP_FAILED)
        return err_set_errno(err, errno, "mapping memory");
    if (!mkdtemp(dir)) {
        r = err_set_errno(err, errno, "making %s", dir);
        munmap(run, sizeof(*run));
        return r;
    }
    if (geteuid() == 0 && chown(dir, VM_UID, VM_UID) == 0)
        dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (unsigned i = 0; r == 0 && i < runs; i++) {
        r = run_once(run, dir_fd, err);
        for (unsigned layer = 0; r == 0 && layer < LAYER_COST_COUNT; layer++)
            samples_add(&ret_ns[layer], run->ns[layer]);
    }
    rmdir(dir);
    munmap(run, sizeof(*run));
    return r;
}
