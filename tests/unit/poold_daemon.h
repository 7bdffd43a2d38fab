/* SPDX-License-Identifier: Apache-2.0 */
/* The real poold with fake_vmm in place of volt-vmm, in a directory of its own for each test, which
 * is found clean of VMs at the end. For programs whose argv is POOLD FAKE_VMM. */
#ifndef VOLT_TESTS_POOLD_DAEMON_H
#define VOLT_TESTS_POOLD_DAEMON_H

#include <check.h>
#include <jansson.h>
#include <sys/types.h>

extern const char *daemon_program; /* poold */
extern char daemon_dir[128];       /* run/, state/, log, faults, kernel */
extern pid_t daemon_pid;           /* 0: ended */
extern unsigned daemon_fds_max; /* descriptors that poolds started from now on may have; 0: any */

/* A case of the suite whose tests each begin with a poold that runs, and end with it. Ends the
 * program when argv is wrong. */
TCase *daemon_case(Suite *suite, int argc, char **argv);

/* A poold on the directory, with more options, separated by blanks. It is patient with VMs: a test
 * of a VM that is late sets a time of its own. */
void daemon_start(const char *options);
/* The same without waiting for its socket. */
void daemon_launch(const char *options);
void daemon_wait_exit(int expected_status);
/* Ends it and starts it anew, with other options. */
void daemon_restart(const char *options);

/* Lets other users connect to it. */
void daemon_open_to_all(void);

/* What is in the directory: a path, a new folder, the number of entries that are not hidden. */
void daemon_path(const char *name, char ret_path[256]);
void daemon_directory_make(const char *name);
unsigned daemon_entries(const char *name);

/* What VMs started from now on do wrong; see fake_vmm.c. */
void daemon_faults_set(const char *words);

/* Kills the only pool's template, whose VMs end with it. */
void daemon_template_kill(void);

/* Processes other than poold that were started with this test's directory. */
unsigned daemon_vm_processes(void);
/* Waits until they are so many. */
void daemon_vm_processes_await(unsigned least, unsigned most);

/* Creates the pool `default` from this body, and waits until it is ready. */
void daemon_pool_create(const char *body);

/* A count the pool `default` shows, in an object of its own (NULL: at the top); waits until it is
 * least to most. */
json_int_t daemon_pool_count(const char *object, const char *key);
void daemon_pool_await(const char *object, const char *key, json_int_t least, json_int_t most);

/* Waits until the log has `text` count times. */
void daemon_await_log(const char *text, unsigned count);
unsigned daemon_log_count(const char *text);

/* The number of slots of the pool `default` in a state; waits until it is so many. */
json_int_t daemon_slots(const char *state);
void daemon_slots_await(const char *state, json_int_t count);

/* A lease, by its path. The error of a call on one that has ended (the caller's); and that it ended for
 * this reason. */
void daemon_acquire(const char *body, char ret_path[64]);
json_t *daemon_lease_end(const char *method, const char *path, const char *body);
void daemon_expect_end(const char *path, const char *reason);

#endif
