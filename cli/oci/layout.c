/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the way from a layout and a tag to the manifest of one image; see layout.h. */
#include "layout.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "base/util.h"

#define REF_NAME "org.opencontainers.image.ref.name"
#define INDEX_DEPTH_MAX 4u
#define TAGS_BYTES 200

static const char *string_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* ---- Which manifest ---- */

static bool is_index(const char *media_type)
{
    return strcmp(media_type, "application/vnd.oci.image.index.v1+json") == 0 ||
           strcmp(media_type, "application/vnd.docker.distribution.manifest.list.v2+json") == 0;
}

/* One that says nothing of its machine is taken to fit; its configuration has the last word. */
static bool platform_fits(const json_t *descriptor)
{
    const json_t *platform = json_object_get(descriptor, "platform");

    return !platform || (strcmp(string_of(platform, "os"), "linux") == 0 &&
                         strcmp(string_of(platform, "architecture"), "amd64") == 0);
}

static const char *tag_of(const json_t *descriptor)
{
    return string_of(json_object_get(descriptor, "annotations"), REF_NAME);
}

/* "a, b and others" */
static void tags_list(const json_t *manifests, char text[TAGS_BYTES])
{
    char shown[64];
    size_t i, fill = 0;
    json_t *one;

    text[0] = '\0';
    json_array_foreach(manifests, i, one)
    {
        if (!*tag_of(one))
            continue;
        text_clean(shown, sizeof shown, tag_of(one), SIZE_MAX);
        if (fill + strlen(shown) + 16 > TAGS_BYTES) {
            snprintf(text + fill, TAGS_BYTES - fill, " and others");
            return;
        }
        fill += (size_t)snprintf(text + fill, TAGS_BYTES - fill, "%s%s", fill ? ", " : "", shown);
    }
}

/* The first one that fits; *ret_count of them do. tag NULL: any. */
static const json_t *manifest_find(const json_t *manifests, const char *tag, size_t *ret_count)
{
    const json_t *found = NULL;
    size_t i;
    json_t *one;

    *ret_count = 0;
    json_array_foreach(manifests, i, one)
    {
        if (!platform_fits(one) || (tag && strcmp(tag_of(one), tag) != 0))
            continue;
        if (!found)
            found = one;
        ++*ret_count;
    }
    return found;
}

static int manifest_choose(const json_t *index, const char *tag, const json_t **ret_descriptor,
                           struct err *err)
{
    const json_t *manifests = json_object_get(index, "manifests");
    char tags[TAGS_BYTES];
    size_t count;
    const json_t *found = manifest_find(manifests, tag ? tag : "latest", &count);

    if (!found && !tag) {
        found = manifest_find(manifests, NULL, &count);
        if (count > 1)
            found = NULL;
    }
    if (found) {
        *ret_descriptor = found;
        return 0;
    }
    tags_list(manifests, tags);
    if (json_array_size(manifests) == 0)
        return err_set(err, ENOENT, "the layout has no image");
    if (tag)
        return err_set(err, ENOENT, "the layout has no image '%s' for linux/amd64; its tags: %s",
                       tag, *tags ? tags : "none");
    return err_set(err, ENOENT, "say which image: the layout has %zu for linux/amd64; its tags: %s",
                   count, *tags ? tags : "none");
}

/* Goes down from the index to a manifest. */
static int manifest_open(int layout_fd, const char *tag, json_t **ret_manifest, struct err *err)
{
    json_t *index = NULL;
    int rc = oci_file_json(layout_fd, "index.json", &index, err);

    for (unsigned depth = 0; rc == 0; depth++) {
        const json_t *descriptor = NULL;
        struct oci_blob blob;
        json_t *inner = NULL;

        rc = manifest_choose(index, tag, &descriptor, err);
        if (rc == 0)
            rc = oci_blob_parse(&blob, descriptor, "an image of the index", err);
        if (rc == 0)
            rc = oci_blob_json(layout_fd, &blob, &inner, err);
        json_decref(index);
        index = inner;
        if (rc == 0 && !json_object_get(index, "manifests") && !is_index(blob.media_type))
            break;
        if (rc == 0 && depth == INDEX_DEPTH_MAX)
            rc = err_set(err, ELOOP, "the layout's indexes are nested too deeply");
        tag = NULL; /* only the outermost index has tags */
    }
    if (rc < 0) {
        json_decref(index);
        return rc;
    }
    *ret_manifest = index;
    return 0;
}

