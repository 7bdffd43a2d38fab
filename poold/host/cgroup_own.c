/* SPDX-License-Identifier: Apache-2.0 */
/* Finds this process's own group in each hierarchy; see cgroup_own.h. */
#include "host/cgroup_own.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"

static const char *const controller_names[] = { "memory", "pids", "cpu" };
static_assert(ARRAY_LEN(controller_names) == CGROUP_CONTROLLER_COUNT, "one name a controller");

const char *cgroup_controller_name(enum cgroup_controller controller)
{
    return controller_names[controller];
}

int cgroup_file_write(int dir_fd, const char *name, const char *value)
{
    _cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

ssize_t cgroup_file_read(int dir_fd, const char *name, char *text, size_t text_bytes)
{
    _cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    ssize_t length;

    if (fd < 0)
        return -errno;
    length = read(fd, text, text_bytes - 1);
    if (length < 0)
        return -errno;
    text[length] = '\0';
    return length;
}

/* Is `word` in a list separated by any of `separators`? */
static bool list_has(const char *list, const char *word, const char *separators)
{
    size_t word_bytes = strlen(word);

    for (const char *at = list; *at;) {
        size_t bytes = strcspn(at, separators);

        if (bytes == word_bytes && strncmp(at, word, bytes) == 0)
            return true;
        at += bytes;
        at += strspn(at, separators);
    }
    return false;
}

uint32_t cgroup_controllers_in(const char *list, const char *separators)
{
    uint32_t found = 0;

    for (unsigned i = 0; i < CGROUP_CONTROLLER_COUNT; i++) {
        if (list_has(list, controller_names[i], separators))
            found |= 1u << i;
    }
    return found;
}

/* The caller's own group in the hierarchy whose line in /proc/self/cgroup has this controller list
 * ("" for v2): "0::/path" or "4:memory:/path". */
static bool own_group_find(bool v2, uint32_t controllers, char *path, size_t path_bytes)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[PATH_MAX + 256];
    bool found = false;

    if (!file)
        return false;
    while (!found && fgets(line, sizeof(line), file)) {
        char *list = strchr(line, ':');
        char *group = list ? strchr(list + 1, ':') : NULL;

        if (!group)
            continue;
        *list++ = '\0';
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        found = v2 ? *list == '\0' : (cgroup_controllers_in(list, ",") & controllers) != 0;
        if (found)
            snprintf(path, path_bytes, "%s", group);
    }
    fclose(file);
    return found;
}

/* One line of /proc/self/mountinfo (proc(5)): "id parent major:minor ROOT MOUNTPOINT options
 * optional... - TYPE source SUPEROPTIONS". False: it is no cgroup. */
static bool mount_parse(char *line, struct cgroup_mount *ret_mount)
{
    char type[32], super[512];
    char *tail = strstr(line, " - ");

    if (!tail ||
        sscanf(line, "%*d %*d %*s %4095s %4095s", ret_mount->root, ret_mount->point) != 2 ||
        sscanf(tail + 3, "%31s %*s %511s", type, super) != 2)
        return false;
    ret_mount->v2 = strcmp(type, "cgroup2") == 0;
    ret_mount->controllers =
        ret_mount->v2 ? (1u << CGROUP_CONTROLLER_COUNT) - 1 : cgroup_controllers_in(super, ",");
    return ret_mount->v2 || strcmp(type, "cgroup") == 0;
}

bool cgroup_mount_next(FILE *mountinfo, struct cgroup_mount *ret_mount)
{
    char line[3 * PATH_MAX];

    while (fgets(line, sizeof(line), mountinfo)) {
        if (mount_parse(line, ret_mount))
            return true;
    }
    return false;
}

int cgroup_own_open(const struct cgroup_mount *mount, uint32_t controllers)
{
    char group[PATH_MAX], own[2 * PATH_MAX];
    size_t root_bytes = strcmp(mount->root, "/") == 0 ? 0 : strlen(mount->root);

    if (!own_group_find(mount->v2, controllers, group, sizeof(group)))
        return -ENOENT;
    /* In a container the mount shows only the tree below its root. */
    if (strncmp(group, mount->root, root_bytes) != 0)
        root_bytes = 0;
    snprintf(own, sizeof(own), "%s%s", mount->point, group + root_bytes);
    int fd = open(own, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* ---- A group without controllers ---- */

static int v2_own_open(void)
{
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    struct cgroup_mount mount;
    int fd = -ENOENT;

    while (mounts && fd < 0 && cgroup_mount_next(mounts, &mount)) {
        if (mount.v2)
            fd = cgroup_own_open(&mount, 0);
    }
    if (mounts)
        fclose(mounts);
    return fd;
}

int cgroup_v2_open(const char *name, int *ret_fd, int *ret_procs_fd, struct err *err)
{
    char group[64];
    _cleanup_close_ int own_fd = v2_own_open(), fd = -1;

    snprintf(group, sizeof(group), "volt-%s", name);
    if (own_fd < 0)
        return err_set_errno(err, -own_fd,
                             "there is no cgroup v2 (mount -t cgroup2 none "
                             "/sys/fs/cgroup/unified)");
    fd = cgroup_parent_open(own_fd, group);
    if (fd < 0)
        return err_set_errno(err, -fd, "a cgroup v2 '%s' can't be made", group);
    *ret_procs_fd = openat(fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (*ret_procs_fd < 0)
        return err_set_errno(err, errno, "the cgroup v2 '%s' can't be joined", group);
    *ret_fd = take_fd(&fd);
    return 0;
}

void cgroup_v2_close(int *fd, const char *name)
{
    char group[72];

    snprintf(group, sizeof(group), "../volt-%s", name);
    (void)unlinkat(*fd, group, AT_REMOVEDIR);
    close_fd(fd);
}
