/* SPDX-License-Identifier: Apache-2.0 */
/* A world in which the agent and voltctl's exec session run as state machines: every stream between
 * them, the command and the user is simulated, and each step of the world is chosen.
 *
 *   stream_model.c  lanes, choices, and the world's steps
 *   stream_guest.c  stands in for guest-init/{io,exec_fds,loop,child}.h under the real agent
 *   stream_absent.c  the same for what this world has not
 *   stream_command.c  the command that the agent starts
 *   stream_host.c   stands in for cli/{fd_io,tty}.h under the real exec_session.c
 *
 * How it works
 *   The host's session is called and blocks in fd_poll; there the world takes steps until one of
 *   the polled descriptors is ready and the choice falls on returning. A step is one of: the guest
 *   handles one event; bytes move on the wire; the command reads, writes, closes or ends; the user
 *   types, reads, pauses, leaves or sends a signal; the connection breaks. Readiness is told by the fewest edges that
 *   Linux would give. When no step can be taken and nothing is ready, somebody waits for ever:
 *   model_fail. Choices come from a seed, or from a fuzzer's input and then a seed.
 */
#ifndef VOLT_TESTS_STREAM_MODEL_H
#define VOLT_TESTS_STREAM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Choices ---- */

/* All that is to come depends on these alone. `input` may be empty; it is borrowed. */
void model_choices(uint64_t seed, const uint8_t *input, size_t input_bytes);
/* A number below n. */
uint32_t model_choose(uint32_t n);
bool model_chance(uint32_t percent);

/* Ends the program with a message that has the seed in it. */
void model_fail(const char *what, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ---- Lanes: bytes that go one way. ---- */

#define LANE_BYTES_MAX 65536u

/* Whom a lane tells of what; NULL: nobody, he looks himself. */
struct lane_ends {
    void (*readable)(void *context); /* it was empty and is not, or it ended */
    void (*writable)(void *context); /* it was met full and is not, or it was abandoned */
    void *context;
};

struct lane {
    uint8_t data[LANE_BYTES_MAX];
    size_t capacity, at, bytes;
    bool ended;     /* the writer is gone */
    bool abandoned; /* the reader is gone */
    bool met_full;
    struct lane_ends reader, writer;
};

void lane_init(struct lane *lane, size_t capacity);
/* At most so many as there is room for, or as there are. */
size_t lane_put(struct lane *lane, const uint8_t *data, size_t bytes);
size_t lane_take(struct lane *lane, uint8_t *ret_data, size_t bytes);
void lane_end(struct lane *lane);
void lane_abandon(struct lane *lane);
static inline size_t lane_room(const struct lane *lane)
{
    return lane->capacity - lane->bytes;
}

/* ---- What a run is about ---- */

enum stream_first { FIRST_NONE, FIRST_STDIN, FIRST_OUTPUT, FIRST_EXIT, FIRST_COUNT };

struct plan {
    bool interactive, terminal;
    uint32_t stdin_bytes;     /* what the user types before he ends it */
    uint32_t output_bytes[2]; /* what the command writes to stdout and stderr */
    bool reads_to_end;        /* the command ends only after the end of its stdin */
    bool echoes;              /* what it reads goes to stdout */
    bool hangs;               /* it does not end by itself; there is a timeout then */
    bool ignores_signals;     /* all but SIGKILL */
    bool leaves_writer;       /* a process in the background that never stops writing */
    enum stream_first first;  /* what it does before all else: close a stream, or end */
    uint8_t exit_code;        /* of the command */
    uint32_t request_bytes;   /* of an argument, to make the request long */
    bool any_request;         /* the client is another one, and sends what it likes */
    uint32_t signals;         /* that the user sends, at most */
    uint32_t timeout_ms, kill_after_ms;
    bool reader_leaves[2]; /* who reads our stdout, our stderr: at some time */
    bool connection_breaks;
    bool pauses; /* readers stop for long */
    size_t wire_capacity, pipe_capacity, out_capacity;
};

/* Chooses one. */
void plan_choose(struct plan *ret_plan);

struct outcome {
    int rc, exit_code;         /* of exec_session_run */
    bool ended;                /* the command, by itself or not */
    int killed_by;             /* a signal; 0: by itself */
    uint64_t written[2], read; /* bytes of its stdout and stderr, and of its stdin */
    bool saw_end;              /* of its stdin */
    uint64_t shown[2];         /* bytes that came out of our stdout and stderr */
    bool reader_left, broke, signalled;
};

/* A world with this plan's capacities and a guest with a connection to its agent, with nobody at
 * the host's end of the wire. */
void model_start(const struct plan *plan);
/* Everything comes to rest though the host's end stays open, and nothing may be left. */
void model_rest(void);
/* The host's end closes; everything comes to rest, and nothing may be left. */
void model_stop(void);

/* Runs one plan through. Ends the program with the seed if anything is not as it must be. */
void model_run(const struct plan *plan, struct outcome *ret_outcome);

/* The byte at this place of a stream: 0 stdin, 1 stdout, 2 stderr. No control character but line
 * feed, so that a terminal takes it as it is. */
static inline uint8_t model_byte(unsigned stream, uint64_t at)
{
    uint64_t mixed = (at + 1) * 0x9e3779b97f4a7c15ull + stream;

    mixed ^= mixed >> 29;
    return mixed % 23 == 0 ? '\n' : (uint8_t)(' ' + mixed % 90);
}

/* ---- The parts of the world ---- */

enum wire_direction { WIRE_TO_GUEST, WIRE_TO_HOST, WIRE_COUNT };

struct world {
    const struct plan *plan;
    struct outcome outcome;
    uint64_t now_ns, steps;
    struct lane sent[WIRE_COUNT], come[WIRE_COUNT]; /* bytes on the wire, and come over */
    struct lane user_in, user_out[2];
    uint64_t typed;
    uint32_t signals_sent;
    uint32_t pause[2]; /* steps for which nobody reads user_out */
};

extern struct world world;

/* One step of the world. False: none can be taken. */
bool world_step(void);
/* Lets time pass to the next deadline, the host's or the guest's. False: there is none. */
bool world_wait(uint64_t host_deadline_ns);

/* A new guest with one connection to its agent, over the wire. */
void guest_start(void);
/* The agent handles one event, or the command does something. False: both wait. */
bool guest_step(void);
uint64_t guest_deadline_ns(void); /* UINT64_MAX: none */
/* Everything of the session must be closed and ended. */
void guest_check_idle(void);

/* Runs exec_session_run into world.outcome. */
void host_run(void);
void host_signal(int number);

#endif
