/* SPDX-License-Identifier: Apache-2.0 */
/* The protocol between poold and its volt-vmm processes: datagrams of one struct control_msg over
 * AF_UNIX SOCK_SEQPACKET socket pairs that are inherited (never named in the filesystem), with fds
 * as SCM_RIGHTS. Same machine, same build: native byte order, version checked once in HELLO.
 *
 * Processes and their sockets
 *   boot VM    volt-vmm run --control-fd N ...   boots a kernel; poold tells it to snapshot.
 *   template   volt-vmm template --control-fd N --snapshot-fd M   has verified and loaded one
 *              snapshot; forks a clone for each CLONE. It never runs a vCPU itself.
 *   clone      forked by the template; has two sockets of its own, made by poold and passed with
 *              CLONE: `control` (device thread) and `bell` (its first vCPU's thread).
 *   The boot VM has the same two: --control-fd and --bell-fd.
 *
 * Life of a VM as seen on its sockets (c: control, b: bell; > from poold, < to poold)
 *   boot:    <c HELLO, <b BANNER (before it perhaps <b TROUBLE), <b PARKED, >c SNAPSHOT, <c SNAPSHOT_DONE, then poold closes it
 *   clone:   <c HELLO once it waits with all loaded that does not depend on time (a *shell*),
 *            >b WAKE(RESTORE), <b AWAKE, <b READY, and with PARK_AGAIN <b PARKED
 *            >b WAKE(LEASE), <b AWAKE: leased
 *            with DOORBELL_FLAG_HOLD it waits after <b AWAKE until >b GO
 *            with DOORBELL_FLAG_FUNCTION its PARKED is its service's at the function's bell, and it is
 *            leased without a WAKE: >b CALL with a request, <b ANSWER with its answer, one at a time
 *   A WAKE may be queued before HELLO: a cold restore is CLONE with its WAKE already in the bell.
 *   Its HELLO follows its AWAKE.
 *   any:     <c EXITED with the reason, if it can; then EOF. EOF on control without EXITED is a
 *            crash (the template's CHILD_EXITED tells the wait status). SIGKILL is the normal way
 *            to end a VM. A VM whose control socket gets EOF (poold and its keeper are gone) exits
 *            at once.
 *
 * Limits: a datagram is at most CONTROL_MSG_BYTES, and of CALL and ANSWER a payload of at most
 * FUNCTION_PAYLOAD_MAX behind that; at most CONTROL_FDS_MAX fds come with it.
 * Receivers check type, size and fd count, and close fds they did not expect.
 */
#ifndef VOLT_CONTROL_H
#define VOLT_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "guest_abi.h"

#define CONTROL_VERSION 1u
#define CONTROL_FDS_MAX 8u
#define CONTROL_DETAIL_BYTES 256u

