/* SPDX-License-Identifier: Apache-2.0 */
/* The table of files with several names: see tar_links.h. */
#include "tar_links.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_BYTES_MAX (16u << 20)

void tar_links_fini(struct tar_links *links)
{
    free(links->slots);
    free(links->names);
    *links = (struct tar_links){ 0 };
}

/* The slot of that file, or the free one where it goes. There is always a free one. */
static struct tar_link *slot_of(const struct tar_links *links, uint64_t device, uint64_t inode)
{
    size_t at = (size_t)((inode ^ device * 31) * 0x9e3779b97f4a7c15u >> 20);

    for (;; at++) {
        struct tar_link *slot = &links->slots[at & (links->room - 1)];

        if (!slot->inode || (slot->inode == inode && slot->device == device))
            return slot;
    }
}

static bool slots_grow(struct tar_links *links)
{
    struct tar_links grown = { .room = links->room ? 2 * links->room : 64 };

    grown.slots = calloc(grown.room, sizeof(*grown.slots));
    if (!grown.slots)
        return false;
    for (size_t i = 0; i < links->room; i++)
        if (links->slots[i].inode)
            *slot_of(&grown, links->slots[i].device, links->slots[i].inode) = links->slots[i];
    free(links->slots);
    links->slots = grown.slots;
    links->room = grown.room;
    return true;
}

static bool names_grow(struct tar_links *links, size_t bytes)
{
    size_t room = links->names_room;
    char *names;

    while (room < links->names_bytes + bytes)
        room = room ? 2 * room : 4096;
    if (room == links->names_room)
        return true;
    names = room > NAMES_BYTES_MAX ? NULL : realloc(links->names, room);
    if (!names)
        return false;
    links->names = names;
    links->names_room = room;
    return true;
}

const char *tar_links_note(struct tar_links *links, const struct stat *st, const char *name)
{
    size_t bytes = strlen(name) + 1;
    struct tar_link *slot;

    if (links->used * 2 >= links->room && !slots_grow(links))
        return NULL;
    slot = slot_of(links, st->st_dev, st->st_ino);
    if (slot->inode)
        return links->names + slot->name_at;
    if (!names_grow(links, bytes))
        return NULL;
    *slot = (struct tar_link){ st->st_dev, st->st_ino, links->names_bytes };
    memcpy(links->names + links->names_bytes, name, bytes);
    links->names_bytes += bytes;
    links->used++;
    return NULL;
}
