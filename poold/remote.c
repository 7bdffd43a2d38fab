/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the daemon's server for callers by TCP; see remote.h. */
#include "remote.h"

#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "http/callers.h"
#include "http/http.h"
#include "http_limits.h"
#include "listen.h"

/* A part of all connections, so that whoever connects from afar takes none of the others'. */
#define CONNECTIONS_SHARE 4u
#define CONNECTIONS_MAX 1024u
#define HANDSHAKE_MS 10000u

int remote_check(const struct config *config, struct err *err)
{
    struct sockaddr_storage address;
    socklen_t bytes;
    bool loopback;

    if (!config->listen_cert[0] != !config->listen_key[0])
        return err_set(err, EINVAL, "listen-cert and listen-key need each other");
    if (!config->listen[0])
        return 0;
    if (listen_address_parse(config->listen, &address, &bytes, &loopback, err) < 0)
        return -EINVAL;
    if (!config->listen_callers[0])
        return err_set(err, EINVAL,
                       "listen needs listen-callers, the file of those who may call by TCP");
    if (!loopback && !config->listen_cert[0] && !config->listen_plain)
        return err_set(err, EINVAL,
                       "%s is reached by others than this host: there, what is sent and each token "
                       "could be read on the way; listen-cert and listen-key are for TLS, and "
                       "listen-plain allows it without",
                       config->listen);
    return 0;
}

int remote_read(const struct config *config, struct remote_files *ret_files, struct err *err)
{
    int rc = 0;

    *ret_files = (struct remote_files){ 0 };
    if (config->listen_callers[0])
        rc = callers_read(config->listen_callers, &ret_files->callers, err);
    if (rc == 0 && config->listen_cert[0])
        rc = tls_identity_load(&ret_files->identity, config->listen_cert, config->listen_key, err);
    return rc;
}

void remote_files_free(struct remote_files *files)
{
    access_policy_free(files->callers);
    tls_identity_free(files->identity);
    *files = (struct remote_files){ 0 };
}

/* With TLS one has three descriptors in place of one. */
static uint32_t cost(const struct daemon *daemon)
{
    return daemon->config.listen_cert[0] ? 2 : 1;
}

static uint32_t connections(const struct daemon *daemon)
{
    return MIN_OF(daemon->fds.connections_all / CONNECTIONS_SHARE / cost(daemon), CONNECTIONS_MAX);
}

uint32_t remote_share(const struct daemon *daemon)
{
    return daemon->config.listen[0] ? connections(daemon) * cost(daemon) : 0;
}

static struct http_limits limits(const struct daemon *daemon)
{
    return http_limits_of(&daemon->config, connections(daemon), 0);
}

static void on_schedule(void *context)
{
    struct api *api = context;

    turn_schedule(api->vms->turn);
}

static void on_connected(void *data, int fd, const struct sockaddr *address)
{
    struct daemon *daemon = data;

    if (daemon->remote)
        http_take(daemon->remote, fd, address);
    else
        close(fd);
}

/* Behind a door of TLS, which listens in its place. */
static int door_open(struct daemon *daemon, struct unix_listener *listener,
                     struct tls_identity *identity, struct err *err)
{
    const struct tls_door_config config = {
        .loop = &daemon->loop,
        .listener_fd = take_fd(&listener->fd),
        .connections = connections(daemon),
        .handshake_ms = MIN_OF(daemon->config.request_timeout_ms, (uint64_t)HANDSHAKE_MS),
        .close_ms = daemon->config.transfer_timeout_ms,
        .connected = on_connected,
        .data = daemon,
    };

    return tls_door_create(&daemon->tls, &config, identity, err);
}

/* files: what is left in it is the caller's. */
static int start(struct daemon *daemon, struct remote_files *files, struct err *err)
{
    struct http_config http = {
        .loop = &daemon->loop,
        .access = &daemon->callers,
        .routes = api_remote_routes,
        .route_count = api_remote_route_count,
        .limits = limits(daemon),
        .context = &daemon->api,
        .schedule = on_schedule,
        .denied = api_remote_denied,
        .signed_body_max = FUNCTION_BODY_MAX,
    };
    char at[64];

    if (remote_read(&daemon->config, files, err) < 0)
        return -err->code;
    access_init_callers(&daemon->callers, take_pointer(&files->callers));
    if (listen_tcp(&http.listener, daemon->config.listen, at, err) < 0)
        return -err->code;
    if (files->identity &&
        door_open(daemon, &http.listener, take_pointer(&files->identity), err) < 0)
        return -err->code;
    if (http_create(&daemon->remote, &http, err) < 0)
        return -err->code;
    log_info("functions are called by TCP at %s%s, by %u callers", at,
             daemon->tls ? " with TLS" : "", daemon->callers.policy->rule_count);
    return 0;
}

int remote_start(struct daemon *daemon, struct err *err)
{
    struct remote_files files = { 0 };
    int rc;

    if (!daemon->config.listen[0] || daemon->config.vms.stop_only)
        return 0;
    rc = start(daemon, &files, err);
    remote_files_free(&files);
    return rc;
}

void remote_hold(struct daemon *daemon, struct remote_files *files)
{
    const struct http_limits now = limits(daemon);

    if (daemon->remote) {
        access_policy_replace(&daemon->callers, take_pointer(&files->callers));
        http_set_limits(daemon->remote, &now);
    }
    if (daemon->tls && files->identity)
        tls_door_set(daemon->tls, take_pointer(&files->identity));
    else if (daemon->remote && !daemon->tls != !files->identity)
        log_warn("TLS for callers by TCP begins and ends with a restart of poold");
    remote_files_free(files);
}

void remote_flush(struct daemon *daemon)
{
    if (daemon->remote)
        http_flush(daemon->remote);
}

void remote_stop(struct daemon *daemon)
{
    if (daemon->tls)
        tls_door_stop(daemon->tls);
    if (daemon->remote)
        http_stop(daemon->remote);
}

unsigned remote_open_requests(const struct daemon *daemon)
{
    return daemon->remote ? http_open_requests(daemon->remote) : 0;
}

void remote_fini(struct daemon *daemon)
{
    http_destroy(take_pointer(&daemon->remote));
    tls_door_destroy(take_pointer(&daemon->tls));
    if (daemon->callers.of_callers)
        access_fini(&daemon->callers);
}
