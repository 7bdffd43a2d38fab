/* SPDX-License-Identifier: Apache-2.0 */
/* volt-vmm: one VM, or the template that VMs are cloned from. Started and driven by poold. */
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "volt-vmm/program.h"

static const struct {
    const char *name;
    int (*run)(struct options *options, struct err *err);
} programs[] = {
    { "run", program_run },
    { "template", program_template },
};

static const char help[] =
    "usage: volt-vmm run --kernel FILE [--initrd FILE] [--memory 128M] [--vcpus 1]\n"
    "                    [--cmdline S] [--cpu-template FILE] [--pit] [--pmu]\n"
    "                    [--console-log FILE] --control-fd N --bell-fd N\n"
    "       volt-vmm template --control-fd N --snapshot-fd N\n"
    "       volt-vmm --version\n"
    "\n"
    "poold starts volt-vmm; see docs/architecture.md. For debugging and measuring only:\n"
    "--no-seccomp --no-landlock --no-namespaces --no-capabilities take a layer away.\n";

/* Tells poold, which reads no stderr, and whoever does. */
static void tell_failure(const struct options *options, const struct err *err)
{
    struct control_msg msg = { .type = CONTROL_EXITED };

    fprintf(stderr, "volt-vmm: %s\n", err->msg);
    if (options->control_fd < 0)
        return;
    msg.u.exited.reason = EXIT_REASON_HOST_ERROR;
    snprintf(msg.u.exited.detail, sizeof msg.u.exited.detail, "%s", err->msg);
    control_send(options->control_fd, &msg, NULL, 0);
}

int main(int argc, char **argv)
{
    struct options options;
    struct err err = { 0 };

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
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        if (strcmp(argv[1], programs[i].name) != 0)
            continue;
        if (options_parse(&options, argc - 2, argv + 2, &err) < 0) {
            fprintf(stderr, "volt-vmm: %s\n", err.msg);
            return EXIT_BAD_USAGE;
        }
        sandbox_config_warn(&options.sandbox);
        int status = programs[i].run(&options, &err);
        if (err.code)
            tell_failure(&options, &err);
        return status;
    }
    fprintf(stderr, "volt-vmm: unknown command '%s'; see volt-vmm --help\n", argv[1]);
    return EXIT_BAD_USAGE;
}
