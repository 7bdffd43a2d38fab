/* SPDX-License-Identifier: Apache-2.0 */
/* Owns how the gateway's settings are read; see e2b.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/util.h"
#include "e2b.h"

#define LISTEN_BACKLOG 1024
#define DEFAULT_TEMPLATE "base" /* what E2B's clients ask for when nothing is said */

static bool port_parse(const char *text, uint16_t *ret_port)
{
    char *end;
    unsigned long port = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || port > UINT16_MAX)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

int e2b_address_parse(struct e2b_settings *settings, const char *text, struct err *err)
{
    const char *colon = strrchr(text, ':');
    const char *host = colon ? text : "127.0.0.1";
    size_t bytes = colon ? (size_t)(colon - text) : strlen(host);
    uint8_t binary[16];

    if (bytes > 2 && host[0] == '[' && host[bytes - 1] == ']') {
        host++;
        bytes -= 2;
    }
    if (bytes >= sizeof settings->address || !port_parse(colon ? colon + 1 : text, &settings->port))
        return err_set(err, EINVAL, "an address is HOST:PORT, such as 127.0.0.1:3000, not '%s'",
                       text);
    snprintf(settings->address, sizeof settings->address, "%.*s", (int)bytes, host);
    if (strcmp(settings->address, "localhost") == 0)
        snprintf(settings->address, sizeof settings->address, "127.0.0.1");
    if (inet_pton(AF_INET, settings->address, binary) != 1 &&
        inet_pton(AF_INET6, settings->address, binary) != 1)
        return err_set(err, EINVAL, "'%s' is no IP address to listen at", settings->address);
    return 0;
}

static bool name_is_good(const char *name, size_t bytes)
{
    return bytes > 0 && bytes < E2B_NAME_BYTES &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/") >=
               bytes;
}

bool e2b_pool_is_good(const char *name)
{
    return *name && strlen(name) < E2B_NAME_BYTES &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == strlen(name);
}

int e2b_pool_parse(struct e2b_settings *settings, const char *text, struct err *err)
{
    if (!e2b_pool_is_good(text))
        return err_set(err, EINVAL, "no pool can have the name '%.80s'", text);
    settings->pool = text;
    return 0;
}

int e2b_template_parse(struct e2b_settings *settings, const char *text, struct err *err)
{
    for (const char *at = text; *at; at += at[strcspn(at, ",")] == ',') {
        size_t bytes = strcspn(at, ","), name = strcspn(at, "=,");
        struct e2b_template *template = &settings->templates[settings->template_count];

        if (settings->template_count == E2B_TEMPLATES_MAX)
            return err_set(err, EINVAL, "there may be %d templates", E2B_TEMPLATES_MAX);
        if (name >= bytes || !name_is_good(at, name) || bytes - name > E2B_NAME_BYTES)
            return err_set(err, EINVAL, "a template is NAME=POOL, not '%.*s'", (int)bytes, at);
        snprintf(template->name, sizeof template->name, "%.*s", (int)name, at);
        snprintf(template->pool, sizeof template->pool, "%.*s", (int)(bytes - name - 1),
                 at + name + 1);
        if (!e2b_pool_is_good(template->pool))
            return err_set(err, EINVAL,
                           "a template is NAME=POOL, and no pool can have the name '%s'",
                           template->pool);
        settings->template_count++;
        at += bytes;
    }
    return 0;
}

/* Takes a line without its end. False: it is no key. */
static bool key_take(struct e2b_settings *settings, char *line)
{
    size_t bytes = strcspn(line, "\r\n");

    line[bytes] = '\0';
    if (!bytes || line[0] == '#')
        return true;
    if (bytes >= E2B_KEY_BYTES || settings->key_count == E2B_KEYS_MAX)
        return false;
    for (size_t i = 0; i < bytes; i++)
        if (line[i] <= ' ' || line[i] > '~')
            return false;
    memset(settings->keys[settings->key_count], 0, E2B_KEY_BYTES);
    memcpy(settings->keys[settings->key_count++], line, bytes);
    return true;
}

int e2b_keys_read(struct e2b_settings *settings, const char *path, struct err *err)
{
    FILE *file = fopen(path, "re");
    char line[2 * E2B_KEY_BYTES];
    unsigned number = 0;
    struct stat st;
    int rc = 0;

    if (!file || fstat(fileno(file), &st) < 0) {
        rc = err_set_errno(err, errno, "can't read the keys of '%s'", path);
    } else if (st.st_mode & 077 || (st.st_uid != 0 && st.st_uid != geteuid())) {
        rc = err_set(err, EPERM,
                     "others may read or write '%s', which has keys: chmod 600, and a file of your "
                     "own",
                     path);
    }
    while (rc == 0 && fgets(line, sizeof line, file)) {
        number++;
        if (!key_take(settings, line))
            rc = err_set(err, EINVAL,
                         "%s:%u: a key is a line of at most %d visible characters, and there may "
                         "be %d",
                         path, number, E2B_KEY_BYTES - 1, E2B_KEYS_MAX);
    }
    if (file)
        fclose(file);
    if (rc == 0 && settings->key_count == 0)
        rc = err_set(err, EINVAL, "there is no key in '%s'", path);
    return rc;
}

int e2b_listen(struct e2b_settings *settings, struct err *err)
{
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } address = { .any.sa_family = strchr(settings->address, ':') ? AF_INET6 : AF_INET };
    bool six = address.any.sa_family == AF_INET6;
    socklen_t bytes = six ? sizeof address.six : sizeof address.four;
    const int one = 1;

    *(six ? &address.six.sin6_port : &address.four.sin_port) = htons(settings->port);
    inet_pton(address.any.sa_family, settings->address,
              six ? (void *)&address.six.sin6_addr : (void *)&address.four.sin_addr);
    int fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set_errno(err, errno, "can't make a socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, &address.any, bytes) < 0 || listen(fd, LISTEN_BACKLOG) < 0 ||
        getsockname(fd, &address.any, &bytes) < 0) {
        err_set_errno(err, errno, "can't listen at %s port %u", settings->address, settings->port);
        close(fd);
        return -err->code;
    }
    settings->port = ntohs(six ? address.six.sin6_port : address.four.sin_port);
    settings->listen_fd = fd;
    return 0;
}

bool e2b_is_local(const struct e2b_settings *settings)
{
    return strncmp(settings->address, "127.", 4) == 0 || strcmp(settings->address, "::1") == 0;
}

const char *e2b_pool_of(const struct e2b_settings *settings, const char *template_id)
{
    for (unsigned i = 0; i < settings->template_count; i++)
        if (strcmp(settings->templates[i].name, template_id) == 0)
            return settings->templates[i].pool;
    return strcmp(template_id, DEFAULT_TEMPLATE) == 0 ? settings->pool : template_id;
}
