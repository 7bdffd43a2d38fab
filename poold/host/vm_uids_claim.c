/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the claiming of a block of uids: its lock, and who else may have one of them; see vm_uids.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "host/cleanup.h"
#include "host/vm_uids.h"

/* Why a block is not taken. */
enum refusal {
    REFUSAL_UNMAPPED,
    REFUSAL_GIVEN,
    REFUSAL_RUNNING,
    REFUSAL_LOCKED,
    REFUSAL_COUNT,
};

/* What is known of each block of a range, before any is locked. */
struct survey {
    uint32_t base, blocks;
    uint8_t *refused; /* 1 + enum refusal; 0: not */
    uint32_t counts[REFUSAL_COUNT];
};

static void refuse(struct survey *survey, uint32_t block, enum refusal why)
{
    if (survey->refused[block])
        return;
    survey->refused[block] = (uint8_t)(1 + why);
    survey->counts[why]++;
}

/* Whoever has ids first to first + count - 1 has those of these blocks. */
static void refuse_ids(struct survey *survey, uint64_t first, uint64_t count, enum refusal why)
{
    const uint64_t end = first + count;

    for (uint32_t i = 0; i < survey->blocks; i++) {
        const uint64_t block = survey->base + (uint64_t)i * VM_UIDS_BLOCK;

        if (first < block + VM_UIDS_BLOCK && end > block)
            refuse(survey, i, why);
    }
}

/* Calls `line` for each line of a file; false when there is none. */
static bool lines_read(const char *dir, const char *name,
                       void (*line)(struct survey *survey, char *text), struct survey *survey)
{
    char path[PATH_MAX], text[512];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    while (fgets(text, sizeof text, file))
        line(survey, text);
    fclose(file);
    return true;
}

/* passwd and group: "name:x:ID:..." */
static void account_line(struct survey *survey, char *text)
{
    unsigned long id;

    if (sscanf(text, "%*[^:]:%*[^:]:%lu", &id) == 1 || sscanf(text, "%*[^:]::%lu", &id) == 1)
        refuse_ids(survey, id, 1, REFUSAL_GIVEN);
}

/* subuid and subgid: "name:FIRST:COUNT" */
static void subordinate_line(struct survey *survey, char *text)
{
    unsigned long first, count;

    if (sscanf(text, "%*[^:]:%lu:%lu", &first, &count) == 2)
        refuse_ids(survey, first, count, REFUSAL_GIVEN);
}

/* status: "Uid:" and "Gid:" with the real, effective, saved and file system's id. */
static void status_line(struct survey *survey, char *text)
{
    unsigned long id[4];

    if ((strncmp(text, "Uid:", 4) != 0 && strncmp(text, "Gid:", 4) != 0) ||
        sscanf(text + 4, "%lu %lu %lu %lu", &id[0], &id[1], &id[2], &id[3]) != 4)
        return;
    for (unsigned i = 0; i < ARRAY_LEN(id); i++)
        refuse_ids(survey, id[i], 1, REFUSAL_RUNNING);
}

static void processes_survey(struct survey *survey, const char *proc)
{
    DIR *dir = opendir(proc);

    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char name[300];

        if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
            continue;
        snprintf(name, sizeof name, "%s/status", entry->d_name);
        lines_read(proc, name, status_line, survey);
    }
    closedir(dir);
}

/* uid_map and gid_map: "FIRST OUTSIDE COUNT" lines; a block is wholly in one, or it is refused. */
static void map_survey(struct survey *survey, const char *proc, const char *name)
{
    char path[PATH_MAX], text[128];
    uint8_t *mapped = calloc(survey->blocks, 1);

    snprintf(path, sizeof path, "%s/self/%s", proc, name);
    FILE *file = fopen(path, "re");
    while (mapped && file && fgets(text, sizeof text, file)) {
        unsigned long first, outside, count;

        if (sscanf(text, "%lu %lu %lu", &first, &outside, &count) != 3)
            continue;
        for (uint32_t i = 0; i < survey->blocks; i++) {
            const uint64_t block = survey->base + (uint64_t)i * VM_UIDS_BLOCK;

            mapped[i] |= first <= block && first + count >= block + VM_UIDS_BLOCK;
        }
    }
    for (uint32_t i = 0; mapped && file && i < survey->blocks; i++) {
        if (!mapped[i])
            refuse(survey, i, REFUSAL_UNMAPPED);
    }
    if (file)
        fclose(file);
    free(mapped);
}

