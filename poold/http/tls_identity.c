/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading of certificates and keys; see tls_door.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/trusted_file.h"
#include "base/util.h"
#include "http/tls_internal.h"

#define FILE_BYTES_MAX (1u << 20)

/* *ret_text is the caller's. forbidden: bits that its mode must not have. */
static int pem_read(const char *path, mode_t forbidden, gnutls_datum_t *ret_text, struct err *err)
{
    _cleanup_close_ int fd = trusted_file_open(path, err);
    _cleanup_free_ unsigned char *text = NULL;
    struct stat st;
    size_t used = 0;
    ssize_t n = 0;

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX)
        return err_set(err, EINVAL, "it is no file of at most %u bytes", FILE_BYTES_MAX);
    if (st.st_mode & forbidden)
        return err_set(err, EPERM,
                       "it is a key that others than its owner and group may open (mode %04o); "
                       "chmod 0600 it",
                       (unsigned)st.st_mode & 07777);
    text = calloc(1, (size_t)st.st_size + 1);
    while (text && used < (size_t)st.st_size &&
           (n = read(fd, text + used, (size_t)st.st_size - used)) > 0)
        used += (size_t)n;
    if (!text || n < 0)
        return err_set(err, EIO, "it can't be read");
    *ret_text = (gnutls_datum_t){ take_pointer(&text), (unsigned)used };
    return 0;
}

static int identity_make(struct tls_identity **ret_identity, const gnutls_datum_t *cert,
                         const gnutls_datum_t *key, struct err *err)
{
    struct tls_identity *identity = calloc(1, sizeof *identity);
    int rc;

    if (!identity)
        return err_set(err, ENOMEM, "out of memory");
    rc = gnutls_certificate_allocate_credentials(&identity->credentials);
    if (rc == 0)
        rc = gnutls_certificate_set_x509_key_mem2(identity->credentials, cert, key,
                                                  GNUTLS_X509_FMT_PEM, NULL, 0);
    if (rc < 0) {
        tls_identity_free(identity);
        return err_set(err, EINVAL, "they are no certificate and its key: %s", gnutls_strerror(rc));
    }
    *ret_identity = identity;
    return 0;
}

int tls_identity_load(struct tls_identity **ret_identity, const char *cert_path,
                      const char *key_path, struct err *err)
{
    gnutls_datum_t cert = { 0 }, key = { 0 };
    int rc = pem_read(cert_path, 0, &cert, err);

    if (rc < 0)
        return err_wrap(err, "the certificate %s", cert_path);
    rc = pem_read(key_path, S_IRWXO | S_IWGRP, &key, err);
    if (rc < 0)
        err_wrap(err, "the key %s", key_path);
    else if ((rc = identity_make(ret_identity, &cert, &key, err)) < 0)
        err_wrap(err, "%s and %s", cert_path, key_path);
    if (key.data)
        explicit_bzero(key.data, key.size);
    free(key.data);
    free(cert.data);
    return rc;
}

void tls_identity_free(struct tls_identity *identity)
{
    if (!identity)
        return;
    if (identity->credentials)
        gnutls_certificate_free_credentials(identity->credentials);
    free(identity);
}