/* Each type, the member of control_msg.u that goes with it, and what comes with it. */
enum control_type {
    /* VM or template to poold */
    CONTROL_HELLO = 1,     /* hello: set up (clone: is a shell; template: snapshot verified) */
    CONTROL_BANNER,        /* progress: the guest printed its banner */
    CONTROL_PARKED,        /* progress */
    CONTROL_AWAKE,         /* progress: the guest's answer was checked and is right */
    CONTROL_READY,         /* progress, with ready_status */
    CONTROL_SNAPSHOT_DONE, /* snapshot_done */
    CONTROL_STATS,         /* stats: answer to QUERY_STATS */
    CONTROL_EXITED,        /* exited: last message */
    CONTROL_CLONED,        /* cloned; fds: [pidfd of the clone], none if cloned.error */
    CONTROL_CHILD_EXITED,  /* child_exited */
    CONTROL_TROUBLE,       /* trouble; on the bell, before a BANNER of a guest that is of no use, or
                              a READY with ready_status */
    CONTROL_ANSWER,        /* answer, and its payload; on the bell */
    /* poold to VM or template */
    CONTROL_WAKE = 64, /* wake; on the bell */
    CONTROL_GO,        /* go; on the bell, after AWAKE of a WAKE with DOORBELL_FLAG_HOLD: go on */
    CONTROL_SNAPSHOT,  /* snapshot; fds: [state file, memory file], both empty, read-write */
    CONTROL_VSOCK_CONNECT, /* vsock_connect; fds: [client stream]: "OK <port>\n" is written to it
                              when the guest accepts; it is closed when the guest refuses */
    CONTROL_CONSOLE,       /* fds: [client stream]: gets the backlog, then live output; what it
                              sends is typed into the UART. One at a time: a second one replaces
                              the first. console.backlog_only: no live output, closed at once */
    CONTROL_QUERY_STATS,
    CONTROL_STOP,        /* power button: end the VM now, with reason STOPPED */
    CONTROL_CLONE,       /* clone; fds: struct control_clone_fds */
    CONTROL_WORKING_SET, /* to a template; fds: [the snapshot's file working-set, read-only]: for
                            clones from now on. A damaged one is ignored */
    CONTROL_CALL,   /* call, and its payload; on the bell of a VM whose service waits for calls */
    CONTROL_VOLUME, /* volume; fds: [its file], and to be copied on write [its file, an empty one for
                       what is written]. It goes into a slot of the VM that is empty still */
};

/* Why a VM ended. The name table is control_exit_reason_name(). */
enum control_exit_reason {
    EXIT_REASON_NONE = 0,
    EXIT_REASON_STOPPED,        /* asked for */
    EXIT_REASON_GUEST_POWEROFF, /* the guest powered off or reset */
    EXIT_REASON_TRIPLE_FAULT,
    EXIT_REASON_INTERNAL_ERROR,   /* KVM_EXIT_INTERNAL_ERROR: KVM could not emulate */
    EXIT_REASON_ENTRY_FAILED,     /* KVM_EXIT_FAIL_ENTRY */
    EXIT_REASON_BAD_ANSWER,       /* the guest's AWAKE answer was wrong or out of place */
    EXIT_REASON_GUEST_MISBEHAVED, /* broke a device's or the doorbell's rules beyond tolerance */
    EXIT_REASON_HOST_ERROR,       /* a host call failed: detail says which */
    EXIT_REASON_POOLD_GONE,
    EXIT_REASON_COUNT,
};

const char *control_exit_reason_name(enum control_exit_reason reason);

/* What a guest's eth0 is given. Addresses in network byte order. */
struct control_network {
    uint8_t mac[6];
    uint8_t prefix_bits;
    uint8_t reserved;
    uint32_t address, gateway, dns; /* 0: none */
};

