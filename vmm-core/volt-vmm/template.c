/* SPDX-License-Identifier: Apache-2.0 */
/* Owns `volt-vmm template`: opens one snapshot, checks and decodes it once, confines itself, and
 * then forks a clone for every CLONE that poold asks for.
 *
 * Why a fork: a clone inherits the opened /dev/kvm and memory file, the decoded state, the
 * namespaces, Landlock rules and compiled filters, and the dynamic linker's work. What is left on
 * the way of a restore is KVM's own calls. The template has one thread and a small heap, so the
 * fork copies few page tables.
 *
 * It ends when poold closes its socket, and as pid 1 of its namespace takes every clone with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/util.h"
#include "boot/cpuid.h"
#include "snapshot/template.h"
#include "volt-vmm/program.h"
#include "volt-vmm/server.h"

/* Which clone a pid was, for CHILD_EXITED. */
struct child {
    pid_t pid;
    uint64_t cookie;
};

struct template
{
    struct clone_source source;
    struct kvm_host kvm;
    struct machine_image image;
    struct working_set working_set;
    struct disk_source disk;
    struct digest snapshot_id;
    struct sandbox_status status;
    int control_fd, signal_fd;
    struct child *child;
    size_t child_count, child_room;
};

/* ---- Set-up ---- */

/* Whether this host can give every vCPU the features that the guest has seen. On a software-only
 * KVM guest user mode sees the host's own CPU, whatever KVM was told: there the manifest's vendor
 * and kind of KVM, which snapshot_open has compared, are all that can be checked. */
static int check_cpus(const struct kvm_host *kvm, const struct vm_state *state, struct err *err)
{
    struct {
        struct kvm_cpuid2 head;
        struct kvm_cpuid_entry2 entry[VM_CPUID_MAX];
    } supported, saved;
    int rc = 0;

    if (kvm->software_only)
        return 0;
    rc = kvm_host_cpuid(kvm, &supported.head, err);
    for (uint32_t i = 0; rc == 0 && i < state->vcpu_count; i++) {
        saved.head.nent = MIN_OF(state->vcpu[i].cpuid_count, VM_CPUID_MAX);
        memcpy(saved.entry, state->vcpu[i].cpuid, saved.head.nent * sizeof saved.entry[0]);
        rc = cpuid_check_restorable(&saved.head, &supported.head, err);
    }
    return rc;
}

/* A scratch machine of the snapshot's shape gives the device tables to decode with and shows which
 * MSRs a new vCPU has anyway. It never runs. */
static int decode_image(struct template *t, struct snapshot_template *snapshot, struct err *err)
{
    struct machine_config config = MACHINE_CONFIG_INIT;
    static struct machine scratch;
    struct guest_mem mem;

    config.vm.vcpu_count = snapshot->manifest.vcpus;
    disk_source_configure(&t->disk, NULL, &config);
    machine_image_devices(&snapshot->state, &t->source.has_net, &t->source.has_balloon);
    config.has_balloon = t->source.has_balloon;
    int rc = guest_mem_init(&mem, snapshot->manifest.memory_bytes, err);
    if (rc == 0)
        rc = guest_mem_map_private(&mem, snapshot->memory_fd, err);
    if (rc == 0 && t->source.has_net)
        rc = net_source_configure(&t->source.net, &(int){ -1 }, &(int){ -1 }, NULL, &config, err);
    if (rc < 0)
        return rc;
    rc = machine_create(&scratch, &t->kvm, &mem, &config, err);
    if (rc < 0) {
        guest_mem_fini(&mem);
        return rc;
    }
    rc = machine_image_decode(&scratch, &snapshot->state, &t->image, err);
    if (rc == 0)
        rc = state_reader_check_used(&snapshot->state, err);
    if (rc == 0 && t->image.vm.vcpu_count != snapshot->manifest.vcpus)
        rc = err_set(err, EINVAL, "state: %u vCPUs, but manifest.json says %u",
                     t->image.vm.vcpu_count, snapshot->manifest.vcpus);
    if (rc == 0)
        rc = check_cpus(&t->kvm, &t->image.vm, err);
    for (uint32_t i = 0; rc == 0 && i < t->image.vm.vcpu_count; i++)
        rc = vm_set_cpuid(&scratch.vm, i, t->image.vm.vcpu[i].cpuid,
                          t->image.vm.vcpu[i].cpuid_count, err);
    if (rc == 0)
        rc = machine_load_devices(&scratch, &t->image, err);
    if (rc == 0)
        rc = vm_state_prune_msrs(&scratch.vm, &t->image.vm, err);
    vm_destroy(&scratch.vm);
    return rc;
}

