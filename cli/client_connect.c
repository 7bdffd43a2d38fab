/* SPDX-License-Identifier: Apache-2.0 */
/* Owns where poold's socket is, and the connecting to it; see client.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"
#include "client.h"

#define HOST_SOCKET "/run/volt/poold.sock"

_Static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) == 108, "client.socket_path");

static int path_format(char ret_path[108], struct err *err, const char *dir, const char *name)
{
    int n = snprintf(ret_path, 108, "%s%s%s", dir, *name ? "/" : "", name);

    if (n < 0 || n >= 108)
        return err_set(err, ENAMETOOLONG,
                       "the socket path '%s%s%s' is too long for a Unix socket (107 bytes)", dir,
                       *name ? "/" : "", name);
    return 0;
}

/* Where a poold without XDG_RUNTIME_DIR has its folder. Everybody can make one of that name. */
static void fallback_format(char ret_dir[32])
{
    snprintf(ret_dir, 32, "/tmp/volt-%u", (unsigned)geteuid());
}

static bool is_own_folder(const char *dir)
{
    struct stat st;

    return lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

int client_socket_path(const char *option, char ret_path[108], struct err *err)
{
    const char *socket_env = getenv("VOLT_SOCKET");
    const char *run_dir = getenv("VOLT_RUN_DIR");
    const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
    char own[108], fallback[32];

    if (option && *option)
        return path_format(ret_path, err, option, "");
    if (socket_env && *socket_env)
        return path_format(ret_path, err, socket_env, "");
    if (run_dir && *run_dir)
        return path_format(ret_path, err, run_dir, "poold.sock");
    if (geteuid() == 0)
        return path_format(ret_path, err, HOST_SOCKET, "");
    bool runtime = runtime_dir && *runtime_dir;
    fallback_format(fallback);
    int rc = runtime ? path_format(own, err, runtime_dir, "volt/poold.sock")
                     : path_format(own, err, fallback, "poold.sock");
    if (rc < 0)
        return rc;
    /* Without a poold of one's own, the host's, which lets in whom it lets in. */
    bool has_own = access(own, F_OK) == 0 && (runtime || is_own_folder(fallback));
    bool host = !has_own && access(HOST_SOCKET, F_OK) == 0;
    memcpy(ret_path, host ? HOST_SOCKET : own, host ? sizeof HOST_SOCKET : sizeof own);
    return 0;
}

static int connect_fail(const struct client *client, int code, struct err *err)
{
    const char *advice = "start it with 'cli/quickstart', or 'poold' by hand";

    if (code == EACCES || code == EPERM)
        return err_set(err, code,
                       "no permission to connect to poold at %s; run voltctl as the user who "
                       "started poold, or as a member of the socket's group",
                       client->socket_path);
    if (code == ENOENT || code == ECONNREFUSED)
        return err_set(err, code, "poold is not running: nothing listens at %s; %s",
                       client->socket_path, advice);
    return err_set_errno(err, code, "cannot connect to poold at %s", client->socket_path);
}

/* Whoever listens in /tmp may be anybody; elsewhere the folder's owner has seen to that. */
static int listener_check(const struct client *client, int fd, struct err *err)
{
    char fallback[32];
    struct ucred cred;
    socklen_t bytes = sizeof cred;

    fallback_format(fallback);
    if (strncmp(client->socket_path, fallback, strlen(fallback)) != 0)
        return 0;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) < 0)
        return err_set_errno(err, errno, "who listens at %s", client->socket_path);
    if (cred.uid == 0 || cred.uid == geteuid())
        return 0;
    return err_set(err, EPERM,
                   "another user (uid %u) listens at %s, where your poold would: set "
                   "XDG_RUNTIME_DIR, or say --socket PATH",
                   (unsigned)cred.uid, client->socket_path);
}

int client_connect(struct client *client, struct err *err)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return err_set_errno(err, errno, "cannot make a socket");
    memcpy(address.sun_path, client->socket_path, sizeof address.sun_path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return connect_fail(client, errno, err);
    int rc = listener_check(client, fd, err);
    if (rc < 0)
        return rc;
    client->fd = take_fd(&fd);
    client->reused = false;
    return 0;
}
