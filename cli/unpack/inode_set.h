/* SPDX-License-Identifier: Apache-2.0 */
/* A set of inode numbers of one file system: what a layer has made. */
#ifndef VOLT_CLI_UNPACK_INODE_SET_H
#define VOLT_CLI_UNPACK_INODE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inode_set {
    uint64_t *slots; /* 0: free; a power of two of them */
    size_t used, room;
};

/* 0 or -ENOMEM. Inode 0 is never one. */
int inode_set_add(struct inode_set *set, uint64_t inode);
bool inode_set_has(const struct inode_set *set, uint64_t inode);
/* Empties it and frees its memory. */
void inode_set_fini(struct inode_set *set);

#endif