static int load_snapshot(struct template *t, const struct options *options, struct err *err)
{
    struct snapshot_template snapshot;
    int rc = snapshot_open(options->snapshot_fd, 0, &snapshot, err);

    if (rc < 0)
        return rc;
    rc = disk_source_open(&t->disk, options, err);
    if (rc == 0)
        rc = disk_source_check(&t->disk, &snapshot.manifest, options->snapshot_fd, err);
    if (rc == 0)
        rc = decode_image(t, &snapshot, err);
    if (rc == 0) {
        t->source.memory_bytes = snapshot.manifest.memory_bytes;
        t->source.memory_fd = take_fd(&snapshot.memory_fd);
        t->source.has_pit = t->image.vm.has_pit;
        t->snapshot_id = snapshot.manifest.id;
        t->working_set = snapshot.working_set;
        snapshot.working_set = (struct working_set){ 0 };
        /* A cold page cache starts to fill while the rest is set up; a failure costs only time. */
        working_set_readahead(&t->working_set, t->source.memory_fd);
    }
    snapshot_close(&snapshot);
    return rc;
}

static int watch_children(struct template *t, struct err *err)
{
    const struct sigaction ends_only = { .sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP };
    sigset_t set;

    sigaction(SIGCHLD, &ends_only, NULL); /* poold stops clones */
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    t->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return t->signal_fd < 0 ? err_set_errno(err, errno, "watching child processes") : 0;
}

/* ---- Cloning ---- */

static bool reserve_child(struct template *t)
{
    if (t->child_count < t->child_room)
        return true;
    size_t room = t->child_room ? 2 * t->child_room : 64;
    struct child *grown = reallocarray(t->child, room, sizeof *grown);
    if (!grown)
        return false;
    t->child = grown;
    t->child_room = room;
    return true;
}

static void unblock_child_signal(void)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void answer_clone(struct template *t, uint64_t cookie, pid_t pid, int error)
{
    struct control_msg msg = { .type = CONTROL_CLONED, .cookie = cookie };
    _cleanup_close_ int pidfd = -1;

    if (!error) {
        pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        error = pidfd < 0 ? errno : 0;
    }
    msg.u.cloned.pid = pid;
    msg.u.cloned.error = error;
    int rc = control_send(t->control_fd, &msg, &pidfd, pidfd >= 0);
    /* A clone that poold can't watch must not live: it hears so without the pidfd (of which too
     * many may be on their way). */
    if ((error || rc < 0) && pid > 0)
        kill(pid, SIGKILL);
    if (rc < 0) {
        msg.u.cloned.error = -rc;
        control_send(t->control_fd, &msg, NULL, 0);
    }
}

static void clone_vm(struct template *t, const struct control_msg *msg, int *fds, unsigned fd_count)
{
    uint64_t start_ns = now_ns();
    pid_t pid = reserve_child(t) ? fork() : -1;
    int error = pid < 0 ? errno : 0;

    if (pid == 0) {
        close_fd(&t->control_fd);
        close_fd(&t->signal_fd);
        unblock_child_signal();
        _exit(clone_main(&t->source, msg, fds, fd_count, start_ns));
    }
    for (unsigned i = 0; i < fd_count; i++)
        close(fds[i]);
    if (pid > 0)
        t->child[t->child_count++] = (struct child){ .pid = pid, .cookie = msg->cookie };
    answer_clone(t, msg->cookie, pid, error);
}

static void reap(struct template *t)
{
    struct signalfd_siginfo info;
    int status;
    pid_t pid;

    if (read(t->signal_fd, &info, sizeof info) < 0 && errno != EAGAIN)
        return;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (size_t i = 0; i < t->child_count; i++) {
            if (t->child[i].pid != pid)
                continue;
            struct control_msg msg = { .type = CONTROL_CHILD_EXITED, .cookie = t->child[i].cookie };
            msg.u.child_exited.pid = pid;
            msg.u.child_exited.wait_status = status;
            t->child[i] = t->child[--t->child_count];
            control_send(t->control_fd, &msg, NULL, 0);
            break;
        }
    }
}

/* Recorded after this template had started. It is a hint, which clones can do without. */
static void take_working_set(struct template *t, int fd)
{
    struct working_set set;

    if (working_set_read(fd, &t->snapshot_id, t->source.memory_bytes, &set, NULL) < 0)
        return;
    working_set_fini(&t->working_set);
    t->working_set = set;
}

/* False when the template is to end. */
static bool serve_control(struct template *t)
{
    struct control_msg msg;
    int fds[CONTROL_FDS_MAX];
    unsigned fd_count;
    int rc = control_recv(t->control_fd, &msg, fds, &fd_count);

    if (rc == -EAGAIN || rc == -EINTR)
        return true;
    if (rc < 0)
        return false;
    if (msg.type == CONTROL_CLONE) {
        clone_vm(t, &msg, fds, fd_count);
        return true;
    }
    if (msg.type == CONTROL_WORKING_SET && fd_count == 1)
        take_working_set(t, fds[0]);
    for (unsigned i = 0; i < fd_count; i++)
        close(fds[i]);
    return msg.type != CONTROL_STOP;
}

