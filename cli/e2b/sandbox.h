/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes: leases of poold's, what their clients said of them, and their processes.
 *
 * A sandbox is there from its creation until it is killed, its time is over, or its VM has ended
 * otherwise; the last is noticed when it is asked for. Who holds a reference may use its constant
 * fields; `ended` says that its VM is gone. */
#ifndef VOLT_CLI_E2B_SANDBOX_H
#define VOLT_CLI_E2B_SANDBOX_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "client.h"
#include "e2b/e2b.h"
#include "exec_config.h"

#define SANDBOX_ID_BYTES 65
#define SANDBOX_TOKEN_BYTES 33
#define SANDBOX_TIMEOUT_S 300       /* when its client says nothing */
#define SANDBOX_TIMEOUT_S_MAX 86400 /* as E2B */
#define SANDBOX_PROCESSES_MAX 64
#define SANDBOX_WATCHERS_MAX 16u
#define SANDBOX_CALLS_MAX 128u /* at a time */

struct process;
struct watcher;

struct sandbox {
    struct sandboxes *sandboxes;
    struct sandbox *next; /* in sandboxes, the youngest first */
    atomic_uint references;
    atomic_uint calls; /* that are under way */
    /* Constant. */
    uint64_t number; /* in the order of creation */
    int key;         /* whose it is: of the settings' keys; -1 without keys */
    char id[SANDBOX_ID_BYTES], token[SANDBOX_TOKEN_BYTES];
    char template_id[E2B_NAME_BYTES];
    json_t *metadata, *env; /* objects of texts */
    struct exec_config config;
    uint64_t started_ms; /* of the epoch: what clients are told */
    uint64_t started_ns; /* now_ns: what counts, as the wall clock may be set meanwhile */
    uint64_t memory_mib, vcpus;
    /* The connection that the lease is bound to. */
    pthread_mutex_t poold_lock;
    struct client poold;
    atomic_ullong end_ns; /* now_ns */
    /* The rest. */
    pthread_mutex_t lock;
    bool ended;
    bool bash_asked, bash; /* whether there is a /bin/bash (guest_command.c) */
    struct process *processes;
    uint32_t last_pid;
    pthread_mutex_t watch_lock;
    struct watcher *watchers; /* the youngest first */
    uint32_t last_watcher;
};

struct sandboxes {
    const struct e2b_settings *settings;
    pthread_mutex_t lock;
    struct sandbox *first;
    uint64_t last_number;
    atomic_uint count;
    atomic_ullong created;
};

/* What a client asks for. */
struct sandbox_wish {
    const char *template_id;
    uint32_t timeout_s;
    json_t *metadata, *env; /* borrowed; NULL: none */
    int key;
};

/* Starts the thread that removes those whose time is over. 0 or -errno. */
int sandboxes_init(struct sandboxes *sandboxes, const struct e2b_settings *settings,
                   struct err *err);

/* Waits until there is a VM. 0 and a reference; or an HTTP status, with a sentence. */
unsigned sandbox_create(struct sandboxes *sandboxes, const struct sandbox_wish *wish,
                        struct sandbox **ret_sandbox, struct err *err);
/* A reference, or NULL: there is none, or none any more. */
struct sandbox *sandbox_find(struct sandboxes *sandboxes, const char *id);
/* The one whose token `is` is true of. */
struct sandbox *sandbox_search(struct sandboxes *sandboxes,
                               bool (*is)(const struct sandbox *sandbox, void *data), void *data);
/* All of a key, the youngest first: references in an array that is the caller's (free). */
struct sandbox **sandbox_all(struct sandboxes *sandboxes, int key, size_t *ret_count);
void sandbox_put(struct sandbox *sandbox);

/* Asks poold whether its VM is still there; if not it is ended. */
bool sandbox_alive(struct sandbox *sandbox);
/* Its end is `seconds` from now; with only_later, unless it would be sooner. 0 or an HTTP status. */
unsigned sandbox_renew(struct sandbox *sandbox, uint32_t seconds, bool only_later, struct err *err);
/* Ends it and its VM. False: it was ended already. */
bool sandbox_kill(struct sandbox *sandbox);

/* Of an object with texts alone, and not too many. */
bool sandbox_texts_are_good(const json_t *object);

#endif
