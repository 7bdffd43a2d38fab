/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what a service manager is told, and what it brings; see service.h. */
#include "service.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-login.h>

#include "base/log.h"
#include "daemon.h"
#include "declare.h"

#define STARTING_EVERY_MS 2000u
/* Until the next word, which comes far sooner. */
#define STARTING_EXTENDS "EXTEND_TIMEOUT_USEC=30000000"
#define STATUS_BYTES 256

bool service_socket_take(struct unix_listener *ret_listener)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(1, &names), found = -1;

    for (int i = 0; i < count; i++) {
        int fd = SD_LISTEN_FDS_START + i;
        bool wanted = found < 0 && (count == 1 || strcmp(names[i], "api") == 0) &&
                      sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) > 0;

        if (wanted)
            found = fd;
        else
            close(fd);
        free(names[i]);
    }
    free(names);
    if (found < 0)
        return false;
    /* The manager's are blocking unless its unit says otherwise; the loop must never be. */
    fcntl(found, F_SETFL, fcntl(found, F_GETFL) | O_NONBLOCK);
    *ret_listener = (struct unix_listener){ .fd = found };
    return true;
}

/* ---- Starting ---- */

/* "pool 'default' is booting", of the first declared pool that is not made yet. */
static void starting_text(const struct daemon *daemon, char ret_text[STATUS_BYTES])
{
    snprintf(ret_text, STATUS_BYTES, "STATUS=making declared pools\n" STARTING_EXTENDS);
    LIST_FOR_EACH(at, &daemon->vms.pools)
    {
        const struct pool *pool = list_entry(at, struct pool, node);

        if (hosted_is_current(pool) && pool->state != POOL_READY && pool->state != POOL_FAILED &&
            pool->state != POOL_DRAINING) {
            snprintf(ret_text, STATUS_BYTES, "STATUS=pool '%s' is %s\n" STARTING_EXTENDS,
                     pool->name, pool_state_name(pool->state));
            return;
        }
    }
}

static void ready_text(const struct daemon *daemon, char ret_text[STATUS_BYTES])
{
    unsigned ready = 0, failed = 0;

    LIST_FOR_EACH(at, &daemon->vms.pools)
    {
        const struct pool *pool = list_entry(at, struct pool, node);

        ready += hosted_is_current(pool) && pool->state == POOL_READY;
        failed += hosted_is_current(pool) && pool->state == POOL_FAILED;
    }
    snprintf(ret_text, STATUS_BYTES, "READY=1\nSTATUS=%u pools are ready, %u have failed", ready,
             failed);
}

static void on_starting(uv_timer_t *timer)
{
    struct service *service = timer->data;
    char text[STATUS_BYTES];

    service_update(service);
    if (service->ready)
        return;
    starting_text(service->daemon, text);
    sd_notify(0, text);
}

void service_update(struct service *service)
{
    char text[STATUS_BYTES];

    /* A start that fails turns the loop while it ends what it began. */
    if (!service->daemon || service->ready || service->daemon->vms.env.stopping ||
        !declared_settled(service->daemon))
        return;
    service->ready = true;
    uv_timer_stop(&service->starting);
    ready_text(service->daemon, text);
    sd_notify(0, text);
}

/* ---- The watchdog ---- */

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    sd_notify(0, "WATCHDOG=1");
}

void service_init(struct service *service, struct daemon *daemon)
{
    uint64_t limit_us = 0;

    service->daemon = daemon;
    uv_timer_init(&daemon->loop, &service->watchdog);
    uv_timer_init(&daemon->loop, &service->starting);
    service->watchdog.data = service->starting.data = service;
    if (sd_watchdog_enabled(0, &limit_us) > 0) {
        uint64_t every_ms = MAX_OF(limit_us / 2 / 1000, 1u);

        log_debug("the service manager's watchdog is told every %" PRIu64 " ms", every_ms);
        uv_timer_start(&service->watchdog, on_watchdog, 0, every_ms);
    }
    uv_timer_start(&service->starting, on_starting, 0, STARTING_EVERY_MS);
}

/* ---- Later ---- */

void service_reloading(void)
{
    sd_notify(0, "RELOADING=1");
}

void service_reloaded(const char *error)
{
    sd_notifyf(0, "READY=1\nSTATUS=%s%s",
               error ? "the configuration was not taken: " : "the configuration was read again",
               error ? error : "");
}

void service_stopping(void)
{
    sd_notify(0, "STOPPING=1");
}

/* ---- The manager's bus ---- */

#define MANAGER_BUS "unix:path=/run/systemd/private"
#define MANAGER "org.freedesktop.systemd1"
#define BUS_TIMEOUT_US 2000000u

/* "restart", "try-restart" or what the unit's job is; "" when it has none. 0 or -errno. */
static int job_type(sd_bus *bus, const char *unit, char ret_type[STATUS_BYTES])
{
    __attribute__((cleanup(sd_bus_message_unrefp))) sd_bus_message *reply = NULL;
    char *path = NULL, *type = NULL;
    const char *job;
    int rc = sd_bus_path_encode("/org/freedesktop/systemd1/unit", unit, &path);

    ret_type[0] = '\0';
    if (rc >= 0)
        rc = sd_bus_get_property(bus, MANAGER, path, MANAGER ".Unit", "Job", NULL, &reply, "(uo)");
    free(path);
    if (rc >= 0)
        rc = sd_bus_message_read(reply, "(uo)", NULL, &job);
    if (rc < 0 || strcmp(job, "/") == 0)
        return rc < 0 ? rc : 0;
    rc = sd_bus_get_property_string(bus, MANAGER, job, MANAGER ".Job", "JobType", NULL, &type);
    if (rc >= 0)
        snprintf(ret_type, STATUS_BYTES, "%s", type);
    free(type);
    return rc < 0 ? rc : 0;
}

static int bus_open(sd_bus **ret_bus)
{
    sd_bus *bus = NULL;
    int rc = sd_bus_new(&bus);

    if (rc >= 0)
        rc = sd_bus_set_address(bus, MANAGER_BUS);
    if (rc >= 0)
        rc = sd_bus_set_method_call_timeout(bus, BUS_TIMEOUT_US);
    if (rc >= 0)
        rc = sd_bus_start(bus);
    if (rc < 0)
        sd_bus_unref(bus);
    else
        *ret_bus = bus;
    return rc;
}

bool service_restarts(void)
{
    char type[STATUS_BYTES] = "", *unit = NULL;
    sd_bus *bus = NULL;
    int rc;

    if (!getenv("NOTIFY_SOCKET"))
        return false;
    rc = sd_pid_get_unit(0, &unit);
    if (rc >= 0)
        rc = bus_open(&bus);
    if (rc >= 0)
        rc = job_type(bus, unit, type);
    if (rc < 0)
        log_warn("the service manager does not say whether this is a restart: %s", strerror(-rc));
    sd_bus_flush_close_unref(bus);
    free(unit);
    return strcmp(type, "restart") == 0 || strcmp(type, "try-restart") == 0;
}
