/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of routes.c: each gives one reply (server.h). */
#ifndef VOLT_CLI_E2B_CALLS_H
#define VOLT_CLI_E2B_CALLS_H

#include "api.h"
#include "e2b/server.h"

/* sandbox_calls.c */
void call_sandbox_create(struct call *call);
void call_sandbox_list(struct call *call);
void call_sandbox_show(struct call *call);
void call_sandbox_connect(struct call *call);
void call_sandbox_timeout(struct call *call);
void call_sandbox_kill(struct call *call);
void call_sandbox_metrics(struct call *call);
void call_unsupported(struct call *call);
void call_health(struct call *call);
void call_figures(struct call *call);

/* process_calls.c */
void call_process_start(struct call *call);
void call_process_connect(struct call *call);
void call_process_list(struct call *call);
void call_process_input(struct call *call);
void call_process_close(struct call *call);
void call_process_signal(struct call *call);
void call_process_update(struct call *call);

/* files_calls.c */
void call_files_stat(struct call *call);
void call_files_list(struct call *call);
void call_files_make(struct call *call);
void call_files_move(struct call *call);
void call_files_remove(struct call *call);

/* watch_calls.c */
void call_files_watch(struct call *call);
void call_watcher_create(struct call *call);
void call_watcher_events(struct call *call);
void call_watcher_remove(struct call *call);

/* transfer_calls.c */
void call_download(struct call *call);
void call_upload(struct call *call);
void call_upload_take(struct call *call, const char *data, size_t bytes);

#endif
