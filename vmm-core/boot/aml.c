/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the encoding of AML; see aml.h. Section numbers are those of ACPI 6.4. */
#include "boot/aml.h"

#include <string.h>

#include "base/util.h"

/* 20.2.3 data objects, 20.2.5 terms */
#define AML_NAME_OP 0x08
#define AML_DWORD_PREFIX 0x0c
#define AML_STRING_PREFIX 0x0d
#define AML_BUFFER_OP 0x11
#define AML_PACKAGE_OP 0x12
#define AML_ARG0_OP 0x68
#define AML_NOTIFY_OP 0x86
#define AML_LEQUAL_OP 0x93
#define AML_IF_OP 0xa0

#define METHOD_1_ARG_SERIALIZED 0x09
#define NOTIFY_DEVICE_SPECIFIC 0x80

/* 6.4 resource descriptors */
#define RESOURCE_IO 0x47
#define RESOURCE_END_TAG 0x79
#define RESOURCE_MEMORY32_FIXED 0x86
#define RESOURCE_EXTENDED_INTERRUPT 0x89
#define INTERRUPT_CONSUMER_EDGE 0x03

/* Lengths always take three bytes (20.2.4: longer forms than needed are allowed), so that a block
 * can be opened before its length is known. */
#define PKG_LENGTH_BYTES 3u
#define PKG_LENGTH_MAX 0xfffffu

static const struct {
    uint8_t op[2];
    uint8_t op_bytes;
} block_ops[] = {
    [AML_SCOPE] = { { 0x10 }, 1 },
    [AML_DEVICE] = { { 0x5b, 0x82 }, 2 },
    [AML_METHOD1] = { { 0x14 }, 1 },
};
_Static_assert(ARRAY_LEN(block_ops) == AML_BLOCK_COUNT, "an opcode for each block");

static void put(struct aml *aml, const void *bytes, size_t count)
{
    if (count > aml->capacity - aml->used) {
        aml->overflow = true;
        return;
    }
    memcpy(aml->buffer + aml->used, bytes, count);
    aml->used += count;
}

static void put8(struct aml *aml, uint8_t value)
{
    put(aml, &value, sizeof value);
}

static void put32(struct aml *aml, uint32_t value)
{
    put(aml, &value, sizeof value); /* x86 is little-endian, as AML is */
}

static void put_integer(struct aml *aml, uint32_t value)
{
    put8(aml, AML_DWORD_PREFIX);
    put32(aml, value);
}

static void put_name(struct aml *aml, const char *name)
{
    put(aml, name, strlen(name));
}

/* Reserves a PkgLength; it counts itself and all that follows up to pkg_close. */
static size_t pkg_open(struct aml *aml)
{
    static const uint8_t room[PKG_LENGTH_BYTES];
    size_t at = aml->used;

    put(aml, room, sizeof room);
    return at;
}

static void pkg_close(struct aml *aml, size_t at)
{
    size_t length = aml->used - at;

    if (aml->overflow || length > PKG_LENGTH_MAX) {
        aml->overflow = true;
        return;
    }
    aml->buffer[at] = (uint8_t)((PKG_LENGTH_BYTES - 1) << 6 | (length & 0xf));
    aml->buffer[at + 1] = (uint8_t)(length >> 4);
    aml->buffer[at + 2] = (uint8_t)(length >> 12);
}

size_t aml_open(struct aml *aml, enum aml_block block, const char *name)
{
    put(aml, block_ops[block].op, block_ops[block].op_bytes);
    size_t at = pkg_open(aml);
    put_name(aml, name);
    if (block == AML_METHOD1)
        put8(aml, METHOD_1_ARG_SERIALIZED);
    return at;
}

void aml_close(struct aml *aml, size_t block)
{
    pkg_close(aml, block);
}

void aml_name_string(struct aml *aml, const char *name, const char *text)
{
    put8(aml, AML_NAME_OP);
    put_name(aml, name);
    put8(aml, AML_STRING_PREFIX);
    put(aml, text, strlen(text) + 1);
}

void aml_name_integer(struct aml *aml, const char *name, uint32_t value)
{
    put8(aml, AML_NAME_OP);
    put_name(aml, name);
    put_integer(aml, value);
}

void aml_name_package2(struct aml *aml, const char *name, uint32_t low, uint32_t high)
{
    put8(aml, AML_NAME_OP);
    put_name(aml, name);
    put8(aml, AML_PACKAGE_OP);
    size_t package = pkg_open(aml);
    put8(aml, 2);
    put_integer(aml, low);
    put_integer(aml, high);
    pkg_close(aml, package);
}

void aml_notify_if_arg0(struct aml *aml, uint32_t value, const char *device)
{
    put8(aml, AML_IF_OP);
    size_t body = pkg_open(aml);
    put8(aml, AML_LEQUAL_OP);
    put8(aml, AML_ARG0_OP);
    put_integer(aml, value);
    put8(aml, AML_NOTIFY_OP);
    put_name(aml, device);
    put8(aml, 0x0a); /* BytePrefix */
    put8(aml, NOTIFY_DEVICE_SPECIFIC);
    pkg_close(aml, body);
}

size_t aml_crs_open(struct aml *aml)
{
    put8(aml, AML_NAME_OP);
    put_name(aml, "_CRS");
    put8(aml, AML_BUFFER_OP);
    size_t at = pkg_open(aml);
    put_integer(aml, 0); /* BufferSize, set by crs_close */
    return at;
}

void aml_crs_memory32(struct aml *aml, uint32_t base, uint32_t bytes)
{
    static const uint8_t head[] = { RESOURCE_MEMORY32_FIXED, 9, 0, 1 /* read-write */ };

    put(aml, head, sizeof head);
    put32(aml, base);
    put32(aml, bytes);
}

void aml_crs_io(struct aml *aml, uint16_t port, uint8_t ports)
{
    uint8_t low = (uint8_t)port, high = (uint8_t)(port >> 8);
    uint8_t io[] = { RESOURCE_IO, 1 /* 16-bit decode */, low, high, low, high, 1, ports };

    put(aml, io, sizeof io);
}

void aml_crs_interrupt(struct aml *aml, uint32_t gsi)
{
    static const uint8_t head[] = { RESOURCE_EXTENDED_INTERRUPT, 6, 0, INTERRUPT_CONSUMER_EDGE,
                                    1 /* one interrupt */ };

    put(aml, head, sizeof head);
    put32(aml, gsi);
}

void aml_crs_close(struct aml *aml, size_t crs)
{
    static const uint8_t end[] = { RESOURCE_END_TAG, 0 /* no checksum */ };
    size_t size_at = crs + PKG_LENGTH_BYTES + 1;
    size_t data_at = size_at + sizeof(uint32_t);

    put(aml, end, sizeof end);
    if (!aml->overflow) {
        uint32_t bytes = (uint32_t)(aml->used - data_at);
        memcpy(aml->buffer + size_at, &bytes, sizeof bytes);
    }
    pkg_close(aml, crs);
}
