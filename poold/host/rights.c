/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the table of poold's capabilities; see rights.h. */
#include "host/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/process.h"
#include "base/util.h"

/* Of poold as root; without root there is none to drop. */
static const struct {
    cap_value_t capability;
    const char *reason;
} kept[] = {
    { CAP_CHOWN, "VMs' folders and sockets are given to their uids" },
    { CAP_DAC_OVERRIDE, "those folders are removed; cgroups and oom_score_adj of VMs are written" },
    { CAP_DAC_READ_SEARCH, "a template's clones change into their folders" },
    { CAP_KILL, "VMs and passts, which have uids of their own, are stopped and killed" },
    { CAP_SETGID, "VMs and passts switch to gids of their own; files are opened as clients" },
    { CAP_SETUID, "the same, uids" },
    { CAP_SETPCAP, "VMs' processes empty their bounding sets" },
    { CAP_NET_ADMIN, "taps, macvtaps, bridges, and what VMs may reach" },
    { CAP_SYS_ADMIN, "namespaces, for VMs and their networks; BPF programs that hold these" },
    { CAP_SYS_CHROOT, "VMs' roots" },
    { CAP_SYS_NICE, "poold's loop runs promptly, leased VMs in long slices" },
    { CAP_SYS_PTRACE, "a trial's page map; VMs that boot use userfaultfd" },
    { CAP_SYS_RESOURCE, "poold's oom_score_adj; fds on their way to VMs beyond a user's limit" },
};

static bool is_kept(cap_value_t capability)
{
    for (unsigned i = 0; i < ARRAY_LEN(kept); i++) {
        if (kept[i].capability == capability)
            return true;
    }
    return false;
}

/* Needs CAP_SETPCAP, and so comes first. Not having that is no error: there is nothing to drop. */
static int bounding_reduce(struct err *err)
{
    for (cap_value_t cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        if (!is_kept(cap) && cap_drop_bound(cap) < 0 && errno != EPERM)
            return err_set_errno(err, errno, "dropping a capability");
    }
    return 0;
}

/* Permitted and effective: what is kept of what was there. Inheritable and ambient: none. */
static int sets_reduce(struct err *err)
{
    cap_t old = cap_get_proc(), new = cap_init();
    int rc = old && new ? 0 : err_set(err, ENOMEM, "out of memory");

    for (unsigned i = 0; rc == 0 && i < ARRAY_LEN(kept); i++) {
        const cap_value_t cap = kept[i].capability;
        cap_flag_value_t has = CAP_CLEAR;

        if (cap_get_flag(old, cap, CAP_PERMITTED, &has) < 0 || has == CAP_CLEAR)
            continue;
        if (cap_set_flag(new, CAP_PERMITTED, 1, &cap, CAP_SET) < 0 ||
            cap_set_flag(new, CAP_EFFECTIVE, 1, &cap, CAP_SET) < 0)
            rc = err_set_errno(err, errno, "keeping a capability");
    }
    if (rc == 0 &&
        (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 || cap_set_proc(new) < 0))
        rc = err_set_errno(err, errno, "dropping capabilities");
    cap_free(old);
    cap_free(new);
    return rc;
}

static void oom_lower(void)
{
    _cleanup_close_ int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
    char text[16] = "";

    if (fd >= 0 && read(fd, text, sizeof text - 1) > 0 && strtol(text, NULL, 10) > RIGHTS_OOM_POOLD)
        rights_oom_adjust(getpid(), -1, RIGHTS_OOM_POOLD);
}

int rights_reduce(struct err *err)
{
    int rc = bounding_reduce(err);

    if (rc == 0)
        rc = sets_reduce(err);
    if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        rc = err_set_errno(err, errno, "setting no_new_privs");
    oom_lower();
    return rc;
}

void rights_oom_adjust(pid_t pid, int pidfd, int score)
{
    char path[40], text[8];

    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)pid);
    int bytes = snprintf(text, sizeof text, "%d", score);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    /* What was opened is of the process that had the number then, and that lives yet. */
    if (fd >= 0 && (pidfd < 0 || !process_ended(pidfd)))
        (void)!write(fd, text, (size_t)bytes);
}
