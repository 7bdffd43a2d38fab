/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's microvm machine, by its machine protocol (QMP, docs/interop/qmp-spec.txt): a snapshot is a
 * migration to a file. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "client.h"
#include "peers/peer.h"
#include "snapshot/host.h"

#define QMP_LINE_BYTES 65536
#define MIGRATION_TIMEOUT_NS (120 * NS_PER_S)
#define MIGRATION_PAUSE_US 5000u

/* What KVM alone can't emulate is not shown to the guest. On AMD, QEMU 7.2 dies of an MSR of Intel's
 * unless it is told that there is none. */
const char *peer_qemu_cpu(void)
{
    struct manifest_cpu cpu = { 0 };

    host_cpu_detect_kind(&cpu);
    if (!cpu.software_only_kvm)
        return "host";
    return strcmp(cpu.vendor, "AuthenticAMD") == 0 ? "host,-cx16,-popcnt,-arch-capabilities"
                                                   : "host,-cx16,-popcnt";
}

static int start(struct peer_vm *vm, const char *incoming, struct err *err)
{
    const struct peer *peer = vm->peer;
    char memory[32], qmp[160];

    peer_socket_name(vm);
    snprintf(memory, sizeof memory, "%llu", (unsigned long long)(peer->ram_bytes >> 20));
    snprintf(qmp, sizeof qmp, "unix:%s,server=on,wait=off", vm->socket);
    const char *const argv[] = { peer->program,
                                 PEER_QEMU_MICROVM(memory),
                                 "-qmp",
                                 qmp,
                                 "-kernel",
                                 peer->bench->options.kernel,
                                 "-initrd",
                                 peer->initrd,
                                 "-append",
                                 peer_cmdline(),
                                 incoming ? "-incoming" : NULL,
                                 incoming,
                                 NULL };
    return peer_start(vm, argv, SPEAKER_STDOUT, PEER_ANSWER, err);
}

static int boot(struct peer_vm *vm, struct err *err)
{
    return start(vm, NULL, err);
}

static int load(struct peer_vm *vm, struct err *err)
{
    char from[PEER_PATH_BYTES + 32];

    snprintf(from, sizeof from, "exec:cat '%s/migration'", vm->peer->dir);
    return start(vm, from, err);
}

/* ---- Its machine protocol ---- */

/* The reply to a command; what is only told meanwhile (events, the greeting) is passed over. */
static int read_reply(FILE *qmp, json_t **ret_value, struct err *err)
{
    _cleanup_free_ char *line = malloc(QMP_LINE_BYTES);

    while (line && fgets(line, QMP_LINE_BYTES, qmp)) {
        json_t *message = json_loads(line, 0, NULL);
        const char *why = NULL;

        json_t *value = json_object_get(message, "return");
        if (value) {
            *ret_value = json_incref(value);
            json_decref(message);
            return 0;
        }
        int rc = 0;
        if (!message)
            rc = err_set(err, EPROTO, "QMP: no JSON: %.80s", line);
        else if (json_unpack(message, "{s:{s:s}}", "error", "desc", &why) == 0)
            rc = err_set(err, EPROTO, "QMP: %.200s", why);
        json_decref(message);
        if (rc < 0)
            return rc;
    }
    return err_set(err, ECONNRESET, "QMP: no reply came");
}

static int execute(FILE *qmp, const char *command, const char *uri, json_t **ret_value,
                   struct err *err)
{
    json_t *value = NULL;
    json_t *message = uri ? json_pack("{s:s, s:{s:s}}", "execute", command, "arguments", "uri", uri)
                          : json_pack("{s:s}", "execute", command);
    _cleanup_free_ char *text = json_dumps(message, JSON_COMPACT);

    json_decref(message);
    int rc = text ? client_send_all(fileno(qmp), text, strlen(text)) : -ENOMEM;
    if (rc < 0)
        return err_set_errno(err, -rc, "QMP: sending %s", command);
    rc = read_reply(qmp, &value, err);
    if (rc < 0)
        return err_wrap(err, "%s", command);
    if (ret_value)
        *ret_value = value;
    else
        json_decref(value);
    return 0;
}

static int await_migration(FILE *qmp, struct err *err)
{
    uint64_t deadline_ns = now_ns() + MIGRATION_TIMEOUT_NS;

    while (now_ns() < deadline_ns) {
        json_t *info = NULL;
        const char *status = "none";
        int rc = execute(qmp, "query-migrate", NULL, &info, err);

        if (rc < 0)
            return rc;
        json_unpack(info, "{s:s}", "status", &status);
        bool done = strcmp(status, "completed") == 0, failed = strcmp(status, "failed") == 0;
        json_decref(info);
        if (done)
            return 0;
        if (failed)
            return err_set(err, EIO, "the migration failed");
        usleep(MIGRATION_PAUSE_US);
    }
    return err_set(err, ETIMEDOUT, "the migration did not end");
}

static int save(struct peer_vm *vm, struct err *err)
{
    char to[PEER_PATH_BYTES + 32];
    int fd = peer_connect(vm, err);

    if (fd < 0)
        return fd;
    FILE *qmp = fdopen(fd, "r");
    if (!qmp) {
        close(fd);
        return err_set_errno(err, ENOMEM, "QMP");
    }
    snprintf(to, sizeof to, "exec:cat > '%s/migration'", vm->peer->dir);
    int rc = execute(qmp, "qmp_capabilities", NULL, NULL, err);
    /* Not stopped before: what is loaded would stay so. */
    if (rc == 0)
        rc = execute(qmp, "migrate", to, NULL, err);
    if (rc == 0)
        rc = await_migration(qmp, err);
    fclose(qmp);
    return rc;
}

const struct peer_ops peer_qemu = { .boot = boot, .save = save, .load = load };