struct control_msg {
    uint32_t type;  /* enum control_type */
    uint32_t bytes; /* of this datagram; equals what recvmsg returned */
    uint64_t
        cookie; /* CLONE: chosen by poold, echoed in CLONED and CHILD_EXITED; STATS: 1 if a client
                        has the console; else 0 */
    union {
        struct {
            uint32_t version; /* CONTROL_VERSION */
            uint32_t vcpu_count;
            uint64_t ram_bytes;
            uint64_t setup_ns;     /* process start (fork for clones) to now */
            uint32_t landlock_abi; /* 0: not in force */
            uint32_t layers;       /* CONTROL_LAYER_* in force */
        } hello;
        struct {
            uint64_t at_ns;        /* CLOCK_MONOTONIC when it happened */
            uint64_t load_ns;      /* AWAKE: receipt of WAKE to state loaded; 0 for a lease */
            uint64_t run_ns;       /* AWAKE: KVM_RUN to the checked answer. READY: AWAKE to READY.
                                      BANNER, PARKED of a boot: first KVM_RUN to here */
            uint64_t setup_ns;     /* BANNER: process start to first KVM_RUN */
            uint32_t ready_status; /* READY: DOORBELL_READY_FAILED_* */
            uint32_t reserved;
        } progress;
        struct {
            int32_t error; /* 0, or errno value; then detail says what */
            uint32_t reserved;
            uint64_t stopped_ns;        /* how long the guest was stopped */
            uint64_t memory_data_bytes; /* non-zero bytes written, page granular */
            uint64_t state_bytes;
            char detail[CONTROL_DETAIL_BYTES];
        } snapshot_done;
        struct {
            uint64_t exits;       /* KVM_RUN returns, all vCPUs */
            uint64_t unknown_pio; /* accesses to ports no device has */
            uint64_t unknown_mmio;
            uint64_t doorbell_ignored; /* malformed doorbell accesses */
            uint64_t console_dropped_bytes;
            uint64_t vsock_connections; /* open now */
            uint64_t vsock_refused;     /* over the limit, or malformed packets */
        } stats;
        struct {
            uint32_t reason; /* enum control_exit_reason */
            uint32_t reserved;
            char detail[CONTROL_DETAIL_BYTES]; /* a sentence */
        } exited;
        struct {
            int32_t pid;   /* in the template's pid namespace: for messages only, use the pidfd */
            int32_t error; /* 0, or errno value of the failed fork; then no fd comes */
        } cloned;
        struct {
            int32_t pid;
            int32_t wait_status; /* as from waitpid */
        } child_exited;
        struct {
            char text[CONTROL_DETAIL_BYTES]; /* what failed, in the guest's words */
        } trouble;
        struct {
            uint32_t call; /* not 0 */
            uint32_t payload_bytes;
        } call;
        struct {
            uint32_t call; /* that of the CALL */
            uint32_t kind; /* enum function_answer, as the guest has it: any number */
            uint32_t payload_bytes;
            uint32_t reserved;
        } answer;
        struct {
            uint32_t op;    /* enum doorbell_op */
            uint32_t flags; /* DOORBELL_FLAG_* */
            uint64_t nonce;
            uint8_t generation_id[16];
            uint8_t entropy[DOORBELL_ENTROPY_BYTES];
            char hostname[DOORBELL_HOSTNAME_BYTES];
            struct control_network network; /* with DOORBELL_FLAG_NETWORK */
            /* The wall clock is read by the VM itself, when it fills the mailbox. */
        } wake;
        struct {
            uint32_t rest_ms; /* after its READY, until something is asked of it, at most */
        } go;
        struct {
            uint32_t flags; /* 0 */
        } snapshot;
        struct {
            uint32_t port;
        } vsock_connect;
        struct {
            uint32_t backlog_only;
        } console;
        struct {
            uint32_t slot;  /* below CONTROL_VOLUMES_MAX */
            uint32_t mode;  /* enum control_volume_mode */
            uint64_t bytes; /* of the file, at most CONTROL_VOLUME_BYTES_MAX; whole sectors */
        } volume;
        struct {
            uint32_t uid, gid;  /* to switch to; (uint32_t)-1: keep */
            uint32_t extra_fds; /* which fds follow: control_clone_send, control_clone_sort */
            uint8_t mac[6];     /* of its network card, if the snapshot has one */
            uint8_t reserved[2];
        } clone;
    } u;
};

#define CONTROL_MSG_BYTES sizeof(struct control_msg)

#define CONTROL_VOLUMES_MAX 3u
#define CONTROL_VOLUME_BYTES_MAX (64ull << 30)

enum control_volume_mode {
    CONTROL_VOLUME_READ_ONLY,
    CONTROL_VOLUME_COPY,     /* the VM's writes go to the second file */
    CONTROL_VOLUME_IN_PLACE, /* to the first, which is this VM's alone */
    CONTROL_VOLUME_MODE_COUNT,
};

/* hello.layers */
#define CONTROL_LAYER_CPUID 0x1u
#define CONTROL_LAYER_SECCOMP 0x2u
#define CONTROL_LAYER_CAPABILITIES 0x4u
#define CONTROL_LAYER_LANDLOCK 0x8u
#define CONTROL_LAYER_NAMESPACES 0x10u
#define CONTROL_LAYER_CGROUP 0x20u
#define CONTROL_LAYER_UID 0x40u

