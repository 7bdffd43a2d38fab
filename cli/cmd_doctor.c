/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the command doctor: what of this host helps or hinders VMs, and what to do about it. */
#include "doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "api.h"
#include "base/json_text.h"
#include "base/util.h"
#include "cli.h"
#include "options.h"
#include "table.h"

#define MEMORY_WANTED_BYTES GIB(1)
#define DISK_WANTED_BYTES GIB(3) /* a kernel build; snapshots are small */
#define FILES_WANTED 4096
#define PASST "/usr/bin/passt" /* where poold looks for it */
/* Debian 13's, with which a late answer was seen to arrive; Debian 12's tells no version. */
#define PASST_DATE_WANTED 20250503

static void check_system(struct doctor *doctor)
{
    struct utsname host;

    uname(&host);
    if (strcmp(host.machine, "x86_64") == 0)
        doctor_add(doctor, "system", DOCTOR_OK, "", "Linux %s on x86-64", host.release);
    else
        doctor_add(doctor, "system", DOCTOR_ERROR, "use an x86-64 host", "Linux on %s",
                   host.machine);
}

static void check_landlock(struct doctor *doctor)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    if (abi > 0)
        doctor_add(doctor, "Landlock", DOCTOR_OK, "", "ABI %ld", abi);
    else
        doctor_add(doctor, "Landlock", DOCTOR_WARNING,
                   "use a kernel 5.13 or later with 'landlock' in its lsm= list; VMs run without "
                   "this layer until then",
                   "not available: %s", strerror(errno));
}

/* Reads "Key:   N kB" of /proc/meminfo. */
static uint64_t meminfo_bytes(const char *key)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    uint64_t kib = 0;

    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, strlen(key)) == 0)
            sscanf(line + strlen(key), ": %" SCNu64, &kib);
    }
    if (file)
        fclose(file);
    return kib * 1024;
}

static void check_memory(struct doctor *doctor)
{
    uint64_t bytes = meminfo_bytes("MemAvailable");

    if (bytes >= MEMORY_WANTED_BYTES)
        doctor_add(doctor, "memory", DOCTOR_OK, "", "%" PRIu64 " MiB available", bytes >> 20);
    else
        doctor_add(doctor, "memory", DOCTOR_WARNING,
                   "keep pools small (--min, --max, --memory), or free some",
                   "only %" PRIu64 " MiB available", bytes >> 20);
}

/* The first directory of the state path that exists tells which disk it will be on. */
static void state_dir_find(char *path, size_t path_bytes)
{
    const char *state_dir = getenv("VOLT_STATE_DIR"), *xdg = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");

    if (state_dir && *state_dir)
        snprintf(path, path_bytes, "%s", state_dir);
    else if (geteuid() == 0)
        snprintf(path, path_bytes, "/var/lib/volt");
    else if (xdg && *xdg)
        snprintf(path, path_bytes, "%s/volt", xdg);
    else
        snprintf(path, path_bytes, "%s/.local/state/volt", home ? home : "");
    while (access(path, F_OK) < 0 && strrchr(path, '/') > path)
        *strrchr(path, '/') = '\0';
}

static void check_disk(struct doctor *doctor)
{
    char path[4096];
    struct statvfs fs;

    state_dir_find(path, sizeof path);
    if (statvfs(path, &fs) < 0) {
        doctor_add(doctor, "disk", DOCTOR_WARNING, "set VOLT_STATE_DIR to a directory that exists",
                   "%s: %s", path, strerror(errno));
        return;
    }
    uint64_t bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (access(path, W_OK) < 0)
        doctor_add(doctor, "state directory", DOCTOR_ERROR,
                   "set VOLT_STATE_DIR to a directory of your own", "%s cannot be written", path);
    if (bytes >= DISK_WANTED_BYTES)
        doctor_add(doctor, "disk", DOCTOR_OK, "", "%" PRIu64 " GiB free on %s", bytes >> 30, path);
    else
        doctor_add(doctor, "disk", DOCTOR_WARNING,
                   "free some, or set VOLT_STATE_DIR to a larger disk; building the guest kernel "
                   "needs 3 GiB, a snapshot about 20 MiB",
                   "only %" PRIu64 " MiB free on %s", bytes >> 20, path);
}

static void check_limits(struct doctor *doctor)
{
    static const struct {
        const char *name, *flag;
        int resource;
    } limits[] = {
        { "open files", "-n", RLIMIT_NOFILE },
        { "processes", "-u", RLIMIT_NPROC },
    };

    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct rlimit limit;
        char advice[128];

        getrlimit(limits[i].resource, &limit);
        snprintf(advice, sizeof advice, "raise the hard limit ('ulimit %s'), for pools of hundreds",
                 limits[i].flag);
        if (limit.rlim_max == RLIM_INFINITY)
            doctor_add(doctor, limits[i].name, DOCTOR_OK, "", "no limit");
        else if (limit.rlim_max >= FILES_WANTED)
            doctor_add(doctor, limits[i].name, DOCTOR_OK, "", "at most %ju",
                       (uintmax_t)limit.rlim_max);
        else
            doctor_add(doctor, limits[i].name, DOCTOR_WARNING, advice, "at most %ju",
                       (uintmax_t)limit.rlim_max);
    }
}

