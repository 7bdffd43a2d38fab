/* SPDX-License-Identifier: Apache-2.0 */
/* One session of the agent: its parts and who owns which.
 *
 *   agent.c          connections: which sessions there are
 *   agent_session.c  frames in and out, the session's life
 *   agent_exec.c     EXEC: the command, its timeout and result
 *   agent_streams.c  its streams, and a CALL's
 *   agent_call.c     CALL: a connection in the place of a command
 *   agent_service.c  the service, and what it writes
 *   agent_gate.c     connections that the service makes, until a CALL takes them
 *   agent_files.c    PUT and GET
 *   agent_mount.c    MOUNT and UNMOUNT
 *
 * How it works
 *   Sources are edge-triggered: an event only sets a readiness flag, and session_pump takes steps
 *   that the flags allow until none can be taken. Output is made one frame at a time in `out`, and
 *   nothing more is read (from the command, or from a file) before that frame is gone: this is the
 *   back-pressure, and the bound on memory. Stdin is bounded by the credit that the client was
 *   given.
 *
 * Invariants
 *   1. A readiness flag is cleared only by a call that shows that nothing is there (or no room), so
 *      that the next edge is still to come.
 *   2. session_pump ends because no step can be taken, or with `more` set: whoever waits in a
 *      session waits for an edge, a timer or the reaper.
 */
#ifndef GUEST_AGENT_SESSION_H
#define GUEST_AGENT_SESSION_H

#include "agent_frame.h"
#include "exec_fds.h"
#include "loop.h"
#include "tar_extract.h"
#include "tar_write.h"

enum session_state {
    SESSION_FREE = 0,
    SESSION_REQUEST, /* waits for its request */
    SESSION_EXEC,    /* a command runs, or its output is still being sent; or a CALL */
    SESSION_PUT,
    SESSION_GET,
    SESSION_RESULT, /* the result frame is being sent; from here on nothing the client sends counts
                     */
    SESSION_LINGER, /* it is sent; waits for the client to close */
};

enum session_call {
    CALL_NONE = 0, /* it is a command */
    CALL_WAITING,  /* tries to connect, by `timeout`, or waits for the gate */
    CALL_OPEN,     /* streams[0] and input are the connection; streams[1] is the service's output */
    CALL_OVER,     /* call_error says how; what the service has written yet is still to be sent */
};

#define OUT_PAYLOAD_MAX 65536u
/* Room behind a frame that is half sent for the result that ends the session early: an ERROR. */
#define OUT_RESULT_ROOM 512u

struct stream {
    struct loop_source source; /* fd -1: closed */
    bool readable;
    size_t drained; /* bytes read since the command ended */
};

struct session {
    enum session_state state;
    enum session_state work; /* EXEC, PUT or GET: that has something to be ended; FREE: nothing */
    struct loop_source socket;
    bool socket_readable, socket_writable;
    bool watched;         /* the socket, which at first is just read */
    bool socket_was_full; /* so it is watched for room, too */
    bool hangup;          /* the client closed: read to the end, however short a read is */
    bool more;            /* stopped for fairness, not for want of work */
    struct agent_parser parser;
    uint8_t frame_type; /* of the frame whose payload is coming */
    uint32_t fill;      /* bytes of its payload in request or small */
    uint8_t small[16];  /* payload of SIGNAL and RESIZE */
    uint8_t *parts;     /* of an EXEC that is longer than a frame; NULL: none */
    uint32_t parts_bytes;

    /* EXEC */
    pid_t pid; /* 0: none, or reaped */
    bool child_ended, timed_out, terminal, stdin_eof;
    int wait_status;
    struct exec_fds fds; /* those that are in no stream: the command's ends of its output */
    struct stream streams[STREAM_COUNT];
    struct stream input;            /* the command's stdin; `readable` means writable */
    bool input_was_full;            /* so it is watched */
    uint8_t end_keys;               /* end-of-file keys that a terminal is still to get */
    bool in_line;                   /* what a terminal got last was no end of line */
    uint32_t stdin_at, stdin_bytes; /* what of the ring is waiting for the command */
    uint32_t stdin_granted;         /* bytes the client may still send */
    struct loop_timer timeout;      /* of EXEC, then of LINGER */

    /* CALL: of EXEC's, streams, input, stdin_* and timeout */
    enum session_call call;
    struct agent_call call_request;
    uint32_t call_tries; /* left */
    int call_error;      /* 0, or an errno */
    bool log_flood;      /* the last frame was as much of the service's output as fits */

