/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what the child that unpacks does: which rules a spec comes to, and one archive or many. */
#include "unpack_work.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inode_set.h"
#include "members.h"

static struct place_rules place_rules_of(const struct unpack_spec *spec, unsigned walls)
{
    mode_t mask = umask(0);

    umask(mask);
    bool root = geteuid() == 0;
    if (spec->what == UNPACK_COPY)
        return (struct place_rules){ .mode_mask = spec->owners ? 0777 : 0777 & ~mask,
                                     .owners = spec->owners && root,
                                     .foreign = true,
                                     .keeps_top = spec->keeps_top,
                                     .mark_links = true };
    return (struct place_rules){ .mode_mask = 07777,
                                 .in_root = true,
                                 .owners = root,
                                 .nodes =
                                     root && (walls & CONFINE_CHROOT) && (walls & CONFINE_NODEV),
                                 .fifos = walls & CONFINE_CHROOT,
                                 .replaces = true };
}

static int layers_unpack(const struct unpack_spec *spec, const struct members_rules *rules,
                         int input_fd, struct place *place, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < spec->layer_count && rc == 0; i++) {
        const struct members_source source = { input_fd, spec->layer_bytes[i] };
        struct inode_set layer = { 0 };

        place->layer = &layer;
        rc = members_unpack(&source, rules, place, err);
        if (rc < 0)
            err_wrap(err, "layer %zu of %zu", i + 1, spec->layer_count);
        place->layer = NULL;
        inode_set_fini(&layer);
    }
    return rc;
}

/* A folder that an image is to have, wherever it lies. */
static int folder_make(struct place *place, const char *path, struct err *err)
{
    static const struct name_rules anybodys;
    char folder[NAME_PATH_BYTES];
    int rc = name_confine(&anybodys, path, folder, err);

    if (rc < 0)
        return rc;
    rc = place_make_folder(place, folder);
    return rc < 0 ? err_set_errno(err, -rc, "making %s, as the image's configuration says", path)
                  : 0;
}

static int all_unpack(const struct unpack_spec *spec, int input_fd, struct place *place,
                      struct err *err)
{
    const struct members_source whole = { input_fd, UINT64_MAX };
    bool copy = spec->what == UNPACK_COPY;
    const struct members_rules rules = {
        .names = copy ? spec->names : (struct name_rules){ 0 },
        .compressed = !copy,
        .layer = spec->what == UNPACK_LAYERS,
        .capabilities = !copy && place->rules.owners,
        .bytes_max = copy ? UINT64_MAX : UNPACK_IMAGE_BYTES_MAX,
    };

    int rc = spec->what == UNPACK_LAYERS ? layers_unpack(spec, &rules, input_fd, place, err)
                                         : members_unpack(&whole, &rules, place, err);
    for (size_t i = 0; i < spec->folder_count && rc == 0; i++)
        rc = folder_make(place, spec->folders[i], err);
    return rc < 0 ? rc : place_finish(place, err);
}

int unpack_work(const struct unpack_spec *spec, unsigned walls, int input_fd, int target_fd,
                struct place_tally *ret_tally, struct err *err)
{
    const struct place_rules rules = place_rules_of(spec, walls);
    static struct place place; /* two paths and more: too large for a stack */

    if (rules.owners && !(walls & CONFINE_CHROOT))
        return err_set(err, EPERM,
                       "keeping files' owners needs the right to change the root "
                       "(CAP_SYS_CHROOT)");
    place_init(&place, target_fd, &rules);
    int rc = all_unpack(spec, input_fd, &place, err);
    *ret_tally = place.tally;
    place_fini(&place);
    return rc;
}
