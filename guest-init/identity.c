/* SPDX-License-Identifier: Apache-2.0 */
/* Making a clone unique and its clock right.
 *
 * How it works
 *   On a software-only KVM every instruction of the guest's kernel costs 0.7 us, so this file
 * spends system calls like money. The machine id is a mapped page of /etc/machine-id whose
 * page-table entry is writable before the snapshot: a plain store changes the file. The clock's
 * distance from the wake comes from the vDSO. What remains is one ioctl for the random numbers, two
 * in a kernel without our patches, one clock_settime and one sethostname.
 */
#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hosts.h"
#include "loop.h"
#include "net.h"
#include "system.h"

#define MACHINE_ID_PATH "/etc/machine-id"
#define MACHINE_ID_DIGITS 32
#define NS_PER_S 1000000000u
#define RANDOM_DIVERGE _IOW('R', 0x40, uint8_t[DOORBELL_ENTROPY_BYTES]) /* kernel/patches/0017 */
#define CLOCK_TOLERANCE_NS 5000000 /* a parked VM's clock may be that much off and stay */

static int random_fd = -1;
static char *machine_id; /* the mapped file: 32 hex digits and a newline */

static void machine_id_write(const uint8_t id[16])
{
    static const char digits[] = "0123456789abcdef";

    for (int i = 0; i < 16; i++) {
        machine_id[2 * i] = digits[id[i] >> 4];
        machine_id[2 * i + 1] = digits[id[i] & 15];
    }
}

static void machine_id_map(void)
{
    int fd = open(MACHINE_ID_PATH, O_RDWR | O_CREAT | O_CLOEXEC, 0444);
    void *page = MAP_FAILED;

    if (fd < 0)
        return;
    if (ftruncate(fd, MACHINE_ID_DIGITS + 1) == 0)
        page = mmap(NULL, MACHINE_ID_DIGITS + 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED)
        return;
    machine_id = page;
    memset(machine_id, '0', MACHINE_ID_DIGITS);
    machine_id[MACHINE_ID_DIGITS] = '\n';
}

/* A root that can have no machine id has none that clones could share. One that has, but not for us
 * to write, makes no clone that is unique. */
static void machine_id_prepare(void)
{
    struct fail fail;

    (void)mkdir("/etc", 0755);
    machine_id_map();
    if (machine_id)
        return;
    fail_set_errno(&fail, errno, "can't write", MACHINE_ID_PATH);
    if (access(MACHINE_ID_PATH, F_OK) == 0)
        system_fail(&fail);
    else
        system_complain(&fail);
}

/* Adds bytes to the kernel's pool, credited in full. */
static int entropy_add(const uint8_t *bytes, size_t count)
{
    struct {
        struct rand_pool_info info;
        uint8_t bytes[DOORBELL_ENTROPY_BYTES];
    } pool = { .info = { .entropy_count = (int)(8 * count), .buf_size = (int)count } };
    int status;

    memcpy(pool.bytes, bytes, count);
    status = ioctl(random_fd, RNDADDENTROPY, &pool);
    explicit_bzero(&pool, sizeof(pool));
    return status;
}

/* A pool that becomes ready after the restore costs each clone several milliseconds, so the
 * template is made ready by the machine's entropy device, if it has one and the kernel did not do
 * it yet. */
