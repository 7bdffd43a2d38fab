/* SPDX-License-Identifier: Apache-2.0 */
/* Loading kernel modules: see modules.h. */
#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "system.h"
#include "text.h"

#define LIST_BYTES 4096

static int module_load(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), status;

    if (fd < 0)
        return errno;
    status = syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST ? errno : 0;
    close(fd);
    return status;
}

static void module_load_or_complain(const char *name, size_t length)
{
    char buffer[256];
    struct text path;
    struct fail fail;
    int status;

    text_init(&path, buffer, sizeof(buffer));
    text_add(&path, MODULES_FOLDER);
    text_add_bytes(&path, name, length);
    status = module_load(buffer);
    if (status == 0)
        return;
    fail_set_errno(&fail, status, "volt-init: can't load the kernel module", buffer);
    console_write(fail.sentence);
    console_write("\n");
}

void modules_load(void)
{
    char list[LIST_BYTES], *end;
    int fd = open(MODULES_LIST, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? 0 : read(fd, list, sizeof(list) - 1);

    if (fd >= 0)
        close(fd);
    list[count > 0 ? count : 0] = '\0';
    for (char *name = list; (end = strchr(name, '\n')); name = end + 1)
        module_load_or_complain(name, (size_t)(end - name));
}
