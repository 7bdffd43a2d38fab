/* SPDX-License-Identifier: Apache-2.0 */
/* A small AML builder (ACPI 6.4, chapter 20.2): just the terms that Volt's DSDT needs. Writes into
 * the caller's buffer; running out of room is remembered, so only the end has to be checked.
 *
 *   size_t scope = aml_open(&aml, AML_SCOPE, "\\_SB_");
 *   aml_name_string(&aml, "_HID", "PNP0C0C");
 *   aml_close(&aml, scope);
 *
 * Names are exactly four characters, with a leading backslash where they start at the root. */
#ifndef VOLT_BOOT_AML_H
#define VOLT_BOOT_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
    uint8_t *buffer; /* borrowed */
    size_t capacity;
    size_t used;
    bool overflow; /* something did not fit; the content is then worthless */
};

enum aml_block { AML_SCOPE, AML_DEVICE, AML_METHOD1, AML_BLOCK_COUNT };

/* Opens Scope(name), Device(name), or Method(name, 1, Serialized); close takes what open gave. */
size_t aml_open(struct aml *aml, enum aml_block block, const char *name);
void aml_close(struct aml *aml, size_t block);

/* Name(name, "text"), Name(name, value). */
void aml_name_string(struct aml *aml, const char *name, const char *text);
void aml_name_integer(struct aml *aml, const char *name, uint32_t value);

/* Name(name, Package(2){low, high}). */
void aml_name_package2(struct aml *aml, const char *name, uint32_t low, uint32_t high);

/* If (LEqual(Arg0, value)) { Notify(device, 0x80) }: in a METHOD1. */
void aml_notify_if_arg0(struct aml *aml, uint32_t value, const char *device);

/* Name(_CRS, ResourceTemplate() { ... }): resources go between crs_open and crs_close. */
size_t aml_crs_open(struct aml *aml);
void aml_crs_memory32(struct aml *aml, uint32_t base, uint32_t bytes);
void aml_crs_io(struct aml *aml, uint16_t port, uint8_t ports);
/* Interrupt(ResourceConsumer, Edge, ActiveHigh, Exclusive). */
void aml_crs_interrupt(struct aml *aml, uint32_t gsi);
void aml_crs_close(struct aml *aml, size_t crs);

#endif