/* What does not change while a block is looked for. */
static void survey_make(struct survey *survey, const struct vm_uids_host *host)
{
    static const char *const accounts[] = { "passwd", "group" };
    static const char *const subordinates[] = { "subuid", "subgid" };

    map_survey(survey, host->proc, "uid_map");
    map_survey(survey, host->proc, "gid_map");
    for (unsigned i = 0; i < ARRAY_LEN(accounts); i++)
        lines_read(host->etc, accounts[i], account_line, survey);
    for (unsigned i = 0; i < ARRAY_LEN(subordinates); i++)
        lines_read(host->etc, subordinates[i], subordinate_line, survey);
}

/* Locks a block's file. 0 with the fd, -EBUSY: it is somebody's; or -errno. */
static int block_lock(int dir_fd, uint32_t first, int *ret_fd)
{
    char name[16], pid[16];

    snprintf(name, sizeof name, "%u", first);
    _cleanup_close_ int fd =
        openat(dir_fd, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    /* For people. The file stays: who removed it might remove another's lock. */
    int bytes = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) == 0)
        (void)!pwrite(fd, pid, (size_t)bytes, 0);
    *ret_fd = take_fd(&fd);
    return 0;
}

static int refused_all(const struct survey *survey, struct err *err)
{
    const uint32_t *counts = survey->counts;

    return err_set(
        err, EUSERS,
        "no uids for VMs: of %u blocks from %u to %u, %u are other poolds', in %u "
        "processes run, %u are given away (/etc/passwd, group, subuid, subgid), %u are not "
        "mapped in this user namespace; choose another range with --uid-base and "
        "--uid-count",
        survey->blocks, survey->base, survey->base + survey->blocks * VM_UIDS_BLOCK - 1,
        counts[REFUSAL_LOCKED], counts[REFUSAL_RUNNING], counts[REFUSAL_GIVEN],
        counts[REFUSAL_UNMAPPED]);
}

/* The lock comes before the look at processes: then those of whoever had it are seen, and nobody
 * starts others. 0 with the block's number and fd, or -errno. */
static int block_find(struct survey *survey, const struct vm_uids_host *host, int dir_fd,
                      uint32_t *ret_number, int *ret_fd, struct err *err)
{
    for (uint32_t i = 0; i < survey->blocks; i++) {
        _cleanup_close_ int fd = -1;

        if (survey->refused[i])
            continue;
        int rc = block_lock(dir_fd, survey->base + i * VM_UIDS_BLOCK, &fd);
        if (rc == -EBUSY) {
            refuse(survey, i, REFUSAL_LOCKED);
            continue;
        }
        if (rc < 0)
            return err_set_errno(err, -rc, "can't lock uids in %s", host->locks);
        processes_survey(survey, host->proc);
        if (!survey->refused[i]) {
            *ret_number = i;
            *ret_fd = take_fd(&fd);
            return 0;
        }
    }
    return refused_all(survey, err);
}

int vm_uids_claim(const struct vm_uids_host *host, uint32_t base, uint32_t count,
                  struct vm_uid_block **ret_block, struct err *err)
{
    struct survey survey = { .base = base, .blocks = count / VM_UIDS_BLOCK };
    _cleanup_free_ uint8_t *refused = calloc(survey.blocks, 1);
    _cleanup_free_ struct vm_uid_block *block = calloc(1, sizeof *block);
    _cleanup_close_ int dir_fd = -1;
    uint32_t number = 0;
    int rc;

    if (!refused || !block)
        return err_set(err, ENOMEM, "out of memory");
    rc = cleanup_make_dirs(host->locks, 0700, err);
    if (rc < 0)
        return rc;
    dir_fd = open(host->locks, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir_fd < 0)
        return err_set_errno(err, errno, "can't open %s", host->locks);
    survey.refused = refused;
    survey_make(&survey, host);
    rc = block_find(&survey, host, dir_fd, &number, &block->lock_fd, err);
    if (rc < 0)
        return rc;
    block->first = base + number * VM_UIDS_BLOCK;
    *ret_block = take_pointer(&block);
    return 0;
}
