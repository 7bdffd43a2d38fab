/* SPDX-License-Identifier: Apache-2.0 */
/* Owns copying from the host into a guest; see copy.h. guest_target.h says where it goes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "base/util.h"
#include "cli.h"
#include "copy.h"
#include "copy_put.h"
#include "guest_target.h"
#include "interrupt.h"
#include "tar_child.h"

#define WHAT_BYTES 120

/* ---- From a path ---- */

/* A source that is to be followed, or ends in "." or "..": what it is called really. */
static int source_resolve(const char *path, struct split_path *split, struct err *err)
{
    char resolved[PATH_MAX];
    bool contents = split->contents || strcmp(split->name, ".") == 0;

    if (!realpath(split->whole, resolved))
        return err_set_errno(err, errno, "%s", path);
    int rc = copy_path_split(resolved, split, err);
    split->contents = contents;
    return rc;
}

/* The source on the host: split, with a name of its own; as_name is what it is called when it is
 * copied: a link that is followed keeps its name. */
static int source_split(const char *path, bool follow, struct split_path *ret,
                        char as_name[NAME_MAX + 1], bool *ret_is_folder, struct err *err)
{
    struct stat st;
    int rc = copy_path_split(path, ret, err);

    if (rc < 0)
        return rc;
    bool dots = strcmp(ret->name, ".") == 0 || strcmp(ret->name, "..") == 0;
    bool folder_meant = ret->slash || ret->contents || dots;
    strcpy(as_name, ret->name);
    if ((folder_meant || follow ? stat : lstat)(ret->whole, &st) < 0)
        return err_set_errno(err, errno, "%s", path);
    *ret_is_folder = S_ISDIR(st.st_mode);
    if (!S_ISDIR(st.st_mode) && folder_meant)
        return err_set(err, ENOTDIR, "%s is not a folder", ret->whole);
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return err_set(err, ENOTSUP, "%s is a device, FIFO or socket, which is not copied", path);
    if (!folder_meant && !follow)
        return 0;
    rc = source_resolve(path, ret, err);
    if (dots)
        strcpy(as_name, ret->name);
    return rc;
}

/* Pumps what is packed to the agent. */
static int tar_pump(struct copy_put *put, const struct tar_child *tar, struct err *err)
{
    _cleanup_free_ uint8_t *data = malloc(AGENT_PAYLOAD_MAX);

    if (!data)
        return err_set(err, ENOMEM, "out of memory");
    for (;;) {
        ssize_t n = read(tar->fd, data, AGENT_PAYLOAD_MAX);

        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return err_set_errno(err, errno, "cannot read from tar");
        int rc = copy_put_feed(put, data, (size_t)MAX_OF(n, 0), err);
        if (rc < 0)
            return rc;
    }
}

/* What a copy that broke off has left. A file is replaced when it is whole. */
static void rest_tell(const struct copy_put *put, const char *folder, struct err *err)
{
    size_t length = strlen(err->msg);

    if (!put->refused) /* else the agent has told */
        snprintf(err->msg + length, sizeof err->msg - length,
                 "; of the copy %.1f MiB had been sent by then, and what was whole is in %s",
                 (double)put->bytes / (double)MIB(1), folder);
}

/* When something can't be read, all else is copied, and the user is told. */
static int tree_put(struct copy_put *put, const struct tar_what *what, const char *folder,
                    bool is_folder, struct err *err)
{
    struct tar_child tar = { .fd = -1 };
    struct err tar_err;
    int rc = tar_child_pack(&tar, what, err);

    if (rc == 0)
        rc = tar_pump(put, &tar, err);
    int tar_rc = tar_child_finish(&tar, &tar_err);
    if (rc == 0 && tar_rc < 0 && (tar_rc != -EAGAIN || !is_folder)) {
        *err = tar_err;
        return tar_rc; /* without its end the agent knows that this is not all */
    }
    if (rc == 0)
        rc = copy_put_finish(put, err);
    if (rc < 0 && is_folder)
        rest_tell(put, folder, err);
    if (rc == 0 && tar_rc < 0)
        return err_set(err, EIO, "%s; all else is copied", tar_err.msg);
    return rc;
}

