/* SPDX-License-Identifier: Apache-2.0 */
/* The tar format as both directions need it: POSIX.1-1988 ustar blocks, GNU base-256 numbers, and
 * what goes beyond them: pax headers, in which names, links, owners, sizes, times, extended
 * attributes (SCHILY.xattr.*) and the holes of files (GNU.sparse.*, format 1.0) are; read are also
 * GNU long names (types L and K) and GNU's older files with holes (type S).
 */
#ifndef GUEST_TAR_H
#define GUEST_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

#define TAR_BLOCK_BYTES 512u
#define TAR_PATH_BYTES 4096u /* with the NUL */

#define TAR_TYPE_FILE '0'
#define TAR_TYPE_HARDLINK '1'
#define TAR_TYPE_SYMLINK '2'
#define TAR_TYPE_CHARACTER '3'
#define TAR_TYPE_BLOCK '4'
#define TAR_TYPE_DIRECTORY '5'
#define TAR_TYPE_FIFO '6'

struct tar_header {
    char name[100];
    char mode[8];
    char uid[8];
    char gid[8];
    char size[12];
    char mtime[12];
    char checksum[8];
    char type;
    char link[100];
    char magic[6];
    char version[2];
    char user[32];
    char group[32];
    char device_major[8];
    char device_minor[8];
    char prefix[155];
    char padding[12];
};

#define TAR_XATTR_PREFIX "SCHILY.xattr." /* of a pax keyword, before the attribute's name */
#define TAR_XATTRS_MAX 32u               /* of one file, those behind them are left out */
#define TAR_EXTENTS_MAX 65536u           /* pieces of data of a file with holes */

_Static_assert(sizeof(struct tar_header) == TAR_BLOCK_BYTES, "a tar header is one block");

/* The sum that header->checksum must tell: that field itself counts as spaces. */
uint32_t tar_header_sum(const struct tar_header *header);

/* Numbers in header fields: octal, or base-256 where octal has no room (GNU). Get returns false on
 * anything else and on negative values. */
bool tar_number_get(const char *field, size_t field_bytes, uint64_t *ret_value);
void tar_number_put(char *field, size_t field_bytes, uint64_t value);

/* ---- Reading ---- */

struct tar_xattr {
    const char *name; /* both in the reader's buffer: until the next member */
    const char *value;
    size_t bytes;
};

struct tar_entry {
    char path[TAR_PATH_BYTES]; /* without leading "./" and final slashes */
    char link[TAR_PATH_BYTES]; /* of TAR_TYPE_HARDLINK and TAR_TYPE_SYMLINK */
    char type;
    uint32_t mode, uid, gid;
    uint64_t bytes; /* of the file, its holes included */
    int64_t mtime_s;
    uint32_t mtime_ns;
    uint32_t xattr_count;
    struct tar_xattr xattrs[TAR_XATTRS_MAX];
};

/* Where a reader puts what it finds. Each returns 0, or -errno with fail set, which ends it. Begin
 * is followed by data (for files: ascending, within entry->bytes; what no data comes for is zeros)
 * and one end. */
struct tar_sink {
    int (*begin)(void *context, const struct tar_entry *entry, struct fail *fail);
    int (*data)(void *context, uint64_t offset, const uint8_t *data, size_t bytes,
                struct fail *fail);
    int (*end)(void *context, const struct tar_entry *entry, struct fail *fail);
    void *context;
};

#define TAR_EXTENDED_MAX 40960u /* bytes of a pax header or long name that are accepted */

enum tar_reader_state {
    TAR_READER_HEADER,     /* collecting a header block */
    TAR_READER_HOLES,      /* collecting blocks of a list of extents, which is before the data */
    TAR_READER_MORE_HOLES, /* the same of GNU's type S, which is behind the header */
    TAR_READER_DATA,       /* a member's data goes to the sink */
    TAR_READER_EXTENDED,   /* data of a pax header or long name is collected */
    TAR_READER_SKIP,       /* data that is not wanted (global pax headers) */
    TAR_READER_PADDING,    /* to the end of the block */
    TAR_READER_END,        /* behind the end marker: the rest is ignored */
};

/* What pax headers and long names have said of the member to come. */
struct tar_said {
    bool path, link, size, mtime, uid, gid;
    bool sparse_path, sparse; /* GNU.sparse.name, .realsize */
    uint32_t sparse_major;
    uint64_t size_value, sparse_bytes, uid_value, gid_value;
    int64_t mtime_s;
    uint32_t mtime_ns;
};

struct tar_extent {
    uint64_t offset, bytes;
};

/* Where a file with holes has data. */
struct tar_extents {
    struct tar_extent *list; /* owned */
    uint32_t count, room;
    uint32_t at;   /* the one that data comes for */
    uint64_t done; /* bytes of it that have come */
    uint64_t number;
    uint32_t digits;       /* of the number being read */
    uint64_t numbers_left; /* to be read; the first one tells how many extents there are */
    bool counted;
};

struct tar_reader {
    struct tar_sink sink;
    enum tar_reader_state state;
    uint32_t block_fill;     /* bytes of `block` that are there */
    uint32_t zero_blocks;    /* in a row */
    uint64_t remaining;      /* bytes of data to come in this state */
    uint32_t padding;        /* bytes after them */
    uint32_t extended_bytes; /* of `extended` that are there */
    char extended_type;
    bool has_holes; /* the member at hand: its data is that of the extents */
    struct tar_said said;
    struct tar_extents extents;
    struct tar_entry entry;
    union {
        struct tar_header header;
        uint8_t block[TAR_BLOCK_BYTES];
    };
    char extended[TAR_EXTENDED_MAX + 1];
};

void tar_reader_init(struct tar_reader *reader, const struct tar_sink *sink);

/* Takes the next bytes of the stream, any number. 0, or -errno with fail set; then stop. */
int tar_reader_feed(struct tar_reader *reader, const uint8_t *data, size_t bytes,
                    struct fail *fail);

/* The stream is over: an error unless it ended between two members. */
int tar_reader_finish(struct tar_reader *reader, struct fail *fail);

/* Frees what it holds. */
void tar_reader_fini(struct tar_reader *reader);

#endif
