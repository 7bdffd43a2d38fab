/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the feeding of files and blobs to the unpacker; see image_unpack.h. */
#include "image_unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api.h"
#include "base/text.h"
#include "base/util.h"
#include "cli.h"
#include "image_archive.h"
#include "interrupt.h"
#include "oci/config.h"
#include "oci/layout.h"
#include "transfer.h"
#include "unpack/unpack.h"

#define READ_BYTES KIB(64)

/* A stream on its way to the unpacker. */
struct feed {
    struct unpack unpack;
    struct transfer transfer;
    uint64_t bytes;
    bool refused; /* it has ended early, and will say why */
};

static int feed_bytes(void *context, const void *data, size_t bytes, struct err *err)
{
    struct feed *feed = context;
    int rc = interrupt_check(err);

    if (rc == 0)
        rc = unpack_feed(&feed->unpack, data, bytes);
    if (rc == -EPIPE) {
        feed->refused = true;
        return err_set(err, EPIPE, "the unpacker has ended");
    }
    feed->bytes += bytes;
    transfer_show(&feed->transfer, feed->bytes);
    return rc < 0 && rc != -EINTR ? err_set_errno(err, -rc, "giving the archive to the unpacker")
                                  : rc;
}

static void left_out_tell(const struct unpack_result *result)
{
    if (result->tally.nodes > 0)
        cli_failf(
            "note: %llu device nodes were left out, which only root can make; VMs have a /dev "
            "of their own",
            (unsigned long long)result->tally.nodes);
    if (result->tally.fifos > 0)
        cli_failf("note: %llu FIFOs were left out", (unsigned long long)result->tally.fifos);
    if (result->tally.xattrs > 0)
        cli_failf("note: %llu extended attributes (capabilities of files, say) were left out: they "
                  "could not be set",
                  (unsigned long long)result->tally.xattrs);
    if (unpack_walls_note(result->walls))
        cli_failf("note: %s", unpack_walls_note(result->walls));
}

/* `rc` is what became of the feeding. What the child says is the better reason, unless it only
 * complains that the stream ended. */
static int feed_finish(struct feed *feed, int rc, struct err *err)
{
    struct unpack_result result;
    struct err child_err;

    transfer_end(&feed->transfer);
    int child_rc = unpack_finish(&feed->unpack, &result, &child_err);
    if (child_rc < 0 && (rc == 0 || feed->refused)) {
        *err = child_err;
        return child_rc;
    }
    if (rc == 0)
        left_out_tell(&result);
    return rc;
}

static int file_feed(struct feed *feed, int fd, const char *path, struct err *err)
{
    _cleanup_free_ uint8_t *data = malloc(READ_BYTES);

    if (!data)
        return err_set(err, ENOMEM, "out of memory");
    for (;;) {
        ssize_t n = read(fd, data, READ_BYTES);

        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return err_set_errno(err, errno, "reading %s", path);
        int rc = feed_bytes(feed, data, n < 0 ? 0 : (size_t)n, err);
        if (rc < 0)
            return rc;
    }
}

int image_unpack_tar(const char *path, int target_fd, struct err *err)
{
    const struct unpack_spec spec = { .what = UNPACK_ROOT,
                                      .target_fd = target_fd,
                                      .walls = CONFINE_ALL };
    bool is_stdin = strcmp(path, "-") == 0;
    struct feed feed = { .unpack.fd = -1 };
    char what[128] = "unpacking ";
    struct stat st;
    _cleanup_close_ int fd =
        is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "--from-tar %s", path);
    if (S_ISDIR(st.st_mode))
        return err_set(err, EISDIR, "--from-tar %s is a folder; that is what --from-dir takes",
                       path);
    text_clean(what + strlen(what), sizeof what - strlen(what), path, SIZE_MAX);
    transfer_start(&feed.transfer, what, S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0);
    int rc = unpack_start(&feed.unpack, &spec, err);
    if (rc < 0)
        return rc;
    rc = feed_finish(&feed, file_feed(&feed, fd, path, err), err);
    if (rc == 0)
        rc = image_archive_refuse(target_fd, path, err);
    return rc < 0 && rc != -EINTR ? err_wrap(err, "--from-tar %s", path) : rc;
}

/* Folders that an image is to have, of its configuration. */
struct folders {
    const char *path[OCI_VOLUMES_MAX + 1]; /* borrowed */
    size_t count;
};

static void folder_add(struct folders *folders, const char *path)
{
    if (path && path[strspn(path, "/")])
        folders->path[folders->count++] = path;
}

/* The working directory, and where the image's maker meant volumes to be. */
static int folders_take(struct folders *folders, const json_t *configuration, const json_t *config,
                        struct err *err)
{
    json_t *volumes = json_object_get(json_object_get(configuration, "config"), "Volumes"), *value;
    const char *path;

    folders->count = 0;
    folder_add(folders, json_string_value(json_object_get(config, "workdir")));
    if (!volumes || json_is_null(volumes))
        return 0;
    if (!json_is_object(volumes) || json_object_size(volumes) > OCI_VOLUMES_MAX)
        return err_set(err, EINVAL,
                       "the image's configuration has 'Volumes' that are no object of at most %d",
                       OCI_VOLUMES_MAX);
    json_object_foreach(volumes, path, value)
    {
        folder_add(folders, path);
    }
    return 0;
}

static int layers_unpack(const struct oci_layout *layout, const struct folders *folders,
                         int target_fd, struct err *err)
{
    uint64_t lengths[OCI_LAYERS_MAX], total = 0;
    struct unpack_spec spec = { .what = UNPACK_LAYERS,
                                .target_fd = target_fd,
                                .walls = CONFINE_ALL,
                                .layer_bytes = lengths,
                                .layer_count = layout->layer_count,
                                .folders = folders->path,
                                .folder_count = folders->count };
    struct feed feed = { .unpack.fd = -1 };

    for (size_t i = 0; i < layout->layer_count; i++) {
        lengths[i] = layout->layers[i].bytes;
        total += lengths[i];
    }
    transfer_start(&feed.transfer, "unpacking layers", total);
    int rc = unpack_start(&feed.unpack, &spec, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < layout->layer_count && rc == 0; i++)
        rc = oci_blob_read(layout->fd, &layout->layers[i], feed_bytes, &feed, err);
    return feed_finish(&feed, rc, err);
}

int image_unpack_oci(const char *layout_name, int target_fd, json_t **ret_config, struct err *err)
{
    _cleanup_oci_layout_ struct oci_layout layout;
    _cleanup_json_ json_t *config = NULL;
    struct folders folders;
    int rc = oci_layout_open(&layout, layout_name, err);

    if (rc == 0)
        rc = oci_config_take(layout.config, &config, err);
    if (rc == 0)
        rc = folders_take(&folders, layout.config, config, err);
    if (rc == 0)
        rc = layers_unpack(&layout, &folders, target_fd, err);
    if (rc == 0)
        *ret_config = take_pointer(&config);
    return rc < 0 && rc != -EINTR ? err_wrap(err, "--from-oci %s", layout_name) : rc;
}