static int path_put(struct api *api, const char *lease, const char *host_path,
                    const char *guest_path, const struct copy_options *options, struct err *err)
{
    _cleanup_copy_put_ struct copy_put put = { 0 };
    char what[WHAT_BYTES] = "copying ", as_name[NAME_MAX + 1];
    struct guest_target target;
    struct guest_plan plan;
    struct split_path source;
    bool is_folder = false;
    int rc = source_split(host_path, options->follow, &source, as_name, &is_folder, err);

    if (rc == 0)
        rc = guest_target_find(&target, api, lease, guest_path, err);
    if (rc == 0)
        rc = guest_target_plan(&target, &source, is_folder, &plan, err);
    if (rc < 0)
        return rc;
    text_clean(what + strlen(what), sizeof what - strlen(what), host_path, SIZE_MAX);
    const struct tar_what pack = {
        .dir = plan.contents ? source.whole : source.dir,
        .member = plan.contents ? "." : source.name,
        .as = plan.contents    ? "."
              : plan.rename_to ? plan.rename_to
                               : as_name,
        .owners = options->owners,
    };
    uint8_t flags = AGENT_PUT_CAPABILITIES | (options->owners ? AGENT_PUT_OWNERS : 0);
    rc = copy_put_start(&put, api, lease, plan.folder, flags, options->quiet ? NULL : what, err);
    return rc < 0 ? rc : tree_put(&put, &pack, target.path.whole, is_folder, err);
}

/* ---- From standard input ---- */

/* Archives that are compressed, by their first bytes. */
static const struct {
    const char *magic;
    size_t bytes;
    const char *program;
} compressed[] = {
    { "\x1f\x8b", 2, "zcat" },
    { "\x28\xb5\x2f\xfd", 4, "zstdcat" },
    { "\xfd"
      "7zXZ",
      5, "xzcat" },
    { "BZh", 3, "bzcat" },
};

static int beginning_check(const uint8_t *data, size_t bytes, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(compressed); i++) {
        if (bytes >= compressed[i].bytes &&
            memcmp(data, compressed[i].magic, compressed[i].bytes) == 0)
            return err_set(err, EINVAL,
                           "standard input is compressed; unpack it first: %s FILE | voltctl cp - "
                           "LEASE:DIR",
                           compressed[i].program);
    }
    return bytes > 0 ? 0 : err_set(err, EINVAL, "there is no tar stream on standard input");
}

static int stdin_pump(struct copy_put *put, struct err *err)
{
    _cleanup_free_ uint8_t *data = malloc(AGENT_PAYLOAD_MAX);
    bool begun = false;

    if (!data)
        return err_set(err, ENOMEM, "out of memory");
    for (;;) {
        ssize_t n = read(STDIN_FILENO, data, AGENT_PAYLOAD_MAX);
        int rc = n < 0 && errno != EINTR ? err_set_errno(err, errno, "reading standard input")
                                         : interrupt_check(err);

        if (rc == 0 && !begun && n >= 0)
            rc = beginning_check(data, (size_t)n, err);
        if (rc < 0 || n == 0)
            return rc;
        begun = true;
        rc = n > 0 ? copy_put_feed(put, data, (size_t)n, err) : 0;
        if (rc < 0)
            return rc;
    }
}

/* The stream is somebody's: members keep their owners and set-id bits with --archive only, and
 * capabilities, too. */
static int stdin_put(struct api *api, const char *lease, const char *guest_path,
                     const struct copy_options *options, struct err *err)
{
    _cleanup_copy_put_ struct copy_put put = { 0 };
    struct guest_target target;
    uint8_t flags = options->owners ? AGENT_PUT_OWNERS | AGENT_PUT_CAPABILITIES : 0;

    if (isatty(STDIN_FILENO))
        return err_set(err, EINVAL, "standard input is a terminal, not a tar stream");
    int rc = guest_target_find(&target, api, lease, guest_path, err);
    if (rc == 0 && target.kind != GUEST_FOLDER)
        return err_set(err, ENOTDIR, "there is no folder %s: a tar stream is unpacked in one",
                       target.path.whole);
    if (rc == 0)
        rc = copy_put_start(&put, api, lease, target.path.whole, flags,
                            options->quiet ? NULL : "copying standard input", err);
    if (rc == 0)
        rc = stdin_pump(&put, err);
    return rc < 0 ? rc : copy_put_finish(&put, err);
}

int copy_to_guest(struct api *api, const char *lease, const char *host_path, const char *guest_path,
                  const struct copy_options *options, struct err *err)
{
    interrupt_catch(); /* what a copy that breaks off has left is told */
    return strcmp(host_path, "-") == 0 ? stdin_put(api, lease, guest_path, options, err)
                                       : path_put(api, lease, host_path, guest_path, options, err);
}
