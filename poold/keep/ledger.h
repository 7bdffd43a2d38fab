/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger: what the next poold has to know of each VM, lease and template, in memory that outlives
 * this one. Loop thread only.
 *
 * How it works
 *   A memfd, mapped shared; the keeper (keeper.h) holds an fd of it, and a poold that takes over
 *   maps it and goes on writing in place. One record a VM, found by its index, as what the keeper
 *   holds for it is. Writing one takes no system call.
 *   A record has a state, which is one word, and two copies of everything else, of which one counts.
 *   A change is written into the other copy, with its checksum, and counts from one store on:
 *   whenever the writer is killed, the record is as before or as after.
 *
 * Invariants
 *   1. A state that makes a promise (LEDGER_LEASED) is stored after the copy that says what is
 *      promised, and before the client hears of it; a state that takes one back (LEDGER_BUSY before
 *      a wake is sent) before the deed.
 *   2. A reader believes nothing: indexes, texts and numbers are checked (ledger_vm_read), and a
 *      record that is not whole is none.
 *   3. Fields are only ever added, in what is reserved, where zero means that there is none. A
 *      change that is none of that raises LEDGER_VERSION: then nothing is taken over. */
#ifndef VOLT_POOLD_LEDGER_H
#define VOLT_POOLD_LEDGER_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "guest_abi.h"
#include "net/net_publish.h"
#include "pool/pool.h"

#define LEDGER_VERSION 1u
#define LEDGER_VMS_MAX 65536u
#define LEDGER_TEMPLATES_MAX 4096u
#define LEDGER_NONE UINT32_MAX /* an index: there is none */

enum ledger_state {
    LEDGER_FREE,
    LEDGER_BUSY, /* in use, and of no use to the next poold, who kills it: on its way, or ending */
    LEDGER_PARKED,
    LEDGER_LEASED,
    LEDGER_READY, /* templates */
    LEDGER_STATE_COUNT,
};

struct ledger_net {
    uint32_t on; /* 0: the VM has none, and nothing of what follows */
    uint32_t user, source_check, vhost;
    uint32_t prefix_bits, number;
    uint32_t address, gateway; /* network byte order */
    uint32_t index;
    uint8_t mac[6];
    uint8_t on_bridge;
    uint8_t reserved;
    char link[IFNAMSIZ];
};

struct ledger_vm {
    char id[24];
    char pool[POOL_NAME_BYTES];
    uint8_t generation_id[16];
    char hostname[DOORBELL_HOSTNAME_BYTES];
    uint32_t uid; /* of its process; VM_UIDS_NONE */
    uint32_t layers, landlock_abi;
    uint32_t template_index;
    struct ledger_net net;
    /* The lease. Times are of CLOCK_MONOTONIC, which is the same for the next poold. */
    uint32_t owner_uid;
    uint32_t bound; /* to a connection, which the keeper has under the same index */
    uint32_t tier;
    uint32_t publish_count;
    uint64_t leased_ns, leased_wall_ns, ttl_ms, deadline_ns;
    uint64_t timings_ns[4]; /* struct timings, in its order */
    struct net_port publish[NET_PUBLISH_MAX];
    char labels[LABELS_BYTES];
    uint32_t kept_by_streams;
    uint32_t generation; /* of its pool */
    struct request_key request;
};

struct ledger_template {
    char pool[POOL_NAME_BYTES];
    uint32_t control_version;
    uint32_t has_working_set, disk_writable;
    uint32_t policy; /* the pool's number in the kernel's map */
    uint64_t program_device, program_inode, program_mtime_ns; /* of the volt-vmm that it runs */
    uint32_t generation;                                      /* of its pool */
    uint32_t more;                                            /* 0 */
};

struct ledger;

/* A new one, and its fd, which stays the ledger's. 0 or -errno with a sentence. */
int ledger_create(struct ledger **ret_ledger, struct err *err);
/* One that another poold has made; takes fd. 0; -EPROTO: of another version, or damaged; -errno;
 * with a sentence. */
int ledger_open(int fd, struct ledger **ret_ledger, struct err *err);
/* NULL is fine. What is in it stays, as long as somebody has its fd. */
void ledger_close(struct ledger *ledger);
int ledger_fd(const struct ledger *ledger);

/* A record that was free, BUSY now; LEDGER_NONE: all are taken. */
uint32_t ledger_vm_take(struct ledger *ledger);
uint32_t ledger_template_take(struct ledger *ledger);
/* LEDGER_NONE is fine in all that follow: nothing is written. */
void ledger_vm_write(struct ledger *ledger, uint32_t index, const struct ledger_vm *vm);
void ledger_template_write(struct ledger *ledger, uint32_t index,
                           const struct ledger_template *template);
void ledger_vm_state(struct ledger *ledger, uint32_t index, enum ledger_state state);
void ledger_template_state(struct ledger *ledger, uint32_t index, enum ledger_state state);

/* What a record says: its state, FREE also where the index is none; BUSY where it is not whole. */
enum ledger_state ledger_vm_read(const struct ledger *ledger, uint32_t index,
                                 struct ledger_vm *ret_vm);
enum ledger_state ledger_template_read(const struct ledger *ledger, uint32_t index,
                                       struct ledger_template *ret_template);

/* What a record of a VM says that is not FREE is below that index. */
uint32_t ledger_vm_end(const struct ledger *ledger);

/* Numbers that must not be given out again. */
struct ledger_numbers {
    uint32_t uid_next;    /* vm_uids.h */
    uint32_t policy_next; /* net_walls.h */
};
struct ledger_numbers *ledger_numbers(struct ledger *ledger);

#endif
