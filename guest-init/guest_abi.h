/* SPDX-License-Identifier: Apache-2.0 */
/* The contract between a Volt guest and its host: the doorbell device, the mailbox page and the
 * agent's wire protocol. This is the one header that guest-init and the host programs share; it
 * includes nothing but <stdint.h> and <stddef.h>, and everything in it is little-endian.
 *
 * How the doorbell works
 *   The doorbell is a block of I/O ports and one page of guest RAM that e820 marks reserved. At
 *   boot volt-init gets port access (ioperm) and maps the page (/dev/mem), once. From then on it
 *   can stop and answer in user mode, without a single instruction of guest kernel code:
 *
 *     guest                                   host (vCPU thread)
 *     outl(PARK)          ------------------> completes the write, stops the vCPU: PARKED.
 *                                             (a template is snapshotted here)
 *                                             fills the mailbox, clears RFLAGS.IF, runs: WAKE
 *     reads the mailbox, stores answer
 *     outl(AWAKE)         ------------------> checks the answer, restores RFLAGS.IF: AWAKE
 *     op RESTORE: RNG, clock, hostname, ...
 *     outl(READY)         ------------------> READY (op RESTORE only)
 *     PARK_AGAIN set: outl(PARK), else goes live and serves its agent.
 *
 * Invariants
 *   1. The vCPU stops at PARK in ring 3 with the port write complete: the first instruction of a
 *      restored VM is the one after volt-init's outl.
 *   2. Between a WAKE and its AWAKE no interrupt is delivered; the guest MUST NOT make a system
 *      call there.
 *   3. The host writes the mailbox only while the vCPU is parked; the guest reads it only after.
 *   4. The host trusts nothing in the page: it reads `answer` and `ready_status` once each.
 */
#ifndef VOLT_GUEST_ABI_H
#define VOLT_GUEST_ABI_H

#include <stddef.h>
#include <stdint.h>

/* ---- Doorbell ports: 32-bit accesses only, writes from vCPU 0 alone; anything else is counted and
 * ignored. ---- */

#define DOORBELL_PORT_BASE 0x0b00u
#define DOORBELL_PORT_COUNT 16u
#define DOORBELL_PORT_PARK 0x0b00u  /* write: park; the value is ignored. read: DOORBELL_MAGIC */
#define DOORBELL_PORT_AWAKE 0x0b04u /* write: doorbell_ring_value(answer) */
#define DOORBELL_PORT_READY 0x0b08u /* write: equals mailbox.ready_status */
#define DOORBELL_PORT_BANNER                                                                       \
    0x0b0cu                        /* write: the banner is printed; the clock of a cold boot.
                                        DOORBELL_BANNER_*; other values count as OK. Only the first
                                        counts */
#define DOORBELL_MAGIC 0x544c4f56u /* "VOLT" */
#define DOORBELL_BANNER_OK 1u
#define DOORBELL_BANNER_FAILED 2u /* the VM is of no use; mailbox.trouble tells why */

/* ---- Vector registers, on a software-only KVM: 32-bit writes of a guest-physical address >> 6, at which
 * KVM's XSAVE area (4096 bytes, standard format) is saved or loaded. Used by the guest's kernel, which
 * is told by "fpu_port=" (kernel/cmdline.software-kvm). ---- */

#define VECTORS_PORT_SAVE 0x0b10u
#define VECTORS_PORT_LOAD 0x0b14u
#define VECTORS_PORT_SHIFT 6u

/* ---- Mailbox: one page of reserved RAM below the EBDA. ---- */

#define DOORBELL_MAILBOX_GPA 0x9e000u
#define DOORBELL_MAILBOX_BYTES 4096u
#define DOORBELL_MAILBOX_VERSION 1u
#define DOORBELL_HOSTNAME_BYTES 64u /* with the NUL */
#define DOORBELL_ENTROPY_BYTES 64u
#define DOORBELL_TROUBLE_BYTES 256u /* with the NUL */

enum doorbell_op {
    DOORBELL_OP_NONE = 0,
    DOORBELL_OP_RESTORE = 1, /* a new clone: answer, make it unique, READY */
    DOORBELL_OP_LEASE = 2,   /* unique already: answer and go live (or park again) */
};

