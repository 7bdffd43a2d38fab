/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the start of a boot VM's process; see boot_process.h. */
#include "vms/boot_process.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/process.h"
#include "host/link.h"
#include "host/rights.h"
#include "host/vm_groups.h"

#define IMAGE_CMDLINE "volt.root=/dev/vda" /* volt-init goes into it */

/* What the process has an end of, in this order. */
enum { END_CONTROL, END_BELL, END_CONSOLE, END_COUNT };

/* Those, then the disk's, kernel and initramfs, then those of the control group. */
#define BOOT_FDS_MAX (END_COUNT + 2 + POOL_DISK_FDS_MAX + CGROUP_HIERARCHIES_MAX)
static_assert(BOOT_FDS_MAX <= SPAWN_FDS_MAX, "spawn_process takes them");

/* volt-vmm's arguments: name and value in turn, NULL-terminated. The texts are the caller's. */
#define BOOT_ARGS_MAX (36 + POOL_DISK_ARGS_MAX)
struct boot_args {
    char *argv[BOOT_ARGS_MAX];
    int fds[BOOT_FDS_MAX]; /* SPAWN_FIRST_FD and up in the process; borrowed */
    unsigned fd_count;
    int group_fds[CGROUP_HIERARCHIES_MAX];
    unsigned group_count;
    struct pool_disk_args disk;
    char net[POOL_NET_OPTION_BYTES];
    char cmdline[CMDLINE_BYTES + 32];
    char memory[24], vcpus[12], volumes[12], control_fd[8], bell_fd[8], console_fd[8];
    int kernel_fd, initrd_fd, delta_fd; /* its own; -1 */
    char kernel[8], initrd[8], uid[12], oom_score_adj[8], cgroup_fd[8], cgroup_fds[8];
};

static void number_put(char *text, size_t bytes, unsigned number)
{
    snprintf(text, bytes, "%u", number);
}

static void texts_fill(struct boot_args *args, const struct hosted_pool *hosted,
                       const struct vm_dir *dir)
{
    const struct pool_spec *spec = &hosted->spec;

    snprintf(args->memory, sizeof args->memory, "%llu", (unsigned long long)spec->memory_bytes);
    number_put(args->vcpus, sizeof args->vcpus, spec->vcpus);
    number_put(args->control_fd, sizeof args->control_fd, SPAWN_FIRST_FD + END_CONTROL);
    number_put(args->bell_fd, sizeof args->bell_fd, SPAWN_FIRST_FD + END_BELL);
    number_put(args->console_fd, sizeof args->console_fd, SPAWN_FIRST_FD + END_CONSOLE);
    snprintf(args->cmdline, sizeof args->cmdline, "%s%s%s", spec->image[0] ? IMAGE_CMDLINE : "",
             spec->image[0] && spec->cmdline[0] ? " " : "", spec->cmdline);
    if (spec->volumes)
        number_put(args->volumes, sizeof args->volumes, spec->volumes);
    pool_net_option(&spec->net, args->net);
    number_put(args->oom_score_adj, sizeof args->oom_score_adj, RIGHTS_OOM_VM);
    if (dir->uid != VM_UIDS_NONE)
        number_put(args->uid, sizeof args->uid, dir->uid);
    if (args->group_count) {
        number_put(args->cgroup_fd, sizeof args->cgroup_fd,
                   SPAWN_FIRST_FD + args->fd_count - args->group_count);
        number_put(args->cgroup_fds, sizeof args->cgroup_fds, args->group_count);
    }
}

static void argv_fill(struct boot_args *args, struct hosted_pool *hosted)
{
    struct pool_spec *spec = &hosted->spec;
    unsigned n = 0;
    const struct {
        const char *name;
        char *value; /* "": left out */
    } rows[] = {
        { "--control-fd", args->control_fd },
        { "--bell-fd", args->bell_fd },
        { "--kernel-fd", args->kernel },
        { "--memory", args->memory },
        { "--vcpus", args->vcpus },
        { "--console-fd", args->console_fd },
        { "--initrd-fd", args->initrd },
        { "--cmdline", args->cmdline },
        { "--net", args->net },
        { "--volumes", args->volumes },
        { "--uid", args->uid },
        { "--oom-score-adj", args->oom_score_adj },
        { "--cgroup-fd", args->cgroup_fd },
        { "--cgroup-fds", args->cgroup_fds },
    };
    static_assert(2 + 2 * ARRAY_LEN(rows) + 1 + POOL_DISK_ARGS_MAX + 1 <= BOOT_ARGS_MAX,
                  "program and subcommand, rows, --balloon, the disk's, NULL");

    args->argv[n++] = (char *)(uintptr_t)hosted->vms->settings->volt_vmm;
    args->argv[n++] = (char *)(uintptr_t) "run";
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        if (!*rows[i].value)
            continue;
        args->argv[n++] = (char *)(uintptr_t)rows[i].name;
        args->argv[n++] = rows[i].value;
    }
    if (spec->balloon)
        args->argv[n++] = (char *)(uintptr_t) "--balloon";
    for (unsigned i = 0; i < args->disk.argc; i++)
        args->argv[n++] = args->disk.argv[i];
    args->argv[n] = NULL;
}

/* It counts what it writes into its snapshot, too: up to all of its memory, until that is on disk.
 */
