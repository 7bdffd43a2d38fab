/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes on disk: what is in STATE_DIR/volumes.
 *
 *   ID.json        a volume: whose it is, and which file has its contents (volume_record)
 *   data/HEX       contents: of a volume, or of one that a lease is writing
 *   leases/LEASE.json   what a lease has of volumes, for the next poold (volume_lease.c)
 *
 * Invariants
 *   1. ID.json is absent or whole, and then data/HEX that it names is whole on disk: it was synced
 *      before the name was written, in one rename.
 *   2. A file that a volume names is written by nobody: what a VM writes goes to another one.
 *   3. What no volume and no lease names may be removed when nothing is under way.
 *
 * Whatever the contents are, they are a guest's: the host never mounts them, and looks at nothing but
 * their first 4 KiB, once (snapshot/image/filesystem.h). Any thread; blocks, but volume_file_open. */
#ifndef VOLT_POOLD_VOLUME_FILES_H
#define VOLT_POOLD_VOLUME_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/state_file.h"
#include "http/json_keys.h"

#define VOLUME_DATA_BYTES 33 /* 32 hex digits and NUL */
#define VOLUME_NAME_MAX 52u

struct volume_record {
    char created[32];
    char filesystem[8]; /* "erofs" or "ext4" */
    char data[VOLUME_DATA_BYTES];
    uint64_t owner; /* uid */
    uint64_t bytes;
    bool folder; /* made of a folder for some leases: goes when it was not used for long */
};

extern const struct json_table volume_record_table;

struct volume_dirs {
    int fd, data_fd, leases_fd; /* owned; -1 */
};

/* "NAME~UID". False: it is no name of a volume: 1 to 52 of a-z 0-9 - _ ., beginning with a letter or
 * digit. */
bool volume_id(const char *name, uint32_t owner, char ret_id[STATE_NAME_BYTES]);

/* Opens them in dir_fd (transferred, also on failure), making what is missing. 0 or -errno. */
int volume_dirs_open(struct volume_dirs *dirs, int dir_fd, struct err *err);
void volume_dirs_close(struct volume_dirs *dirs);

/* Calls each for every NAME.json in a folder. 0, or -errno if not all of it could be read. */
int volume_files_each(int dir_fd, void (*each)(void *data, const char *name), void *data);
/* The record of ID.json. 0 or -EINVAL with a sentence. */
int volume_record_read(const struct volume_dirs *dirs, const char *id,
                       struct volume_record *ret_record, struct err *err);
/* Whether there is a file ID.json, whatever is in it. */
bool volume_record_there(const struct volume_dirs *dirs, const char *id);
int volume_record_write(const struct volume_dirs *dirs, const char *id,
                        const struct volume_record *record, struct err *err);

/* A name for contents that none has had. */
void volume_data_name(char ret_data[VOLUME_DATA_BYTES]);
/* An empty file of that name. 0 with *ret_fd, or -errno with a sentence. */
int volume_data_make(const struct volume_dirs *dirs, const char *data, int *ret_fd,
                     struct err *err);
/* Puts bytes at offset into a file of volume_data_make; pages of zeroes stay holes. 0 or -errno. */
int volume_data_write(int fd, const uint8_t *bytes, size_t count, uint64_t offset);
/* Another file with the same contents, that may be written: a reflink where the file system has them,
 * else the data is copied, and holes stay holes. As volume_data_make. */
int volume_data_copy(const struct volume_dirs *dirs, const char *data, const char *new_data,
                     int *ret_fd, struct err *err);
/* A file without a name, for what a VM writes that is thrown away. -errno. */
int volume_scratch_make(const struct volume_dirs *dirs);
/* Which file system it has, and that it is as large as it says. */
int volume_data_check(int fd, struct volume_record *record, struct err *err);
/* All of it is on disk, and as long as it was: a VM that writes to it may try to cut it. */
int volume_data_settle(const struct volume_dirs *dirs, const char *data, uint64_t bytes,
                       struct err *err);
void volume_data_remove(const struct volume_dirs *dirs, const char *data);
/* Removes files that `used` does not know. */
void volume_data_clean(const struct volume_dirs *dirs,
                       bool (*used)(void *context, const char *data), void *context);

/* Contents, for a VM, with flags and a position of its own; -errno. */
int volume_file_open(const struct volume_dirs *dirs, const char *data, bool writable);

#endif