/* mailbox.flags */
#define DOORBELL_FLAG_PARK_AGAIN 0x1u /* park once more when done with the op */
#define DOORBELL_FLAG_SKIP_KERNEL_WORK                                                             \
    0x2u                           /* RESTORE, but ask nothing of the guest's kernel:
                                               for measuring only, clones are NOT unique */
#define DOORBELL_FLAG_NETWORK 0x4u /* the net fields are valid: configure eth0 */
#define DOORBELL_FLAG_PARK_LATER                                                                   \
    0x8u /* go live, but a PARK on AGENT_PARK's request is expected: a
                                         boot VM that is warmed up before its snapshot */

#define DOORBELL_FLAG_HOLD 0x10u /* for the VMM alone: stop after the answer until CONTROL_GO */
#define DOORBELL_FLAG_FUNCTION                                                                     \
    0x20u /* RESTORE: after READY the service rings the function's bell (below); volt-init lets it go
             there, and does not park by itself */

/* mailbox.ready_status: what of the RESTORE work failed; 0 is success. */
#define DOORBELL_READY_FAILED_RNG 0x1u
#define DOORBELL_READY_FAILED_CLOCK 0x2u
#define DOORBELL_READY_FAILED_HOSTNAME 0x4u
#define DOORBELL_READY_FAILED_MACHINE_ID 0x8u
#define DOORBELL_READY_FAILED_NETWORK 0x10u

struct doorbell_mailbox {
    /* Host to guest. */
    uint32_t magic;   /* DOORBELL_MAGIC once the host has filled the page */
    uint32_t version; /* DOORBELL_MAILBOX_VERSION */
    uint32_t op;      /* enum doorbell_op */
    uint32_t flags;
    uint64_t nonce;
    uint64_t wall_clock_ns;                  /* CLOCK_REALTIME of the host at the WAKE */
    uint8_t generation_id[16];               /* random, new for every clone */
    uint8_t entropy[DOORBELL_ENTROPY_BYTES]; /* the guest wipes it after use */
    char hostname[DOORBELL_HOSTNAME_BYTES];  /* NUL-terminated */
    uint8_t mac[6];
    uint8_t ipv4_prefix_bits;
    uint8_t reserved0;
    uint32_t ipv4_address; /* network byte order, as are the next two */
    uint32_t ipv4_gateway; /* 0: none */
    uint32_t ipv4_dns;     /* 0: none */
    uint32_t reserved1;
    /* Guest to host. */
    uint64_t answer; /* doorbell_answer() */
    uint32_t ready_status;
    uint32_t reserved2;
    /* What failed, in the guest's words, at a BANNER or READY that says that something did. The
     * host takes it for what a hostile guest may say. Guests before this field leave it empty. */
    char trouble[DOORBELL_TROUBLE_BYTES];
};

_Static_assert(sizeof(struct doorbell_mailbox) == 216 + DOORBELL_TROUBLE_BYTES, "mailbox layout");
_Static_assert(offsetof(struct doorbell_mailbox, answer) == 200, "mailbox layout");

/* The value that proves that this guest ran and read this mailbox: a mix of all of nonce and
 * generation id. Not a secret; a MAC would prove no more, as host and guest share memory. */
static inline uint64_t doorbell_answer(uint64_t nonce, const uint8_t generation_id[16])
{
    uint64_t x = nonce ^ 0x9e3779b97f4a7c15ull;

    for (int i = 0; i < 16; i++) {
        x = (x ^ generation_id[i]) * 0xff51afd7ed558ccdull;
        x ^= x >> 29;
    }
    return x;
}

/* What the guest writes to DOORBELL_PORT_AWAKE with it. */
static inline uint32_t doorbell_ring_value(uint64_t answer)
{
    return (uint32_t)answer ^ (uint32_t)(answer >> 32);
}

