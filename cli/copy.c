/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the copying between host and guest; see copy.h.
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
#include "copy.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "agent.h"
#include "base/util.h"
#include "tar_child.h"
#include "tar_head.h"

#define FRAME_TIMEOUT_MS 120000u

enum path_kind { PATH_MISSING, PATH_FILE, PATH_DIRECTORY };

/* A path taken apart. "/a/b/" is dir "/a", name "b", slash; "/a/b/." is whole "/a/b", contents. */
struct split_path {
    char whole[PATH_MAX]; /* without what is said by the flags */
    char dir[PATH_MAX];
    char name[NAME_MAX + 1]; /* empty for "/" */
    bool slash;              /* it ended in '/' */
    bool contents;           /* it ended in "/.": what is in the folder is meant */
};

/* What is to be done with the tar stream. */
struct plan {
    const char *dir;       /* unpack there */
    const char *rename_to; /* NULL: keep the name */
    bool contents;         /* only what is in the source folder */
};

static void slashes_strip(char *path, bool *ret_slash)
{
    size_t bytes = strlen(path);

    while (bytes > 1 && path[bytes - 1] == '/') {
        path[--bytes] = '\0';
        *ret_slash = true;
    }
}

static int path_split(const char *path, struct split_path *ret, struct err *err)
{
    ret->slash = ret->contents = false;
    size_t bytes = strlen(path);
    if (bytes == 0 || bytes >= sizeof ret->whole)
        return err_set(err, EINVAL, "'%.60s' is no usable path", path);
    memcpy(ret->whole, path, bytes + 1);
    slashes_strip(ret->whole, &ret->slash);
    bytes = strlen(ret->whole);
    if (bytes >= 2 && strcmp(ret->whole + bytes - 2, "/.") == 0) {
        ret->contents = true;
        ret->whole[bytes == 2 ? 1 : bytes - 2] = '\0';
        slashes_strip(ret->whole, &ret->slash);
    }
    const char *slash = strrchr(ret->whole, '/');
    const char *name = slash ? slash + 1 : ret->whole;
    if (strlen(name) > NAME_MAX)
        return err_set(err, ENAMETOOLONG, "the name '%.40s...' is too long", name);
    strcpy(ret->name, name);
    if (!slash)
        strcpy(ret->dir, ".");
    else
        snprintf(ret->dir, sizeof ret->dir, "%.*s",
                 slash == ret->whole ? 1 : (int)(slash - ret->whole), ret->whole);
    return 0;
}

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

/* ---- Host to guest ---- */

/* Reads what the first frames of a GET bring. 0 and the kind of the stream's first member; *head
 * gets the bytes read so far. -ENOENT and others as the agent says. */
static int head_receive(struct agent *agent, uint8_t *head, size_t *ret_bytes,
                        enum tar_head_kind *ret_kind, struct err *err)
{
    size_t bytes = 0;

    for (;;) {
        struct agent_message message;
        int rc = agent_receive(agent, now_ns() + FRAME_TIMEOUT_MS * NS_PER_MS, &message, err);

        if (rc < 0)
            return rc;
        if (message.type != AGENT_DATA)
            return agent_refusal(&message, err);
        /* head has room for one frame more than tar_head_parse may ask for */
        memcpy(head + bytes, message.payload, message.bytes);
        bytes += message.bytes;
        rc = tar_head_parse(head, bytes, ret_kind);
        if (rc < 0 || (rc == 0 && bytes >= TAR_HEAD_BYTES_MAX))
            return err_set(err, EPROTO, "the guest's agent sent something else than a tar stream");
        if (rc > 0) {
            *ret_bytes = bytes;
            return 0;
        }
    }
}

static int get_start(struct agent **ret_agent, struct api *api, const char *lease, const char *path,
                     uint8_t **ret_head, size_t *ret_bytes, enum tar_head_kind *ret_kind,
                     struct err *err)
{
    _cleanup_agent_ struct agent *agent = NULL;
    _cleanup_free_ uint8_t *head = malloc(TAR_HEAD_BYTES_MAX + AGENT_PAYLOAD_MAX);

    if (!head)
        return err_set(err, ENOMEM, "out of memory");
    int rc = agent_open(&agent, api, lease, err);
    if (rc == 0)
        rc = agent_send(agent, AGENT_GET, path, strlen(path), err);
    if (rc == 0)
        rc = head_receive(agent, head, ret_bytes, ret_kind, err);
    if (rc < 0)
        return rc;
    *ret_agent = take_pointer(&agent);
    *ret_head = take_pointer(&head);
    return 0;
}

/* What is at a path of the guest: the beginning of a GET of it tells, and is all that is read. */
static int guest_probe(struct api *api, const char *lease, const char *path,
                       enum path_kind *ret_kind, struct err *err)
{
    _cleanup_agent_ struct agent *agent = NULL;
    _cleanup_free_ uint8_t *head = NULL;
    enum tar_head_kind kind;
    size_t bytes;
    char inside[PATH_MAX + 4];
    int rc = get_start(&agent, api, lease, path, &head, &bytes, &kind, err);