static void group_make(struct boot_args *args, const struct hosted_pool *hosted,
                       const struct vm_dir *dir)
{
    const struct pool_spec *spec = &hosted->spec;
    const struct cgroup_limits limits = {
        .memory_bytes = 2 * spec->memory_bytes + VM_GROUP_EXTRA_BYTES,
        .pids = spec->vcpus + VM_GROUP_EXTRA_PIDS,
        .cpu_weight = spec->cpu_weight,
        .cpu_percent = spec->cpu_percent,
    };

    args->group_count = vm_groups_make(&hosted->vms->vm_groups, dir->id, &limits, args->group_fds);
}

/* Adds a file, and its number there as text. */
static void file_pass(struct boot_args *args, int fd, char *text, size_t bytes)
{
    if (fd < 0)
        return;
    number_put(text, bytes, SPAWN_FIRST_FD + args->fd_count);
    args->fds[args->fd_count++] = fd;
}

static void fds_fill(struct boot_args *args, const int *ends)
{
    for (unsigned i = 0; i < END_COUNT; i++)
        args->fds[args->fd_count++] = ends[i];
    for (unsigned i = 0; i < args->disk.fd_count; i++)
        args->fds[args->fd_count++] = args->disk.fds[i];
    file_pass(args, args->kernel_fd, args->kernel, sizeof args->kernel);
    file_pass(args, args->initrd_fd, args->initrd, sizeof args->initrd);
    for (unsigned i = 0; i < args->group_count; i++)
        args->fds[args->fd_count++] = args->group_fds[i];
}

/* What the VM gets: other open files than poold's, as all that it has. */
static int files_take(struct boot_args *args, struct pool_files *files, int delta_fd,
                      struct err *err)
{
    args->kernel_fd = take_fd(&files->vm_kernel_fd);
    args->initrd_fd = take_fd(&files->vm_initrd_fd);
    args->delta_fd = delta_fd < 0 ? -1 : fd_reopen(delta_fd, O_RDWR);
    if (delta_fd >= 0 && args->delta_fd < 0)
        return err_set_errno(err, -args->delta_fd, "the snapshot's disk");
    return 0;
}

static void files_close(struct boot_args *args)
{
    close_fd(&args->kernel_fd);
    close_fd(&args->initrd_fd);
    close_fd(&args->delta_fd);
    for (unsigned i = 0; i < args->group_count; i++)
        close(args->group_fds[i]);
    args->group_count = 0;
}

static void ends_close(int ends[END_COUNT])
{
    for (unsigned i = 0; i < END_COUNT; i++)
        close_fd(&ends[i]);
}

/* The VM's writes to the console's pipe must not wait for us. */
static int ends_make(int ours[END_COUNT], int theirs[END_COUNT], struct err *err)
{
    int pair[2], rc = 0;

    for (unsigned i = 0; i < END_COUNT && rc == 0; i++) {
        if (i == END_CONSOLE)
            rc = pipe2(pair, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
        else
            rc = link_socketpair(pair, false);
        if (rc == 0) {
            ours[i] = pair[0];
            theirs[i] = pair[1];
        }
    }
    if (rc == 0)
        return 0;
    ends_close(ours);
    ends_close(theirs);
    return err_set_errno(err, -rc, "can't make a socket pair");
}

int boot_process_start(struct hosted_pool *hosted, const struct pool_disk *disk, int delta_fd,
                       const struct vm_dir *dir, struct boot_process *ret_process, struct err *err)
{
    _cleanup_free_ struct boot_args *args = calloc(1, sizeof *args);
    int ours[END_COUNT] = { -1, -1, -1 }, theirs[END_COUNT] = { -1, -1, -1 };
    struct spawned spawned;
    int rc;

    if (!args)
        return err_set(err, ENOMEM, "out of memory");
    rc = files_take(args, &hosted->files, delta_fd, err);
    if (rc == 0)
        rc = ends_make(ours, theirs, err);
    if (rc < 0) {
        files_close(args);
        return rc;
    }
    pool_disk_args(&hosted->spec, disk, args->delta_fd, SPAWN_FIRST_FD + END_COUNT, &args->disk);
    group_make(args, hosted, dir);
    fds_fill(args, theirs);
    texts_fill(args, hosted, dir);
    argv_fill(args, hosted);
    rc = spawn_process(args->argv, args->fds, args->fd_count, &spawned, err);
    ends_close(theirs);
    files_close(args);
    if (rc < 0) {
        ends_close(ours);
        return rc;
    }
    *ret_process = (struct boot_process){ .pid = spawned.pid,
                                          .pidfd = spawned.pidfd,
                                          .text_fd = spawned.text_fd,
                                          .console_fd = ours[END_CONSOLE],
                                          .control_fd = ours[END_CONTROL],
                                          .bell_fd = ours[END_BELL] };
    return 0;
}

int boot_process_snapshot(int control_fd, const struct snapshot_txn *txn)
{
    struct control_msg msg = { .type = CONTROL_SNAPSHOT };
    _cleanup_close_ int state_fd = fd_reopen(txn->state_fd, O_RDWR);
    _cleanup_close_ int memory_fd = fd_reopen(txn->memory_fd, O_RDWR);

    if (state_fd < 0 || memory_fd < 0)
        return MIN_OF(state_fd, memory_fd);
    return control_send(control_fd, &msg, (const int[]){ state_fd, memory_fd }, 2);
}