/* ---- The function's bell: a service that waits for its calls in user mode. ----
 *
 * How it works
 *   A service that was started with AGENT_EXEC_BELL has the bell's port, and FUNCTION_MEMORY_FD to
 *   map the area with: a head, the request and the answer, in RAM that e820 marks reserved. It is
 *   ready when it has sent a byte through FUNCTION_GATE_FD, and then reads one from there: the
 *   snapshot is taken while it is blocked in that. Each clone is answered for, made unique and told
 *   READY by volt-init, as any is; only then does volt-init send that byte, and the service rings:
 *
 *     service                                 host (vCPU thread)
 *     outl(0, BELL)       ------------------> stops the vCPU; PARKED, if it was to park again.
 *                                             CALL: the request goes into the area, the head says
 *                                             which call it is
 *     works, in user mode
 *     writes the answer
 *     outl(call, BELL)    ------------------> passes the answer on, stops the vCPU until the next CALL
 *
 *   In place of a service that has ended, volt-init rings, and answers FUNCTION_ANSWER_ENDED.
 *
 * Invariants
 *   1. The bell counts only after a RESTORE with DOORBELL_FLAG_FUNCTION has got READY, and on vCPU 0.
 *      Whoever rings it with another number than that of the call that is on ends the VM.
 *   2. The host writes the area only while the vCPU is stopped at the bell. It reads answer_kind and
 *      answer_bytes once each, and the answer once, while the vCPU is stopped in that ring.
 *   3. The guest's timer is held back while the VM is stopped there, and then during calls for
 *      FUNCTION_TICK_MS at most, of one or of several. To the guest, an interrupt is late; a service may
 *      do whatever programs do.
 */

#define FUNCTION_PORT_BELL 0x0b20u /* write: the call that is answered; 0 for none. 32-bit only */
#define FUNCTION_PORT_COUNT 4u
#define FUNCTION_AREA_GPA 0x7d000u /* the head, a page; behind it the request, then the answer */
#define FUNCTION_HEAD_BYTES 4096u
#define FUNCTION_PAYLOAD_MAX 65536u
#define FUNCTION_REQUEST_GPA (FUNCTION_AREA_GPA + FUNCTION_HEAD_BYTES)
#define FUNCTION_ANSWER_GPA (FUNCTION_REQUEST_GPA + FUNCTION_PAYLOAD_MAX)
#define FUNCTION_AREA_BYTES (FUNCTION_HEAD_BYTES + 2 * FUNCTION_PAYLOAD_MAX)
#define FUNCTION_VERSION 1u
#define FUNCTION_TICK_MS 10u
/* What such a service is born with. */
#define FUNCTION_GATE_FD 3
#define FUNCTION_MEMORY_FD 4
#define FUNCTION_VARIABLE "VOLT_FUNCTION_BELL" /* in its environment: FUNCTION_VERSION */

enum function_answer {
    FUNCTION_ANSWER_OK = 0,
    FUNCTION_ANSWER_ERROR = 1, /* the function tells an error: the answer is its text */
    FUNCTION_ANSWER_ENDED = 2, /* volt-init: the service has ended; the answer is a sentence */
    FUNCTION_ANSWER_COUNT,
};

struct function_head {
    /* Host to guest. */
    uint32_t magic;   /* DOORBELL_MAGIC, with the first call */
    uint32_t version; /* FUNCTION_VERSION */
    uint32_t call;    /* random, not 0, not that of the call before */
    uint32_t request_bytes;
    uint64_t wall_clock_ns; /* CLOCK_REALTIME of the host at the call */
    /* Guest to host. */
    uint32_t answer_kind; /* enum function_answer */
    uint32_t answer_bytes;
    /* The guest's own. */
    uint32_t answered; /* the last call that was rung for */
    uint32_t reserved;
};

_Static_assert(sizeof(struct function_head) == 40, "head layout");
_Static_assert(FUNCTION_AREA_GPA + FUNCTION_AREA_BYTES == DOORBELL_MAILBOX_GPA, "one range");

/* ---- The agent: volt-init listens on this vsock port. ----
 *
 * One connection is one session: the client sends exactly one request frame, then data frames; the
 * agent sends data frames, then exactly one result frame (EXIT, DONE, PONG or ERROR), then closes.
 * A frame is a header and `payload_bytes` bytes of payload. Oversized or unknown frames, and frames
 * out of place, end the session with ERROR.
 *
 * Flow control: vsock's own credit for stdout, stderr and tar data. For stdin the client may send
 * AGENT_STDIN_CREDIT bytes and after that only what CREDIT frames allow, so that SIGNAL and RESIZE
 * are never stuck behind a child that does not read. A client that closes its connection has its
 * child killed (the whole process group, SIGKILL).
 */
#define AGENT_VSOCK_PORT 1024u
#define AGENT_PAYLOAD_MAX 65536u
#define AGENT_STDIN_CREDIT 65536u

