/* SPDX-License-Identifier: Apache-2.0 */
/* Owns volt-vmm's command line: one table of options. */
#include "volt-vmm/options.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/util.h"
#include "machine/vm_state.h"
#include "memory/guest_mem.h"

enum option_kind { OPTION_TEXT, OPTION_SIZE, OPTION_U32, OPTION_FD, OPTION_FLAG, OPTION_NET };

static const struct option_row {
    const char *name;
    enum option_kind kind;
    size_t offset;
    const char *argument, *help; /* for people; argument NULL: a flag */
    uint64_t least, most;        /* of a number or size; most 0: what its type can hold */
    bool boots;                  /* a restored VM has it from its snapshot */
} rows[] = {
    { "--kernel", OPTION_TEXT, offsetof(struct options, kernel), "FILE",
      "vmlinux or bzImage to boot" },
    { "--initrd", OPTION_TEXT, offsetof(struct options, initrd), "FILE", "its initramfs",
      .boots = true },
    { "--memory", OPTION_SIZE, offsetof(struct options, memory_bytes), "SIZE",
      "RAM, a multiple of 2M (128M)", GUEST_RAM_BYTES_MIN, GUEST_RAM_BYTES_MAX, true },
    { "--vcpus", OPTION_U32, offsetof(struct options, vcpu_count), "N", "virtual CPUs (1)", 1,
      VM_VCPUS_MAX, true },
    { "--cmdline", OPTION_TEXT, offsetof(struct options, cmdline), "TEXT",
      "added to the kernel command line", .boots = true },
    { "--cpu-template", OPTION_TEXT, offsetof(struct options, cpu_template), "FILE",
      "JSON of CPUID bits to change", .boots = true },
    { "--console-log", OPTION_TEXT, offsetof(struct options, console_log), "FILE",
      "the serial console is written there" },
    { "--console-fd", OPTION_FD, offsetof(struct options, console_fd), "N",
      "run: a pipe for the serial console" },
    { "--restore", OPTION_TEXT, offsetof(struct options, restore), "DIR",
      "run a copy of a snapshot, with the disk that it names or --disk FILE" },
    { "--snapshot-to", OPTION_TEXT, offsetof(struct options, snapshot_to), "DIR",
      "take a snapshot at the guest's first PARK; without --console, then end" },
    { "--disk", OPTION_TEXT, offsetof(struct options, disk), "FILE[,ro|,rw]",
      "a file or block device as /dev/vda; what the VM writes goes to its snapshot or is gone with "
      "it; with ,ro it can not write, with ,rw it writes to FILE" },
    { "--api-socket", OPTION_TEXT, offsetof(struct options, api_socket), "PATH",
      "a Unix socket for HTTP: GET / and /metrics, PUT /pause, /resume, /shutdown and /snapshot "
      "with the body {\"path\": \"DIR\"}" },
    { "--net", OPTION_NET, offsetof(struct options, net), "KIND[,...]",
      "a network card: tap, user, tap=LINK or macvtap=LINK, and behind it ,fd=N ,mac=MAC ,mtu=N "
      ",bandwidth=10M ,pps=N ,address=A/BITS ,gateway=A ,dns=A. LINK is that of a tap or macvtap, "
      "fd an open one, or with user a stream socket of passt; else it leads nowhere. address and "
      "what follows is for volt-init" },
    { "--balloon", OPTION_FLAG, offsetof(struct options, balloon), NULL,
      "memory that the guest frees goes back to the host", .boots = true },
    { "--volumes", OPTION_U32, offsetof(struct options, volumes), "N",
      "run: slots for volumes, which clones of its snapshot are given while they run", 0,
      CONTROL_VOLUMES_MAX, true },
    { "--huge-pages", OPTION_FLAG, offsetof(struct options, huge_pages), NULL,
      "guest memory in pages of 2 MiB, of those that the host has reserved" },
    { "--console", OPTION_FLAG, offsetof(struct options, console), NULL,
      "join the terminal to the serial console; Ctrl-] ends the VM" },
    { "--pit", OPTION_FLAG, offsetof(struct options, pit), NULL,
      "an 8254 timer, which guests with kvmclock do without", .boots = true },
    { "--pmu", OPTION_FLAG, offsetof(struct options, pmu), NULL,
      "performance counters for the guest; also with --restore, if it was booted with them" },
    { "--control-fd", OPTION_FD, offsetof(struct options, control_fd), "N",
      "run, template: the control socket" },
    { "--bell-fd", OPTION_FD, offsetof(struct options, bell_fd), "N", "run: the bell socket" },
    { "--kernel-fd", OPTION_FD, offsetof(struct options, kernel_fd), "N", "run: the kernel" },
    { "--initrd-fd", OPTION_FD, offsetof(struct options, initrd_fd), "N", "run: its initramfs" },
    { "--snapshot-fd", OPTION_FD, offsetof(struct options, snapshot_fd), "N",
      "template: the snapshot's directory" },
    { "--disk-fd", OPTION_FD, offsetof(struct options, disk_fd), "N", "the disk" },
    { "--disk-map-fd", OPTION_FD, offsetof(struct options, disk_map_fd), "N",
      "the disk as a map of an image, with its --disk-files behind it" },
    { "--disk-files", OPTION_U32, offsetof(struct options, disk_files), "N",
      "fds behind --disk-map-fd" },
    { "--disk-delta-fd", OPTION_FD, offsetof(struct options, disk_delta_fd), "N",
      "run: what the VM writes to its disk" },
    { "--uid", OPTION_U32, offsetof(struct options, uid), "UID", "run: uid and gid to run as" },
    { "--cgroup-fd", OPTION_FD, offsetof(struct options, cgroup_fd), "N",
      "run: cgroup.procs files to join by" },
    { "--cgroup-fds", OPTION_U32, offsetof(struct options, cgroup_fds), "N", "how many of them", 0,
      SANDBOX_CGROUPS_MAX },
    { "--oom-score-adj", OPTION_U32, offsetof(struct options, oom_score_adj), "N",
      "of the process and its clones", 0, 1000 },
    { "--disk-bandwidth", OPTION_SIZE, offsetof(struct options, disk_bandwidth), "SIZE",
      "bytes a second to and from the disk", 512, INT64_MAX },
    { "--disk-iops", OPTION_U32, offsetof(struct options, disk_iops), "N",
      "operations a second of the disk", 1, UINT32_MAX },
};

