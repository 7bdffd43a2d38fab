/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the guests that do real work; see work_guest.h. */
#include "work_guest.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "client.h"
#include "peers/peer.h"

#define POOL "work"
#define BOOT_TIMEOUT_NS (300 * NS_PER_S)
#define SCRIPT_TIMEOUT_NS (300 * NS_PER_S)
/* What the guest says is written so that the echo of what it is told does not hold it. */
#define BEGINS "BE''GINS"
#define BEGINS_SAID "BEGINS"
#define ENDS "EN''DS"
#define ENDS_SAID "ENDS "
#define STATUS_BYTES 16

static const char *const names[] = { [WORK_VOLT] = "volt", [WORK_QEMU] = "qemu microvm" };
static_assert(ARRAY_LEN(names) == WORK_VMM_COUNT, "a name for every monitor");

const char *work_vmm_name(enum work_vmm vmm)
{
    return names[vmm];
}

static int make_disk(struct work_guest *guest, struct err *err)
{
    snprintf(guest->disk, sizeof guest->disk, "%s/work-disk%d", guest->bench->options.work_dir,
             guest->vmm);
    _cleanup_close_ int fd = open(guest->disk, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || posix_fallocate(fd, 0, (off_t)MIB(WORK_DISK_MIB)) != 0)
        return err_set_errno(err, fd < 0 ? errno : ENOSPC, "making the disk '%s'", guest->disk);
    return 0;
}

/* ---- Volt ---- */

static int volt_start(struct work_guest *guest, struct err *err)
{
    char memory[16];
    int rc = daemon_get(guest->bench, DAEMON_ALL_WORK, &guest->daemon, err);

    if (rc != 0 || !guest->has_disk)
        return rc;
    snprintf(memory, sizeof memory, "%uM", WORK_MEMORY_MIB);
    _cleanup_json_ json_t *body =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i}", "name", POOL, "memory", memory, "disk",
                  guest->disk, "warmup", "true", "min", 1, "max", 2, "shells", 0);
    return api_call(&guest->daemon->api, "POST", "/v1/pools", body, API_TIMEOUT_MS, NULL, err);
}

static int volt_await(struct work_guest *guest, struct err *err)
{
    const char *pool = guest->has_disk ? POOL : DAEMON_POOL;
    int rc = daemon_wait_pool(guest->daemon, pool, err);

    if (rc == 0)
        rc = daemon_acquire_from(&guest->daemon->api, pool, &guest->lease, err);
    return rc == 0 ? daemon_lease_pid(guest->daemon, &guest->lease, &guest->pid, err) : rc;
}

static void volt_fini(struct work_guest *guest)
{
    struct err ignored = { 0 };

    if (!guest->daemon)
        return;
    daemon_release_all(guest->daemon, &ignored);
    if (guest->has_disk)
        api_call(&guest->daemon->api, "DELETE", "/v1/pools/" POOL, NULL, API_TIMEOUT_MS, NULL,
                 &ignored);
}

/* Each script is a command of its own. */
static int volt_say(struct work_guest *guest, const char *line, struct speaker *said,
                    struct err *err)
{
    const char *const argv[] = { guest->bench->options.voltctl,
                                 "--socket",
                                 guest->daemon->socket,
                                 "exec",
                                 guest->lease.id,
                                 "--",
                                 "/bin/sh",
                                 "-c",
                                 line,
                                 NULL };

    return speaker_start(said, guest->bench, argv, SPEAKER_STDOUT, "work.log", err);
}

/* ---- QEMU ---- */

static int qemu_start(struct work_guest *guest, struct err *err)
{
    const struct bench_options *options = &guest->bench->options;
    char memory[16], drive[600], cmdline[1024];

    if (!options->qemu || !guest->has_disk)
        return bench_skip(err, options->qemu ? "--quick boots no other guest" : "there is no QEMU");
    snprintf(memory, sizeof memory, "%u", WORK_MEMORY_MIB);
    snprintf(drive, sizeof drive, "id=disk,format=raw,if=none,file=%s", guest->disk);
    snprintf(cmdline, sizeof cmdline, "%s rdinit=/bin/sh", peer_cmdline());
    const char *const argv[] = {
        options->qemu,
        PEER_QEMU_MICROVM(memory),
        "-machine", /* devices by the command line: the guest has no ACPI */
        "acpi=off",
        "-drive",
        drive,
        "-device",
        "virtio-blk-device,drive=disk",
        "-kernel",
        options->kernel,
        "-initrd",
        options->initrd,
        "-append",
        cmdline,
        NULL
    };
    return speaker_start(&guest->console, guest->bench, argv, SPEAKER_BOTH_WAYS, "qemu.log", err);
}

