/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the way from an image's archive to an OCI layout; see image_archive.h. */
#include "image_archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "program.h"

#define BLOCK_BYTES 512
#define SIZE_AT 124
#define MAGIC_AT 257
#define MEMBERS_MAX 4096 /* that are looked at: an archive's own files come first or last */

/* ---- What a file is ---- */

/* What the names at the top of a tar file tell. Only names and sizes of plain headers are read: what
 * is odd is skopeo's to refuse. */
static const char *transport_of(int fd)
{
    const char *found = NULL;
    char header[BLOCK_BYTES];
    off_t at = 0;

    for (unsigned i = 0; i < MEMBERS_MAX; i++) {
        if (pread(fd, header, sizeof header, at) != sizeof header ||
            memcmp(header + MAGIC_AT, "ustar", 5) != 0)
            break;
        header[SIZE_AT + 11] = '\0';
        header[99] = '\0';
        unsigned long long size = strtoull(header + SIZE_AT, NULL, 8);
        const char *name = strncmp(header, "./", 2) == 0 ? header + 2 : header;

        if (strcmp(name, "manifest.json") == 0)
            return "docker-archive"; /* docker's have the other file, too */
        if (strcmp(name, "oci-layout") == 0)
            found = "oci-archive";
        if (size > INT64_MAX / 2)
            break;
        at += BLOCK_BYTES + (off_t)((size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES);
    }
    return found;
}

/* "FILE" or "FILE:TAG" into "TRANSPORT:FILE[:TAG]". 0: it is no file. */
static int file_look(const char *source, char ret_name[PATH_MAX], struct err *err)
{
    char path[PATH_MAX];
    struct stat st;

    snprintf(path, sizeof path, "%s", source);
    if (stat(path, &st) < 0) {
        char *colon = strrchr(path, ':');

        if (!colon || strchr(colon, '/'))
            return 0;
        *colon = '\0';
        if (stat(path, &st) < 0)
            return 0;
    }
    if (!S_ISREG(st.st_mode))
        return 0;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "%s", path);
    const char *transport = transport_of(fd);
    if (!transport)
        return err_set(err, EINVAL,
                       "%s is no archive of an image that can be recognised; say which one: "
                       "docker-archive:FILE or oci-archive:FILE",
                       path);
    return snprintf(ret_name, PATH_MAX, "%s:%s", transport, source) < PATH_MAX
               ? 1
               : err_set_errno(err, ENAMETOOLONG, "%.60s...", source);
}

static bool has_transport(const char *source)
{
    static const char *const transports[] = { "docker-archive:", "oci-archive:", "dir:" };

    for (size_t i = 0; i < ARRAY_LEN(transports); i++) {
        if (strncmp(source, transports[i], strlen(transports[i])) == 0)
            return true;
    }
    return false;
}

/* ---- skopeo ---- */

/* No signature is asked for: who builds an image of a file has chosen it. Digests are checked by
 * skopeo, and again when the layout is read. */
static int layout_make(const char *name, const char *work, char ret_layout[PATH_MAX],
                       struct err *err)
{
    char target[PATH_MAX];

    if (snprintf(ret_layout, PATH_MAX, "%s/layout:image", work) >= PATH_MAX ||
        snprintf(target, sizeof target, "oci:%s", ret_layout) >= (int)sizeof target)
        return err_set_errno(err, ENAMETOOLONG, "%.60s...", work);
    const char *const arguments[] = { "skopeo",
                                      "--insecure-policy",
                                      "--tmpdir",
                                      work,
                                      "--override-os",
                                      "linux",
                                      "--override-arch",
                                      "amd64",
                                      "copy",
                                      "--quiet",
                                      name,
                                      target };
    const struct program skopeo = { "skopeo", work, arguments, ARRAY_LEN(arguments) };

    return program_run(&skopeo, err);
}

int image_archive_open(const char *source, const char *work, char ret_layout[PATH_MAX],
                       struct err *err)
{
    char name[PATH_MAX];
    int rc = 1;

    if (has_transport(source))
        snprintf(name, sizeof name, "%s", source);
    else
        rc = file_look(source, name, err);
    if (rc > 0)
        rc = layout_make(name, work, ret_layout, err);
    else
        return rc;
    return rc < 0 ? rc : 1;
}

int image_archive_refuse(int root_fd, const char *path, struct err *err)
{
    bool docker = faccessat(root_fd, "manifest.json", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    bool oci = faccessat(root_fd, "oci-layout", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    static const char *const roots[] = { "bin", "sbin", "usr", "etc", "lib", "init" };

    for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
        if (faccessat(root_fd, roots[i], F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            return 0;
    }
    if (!docker && !oci)
        return 0;
    return err_set(err, EINVAL,
                   "%s is an image as %s writes it, not a root file system; build it with "
                   "--from-oci %s",
                   path, docker ? "'docker save'" : "an OCI tool", path);
}
