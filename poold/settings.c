/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the table of poold's options and how a value gets into struct config; see settings.h. */
#include "settings.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/ini.h"
#include "base/nearest.h"
#include "base/util.h"
#include "config.h"
#include "host/vm_uids.h"

#define FIELD(member) offsetof(struct config, member), sizeof(((struct config *)0)->member)
#define TEXT(member) SETTING_TEXT, FIELD(member), 0, 0
#define NUMBER(member, lo, hi) SETTING_NUMBER, FIELD(member), lo, hi
#define COUNT(member, lo, hi) SETTING_COUNT, FIELD(member), lo, hi
#define FLAG(member) SETTING_FLAG, FIELD(member), 0, 0
#define DAY_MS (24 * 3600 * 1000ull)

const struct setting settings[] = {
    { "config", TEXT(file), SETTING_ARGUMENT, "VOLT_CONFIG", "FILE",
      "/etc/volt/poold.conf; without root $XDG_CONFIG_HOME/volt/poold.conf",
      "configuration file; what is in FILE.d/*.conf comes after it" },
    { "run-dir", TEXT(run_dir), SETTING_AT_START, "VOLT_RUN_DIR", "DIR",
      "/run/volt; without root $XDG_RUNTIME_DIR/volt", "sockets and VM folders" },
    { "state-dir", TEXT(state_dir), SETTING_AT_START, "VOLT_STATE_DIR", "DIR",
      "/var/lib/volt; without root $XDG_STATE_HOME/volt", "pools, snapshots and images" },
    { "socket", TEXT(socket), SETTING_AT_START, "VOLT_SOCKET", "PATH", "RUN-DIR/poold.sock",
      "the API's socket, where the service manager does not bring it" },
    { "group", TEXT(group), SETTING_AT_START, NULL, "NAME", "unchanged",
      "group of a socket that poold makes itself, with mode 0660" },
    { "policy", TEXT(policy), SETTING_LIVE, NULL, "FILE",
      "all who can open the socket may acquire and read metrics",
      "JSON table of who may do what (docs/api.md)" },
    { "listen", TEXT(listen), SETTING_AT_START, NULL, "ADDR:PORT", "none",
      "calls of functions by TCP, too, of the callers that listen-callers names" },
    { "listen-callers", TEXT(listen_callers), SETTING_LIVE, NULL, "FILE", "none",
      "JSON table of who may call by TCP, with tokens and keys (docs/functions.md); mode 0600" },
    { "listen-cert", TEXT(listen_cert), SETTING_LIVE, NULL, "FILE", "none",
      "TLS by TCP: the certificate in PEM, with those that it was issued by behind it" },
    { "listen-key", TEXT(listen_key), SETTING_LIVE, NULL, "FILE", "none",
      "its key in PEM, for root or poold's user and their group alone" },
    { "listen-plain", FLAG(listen_plain), SETTING_AT_START, NULL, NULL, "no",
      "without TLS on addresses that others reach, too: tokens are readable on the way" },
    { "volt-vmm", TEXT(vms.volt_vmm), SETTING_AT_START, NULL, "PATH", "beside poold",
      "the volt-vmm program" },
    { "volt-gate", TEXT(volt_gate), SETTING_AT_START, NULL, "PATH", "beside poold",
      "the volt-gate program" },
    { "volt-e2b", TEXT(volt_e2b), SETTING_AT_START, NULL, "PATH", "beside poold",
      "the volt-e2b program" },
    { "e2b", TEXT(e2b), SETTING_AT_START, NULL, "HOST:PORT", "nowhere",
      "where clients of E2B are served (docs/e2b.md); beyond this host only with e2b-keys" },
    { "e2b-keys", TEXT(e2b_keys), SETTING_AT_START, NULL, "FILE", "none are asked for",
      "their API keys, one a line" },
    { "e2b-pool", TEXT(e2b_pool), SETTING_AT_START, NULL, "NAME", "default",
      "the pool of their template \"base\"" },
    { "e2b-templates", TEXT(e2b_templates), SETTING_AT_START, NULL, "NAME=POOL,...",
      "a template is a pool of its name", "the pools of other templates of theirs" },
    { "e2b-tls-cert", TEXT(e2b_tls_cert), SETTING_AT_START, NULL, "FILE", "plain HTTP",
      "a certificate (PEM), to serve them by HTTPS" },
    { "e2b-tls-key", TEXT(e2b_tls_key), SETTING_AT_START, NULL, "FILE", "plain HTTP", "its key" },
    { "kernel", TEXT(vms.kernel), SETTING_LIVE, "VOLT_KERNEL", "FILE|auto", "auto",
      "guest kernel of new pools; auto: the installed one for this host's kind of KVM" },
    { "initrd", TEXT(vms.initrd), SETTING_LIVE, "VOLT_INITRD", "FILE", "that of the kernel",
      "initramfs of new pools" },
    { "log-level", SETTING_LEVEL, FIELD(log_level), 0, 0, SETTING_LIVE, NULL, "LEVEL", "info",
      "error, warn, info or debug" },
    { "uid-base", COUNT(uid_base, 0, 4000000000u), SETTING_AT_START, NULL, "UID", NULL,
      "as root: first of the uids and gids that VMs have; 0: none" },
    { "uid-count", COUNT(uid_count, VM_UIDS_BLOCK, 1u << 24), SETTING_AT_START, NULL, "N", NULL,
      "how many there are for all poolds of the host, who claim them in blocks of 1024" },
    { "uid-locks", TEXT(uid_locks), SETTING_AT_START, NULL, "DIR", "/run/volt-uids",
      "where they claim them" },
    { "idle-vms", FLAG(idle_vms), SETTING_AT_START, NULL, NULL, "no",
      "VMs get what others in poold's control group leave of the CPUs (cpu.idle)" },
    { "setup-timeout-ms", NUMBER(setup_timeout_ms, 1, DAY_MS), SETTING_LIVE, NULL, "N", NULL,
      "how long a clone's set-up may take" },
    { "awake-timeout-ms", NUMBER(awake_timeout_ms, 1, DAY_MS), SETTING_LIVE, NULL, "N", NULL,
      "how long a guest's answer may take" },
    { "ready-timeout-ms", NUMBER(ready_timeout_ms, 1, DAY_MS), SETTING_LIVE, NULL, "N", NULL,
      "how long a guest may take to get ready" },
    { "boot-timeout-ms", NUMBER(vms.boot_timeout_ms, 1, DAY_MS), SETTING_LIVE, NULL, "N", NULL,
      "how long a cold boot may take" },
    { "surplus-ms", NUMBER(surplus_ms, 1, DAY_MS), SETTING_LIVE, NULL, "N", NULL,
      "how long VMs beyond a pool's min are kept" },
    { "keep-ms", NUMBER(vms.keep_ms, 0, DAY_MS), SETTING_LIVE, NULL, "N", NULL,
      "how long VMs are kept for the next poold when this one was killed" },
    { "max-vms", COUNT(vms.vms_max, 0, 1000000), SETTING_LIVE, NULL, "N", NULL,
      "VMs of all pools together; 0: as many as poold has descriptors for" },
    { "max-memory-mib", NUMBER(vms.memory_max_mib, 0, 1u << 30), SETTING_LIVE, NULL, "N", NULL,
      "guest memory of all VMs together, as if each used all of its own; 0: no limit" },
    { "max-boots", COUNT(vms.boots_max, 1, 1000), SETTING_LIVE, NULL, "N", NULL,
      "cold boots at a time; pools beyond wait for theirs" },
    { "client-memory-mib", NUMBER(api.memory_per_client_mib, 0, 1u << 30), SETTING_LIVE, NULL, "N",
      NULL, "guest memory of one user's leases; 0: no limit" },
    { "client-volumes-mib", NUMBER(api.volumes_per_client_mib, 0, 1u << 30), SETTING_LIVE, NULL,
      "N", NULL, "volumes of one user who is no administrator" },
    { "lease-ttl-ms", NUMBER(api.lease_ttl_ms, 1000, 365 * DAY_MS), SETTING_LIVE, NULL, "N", NULL,
      "how long a lease is kept whose client asks for no TTL, and again while streams are open" },
    { "client-leases", COUNT(api.leases_per_client, 1, 1000000), SETTING_LIVE, NULL, "N", NULL,
      "leases of one user" },
    { "client-acquires", COUNT(api.acquires_per_client, 1, 1000000), SETTING_LIVE, NULL, "N", NULL,
      "acquires of one user that wait" },
    { "client-connections", COUNT(connections_per_client, 1, 1000000), SETTING_LIVE, NULL, "N",
      NULL, "connections of one user" },
    { "request-timeout-ms", NUMBER(request_timeout_ms, 1, DAY_MS), SETTING_LIVE, NULL, "N", NULL,
      "how long a client's request may take to be whole" },
    { "transfer-timeout-ms", NUMBER(transfer_timeout_ms, 1, DAY_MS), SETTING_LIVE, NULL, "N", NULL,
      "how long a client may take to read a reply, or to send a MiB of an image" },
    { "idle-timeout-ms", NUMBER(idle_timeout_ms, 1, DAY_MS), SETTING_LIVE, NULL, "N", NULL,
      "how long a connection may be idle between requests" },
    { "unsafe-skip-guest-work", FLAG(vms.skip_guest_work), SETTING_ARGUMENT, NULL, NULL, "no",
      "for measuring: clones share random numbers, clock and name" },
    { "stop-vms", FLAG(vms.stop_only), SETTING_ARGUMENT, NULL, NULL, "no",
      "end the VMs that a poold which was killed has left, and end" },
    { "check-config", FLAG(check_only), SETTING_ARGUMENT, NULL, NULL, "no",
      "read the configuration, say what is wrong with it, and end (exit status 78)" },
    { "version", FLAG(show_version), SETTING_ARGUMENT, NULL, NULL, "no", "print the version" },
    { "help", FLAG(show_help), SETTING_ARGUMENT, NULL, NULL, "no", "print this" },
};
const size_t setting_count = ARRAY_LEN(settings);

