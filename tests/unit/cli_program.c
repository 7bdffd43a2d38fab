/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: what voltctl runs on trees of others writes beneath its folder, reads, and does nothing else:
 * no socket of any kind, no key, no namespace. Method: the program that is run is this one, which
 * tries all that and writes down what came of it; the same attempts work where nothing is in their
 * way, so the test can fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/landlock.h"
#include "base/util.h"
#include "program.h"
#include "tap_main.h"

#define TRY "try"
#define INHERITED_FD 77

static char base[64];

/* ---- In the program ---- */

static int errno_of(long result)
{
    return result < 0 ? errno : 0;
}

static int try_unix(const char *folder)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s/../socket", folder);
    return fd < 0 ? errno : errno_of(connect(fd, (struct sockaddr *)&address, sizeof address));
}

static int try_udp(const char *folder)
{
    const struct sockaddr_in address = { .sin_family = AF_INET,
                                         .sin_port = htons(9),
                                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    (void)folder;
    return fd < 0
               ? errno
               : errno_of(sendto(fd, "x", 1, 0, (const struct sockaddr *)&address, sizeof address));
}

static int try_keys(const char *folder)
{
    (void)folder;
    return errno_of(syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -3, 1));
}

static int try_namespace(const char *folder)
{
    (void)folder;
    return errno_of(unshare(CLONE_NEWUSER));
}

static int try_inherited(const char *folder)
{
    (void)folder;
    return errno_of(fcntl(INHERITED_FD, F_GETFD));
}

static int try_write(const char *folder, const char *name)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return errno_of(fd);
}

static int try_outside(const char *folder)
{
    return try_write(folder, "../outside");
}

static int try_inside(const char *folder)
{
    return try_write(folder, "inside");
}

static int try_read(const char *folder)
{
    _cleanup_close_ int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

    (void)folder;
    return errno_of(fd);
}

static const struct attempt {
    const char *name;
    int (*make)(const char *folder);
    bool allowed, landlocks; /* Landlock is what forbids it */
} attempts[] = {
    { "a socket by its name", try_unix, false, false },
    { "a datagram", try_udp, false, false },
    { "keys", try_keys, false, false },
    { "a namespace", try_namespace, false, false },
    { "a descriptor of its user's", try_inherited, false, false },
    { "a file outside", try_outside, false, true },
    { "a file inside", try_inside, true, false },
    { "reading", try_read, true, false },
};

/* Each attempt's errno, a byte, into folder/said. */
static int attempts_make(const char *folder)
{
    uint8_t said[ARRAY_LEN(attempts)];
    char path[128];

    for (unsigned i = 0; i < ARRAY_LEN(attempts); i++)
        said[i] = (uint8_t)attempts[i].make(folder);
    snprintf(path, sizeof path, "%s/said", folder);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd >= 0 && write(fd, said, sizeof said) == sizeof said ? 0 : 1;
}

/* ---- Outside ---- */

static int set_up(char folder[96])
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(base, "/tmp/volt-unit-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", base);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    snprintf(folder, 96, "%s/folder", base);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    return fd;
}

static void said_read(const char *folder, uint8_t said[ARRAY_LEN(attempts)])
{
    char path[128];

    snprintf(path, sizeof path, "%s/said", folder);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(read(fd, said, ARRAY_LEN(attempts)), ARRAY_LEN(attempts));
}

START_TEST(it_does_what_it_is_for_and_nothing_else)
{
    uint8_t said[ARRAY_LEN(attempts)];
    struct err err = { 0 };
    char folder[96], command[96];
    _cleanup_close_ int listener = set_up(folder);
    const char *const arguments[] = { "/proc/self/exe", TRY, folder };
    const struct program program = { "none", folder, arguments, ARRAY_LEN(arguments) };

    ck_assert_int_eq(dup2(STDERR_FILENO, INHERITED_FD), INHERITED_FD);
    ck_assert_msg(program_run(&program, &err) == 0, "%s", err.msg);
    said_read(folder, said);
    for (unsigned i = 0; i < ARRAY_LEN(attempts); i++) {
        bool expected = attempts[i].allowed || (attempts[i].landlocks && landlock_abi() == 0);

        ck_assert_msg((said[i] == 0) == expected, "%s: %s", attempts[i].name, strerror(said[i]));
    }
    snprintf(command, sizeof command, "rm -rf %s", base);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

/* Where nothing forbids them they work: keys and namespaces as far as the host has them. */
START_TEST(the_attempts_are_ones)
{
    char folder[96], command[96];
    _cleanup_close_ int listener = set_up(folder);

    ck_assert_int_eq(try_unix(folder), 0);
    ck_assert_int_eq(try_udp(folder), 0);
    ck_assert_int_eq(try_outside(folder), 0);
    ck_assert_int_eq(dup2(STDERR_FILENO, INHERITED_FD), INHERITED_FD);
    ck_assert_int_eq(try_inherited(folder), 0);
    snprintf(command, sizeof command, "rm -rf %s", base);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], TRY) == 0)
        return attempts_make(argv[2]);
    Suite *suite = suite_create("program");
    TCase *tests = tap_case(suite, "program");

    tcase_add_test(tests, it_does_what_it_is_for_and_nothing_else);
    tcase_add_test(tests, the_attempts_are_ones);
    return tap_main(suite);
}
