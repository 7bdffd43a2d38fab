/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of sandboxes: each is a session with its guest's agent, in a thread of its own.
 *
 * How it works
 *   What the process writes is kept in chunks, PROCESS_KEPT_BYTES of them at most. Readers each go
 *   through them at their own speed, from the oldest that is there; a chunk goes when room is needed
 *   and no reader is before it. So who comes back gets the end of what was written meanwhile, and a
 *   reader that is slow slows down the process, by the agent's flow control: SERVER_IDLE_S at most,
 *   then its connection ends. Without a reader the process goes on, and the oldest chunks are lost.
 *
 *   Ids are numbers of the gateway, from 1 up in each sandbox; the guest's own are not told. */
#ifndef VOLT_CLI_E2B_PROCESS_H
#define VOLT_CLI_E2B_PROCESS_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "../agent.h"
#include "e2b/server.h"

#define PROCESS_KEPT_BYTES (256u << 10)
#define PROCESS_CHUNKS 1024u /* at most that many, however small */
#define PROCESS_CHUNK_BYTES 16384u
#define PROCESS_ENDED_MAX 8             /* of a sandbox, whose end nobody has been told of */
#define PROCESS_ENDED_BYTES (32u << 10) /* of their output */
#define PROCESSES_MAX 1024              /* that run, of all sandboxes */
#define PROCESS_TAG_BYTES 128

enum process_stream {
    PROCESS_STDOUT,
    PROCESS_STDERR,
    PROCESS_PTY,
};

struct process_chunk {
    enum process_stream stream;
    size_t bytes;
    uint8_t data[];
};

/* How a process ended. */
enum process_end {
    PROCESS_RUNS,
    PROCESS_EXITED,    /* value: exit code */
    PROCESS_SIGNALED,  /* value: signal */
    PROCESS_TIMED_OUT, /* its time was over, and it was killed */
    PROCESS_NOT_FOUND, /* it was never started: there is no such program */
    PROCESS_REFUSED,   /* it was never started: why is in `why` */
    PROCESS_LOST,      /* its sandbox ended */
};

struct process {
    struct process *next; /* in its sandbox, under that one's lock: the youngest first */
    struct sandbox *sandbox;
    struct server *server;
    atomic_uint references;
    /* Constant. */
    uint32_t pid;
    char tag[PROCESS_TAG_BYTES]; /* "": none */
    json_t *config;              /* cmd, args, envs, cwd, as they were asked for */
    bool pty, input;
    struct agent *agent; /* its input is the thread's, its output send_lock's; NULL: it has ended */
    pthread_mutex_t send_lock;
    bool input_ended;
    pthread_mutex_t lock;
    int session_fd;         /* the agent's, borrowed; -1: it is closed */
    pthread_cond_t room;    /* for more output */
    pthread_cond_t granted; /* credit, or the end */
    uint32_t credit;
    struct process_chunk *chunks[PROCESS_CHUNKS]; /* number n is at n % PROCESS_CHUNKS */
    uint64_t first, next_chunk;
    size_t kept_bytes;
    struct process_reader *readers;
    enum process_end end;
    uint32_t value;
    char why[256];
    bool told;      /* a reader has had all of it */
    bool abandoned; /* the sandbox has ended: nobody is waited for */
};

struct process_reader {
    struct process_reader *next;
    struct process *process; /* a reference */
    uint64_t at;             /* the chunk that is next */
    int event_fd;            /* readable: there may be something new */
};

/* What is to be started. */
struct process_wish {
    const char *cmd;
    json_t *args, *envs; /* borrowed: array and object of texts, or NULL */
    const char *cwd;     /* NULL: the image's, or / */
    const char *user;    /* NULL: the image's */
    const char *tag;     /* "": none */
    bool pty, input;
    uint16_t rows, cols;
    uint32_t timeout_ms; /* 0: none */
};

/* 0 and a reference; -EINVAL, -EDQUOT (too many), -ENOTCONN (the sandbox has ended) or another -errno
 * with a sentence. */
int process_start(struct server *server, struct sandbox *sandbox, const struct process_wish *wish,
                  struct process **ret_process, struct err *err);
/* One that runs, or (if `ended`) has ended; by pid, or by tag where pid is 0. NULL: there is none. */
struct process *process_find(struct sandbox *sandbox, uint32_t pid, const char *tag, bool ended);
void process_put(struct process *process);
/* Those that run: [{"config", "pid", "tag"}, ...]. */
json_t *processes_json(struct sandbox *sandbox);
/* The sandbox has ended: so do they. */
void processes_end(struct sandbox *sandbox);

/* 0; -EPIPE: it takes no input (any more); -ETIMEDOUT: it did not take it in time. */
int process_write(struct process *process, const uint8_t *data, size_t bytes);
int process_close_input(struct process *process);
int process_signal(struct process *process, uint32_t signal);
int process_resize(struct process *process, uint16_t rows, uint16_t cols);

/* 0 or -errno. The reader is the caller's memory. */
int process_reader_open(struct process_reader *reader, struct process *process);
void process_reader_close(struct process_reader *reader);
/* The next chunk, the caller's (free); NULL: none is there. *ret_end then says whether more may come. */
struct process_chunk *process_reader_next(struct process_reader *reader, enum process_end *ret_end);

#endif