void settings_default(struct config *config)
{
    *config = (struct config){
        .log_level = LOG_LEVEL_INFO,
        .uid_base = 900000,
        .uid_count = 65536,
        .uid_locks = "/run/volt-uids",
        .setup_timeout_ms = 5000,
        .awake_timeout_ms = 2000,
        .ready_timeout_ms = 15000,
        .vms.boot_timeout_ms = 300000,
        .vms.boots_max = 4,
        .surplus_ms = 10000,
        .vms.keep_ms = 60000,
        .request_timeout_ms = 30000,
        .transfer_timeout_ms = 60000,
        .idle_timeout_ms = 300000,
        .api.lease_ttl_ms = 600000,
        .api.volumes_per_client_mib = 16384,
        .api.leases_per_client = 4096,
        .api.acquires_per_client = 1024,
        .connections_per_client = 1024,
    };
}

const struct setting *setting_find(const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < setting_count; i++) {
        if (strlen(settings[i].name) == name_bytes &&
            memcmp(name, settings[i].name, name_bytes) == 0)
            return &settings[i];
    }
    return NULL;
}

const char *setting_nearest(const char *name, bool file_only)
{
    struct nearest nearest = { .given = name };

    for (size_t i = 0; i < setting_count; i++) {
        if (!file_only || settings[i].use != SETTING_ARGUMENT)
            nearest_try(&nearest, settings[i].name);
    }
    return nearest.best;
}

