/* SPDX-License-Identifier: Apache-2.0 */
/* Owns arguments in a file; see arguments.h. */
#include "base/arguments.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/util.h"

int arguments_put(char *const arguments[])
{
    _cleanup_close_ int fd = memfd_create("volt-arguments", MFD_CLOEXEC);
    uint64_t at = 0;

    if (fd < 0)
        return -errno;
    for (unsigned i = 0; arguments[i]; i++) {
        size_t bytes = strlen(arguments[i]) + 1;
        int rc = pwrite_all(fd, arguments[i], bytes, at);

        if (rc < 0)
            return rc;
        at += bytes;
    }
    return take_fd(&fd);
}

/* The file's strings, in one allocation; the last ends with a NUL of ours if it has none. */
static int text_read(int fd, char **ret_text, size_t *ret_bytes, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > (off_t)ARGUMENTS_BYTES_MAX)
        return err_set(err, EINVAL, ARGUMENTS_FD_OPTION " %d: no file of at most %u bytes", fd,
                       ARGUMENTS_BYTES_MAX);
    char *text = calloc(1, (size_t)st.st_size + 1);
    int rc = text ? pread_all(fd, text, (size_t)st.st_size, 0) : -ENOMEM;
    if (rc < 0) {
        free(text);
        return err_set_errno(err, -rc, ARGUMENTS_FD_OPTION " %d", fd);
    }
    *ret_text = text;
    *ret_bytes = (size_t)st.st_size;
    return 0;
}

int arguments_get(int *argc, char ***argv, int at, struct err *err)
{
    size_t bytes = 0;
    int count = at;
    char *end, *text = NULL;

    if (*argc != at + 2 || strcmp((*argv)[at], ARGUMENTS_FD_OPTION) != 0)
        return 0;
    unsigned long number = strtoul((*argv)[at + 1], &end, 10);
    if (!(*argv)[at + 1][0] || *end || number > INT32_MAX)
        return err_set(err, EINVAL, ARGUMENTS_FD_OPTION " takes the number of a file descriptor");
    int rc = text_read((int)number, &text, &bytes, err);
    if (rc < 0)
        return rc;
    close((int)number);
    char **whole =
        calloc((size_t)at + bytes + 1, sizeof *whole); /* of one byte each at the least */
    if (!whole) {
        free(text);
        return err_set(err, ENOMEM, "out of memory");
    }
    memcpy(whole, *argv, (size_t)at * sizeof *whole);
    for (char *word = text; word < text + bytes; word += strlen(word) + 1)
        whole[count++] = word;
    *argv = whole;
    *argc = count;
    return 0;
}
