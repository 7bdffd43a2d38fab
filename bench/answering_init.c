/* SPDX-License-Identifier: Apache-2.0 */
/* The init of a guest that other monitors run too: says over and over, from user mode, that it runs.
 * What it writes to its UART needs nothing of the guest's kernel, so the first that is heard of a
 * restored one is its answer. */
#include <sys/io.h>
#include <unistd.h>

#define UART_PORT 0x3f8
#define ANSWER '~'
#define PAUSES 2000 /* between two of them: tens of microseconds */

int main(void)
{
    if (ioperm(UART_PORT, 1, 1) < 0)
        return 1;
    for (;;) {
        outb(ANSWER, UART_PORT);
        for (unsigned i = 0; i < PAUSES; i++)
            __asm__ volatile("pause");
    }
}