    if (rc == -ENOENT) {
        *ret_kind = PATH_MISSING;
        return 0;
    }
    if (rc < 0)
        return rc;
    *ret_kind = kind == TAR_HEAD_DIRECTORY ? PATH_DIRECTORY : PATH_FILE;
    if (kind != TAR_HEAD_SYMLINK)
        return 0;
    snprintf(inside, sizeof inside, "%s/.", path); /* through a link, to a folder only */
    _cleanup_agent_ struct agent *second = NULL;
    _cleanup_free_ uint8_t *second_head = NULL;
    struct err ignored;
    if (get_start(&second, api, lease, inside, &second_head, &bytes, &kind, &ignored) == 0 &&
        kind == TAR_HEAD_DIRECTORY)
        *ret_kind = PATH_DIRECTORY;
    return 0;
}

static int done_await(struct agent *agent, uint64_t timeout_ms, struct err *err)
{
    struct agent_message message;
    int rc = agent_receive(agent, now_ns() + timeout_ms * NS_PER_MS, &message, err);

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
            if (done_await(agent, 1000, &said) < 0 && said.code != ENOTCONN)
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
    return rc < 0 ? rc : done_await(agent, FRAME_TIMEOUT_MS, err);
}

/* The source on the host: split, with "." and ".." made into names. */
static int source_split(const char *path, struct split_path *ret, bool *ret_is_folder,
                        struct err *err)
{
    struct stat st;
    char resolved[PATH_MAX];
    int rc = path_split(path, ret, err);

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
    rc = path_split(resolved, ret, err);
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
        rc = path_split(guest_path, &target, err);
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

/* ---- Guest to host ---- */

static int get_pump(struct agent *agent, struct tar_child *tar, const uint8_t *head,
                    size_t head_bytes, struct err *err)
{
    struct agent_message message = { AGENT_DATA, head_bytes, head };

    for (;;) {
        if (message.type == AGENT_DONE)
            return 0;
        if (message.type != AGENT_DATA)
            return agent_refusal(&message, err);
        int rc = tar_child_write(tar, message.payload, message.bytes);
        /* tar closes early when it has what it wants, or has failed; its exit code tells which. */
        if (rc < 0)
            return rc == -EPIPE ? 0 : err_set_errno(err, -rc, "cannot write to tar");
        rc = agent_receive(agent, now_ns() + FRAME_TIMEOUT_MS * NS_PER_MS, &message, err);
        if (rc < 0)
            return rc;
    }
}

static int host_target(const char *path, struct split_path *ret, enum path_kind *ret_kind,
                       struct err *err)
{
    struct stat st;
    int rc = path_split(path, ret, err);

    if (rc < 0)
        return rc;
    if (stat(ret->whole, &st) == 0)
        *ret_kind = S_ISDIR(st.st_mode) ? PATH_DIRECTORY : PATH_FILE;
    else if (errno == ENOENT)
        *ret_kind = PATH_MISSING;
    else
        return err_set_errno(err, errno, "%s", path);
    return 0;
}

static int unpack_start(const struct plan *plan, const struct split_path *source,
                        enum path_kind target_kind, struct tar_child *tar, struct err *err)
{
    bool is_dot = source->contents || source->name[0] == '\0';

    if (target_kind == PATH_MISSING && !plan->rename_to && mkdir(plan->dir, 0777) < 0)
        return err_set_errno(err, errno, "cannot make the folder %s", plan->dir);
    return tar_child_unpack(tar, plan->dir, is_dot ? "." : source->name, plan->rename_to,
                            plan->contents, err);
}

int copy_from_guest(struct api *api, const char *lease, const char *guest_path,
                    const char *host_path, struct err *err)
{
    struct split_path source, target;
    enum path_kind target_kind = PATH_MISSING;
    enum tar_head_kind kind;
    struct plan plan;
    struct tar_child tar = { .fd = -1 };
    _cleanup_agent_ struct agent *agent = NULL;
    _cleanup_free_ uint8_t *head = NULL;
    size_t head_bytes;
    int rc = path_split(guest_path, &source, err);

    if (rc == 0)
        rc = host_target(host_path, &target, &target_kind, err);
    /* With the "/." the guest follows a link to a folder, and names the members "./...". */
    if (rc == 0)
        rc = get_start(&agent, api, lease, source.contents ? guest_path : source.whole, &head,
                       &head_bytes, &kind, err);
    if (rc == 0)
        rc = plan_make(&target, target_kind, &source, kind == TAR_HEAD_DIRECTORY, &plan, err);
    if (rc == 0)
        rc = unpack_start(&plan, &source, target_kind, &tar, err);
    if (rc < 0)
        return rc;
    rc = get_pump(agent, &tar, head, head_bytes, err);
    struct err tar_err;
    int tar_rc = tar_child_finish(&tar, &tar_err);
    if (rc == 0 && tar_rc < 0) {
        *err = tar_err;
        return tar_rc;
    }
    return rc;
}
