/* SPDX-License-Identifier: Apache-2.0 */
/* Owns poold's option table, its defaults and its help; see config.h. */
#include "config.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "base/util.h"

enum option_kind {
    OPTION_TEXT,   /* char[bytes] */
    OPTION_NUMBER, /* uint64_t, min..max */
    OPTION_COUNT,  /* uint32_t, min..max */
    OPTION_LEVEL,  /* enum log_level */
    OPTION_FLAG,   /* bool */
};

struct option_row {
    const char *name;
    enum option_kind kind;
    size_t offset, bytes;
    uint64_t min, max;
    const char *argument, *help;
};

#define TEXT(field)                                                                                \
    OPTION_TEXT, offsetof(struct config, field), sizeof(((struct config *)0)->field), 0, 0
#define NUMBER(field, lo, hi) OPTION_NUMBER, offsetof(struct config, field), 8, lo, hi
#define COUNT(field, lo, hi) OPTION_COUNT, offsetof(struct config, field), 4, lo, hi
#define FLAG(field) OPTION_FLAG, offsetof(struct config, field), 1, 0, 0
#define DAY_MS (24 * 3600 * 1000ull)

static const struct option_row options[] = {
    { "--run-dir", TEXT(run_dir), "DIR", "sockets and VM folders ($VOLT_RUN_DIR)" },
    { "--state-dir", TEXT(state_dir), "DIR", "pools and snapshots ($VOLT_STATE_DIR)" },
    { "--socket", TEXT(socket), "PATH", "the API's socket ($VOLT_SOCKET, RUN_DIR/poold.sock)" },
    { "--group", TEXT(group), "NAME", "group of the socket (mode 0660)" },
    { "--policy", TEXT(policy), "FILE", "JSON table of who may do what (docs/api.md)" },
    { "--volt-vmm", TEXT(volt_vmm), "PATH", "the volt-vmm program" },
    { "--kernel", TEXT(kernel), "FILE", "default guest kernel ($VOLT_KERNEL, auto)" },
    { "--initrd", TEXT(initrd), "FILE", "default initramfs ($VOLT_INITRD)" },
    { "--log-level", OPTION_LEVEL, offsetof(struct config, log_level), 0, 0, 0, "LEVEL",
      "error, warn, info or debug" },
    { "--uid-base", COUNT(uid_base, 0, 4000000000u), "UID",
      "as root: first of 65536 uids and gids for VMs; 0: none" },
    { "--setup-timeout-ms", NUMBER(setup_timeout_ms, 1, DAY_MS), "N", "a clone's set-up" },
    { "--awake-timeout-ms", NUMBER(awake_timeout_ms, 1, DAY_MS), "N", "a guest's answer" },
    { "--ready-timeout-ms", NUMBER(ready_timeout_ms, 1, DAY_MS), "N", "a guest getting ready" },
    { "--boot-timeout-ms", NUMBER(boot_timeout_ms, 1, DAY_MS), "N", "a cold boot" },
    { "--surplus-ms", NUMBER(surplus_ms, 1, DAY_MS), "N", "how long VMs beyond min are kept" },
    { "--client-leases", COUNT(leases_per_client, 1, 1000000), "N", "leases of one user" },
    { "--client-acquires", COUNT(acquires_per_client, 1, 1000000), "N",
      "acquires of one user that wait" },
    { "--client-connections", COUNT(connections_per_client, 1, 1000000), "N",
      "connections of one user" },
    { "--unsafe-skip-guest-work", FLAG(skip_guest_work), NULL,
      "for measuring: clones share random numbers, clock and name" },
    { "--version", FLAG(show_version), NULL, "print the version" },
    { "--help", FLAG(show_help), NULL, "print this" },
};

void config_print_help(void)
{
    printf("usage: poold [OPTION...]\n"
           "Keeps pools of running Linux VMs and hands them out over a Unix socket.\n"
           "It stays in the foreground, logs to stderr and ends on SIGTERM.\n\n");
    for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
        char left[64];

        snprintf(left, sizeof left, "%s %s", options[i].name,
                 options[i].argument ? options[i].argument : "");
        printf("  %-28s %s\n", left, options[i].help);
    }
    printf("\nexample: poold --state-dir /var/lib/volt --log-level debug\n");
}

static int parse_number(const struct option_row *row, const char *text, uint64_t *ret_value,
                        struct err *err)
{
    char *end;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno || value < row->min || value > row->max)
        return err_set(err, EINVAL, "%s takes a number from %llu to %llu, not '%s'", row->name,
                       (unsigned long long)row->min, (unsigned long long)row->max, text);
    *ret_value = value;
    return 0;
}

