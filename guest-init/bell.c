/* SPDX-License-Identifier: Apache-2.0 */
/* The function's bell: see bell.h and guest_abi.h. */
#include "bell.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "doorbell.h"

#define FDS_ABOVE 10 /* what the service's own fds are put over has no other number */

static int gate = -1; /* our end */

static int fd_lift(int fd)
{
    int lifted = fcntl(fd, F_DUPFD_CLOEXEC, FDS_ABOVE), error = errno;

    close(fd);
    return lifted < 0 ? -error : lifted;
}

int bell_open(struct bell_fds *ret)
{
    int pair[2];

    if (gate >= 0) /* of a start that failed */
        close(gate);
    gate = -1;
    ret->memory = doorbell_memory_fd();
    if (ret->memory < 0)
        return -ENODEV;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    gate = pair[0];
    ret->gate = fd_lift(pair[1]);
    if (ret->gate >= 0)
        return 0;
    close(gate);
    gate = -1;
    return ret->gate;
}

int bell_port_open(void)
{
    return ioperm(FUNCTION_PORT_BELL, FUNCTION_PORT_COUNT, 1) < 0 ? -errno : 0;
}

bool bell_ready(void)
{
    char byte;

    return gate >= 0 && recv(gate, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

void bell_let_ring(void)
{
    (void)!send(gate, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT); /* one that is gone is heard of */
}

/* The call that is on, whoever was to answer it; 0: none. */
static uint32_t call_due(const volatile struct function_head *head)
{
    return head->call == head->answered ? 0 : head->call;
}

void bell_stand_in(const char *sentence)
{
    uint8_t *area = bell_port_open() < 0
                        ? MAP_FAILED
                        : mmap(NULL, FUNCTION_AREA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                               doorbell_memory_fd(), FUNCTION_AREA_GPA);
    volatile struct function_head *head = (void *)area;
    uint32_t call;

    if (area == MAP_FAILED)
        return;
    do {
        call = call_due(head);
        memcpy(area + (FUNCTION_ANSWER_GPA - FUNCTION_AREA_GPA), sentence, strlen(sentence));
        head->answer_kind = FUNCTION_ANSWER_ENDED;
        head->answer_bytes = (uint32_t)strlen(sentence);
        head->answered = call ? call : head->answered;
        outl(call, FUNCTION_PORT_BELL);
    } while (call_due(head));
    munmap(area, FUNCTION_AREA_BYTES);
}
