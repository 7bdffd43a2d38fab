/* SPDX-License-Identifier: Apache-2.0 */
/* Other virtual machine monitors, and volt-vmm by itself, seen as one: each boots the same guest,
 * snapshots it, and restores it, as its manual says.
 *
 * How it measures
 *   The guest's init (bench/answering_init.c) writes PEER_ANSWER to its UART from user mode, again
 *   and again. A monitor's output is a new pipe for each start, so the first PEER_ANSWER in it is
 *   the answer of the guest that was just restored. volt-vmm says itself when its guest's answer has
 *   been checked.
 *
 * Functions return 0 or -errno with a sentence that says which step failed. Any thread, for VMs of
 * its own: a monitor dies with the thread that started it. */
#ifndef VOLT_BENCH_PEER_H
#define VOLT_BENCH_PEER_H

#include <jansson.h>

#include "bench.h"
#include "speaker.h"

#define PEER_ANSWER "~"
#define PEER_TIMEOUT_NS (300 * NS_PER_S)
#define PEER_PATH_BYTES 512u

struct peer_ops;

/* A monitor with a guest of one size. Strings are borrowed. */
struct peer {
    const struct peer_ops *ops;
    struct bench *bench;
    const char *program;
    const char *initrd; /* with the answering init */
    uint64_t ram_bytes;
    bool on_demand; /* memory is to be read when it is touched, where there is a choice */
    char dir[PEER_PATH_BYTES]; /* of its snapshot; it exists */
};

struct peer_vm {
    const struct peer *peer;
    struct speaker speaker;
    const char *answer; /* what it says when the guest has answered */
    char socket[108];   /* of its API; "": none */
    uint64_t load_ns;   /* when the load was asked for; 0: by its command line */
    uint64_t answer_ns; /* CLOCK_MONOTONIC */
};

struct peer_ops {
    /* Starts it with a new guest. */
    int (*boot)(struct peer_vm *vm, struct err *err);
    /* Stops the guest and saves it to peer->dir. */
    int (*save)(struct peer_vm *vm, struct err *err);
    /* Starts it with what was saved, and sets vm->load_ns. */
    int (*load)(struct peer_vm *vm, struct err *err);
};

extern const struct peer_ops peer_firecracker, peer_cloud_hypervisor, peer_qemu, peer_volt;

/* Boots or loads a guest of the peer's and waits for its answer. On failure the VM has ended. */
int peer_vm_boot(struct peer_vm *vm, const struct peer *peer, struct err *err);
int peer_vm_load(struct peer_vm *vm, const struct peer *peer, struct err *err);
/* Fine after a failure, and on a zeroed one. */
void peer_vm_end(struct peer_vm *vm);

/* Private memory that its process, and all that it has started, have written; 0: this user may not see
 * it. Pages of a snapshot's file that are only read are the page cache's, however many map them. */
uint64_t peer_vm_private_bytes(const struct peer_vm *vm);

/* ---- For those who implement one ---- */

/* Starts the program with argv. On `stream` it will say `answer` (borrowed). */
int peer_start(struct peer_vm *vm, const char *const *argv, enum speaker_stream stream,
               const char *answer, struct err *err);
/* Makes vm->socket a new name. */
void peer_socket_name(struct peer_vm *vm);
/* Connects to it as soon as somebody listens there: an fd that is the caller's, or -errno. */
int peer_connect(const struct peer_vm *vm, struct err *err);

/* Waits until its socket is there, sends one request to its HTTP API and expects a status of 2xx.
 * body: stolen; NULL: none. */
int peer_call(const struct peer_vm *vm, const char *method, const char *path, json_t *body,
              struct err *err);

/* Of the guest. */
const char *peer_cmdline(void);
/* The host's KVM is software alone: its guests can do without some instructions. */
bool peer_is_software_only(void);

/* The CPU of QEMU's guests, here (qemu.c). */
const char *peer_qemu_cpu(void);

/* The beginning of QEMU's arguments, behind its name: a small machine of one vCPU with `memory` MiB (a
 * text), whose console is its standard output. */
#define PEER_QEMU_MICROVM(memory)                                                                  \
    "-M", "microvm", "-enable-kvm", "-cpu", peer_qemu_cpu(), "-m", memory, "-smp", "1",            \
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"

#endif
