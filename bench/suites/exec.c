/* SPDX-License-Identifier: Apache-2.0 */
/* Suite `exec`: /bin/true in a leased VM, from the request for a stream to its exit code, against
 * vfork, exec and wait as a program in the same guest times them by turns; the same with a
 * terminal; and many at once against the CPU time of as many one after another. */
#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"
#include "daemon.h"
#include "guest_command.h"

#define PARALLEL_MAX 20u
#define SPAWNER "/tmp/guest-spawner"
#define FLOOR_NAME "vfork+exec+wait in the guest"

#define PROGRAM "/bin/true"

static const char *const command[] = { PROGRAM, NULL };

struct figures {
    struct samples floor, plain, terminal;
    struct samples parallel, serial_cpu; /* one of each a VM */
};

/* A VM, and in it the program that times the floor, waiting for its next turn. */
struct subject {
    struct daemon *daemon;
    struct daemon_lease lease;
    pid_t pid;
    struct agent *spawner;
};

static int subject_init(struct subject *subject, struct bench *bench, struct daemon *daemon,
                        struct err *err)
{
    static const char *const argv[] = { SPAWNER, PROGRAM, NULL };
    uint64_t ns;

    *subject = (struct subject){ .daemon = daemon };
    int rc = daemon_acquire(&daemon->api, &subject->lease, err);
    if (rc == 0)
        rc = daemon_lease_pid(daemon, &subject->lease, &subject->pid, err);
    if (rc == 0)
        rc = command_install(&daemon->api, subject->lease.id, bench->options.guest_spawner, SPAWNER,
                             err);
    if (rc == 0)
        rc = command_start(&subject->spawner, &daemon->api, subject->lease.id, argv,
                           AGENT_EXEC_STDIN, err);
    if (rc == 0) /* the first one of a VM is another suite's */
        rc = command_run(&daemon->api, subject->lease.id, command, 0, &ns, err);
    return rc;
}

static int floor_once(struct subject *subject, struct samples *samples, struct err *err)
{
    char line[COMMAND_LINE_BYTES];
    int rc = agent_send(subject->spawner, AGENT_STDIN, "\n", 1, err);

    if (rc == 0)
        rc = command_read_line(subject->spawner, line, err);
    if (rc == 0)
        samples_add(samples, strtoull(line, NULL, 10));
    return rc;
}

static int exec_once(struct subject *subject, uint32_t flags, struct samples *samples,
                     struct err *err)
{
    uint64_t ns;
    int rc = command_run(&subject->daemon->api, subject->lease.id, command, flags, &ns, err);

    if (rc == 0)
        samples_add(samples, ns);
    return rc;
}

/* `count` one after another: the CPU time of the VM's process. */
static int serial(struct subject *subject, unsigned count, struct samples *cpu, struct err *err)
{
    uint64_t ns, before_ns = process_cpu_ns(subject->pid);
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < count; i++)
        rc = command_run(&subject->daemon->api, subject->lease.id, command, 0, &ns, err);
    if (rc == 0)
        samples_add(cpu, process_cpu_ns(subject->pid) - before_ns);
    return rc;
}

/* `count` at once: from the first request to the last exit code. */
static int parallel(struct subject *subject, unsigned count, struct samples *elapsed,
                    struct err *err)
{
    struct agent *agents[PARALLEL_MAX] = { 0 };
    uint64_t start_ns = now_ns();
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < count; i++)
        rc = command_start(&agents[i], &subject->daemon->api, subject->lease.id, command, 0, err);
    for (unsigned i = 0; rc == 0 && i < count; i++)
        rc = command_end(agents[i], err);
    if (rc == 0)
        samples_add(elapsed, now_ns() - start_ns);
    for (unsigned i = 0; i < count; i++)
        agent_close(agents[i]);
    return rc;
}

static int one_vm(struct bench *bench, struct daemon *daemon, unsigned at_once,
                  struct figures *figures, struct err *err)
{
    const unsigned rounds = bench_runs(bench, 12, 1);
    struct subject subject;
    int rc = subject_init(&subject, bench, daemon, err);

    for (unsigned i = 0; rc == 0 && i < rounds; i++) {
        rc = floor_once(&subject, &figures->floor, err);
        if (rc == 0)
            rc = exec_once(&subject, 0, &figures->plain, err);
        if (rc == 0)
            rc = exec_once(&subject, AGENT_EXEC_PTY, &figures->terminal, err);
        progress_show("execs and their floor by turns", i + 1, rounds);
    }
    if (rc == 0)
        rc = serial(&subject, at_once, &figures->serial_cpu, err);
    if (rc == 0)
        rc = parallel(&subject, at_once, &figures->parallel, err);
    agent_close(subject.spawner);
    int released = daemon_release_all(daemon, rc < 0 ? &(struct err){ 0 } : err);
    return rc < 0 ? rc : released;
}

static void report(struct bench *bench, struct figures *figures, unsigned at_once)
{
    char name[48], cpu_name[48], ratio[96];
    struct report_row row = { .name = FLOOR_NAME };

    report_latency(&bench->report, &row, &figures->floor);
    row.floor_name = FLOOR_NAME;
    row.floor = &figures->floor;
    row.name = "true";
    report_latency(&bench->report, &row, &figures->plain);
    row.name = "true with a terminal";
    report_latency(&bench->report, &row, &figures->terminal);
    snprintf(name, sizeof name, "%u at once", at_once);
    snprintf(cpu_name, sizeof cpu_name, "CPU time of %u", at_once);
    snprintf(ratio, sizeof ratio, "%s/%s", name, cpu_name);
    report_latency(&bench->report, &(struct report_row){ .name = name }, &figures->parallel);
    report_latency(&bench->report, &(struct report_row){ .name = cpu_name }, &figures->serial_cpu);
    report_value(&bench->report, &(struct report_row){ .name = ratio, .note = "p50 / p50" },
                 (double)samples_percentile(&figures->parallel, 50) /
                     (double)MAX_OF(samples_percentile(&figures->serial_cpu, 50), 1u));
}

int suite_exec(struct bench *bench, struct err *err)
{
    const unsigned vms = bench_runs(bench, 3, 1), at_once = bench_runs(bench, PARALLEL_MAX, 3);
    struct figures figures = { 0 };
    struct daemon *daemon;
    int rc = bench->options.guest_spawner
                 ? daemon_get(bench, DAEMON_ALL_WORK, &daemon, err)
                 : bench_skip(err, "no guest-spawner (bench/run finds the built one)");

    if (rc != 0)
        return rc;
    rc = daemon_stock(daemon, vms, err);
    for (unsigned i = 0; rc == 0 && i < vms; i++)
        rc = one_vm(bench, daemon, at_once, &figures, err);
    progress_clear();
    if (rc == 0)
        report(bench, &figures, at_once);
    samples_fini(&figures.floor);
    samples_fini(&figures.plain);
    samples_fini(&figures.terminal);
    samples_fini(&figures.parallel);
    samples_fini(&figures.serial_cpu);
    return rc;
}
