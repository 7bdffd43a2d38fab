/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the tar reader: headers (tar_read.c), what pax headers say (tar_read_pax.c), files
 * with holes (tar_read_holes.c). */
#ifndef GUEST_TAR_READ_INTERNAL_H
#define GUEST_TAR_READ_INTERNAL_H

#include "tar.h"

/* Takes a name of that many bytes. 0, or -errno with fail set. */
int tar_name_copy(char target[TAR_PATH_BYTES], const char *name, size_t bytes, struct fail *fail);

/* Takes what the pax header in reader->extended says. 0, or -errno with fail set. */
int tar_pax_parse(struct tar_reader *reader, struct fail *fail);

/* The member at hand has holes: sets the state in which their list comes, or begins its data if the
 * header has all of them. `bytes` are what the stream has of it, list and data. */
int tar_holes_begin(struct tar_reader *reader, uint64_t bytes, struct fail *fail);

/* A block of the list is complete, in that state. *ret_whole: it was the last one, and
 * reader->remaining bytes of data follow. */
int tar_holes_take(struct tar_reader *reader, bool *ret_whole, struct fail *fail);

/* Data of a file with holes: to the sink, each piece in its place. */
int tar_holes_data(struct tar_reader *reader, const uint8_t *data, size_t bytes, struct fail *fail);

#endif