static int option_store(struct config *config, const struct option_row *row, const char *text,
                        struct err *err)
{
    char *field = (char *)config + row->offset;
    uint64_t value = 0;

    switch (row->kind) {
    case OPTION_TEXT:
        if (!*text || strlen(text) >= row->bytes)
            return err_set(err, EINVAL, "the value of %s is empty or too long", row->name);
        memcpy(field, text, strlen(text) + 1);
        return 0;
    case OPTION_LEVEL:
        if (log_level_parse(text, &config->log_level) < 0)
            return err_set(err, EINVAL, "--log-level is error, warn, info or debug, not '%s'",
                           text);
        return 0;
    case OPTION_NUMBER:
    case OPTION_COUNT:
        if (parse_number(row, text, &value, err) < 0)
            return -EINVAL;
        if (row->kind == OPTION_NUMBER)
            memcpy(field, &value, 8);
        else
            memcpy(field, &(uint32_t){ (uint32_t)value }, 4);
        return 0;
    case OPTION_FLAG:
        break;
    }
    memcpy(field, &(bool){ true }, sizeof(bool));
    return 0;
}

static const struct option_row *option_find(const char *arg, size_t name_bytes)
{
    for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
        if (strlen(options[i].name) == name_bytes && memcmp(arg, options[i].name, name_bytes) == 0)
            return &options[i];
    }
    return NULL;
}

static int command_line_parse(struct config *config, int argc, char **argv, struct err *err)
{
    for (int i = 1; i < argc; i++) {
        const char *equals = strchr(argv[i], '=');
        size_t name_bytes = equals ? (size_t)(equals - argv[i]) : strlen(argv[i]);
        const struct option_row *row = option_find(argv[i], name_bytes);
        const char *value = equals ? equals + 1 : NULL;

        if (!row)
            return err_set(err, EINVAL, "unknown option '%s'; poold --help lists them", argv[i]);
        if (row->kind == OPTION_FLAG && value)
            return err_set(err, EINVAL, "%s takes no value", row->name);
        if (row->kind != OPTION_FLAG && !value) {
            if (++i == argc)
                return err_set(err, EINVAL, "%s needs a value", row->name);
            value = argv[i];
        }
        if (option_store(config, row, value, err) < 0)
            return -EINVAL;
    }
    return 0;
}

/* What is beside poold: in a build tree its sibling folders, else its own folder. */
static void beside_self(const char *relative, const char *installed, char ret_path[PATH_MAX])
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

    if (n <= 0)
        return;
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    const char *names[] = { relative, installed };
    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        char path[2 * PATH_MAX];

        snprintf(path, sizeof path, "%s/%s", self, names[i]);
        if (strlen(path) < PATH_MAX && access(path, R_OK) == 0 && realpath(path, ret_path))
            return;
    }
    ret_path[0] = '\0';
}

/* The newest kernel that the project's build script has put into its cache. */
static void cached_kernel(char ret_path[PATH_MAX])
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char pattern[PATH_MAX];
    struct timespec newest = { 0 };
    glob_t found;

    if (cache && *cache)
        snprintf(pattern, sizeof pattern, "%s/volt/kernel/*/vmlinux", cache);
    else
        snprintf(pattern, sizeof pattern, "%s/.cache/volt/kernel/*/vmlinux", home ? home : "");
    if (glob(pattern, 0, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        struct stat st;

        if (stat(found.gl_pathv[i], &st) < 0 || st.st_mtim.tv_sec < newest.tv_sec ||
            strlen(found.gl_pathv[i]) >= PATH_MAX)
            continue;
        newest = st.st_mtim;
        snprintf(ret_path, PATH_MAX, "%s", found.gl_pathv[i]);
    }
    globfree(&found);
}

/* A stock kernel needs VT-x or SVM, and an initramfs with its modules. */
static bool stock_kernel(struct config *config)
{
    char kernel[PATH_MAX] = "", initrd[PATH_MAX] = "";

    if (access("/sys/module/kvm_pvm", F_OK) == 0)
        return false;
    beside_self("../guest-init/stock/vmlinuz", "../lib/volt/stock/vmlinuz", kernel);
    beside_self("../guest-init/stock/initramfs.cpio", "../lib/volt/stock/initramfs.cpio", initrd);
    if (!kernel[0] || !initrd[0])
        return false;
    memcpy(config->kernel, kernel, sizeof kernel);
    if (!config->initrd[0])
        memcpy(config->initrd, initrd, sizeof initrd);
    return true;
}

