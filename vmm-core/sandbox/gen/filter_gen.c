/* SPDX-License-Identifier: Apache-2.0 */
/* Build-time program: compiles the tables of seccomp_table.h into BPF and writes them as a C
 * header to standard output. So volt-vmm neither links libseccomp nor compiles a filter for a VM.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>

#include "sandbox/seccomp_table.h"

struct table {
    const char *name;
    const struct seccomp_entry *entry;
    size_t count;
};

static const struct table vcpu_table = { "vcpu", seccomp_vcpu, ARRAY_LEN(seccomp_vcpu) };
static const struct table device_table = { "device", seccomp_device, ARRAY_LEN(seccomp_device) };
static const struct table rootless_table = { "device_rootless", seccomp_device,
                                             ARRAY_LEN(seccomp_device) - SECCOMP_DIAL_ROWS };
static const struct table outside_table = { "outside", seccomp_outside,
                                            ARRAY_LEN(seccomp_outside) };
static const struct table template_table = { "template", seccomp_template,
                                             ARRAY_LEN(seccomp_template) };
static const struct table gate_table = { "gate", seccomp_gate, ARRAY_LEN(seccomp_gate) };

static int entry_add(scmp_filter_ctx ctx, const struct seccomp_entry *entry)
{
    struct scmp_arg_cmp cmp[SECCOMP_CONDITIONS_MAX];
    unsigned count = 0;

    for (unsigned i = 0; i < SECCOMP_CONDITIONS_MAX; i++) {
        const struct seccomp_condition *c = &entry->condition[i];

        if (c->op == SECCOMP_OP_EQ)
            cmp[count++] = SCMP_CMP64(c->argument, SCMP_CMP_EQ, c->value);
        else if (c->op == SECCOMP_OP_MASKED)
            cmp[count++] = SCMP_CMP64(c->argument, SCMP_CMP_MASKED_EQ, c->mask, c->value);
    }
    return seccomp_rule_add_exact_array(ctx, SCMP_ACT_ALLOW, entry->nr, count, cmp);
}

static bool table_has(const struct table *table, int nr)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->entry[i].nr == nr)
            return true;
    }
    return false;
}

/* Adds the rows of `table`, but those of calls that `known` (may be NULL) already has. */
static int table_add(scmp_filter_ctx ctx, const struct table *table, const struct table *known)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct seccomp_entry *entry = &table->entry[i];
        int r;

        if (known && table_has(known, entry->nr))
            continue;
        r = entry_add(ctx, entry);
        if (r < 0 && r != -EEXIST) {
            fprintf(stderr, "filter_gen: %s: %s (\"%s\"): %s\n", table->name, entry->name,
                    entry->reason, strerror(-r));
            return r;
        }
    }
    return 0;
}

#define INSN "    { 0x%04x, %d, %d, 0x%08x },\n"

/* A thread's hottest ioctl (the table's first row, when it is one with a request number) is decided
 * before libseccomp's own program, which would get to it after all other requests. Anything else
 * jumps over the 9 instructions of this prologue. */
static void prologue_print(const struct seccomp_entry *hot)
{
    const unsigned args1_low = 24, args1_high = 28;

    if (hot->nr != SYS_ioctl || hot->condition[0].op != SECCOMP_OP_EQ)
        return;
    printf(INSN, BPF_LD | BPF_W | BPF_ABS, 0, 0, 4u); /* arch */
    printf(INSN, BPF_JMP | BPF_JEQ | BPF_K, 0, 7, AUDIT_ARCH_X86_64);
    printf(INSN, BPF_LD | BPF_W | BPF_ABS, 0, 0, 0u); /* nr */
    printf(INSN, BPF_JMP | BPF_JEQ | BPF_K, 0, 5, (unsigned)SYS_ioctl);
    printf(INSN, BPF_LD | BPF_W | BPF_ABS, 0, 0, args1_low);
    printf(INSN, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, hot->condition[0].value);
    printf(INSN, BPF_LD | BPF_W | BPF_ABS, 0, 0, args1_high);
    printf(INSN, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0u);
    printf(INSN, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW);
}

/* seccomp_export_bpf writes struct sock_filter after struct sock_filter to an fd. */
static int filter_print(scmp_filter_ctx ctx, const struct table *table)
{
    struct {
        uint16_t code;
        uint8_t jt, jf;
        uint32_t k;
    } insn;
    FILE *bpf = tmpfile();
    int r;

    if (!bpf)
        return -errno;
    r = seccomp_export_bpf(ctx, fileno(bpf));
    if (r < 0) {
        fclose(bpf);
        return r;
    }
    rewind(bpf);
    printf("\nstatic const struct sock_filter seccomp_filter_%s[] = {\n", table->name);
    prologue_print(&table->entry[0]);
    while (fread(&insn, sizeof(insn), 1, bpf) == 1)
        printf(INSN, insn.code, insn.jt, insn.jf, insn.k);
    printf("};\n");
    fclose(bpf);
    return 0;
}

static int filter_compile(const struct table *table, const struct table *more[2])
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
    int r;

    if (!ctx)
        return -ENOMEM;
    /* Calls of other architectures (i386, x32) die like unknown ones. */
    r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    /* A binary tree over the call numbers. The kernel runs a filter once for every number when it
     * is installed, to remember the calls that need no look at their arguments: with a chain that
     * takes twice as long. */
    if (r == 0)
        r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (r == 0)
        r = table_add(ctx, table, NULL);
    for (unsigned i = 0; r == 0 && i < 2 && more[i]; i++)
        r = table_add(ctx, more[i], table);
    if (r == 0)
        r = filter_print(ctx, table);
    seccomp_release(ctx);
    return r;
}

int main(void)
{
    const struct table *none[2] = { NULL, NULL };
    const struct table *both[2] = { &device_table, &vcpu_table };

    printf("/* Written by filter_gen from seccomp_table.h. */\n#include <linux/filter.h>\n");
    if (filter_compile(&vcpu_table, none) < 0 || filter_compile(&device_table, none) < 0 ||
        filter_compile(&rootless_table, none) < 0 || filter_compile(&outside_table, none) < 0 ||
        filter_compile(&template_table, both) < 0 || filter_compile(&gate_table, none) < 0) {
        fprintf(stderr, "filter_gen: the tables could not be compiled\n");
        return 1;
    }
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
