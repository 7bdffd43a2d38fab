/* SPDX-License-Identifier: Apache-2.0 */
/* The API of docs/api.md: its route table, and what its parts share. Loop thread only. */
#ifndef VOLT_POOLD_API_H
#define VOLT_POOLD_API_H

#include "api/api_settings.h"
#include "api/history.h"
#include "base/log.h"
#include "functions/function.h"
#include "http/http.h"
#include "vms/vms.h"

/* err: NULL, or why nothing has changed. notes: lines on what takes a restart, "" for none. */
typedef void (*reloaded_fn)(void *data, const struct err *err, const char *notes);

/* What the API asks of the daemon that it is part of. */
struct api_ops {
    /* drain: once leases are over, at the latest after grace_ms (0: no limit). */
    void (*shutdown)(void *daemon, bool drain, uint64_t grace_ms);
    /* While it drains: until when, UINT64_MAX for no limit. */
    uint64_t (*drain_until)(const void *daemon);
    /* Reads the configuration again; done(data, ...) is called once, later or from within. */
    void (*reload)(void *daemon, reloaded_fn done, void *data);
    /* Whether it was right the last time. */
    bool (*reload_good)(const void *daemon);
};

/* lease_news.h */
struct lease_news {
    struct list slots; /* of which there is something to tell, by news_node */
    uint64_t since_ns; /* when the first of them came */
    struct log_share lines;
};

#define CLIENT_LINES_PER_SECOND 20u

/* The context of all requests; a part of the daemon. */
struct api {
    struct vms *vms;
    struct history *history;
    struct lease_news news;
    struct functions *functions;
    struct log_share client_lines; /* what else clients make poold say */
    struct list event_streams;
    struct list logs;                    /* requests for them (function_logs.c) */
    struct list pending;                 /* acquires with a key, under way (repeat.h) */
    const struct api_settings *settings; /* may change between turns */
    const char *run_dir, *state_dir;
    const char *kvm_kind; /* "hardware", "pvm", "none" */
    uint64_t started_ns;
    uint32_t upload_works; /* on the thread pool, for uploads (upload.h) */
    const struct api_ops *ops;
    void *daemon; /* of ops */
};

static inline struct api *api_of(const struct http_request *request)
{
    return request->context;
}

extern const struct route api_routes[];
extern const size_t api_route_count;

/* api_remote.c: what callers get by TCP. */
extern const struct route api_remote_routes[];
extern const size_t api_remote_route_count;
void api_remote_denied(struct http_request *request, const struct http_denial *denial);

/* api_pools.c */
void api_pools_create(struct http_request *request);
void api_pools_list(struct http_request *request);
void api_pool_show(struct http_request *request);
void api_pool_replace(struct http_request *request);
void api_pool_patch(struct http_request *request);
void api_pool_drain(struct http_request *request);
void api_pool_undrain(struct http_request *request);
void api_pool_retry(struct http_request *request);
void api_pool_delete(struct http_request *request);
/* The pool of request->param; NULL: it has replied. */
struct hosted_pool *api_pool_find(struct http_request *request, const char *name);

/* Which of the host's networks VMs may be part of is not for every administrator of pools to say.
 * False: it has replied. */
bool api_links_allowed(struct http_request *request, const struct pool_net_spec *net);

/* The code of an error of pool_make, hosted_change and their like; `other`: of what is none of these. */
enum api_error api_failure_code(int code, enum api_error other);

/* api_functions.c */
extern const struct http_body_ops api_invoke_body;
void api_functions_create(struct http_request *request);
void api_functions_list(struct http_request *request);
void api_function_show(struct http_request *request);
void api_function_delete(struct http_request *request);
void api_function_invoke(struct http_request *request); /* api_invoke.c */
extern const struct http_body_ops api_lambda_body;
void api_lambda_invoke(struct http_request *request); /* api_lambda.c */
/* What its fronts have in common: whom a request means, and AWS' kind of errors. */
void api_lambda_name(const struct http_request *request, char ret_name[POOL_NAME_BYTES]);
void api_lambda_refuse(struct http_request *request, enum api_error code, const char *sentence);
extern const struct http_body_ops api_lambda_stream_body;
void api_lambda_stream(struct http_request *request); /* api_lambda_stream.c */
/* The code of an end that is none of the function's; api_invoke.c. */
enum api_error invocation_error(enum invocation_result result);
void api_function_logs(struct http_request *request);
/* The function of that name, if its client may call it; NULL: it has replied. */
struct function *api_function_find(struct http_request *request, const char *name);
/* The same, but what is wrong comes back. */
struct function *api_function_look(struct http_request *request, const char *name,
                                   enum api_error *ret_code, char ret_sentence[ERR_MSG_BYTES]);

/* api_leases.c */
extern const struct json_table api_acquire_table, api_renew_table;
/* http_config's: a connection is kept as long as leases are bound to it, which end with it. */
bool api_connection_keeps(void *context, const struct http_connection *connection);
void api_connection_closed(void *context, const struct http_connection *connection);
void api_leases_acquire(struct http_request *request);
void api_leases_list(struct http_request *request);
void api_leases_release_all(struct http_request *request);
void api_lease_show(struct http_request *request);
void api_lease_config(struct http_request *request);
void api_lease_renew(struct http_request *request);
void api_lease_release(struct http_request *request);

/* lease_find.c */
/* The lease of request->param (a unique prefix will do) that its client may touch; NULL: it has
 * replied. */
struct slot *api_lease_find(struct http_request *request);

/* api_streams.c */
void api_lease_vsock(struct http_request *request);
void api_lease_console(struct http_request *request);
void api_lease_console_text(struct http_request *request);

/* api_snapshots.c */
void api_snapshots_list(struct http_request *request);
void api_snapshot_show(struct http_request *request);
void api_snapshot_verify(struct http_request *request);

/* api_images.c */
extern const struct http_body_ops api_image_body;
void api_image_import(struct http_request *request);
void api_images_list(struct http_request *request);
void api_image_show(struct http_request *request);
void api_image_verify(struct http_request *request);
void api_image_delete(struct http_request *request);

/* api_volumes.c */
extern const struct http_body_ops api_volume_body;
extern const struct json_table api_attach_table;
void api_volumes_list(struct http_request *request);
void api_volume_show(struct http_request *request);
void api_volume_make(struct http_request *request);
void api_volume_delete(struct http_request *request);
void api_lease_attach(struct http_request *request);
/* Ends a lease when what it wrote to volumes is in them, and replies. */
void api_lease_release_saving(struct http_request *request, struct slot *slot, uint32_t end);

/* api_events.c */
void api_events(struct http_request *request);
/* Wakes the streams that have events to write. */
void api_events_pump(struct api *api);
/* Ends them all, when what there is has been written. */
void api_events_end(struct api *api);

/* api_daemon.c */
extern const struct json_table api_shutdown_table;
void api_version(struct http_request *request);
void api_status(struct http_request *request);
void api_reload(struct http_request *request);
void api_shutdown(struct http_request *request);
void api_metrics(struct http_request *request);

#endif
