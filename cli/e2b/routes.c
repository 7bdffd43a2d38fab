/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the gateway's calls: what E2B's clients know of its API and of envd. */
#include "base/util.h"
#include "e2b/calls.h"

#define UNARY(path, handle)                                                                        \
    {                                                                                              \
        "POST", path, CALL_UNARY, handle, NULL                                                     \
    }
#define STREAM(path, handle)                                                                       \
    {                                                                                              \
        "POST", path, CALL_STREAM, handle, NULL                                                    \
    }
#define API(method, path, handle)                                                                  \
    {                                                                                              \
        method, path, CALL_API, handle, NULL                                                       \
    }

const struct route routes[] = {
    API("POST", "/sandboxes", call_sandbox_create),
    API("POST", "/v2/sandboxes", call_sandbox_create),
    API("GET", "/sandboxes", call_sandbox_list),
    API("GET", "/v2/sandboxes", call_sandbox_list),
    API("GET", "/sandboxes/{}", call_sandbox_show),
    API("DELETE", "/sandboxes/{}", call_sandbox_kill),
    API("POST", "/sandboxes/{}/connect", call_sandbox_connect),
    API("POST", "/v2/sandboxes/{}/connect", call_sandbox_connect),
    API("POST", "/sandboxes/{}/timeout", call_sandbox_timeout),
    API("GET", "/sandboxes/{}/metrics", call_sandbox_metrics),
    API("POST", "/sandboxes/{}/pause", call_unsupported),
    API("POST", "/sandboxes/{}/resume", call_unsupported),
    API("POST", "/sandboxes/{}/snapshots", call_unsupported),
    API("POST", "/sandboxes/{}/fork", call_unsupported),
    API("PUT", "/sandboxes/{}/network", call_unsupported),
    API("GET", "/snapshots", call_unsupported),
    API("GET", "/metrics", call_figures),

    { "GET", "/health", CALL_HEALTH, call_health, NULL },
    { "GET", "/files", CALL_FILES, call_download, NULL },
    { "POST", "/files", CALL_FILES, call_upload, call_upload_take },

    STREAM("/process.Process/Start", call_process_start),
    STREAM("/process.Process/Connect", call_process_connect),
    STREAM("/process.Process/StreamInput", call_unsupported),
    UNARY("/process.Process/List", call_process_list),
    UNARY("/process.Process/SendInput", call_process_input),
    UNARY("/process.Process/CloseStdin", call_process_close),
    UNARY("/process.Process/SendSignal", call_process_signal),
    UNARY("/process.Process/Update", call_process_update),

    UNARY("/filesystem.Filesystem/Stat", call_files_stat),
    UNARY("/filesystem.Filesystem/ListDir", call_files_list),
    UNARY("/filesystem.Filesystem/MakeDir", call_files_make),
    UNARY("/filesystem.Filesystem/Move", call_files_move),
    UNARY("/filesystem.Filesystem/Remove", call_files_remove),
    STREAM("/filesystem.Filesystem/WatchDir", call_files_watch),
    UNARY("/filesystem.Filesystem/CreateWatcher", call_watcher_create),
    UNARY("/filesystem.Filesystem/GetWatcherEvents", call_watcher_events),
    UNARY("/filesystem.Filesystem/RemoveWatcher", call_watcher_remove),
};
const size_t route_count = ARRAY_LEN(routes);
