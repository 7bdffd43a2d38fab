/* SPDX-License-Identifier: Apache-2.0 */
/* Cloud Hypervisor, by its API: https://github.com/cloud-hypervisor/cloud-hypervisor, docs/. */
#include <stdio.h>

#include "base/util.h"
#include "peers/peer.h"

#define API "/api/v1/"

static int boot(struct peer_vm *vm, struct err *err)
{
    const struct peer *peer = vm->peer;
    char memory[32];

    peer_socket_name(vm);
    snprintf(memory, sizeof memory, "size=%lluM", (unsigned long long)(peer->ram_bytes >> 20));
    const char *const argv[] = {
        peer->program, "--api-socket", vm->socket,
        /* A software-only KVM has no state of nested guests that could be saved. */
        "--cpus", peer_is_software_only() ? "boot=1,nested=off" : "boot=1", "--memory", memory,
        "--kernel", peer->bench->options.kernel, "--initramfs", peer->initrd, "--cmdline",
        peer_cmdline(), "--serial", "tty", "--console", "off", NULL
    };
    return peer_start(vm, argv, SPEAKER_STDOUT, PEER_ANSWER, err);
}

static json_t *url(const struct peer *peer)
{
    return json_sprintf("file://%s", peer->dir);
}

static int save(struct peer_vm *vm, struct err *err)
{
    int rc = peer_call(vm, "PUT", API "vm.pause", NULL, err);

    return rc == 0 ? peer_call(vm, "PUT", API "vm.snapshot",
                               json_pack("{s:o}", "destination_url", url(vm->peer)), err)
                   : rc;
}

static int load(struct peer_vm *vm, struct err *err)
{
    peer_socket_name(vm);
    const char *const argv[] = { vm->peer->program, "--api-socket", vm->socket, NULL };
    int rc = peer_start(vm, argv, SPEAKER_STDOUT, PEER_ANSWER, err);
    if (rc == 0)
        rc = peer_call(vm, "GET", API "vmm.ping", NULL, err); /* it listens */
    if (rc < 0)
        return rc;
    json_t *what = json_pack("{s:o}", "source_url", url(vm->peer));
    if (vm->peer->on_demand)
        json_object_set_new(what, "memory_restore_mode", json_string("OnDemand"));
    vm->load_ns = now_ns();
    rc = peer_call(vm, "PUT", API "vm.restore", what, err);
    return rc == 0 ? peer_call(vm, "PUT", API "vm.resume", NULL, err) : rc;
}

const struct peer_ops peer_cloud_hypervisor = { .boot = boot, .save = save, .load = load };