static int say_hello(const struct template *t, uint64_t start_ns)
{
    struct control_msg msg = { .type = CONTROL_HELLO };

    msg.u.hello.version = CONTROL_VERSION;
    msg.u.hello.vcpu_count = t->image.vm.vcpu_count;
    msg.u.hello.ram_bytes = t->source.memory_bytes;
    msg.u.hello.setup_ns = now_ns() - start_ns;
    msg.u.hello.landlock_abi = t->status.landlock_abi;
    msg.u.hello.layers = t->status.layers;
    return control_send(t->control_fd, &msg, NULL, 0);
}

static void serve(struct template *t)
{
    struct pollfd polled[] = { { .fd = t->control_fd, .events = POLLIN },
                               { .fd = t->signal_fd, .events = POLLIN } };
    bool go_on = true;

    while (go_on) {
        if (poll(polled, ARRAY_LEN(polled), -1) < 0)
            continue;
        if (polled[0].revents)
            go_on = serve_control(t);
        if (polled[1].revents)
            reap(t);
    }
}

/* Opens and decodes the snapshot and confines the process: what clones find ready. */
static int template_prepare(struct template *t, struct options *options, const int *keep_fds,
                            unsigned keep_count, struct err *err)
{
    int keep[8 + DISK_SOURCE_FDS_MAX];
    unsigned kept = 0;

    t->signal_fd = -1;
    t->disk = (struct disk_source)DISK_SOURCE_INIT;
    t->source = (struct clone_source){ .kvm = &t->kvm,
                                       .options = options,
                                       .image = &t->image,
                                       .working_set = &t->working_set,
                                       .status = &t->status,
                                       .memory_fd = -1,
                                       .disk = &t->disk };
    int rc = net_source_parse(options->net, &t->source.net, err);
    if (rc == 0 && !t->source.net.given)
        t->source.net.offloads = true; /* whatever the guest uses: it leads nowhere */
    if (rc == 0)
        rc = vm_serve_prepare(err);
    if (rc == 0)
        rc = kvm_host_open(&t->kvm, err);
    if (rc == 0)
        rc = kvm_host_list_msrs(&t->kvm, err);
    if (rc == 0)
        rc = load_snapshot(t, options, err);
    close_fd(&options->snapshot_fd);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < keep_count; i++)
        keep[kept++] = keep_fds[i];
    keep[kept++] = t->kvm.fd;
    keep[kept++] = t->source.memory_fd;
    kept += disk_source_fds(&t->disk, keep + kept);
    t->status.layers |= CONTROL_LAYER_CPUID; /* what the filter made at boot, checked above */
    return sandbox_enter(&options->sandbox, keep, kept, NULL, &t->status, err);
}

int program_template(struct options *options, struct err *err)
{
    static struct template t;
    uint64_t start_ns = now_ns();

    if (options->control_fd < 0 || options->snapshot_fd < 0) {
        err_set(err, EINVAL, "template needs --control-fd and --snapshot-fd");
        return EXIT_BAD_USAGE;
    }
    t.control_fd = options->control_fd;
    int rc = template_prepare(&t, options, &t.control_fd, 1, err);
    if (rc == 0)
        rc = watch_children(&t, err);
    if (rc == 0)
        rc = sandbox_install_filter(&options->sandbox, SANDBOX_THREAD_TEMPLATE, NULL, err);
    if (rc < 0)
        return EXIT_SOFTWARE;
    /* Unheard, it would be waited for without end. */
    rc = say_hello(&t, start_ns);
    if (rc < 0) {
        err_set_errno(err, -rc, "telling poold that the template is ready");
        return EXIT_SOFTWARE;
    }
    serve(&t);
    return 0;
}

int program_restore(struct options *options, struct err *err)
{
    static struct template t;
    uint64_t start_ns = now_ns();
    struct control_msg msg = { .type = CONTROL_CLONE };
    int fds[5] = { options->control_fd, options->bell_fd };
    unsigned fd_count = 2;

    msg.u.clone.uid = msg.u.clone.gid = SANDBOX_KEEP_ID;
    options->snapshot_fd = open(options->restore, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (options->snapshot_fd < 0) {
        err_set_errno(err, errno, "opening the snapshot '%s'", options->restore);
        return EXIT_SOFTWARE;
    }
    if (net_source_parse(options->net, &t.source.net, err) < 0)
        return EXIT_BAD_USAGE;
    memcpy(msg.u.clone.mac, t.source.net.mac, sizeof msg.u.clone.mac);
    if (options->disk_delta_fd >= 0) { /* in the order of their bits */
        msg.u.clone.extra_fds |= CONTROL_CLONE_FD_DISK;
        fds[fd_count++] = options->disk_delta_fd;
    }
    if (t.source.net.fd >= 0) {
        msg.u.clone.extra_fds |= CONTROL_CLONE_FD_TAP;
        fds[fd_count++] = t.source.net.fd;
    }
    if (t.source.net.vhost_fd >= 0) {
        msg.u.clone.extra_fds |= CONTROL_CLONE_FD_VHOST;
        fds[fd_count++] = t.source.net.vhost_fd;
    }
    if (template_prepare(&t, options, fds, fd_count, err) < 0)
        return EXIT_SOFTWARE;
    return clone_main(&t.source, &msg, fds, fd_count, start_ns);
}
