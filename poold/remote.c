/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the daemon's server for callers by TCP; see remote.h. */
#include "remote.h"

#include <errno.h>

#include "base/log.h"
#include "base/util.h"
#include "http/callers.h"
#include "http/http.h"
#include "listen.h"
#include "reload.h"

/* A part of all connections, so that whoever connects from afar takes none of the others'. */
#define CONNECTIONS_SHARE 4u
#define CONNECTIONS_MAX 1024u

int remote_check(const struct config *config, struct err *err)
{
    struct sockaddr_storage address;
    socklen_t bytes;
    bool loopback;

    if (!config->listen[0])
        return 0;
    if (listen_address_parse(config->listen, &address, &bytes, &loopback, err) < 0)
        return -EINVAL;
    if (!config->listen_callers[0])
        return err_set(err, EINVAL,
                       "listen needs listen-callers, the file of those who may call by TCP");
    if (!loopback && !config->listen_plain)
        return err_set(err, EINVAL,
                       "%s is reached by others than this host: there, what is sent and each token "
                       "could be read on the way; listen-plain allows it",
                       config->listen);
    return 0;
}

int remote_read(const struct config *config, struct access_policy **ret_callers, struct err *err)
{
    *ret_callers = NULL;
    return config->listen_callers[0] ? callers_read(config->listen_callers, ret_callers, err) : 0;
}

uint32_t remote_connections(const struct daemon *daemon)
{
    return daemon->config.listen[0]
               ? MIN_OF(daemon->fds.connections_all / CONNECTIONS_SHARE, CONNECTIONS_MAX)
               : 0;
}

static struct http_limits limits(const struct daemon *daemon)
{
    struct http_limits limits = daemon_http_limits(daemon);

    limits.connections_all = remote_connections(daemon);
    limits.connections_kept = 0;
    return limits;
}

static void on_schedule(void *context)
{
    struct api *api = context;

    turn_schedule(api->vms->turn);
}

int remote_start(struct daemon *daemon, struct err *err)
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
    struct access_policy *callers;
    char at[64];

    if (!daemon->config.listen[0] || daemon->config.vms.stop_only)
        return 0;
    if (remote_read(&daemon->config, &callers, err) < 0)
        return -err->code;
    access_init_callers(&daemon->callers, callers);
    if (listen_tcp(&http.listener, daemon->config.listen, at, err) < 0 ||
        http_create(&daemon->remote, &http, err) < 0)
        return -err->code;
    log_info("functions are called by TCP at %s, by %u callers", at,
             callers ? callers->rule_count : 0);
    return 0;
}

void remote_hold(struct daemon *daemon, struct access_policy *callers)
{
    const struct http_limits now = limits(daemon);

    if (!daemon->remote) {
        access_policy_free(callers);
        return;
    }
    access_policy_replace(&daemon->callers, callers);
    http_set_limits(daemon->remote, &now);
}

void remote_flush(struct daemon *daemon)
{
    if (daemon->remote)
        http_flush(daemon->remote);
}

void remote_stop(struct daemon *daemon)
{
    if (daemon->remote)
        http_stop(daemon->remote);
}

unsigned remote_open_requests(const struct daemon *daemon)
{
    return daemon->remote ? http_open_requests(daemon->remote) : 0;
}

void remote_fini(struct daemon *daemon)
{
    http_destroy(daemon->remote);
    if (daemon->callers.of_callers)
        access_fini(&daemon->callers);
}