    /* The frame that is being sent. */
    uint32_t out_bytes, out_sent;
    union {
        uint8_t out[sizeof(struct agent_frame) + OUT_PAYLOAD_MAX + OUT_RESULT_ROOM];
        struct agent_frame out_frame;
    };
    union {
        uint8_t request[AGENT_PAYLOAD_MAX]; /* until the request is acted on */
        uint8_t stdin_ring[AGENT_STDIN_CREDIT];
        struct {
            struct tar_reader reader;
            struct extract extract;
            int root_fd;
        } put;
        struct tar_writer get;
    };
};

/* Makes a free session one that takes its request from this connected, non-blocking socket, which
 * becomes its own, and does what is asked there already; it may be over when this returns. */
void session_open(struct session *session, int fd);

/* Does what can be done now; the session may be gone afterwards. */
void session_pump(struct session *session);

/* Whether the agent may park on a session's request; it is noted. In agent.c. */
bool agent_park_ask(void);

/* mkdir -p; whether it is there the caller finds out. In agent_files.c. */
void session_make_path(char *path);

/* Puts a frame into `out`, which must be empty. */
void session_frame(struct session *session, enum agent_frame_type type, const void *payload,
                   size_t bytes);

/* Ends the session with this result frame. If `out` is not empty, the result goes behind what is
 * there and has at most OUT_RESULT_ROOM - 8 bytes. */
void session_result(struct session *session, enum agent_frame_type type, const void *payload,
                    size_t bytes);
void session_error(struct session *session, const struct fail *fail);

/* The same where nothing runs any more, so that the result need not wait for the tidying up. */
void session_result_first(struct session *session, enum agent_frame_type type, const void *payload,
                          size_t bytes);

/* The session does this from now on: EXEC, PUT or GET. */
void session_work(struct session *session, enum session_state work);

/* ---- EXEC ---- */

/* `payload` is the whole request. */
void session_exec_start(struct session *session, uint8_t *payload, size_t bytes);
int session_exec_stdin(struct session *session, const uint8_t *data, size_t bytes,
                       struct fail *fail);
void session_exec_eof(struct session *session);
void session_exec_signal(struct session *session, uint32_t signal);
void session_exec_resize(struct session *session, const struct agent_winsize *size);
/* Gives stdin to the command. Whether it took some. */
bool session_exec_feed(struct session *session);
/* The reaper has the command's end. */
void session_exec_ended(struct session *session, int wait_status);
/* Makes the next frame: output, credit or the result. False: nothing to send now. */
bool session_exec_produce(struct session *session);
/* Kills what runs and closes its fds. */
void session_exec_fini(struct session *session);

/* Takes over those of session->fds that are ours to read and write. False: one can't be watched. */
bool session_streams_watch(struct session *session);
/* Closes them, and what is left of session->fds. */
void session_streams_close(struct session *session);
/* Reads stream `index` into the next frame. False: there is nothing now. */
bool session_stream_produce(struct session *session, int index);

/* ---- MOUNT and UNMOUNT: done, and their results made, when they return. ---- */

void session_mount(struct session *session);
void session_unmount(struct session *session);

/* ---- CALL ---- */

void session_call_start(struct session *session);
/* Somebody has come to the gate. */
void session_call_offer(struct session *session);
/* Makes the next frame: output or the result. False: nothing to send now. */
bool session_call_produce(struct session *session);

/* ---- The service ---- */

/* True, with fail set: there is one already, or nothing for it to ask at. flags: AGENT_EXEC_*. */
bool service_refused(uint32_t flags, struct fail *fail);
/* What it is born with if it waits at the bell; else NULL. Until it runs. */
const struct bell_fds *service_bell(uint32_t flags);
/* It runs: takes pid and fds of the session, which has its result then. */
void session_service_started(struct session *session);
/* True if that was the service's. */
bool service_child_ended(pid_t pid, int wait_status);
/* Whether there was one and it has ended; then how, added to text. */
bool service_ended(struct text *text);
/* A duplicate of the fd that has its output, or -1. */
int service_output(void);

/* ---- The gate ---- */

/* Listens. 0 or -errno. */
int gate_open(void);
/* The oldest connection that is held, which becomes the caller's; -EAGAIN: there is none. */
int gate_take(void);
/* What has been asked on one that is held, which stays: bytes, or -EAGAIN. */
ssize_t gate_peek(void *data, size_t bytes);
/* Has the sessions that wait for the gate told. In agent.c. */
void agent_gate_came(void);

/* ---- PUT and GET ---- */

void session_put_start(struct session *session);
int session_put_data(struct session *session, const uint8_t *data, size_t bytes, struct fail *fail);
void session_put_eof(struct session *session);
void session_put_fini(struct session *session);
void session_get_start(struct session *session);
bool session_get_produce(struct session *session);

#endif
