/* SPDX-License-Identifier: Apache-2.0 */
/* volt-vmm without a daemon, beside the others: it boots the same guest, but restores one of its own,
 * whose answer it checks. That was saved by whoever made the image. */
#include <stdio.h>

#include "base/util.h"
#include "peers/peer.h"

static int boot(struct peer_vm *vm, struct err *err)
{
    const struct peer *peer = vm->peer;
    char memory[32];

    snprintf(memory, sizeof memory, "%lluM", (unsigned long long)(peer->ram_bytes >> 20));
    const char *const argv[] = { peer->program, "--kernel",   peer->bench->options.kernel,
                                 "--initrd",    peer->initrd, "--memory",
                                 memory,        "--console",  NULL };
    return peer_start(vm, argv, SPEAKER_STDOUT, PEER_ANSWER, err);
}

static int load(struct peer_vm *vm, struct err *err)
{
    const char *const argv[] = { vm->peer->program, "--restore", vm->peer->dir, NULL };

    return peer_start(vm, argv, SPEAKER_STDERR, "volt-vmm: awake", err);
}

static int save(struct peer_vm *vm, struct err *err)
{
    (void)vm;
    (void)err;
    return 0;
}

const struct peer_ops peer_volt = { .boot = boot, .save = save, .load = load };
