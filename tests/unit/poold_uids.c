/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: no two poolds of a host have a uid for VMs in common, nor one with anybody else's; blocks come
 * back from a poold that was killed, and uids when their last holder is gone. Method: folders of the
 * test's own in place of /etc, /proc and the locks; other poolds are forked processes. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "host/vm_uids.h"
#include "tap_main.h"

#define BASE 900000u
#define BLOCKS 64u

static char top[] = "/tmp/volt-uids-XXXXXX", etc[64], proc[64];
static struct vm_uids_host host;

static void file_make(const char *dir, const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void dir_make(const char *path)
{
    ck_assert(mkdir(path, 0700) == 0 || errno == EEXIST);
}

static void set_up(void)
{
    char path[128];

    strcpy(top, "/tmp/volt-uids-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(top));
    snprintf(etc, sizeof etc, "%s/etc", top);
    snprintf(proc, sizeof proc, "%s/proc", top);
    snprintf(host.locks, sizeof host.locks, "%s/locks", top);
    host.etc = etc;
    host.proc = proc;
    dir_make(etc);
    dir_make(proc);
    snprintf(path, sizeof path, "%s/self", proc);
    dir_make(path);
    file_make(proc, "self/uid_map", "         0          0 4294967295\n");
    file_make(proc, "self/gid_map", "         0          0 4294967295\n");
}

static void tear_down(void)
{
    char command[64];

    snprintf(command, sizeof command, "rm -rf '%s'", top);
    ck_assert_int_eq(system(command), 0);
}

static void process_make(unsigned pid, const char *status)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%u", proc, pid);
    dir_make(path);
    file_make(path, "status", status);
}

static struct vm_uid_block *claim(void)
{
    struct vm_uid_block *block = NULL;
    struct err err = { 0 };

    ck_assert_msg(vm_uids_claim(&host, BASE, BLOCKS * VM_UIDS_BLOCK, &block, &err) == 0, "%s",
                  err.msg);
    return block;
}

static void give_up(struct vm_uid_block *block)
{
    close(block->lock_fd);
    free(block);
}

START_TEST(blocks_are_claimed_once)
{
    struct vm_uid_block *blocks[20];

    for (unsigned i = 0; i < ARRAY_LEN(blocks); i++) {
        blocks[i] = claim();
        ck_assert_uint_eq(blocks[i]->first, BASE + i * VM_UIDS_BLOCK);
    }
    give_up(blocks[7]);
    blocks[7] = claim();
    ck_assert_uint_eq(blocks[7]->first, BASE + 7 * VM_UIDS_BLOCK);
    for (unsigned i = 0; i < ARRAY_LEN(blocks); i++)
        give_up(blocks[i]);
}
END_TEST

/* Claims 10 blocks and tells so; lives until it is killed. */
static pid_t other_poold(void)
{
    int told[2];
    char byte;

    ck_assert_int_eq(pipe2(told, O_CLOEXEC), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        for (unsigned i = 0; i < 10; i++)
            claim();
        (void)!write(told[1], "x", 1);
        pause();
    }
    close(told[1]);
    ck_assert_int_eq(read(told[0], &byte, 1), 1);
    close(told[0]);
    return pid;
}

START_TEST(two_poolds_have_none_in_common_and_a_killed_one_has_none)
{
    pid_t others[2] = { other_poold(), other_poold() };
    struct vm_uid_block *block = claim(), *blocks[11];

    ck_assert_uint_eq(block->first, BASE + 20 * VM_UIDS_BLOCK);
    give_up(block);
    kill(others[0], SIGKILL);
    ck_assert_int_eq(waitpid(others[0], NULL, 0), others[0]);
    for (unsigned i = 0; i < ARRAY_LEN(blocks); i++) {
        blocks[i] = claim();
        ck_assert_uint_eq(blocks[i]->first, BASE + (i < 10 ? i : 20) * VM_UIDS_BLOCK);
    }
    for (unsigned i = 0; i < ARRAY_LEN(blocks); i++)
        give_up(blocks[i]);
    kill(others[1], SIGKILL);
    ck_assert_int_eq(waitpid(others[1], NULL, 0), others[1]);
}
END_TEST

static const struct {
    const char *name, *text;
} given[] = {
    { "passwd", "root:x:0:0:root:/root:/bin/sh\nmoon:x:900007:100::/:/bin/sh\n" },
    { "group", "root:x:0:\nmoon:*:901023:a,b\n" },
    { "subuid", "user:886432:65536\n" },
    { "subgid", "# none\nuser:901000:1\n" },
};

START_TEST(what_others_have_been_given_is_left_alone)
{
    file_make(etc, given[_i].name, given[_i].text);
    struct vm_uid_block *block = claim();

    /* 886432 + 65536 is 951968: in the block from 951200 on. */
    ck_assert_uint_eq(block->first,
                      BASE + (strcmp(given[_i].name, "subuid") == 0 ? 51 : 1) * VM_UIDS_BLOCK);
    give_up(block);
}
END_TEST

START_TEST(what_processes_run_with_is_left_alone)
{
    process_make(12, "Name:\tx\nUid:\t0\t0\t0\t900000\nGid:\t0\t0\t0\t0\n");
    process_make(13, "Name:\tUid:\nUid:\t0\t0\t0\t0\nGid:\t0\t902047\t0\t0\n");
    struct vm_uid_block *block = claim();

    ck_assert_uint_eq(block->first, BASE + 2 * VM_UIDS_BLOCK); /* both are somebody's */
    give_up(block);
    /* The one that it left alone is not locked. */
    process_make(12, "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n");
    block = claim();
    ck_assert_uint_eq(block->first, BASE);
    give_up(block);
}
END_TEST

START_TEST(what_is_not_mapped_is_left_alone)
{
    file_make(proc, "self/uid_map", "0 100000 65536\n900001 1000000 2048\n");
    struct vm_uid_block *block = claim();

    ck_assert_uint_eq(block->first, BASE + VM_UIDS_BLOCK);
    give_up(block);
}
END_TEST

START_TEST(why_there_is_none_is_told)
{
    struct vm_uid_block *block = NULL, *first = claim();
    struct err err;

    process_make(12, "Uid:\t901024\t0\t0\t0\nGid:\t0\t0\t0\t0\n");
    file_make(etc, "passwd", "moon:x:902048:100::/:/bin/sh\n");
    file_make(proc, "self/gid_map", "0 0 903072\n");
    ck_assert_int_eq(vm_uids_claim(&host, BASE, 4 * VM_UIDS_BLOCK, &block, &err), -EUSERS);
    ck_assert_ptr_null(block);
    ck_assert_msg(strstr(err.msg, "of 4 blocks from 900000 to 904095, 1 are other poolds', in 1 "
                                  "processes run, 1 are given away") &&
                      strstr(err.msg, "1 are not mapped") && strstr(err.msg, "--uid-base"),
                  "%s", err.msg);
    give_up(first);
}
END_TEST

START_TEST(locks_that_others_could_change_are_refused)
{
    struct vm_uid_block *block = NULL;
    struct err err;

    dir_make(host.locks);
    ck_assert_int_eq(chmod(host.locks, 0777), 0);
    ck_assert_int_lt(vm_uids_claim(&host, BASE, VM_UIDS_BLOCK, &block, &err), 0);
    ck_assert_int_eq(rmdir(host.locks), 0);
    ck_assert_int_eq(symlink("/tmp", host.locks), 0);
    ck_assert_int_lt(vm_uids_claim(&host, BASE, VM_UIDS_BLOCK, &block, &err), 0);
    ck_assert_ptr_null(block);
}
END_TEST

/* As vm_uids_init does for root. */
static void uids_begin(struct vm_uids *uids)
{
    *uids = (struct vm_uids){ .host = host, .base = BASE, .count = BLOCKS * VM_UIDS_BLOCK };
    uids->blocks = calloc(BLOCKS, sizeof *uids->blocks);
    vm_uids_add(uids, claim());
}

START_TEST(every_uid_is_given_out_once_and_comes_back_late)
{
    static uint8_t seen[2 * VM_UIDS_BLOCK];
    struct vm_uids uids;
    uint32_t uid = 0;

    uids_begin(&uids);
    for (unsigned i = 0; i < VM_UIDS_BLOCK; i++) {
        ck_assert_int_eq(vm_uids_low(&uids), i > VM_UIDS_BLOCK * 3 / 4);
        ck_assert_int_eq(vm_uids_take(&uids, &uid), 0);
        ck_assert_uint_eq(seen[uid - BASE]++, 0);
    }
    ck_assert_int_eq(vm_uids_take(&uids, &uid), -EUSERS);
    vm_uids_add(&uids, claim());
    vm_uids_drop(&uids, BASE + 3);
    for (unsigned i = 0; i < VM_UIDS_BLOCK; i++) {
        ck_assert_int_eq(vm_uids_take(&uids, &uid), 0);
        ck_assert_uint_eq(seen[uid - BASE]++, 0);
    }
    ck_assert_int_eq(vm_uids_take(&uids, &uid), 0);
    ck_assert_uint_eq(uid, BASE + 3);
    vm_uids_fini(&uids);
}
END_TEST

START_TEST(a_uid_is_free_when_its_last_holder_is_gone)
{
    struct vm_uids uids;
    uint32_t uid, other;

    uids_begin(&uids);
    ck_assert_int_eq(vm_uids_take(&uids, &uid), 0);
    for (unsigned i = 1; i < VM_UIDS_BLOCK; i++)
        ck_assert_int_eq(vm_uids_take(&uids, &other), 0);
    vm_uids_hold(&uids, uid); /* a helper of the VM's */
    vm_uids_drop(&uids, uid); /* the VM */
    ck_assert_int_eq(vm_uids_take(&uids, &other), -EUSERS);
    vm_uids_drop(&uids, uid);
    ck_assert_int_eq(vm_uids_take(&uids, &other), 0);
    ck_assert_uint_eq(other, uid);
    vm_uids_fini(&uids);
}
END_TEST

START_TEST(without_uids_nothing_is_claimed)
{
    struct vm_uids uids;
    uint32_t uid = 0;

    ck_assert_int_eq(vm_uids_init(&uids, &host, 0, VM_UIDS_BLOCK, NULL, 0, NULL), 0);
    ck_assert_int_eq(vm_uids_take(&uids, &uid), 0);
    ck_assert_uint_eq(uid, VM_UIDS_NONE);
    ck_assert(!vm_uids_low(&uids));
    vm_uids_hold(&uids, uid);
    vm_uids_drop(&uids, uid);
    vm_uids_fini(&uids);
    ck_assert_int_ne(access(host.locks, F_OK), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poold_uids");
    TCase *tests = tap_case(suite, "uids");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, blocks_are_claimed_once);
    tcase_add_test(tests, two_poolds_have_none_in_common_and_a_killed_one_has_none);
    tcase_add_loop_test(tests, what_others_have_been_given_is_left_alone, 0, ARRAY_LEN(given));
    tcase_add_test(tests, what_processes_run_with_is_left_alone);
    tcase_add_test(tests, what_is_not_mapped_is_left_alone);
    tcase_add_test(tests, why_there_is_none_is_told);
    tcase_add_test(tests, locks_that_others_could_change_are_refused);
    tcase_add_test(tests, every_uid_is_given_out_once_and_comes_back_late);
    tcase_add_test(tests, a_uid_is_free_when_its_last_holder_is_gone);
    tcase_add_test(tests, without_uids_nothing_is_claimed);
    return tap_main(suite);
}
