/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of volt-init's tar share: a folder with a tree "in" and an empty "out", which they are
 * in, and streams that are packed, made by hand and unpacked. Single-threaded. */
#ifndef VOLT_TESTS_TAR_LAB_H
#define VOLT_TESTS_TAR_LAB_H

#include "tar_extract.h"

#define TAR_LAB_STREAM_BYTES (1u << 20)

extern uint8_t stream[TAR_LAB_STREAM_BYTES]; /* what is unpacked */
extern struct extract_rules rules;           /* with that */
extern struct tar_reader reader;

/* A fixture. */
void tar_lab_make(void);
void tar_lab_remove(void);

/* A shell command that must succeed. */
void tar_lab_run(const char *command);

/* Packs `path` in portions into the file "t". Returns what was left out. */
uint32_t tar_lab_pack(const char *path, bool follow, size_t portion);

/* Reads a file into the stream. Its bytes. */
size_t tar_lab_read(const char *path);

/* Puts one member, or the end, at stream + at; returns where the next one goes. */
size_t tar_lab_member(size_t at, const char *name, char type, const char *link, const char *data);
size_t tar_lab_end(size_t at);

/* Feeds `bytes` of the stream in portions into directory "out". */
int tar_lab_unpack(size_t bytes, size_t portion, struct fail *fail);

#endif
