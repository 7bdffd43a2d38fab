/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes the receiving side of the control protocol: a VMM that was taken over by its guest writes
 * to poold what it likes. Input: datagrams, each a byte of fd count, two bytes of length, bytes. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/util.h"
#include "control/control.h"
#include "fuzz.h"

#define DATAGRAM_BYTES_MAX 4096u
#define FDS_SENT_MAX 12u

static void datagram_send(int socket_fd, const uint8_t *data, size_t bytes, unsigned fd_count)
{
    char space[CMSG_SPACE(FDS_SENT_MAX * sizeof(int))] = { 0 };
    struct iovec iov = { .iov_base = memcpy(malloc(bytes ? bytes : 1), data, bytes),
                         .iov_len = bytes };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (fd_count > 0) {
        struct cmsghdr *cmsg = (struct cmsghdr *)(void *)space;

        msg.msg_control = space;
        msg.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        for (unsigned i = 0; i < fd_count; i++)
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &socket_fd, sizeof(int));
    }
    (void)!sendmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    free(iov.iov_base);
}

static unsigned fds_open(void)
{
    unsigned count = 0;

    for (int fd = 0; fd < 64; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    static uint8_t payload[512];
    unsigned before = fds_open();
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        abort();
    while (input.bytes > 3) {
        unsigned fd_count = fuzz_u8(&input) % (FDS_SENT_MAX + 1);
        size_t wanted = fuzz_u16(&input) % (DATAGRAM_BYTES_MAX + 1);
        size_t length = MIN_OF(wanted, input.bytes);
        int fds[CONTROL_FDS_MAX];
        struct control_msg msg;
        unsigned received = 0;
        int r;

        datagram_send(pair[0], input.data, length, fd_count);
        input.data += length;
        input.bytes -= length;
        r = control_recv_payload(pair[1], &msg, fds, &received, payload, sizeof payload);
        if (r == 0 && msg.type == CONTROL_ANSWER && msg.u.answer.payload_bytes > sizeof payload)
            abort();
        if (r == 0 && (msg.bytes != control_msg_bytes((enum control_type)msg.type) ||
                       received > CONTROL_FDS_MAX))
            abort();
        for (unsigned i = 0; r == 0 && i < received; i++)
            close(fds[i]);
    }
    close(pair[0]);
    close(pair[1]);
    if (fds_open() != before)
        abort(); /* every fd that came was handed over or closed */
    return 0;
}
