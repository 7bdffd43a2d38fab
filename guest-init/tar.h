/* SPDX-License-Identifier: Apache-2.0 */
/* The tar format as both directions need it: POSIX.1-1988 ustar blocks with GNU long names (types L
 * and K), GNU base-256 numbers and the pax keywords path, linkpath, size and mtime.
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
#define TAR_TYPE_DIRECTORY '5'

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

_Static_assert(sizeof(struct tar_header) == TAR_BLOCK_BYTES, "a tar header is one block");

/* The sum that header->checksum must tell: that field itself counts as spaces. */
uint32_t tar_header_sum(const struct tar_header *header);

/* Numbers in header fields: octal, or base-256 where octal has no room (GNU). Get returns false on
 * anything else and on negative values. */
bool tar_number_get(const char *field, size_t field_bytes, uint64_t *ret_value);
void tar_number_put(char *field, size_t field_bytes, uint64_t value);

/* ---- Reading ---- */

struct tar_entry {
    char path[TAR_PATH_BYTES]; /* without leading "./" and final slashes */
    char link[TAR_PATH_BYTES]; /* of TAR_TYPE_HARDLINK and TAR_TYPE_SYMLINK */
    char type;
    uint32_t mode;
    uint64_t bytes;
    int64_t mtime_s;
};

/* Where a reader puts what it finds. Each returns 0, or -errno with fail set, which ends it. Begin
 * is followed by data (for files, in order, exactly entry->bytes in all) and one end. */
struct tar_sink {
    int (*begin)(void *context, const struct tar_entry *entry, struct fail *fail);
    int (*data)(void *context, const uint8_t *data, size_t bytes, struct fail *fail);
    int (*end)(void *context, const struct tar_entry *entry, struct fail *fail);
    void *context;
};

#define TAR_EXTENDED_MAX 16384u /* bytes of a pax header or long name that are accepted */

enum tar_reader_state {
    TAR_READER_HEADER,   /* collecting a header block */
    TAR_READER_DATA,     /* a member's data goes to the sink */
    TAR_READER_EXTENDED, /* data of a pax header or long name is collected */
    TAR_READER_SKIP,     /* data that is not wanted (global pax headers) */
    TAR_READER_PADDING,  /* to the end of the block */
    TAR_READER_END,      /* behind the end marker: the rest is ignored */
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
    bool long_path, long_link, pax_size, pax_mtime; /* entry has these already */
    uint64_t pax_size_value;
    int64_t pax_mtime_value;
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

#endif
