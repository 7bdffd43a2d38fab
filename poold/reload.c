/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the second reading of the configuration, and where its settings go; see reload.h. */
#include "reload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/work.h"
#include "declare.h"
#include "http_limits.h"
#include "remote.h"
#include "service.h"
#include "settings.h"

#define NOTES_BYTES 2048

/* Who waits for a reload. */
struct reload_wish {
    struct list node; /* in daemon->reload_wishes, then in the reload's */
    reloaded_fn done;
    void *data;
};

struct reload {
    struct daemon *daemon;
    struct list wishes;
    struct config config;
    struct declarations declarations;
    struct access_policy *policy;
    struct remote_files remote;
    struct err err;
    char notes[NOTES_BYTES];
};

static void reload_start(struct daemon *daemon);

static void wishes_answer(struct list *wishes, const struct err *err, const char *notes)
{
    while (!list_empty(wishes)) {
        struct reload_wish *wish = list_entry(wishes->next, struct reload_wish, node);

        list_remove(&wish->node);
        if (wish->done)
            wish->done(wish->data, err, notes);
        free(wish);
    }
}

static void reload_run(void *data)
{
    struct reload *reload = data;
    const struct daemon *daemon = reload->daemon;

    if (config_load(&reload->config, &reload->declarations, daemon->argc, daemon->argv,
                    &reload->err) == 0)
        access_policy_read(reload->config.policy, &reload->policy, &reload->err);
    if (!reload->err.code)
        remote_read(&reload->config, &reload->remote, &reload->err);
}

struct http_limits daemon_http_limits(const struct daemon *daemon)
{
    return http_limits_of(&daemon->config, daemon->fds.connections_all - remote_share(daemon),
                          daemon->fds.connections_kept);
}

void daemon_settings_hold(struct daemon *daemon)
{
    const struct config *config = &daemon->config;
    const struct http_limits limits = daemon_http_limits(daemon);

    log_set_level(config->log_level);
    daemon->vms.env.timeouts = (struct pool_timeouts){
        .setup_ns = config->setup_timeout_ms * NS_PER_MS,
        .awake_ns = config->awake_timeout_ms * NS_PER_MS,
        .ready_ns = config->ready_timeout_ms * NS_PER_MS,
        .surplus_ns = config->surplus_ms * NS_PER_MS,
        .trial_ns = config->vms.boot_timeout_ms * NS_PER_MS,
    };
    vms_room_set(&daemon->vms);
    if (daemon->http) { /* not yet, at the start */
        http_set_limits(daemon->http, &limits);
        keep_set_grace(&daemon->vms.keep, config->vms.keep_ms);
    }
}

static void settings_apply(struct daemon *daemon, const struct config *config,
                           char notes[NOTES_BYTES])
{
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &settings[i];
        char was[128], is[128];
        size_t used = strlen(notes);

        if (setting->use == SETTING_ARGUMENT || setting_equal(setting, &daemon->config, config))
            continue;
        setting_format(setting, &daemon->config, was, sizeof was);
        setting_format(setting, config, is, sizeof is);
        if (setting->use == SETTING_LIVE) {
            log_info("reload: %s is %s now, it was %s", setting->name, is, was);
            setting_copy(setting, &daemon->config, config);
        } else {
            log_warn("reload: %s stays %s until poold is started again, with %s", setting->name,
                     was, is);
            snprintf(notes + used, NOTES_BYTES - used,
                     "%s stays %s until poold is started again, with %s\n", setting->name, was, is);
        }
    }
    memcpy(daemon->config.vms.plain_initrd, config->vms.plain_initrd,
           sizeof config->vms.plain_initrd);
    daemon_settings_hold(daemon);
}

static void reload_done(void *data)
{
    struct reload *reload = data;
    struct daemon *daemon = reload->daemon;

    daemon->reload_failed = reload->err.code != 0;
    if (!reload->err.code && daemon->vms.env.stopping)
        err_set(&reload->err, ESHUTDOWN, "poold is shutting down");
    if (reload->err.code) {
        log_error("reload: %s; nothing was changed", reload->err.msg);
    } else {
        settings_apply(daemon, &reload->config, reload->notes);
        access_policy_replace(&daemon->access, reload->policy);
        reload->policy = NULL;
        remote_hold(daemon, &reload->remote);
        declared_apply(daemon, &reload->declarations);
        log_info("the configuration was read again");
    }
    daemon->reload = reload;
    reload_go_on(daemon);
}

void reload_go_on(struct daemon *daemon)
{
    struct reload *reload = daemon->reload;

    if (!reload || daemon->limit_changes > 0)
        return;
    daemon->reload = NULL;
    daemon->reloading = false;
    wishes_answer(&reload->wishes, reload->err.code ? &reload->err : NULL, reload->notes);
    service_reloaded(reload->err.code ? reload->err.msg : NULL);
    access_policy_free(reload->policy);
    remote_files_free(&reload->remote);
    declarations_fini(&reload->declarations);
    free(reload);
    if (!list_empty(&daemon->reload_wishes))
        reload_start(daemon);
    turn_schedule(&daemon->turn);
}

static void reload_start(struct daemon *daemon)
{
    struct reload *reload = calloc(1, sizeof *reload);
    struct err err;

    if (reload) {
        reload->daemon = daemon;
        list_init(&reload->wishes);
        list_take_all(&reload->wishes, &daemon->reload_wishes);
        if (work_start(&daemon->loop, reload_run, reload_done, reload) == 0) {
            daemon->reloading = true;
            service_reloading();
            return;
        }
        list_take_all(&daemon->reload_wishes, &reload->wishes);
        free(reload);
    }
    err_set(&err, ENOMEM, "out of memory");
    wishes_answer(&daemon->reload_wishes, &err, "");
}

void daemon_reload(struct daemon *daemon, reloaded_fn done, void *data)
{
    struct reload_wish *wish = calloc(1, sizeof *wish);
    struct err err;

    if (!wish) {
        err_set(&err, ENOMEM, "out of memory");
        if (done)
            done(data, &err, "");
        return;
    }
    wish->done = done;
    wish->data = data;
    list_append(&daemon->reload_wishes, &wish->node);
    if (!daemon->reloading)
        reload_start(daemon);
}
