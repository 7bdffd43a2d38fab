/* SPDX-License-Identifier: Apache-2.0 */
/* Owns how the boot vCPU starts: its descriptor table, its page tables and its registers
 * (boot.rst "64-bit boot protocol": CS __BOOT_CS 0x10, DS/ES/SS __BOOT_DS 0x18, paging on, the
 * loaded ranges mapped one to one, interrupts off; Xen's PVH: 32-bit flat, paging off). */
#include <linux/kvm.h>
#include <string.h>

#include "base/util.h"
#include "boot/tables.h"

#define BOOT_CS 0x10u
#define BOOT_DS 0x18u
#define BOOT_TSS 0x20u

#define PAGE_PRESENT_WRITABLE 0x3u
#define PAGE_LARGE 0x80u
#define TABLE_ENTRIES 512u
#define IDENTITY_GIB 4u

#define CR0_PE 0x1u
#define CR0_ET 0x10u
#define CR0_PG 0x80000000u
#define CR4_PAE 0x20u
#define EFER_LME 0x100u
#define EFER_LMA 0x400u
#define RFLAGS_ALWAYS 0x2u

struct segment_kind {
    uint16_t selector;
    uint16_t attributes; /* bits 40 to 55 of the descriptor, without limit 19:16 */
    uint32_t limit;      /* in bytes, inclusive */
};

/* Index: enum boot_segment; a code segment is 64-bit (L) or 32-bit (D). */
enum boot_segment { SEGMENT_CODE64, SEGMENT_CODE32, SEGMENT_DATA, SEGMENT_TSS, SEGMENT_COUNT };
static const struct segment_kind segment_kinds[] = {
    [SEGMENT_CODE64] = { BOOT_CS, 0xa09b, 0xffffffff }, /* G, L, present, execute/read/accessed */
    [SEGMENT_CODE32] = { BOOT_CS, 0xc09b, 0xffffffff }, /* G, D, present, execute/read/accessed */
    [SEGMENT_DATA] = { BOOT_DS, 0xc093, 0xffffffff },   /* G, B, present, read/write/accessed */
    [SEGMENT_TSS] = { BOOT_TSS, 0x008b, 0x67 },         /* present, busy 32/64-bit TSS */
};
_Static_assert(ARRAY_LEN(segment_kinds) == SEGMENT_COUNT, "a kind for each segment");

static uint64_t descriptor(const struct segment_kind *kind)
{
    uint32_t limit = kind->attributes & 0x8000 ? kind->limit >> 12 : kind->limit;

    return ((uint64_t)kind->attributes << 40) | ((uint64_t)(limit & 0xf0000) << 32) |
           (limit & 0xffff);
}

static struct kvm_segment kvm_segment_of(enum boot_segment segment)
{
    const struct segment_kind *kind = &segment_kinds[segment];
    uint16_t a = kind->attributes;

    return (struct kvm_segment){ .limit = kind->limit,
                                 .selector = kind->selector,
                                 .type = a & 0xf,
                                 .s = (a >> 4) & 1,
                                 .dpl = (a >> 5) & 3,
                                 .present = (a >> 7) & 1,
                                 .avl = (a >> 12) & 1,
                                 .l = (a >> 13) & 1,
                                 .db = (a >> 14) & 1,
                                 .g = (a >> 15) & 1 };
}

static enum boot_segment code_segment(const struct boot_entry *entry)
{
    return entry->protocol == BOOT_PROTOCOL_LINUX64 ? SEGMENT_CODE64 : SEGMENT_CODE32;
}

static void page_tables_write(struct guest_mem *mem)
{
    uint64_t(*table)[TABLE_ENTRIES] =
        guest_mem_at(mem, BOOT_PAGE_TABLES_GPA, BOOT_PAGE_TABLES_BYTES);
    uint64_t pdpt_gpa = BOOT_PAGE_TABLES_GPA + HOST_PAGE_BYTES;
    uint64_t directory_gpa = pdpt_gpa + HOST_PAGE_BYTES;

    table[0][0] = pdpt_gpa | PAGE_PRESENT_WRITABLE;
    for (uint64_t gib = 0; gib < IDENTITY_GIB; gib++) {
        table[1][gib] = (directory_gpa + gib * HOST_PAGE_BYTES) | PAGE_PRESENT_WRITABLE;
        for (uint64_t i = 0; i < TABLE_ENTRIES; i++)
            table[2 + gib][i] = GIB(gib) + MIB(2 * i) + (PAGE_LARGE | PAGE_PRESENT_WRITABLE);
    }
}
_Static_assert(BOOT_PAGE_TABLES_BYTES == (2 + IDENTITY_GIB) * HOST_PAGE_BYTES, "page tables");

void cpu_tables_write(struct guest_mem *mem, struct boot_entry *entry)
{
    uint64_t gdt[BOOT_TSS / 8 + 2] = { 0 }; /* the TSS descriptor of long mode takes two slots */

    gdt[BOOT_CS / 8] = descriptor(&segment_kinds[code_segment(entry)]);
    gdt[BOOT_DS / 8] = descriptor(&segment_kinds[SEGMENT_DATA]);
    gdt[BOOT_TSS / 8] = descriptor(&segment_kinds[SEGMENT_TSS]);
    guest_mem_write(mem, BOOT_GDT_GPA, gdt, sizeof gdt);
    entry->gdt_gpa = BOOT_GDT_GPA;
    entry->gdt_bytes = sizeof gdt;
    if (entry->protocol == BOOT_PROTOCOL_LINUX64) {
        page_tables_write(mem);
        entry->cr3 = BOOT_PAGE_TABLES_GPA;
    }
}

void boot_vcpu_regs(const struct boot_entry *entry, struct kvm_sregs *sregs, struct kvm_regs *regs)
{
    struct kvm_segment data = kvm_segment_of(SEGMENT_DATA);

    sregs->cs = kvm_segment_of(code_segment(entry));
    sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
    sregs->tr = kvm_segment_of(SEGMENT_TSS);
    sregs->gdt.base = entry->gdt_gpa;
    sregs->gdt.limit = (uint16_t)(entry->gdt_bytes - 1);
    sregs->idt.base = 0; /* none: an exception before the kernel has one is a triple fault */
    sregs->idt.limit = 0;
    sregs->cr0 = CR0_PE | CR0_ET;
    sregs->cr3 = sregs->cr4 = sregs->efer = 0;
    if (entry->protocol == BOOT_PROTOCOL_LINUX64) {
        sregs->cr0 |= CR0_PG;
        sregs->cr3 = entry->cr3;
        sregs->cr4 = CR4_PAE;
        sregs->efer = EFER_LME | EFER_LMA;
    }
    memset(regs, 0, sizeof *regs);
    regs->rflags = RFLAGS_ALWAYS;
    regs->rip = entry->rip;
    regs->rsp = regs->rbp = entry->rsp;
    regs->rsi = entry->rsi;
    regs->rbx = entry->rbx;
}
