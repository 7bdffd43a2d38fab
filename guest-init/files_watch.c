/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the watching of folders by volt-files, by inotify; see files_internal.h. What is made and gone
 * before its folder is watched is not told of; nor is anything of folders beyond WATCHES_MAX. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "files_internal.h"
#include "guest_abi.h"

#define WATCHES_MAX 4096
#define WATCHED                                                                                    \
    (IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_ONLYDIR)

static char **watched; /* below the first one, "" for itself; by watch descriptor */

static void path_join(char ret_path[PATH_MAX], const char *folder, const char *name)
{
    struct text text;

    text_init(&text, ret_path, PATH_MAX);
    text_add(&text, folder);
    if (*folder && *name)
        text_add(&text, "/");
    text_add(&text, name);
}

/* Watches a folder below `root`, and with depth those in it. */
static int watch_add(int fd, const char *root, const char *below, unsigned depth)
{
    char path[PATH_MAX], inner[PATH_MAX];
    const struct dirent *entry;

    path_join(path, root, below);
    int watch = inotify_add_watch(fd, path, WATCHED);
    if (watch < 0)
        return -errno;
    if (watch >= WATCHES_MAX)
        return inotify_rm_watch(fd, watch) < 0 ? -errno : -ENOSPC;
    free(watched[watch]);
    watched[watch] = strdup(below);
    DIR *dir = depth > 0 ? opendir(path) : NULL;
    while (dir && (entry = readdir(dir)) != NULL) {
        if (entry->d_type != DT_DIR || !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        path_join(inner, below, entry->d_name);
        (void)watch_add(fd, root, inner, depth - 1);
    }
    if (dir)
        closedir(dir);
    return 0;
}

static const char *event_name(uint32_t mask)
{
    if (mask & (IN_CREATE | IN_MOVED_TO))
        return "create";
    if (mask & IN_MODIFY)
        return "write";
    if (mask & IN_DELETE)
        return "remove";
    if (mask & IN_MOVED_FROM)
        return "rename";
    return mask & IN_ATTRIB ? "chmod" : NULL;
}

/* False: nobody reads any more. */
static bool event_take(int fd, const char *root, bool recursive, const struct inotify_event *event)
{
    const char *name = event_name(event->mask);
    char path[PATH_MAX];

    if (event->wd < 0 || event->wd >= WATCHES_MAX || !watched[event->wd] || !name)
        return true;
    path_join(path, watched[event->wd], event->len ? event->name : "");
    if (recursive && event->mask & IN_ISDIR && event->mask & (IN_CREATE | IN_MOVED_TO))
        (void)watch_add(fd, root, path, FILES_DEPTH_MAX);
    return files_put_text(name) && files_put_text(path);
}

int files_watch(const char *path, bool recursive, struct fail *fail)
{
    _Alignas(struct inotify_event) char data[16384];
    int fd = inotify_init1(IN_CLOEXEC);
    watched = calloc(WATCHES_MAX, sizeof(*watched));
    int status =
        fd < 0 || !watched ? -errno : watch_add(fd, path, "", recursive ? FILES_DEPTH_MAX : 0);
    ssize_t count;

    if (status < 0)
        return fail_set_errno(fail, -status, "can't watch", path);
    if (!files_put_text("start") || !files_put_text(""))
        return 0;
    while ((count = read(fd, data, sizeof(data))) > 0) {
        for (const char *at = data; at < data + count;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)at;

            if (!event_take(fd, path, recursive, event))
                return 0;
            at += sizeof(*event) + event->len;
        }
    }
    return 0;
}
