/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what all monitors have in common; see peer.h. */
#include "peers/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "client.h"
#include "default_cmdline.h"
#include "snapshot/host.h"

#define CALL_TIMEOUT_MS 120000u
#define SOCKET_TIMEOUT_NS (60 * NS_PER_S)
#define SOCKET_PAUSE_US 200u
#define OUTPUT_BYTES (1 << 20) /* of a guest that nobody listens to for a while */

/* ---- A VM ---- */

void peer_socket_name(struct peer_vm *vm)
{
    static atomic_uint count;

    snprintf(vm->socket, sizeof vm->socket, "%s/peer-%u.sock", vm->peer->bench->options.work_dir,
             atomic_fetch_add(&count, 1));
}

int peer_start(struct peer_vm *vm, const char *const *argv, enum speaker_stream stream,
               const char *answer, struct err *err)
{
    int rc = speaker_start(&vm->speaker, vm->peer->bench, argv, stream, "peers.log", err);

    vm->answer = answer;
    if (rc == 0)
        (void)fcntl(vm->speaker.output, F_SETPIPE_SZ, OUTPUT_BYTES);
    return rc;
}

static int wait_for_answer(struct peer_vm *vm, struct err *err)
{
    return speaker_wait(&vm->speaker, vm->answer, PEER_TIMEOUT_NS, &vm->answer_ns, err);
}

static int run(struct peer_vm *vm, const struct peer *peer,
               int (*begin)(struct peer_vm *vm, struct err *err), const char *doing,
               struct err *err)
{
    *vm = (struct peer_vm){ .peer = peer, .speaker.output = -1 };
    int rc = begin(vm, err);
    if (rc == 0)
        rc = wait_for_answer(vm, err);
    if (rc < 0) {
        peer_vm_end(vm);
        return err_wrap(err, "%s (see peers.log in the work directory)", doing);
    }
    return 0;
}

int peer_vm_boot(struct peer_vm *vm, const struct peer *peer, struct err *err)
{
    return run(vm, peer, peer->ops->boot, "booting", err);
}

int peer_vm_load(struct peer_vm *vm, const struct peer *peer, struct err *err)
{
    return run(vm, peer, peer->ops->load, "restoring", err);
}

void peer_vm_end(struct peer_vm *vm)
{
    if (!vm->peer)
        return;
    speaker_end(&vm->speaker);
    if (vm->socket[0])
        unlink(vm->socket);
}

/* ---- Its memory ---- */

static uint64_t private_bytes_of(pid_t pid)
{
    char path[64], line[256];
    uint64_t kib, bytes = 0;

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "Private_Dirty: %" SCNu64, &kib) == 1)
            bytes += kib << 10;
    }
    if (file)
        fclose(file);
    return bytes;
}

uint64_t peer_vm_private_bytes(const struct peer_vm *vm)
{
    pid_t pid = vm->speaker.process.pid, child;
    uint64_t bytes = private_bytes_of(pid);
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *children = fopen(path, "re");
    while (children && fscanf(children, "%d", &child) == 1)
        bytes += private_bytes_of(child);
    if (children)
        fclose(children);
    return bytes;
}

/* ---- Its API ---- */

static int try_to_connect(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(address.sun_path, path, strnlen(path, sizeof address.sun_path - 1));
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    return take_fd(&fd);
}

int peer_connect(const struct peer_vm *vm, struct err *err)
{
    uint64_t deadline_ns = now_ns() + SOCKET_TIMEOUT_NS;

    for (;;) {
        int fd = try_to_connect(vm->socket);
        if (fd >= 0)
            return fd;
        if ((fd != -ENOENT && fd != -ECONNREFUSED) || now_ns() >= deadline_ns)
            return err_set_errno(err, -fd, "connecting to its API socket");
        siginfo_t ended = { 0 };
        if (waitid(P_PID, (id_t)vm->speaker.process.pid, &ended, WEXITED | WNOHANG | WNOWAIT) < 0 ||
            ended.si_pid)
            return err_set(err, ECHILD, "it ended before its API socket was there");
        usleep(SOCKET_PAUSE_US);
    }
}

int peer_call(const struct peer_vm *vm, const char *method, const char *path, json_t *body,
              struct err *err)
{
    _cleanup_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct client_response response = { 0 };
    struct client client = { .fd = peer_connect(vm, err) };

    json_decref(body);
    if (client.fd < 0)
        return client.fd;
    memcpy(client.socket_path, vm->socket, sizeof client.socket_path);
    int rc = client_request(&client, method, path, text, CALL_TIMEOUT_MS, &response, err);
    if (rc < 0)
        err_wrap(err, "%s %s", method, path);
    else if (response.status / 100 != 2)
        rc = err_set(err, EPROTO, "%s %s: status %u: %.200s", method, path, response.status,
                     response.body ? response.body : "");
    client_response_fini(&response);
    client_fini(&client);
    return rc;
}

/* ---- The host ---- */

bool peer_is_software_only(void)
{
    struct manifest_cpu cpu = { 0 };

    host_cpu_detect_kind(&cpu);
    return cpu.software_only_kvm;
}

const char *peer_cmdline(void)
{
    return peer_is_software_only() ? DEFAULT_CMDLINE " " SOFTWARE_ONLY_CMDLINE ",cx16"
                                   : DEFAULT_CMDLINE;
}
