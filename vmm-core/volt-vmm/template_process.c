/* SPDX-License-Identifier: Apache-2.0 */
/* Owns `volt-vmm template`: opens one snapshot, checks and decodes it once (clone_source.h),
 * confines itself, and then forks a clone for every CLONE that poold asks for (template_loop.h).
 *
 * Why a fork: a clone inherits the opened /dev/kvm and memory file, the decoded state, the
 * namespaces, Landlock rules and compiled filters, and the dynamic linker's work. What is left on
 * the way of a restore is KVM's own calls. The template has one thread and a small heap, so the
 * fork copies few page tables.
 *
 * It ends when poold closes its socket, and as pid 1 of its namespace takes every clone with it.
 */
#include <errno.h>

#include "base/util.h"
#include "volt-vmm/clone_vm.h"
#include "volt-vmm/program.h"
#include "volt-vmm/template_loop.h"

static int clone_one(void *context, const struct control_msg *msg, struct control_clone_fds *fds,
                     uint64_t start_ns)
{
    struct err err = { 0 };
    int status = clone_vm_main(context, msg, fds, start_ns, &err);

    program_report_failure(&err);
    return status;
}

static void take_working_set(void *context, int fd)
{
    clone_source_take_working_set(context, fd);
}

static const struct template_ops ops = { .clone = clone_one, .working_set = take_working_set };

/* Into the sandbox, with all that clones are made of. */
static int prepare(struct clone_source *source, struct options *options, struct err *err)
{
    int keep[1 + CLONE_SOURCE_FDS_MAX] = { options->control_fd };
    clone_source_init(source, options);
    int rc = clone_source_open(source, options, err);

    if (rc == 0)
        rc = clone_source_decode(source, err);
    if (rc < 0)
        return rc;
    /* Whoever has the other end: this poold, its keeper, the next poold. */
    source->sandbox.lifeline_fd = options->control_fd;
    return sandbox_enter(&source->sandbox, SANDBOX_KEEP_ID, keep,
                         1 + clone_source_fds(source, keep + 1), NULL, &source->status, err);
}

static int say_hello(const struct clone_source *source, int control_fd, uint64_t start_ns)
{
    struct control_msg msg = { .type = CONTROL_HELLO };

    msg.u.hello.version = CONTROL_VERSION;
    msg.u.hello.vcpu_count = source->image.vm.vcpu_count;
    msg.u.hello.ram_bytes = source->snapshot.manifest.memory_bytes;
    msg.u.hello.setup_ns = now_ns() - start_ns;
    msg.u.hello.landlock_abi = source->status.landlock_abi;
    msg.u.hello.layers = source->status.layers;
    return control_send(control_fd, &msg, NULL, 0);
}

int program_template(struct options *options, struct err *err)
{
    static struct clone_source source;
    struct template_loop loop;
    uint64_t start_ns = now_ns();

    if (options->control_fd < 0 || options->snapshot_fd < 0) {
        err_set(err, EINVAL, "template needs --control-fd and --snapshot-fd");
        return EXIT_BAD_USAGE;
    }
    int rc = prepare(&source, options, err);
    if (rc == 0)
        rc = template_loop_init(&loop, options->control_fd, &ops, &source, err);
    if (rc == 0)
        rc = sandbox_install_filter(&options->sandbox, SANDBOX_THREAD_TEMPLATE, NULL, err);
    if (rc < 0)
        return EXIT_SOFTWARE;
    /* Unheard, it would be waited for without end. */
    rc = say_hello(&source, options->control_fd, start_ns);
    if (rc < 0) {
        err_set_errno(err, -rc, "telling poold that the template is ready");
        return EXIT_SOFTWARE;
    }
    template_loop_run(&loop);
    return 0;
}
