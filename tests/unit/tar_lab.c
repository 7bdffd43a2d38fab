/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what the tests of volt-init's tar share; see tar_lab.h. */
#include "tar_lab.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap_main.h"
#include "tar_write.h"

static char base[] = "/tmp/volt-unit-XXXXXX";
uint8_t stream[TAR_LAB_STREAM_BYTES];
struct tar_reader reader;
static struct extract extract;
struct extract_rules rules;
static struct tar_writer writer;

void tar_lab_run(const char *command)
{
    ck_assert_msg(system(command) == 0, "failed: %s", command);
}

void tar_lab_make(void)
{
    strcpy(base, "/tmp/volt-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    ck_assert_int_eq(chdir(base), 0);
    tar_lab_run(
        "mkdir -p in/deep/er out && printf hello >in/a && head -c 70000 /dev/urandom >in/deep/big "
        "&& "
        ": >in/empty && ln -s deep/big in/link && ln in/a in/deep/hard && chmod 750 in/deep/er && "
        "chmod 640 in/a && long=$(printf 'n%.0s' $(seq 120)) && mkdir -p in/$long/$long && "
        "printf long >in/$long/$long/$long && ln -s $long/$long/$long in/longlink && "
        "touch -h -d @1700000000 in/a in/link && touch -d @1600000000 in/deep/er in/deep");
}

void tar_lab_remove(void)
{
    char command[64];

    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf %s", base);
    tar_lab_run(command);
}

size_t tar_lab_read(const char *path)
{
    FILE *file = fopen(path, "r");
    size_t bytes;

    ck_assert_ptr_nonnull(file);
    bytes = fread(stream, 1, sizeof(stream), file);
    fclose(file);
    ck_assert_uint_lt(bytes, sizeof(stream));
    return bytes;
}

/* Feeds `bytes` of the stream in portions into directory "out". */
int tar_lab_unpack(size_t bytes, size_t portion, struct fail *fail)
{
    int root_fd = open("out", O_PATH | O_DIRECTORY), status = 0;
    struct tar_sink sink;

    ck_assert_int_ge(root_fd, 0);
    extract_init(&extract, root_fd, &rules);
    sink = extract_sink(&extract);
    tar_reader_init(&reader, &sink);
    for (size_t at = 0; status == 0 && at < bytes; at += portion)
        status = tar_reader_feed(&reader, stream + at, MIN_OF(portion, bytes - at), fail);
    if (status == 0)
        status = tar_reader_finish(&reader, fail);
    tar_reader_fini(&reader);
    extract_fini(&extract);
    close(root_fd);
    return status;
}

/* Packs `path` in portions into the file "t". Returns what was left out. */
uint32_t tar_lab_pack(const char *path, bool follow, size_t portion)
{
    FILE *file = fopen("t", "w");
    struct fail fail;
    size_t bytes = 0;
    ssize_t count;

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(tar_writer_init(&writer, path, follow, &fail), 0);
    while ((count = tar_writer_read(&writer, stream, portion, &fail)) > 0) {
        ck_assert_uint_eq(fwrite(stream, 1, (size_t)count, file), (size_t)count);
        bytes += (size_t)count;
    }
    ck_assert_msg(count == 0, "%s", fail.sentence);
    tar_writer_fini(&writer);
    fclose(file);
    ck_assert_uint_eq(bytes % TAR_BLOCK_BYTES, 0);
    return writer.left_out;
}

/* One member by hand, at stream + at; returns where the next one goes. */
size_t tar_lab_member(size_t at, const char *name, char type, const char *link, const char *data)
{
    struct tar_header *header = (struct tar_header *)(stream + at);

    memset(header, 0, 2 * sizeof(*header));
    strcpy(header->name, name);
    strcpy(header->link, link);
    header->type = type;
    memcpy(header->magic, "ustar", 6);
    tar_number_put(header->mode, 8, 0644);
    tar_number_put(header->size, 12, strlen(data));
    tar_number_put(header->checksum, 7, tar_header_sum(header));
    memcpy(header + 1, data, strlen(data));
    return at + sizeof(*header) * (*data ? 2 : 1);
}

size_t tar_lab_end(size_t at)
{
    memset(stream + at, 0, 2 * TAR_BLOCK_BYTES);
    return at + 2 * TAR_BLOCK_BYTES;
}
