/* SPDX-License-Identifier: Apache-2.0 */
/* The doorbell: see doorbell.h and guest_abi.h. */
#include "doorbell.h"

#include <fcntl.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <unistd.h>

#include "loop.h"

/* Where the mailbox is mapped: over a page of our own data, so that code and mailbox share the
 * lower levels of the page table. A hypervisor that shadows page tables then builds fewer of them
 * before the answer. */
static uint8_t mailbox_page[DOORBELL_MAILBOX_BYTES] __attribute__((aligned(4096)));
static volatile struct doorbell_mailbox *mailbox;
static int memory_fd = -1;

#define MEMORY_FD_MIN 11 /* bell.h */

/* Nanoseconds by time stamp counter, for the one moment when nothing else may be touched: ns is
 * cycles * ns_per_cycle >> CYCLE_SHIFT. Measured from doorbell_open to the first park. */
#define CYCLE_SHIFT 22
static uint64_t open_cycles, open_ns, ns_per_cycle;

static inline uint64_t cycles_now(void)
{
    return __builtin_ia32_rdtsc();
}

static void cycles_calibrate(void)
{
    uint64_t cycles = cycles_now() - open_cycles;

    if (!ns_per_cycle && cycles)
        ns_per_cycle = ((monotonic_ns() - open_ns) << CYCLE_SHIFT) / cycles;
}

bool doorbell_open(void)
{
    int fd;
    void *page;

    if (ioperm(DOORBELL_PORT_BASE, DOORBELL_PORT_COUNT, 1) < 0 ||
        inl(DOORBELL_PORT_PARK) != DOORBELL_MAGIC)
        return false;
    fd = open("/dev/mem", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return false;
    page = mmap(mailbox_page, DOORBELL_MAILBOX_BYTES, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, DOORBELL_MAILBOX_GPA);
    if (page != MAP_FAILED)
        memory_fd = fcntl(fd, F_DUPFD_CLOEXEC, MEMORY_FD_MIN);
    close(fd);
    if (page == MAP_FAILED)
        return false;
    mailbox = page;
    open_ns = monotonic_ns();
    open_cycles = cycles_now();
    return true;
}

int doorbell_memory_fd(void)
{
    return memory_fd;
}

static void trouble_tell(const char *trouble)
{
    size_t i = 0;

    for (; i < DOORBELL_TROUBLE_BYTES - 1 && trouble[i]; i++)
        mailbox->trouble[i] = trouble[i];
    mailbox->trouble[i] = '\0';
}

void doorbell_banner(const char *trouble)
{
    if (!mailbox)
        return;
    trouble_tell(trouble);
    outl(*trouble ? DOORBELL_BANNER_FAILED : DOORBELL_BANNER_OK, DOORBELL_PORT_BANNER);
}

/* What the host has written. The mailbox may change at any time as far as the compiler knows: each
 * word is read once. */
static void mailbox_copy(struct doorbell_mailbox *copy)
{
    const volatile uint64_t *from = (const volatile uint64_t *)mailbox;
    uint64_t *to = (uint64_t *)copy;

    for (size_t i = 0; i < offsetof(struct doorbell_mailbox, answer) / sizeof(*to); i++)
        to[i] = from[i];
}

/* Between PARK and AWAKE only this function's code and the mailbox are touched, not the stack: each
 * further page costs a restored guest a page fault in its hypervisor. */
void doorbell_park(struct doorbell_wake *ret_wake)
{
    struct doorbell_mailbox *copy = &ret_wake->mailbox;
    volatile struct doorbell_mailbox *box = mailbox;
    uint64_t answer, woken_cycles;

    cycles_calibrate();
    __asm__ volatile("" ::: "memory");
    outl(0, DOORBELL_PORT_PARK);
    __asm__ volatile("" ::: "memory");
    woken_cycles = cycles_now();
    answer = doorbell_answer(box->nonce, (const uint8_t *)(uintptr_t)box->generation_id);
    box->answer = answer;
    outl(doorbell_ring_value(answer), DOORBELL_PORT_AWAKE);
    mailbox_copy(copy);
    /* Behind the answer waits the timer tick that fell due meanwhile, with all it has to catch up:
     * the time that took is counted back. */
    ret_wake->woken_ns =
        monotonic_ns() - (((cycles_now() - woken_cycles) * ns_per_cycle) >> CYCLE_SHIFT);
    if (copy->magic != DOORBELL_MAGIC || copy->version != DOORBELL_MAILBOX_VERSION)
        copy->op = DOORBELL_OP_NONE;
    copy->hostname[sizeof(copy->hostname) - 1] = '\0';
}

void doorbell_ready(uint32_t status, const char *trouble)
{
    for (unsigned i = 0; i < DOORBELL_ENTROPY_BYTES; i++)
        mailbox->entropy[i] = 0;
    mailbox->ready_status = status;
    if (status)
        trouble_tell(trouble);
    outl(status, DOORBELL_PORT_READY);
}
