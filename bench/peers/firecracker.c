/* SPDX-License-Identifier: Apache-2.0 */
/* Firecracker, by its API: https://github.com/firecracker-microvm/firecracker, docs/. */
#include <stdio.h>

#include "base/util.h"
#include "peers/peer.h"

static int start(struct peer_vm *vm, struct err *err)
{
    peer_socket_name(vm);
    const char *const argv[] = { vm->peer->program, "--api-sock", vm->socket, NULL };
    return peer_start(vm, argv, SPEAKER_STDOUT, PEER_ANSWER, err);
}

/* "0b" and a character for each bit, 31 first: 'x' leaves it as it is. */
static json_t *bits_cleared(unsigned a, unsigned b)
{
    char text[] = "0bxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

    text[2 + 31 - a] = text[2 + 31 - b] = '0';
    return json_string(text);
}

/* CX16 and POPCNT, of CPUID leaf 1, ECX. */
static json_t *cpu_config(void)
{
    return json_pack("{s:[{s:s, s:s, s:i, s:[{s:s, s:o}]}]}", "cpuid_modifiers", "leaf", "0x1",
                     "subleaf", "0x0", "flags", 0, "modifiers", "register", "ecx", "bitmap",
                     bits_cleared(13, 23));
}

static int boot(struct peer_vm *vm, struct err *err)
{
    const struct peer *peer = vm->peer;
    int rc = start(vm, err);

    if (rc == 0)
        rc = peer_call(vm, "PUT", "/machine-config",
                       json_pack("{s:i, s:I}", "vcpu_count", 1, "mem_size_mib",
                                 (json_int_t)(peer->ram_bytes >> 20)),
                       err);
    if (rc == 0 && peer_is_software_only())
        rc = peer_call(vm, "PUT", "/cpu-config", cpu_config(), err);
    if (rc == 0)
        rc =
            peer_call(vm, "PUT", "/boot-source",
                      json_pack("{s:s, s:s, s:s}", "kernel_image_path", peer->bench->options.kernel,
                                "initrd_path", peer->initrd, "boot_args", peer_cmdline()),
                      err);
    return rc == 0 ? peer_call(vm, "PUT", "/actions",
                               json_pack("{s:s}", "action_type", "InstanceStart"), err)
                   : rc;
}

static void file_names(const struct peer *peer, char state[PEER_PATH_BYTES + 8],
                       char memory[PEER_PATH_BYTES + 8])
{
    snprintf(state, PEER_PATH_BYTES + 8, "%s/state", peer->dir);
    snprintf(memory, PEER_PATH_BYTES + 8, "%s/memory", peer->dir);
}

static int save(struct peer_vm *vm, struct err *err)
{
    char state[PEER_PATH_BYTES + 8], memory[PEER_PATH_BYTES + 8];

    file_names(vm->peer, state, memory);
    int rc = peer_call(vm, "PATCH", "/vm", json_pack("{s:s}", "state", "Paused"), err);
    return rc == 0 ? peer_call(vm, "PUT", "/snapshot/create",
                               json_pack("{s:s, s:s, s:s}", "snapshot_type", "Full",
                                         "snapshot_path", state, "mem_file_path", memory),
                               err)
                   : rc;
}

static int load(struct peer_vm *vm, struct err *err)
{
    char state[PEER_PATH_BYTES + 8], memory[PEER_PATH_BYTES + 8];
    int rc = start(vm, err);

    if (rc == 0)
        rc = peer_call(vm, "GET", "/", NULL,
                       err); /* it listens: from here on it is about the load */
    if (rc < 0)
        return rc;
    file_names(vm->peer, state, memory);
    vm->load_ns = now_ns();
    return peer_call(vm, "PUT", "/snapshot/load",
                     json_pack("{s:s, s:{s:s, s:s}, s:b}", "snapshot_path", state, "mem_backend",
                               "backend_path", memory, "backend_type", "File", "resume_vm", 1),
                     err);
}

const struct peer_ops peer_firecracker = { .boot = boot, .save = save, .load = load };
