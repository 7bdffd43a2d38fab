/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the layers together, in the only order that works: names before the root goes, mounts
 * before Landlock (which forbids them), uids before the capabilities that allow them.
 */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/landlock.h"
#include "base/util.h"
#include "control/control.h"
#include "sandbox/sandbox_internal.h"

static const struct {
    const char *option;
    size_t offset; /* of the switch in struct sandbox_config */
    const char *risk;
} switches[] = {
    { "--no-namespaces", offsetof(struct sandbox_config, namespaces),
      "the VM sees the host's files, processes and network" },
    { "--no-landlock", offsetof(struct sandbox_config, landlock),
      "file, TCP and signal access are not restricted by Landlock" },
    { "--no-capabilities", offsetof(struct sandbox_config, capabilities),
      "the VM keeps the capabilities of whoever started it" },
    { "--no-seccomp", offsetof(struct sandbox_config, seccomp), "the VM may make any system call" },
};

static bool *switch_at(struct sandbox_config *config, size_t offset)
{
    return (bool *)((char *)config + offset);
}

bool sandbox_config_text(size_t i, const char **ret_option, const char **ret_risk)
{
    if (i >= ARRAY_LEN(switches))
        return false;
    *ret_option = switches[i].option;
    *ret_risk = switches[i].risk;
    return true;
}

bool sandbox_config_option(struct sandbox_config *config, const char *argument)
{
    for (unsigned i = 0; i < ARRAY_LEN(switches); i++) {
        if (strcmp(argument, switches[i].option) == 0) {
            *switch_at(config, switches[i].offset) = false;
            return true;
        }
    }
    return false;
}

void sandbox_config_warn(const struct sandbox_config *config)
{
    struct sandbox_config copy = *config;

    for (unsigned i = 0; i < ARRAY_LEN(switches); i++) {
        if (!*switch_at(&copy, switches[i].offset))
            fprintf(stderr, "volt-vmm: WARNING: UNSAFE: %s: %s\n", switches[i].option,
                    switches[i].risk);
    }
}

void sandbox_lacks(struct sandbox_status *status, const char *fmt, ...)
{
    size_t used = strlen(status->lacking);
    va_list args;

    if (used > 0 && used + 2 < sizeof(status->lacking)) {
        memcpy(status->lacking + used, "; ", 3);
        used += 2;
    }
    va_start(args, fmt);
    vsnprintf(status->lacking + used, sizeof(status->lacking) - used, fmt, args);
    va_end(args);
}

static int namespaces_and_root(struct sandbox_status *status, struct err *err)
{
    int r = sandbox_namespaces_enter(status, err);

    if (r < 0 || !(status->layers & CONTROL_LAYER_NAMESPACES))
        return r;
    return sandbox_root_empty(err);
}

static int landlock_enter(struct sandbox_status *status, struct err *err)
{
    int r = landlock_restrict(NULL, 0, &status->landlock_abi, err);

    if (r == 0 && status->landlock_abi > 0)
        status->layers |= CONTROL_LAYER_LANDLOCK;
    return r;
}

/* The layers that are a thread's own, and inherited by those that it starts. */
static int thread_confine(const struct sandbox_config *config, bool pid_namespace,
                          struct sandbox_status *status, struct err *err)
{
    int r = pid_namespace ? namespaces_and_root(status, err) : 0;

    if (r == 0)
        r = sandbox_limits_set(err);
    if (r == 0 && config->landlock) {
        r = landlock_enter(status, err);
        if (r == 0 && status->landlock_abi == 0)
            sandbox_lacks(status, "this kernel has no Landlock");
    }
    if (r == 0 && config->capabilities)
        r = sandbox_capabilities_reduce(err);
    return r < 0 ? err_wrap(err, "entering the sandbox"), r : 0;
}

struct helper {
    const struct sandbox_meanwhile *meanwhile;
    struct err err;
    int rc;
};

static void *helper_main(void *arg)
{
    struct helper *helper = arg;

    helper->rc = helper->meanwhile->work(helper->meanwhile->context, &helper->err);
    return NULL;
}