/* Bytes of a message of this type: header plus its member of u. 0 for an unknown type. */
uint32_t control_msg_bytes(enum control_type type);

/* Sends msg (type and cookie set by the caller, bytes filled in) with fd_count fds, which stay the
 * caller's. Never blocks, never SIGPIPE. 0 or -errno; -EAGAIN when the peer lags. Any thread. */
int control_send(int socket_fd, struct control_msg *msg, const int *fds, unsigned fd_count);

/* Receives one message. On success msg is whole and of a known type, its details are clean text
 * (base/text.h) that ends in it, ret_fds[0..*ret_fd_count) are
 * the caller's (close-on-exec). 0; -ENOTCONN at EOF; -EAGAIN; -EPROTO for a malformed datagram
 * (its fds are closed); -EMFILE for one whose fds this process had no room for (they are closed):
 * msg is whole all the same; or -errno. Any thread. */
int control_recv(int socket_fd, struct control_msg *msg, int ret_fds[CONTROL_FDS_MAX],
                 unsigned *ret_fd_count);

/* The same for a CALL or an ANSWER, with a payload of `bytes`, at most FUNCTION_PAYLOAD_MAX. It may
 * be memory that a guest changes: it is copied once. */
int control_send_payload(int socket_fd, struct control_msg *msg, const void *payload,
                         uint32_t bytes);

/* The same where a CALL or ANSWER may come: its payload, if it fits into room bytes, is put there,
 * and msg says how long it is. After a failure anything may be there. */
int control_recv_payload(int socket_fd, struct control_msg *msg, int ret_fds[CONTROL_FDS_MAX],
                         unsigned *ret_fd_count, void *ret_payload, uint32_t room);

/* ---- control_wake.c ---- */

struct control_wake {
    enum doorbell_op op;
    uint32_t flags;                        /* DOORBELL_FLAG_*; NETWORK comes with network */
    const uint8_t *generation_id;          /* 16 bytes; NULL: a new one */
    const char *hostname;                  /* NULL: "volt-" and the generation id's beginning */
    const struct control_network *network; /* NULL: none is told */
};

/* Fills bytes with random ones that nobody has seen. */
typedef void control_random_fn(void *context, void *ret_bytes, size_t bytes);

/* Makes a WAKE with a new nonce, and entropy if it is a RESTORE. random NULL: the kernel's. */
void control_wake_make(struct control_msg *ret_msg, const struct control_wake *wake,
                       control_random_fn *random, void *context);

/* Once it is sent: its entropy is the guest's alone. */
void control_wake_wipe(struct control_msg *msg);

/* ---- control_clone.c ---- */

/* What a clone gets with its CLONE; -1: none of them. Only the first two are always there. */
struct control_clone_fds {
    int control, bell;
    int vsock_dir;    /* O_PATH directory of the VM's vsock sockets: becomes its root, and it dials
                         "vsock_PORT" in it */
    int disk;         /* the clone's own overlay file */
    int tap;          /* its network back end: a tap, or a stream */
    int vsock_listen; /* the listening socket "vsock" in vsock_dir, made by vsock_listen */
    int vhost;        /* /dev/vhost-net, opened for this clone: serves tap's rings */
};

#define CONTROL_CLONE_FDS_NONE                                                                     \
    {                                                                                              \
        -1, -1, -1, -1, -1, -1, -1                                                                 \
    }

/* Sends CLONE with these fds (borrowed). The caller has set cookie, ids and mac. As control_send. */
int control_clone_send(int socket_fd, struct control_msg *msg, const struct control_clone_fds *fds);

/* Names the fds that came with a CLONE; false when they are not what the message says. */
bool control_clone_sort(const struct control_msg *msg, const int *fds, unsigned fd_count,
                        struct control_clone_fds *ret_fds);

#endif
