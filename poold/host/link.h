/* SPDX-License-Identifier: Apache-2.0 */
/* A link: poold's end of one volt-vmm process: its control and bell sockets, its pidfd, what it
 * writes to stdout and stderr until it is confined, and a boot VM's console, watched by the loop.
 * Used for boot VMs, templates and clones alike. Loop thread only.
 *
 * A link lives inside its owner's struct. The owner may free that only from the `released`
 * callback, which comes after link_close, once libuv lets go of the handles. */
#ifndef VOLT_POOLD_LINK_H
#define VOLT_POOLD_LINK_H

#include <stdbool.h>
#include <uv.h>

#include "control/control.h"

enum link_channel {
    LINK_BELL,
    LINK_CONTROL,
    LINK_PIDFD,
    LINK_TEXT,    /* a pipe */
    LINK_CONSOLE, /* a pipe */
    LINK_CHANNEL_COUNT,
};

/* Of one process: what it says before it is confined is errors. */
#define LINK_TEXT_BYTES_MAX 16384u
#define LINK_LINE_BYTES 256u

struct link;

struct link_ops {
    /* A message; the callee owns fds. There are none if poold had no descriptors left for them. */
    void (*message)(struct link *link, enum link_channel channel, const struct control_msg *msg,
                    int *fds, unsigned fd_count);
    /* End of file (-ENOTCONN) or a broken message (-errno) on a socket; it is closed already. */
    void (*closed)(struct link *link, enum link_channel channel, int error);
    /* A line of its text, or what fits of one: as it came, but for NUL bytes. Only of what is
     * attached as LINK_TEXT; after LINK_TEXT_BYTES_MAX of it the pipe is closed. */
    void (*text)(struct link *link, const char *line);
    /* Some bytes of its console, as they come; false: no more of them is read, and the pipe fills
     * up. Only of what is attached as LINK_CONSOLE. */
    bool (*console)(struct link *link, const char *bytes, size_t count);
    /* The process has ended. */
    void (*exited)(struct link *link);
    /* After link_close: nothing refers to the link any more. */
    void (*released)(struct link *link);
};

struct link {
    const struct link_ops *ops;
    uv_loop_t *loop;
    int fds[LINK_CHANNEL_COUNT];
    uv_poll_t polls[LINK_CHANNEL_COUNT];
    bool polling[LINK_CHANNEL_COUNT];
    bool closing;
    const void *payload; /* of the CALL or ANSWER that is being passed on: valid until the return */
    unsigned open_handles;
    uint32_t text_bytes; /* that came */
};

void link_init(struct link *link, uv_loop_t *loop, const struct link_ops *ops);

/* Watches fd, which becomes the link's whatever the outcome. 0 or -errno. */
int link_attach(struct link *link, enum link_channel channel, int fd);

/* Closes one channel, or all of them; the latter is followed by `released`. */
void link_close_channel(struct link *link, enum link_channel channel);
void link_close(struct link *link);

/* SIGSTOP through the pidfd. 0 or -errno; -ESRCH when there is none yet. */
int link_freeze(struct link *link);
/* SIGCONT through the pidfd. */
void link_thaw(struct link *link);

/* SIGKILL through the pidfd, if it is there. */
void link_kill(struct link *link);

/* Makes a pair of connected, close-on-exec SEQPACKET sockets; the first is poold's end, which
 * link_attach makes non-blocking. Without takes_fds the kernel refuses to send fds to it (from Linux
 * 6.16 on): one that arrives, a VM's last one of its KVM, may take poold 20 ms to let go of. */
int link_socketpair(int ret_pair[2], bool takes_fds);

#endif
