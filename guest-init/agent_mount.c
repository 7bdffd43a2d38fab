/* SPDX-License-Identifier: Apache-2.0 */
/* MOUNT and UNMOUNT: the volumes that the VM is given while it runs.
 *
 * How it works: a volume's device is in the machine from its boot on, without a sector. The host puts the
 * volume in and asks for the mount, and Linux learns of the new size by an interrupt and a piece of
 * work of its own: so the mount waits until the device has a size. Both calls block the agent: they are
 * the first and the last thing that is done for a lease. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "agent_session.h"
#include "system.h"

#define NAME_BYTES 64
#define PATH_BYTES 320
#define TRY_NS 1000000L
#define TRIES 10000 /* 10 s, on a host that is very busy */
#define SERIAL_BYTES 20

/* The volumes by slot. Of one that is written its folder is open from the beginning: so a write that failed,
 * as the host had no room for it, is known at the end, whoever else was told (syncfs(2)). It is told there
 * once: what is lost is so for good, however often the host asks. */
static struct mounted {
    char path[AGENT_MOUNT_PATH_BYTES]; /* "": it is not mounted */
    int folder_fd;                     /* -1 */
    int lost;                          /* why a write failed; 0: none did */
} volumes[AGENT_VOLUMES_MAX] = { { "", -1, 0 }, { "", -1, 0 }, { "", -1, 0 } };

static void wait_a_try(void)
{
    const struct timespec time = { .tv_nsec = TRY_NS };

    nanosleep(&time, NULL);
}

/* The first line of a file of a block device in /sys; "" if there is none. */
static void sys_read(const char *device, const char *file, char *ret_text, size_t bytes)
{
    char path[PATH_BYTES];
    struct text text;

    text_init(&text, path, sizeof(path));
    text_add(&text, "/sys/block/");
    text_add(&text, device);
    text_add(&text, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? -1 : read(fd, ret_text, bytes - 1);

    if (fd >= 0)
        close(fd);
    ret_text[count < 0 ? 0 : count] = '\0';
    ret_text[strcspn(ret_text, "\n")] = '\0';
}

static bool is_slot(const char *device, uint32_t slot)
{
    const size_t length = strlen(AGENT_VOLUME_SERIAL);
    char serial[SERIAL_BYTES + 2];

    if (strncmp(device, "vd", 2) != 0)
        return false;
    sys_read(device, "/serial", serial, sizeof(serial));
    return strncmp(serial, AGENT_VOLUME_SERIAL, length) == 0 &&
           serial[length] == (char)('0' + slot) && serial[length + 1] == '\0';
}

/* The device's path; false: there is no such slot. */
static bool device_find(uint32_t slot, char ret_path[NAME_BYTES])
{
    const struct dirent *entry = NULL;
    DIR *dir = opendir("/sys/block");
    struct text text;

    while (dir && (entry = readdir(dir)) && !is_slot(entry->d_name, slot))
        ;
    text_init(&text, ret_path, NAME_BYTES);
    text_add(&text, "/dev/");
    text_add(&text, entry ? entry->d_name : "");
    if (dir)
        closedir(dir);
    return entry;
}

static bool device_wait(const char *path)
{
    char size[32];

    for (int i = 0; i < TRIES; i++) {
        sys_read(path + strlen("/dev/"), "/size", size, sizeof(size));
        if (size[0] && strcmp(size, "0") != 0)
            return true;
        wait_a_try();
    }
    errno = ETIMEDOUT;
    return false;
}

/* Set-id bits and devices of a volume count for nothing: an earlier VM may have written them. */
static int device_mount(const char *device, const char *path, bool read_only)
{
    const unsigned long flags = MS_NOSUID | MS_NODEV;

    if (read_only && mount(device, path, "erofs", flags | MS_RDONLY, NULL) == 0)
        return 0;
    if (read_only)
        return mount(device, path, "ext4", flags | MS_RDONLY, "noload");
    /* Its inode tables are holes of a file: there is nothing to be cleared in the background. */
    if (mount(device, path, "ext4", flags | MS_NOATIME, "noinit_itable") == 0)
        return 0;
    return mount(device, path, "erofs", flags | MS_RDONLY, NULL);
}

static int folder_open(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int mount_slot(const struct agent_mount *request, char *path, struct fail *fail)
{
    char device[NAME_BYTES];

    if (request->slot >= AGENT_VOLUMES_MAX || volumes[request->slot].path[0])
        return fail_set(fail, EINVAL, "there is no such slot, or it has been mounted", NULL, NULL);
    if (!device_find(request->slot, device))
        return fail_set(fail, ENODEV, "this VM has no device for the volume", NULL, NULL);
    if (!device_wait(device))
        return fail_set_errno(fail, errno, "the volume does not appear at", device);
    session_make_path(path);
    if (device_mount(device, path, request->flags & AGENT_MOUNT_READ_ONLY) < 0)
        return fail_set_errno(fail, errno, "can't mount the volume at", path);
    strcpy(volumes[request->slot].path, path);
    if (!(request->flags & AGENT_MOUNT_READ_ONLY))
        volumes[request->slot].folder_fd = folder_open(path);
    return 0;
}

void session_mount(struct session *session)
{
    const size_t length = session->fill - sizeof(struct agent_mount);
    struct agent_mount request;
    char path[AGENT_MOUNT_PATH_BYTES];
    struct fail fail;
    int rc;

    memcpy(&request, session->request, sizeof(request));
    memcpy(path, session->request + sizeof(request), length);
    if (path[0] != '/' || memchr(path, '\0', length) != path + length - 1)
        rc = fail_set(&fail, EINVAL, "the path of a volume must be absolute", NULL, NULL);
    else
        rc = mount_slot(&request, path, &fail);
    if (rc < 0)
        session_error(session, &fail);
    else
        session_result(session, AGENT_DONE, NULL, 0);
}

/* What the processes that were killed had open goes as they end. */
static int unmount(const char *path)
{
    int rc = -1;

    for (int i = 0; i < TRIES && rc < 0; i++) {
        rc = umount2(path, UMOUNT_NOFOLLOW);
        if (rc < 0 && (errno == EINVAL || errno == ENOENT)) /* somebody has been before us */
            return 0;
        if (rc < 0 && errno != EBUSY)
            return rc;
        if (rc < 0)
            wait_a_try();
    }
    return rc;
}

/* 0: all that was written is with the host. Else it stays mounted, and its folder is watched as before. */
static int let_go(struct mounted *volume)
{
    const bool written = volume->folder_fd >= 0;
    int rc, error;

    if (written && !volume->lost && syncfs(volume->folder_fd) < 0)
        volume->lost = errno;
    if (volume->lost) {
        errno = volume->lost;
        return -1;
    }
    if (written)
        close(volume->folder_fd);
    volume->folder_fd = -1;
    rc = unmount(volume->path);
    error = errno;
    if (rc < 0 && written)
        volume->folder_fd = folder_open(volume->path);
    errno = error;
    return rc;
}

void session_unmount(struct session *session)
{
    struct fail fail;

    /* Our own children are reaped as ever; this one is not killed, nor is process 1. */
    (void)kill(-1, SIGKILL);
    for (uint32_t i = 0; i < AGENT_VOLUMES_MAX; i++) {
        struct mounted *volume = &volumes[i];

        if (!volume->path[0])
            continue;
        if (let_go(volume) < 0) {
            fail_set_errno(&fail, errno, "can't store all that was written to the volume at",
                           volume->path);
            session_error(session, &fail);
            return;
        }
        volume->path[0] = '\0';
    }
    session_result(session, AGENT_DONE, NULL, 0);
}
