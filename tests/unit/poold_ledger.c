/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a ledger is as its writer left it, whenever that was killed, and one of another kind is none;
 * what a keeper is given it gives back, and what is taken back it closes. Method: two mappings of one
 * ledger; a keeper in a forked process, whose socket is a pair's. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/unix_listen.h"
#include "base/util.h"
#include "keep/keep_table.h"
#include "keep/ledger.h"
#include "tap_main.h"

static const struct ledger_vm some_vm = {
    .id = "0123456789abcdef", .pool = "default", .hostname = "volt-0123", .uid = 900007
};

static struct ledger *ledger_make(void)
{
    struct ledger *ledger = NULL;
    struct err err;

    ck_assert_int_eq(ledger_create(&ledger, &err), 0);
    return ledger;
}

static struct ledger *ledger_again(const struct ledger *ledger)
{
    struct ledger *again = NULL;
    struct err err;

    ck_assert_int_eq(ledger_open(fcntl(ledger_fd(ledger), F_DUPFD_CLOEXEC, 0), &again, &err), 0);
    return again;
}

START_TEST(what_is_written_is_read_by_the_next)
{
    struct ledger *ledger = ledger_make();
    uint32_t index = ledger_vm_take(ledger);
    struct ledger_vm vm;

    ledger_vm_write(ledger, index, &some_vm);
    ledger_vm_state(ledger, index, LEDGER_LEASED);
    struct ledger *again = ledger_again(ledger);
    ledger_close(ledger);
    ck_assert_uint_eq(ledger_vm_end(again), index + 1);
    ck_assert_int_eq(ledger_vm_read(again, index, &vm), LEDGER_LEASED);
    ck_assert_int_eq(memcmp(&vm, &some_vm, sizeof vm), 0);
    ck_assert_uint_ne(ledger_vm_take(again), index);
    ledger_vm_state(again, index, LEDGER_FREE);
    ck_assert_uint_eq(ledger_vm_take(again), index);
    ledger_close(again);
}
END_TEST

/* At each byte of a change the record is as before: the copy that is written does not count yet. */
START_TEST(a_writer_that_is_killed_leaves_what_was)
{
    struct ledger *ledger = ledger_make();
    uint32_t index = ledger_vm_take(ledger);
    const uint64_t record = HOST_PAGE_BYTES + LEDGER_TEMPLATES_MAX * 512ull + index * 2048ull;
    struct ledger_vm vm, other = some_vm;

    ledger_vm_write(ledger, index, &some_vm);
    ledger_vm_state(ledger, index, LEDGER_PARKED);
    /* The first copy that is written is the second: the next change goes to the first. */
    for (uint64_t at = 0; at < 1008; at += 21) {
        uint8_t torn = (uint8_t)(at + 1);

        ck_assert_int_eq(pwrite_all(ledger_fd(ledger), &torn, 1, record + 32 + at), 0);
        ck_assert_int_eq(ledger_vm_read(ledger, index, &vm), LEDGER_PARKED);
        ck_assert_int_eq(memcmp(&vm, &some_vm, sizeof vm), 0);
    }
    other.ttl_ms = 5;
    ledger_vm_write(ledger, index, &other);
    ck_assert_int_eq(ledger_vm_read(ledger, index, &vm), LEDGER_PARKED);
    ck_assert_uint_eq(vm.ttl_ms, 5);
    /* One that counts and is damaged is none. */
    ck_assert_int_eq(pwrite_all(ledger_fd(ledger), "x", 1, record + 32), 0);
    ck_assert_int_eq(ledger_vm_read(ledger, index, &vm), LEDGER_BUSY);
    ledger_close(ledger);
}
END_TEST

START_TEST(another_version_is_refused)
{
    struct ledger *ledger = ledger_make(), *again = NULL;
    const uint32_t version = LEDGER_VERSION + 1;
    struct err err;

    ck_assert_int_eq(pwrite_all(ledger_fd(ledger), &version, sizeof version, 8), 0);
    ck_assert_int_eq(ledger_open(dup(ledger_fd(ledger)), &again, &err), -EPROTO);
    ck_assert_ptr_nonnull(strstr(err.msg, "version 2"));
    int fd = memfd_create("short", MFD_CLOEXEC);
    ck_assert_int_eq(ledger_open(fd, &again, &err), -EPROTO);
    ledger_close(ledger);
}
END_TEST

/* ---- The keeper ---- */

static char keeper_path[64];

static pid_t keeper_start(void)
{
    struct unix_listener listener;
    struct err err;

    snprintf(keeper_path, sizeof keeper_path, "/tmp/keeper-test-%d", (int)getpid());
    ck_assert_int_eq(unix_listen_packets(&listener, keeper_path, 0600, 4, &err), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(listener.fd, KEEPER_LISTEN_FD);
        _exit(keeper_main());
    }
    close(listener.fd);
    return pid;
}