/* ---- What is in it ---- */

static int config_read(struct oci_layout *layout, const json_t *manifest, struct err *err)
{
    const json_t *descriptor = json_object_get(manifest, "config");
    struct oci_blob blob;
    char shown[64];
    int rc = oci_blob_parse(&blob, descriptor, "the image's configuration", err);

    if (rc == 0)
        rc = oci_blob_json(layout->fd, &blob, &layout->config, err);
    if (rc < 0)
        return rc;
    const char *machine = string_of(layout->config, "architecture");
    const char *os = string_of(layout->config, "os");
    if ((*machine && strcmp(machine, "amd64") != 0) || (*os && strcmp(os, "linux") != 0)) {
        text_clean(shown, sizeof shown, *os && strcmp(os, "linux") != 0 ? os : machine, SIZE_MAX);
        return err_set(err, ENOEXEC, "the image is for %s, not for linux/amd64", shown);
    }
    return 0;
}

/* Kinds of layer by what their media type ends with; compression is found by the first bytes. */
static bool layer_is_known(const char *media_type)
{
    static const char *const endings[] = { ".tar", ".tar+gzip", ".tar+zstd", ".tar.gzip",
                                           ".tar.zstd" };

    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        size_t bytes = strlen(media_type), ending = strlen(endings[i]);

        if (bytes > ending && strcmp(media_type + bytes - ending, endings[i]) == 0)
            return true;
    }
    return false;
}

static int layers_read(struct oci_layout *layout, const json_t *manifest, struct err *err)
{
    const json_t *list = json_object_get(manifest, "layers");
    size_t i, count = json_array_size(list);
    json_t *one;
    int rc = 0;

    if (count == 0)
        return err_set(err, EINVAL, "the image has no layers");
    if (count > OCI_LAYERS_MAX)
        return err_set(err, E2BIG, "the image has %zu layers; %u is the limit", count,
                       OCI_LAYERS_MAX);
    layout->layers = calloc(count, sizeof layout->layers[0]);
    if (!layout->layers)
        return err_set(err, ENOMEM, "out of memory");
    json_array_foreach(list, i, one)
    {
        struct oci_blob *blob = &layout->layers[i];

        rc = oci_blob_parse(blob, one, "a layer", err);
        if (rc == 0 && !layer_is_known(blob->media_type))
            rc = err_set(err, EINVAL, "layer %zu is of a kind that is not read here: '%s'", i + 1,
                         blob->media_type);
        if (rc < 0)
            return rc;
    }
    layout->layer_count = count;
    return 0;
}

/* Cuts the tag off; NULL if there is none. A folder that has the whole name is meant itself. */
static const char *tag_split(char *path)
{
    struct stat st;
    char *colon = strrchr(path, ':');

    if (!colon || strchr(colon, '/') || stat(path, &st) == 0)
        return NULL;
    *colon = '\0';
    return colon + 1;
}

int oci_layout_open(struct oci_layout *layout, const char *dir_and_tag, struct err *err)
{
    char path[PATH_MAX];
    json_t *manifest = NULL;

    *layout = (struct oci_layout){ .fd = -1 };
    if (snprintf(path, sizeof path, "%s", dir_and_tag) >= (int)sizeof path)
        return err_set_errno(err, ENAMETOOLONG, "%.60s...", dir_and_tag);
    const char *tag = tag_split(path);
    layout->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (layout->fd < 0)
        return err_set_errno(err, errno, "%s", path);
    if (faccessat(layout->fd, "oci-layout", F_OK, 0) < 0)
        return err_set(err, EINVAL, "%s is no OCI layout: it has no file oci-layout", path);
    int rc = manifest_open(layout->fd, tag, &manifest, err);
    if (rc == 0)
        rc = config_read(layout, manifest, err);
    if (rc == 0)
        rc = layers_read(layout, manifest, err);
    json_decref(manifest);
    return rc;
}

void oci_layout_close(struct oci_layout *layout)
{
    close_fd(&layout->fd);
    json_decref(layout->config);
    free(layout->layers);
    *layout = (struct oci_layout){ .fd = -1 };
}
