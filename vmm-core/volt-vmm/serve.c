/* SPDX-License-Identifier: Apache-2.0 */
/* Owns a VM's life from the made machine to the last message; the same for boot VMs and clones. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "volt-vmm/program.h"
#include "volt-vmm/server.h"

/* Borrowed by vCPU threads, which get no argument of their own in vm.thread_enter. */
static const struct sandbox_config *thread_sandbox;

static int enter_vcpu_thread(struct err *err)
{
    return sandbox_install_filter(thread_sandbox, SANDBOX_THREAD_VCPU, NULL, err);
}

static bool ended_well(enum control_exit_reason reason)
{
    return reason == EXIT_REASON_STOPPED || reason == EXIT_REASON_GUEST_POWEROFF ||
           reason == EXIT_REASON_POOLD_GONE;
}

int vm_serve(struct machine *machine, int control_fd, int bell_fd, const struct options *options,
             struct sandbox_status *status)
{
    struct server server;
    struct err err = { 0 };

    thread_sandbox = &options->sandbox;
    machine->vm.thread_enter = enter_vcpu_thread;
    machine->vm.doorbell.ops = &server_bell_ops;
    machine->vm.doorbell.fd = bell_fd;
    int rc = server_init(&server, machine, control_fd, &err);
    if (rc == 0)
        rc = vm_start(&machine->vm, &err);
    if (rc == 0)
        rc = sandbox_install_filter(&options->sandbox, SANDBOX_THREAD_DEVICE, status, &err);
    if (rc == 0)
        server_hello(&server, status->layers, status->landlock_abi);
    else
        vm_end(&machine->vm, EXIT_REASON_HOST_ERROR, "%s", err.msg);
    enum control_exit_reason reason = vm_loop_run(&machine->vm);
    server_exited(&server, reason);
    return ended_well(reason) ? 0 : EXIT_VM_FAILED;
}