const char *const options_usage[] = {
    "volt-vmm --kernel FILE [--console] [--api-socket PATH] [--snapshot-to DIR] [OPTION...]",
    "volt-vmm --restore DIR [--console] [--api-socket PATH] [--disk FILE] [OPTION...]",
    "volt-vmm run|template --control-fd N [OPTION...]",
    "volt-vmm --version",
    NULL,
};
const char *const options_examples[] = {
    "volt-vmm --kernel vmlinux --initrd initramfs.cpio --snapshot-to /tmp/booted",
    "volt-vmm --restore /tmp/booted --console",
    NULL,
};

bool options_text(size_t i, struct option_text *ret_text)
{
    if (i >= ARRAY_LEN(rows)) {
        ret_text->argument = NULL;
        return sandbox_config_text(i - ARRAY_LEN(rows), &ret_text->name, &ret_text->help);
    }
    *ret_text = (struct option_text){ rows[i].name, rows[i].argument, rows[i].help };
    return true;
}

static bool parse_u32(const char *text, uint32_t *ret_value)
{
    char *end;

    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || value > UINT32_MAX)
        return false;
    *ret_value = (uint32_t)value;
    return true;
}

static int range_fail(const struct option_row *row, const char *value, struct err *err)
{
    const uint64_t most = row->most ? row->most : UINT32_MAX;

    char texts[2][SIZE_TEXT_BYTES];

    if (row->kind == OPTION_SIZE)
        return err_set(err, EINVAL, "%s '%s': expected a size like 128M, from %s to %s", row->name,
                       value, size_text(row->least, texts[0]), size_text(most, texts[1]));
    return err_set(err, EINVAL, "%s '%s': expected a number from %llu to %llu", row->name, value,
                   (unsigned long long)row->least, (unsigned long long)most);
}

static int set_value(struct options *options, const struct option_row *row, const char *value,
                     struct err *err)
{
    void *at = (char *)options + row->offset;
    uint64_t bytes;
    uint32_t number;

    switch (row->kind) {
    case OPTION_TEXT:
        *(const char **)at = value;
        return 0;
    case OPTION_FLAG:
        *(bool *)at = true;
        return 0;
    case OPTION_SIZE:
        if (!parse_size(value, &bytes) || bytes < row->least || bytes > row->most)
            return range_fail(row, value, err);
        memcpy(at, &bytes, sizeof bytes);
        return 0;
    case OPTION_NET:
        return net_source_parse(value, at, err);
    case OPTION_U32:
    case OPTION_FD:
        if (!parse_u32(value, &number) || number < row->least || (row->most && number > row->most))
            return range_fail(row, value, err);
        if (row->kind == OPTION_FD && fcntl((int)number, F_GETFD) < 0)
            return err_set(err, EINVAL, "%s %s: no such file descriptor", row->name, value);
        memcpy(at, &number, sizeof number);
        return 0;
    }
    return -EINVAL;
}

static const struct option_row *find_row(const char *argument, size_t name_bytes)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strlen(rows[i].name) == name_bytes && memcmp(rows[i].name, argument, name_bytes) == 0)
            return &rows[i];
    }
    return NULL;
}

int options_parse(struct options *ret_options, int argc, char **argv, struct err *err)
{
    struct options options = { .memory_bytes = MIB(128),
                               .vcpu_count = 1,
                               .control_fd = -1,
                               .bell_fd = -1,
                               .console_fd = -1,
                               .net = NET_SOURCE_NONE,
                               .snapshot_fd = -1,
                               .kernel_fd = -1,
                               .initrd_fd = -1,
                               .disk_fd = -1,
                               .disk_map_fd = -1,
                               .disk_delta_fd = -1,
                               .uid = SANDBOX_KEEP_ID,
                               .cgroup_fd = -1,
                               .sandbox = SANDBOX_CONFIG_ALL };

    for (int i = 0; i < argc; i++) {
        const char *argument = argv[i];
        const char *equals = strchr(argument, '=');
        const struct option_row *row =
            find_row(argument, equals ? (size_t)(equals - argument) : strlen(argument));
        const char *value = equals ? equals + 1 : NULL;

        if (!row && sandbox_config_option(&options.sandbox, argument))
            continue;
        if (!row)
            return err_set(err, EINVAL, "unknown argument '%s'; see volt-vmm --help", argument);
        if (row->kind == OPTION_FLAG && equals)
            return err_set(err, EINVAL, "%s takes no value", row->name);
        if (row->kind != OPTION_FLAG && !value) {
            if (++i == argc)
                return err_set(err, EINVAL, "%s needs a value", row->name);
            value = argv[i];
        }
        int rc = set_value(&options, row, value, err);
        if (rc < 0)
            return rc;
        if (row->boots)
            options.of_boot = row->name;
    }
    if (options.cgroup_fds && options.cgroup_fd < 0)
        return err_set(err, EINVAL, "--cgroup-fds goes with --cgroup-fd");
    *ret_options = options;
    return 0;
}