enum agent_frame_type {
    /* client to agent */
    AGENT_PING = 1,   /* payload echoed in PONG */
    AGENT_EXEC = 2,   /* struct agent_exec and its strings */
    AGENT_PUT = 3,    /* path, maybe a NUL and a byte of AGENT_PUT_*; a tar stream follows in DATA
                         frames, ended by EOF; answered by DONE. The path is a directory, made if
                         missing, into which the tar is unpacked */
    AGENT_GET = 4,    /* path, maybe a NUL and a byte of AGENT_GET_*; answered by DATA frames of a
                         tar stream, then DONE. The tar's members are named from the last component
                         of path on */
    AGENT_STDIN = 5,  /* bytes for the child's stdin, within the credit */
    AGENT_EOF = 6,    /* no more STDIN, or no more DATA of a PUT; empty */
    AGENT_SIGNAL = 7, /* uint32_t signal number, to the child's process group */
    AGENT_RESIZE = 8, /* struct agent_winsize */
    AGENT_PARK = 9,   /* park again once no session is open, this one included; answered by DONE */
    AGENT_EXEC_PART = 10, /* a piece of an EXEC that is longer than a frame, before that frame; the
                             payloads one behind the other are the request */
    AGENT_CALL = 11, /* struct agent_call: a connection to a TCP port of the guest's loopback. STDIN
                        and CREDIT as for EXEC are what goes into it, STDOUT what comes out; STDERR
                        is what the service has written meanwhile, before what it answers. DONE
                        when the connection has ended; ERROR if there is none */
    AGENT_MOUNT =
        12, /* struct agent_mount and a path: the volume that is in a slot of the VM, or will
                         be in a moment, is mounted there; answered by DONE */
    AGENT_UNMOUNT = 13, /* the VM is at its end: every process but the agent's is killed, and all
                           volumes unmounted; DONE: what was written to them is in them */
    /* either way */
    AGENT_DATA = 16,
    /* agent to client */
    AGENT_PONG = 32,
    AGENT_STDOUT = 33, /* with a pty, everything comes as STDOUT */
    AGENT_STDERR = 34,
    AGENT_CREDIT = 35, /* uint32_t: so many more bytes of STDIN may be sent */
    AGENT_EXIT = 36,   /* struct agent_exit */
    AGENT_DONE = 37,   /* the PUT or GET is complete; a sentence if something was left out */
    AGENT_ERROR = 38,  /* struct agent_error and a sentence */
};

struct agent_frame {
    uint32_t payload_bytes; /* at most AGENT_PAYLOAD_MAX */
    uint8_t type;           /* enum agent_frame_type */
    uint8_t reserved[3];    /* 0 */
};

#define AGENT_VOLUMES_MAX 3u
#define AGENT_VOLUME_SERIAL "volt-volume" /* and the slot's number: what its device says it is */
#define AGENT_MOUNT_PATH_BYTES 256u       /* with the NUL */
#define AGENT_MOUNT_READ_ONLY 0x1u

struct agent_mount {
    uint32_t slot;
    uint32_t flags; /* AGENT_MOUNT_* */
};

/* Of PUT: members keep their owners, groups and set-id bits; else all is root's. */
#define AGENT_PUT_OWNERS 0x1u
/* Of PUT: files keep their capabilities. */
#define AGENT_PUT_CAPABILITIES 0x2u
/* Of GET: a link that the path is, is followed. */
#define AGENT_GET_FOLLOW 0x1u

/* agent_exec.flags */
#define AGENT_EXEC_PTY 0x1u
#define AGENT_EXEC_STDIN 0x2u     /* else stdin is /dev/null */
#define AGENT_EXEC_CLEAR_ENV 0x4u /* start from an empty environment, not from volt-init's */
#define AGENT_EXEC_COUNTS 0x8u    /* argc and envc are 0, the true ones in an agent_exec_counts */
#define AGENT_EXEC_USER 0x10u     /* the last string is whom it runs as (user.h), else it is root */
#define AGENT_EXEC_SERVICE                                                                         \
    0x20u /* the VM's service, of which there is one: DONE as soon as it runs; it goes on, and what
             it writes is kept for AGENT_CALL, AGENT_SERVICE_LOG_BYTES at most before it waits. Not
             with PTY, STDIN or a timeout */