static int parse_number(const struct setting *setting, const char *called, const char *text,
                        uint64_t *ret_value, struct err *err)
{
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno || value < setting->min ||
        value > setting->max)
        return err_set(err, EINVAL, "%s takes a number from %" PRIu64 " to %" PRIu64 ", not '%s'",
                       called, setting->min, setting->max, text);
    *ret_value = value;
    return 0;
}

static int store_number(char *field, const struct setting *setting, const char *called,
                        const char *text, struct err *err)
{
    uint64_t value = 0;
    int rc = parse_number(setting, called, text, &value, err);

    if (rc == 0 && setting->kind == SETTING_NUMBER)
        memcpy(field, &value, sizeof value);
    else if (rc == 0)
        memcpy(field, &(uint32_t){ (uint32_t)value }, sizeof(uint32_t));
    return rc;
}

int setting_store(struct config *config, const struct setting *setting, const char *called,
                  const char *text, struct err *err)
{
    char *field = (char *)config + setting->offset;
    bool flag = true;

    switch (setting->kind) {
    case SETTING_TEXT:
        if (!*text || strlen(text) >= setting->bytes)
            return err_set(err, EINVAL, "the value of %s is empty or too long", called);
        memcpy(field, text, strlen(text) + 1);
        return 0;
    case SETTING_LEVEL:
        if (log_level_parse(text, &config->log_level) < 0)
            return err_set(err, EINVAL, "%s is error, warn, info or debug, not '%s'", called, text);
        return 0;
    case SETTING_NUMBER:
    case SETTING_COUNT:
        return store_number(field, setting, called, text, err);
    case SETTING_FLAG:
        break;
    }
    if (text && !ini_parse_flag(text, &flag))
        return err_set(err, EINVAL, "%s is yes or no, not '%s'", called, text);
    memcpy(field, &flag, sizeof flag);
    return 0;
}

bool setting_equal(const struct setting *setting, const struct config *a, const struct config *b)
{
    const char *left = (const char *)a + setting->offset,
               *right = (const char *)b + setting->offset;

    return setting->kind == SETTING_TEXT ? strcmp(left, right) == 0
                                         : memcmp(left, right, setting->bytes) == 0;
}

void setting_copy(const struct setting *setting, struct config *to, const struct config *from)
{
    memcpy((char *)to + setting->offset, (const char *)from + setting->offset, setting->bytes);
}

void setting_format(const struct setting *setting, const struct config *config, char *ret_text,
                    size_t bytes)
{
    const char *field = (const char *)config + setting->offset;
    uint64_t number = 0;

    switch (setting->kind) {
    case SETTING_TEXT:
        snprintf(ret_text, bytes, "%s", *field ? field : "nothing");
        return;
    case SETTING_LEVEL:
        snprintf(ret_text, bytes, "%s", log_level_name(config->log_level));
        return;
    case SETTING_FLAG:
        snprintf(ret_text, bytes, "%s", *(const bool *)field ? "yes" : "no");
        return;
    case SETTING_NUMBER:
    case SETTING_COUNT:
        break;
    }
    memcpy(&number, field, setting->bytes); /* little-endian, as all of x86-64 */
    snprintf(ret_text, bytes, "%" PRIu64, number);
}
