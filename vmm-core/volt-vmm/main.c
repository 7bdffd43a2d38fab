/* SPDX-License-Identifier: Apache-2.0 */
/* volt-vmm: one VM, or the template that VMs are cloned from. Started and driven by poold. */
#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/arguments.h"
#include "base/std_fds.h"
#include "base/text.h"
#include "base/util.h"
#include "base/version.h"
#include "volt-vmm/program.h"

static const struct program {
    const char *name;
    int (*run)(struct options *options, struct err *err);
} programs[] = {
    { "run", program_run },
    { "template", program_template },
};

static const struct program direct = { "", program_direct };

static const char help[] =
    "usage: volt-vmm --kernel FILE [MACHINE] [--console] [--api-socket PATH] [--snapshot-to DIR]\n"
    "       volt-vmm --restore DIR [--console] [--api-socket PATH] [--disk FILE] [--net ...]\n"
    "       volt-vmm run --kernel FILE [MACHINE] --control-fd N --bell-fd N\n"
    "       volt-vmm template --control-fd N --snapshot-fd N\n"
    "       volt-vmm --version\n"
    "\n"
    "The first two run one VM without a daemon; poold uses the others (docs/architecture.md).\n"
    "\n"
    "MACHINE is  [--initrd FILE] [--memory 128M] [--vcpus 1] [--cmdline S]\n"
    "            [--cpu-template FILE] [--pit] [--pmu] [--console-log FILE]\n"
    "            [--balloon] [--net tap|user|tap=LINK|macvtap=LINK[,fd=N][,mac=MAC][,mtu=N]\n"
    "            [,bandwidth=10M][,pps=N]\n"
    "            [,address=A/BITS][,gateway=A][,dns=A]]\n"
    "            [--disk FILE[,ro|,rw]] [--disk-bandwidth SIZE] [--disk-iops N] [--huge-pages]\n"
    "--console      joins the terminal to the serial console; Ctrl-] ends the VM\n"
    "--api-socket   a Unix socket for HTTP: GET / and /metrics, PUT /pause, /resume, /shutdown\n"
    "               and /snapshot with the body {\"path\": \"DIR\"}\n"
    "--snapshot-to  takes a snapshot at the guest's first PARK; without --console, then ends\n"
    "--restore      runs a copy of a snapshot, with the disk that it names or --disk FILE\n"
    "--disk         a file or block device as /dev/vda. What the VM writes goes to its snapshot\n"
    "               or is gone with it; with ,ro it can't write; with ,rw it writes to FILE\n"
    "--huge-pages   guest memory in pages of 2 MiB, of those that the host has reserved\n"
    "--net          a network card: LINK is that of a tap or macvtap, fd an open one, or with "
    "user\n"
    "               a stream socket of passt; else it leads nowhere. address and what follows is "
    "for volt-init\n"
    "--balloon      memory that the guest frees goes back to the host\n"
    "\n"
    "For debugging and measuring only: --no-seccomp --no-landlock --no-namespaces\n"
    "--no-capabilities take a layer away.\n"
    "\n"
    "Example: volt-vmm --kernel vmlinux --initrd initramfs.cpio --snapshot-to /tmp/booted\n"
    "         volt-vmm --restore /tmp/booted --console\n";

/* In the C library's place. NOLINTNEXTLINE(bugprone-reserved-identifier): it has that name. */
void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    struct err err;

    err_set(&err, EDOM, "%s:%u: %s: '%s' is not so", file, line, function, assertion);
    fprintf(stderr, "volt-vmm: %s\n", err.msg);
    program_report_failure(&err);
    abort();
}

/* Inherited by clones. A hint. */
static void oom_score_set(uint32_t score)
{
    FILE *file = score ? fopen("/proc/self/oom_score_adj", "we") : NULL;

    if (!file)
        return;
    fprintf(file, "%u", score);
    fclose(file);
}

/* Options without a command: one VM, directly. */
static const struct program *find_program(const char *argument)
{
    if (argument[0] == '-')
        return &direct;
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        if (strcmp(argument, programs[i].name) == 0)
            return &programs[i];
    }
    return NULL;
}

int main(int argc, char **argv)
{
    struct options options;
    struct err err = { 0 };

    std_fds_ensure();
    /* One heap for all threads: an arena a thread is memory that every clone pays for. */
    mallopt(M_ARENA_MAX, 1);

    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        fputs(help, argc < 2 ? stderr : stdout);
        return argc < 2 ? EXIT_BAD_USAGE : 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("volt-vmm " VOLT_VERSION);
        return 0;
    }
    const struct program *program = find_program(argv[1]);
    if (!program) {
        fprintf(stderr, "volt-vmm: unknown command '%s'; see volt-vmm --help\n", argv[1]);
        return EXIT_BAD_USAGE;
    }
    int used = program == &direct ? 1 : 2;
    if (arguments_get(&argc, &argv, used, &err) < 0 ||
        options_parse(&options, argc - used, argv + used, &err) < 0) {
        fprintf(stderr, "volt-vmm: %s\n", err.msg);
        return EXIT_BAD_USAGE;
    }
    program_speaks_on(options.control_fd);
    oom_score_set(options.oom_score_adj);
    sandbox_config_warn(&options.sandbox);
    int status = program->run(&options, &err);
    if (err.code) {
        char said[2 * ERR_MSG_BYTES];

        text_clean(said, sizeof said, err.msg, sizeof err.msg); /* it may quote the VM */
        fprintf(stderr, "volt-vmm: %s\n", said);
        program_report_failure(&err);
    }
    return status;
}