/* thread_confine() with the work beside it. */
static int confine_meanwhile(const struct sandbox_config *config, bool pid_namespace,
                             const struct sandbox_meanwhile *meanwhile,
                             struct sandbox_status *status, struct err *err)
{
    struct helper helper = { .meanwhile = meanwhile };
    pthread_t thread;
    int r = pthread_create(&thread, NULL, helper_main, &helper);

    if (r != 0)
        return err_set_errno(err, r, "starting a thread");
    r = thread_confine(config, pid_namespace, status, err);
    pthread_join(thread, NULL);
    if (r == 0 && helper.rc < 0)
        *err = helper.err;
    return r < 0 ? r : helper.rc;
}

int sandbox_enter(const struct sandbox_config *config, uint32_t uid, const int *keep_fds,
                  unsigned keep_count, const struct sandbox_meanwhile *meanwhile,
                  struct sandbox_status *status, struct err *err)
{
    bool pid_namespace = config->forked;
    int r = sandbox_close_fds(keep_fds, keep_count, err);

    if (r == 0 && config->namespaces && !config->forked) {
        r = sandbox_pid_namespace_enter(config, uid, status, err);
        pid_namespace = r > 0;
    }
    if (r < 0)
        return err_wrap(err, "entering the sandbox"), r;
    if (meanwhile)
        return confine_meanwhile(config, pid_namespace, meanwhile, status, err);
    return thread_confine(config, pid_namespace, status, err);
}

static int cgroups_join(const struct sandbox_vm *vm, struct sandbox_status *status, struct err *err)
{
    for (unsigned i = 0; i < vm->cgroup_count; i++) {
        if (write(vm->cgroup_fds[i], "0", 1) != 1)
            return err_set_errno(err, errno, "joining the VM's cgroup");
    }
    if (vm->cgroup_count > 0)
        status->layers |= CONTROL_LAYER_CGROUP;
    return 0;
}

/* Where users may make no namespaces they may not change roots either: then the VM does without, and
 * its device thread is not to connect to anything. */
static int root_enter(int dir_fd, struct sandbox_status *status, struct err *err)
{
    if (fchdir(dir_fd) < 0)
        return err_set_errno(err, errno, "entering the VM's socket directory");
    status->rooted = chroot(".") == 0;
    if (!status->rooted && (errno != EPERM || status->layers & CONTROL_LAYER_NAMESPACES))
        return err_set_errno(err, errno, "making the VM's socket directory its root");
    return 0;
}

/* Changing ids clears the death signal and makes the process dumpable: both are set again. */
static int ids_switch(const struct sandbox_vm *vm, struct sandbox_status *status, struct err *err)
{
    if (vm->gid != SANDBOX_KEEP_ID && setresgid(vm->gid, vm->gid, vm->gid) < 0)
        return err_set_errno(err, errno, "switching to gid %u", vm->gid);
    if (vm->uid != SANDBOX_KEEP_ID) {
        if (setresuid(vm->uid, vm->uid, vm->uid) < 0)
            return err_set_errno(err, errno, "switching to uid %u", vm->uid);
        status->layers |= CONTROL_LAYER_UID;
    }
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return err_set_errno(err, errno, "becoming undumpable");
    return 0;
}

int sandbox_enter_vm(const struct sandbox_config *config, const struct sandbox_vm *vm,
                     struct sandbox_status *status, struct err *err)
{
    const struct rlimit file_limit = { vm->file_bytes, vm->file_bytes };
    int r = cgroups_join(vm, status, err);

    if (r == 0 && setrlimit(RLIMIT_FSIZE, &file_limit) < 0)
        r = err_set_errno(err, errno, "setting RLIMIT_FSIZE");
    if (r == 0 && vm->socket_dir_fd >= 0)
        r = root_enter(vm->socket_dir_fd, status, err);
    if (r == 0 && config->landlock)
        r = landlock_enter(status, err); /* a domain of its own keeps it from its siblings */
    if (r == 0)
        r = ids_switch(vm, status, err);
    if (r == 0 && config->capabilities) {
        r = sandbox_capabilities_drop(err);
        if (r == 0)
            status->layers |= CONTROL_LAYER_CAPABILITIES;
    }
    return r < 0 ? err_wrap(err, "entering the VM's sandbox"), r : 0;
}
