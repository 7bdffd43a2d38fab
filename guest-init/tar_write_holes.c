/* SPDX-License-Identifier: Apache-2.0 */
/* Files with holes on their way into a tar stream: see tar_write_holes.h. */
#include "tar_write_holes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINES_BYTES 44 /* of an extent in the map: two numbers of up to 20 digits */

void tar_holes_fini(struct tar_holes *holes)
{
    free(holes->list);
    free(holes->map);
    *holes = (struct tar_holes){ 0 };
}

static bool extent_add(struct tar_holes *holes, uint32_t *room, uint64_t offset, uint64_t bytes)
{
    if (holes->count == TAR_EXTENTS_MAX)
        return false;
    if (holes->count == *room) {
        struct tar_extent *list = realloc(holes->list, (*room * 2 + 64) * sizeof(*list));

        if (!list)
            return false;
        holes->list = list;
        *room = *room * 2 + 64;
    }
    holes->list[holes->count++] = (struct tar_extent){ offset, bytes };
    return true;
}

/* Lists the data. False: it can't be told. The last one ends the file, even if it has nothing. */
static bool extents_list(struct tar_holes *holes, int fd, uint64_t bytes)
{
    uint32_t room = 0;
    off_t data, hole = 0;

    while ((uint64_t)hole < bytes) {
        data = lseek(fd, hole, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break;
        hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
        if (hole <= data || (uint64_t)data >= bytes)
            return false;
        if ((uint64_t)hole > bytes)
            hole = (off_t)bytes;
        if (!extent_add(holes, &room, (uint64_t)data, (uint64_t)(hole - data)))
            return false;
    }
    return (uint64_t)hole >= bytes || extent_add(holes, &room, bytes, 0);
}

static bool map_make(struct tar_holes *holes)
{
    size_t room = (size_t)(holes->count + 1) * LINES_BYTES + TAR_BLOCK_BYTES;
    struct text text;

    holes->map = calloc(1, room);
    if (!holes->map)
        return false;
    text_init(&text, holes->map, room);
    text_add_u64(&text, holes->count);
    text_add(&text, "\n");
    for (uint32_t i = 0; i < holes->count; i++) {
        text_add_u64(&text, holes->list[i].offset);
        text_add(&text, "\n");
        text_add_u64(&text, holes->list[i].bytes);
        text_add(&text, "\n");
    }
    holes->map_bytes = (text.length + TAR_BLOCK_BYTES - 1) & ~(size_t)(TAR_BLOCK_BYTES - 1);
    return true;
}

uint64_t tar_holes_find(struct tar_holes *holes, int fd, const struct stat *st)
{
    uint64_t bytes = (uint64_t)st->st_size, stored;

    *holes = (struct tar_holes){ 0 };
    if ((uint64_t)st->st_blocks * 512 >= bytes) /* spares those that have none two calls */
        return bytes;
    if (!extents_list(holes, fd, bytes) || !map_make(holes)) {
        tar_holes_fini(holes);
        return bytes;
    }
    stored = holes->map_bytes;
    for (uint32_t i = 0; i < holes->count; i++)
        stored += holes->list[i].bytes;
    return stored;
}

ssize_t tar_holes_read(struct tar_holes *holes, int fd, uint8_t *buffer, size_t room)
{
    const struct tar_extent *extent;
    ssize_t count;

    if (holes->map_sent < holes->map_bytes) {
        count = (ssize_t)MIN_OF(room, holes->map_bytes - holes->map_sent);
        memcpy(buffer, holes->map + holes->map_sent, (size_t)count);
        holes->map_sent += (size_t)count;
        return count;
    }
    while (holes->at < holes->count && holes->done == holes->list[holes->at].bytes) {
        holes->at++;
        holes->done = 0;
    }
    if (holes->at == holes->count)
        return 0;
    extent = &holes->list[holes->at];
    count = pread(fd, buffer, MIN_OF(room, extent->bytes - holes->done),
                  (off_t)(extent->offset + holes->done));
    if (count < 0)
        return -errno;
    if (count == 0) { /* it was cut meanwhile: zeros, or what follows would be in its place */
        count = (ssize_t)MIN_OF(room, extent->bytes - holes->done);
        memset(buffer, 0, (size_t)count);
    }
    holes->done += (uint64_t)count;
    return count;
}