#define AGENT_EXEC_GATE                                                                            \
    0x40u /* with SERVICE, which connects to AGENT_GATE_PORT of the loopback to ask for its calls:
             whoever does is held there until a CALL takes the connection */

#define AGENT_EXEC_BELL 0x80u /* with SERVICE, which waits for its calls at the function's bell */

#define AGENT_GATE_PORT 9001u
#define AGENT_GATE_HELD 16u /* connections; the next ones wait in the kernel's queue */
#define AGENT_PEEK_BYTES 4096u

#define AGENT_REQUEST_MAX (2u << 20) /* of an EXEC and its parts: what Linux lets a command have */

struct agent_exec {
    uint32_t flags;
    uint32_t timeout_ms; /* 0: none; then SIGTERM, 2 s later SIGKILL, and EXIT says TIMEOUT */
    uint16_t rows, cols; /* with PTY */
    uint16_t argc;       /* at least 1 */
    uint16_t envc;
    /* followed by agent_exec_counts if the flag is set, then NUL-terminated strings: cwd ("" for
     * "/"), argc arguments, envc "K=V", and the user if the flag is set */
};

struct agent_exec_counts {
    uint32_t argc, envc;
};

/* ---- volt-files: a command that every guest has (for EXEC, like any other), by which a host works
 * with the guest's files as one of its users.
 *
 *   stat PATH | list PATH DEPTH | mkdir PATH | move FROM TO   print entries
 *   remove PATH                                               a tree, or nothing at all; prints nothing
 *   read PATH                                                 prints the file's entry, then its bytes
 *   write PATH                                                stdin becomes the file; prints its entry
 *   watch PATH recursive|flat                                 prints events until it is killed
 *
 * An entry is FILES_ENTRY_FIELDS texts, each ended by a NUL: kind (f, d, l or o; of a link that leads
 * somewhere, what it leads to), size, permissions (decimal), owner, group, seconds and nanoseconds of
 * its last change, absolute path, and what it leads to if it is a link, else "". An event is two: one of
 * start (the first), create, write, remove, rename and chmod, and a path below the watched one. mkdir
 * and write make the folders above. Exit code 0, or 1 with "ERRNO SENTENCE" on stderr. */
#define FILES_PROGRAM "volt-files"
#define FILES_ENTRY_FIELDS 9u
#define FILES_DEPTH_MAX 64u

#define AGENT_SERVICE_LOG_BYTES (1u << 20)

struct agent_call {
    uint16_t port;
    uint16_t flags;   /* AGENT_CALL_* */
    uint32_t wait_ms; /* 0: connects now. Else only waits, so long at most, until a connection can
                         be made: DONE; ERROR at once when the service ends */
};

/* Takes a connection that was made to the gate, the oldest, instead of making one; port is 0. Without
 * one it waits until there is. With wait_ms: until one is there on which something has been asked; DONE
 * has the first AGENT_PEEK_BYTES of that, and the connection stays. */
#define AGENT_CALL_ACCEPT 0x1u
/* With wait_ms alone: until the service is about to ring the function's bell; port is 0. */
#define AGENT_CALL_BELL 0x2u

struct agent_winsize {
    uint16_t rows, cols;
};

enum agent_exit_kind {
    AGENT_EXIT_CODE = 0,           /* value: exit code */
    AGENT_EXIT_SIGNAL = 1,         /* value: signal */
    AGENT_EXIT_TIMEOUT = 2,        /* value: signal that ended it */
    AGENT_EXIT_NOT_FOUND = 3,      /* value: errno of the exec; 127 in a shell */
    AGENT_EXIT_NOT_EXECUTABLE = 4, /* value: errno of the exec; 126 in a shell */
};

struct agent_exit {
    uint32_t kind; /* enum agent_exit_kind */
    uint32_t value;
};

struct agent_error {
    uint32_t error; /* errno value (Linux x86-64 numbering) */
    /* followed by a sentence, not NUL-terminated */
};

_Static_assert(sizeof(struct agent_frame) == 8, "wire layout");
_Static_assert(sizeof(struct agent_exec) == 16, "wire layout");
_Static_assert(sizeof(struct agent_exec_counts) == 8, "wire layout");
_Static_assert(sizeof(struct agent_call) == 8, "wire layout");
_Static_assert(sizeof(struct agent_exit) == 8, "wire layout");
_Static_assert(sizeof(struct agent_error) == 4, "wire layout");

#endif
