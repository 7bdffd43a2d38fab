/* SPDX-License-Identifier: Apache-2.0 */
/* Has its vector registers saved and loaded as a kernel without XSAVE does; then loads what is no such
 * state, and says that all went well; then names no memory, which ends it. */
#include "guest.h"

static _Alignas(64) uint8_t area[4096];

static uint32_t name(const void *at)
{
    return (uint32_t)((uintptr_t)at >> VECTORS_PORT_SHIFT);
}

static void set(uint64_t value)
{
    __asm__ volatile("movq %0, %%xmm7\n punpcklqdq %%xmm7, %%xmm7" : : "r"(value) : "xmm7");
}

static uint64_t get(void)
{
    uint64_t value;

    __asm__ volatile("movq %%xmm7, %0" : "=r"(value));
    return value;
}

GUEST_MAIN
{
    uint32_t bad = 0;

    set(1);
    outl(VECTORS_PORT_SAVE, name(area));
    set(2);
    outl(VECTORS_PORT_LOAD, name(area));
    bad |= get() != 1;
    outb(VECTORS_PORT_SAVE, 0); /* too narrow: ignored */
    bad |= inl(VECTORS_PORT_SAVE) != 0xffffffffu;
    /* A header that no XSAVE has written: FXSAVE's part counts. */
    for (int i = 512; i < 576; i++)
        area[i] = 0xff;
    set(3);
    outl(VECTORS_PORT_LOAD, name(area));
    bad |= get() != 1;
    /* Nor is there any of that: no registers of before are left. */
    for (int i = 0; i < 4096; i++)
        area[i] = 0xff;
    set(4);
    outl(VECTORS_PORT_LOAD, name(area));
    bad |= get() != 0;
    if (!bad)
        outl(DOORBELL_PORT_BANNER, 0);
    outl(VECTORS_PORT_SAVE, 0xffffffffu);
    stop();
}