static void random_make_ready(void)
{
    uint8_t bytes[DOORBELL_ENTROPY_BYTES];
    int fd;

    if (getrandom(bytes, 1, GRND_NONBLOCK) == 1)
        return;
    fd = open("/dev/hwrng", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    for (int attempt = 0; attempt < 20; attempt++) {
        ssize_t count = read(fd, bytes, sizeof(bytes));

        if (count > 0) {
            entropy_add(bytes, (size_t)count);
            break;
        }
        usleep(10000);
    }
    close(fd);
}

void identity_prepare(void)
{
    random_fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
    machine_id_prepare();
    hosts_prepare();
    random_make_ready();
}

/* A mapped file that was cut kills who stores in it; one that was replaced is nobody's. */
void identity_renew(void)
{
    if (machine_id)
        munmap(machine_id, MACHINE_ID_DIGITS + 1);
    machine_id = NULL;
    machine_id_prepare();
    hosts_prepare();
}

void identity_first(void)
{
    uint8_t id[16];

    if (machine_id && getrandom(id, sizeof(id), GRND_INSECURE) == sizeof(id))
        machine_id_write(id);
}

/* ---- Steps of RESTORE: 0, or -errno with fail set. ---- */

/* The emulated kernel takes the bytes as they are, which are the host's random ones and nobody
 * else's: six rounds of hashing less, of 1,850 instructions each. */
static bool random_diverge(const uint8_t entropy[DOORBELL_ENTROPY_BYTES])
{
    return ioctl(random_fd, RANDOM_DIVERGE, entropy) == 0;
}

static int restore_random(struct doorbell_wake *wake, struct fail *fail)
{
    int status = 0;

    if (!random_diverge(wake->mailbox.entropy) &&
        (entropy_add(wake->mailbox.entropy, DOORBELL_ENTROPY_BYTES) < 0 ||
         ioctl(random_fd, RNDRESEEDCRNG) < 0))
        status = fail_set_errno(fail, errno, "can't reseed", "/dev/urandom");
    explicit_bzero(wake->mailbox.entropy, DOORBELL_ENTROPY_BYTES);
    return status;
}

/* The wall clock as the host told it at the wake, and as long ago as that is. */
static uint64_t wall_clock_now_ns(const struct doorbell_wake *wake)
{
    return wake->mailbox.wall_clock_ns + (monotonic_ns() - wake->woken_ns);
}

static int restore_clock(struct doorbell_wake *wake, struct fail *fail)
{
    uint64_t now_ns = wall_clock_now_ns(wake);
    struct timespec now = { .tv_sec = (time_t)(now_ns / NS_PER_S),
                            .tv_nsec = (long)(now_ns % NS_PER_S) };

    if (clock_settime(CLOCK_REALTIME, &now) == 0)
        return 0;
    return fail_set_errno(fail, errno, "can't set the clock", NULL);
}

static int restore_hostname(struct doorbell_wake *wake, struct fail *fail)
{
    const char *hostname = wake->mailbox.hostname;

    hosts_set(hostname);
    if (sethostname(hostname, strlen(hostname)) == 0)
        return 0;
    return fail_set_errno(fail, errno, "can't set the hostname", hostname);
}

static int restore_machine_id(struct doorbell_wake *wake, struct fail *fail)
{
    (void)fail;
    if (machine_id)
        machine_id_write(wake->mailbox.generation_id);
    return 0;
}

static int restore_network(struct doorbell_wake *wake, struct fail *fail)
{
    return wake->mailbox.flags & DOORBELL_FLAG_NETWORK ? net_configure(&wake->mailbox, fail) : 0;
}

uint32_t identity_restore(struct doorbell_wake *wake, struct text *trouble)
{
    /* The clock last: the steps before it take time that it then has right. */
    static const struct {
        int (*work)(struct doorbell_wake *wake, struct fail *fail);
        uint32_t failed;
    } steps[] = {
        { restore_random, DOORBELL_READY_FAILED_RNG },
        { restore_hostname, DOORBELL_READY_FAILED_HOSTNAME },
        { restore_machine_id, DOORBELL_READY_FAILED_MACHINE_ID },
        { restore_network, DOORBELL_READY_FAILED_NETWORK },
        { restore_clock, DOORBELL_READY_FAILED_CLOCK },
    };
    uint32_t status = 0;
    struct fail fail;

    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        if (steps[i].work(wake, &fail) == 0)
            continue;
        text_add(trouble, status ? "; " : "");
        text_add(trouble, fail.sentence);
        status |= steps[i].failed;
    }
    return status;
}

void identity_lease(struct doorbell_wake *wake)
{
    struct timespec now;
    struct fail fail;

    clock_gettime(CLOCK_REALTIME, &now); /* the vDSO's: no system call */
    int64_t off_ns = (int64_t)((uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec -
                               wall_clock_now_ns(wake));
    if (off_ns > CLOCK_TOLERANCE_NS || off_ns < -CLOCK_TOLERANCE_NS)
        restore_clock(wake, &fail);
}
