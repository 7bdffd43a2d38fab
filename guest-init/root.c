/* SPDX-License-Identifier: Apache-2.0 */
/* The root filesystem on a disk: see root.h.
 *
 * How it works: the disk is mounted at LOWER. What can't be written gets an overlay whose upper
 * layer is a tmpfs. Mounts that volt-init has made already (/dev, /proc, ...) are moved in, then
 * the new root is moved over the old one; but an image that has something in /run or /tmp keeps its
 * own. All this is before the VM parks, so clones find it done.
 */
#include "root.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "exec_fds.h"
#include "system.h"
#include "text.h"

#define LOWER "/volt/lower"
#define MEMORY "/volt/memory"
#define MERGED "/volt/root"
#define OVERLAY "lowerdir=" LOWER ",upperdir=" MEMORY "/upper,workdir=" MEMORY "/work"
#define PATH_BYTES 256
#define CMDLINE_BYTES 4096

static char init[PATH_BYTES]; /* to hand over to; "": nothing */

static int complain(const char *what, const char *subject)
{
    struct fail fail;

    fail_set_errno(&fail, errno, what, subject);
    system_complain(&fail);
    return -1;
}

/* There is no root but the initramfs. */
static int give_up(const char *what, const char *subject)
{
    struct fail fail;

    fail_set_errno(&fail, errno, what, subject);
    system_fail(&fail);
    console_write("volt-init: staying in the initramfs\n");
    return -1;
}

/* The value of a word "name=value" of the kernel command line; false if there is none. */
static bool cmdline_value(const char *name, char ret_value[PATH_BYTES])
{
    static char line[CMDLINE_BYTES];
    size_t name_bytes = strlen(name);
    int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);

    if (fd >= 0)
        close(fd);
    line[count < 0 ? 0 : count] = '\0';
    for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
        if (strncmp(word, name, name_bytes) != 0 || strlen(word) - name_bytes >= PATH_BYTES)
            continue;
        strcpy(ret_value, word + name_bytes);
        return true;
    }
    return false;
}

/* *ret_root: what is to be the root. */
static int mount_disk(const char *device, const char **ret_root)
{
    struct statvfs space;

    mkdir("/volt", 0755);
    mkdir(LOWER, 0755);
    if (mount(device, LOWER, "erofs", MS_RDONLY, NULL) < 0 &&
        mount(device, LOWER, "ext4", MS_NOATIME, NULL) < 0 &&
        mount(device, LOWER, "ext4", MS_RDONLY, NULL) < 0)
        return give_up("can't mount", device);
    *ret_root = LOWER;
    if (statvfs(LOWER, &space) < 0 || !(space.f_flag & ST_RDONLY))
        return 0;
    mkdir(MEMORY, 0755);
    mkdir(MERGED, 0755);
    if (mount("tmpfs", MEMORY, "tmpfs", 0, "mode=0755") < 0)
        return give_up("can't mount a tmpfs at", MEMORY);
    mkdir(MEMORY "/upper", 0755);
    mkdir(MEMORY "/work", 0755);
    if (mount("overlay", MERGED, "overlay", MS_NOATIME, OVERLAY) < 0)
        return give_up("can't put a writable layer over", device);
    *ret_root = MERGED;
    return 0;
}

/* Whether a folder is one, not a link to it, and something is in it. */
static bool has_something(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry = NULL;

    while (dir && (entry = readdir(dir)) &&
           (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")))
        ;
    if (dir)
        closedir(dir);
    return entry;
}

/* Moves a mount of volt-init's into the new root. */
static int mount_move(const char *root, const char *mounted, bool keep)
{
    char target[PATH_BYTES];
    struct text text;
    struct stat st;

    text_init(&text, target, sizeof(target));
    text_add(&text, root);
    text_add(&text, mounted);
    (void)mkdir(target, 0755);
    /* A link would lead into the root that is left. */
    if (lstat(target, &st) == 0 && !S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return keep ? 0 : give_up("can't move a mount to", target);
    }
    if (keep && has_something(target))
        return 0;
    if (mount(mounted, target, NULL, MS_MOVE, NULL) < 0)
        return give_up("can't move a mount to", target);
    return 0;
}

int root_enter(void)
{
    static const struct {
        const char *path;
        bool keep; /* the image's own, if it has put something there */
    } moved[] = {
        { "/dev", false }, { "/proc", false }, { "/sys", false }, { "/run", true }, { "/tmp", true }
    };
    char device[PATH_BYTES];
    const char *root = NULL;

    cmdline_value("volt.init=", init); /* now: reading it later would keep a lease waiting */
    if (!cmdline_value("volt.root=", device))
        return 0;
    if (mount_disk(device, &root) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(moved); i++)
        if (mount_move(root, moved[i].path, moved[i].keep) < 0)
            return -1;
    if (chdir(root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
        chdir("/") < 0)
        return give_up("can't make a root of", device);
    /* What lists file systems looks there, as it did before there was /proc. */
    (void)mkdir("/etc", 0755);
    (void)symlink("../proc/self/mounts", "/etc/mtab");
    return 0;
}

bool root_hand_over(void)
{
    char *const argv[] = { init, NULL };
    sigset_t none;
    pid_t child;

    if (!init[0])
        return false;
    if (access(init, X_OK) < 0) {
        complain("can't hand over to", init);
        return false;
    }
    child = fork();
    if (child == 0) {
        prctl(PR_SET_NAME, "volt-agent");
        return true;
    }
    if (child < 0) {
        complain("can't hand over to", init);
        return false;
    }
    exec_fds_drop();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(init, argv);
    /* The agent serves on as a child; this one only keeps the guest alive. */
    complain("can't execute", init);
    for (;;)
        pause();
}
