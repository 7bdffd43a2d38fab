/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes unpacking of a tar stream in the guest, into a real directory: whatever the stream says,
 * nothing beside that directory may change. Input: a byte that says how the stream is cut and
 * whether header checksums are made right first, then the stream. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "tar.h"
#include "tar_extract.h"

#define AS_IS 0x80u

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

/* base/inside is where it is unpacked, base/outside/canary what must stay as it is. */
static char base[64], inside[96], canary[96];

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

static void canary_check(void)
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
}

static void checksums_repair(uint8_t *stream, size_t bytes)
{
    for (size_t at = 0; at + TAR_BLOCK_BYTES <= bytes; at += TAR_BLOCK_BYTES) {
        struct tar_header header;

        memcpy(&header, stream + at, sizeof(header));
        if (header.name[0] == '\0')
            continue; /* end marker or data */
        snprintf(header.checksum, sizeof(header.checksum), "%06o",
                 tar_header_sum(&header) & 0777777);
        memcpy(stream + at, &header, sizeof(header));
    }
}

static void stream_unpack(const uint8_t *stream, size_t bytes, size_t step)
{
    static struct tar_reader reader;
    static struct extract extract;
    struct fail fail = { 0 };
    int root_fd = open(inside, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    struct tar_sink sink;

    if (root_fd < 0)
        abort();
    extract_init(&extract, root_fd);
    sink = extract_sink(&extract);
    tar_reader_init(&reader, &sink);
    for (size_t at = 0; r == 0 && at < bytes; at += step)
        r = tar_reader_feed(&reader, stream + at, step < bytes - at ? step : bytes - at, &fail);
    if (r == 0)
        r = tar_reader_finish(&reader, &fail);
    if (r < 0 && fail.sentence[0] == '\0')
        abort();
    extract_fini(&extract);
    close(root_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    uint8_t mode = fuzz_u8(&input);
    uint8_t *stream = malloc(input.bytes ? input.bytes : 1);
    size_t stream_bytes = input.bytes;

    if (!stream)
        return 0;
    fuzz_take(&input, stream, stream_bytes);
    if (!base[0])
        place_make();
    if (!(mode & AS_IS))
        checksums_repair(stream, stream_bytes);
    stream_unpack(stream, stream_bytes, 1 + (mode & 0x7f) * 17);
    canary_check();
    tree_empty(inside);
    free(stream);
    return 0;
}
