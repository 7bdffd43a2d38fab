/* SPDX-License-Identifier: Apache-2.0 */
/* Turns the KVM-held state of a machine (machine/vm_state.h) into sections and back.
 *
 * Each KVM structure is a section of its own, as the raw bytes of the kernel's x86-64 UAPI struct
 * (fixed layout, little-endian; sizes asserted here and checked on load): `vm`, `clock`, `pic0`,
 * `pic1`, `ioapic`, `pit` and for each vCPU N `cpuN.mp`, `.regs`, `.sregs`, `.xcrs`, `.debug`,
 * `.lapic`, `.events`, `.tsc`, `.xsave`, `.msrs`, `.cpuid`. */
#ifndef VOLT_SNAPSHOT_VM_CODEC_H
#define VOLT_SNAPSHOT_VM_CODEC_H

#include <stdbool.h>

#include "base/err.h"
#include "machine/vm_state.h"
#include "snapshot/sections.h"

/* Adds all sections of `state`. Errors stick in the builder. */
void vm_state_encode(struct state_builder *b, const struct vm_state *state);

/* Reads them into *ret_state, whose vcpu array is allocated (free with vm_state_fini). Every
 * count and length is checked against vm_state.h's limits. What KVM itself judges (reserved bits,
 * MSRs the host lacks) is left to it. -EINVAL, -ENOENT or -ENOTSUP naming the section; *ret_state
 * is untouched on failure. */
int vm_state_decode(struct state_reader *r, struct vm_state *ret_state, struct err *err);

/* True for the names above: sections of the machine, all others are its devices'. */
bool vm_state_section(const char *name);

#endif