static bool from_environment(const char *name, char ret_text[PATH_MAX])
{
    const char *value = getenv(name);

    if (!value || !*value || strlen(value) >= PATH_MAX)
        return false;
    snprintf(ret_text, PATH_MAX, "%s", value);
    return true;
}

static void default_dirs(struct config *config)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR"), *state = getenv("XDG_STATE_HOME"),
               *home = getenv("HOME");
    bool root = geteuid() == 0;

    if (!from_environment("VOLT_RUN_DIR", config->run_dir)) {
        if (root)
            snprintf(config->run_dir, PATH_MAX, "/run/volt");
        else if (runtime && *runtime)
            snprintf(config->run_dir, PATH_MAX, "%s/volt", runtime);
        else
            snprintf(config->run_dir, PATH_MAX, "/tmp/volt-%u", (unsigned)geteuid());
    }
    if (!from_environment("VOLT_STATE_DIR", config->state_dir)) {
        if (root)
            snprintf(config->state_dir, PATH_MAX, "/var/lib/volt");
        else if (state && *state)
            snprintf(config->state_dir, PATH_MAX, "%s/volt", state);
        else
            snprintf(config->state_dir, PATH_MAX, "%s/.local/state/volt", home ? home : "");
    }
}

/* Everything is used from a daemon that others start: relative paths would surprise. */
static int make_absolute(char path[PATH_MAX], const char *what, struct err *err)
{
    char cwd[PATH_MAX], whole[2 * PATH_MAX];

    if (!path[0] || path[0] == '/')
        return 0;
    if (!getcwd(cwd, sizeof cwd))
        return err_set_errno(err, errno, "can't find the current directory");
    snprintf(whole, sizeof whole, "%s/%s", cwd, path);
    if (strlen(whole) >= PATH_MAX)
        return err_set(err, ENAMETOOLONG, "the path of %s is too long", what);
    memcpy(path, whole, strlen(whole) + 1);
    return 0;
}

/* What neither environment nor command line named. */
static void default_images(struct config *config)
{
    beside_self("../guest-init/initramfs.cpio", "../lib/volt/initramfs.cpio", config->plain_initrd);
    if (config->initrd[0])
        memcpy(config->plain_initrd, config->initrd, sizeof config->initrd);
    if ((!config->kernel[0] || strcmp(config->kernel, "auto") == 0) && !stock_kernel(config)) {
        config->kernel[0] = '\0';
        cached_kernel(config->kernel);
    }
    if (!config->initrd[0])
        memcpy(config->initrd, config->plain_initrd, sizeof config->initrd);
}

int config_parse(struct config *config, int argc, char **argv, struct err *err)
{
    *config = (struct config){
        .log_level = LOG_LEVEL_INFO,
        .uid_base = VMS_UID_BASE,
        .setup_timeout_ms = 5000,
        .awake_timeout_ms = 2000,
        .ready_timeout_ms = 15000,
        .boot_timeout_ms = 300000,
        .surplus_ms = 10000,
        .leases_per_client = 4096,
        .acquires_per_client = 1024,
        .connections_per_client = 1024,
    };
    default_dirs(config);
    from_environment("VOLT_SOCKET", config->socket);
    beside_self("../vmm-core/volt-vmm/volt-vmm", "volt-vmm", config->volt_vmm);
    from_environment("VOLT_KERNEL", config->kernel);
    from_environment("VOLT_INITRD", config->initrd);
    if (command_line_parse(config, argc, argv, err) < 0)
        return -EINVAL;
    default_images(config);
    if (!config->socket[0] &&
        snprintf(config->socket, PATH_MAX, "%s/poold.sock", config->run_dir) >= PATH_MAX)
        return err_set(err, ENAMETOOLONG, "the run directory's path is too long");
    if (strpbrk(config->run_dir, "\"\\\n\r\t"))
        return err_set(err, EINVAL, "the run directory's path has a quote or a control character");
    char *paths[] = { config->run_dir, config->state_dir, config->socket,       config->volt_vmm,
                      config->kernel,  config->initrd,    config->plain_initrd, config->policy };
    for (unsigned i = 0; i < ARRAY_LEN(paths); i++) {
        if (make_absolute(paths[i], "an option", err) < 0)
            return -err->code;
        /* They are in replies, and in files that are JSON. */
        if (!text_is_clean(paths[i]))
            return err_set(err, EINVAL, "a path has bytes that can't be shown as text: %s",
                           paths[i]);
    }
    return 0;
}
