/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the place that archives are unpacked into by fuzz targets, and its removal at the end. */
#include "canary.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* base/inside is where it is unpacked, base/outside/canary what must stay as it is. */
static char base[64], inside[96], canary[96];

static int entry_remove(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    return ftw->level == 0 ? 0 : remove(path);
}

static int entry_make_removable(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)ftw;
    if (kind == FTW_D || kind == FTW_DNR)
        (void)chmod(path, st->st_mode | 0700);
    return 0;
}

static void tree_empty(const char *path)
{
    nftw(path, entry_make_removable, 16, FTW_PHYS);
    nftw(path, entry_remove, 16, FTW_PHYS | FTW_DEPTH);
}

static unsigned entries_count(const char *path)
{
    DIR *dir = opendir(path);
    unsigned count = 0;

    if (!dir)
        abort();
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void clean_up(void)
{
    tree_empty(base);
    rmdir(base);
}

static void place_make(void)
{
    char outside[96];
    int fd;

    snprintf(base, sizeof(base), "%s/volt-fuzz-XXXXXX",
             access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(base))
        abort();
    atexit(clean_up);
    snprintf(inside, sizeof(inside), "%s/inside", base);
    snprintf(outside, sizeof(outside), "%s/outside", base);
    snprintf(canary, sizeof(canary), "%s/canary", outside);
    if (mkdir(inside, 0700) < 0 || mkdir(outside, 0700) < 0)
        abort();
    fd = open(canary, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "alive", 5) != 5)
        abort();
    close(fd);
}

void canary_check(void)
{
    struct stat st;
    char text[8] = "";
    int fd = open(canary, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size != 5 || st.st_nlink != 1 ||
        (st.st_mode & 07777) != 0600 || read(fd, text, sizeof(text)) != 5 ||
        memcmp(text, "alive", 5) != 0)
        abort();
    close(fd);
    if (entries_count(base) != 4)
        abort();
    tree_empty(inside);
}

int canary_open(void)
{
    if (!base[0])
        place_make();
    int fd = open(inside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        abort();
    return fd;
}
