/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of /etc/hosts that are volt-init's: see hosts.h.
 *
 * How it works
 *   The VM's own line is the last and has room for every hostname. The file stays mapped, so that a
 * clone's name is stored in memory, where writing a file would cost it 14 ms on a software-only KVM.
 */
#include "hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest_abi.h"
#include "system.h"

#define PATH "/etc/hosts"
#define LOCAL "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"
#define OWN "127.0.1.1 "
#define NAME_BYTES (DOORBELL_HOSTNAME_BYTES - 1)
#define LINE_BYTES (sizeof(OWN) + NAME_BYTES) /* with the line feed */
#define FILE_BYTES_MAX 1048576

static char *mapped; /* the file; NULL: it is not mapped */
static size_t mapped_bytes;
static char *own_name; /* in it */

/* Whether the file ends with a line that an earlier boot has put there. */
static bool ends_with_own(const char *text, size_t bytes)
{
    const char *line;

    if (bytes < LINE_BYTES)
        return false;
    line = text + bytes - LINE_BYTES;
    return memcmp(line, OWN, strlen(OWN)) == 0 && memcmp(line + LINE_BYTES - 2, " \n", 2) == 0 &&
           (line == text || line[-1] == '\n');
}

/* The lines that the text lacks: at most as many bytes as `added` has. */
static size_t missing_lines(const char *text, size_t bytes, char *added)
{
    size_t count = 0;

    if (ends_with_own(text, bytes))
        return 0;
    if (bytes > 0 && text[bytes - 1] != '\n')
        added[count++] = '\n';
    if (!memmem(text, bytes, "localhost", strlen("localhost"))) {
        memcpy(added + count, LOCAL, strlen(LOCAL));
        count += strlen(LOCAL);
    }
    memcpy(added + count, OWN, strlen(OWN));
    memset(added + count + strlen(OWN), ' ', NAME_BYTES);
    added[count + LINE_BYTES - 1] = '\n';
    return count + LINE_BYTES;
}

static char *map(int fd, size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return at == MAP_FAILED ? NULL : at;
}

static int prepare(int fd)
{
    char added[sizeof(LOCAL) + LINE_BYTES];
    struct stat st;
    char *text = NULL;
    size_t bytes, more;

    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size > FILE_BYTES_MAX)
        return -EFBIG;
    bytes = (size_t)st.st_size;
    if (bytes > 0 && !(text = map(fd, bytes)))
        return -errno;
    more = missing_lines(text, bytes, added);
    if (text)
        munmap(text, bytes);
    if (pwrite(fd, added, more, st.st_size) != (ssize_t)more)
        return -EIO;
    mapped_bytes = bytes + more;
    mapped = map(fd, mapped_bytes);
    if (!mapped)
        return -errno;
    own_name = mapped + mapped_bytes - NAME_BYTES - 1;
    return 0;
}

void hosts_prepare(void)
{
    int fd = open(PATH, O_RDWR | O_CREAT | O_CLOEXEC, 0644), status;
    char name[DOORBELL_HOSTNAME_BYTES] = "";
    struct fail fail;

    if (mapped)
        munmap(mapped, mapped_bytes);
    mapped = own_name = NULL;
    status = fd < 0 ? -errno : prepare(fd);
    if (fd >= 0)
        close(fd);
    if (status < 0) {
        fail_set_errno(&fail, -status, "can't put this VM's name into", PATH);
        system_complain(&fail);
        return;
    }
    gethostname(name, sizeof(name) - 1);
    hosts_set(name); /* touches the page: a clone finds it writable */
}

void hosts_set(const char *hostname)
{
    size_t bytes = strnlen(hostname, NAME_BYTES);

    if (!own_name)
        return;
    memcpy(own_name, hostname, bytes);
    memset(own_name + bytes, ' ', NAME_BYTES - bytes);
}