static int qemu_say(struct work_guest *guest, const char *line, struct err *err)
{
    int rc = client_send_all(guest->console.output, line, strlen(line));

    if (rc == 0)
        rc = client_send_all(guest->console.output, "\n", 1);
    return rc < 0 ? err_set_errno(err, -rc, "writing to QEMU's console") : 0;
}

static int qemu_await(struct work_guest *guest, struct err *err)
{
    uint64_t at_ns;
    int rc = speaker_wait(&guest->console, "# ", BOOT_TIMEOUT_NS, &at_ns, err); /* its prompt */

    if (rc == 0)
        rc =
            work_guest_run(guest, NULL,
                           "/bin/busybox mount -t proc proc /proc && mount -t devtmpfs dev /dev && "
                           "mount -t tmpfs tmp /tmp && test -b /dev/vda",
                           &at_ns, err);
    return rc < 0 ? err_wrap(err, "QEMU (see qemu.log in the work directory)") : 0;
}

/* ---- Either ---- */

int work_guest_start(struct work_guest *guest, enum work_vmm vmm, struct bench *bench,
                     struct err *err)
{
    *guest = (struct work_guest){
        .vmm = vmm, .bench = bench, .has_disk = !bench->options.quick, .console.output = -1
    };
    int rc = guest->has_disk ? make_disk(guest, err) : 0;

    if (rc == 0)
        rc = vmm == WORK_VOLT ? volt_start(guest, err) : qemu_start(guest, err);
    return rc;
}

int work_guest_await(struct work_guest *guest, struct err *err)
{
    return guest->vmm == WORK_VOLT ? volt_await(guest, err) : qemu_await(guest, err);
}

void work_guest_fini(struct work_guest *guest)
{
    if (!guest->bench)
        return;
    if (guest->vmm == WORK_VOLT)
        volt_fini(guest);
    else
        speaker_end(&guest->console);
    if (guest->disk[0])
        unlink(guest->disk);
}

/* Hears of the script's beginning and end. */
static int time_script(struct speaker *said, uint64_t *ret_ns, struct err *err)
{
    uint64_t begin_ns, end_ns;
    char status[STATUS_BYTES];
    int rc = speaker_wait(said, BEGINS_SAID, SCRIPT_TIMEOUT_NS, &begin_ns, err);

    if (rc == 0)
        rc = speaker_wait(said, ENDS_SAID, SCRIPT_TIMEOUT_NS, &end_ns, err);
    if (rc == 0)
        rc = speaker_rest_of_line(said, SCRIPT_TIMEOUT_NS, status, sizeof status, err);
    if (rc < 0)
        return rc;
    if (strncmp(status, "0", 1) != 0)
        return err_set(err, EIO, "it ended with status %s", status);
    *ret_ns = end_ns - begin_ns;
    return 0;
}

int work_guest_run(struct work_guest *guest, const char *prepare, const char *script,
                   uint64_t *ret_ns, struct err *err)
{
    struct speaker volt = { .output = -1 };
    char line[WORK_SCRIPT_BYTES + 64];
    int length = snprintf(line, sizeof line, "%s; echo " BEGINS "; ( %s ); echo " ENDS " $?",
                          prepare ? prepare : ":", script);

    if (length >= (int)sizeof line)
        return err_set(err, E2BIG, "the script is too long");
    bool is_volt = guest->vmm == WORK_VOLT;
    int rc = is_volt ? volt_say(guest, line, &volt, err) : qemu_say(guest, line, err);
    if (rc == 0)
        rc = time_script(is_volt ? &volt : &guest->console, ret_ns, err);
    if (is_volt)
        speaker_end(&volt);
    return rc < 0 ? err_wrap(err, "%s, '%.80s'", names[guest->vmm], script) : 0;
}

int work_host_run(struct bench *bench, const char *const *argv, uint64_t *ret_ns, struct err *err)
{
    struct process process = { 0 };
    char log[512];
    int status;

    snprintf(log, sizeof log, "%s/work.log", bench->options.work_dir);
    int rc = process_start(&process, argv, NULL, 0, &(struct process_output){ -1, -1, log }, err);
    if (rc < 0)
        return rc;
    rc = process_wait(&process, &status, err);
    *ret_ns = now_ns() - process.start_ns;
    if (rc == 0 && status != 0)
        rc =
            err_set(err, EIO, "%s %s: it ended with status %d (see work.log in the work directory)",
                    argv[0], argv[1] ? argv[1] : "", status);
    return rc;
}
