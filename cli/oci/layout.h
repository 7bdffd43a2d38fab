/* SPDX-License-Identifier: Apache-2.0 */
/* An OCI image layout (image-layout.md of the OCI image specification 1.1): from a folder and a tag
 * to the layers of one image.
 *
 * Nothing in it is believed before its digest was checked, but for index.json, which names the
 * digests: a layout is what its maker says it is. One thread.
 */
#ifndef VOLT_CLI_OCI_LAYOUT_H
#define VOLT_CLI_OCI_LAYOUT_H

#include "blob.h"

#define OCI_LAYERS_MAX 512u
#define OCI_VOLUMES_MAX 256

struct oci_layout {
    int fd;
    json_t *config; /* the image's configuration */
    struct oci_blob *layers;
    size_t layer_count;
};

/* Opens "DIR" or "DIR:TAG". Without a tag it is the image called latest, or the only one. Of an image
 * for several machines, the one for linux on amd64 is taken. 0, or -errno with a sentence: -ENOENT
 * lists the tags there are. */
int oci_layout_open(struct oci_layout *layout, const char *dir_and_tag, struct err *err);
void oci_layout_close(struct oci_layout *layout);
#define _cleanup_oci_layout_ __attribute__((cleanup(oci_layout_close)))

#endif