static int keeper_dial(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fds[KEEP_ROLES_MAX], fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    struct keep_msg msg;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", keeper_path);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(keep_recv(fd, &msg, fds, 0), 0);
    ck_assert_uint_eq(msg.type, KEEP_HELLO);
    ck_assert_uint_eq(msg.value, KEEP_VERSION);
    return fd;
}

static void tell(int fd, uint32_t type, uint32_t roles, uint64_t value, const int *fds)
{
    const struct keep_msg msg = {
        .type = type, .kind = KEEP_VM, .index = 7, .roles = roles, .value = value
    };

    ck_assert_int_eq(keep_send(fd, &msg, fds, 0), 0);
}

/* What is held under that index; the number of all entries. */
static unsigned list(int fd, struct keep_table *ret_table)
{
    unsigned count = 0;

    tell(fd, KEEP_LIST, 0, 0, NULL);
    for (;;) {
        int fds[KEEP_ROLES_MAX];
        struct keep_msg msg;

        ck_assert_int_eq(keep_recv(fd, &msg, fds, 0), 0);
        if (msg.type == KEEP_LIST_END)
            return count;
        keep_table_put(ret_table, &msg, fds);
        keep_fds_close(fds, KEEP_ALL_ROLES);
        count++;
    }
}

START_TEST(a_keeper_gives_back_what_it_was_given)
{
    pid_t pid = keeper_start();
    int fd = keeper_dial(), pair[2], status;
    struct keep_table table = { 0 };
    char byte;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    tell(fd, KEEP_PUT, 1u << 2 | 1u << 5, 42, pair);
    tell(fd, KEEP_PUT, 1u << 5, 43, pair + 1);
    close(pair[1]);
    close(fd);
    fd = keeper_dial(); /* the next poold */
    ck_assert_uint_eq(list(fd, &table), 1);
    struct keep_entry *entry = keep_table_at(&table, KEEP_VM, 7);
    ck_assert_uint_eq(keep_entry_roles(entry), 1u << 2 | 1u << 5);
    ck_assert_uint_eq(entry->value, 43);
    ck_assert_int_eq(write(pair[0], "a", 1), 1);
    ck_assert_int_eq(read(entry->fds[5], &byte, 1), 1);
    keep_table_close(&table);
    tell(fd, KEEP_TAKE_BACK, KEEP_ALL_ROLES, 0, NULL);
    ck_assert_int_eq(read(pair[0], &byte, 1), 0); /* nobody has the other end */
    ck_assert_uint_eq(list(fd, &table), 0);
    keep_table_close(&table);
    tell(fd, KEEP_STOP, 0, 0, NULL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    unlink(keeper_path);
}
END_TEST

START_TEST(a_keeper_ends_when_nobody_comes)
{
    pid_t pid = keeper_start();
    int fd = keeper_dial(), status;

    tell(fd, KEEP_GRACE, 0, 20, NULL);
    usleep(100000); /* with a poold it stays */
    ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
    close(fd);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    unlink(keeper_path);
}
END_TEST

/* What is no message is ignored, with its fds, and costs nothing that is held. */
START_TEST(a_keeper_takes_no_nonsense)
{
    pid_t pid = keeper_start();
    int fd = keeper_dial(), pair[2];
    struct keep_table table = { 0 };

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    tell(fd, KEEP_PUT, 1, 0, pair);
    ck_assert_int_eq(send(fd, "short", 5, 0), 5);
    tell(fd, KEEP_PUT, 1u << 1, 0, NULL); /* without the fd that it promises */
    tell(fd, 99, 0, 0, NULL);
    struct keep_msg far = { .type = KEEP_PUT, .kind = 99, .index = UINT32_MAX, .roles = 1 };
    ck_assert_int_eq(keep_send(fd, &far, pair, 0), 0);
    ck_assert_uint_eq(list(fd, &table), 1);
    ck_assert_uint_eq(keep_entry_roles(keep_table_at(&table, KEEP_VM, 7)), 1);
    keep_table_close(&table);
    tell(fd, KEEP_STOP, 0, 0, NULL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    unlink(keeper_path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poold-ledger");
    TCase *tests = tap_case(suite, "ledger");

    tcase_add_test(tests, what_is_written_is_read_by_the_next);
    tcase_add_test(tests, a_writer_that_is_killed_leaves_what_was);
    tcase_add_test(tests, another_version_is_refused);
    tcase_add_test(tests, a_keeper_gives_back_what_it_was_given);
    tcase_add_test(tests, a_keeper_ends_when_nobody_comes);
    tcase_add_test(tests, a_keeper_takes_no_nonsense);
    return tap_main(suite);
}
