/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one of tests/kvm/guests on the real KVM, in this process, with the project's own machine and
 * devices, and talks to it as poold would. One harness a test (each test is a forked process). */
#ifndef VOLT_TESTS_KVM_HARNESS_H
#define VOLT_TESTS_KVM_HARNESS_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

#include "volt-vmm/machine.h"

#define HARNESS_RAM_BYTES (32ull << 20)
#define HARNESS_TIMEOUT_MS 60000

/* A snapshot is the device thread's to take: it is asked for one. */
struct harness_save {
    struct vm_poll asked;
    sem_t over;
    int state_fd, memory_fd; /* borrowed */
    struct control_msg done;
};

struct harness {
    struct kvm_host kvm;
    struct machine machine;
    pthread_t loop, vcpu;
    bool started;
    int bell[2];                     /* ours, the machine's */
    enum control_exit_reason reason; /* of the loop's end */
    struct harness_save save;
};

/* Devices that not every machine has; all of them, and their fds (transferred). */
struct harness_devices {
    struct disk_config disk;
    int net_fd; /* a stream socket */
};

/* Of the disk: a second request at once waits for a quarter of a second. */
#define HARNESS_DISK_OPS_PER_S 4u

/* Exits the test program with a TAP skip when /dev/kvm can't be used, naming why. */
void harness_require_kvm(void);

/* Makes a machine with the guest program `name` at its entry; does not start it. */
void harness_create(struct harness *h, const char *name);

/* The same with several vCPUs. All start at the program's entry, with their index in RDI and a
 * stack of their own: no INIT and SIPI, for which a guest needs ring 0. */
void harness_create_smp(struct harness *h, const char *name, uint32_t vcpu_count);

/* The same with a disk, a network card and a balloon. */
void harness_create_devices(struct harness *h, const char *name,
                            const struct harness_devices *devices);

/* Makes a machine over a private mapping of memory_fd, to be started from `image`. */
void harness_create_clone(struct harness *h, int memory_fd, const struct machine_image *image);
void harness_create_clone_devices(struct harness *h, int memory_fd,
                                  const struct machine_image *image,
                                  const struct harness_devices *devices);

void harness_start(struct harness *h);
/* The same with a guest that parks first; it is parked then. */
void harness_start_parked(struct harness *h);

/* The next message on the bell, which must be of this type and come in time. */
struct control_msg harness_expect(struct harness *h, enum control_type type);
/* READY with that ready_status; what goes before it when that is not 0. */
struct control_msg harness_expect_ready(struct harness *h, uint32_t status);

/* Wakes the parked guest with a fresh nonce and generation id. */
void harness_wake(struct harness *h, enum doorbell_op op, uint32_t flags);

/* Waits for the machine to end; tells why. */
enum control_exit_reason harness_join(struct harness *h);

/* Ends it if it still runs, and frees everything. */
void harness_destroy(struct harness *h);

/* Snapshots the parked machine: state decoded into *ret_image, memory into a new memfd. */
int harness_snapshot(struct harness *h, struct machine_image *ret_image);

#endif