/* poold started by a user needs a user namespace for each VM's jail. */
static void check_namespaces(struct doctor *doctor)
{
    FILE *file = fopen("/proc/sys/user/max_user_namespaces", "re");
    long count = 0;

    if (file) {
        if (fscanf(file, "%ld", &count) != 1)
            count = 0;
        fclose(file);
    }
    if (count > 0)
        doctor_add(doctor, "namespaces", DOCTOR_OK, "", "at most %ld user namespaces", count);
    else
        doctor_add(doctor, "namespaces", geteuid() == 0 ? DOCTOR_INFO : DOCTOR_WARNING,
                   "'sysctl user.max_user_namespaces=10000'; VMs run without this layer until then",
                   "no user namespaces");
}

/* "0.0~git20250503" of Debian, "2025_05_03" of upstream: 20250503; 0 when it tells no date. */
static long passt_date(const char *version)
{
    for (const char *at = version; (at = strstr(at, "20")); at++) {
        unsigned year, month, day;

        if (sscanf(at, "%4u_%2u_%2u", &year, &month, &day) == 3 ||
            (strspn(at, "0123456789") == 8 && sscanf(at, "%4u%2u%2u", &year, &month, &day) == 3))
            return (long)year * 10000 + month * 100 + day;
    }
    return 0;
}

static void check_passt(struct doctor *doctor)
{
    char version[128] = "";
    FILE *said = access(PASST, X_OK) == 0 ? popen(PASST " --version 2>/dev/null", "re") : NULL;

    if (!said) {
        doctor_add(doctor, "passt", DOCTOR_INFO,
                   "install the package passt for pools with '--net user'", "%s is not there",
                   PASST);
        return;
    }
    if (!fgets(version, sizeof version, said))
        version[0] = '\0';
    pclose(said);
    version[strcspn(version, "\n")] = '\0';
    if (passt_date(version) >= PASST_DATE_WANTED)
        doctor_add(doctor, "passt", DOCTOR_OK, "", "%s", version);
    else
        doctor_add(
            doctor, "passt", DOCTOR_WARNING,
            "for pools with '--net user' install a newer one (as of Debian 13, or from "
            "https://passt.top); '--net tap' does without",
            "old, or of unknown version: that of Debian 12 ends a connection whose other side "
            "leaves the guest's first data unanswered for 24 s");
}

static void check_poold(struct doctor *doctor)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_json_ json_t *status = NULL;
    struct err err;

    if (api_init(&api, &err) < 0 ||
        api_call(&api, "GET", "/v1/status", NULL, API_TIMEOUT_MS, &status, &err) < 0)
        doctor_add(doctor, "poold", DOCTOR_INFO, "'cli/quickstart' starts it", "%s", err.msg);
    else
        doctor_add(doctor, "poold", DOCTOR_OK, "", "runs, version %s, at %s",
                   api_text_of(status, "version"), api.client.socket_path);
}

static void findings_print(const struct doctor *doctor)
{
    static const struct table_column columns[] = {
        { NULL, "level", TABLE_TEXT },
        { NULL, "check", TABLE_TEXT },
    };
    json_t *finding;
    size_t i;

    json_array_foreach(doctor->findings, i, finding)
    {
        char level[TABLE_CELL_BYTES], check[TABLE_CELL_BYTES];

        table_cell(finding, &columns[0], level);
        table_cell(finding, &columns[1], check);
        printf("%-8s %-17s %s\n", level, check, api_text_of(finding, "found"));
        if (*api_text_of(finding, "advice"))
            printf("%26s what to do: %s\n", "", api_text_of(finding, "advice"));
    }
}

int cmd_doctor_run(const struct cli_command *command, int argc, char **argv)
{
    static void (*const checks[])(struct doctor *) = {
        check_system, doctor_check_kvm, check_landlock, check_namespaces, check_memory,
        check_disk,   check_limits,     check_passt,    check_poold,
    };
    bool as_json = false;
    const struct option_spec specs[] = {
        { "json", 0, OPTION_FLAG, &as_json, NULL, "print JSON" },
    };
    struct options options = { specs, ARRAY_LEN(specs) };
    struct doctor doctor = { 0 };
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    _cleanup_json_ json_t *findings = json_array();
    doctor.findings = findings;
    for (size_t i = 0; i < ARRAY_LEN(checks); i++)
        checks[i](&doctor);
    exit_code = doctor.counts[DOCTOR_ERROR] ? CLI_EXIT_FINDING : CLI_EXIT_OK;
    if (as_json) {
        _cleanup_json_ json_t *json = json_pack("{s:O,s:i,s:i}", "findings", findings, "errors",
                                                (int)doctor.counts[DOCTOR_ERROR], "warnings",
                                                (int)doctor.counts[DOCTOR_WARNING]);
        return api_print_json(json) == CLI_EXIT_OK ? exit_code : CLI_EXIT_FAILURE;
    }
    findings_print(&doctor);
    printf("\n%u errors, %u warnings: %s\n", doctor.counts[DOCTOR_ERROR],
           doctor.counts[DOCTOR_WARNING],
           doctor.counts[DOCTOR_ERROR] ? "VMs cannot run here yet" : "VMs can run here");
    return exit_code;
}
