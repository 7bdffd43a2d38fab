/* SPDX-License-Identifier: Apache-2.0 */
/* libvolt_function: a function that waits for its calls at the VM's doorbell, in user mode.
 *
 * A program that `voltctl function create NAME --runtime doorbell --handler 'PROGRAM'` starts in a VM
 * links this, or loads it (volt_function.py, volt_function.mjs), and asks for its calls one by one:
 *
 *     static int answer(void *context, const void *request, size_t bytes)
 *     {
 *         return volt_function_answer(request, bytes); // echo
 *     }
 *     int main(void)
 *     {
 *         return volt_function_serve(answer, NULL) < 0;
 *     }
 *
 * How it works
 *   Request and answer lie in guest memory that the host writes and reads itself. Asking for a call is
 *   one port write, at which the host stops the VM; it goes on with the instruction behind that when
 *   there is a call. Nothing of the guest's kernel runs on the way in or out, and no socket.
 *
 *   The first volt_function_next stops before the bell: the program is ready then, and the pool's
 *   snapshot is taken. Each VM of the pool goes on from there, rings once it has random numbers, clock
 *   and names of its own, and stops. What a program draws from the kernel before its first call is the
 *   same in all VMs; what it draws from then on is not.
 *
 * What a program MUST know
 *   1. Between an answer and the next call the VM stands still, all of its processes and threads with
 *      it, and one whose pool does not reuse VMs (--reuse) never goes on. What is not done before
 *      volt_function_next may never be done.
 *   2. During a call the timer's tick is held back for up to 10 ms of the VM's time; a thread that
 *      waits for another by turning round and round waits so long. System calls are as ever.
 *   3. Requests and answers have at most VOLT_FUNCTION_BYTES_MAX. A longer request does not get here: its
 *      caller is told so. A longer answer is refused, by volt_function_answer.
 *   4. What the program writes to its standard output is not kept, but for its last words when it ends.
 *
 * Everything here is of one thread, the same from volt_function_open on, in a VM with one CPU. All
 * numbers that are returned below 0 are -errno. No function allocates. */
#ifndef VOLT_FUNCTION_H
#define VOLT_FUNCTION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VOLT_FUNCTION_BYTES_MAX 65536

/* Maps the area that requests and answers lie in. Once; a second time it does nothing. 0; -ENODEV: this
 * program was not started as a doorbell function; -EPROTONOSUPPORT: by a Volt of another protocol; or of
 * mmap. */
int volt_function_open(void);

/* Sends the answer to the call before, if there was one, and waits for the next call. Its length, and its
 * bytes in *ret_request: they are the caller's to read and to change until the next volt_function_next.
 * A call for which no answer was set is answered with none of a byte. -EPIPE: this VM gets no calls;
 * -EPROTO: there is no call, and it was not a host of Volt's that woke this VM; or of volt_function_open,
 * which it calls where nobody has. */
long volt_function_next(void **ret_request);

/* Sets the answer to the call that is on, in the place of one set before: copies `bytes` from data, which
 * may be the request. 0; -EMSGSIZE: it is longer than VOLT_FUNCTION_BYTES_MAX; -EINVAL: no call is on. */
int volt_function_answer(const void *data, size_t bytes);

/* The same, but an error of the function's: its caller gets it as one (HTTP's status 500). */
int volt_function_fail(const char *text, size_t bytes);

/* Where the answer lies, VOLT_FUNCTION_BYTES_MAX bytes, for a program that writes it in place and then
 * sets it with this pointer as data. NULL: it is not open. */
void *volt_function_buffer(void);

/* The host's time at the call that is on, in nanoseconds since 1970. The guest's own clock is set when a
 * VM is made, and it may have stood since. 0: no call is on. */
uint64_t volt_function_time_ns(void);

/* Serves calls without end. handler sets the answer; one that returns less than 0 answers with an error
 * that names the number. Returns -errno, of volt_function_next. */
int volt_function_serve(int (*handler)(void *context, const void *request, size_t bytes),
                        void *context);

#ifdef __cplusplus
}
#endif

#endif
