/* SPDX-License-Identifier: Apache-2.0 */
/* Owns copying from the host into a guest; see copy.h.
 *
 * How it works
 *   Whether the source is a folder and what is at the target decide which folder the tar stream is
 *   unpacked in and what its top is called there:
 *
 *     target        source a file               source a folder
 *     is a folder   into it                     into it (SOURCE/.: what is in it)
 *     is a file     replaces it                 refused
 *     is missing    under that name;            made, and what is in the source goes into it
 *                   refused if it ends in '/'
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent.h"
#include "base/util.h"
#include "copy.h"
#include "copy_get.h"
#include "copy_path.h"
#include "tar_child.h"

enum path_kind { PATH_MISSING, PATH_FILE, PATH_DIRECTORY };

/* What is to be done with the tar stream. */
struct plan {
    const char *dir;       /* unpack there */
    const char *rename_to; /* NULL: keep the name */
    bool contents;         /* only what is in the source folder */
};

/* The table above. */
static int plan_make(const struct split_path *target, enum path_kind target_kind,
                     const struct split_path *source, bool source_is_folder, struct plan *ret,
                     struct err *err)
{
    *ret = (struct plan){ .dir = target->whole };
    if (target_kind == PATH_DIRECTORY) {
        ret->contents = source_is_folder && (source->contents || source->name[0] == '\0');
        return 0;
    }
    if (source_is_folder && target_kind == PATH_FILE)
        return err_set(err, ENOTDIR, "%s is a file: a folder cannot be copied there",
                       target->whole);
    if (source_is_folder) {
        ret->contents = true;
        return 0;
    }
    if (source->contents)
        return err_set(err, ENOTDIR, "%s is a file, not a folder", source->whole);
    if (target->slash || target->contents)
        return err_set(err, target_kind == PATH_FILE ? ENOTDIR : ENOENT, "there is no folder %s",
                       target->whole);
    ret->dir = target->dir;
    ret->rename_to = target->name;
    return 0;
}

/* What is at a path of the guest: the beginning of a GET of it tells, and is all that is read. */
static int guest_probe(struct api *api, const char *lease, const char *path,
                       enum path_kind *ret_kind, struct err *err)
{
    _cleanup_copy_get_ struct copy_get get = { 0 }, through = { 0 };
    char inside[PATH_MAX + 4];
    struct err ignored;
    int rc = copy_get_start(&get, api, lease, path, err);

    *ret_kind = PATH_MISSING;
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    *ret_kind = get.kind == TAR_HEAD_DIRECTORY ? PATH_DIRECTORY : PATH_FILE;
    if (get.kind != TAR_HEAD_SYMLINK)
        return 0;
    snprintf(inside, sizeof inside, "%s/.", path); /* through a link, to a folder only */
    if (copy_get_start(&through, api, lease, inside, &ignored) == 0 &&
        through.kind == TAR_HEAD_DIRECTORY)
        *ret_kind = PATH_DIRECTORY;
    return 0;
}

static int done_await(struct agent *agent, struct err *err)
{
    struct agent_message message;
    int rc = copy_receive(agent, &message, err);

    if (rc < 0)
        return rc;
    return message.type == AGENT_DONE ? 0 : agent_refusal(&message, err);
}

/* Pumps tar's output to the agent. When the agent gives up on us it says why before it closes. */
static int put_pump(struct agent *agent, struct tar_child *tar, struct err *err)
{
    _cleanup_free_ uint8_t *data = malloc(AGENT_PAYLOAD_MAX);
    struct err said;

    if (!data)
        return err_set(err, ENOMEM, "out of memory");
    for (;;) {
        ssize_t n = read(tar->fd, data, AGENT_PAYLOAD_MAX);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "cannot read from tar");
        if (n == 0)
            return 0;
        int rc = agent_send(agent, AGENT_DATA, data, (size_t)n, err);
        if (rc < 0) {
            if (done_await(agent, &said) < 0 && said.code != ENOTCONN)
                *err = said;
            return rc;
        }
    }
}

static int put_stream(struct agent *agent, struct tar_child *tar, struct err *err)
{
    int rc = put_pump(agent, tar, err);
    struct err tar_err;
    int tar_rc = tar_child_finish(tar, &tar_err);

    if (rc < 0)
        return rc;
    if (tar_rc < 0) {
        *err = tar_err;
        return tar_rc; /* without EOF the agent knows that this is not all */
    }
    rc = agent_send(agent, AGENT_EOF, NULL, 0, err);
    return rc < 0 ? rc : done_await(agent, err);
}

/* The source on the host: split, with "." and ".." made into names. */
static int source_split(const char *path, struct split_path *ret, bool *ret_is_folder,
                        struct err *err)
{
    struct stat st;
    char resolved[PATH_MAX];
    int rc = copy_path_split(path, ret, err);

    if (rc < 0)
        return rc;
    bool dot = strcmp(ret->name, ".") == 0, dots = strcmp(ret->name, "..") == 0;
    bool follow = ret->slash || ret->contents || dot || dots;
    if ((follow ? stat : lstat)(ret->whole, &st) < 0)
        return err_set_errno(err, errno, "%s", path);
    *ret_is_folder = S_ISDIR(st.st_mode);
    if (!S_ISDIR(st.st_mode) && follow)
        return err_set(err, ENOTDIR, "%s is not a folder", ret->whole);
    if (!dot && !dots)
        return 0;
    bool contents = ret->contents || dot;
    if (!realpath(ret->whole, resolved))
        return err_set_errno(err, errno, "%s", path);
    rc = copy_path_split(resolved, ret, err);
    ret->contents = contents;
    return rc;
}

int copy_to_guest(struct api *api, const char *lease, const char *host_path, const char *guest_path,
                  struct err *err)
{
    struct split_path source, target;
    enum path_kind target_kind = PATH_MISSING;
    bool source_is_folder = false;
    struct plan plan;
    _cleanup_agent_ struct agent *agent = NULL;
    struct tar_child tar = { .fd = -1 };
    int rc = source_split(host_path, &source, &source_is_folder, err);

    if (rc == 0)
        rc = copy_path_split(guest_path, &target, err);
    if (rc == 0)
        rc = guest_probe(api, lease, target.whole, &target_kind, err);
    if (rc == 0)
        rc = plan_make(&target, target_kind, &source, source_is_folder, &plan, err);
    if (rc == 0)
        rc = agent_open(&agent, api, lease, err);
    if (rc == 0)
        rc = agent_send(agent, AGENT_PUT, plan.dir, strlen(plan.dir), err);
    if (rc == 0)
        rc = plan.contents ? tar_child_pack(&tar, source.whole, ".", NULL, err)
                           : tar_child_pack(&tar, source.dir, source.name, plan.rename_to, err);
    return rc < 0 ? rc : put_stream(agent, &tar, err);
}
