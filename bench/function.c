/* SPDX-License-Identifier: Apache-2.0 */
/* The function of suite `functions`: answers with what it is asked with; "who": its VM, and which call of
 * it this is. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "function/volt_function.h"

static unsigned calls;

static int answer(void *context, const void *request, size_t bytes)
{
    char name[64] = "", who[96];

    (void)context;
    calls++;
    if (bytes != 3 || memcmp(request, "who", 3) != 0)
        return volt_function_answer(request, bytes);
    gethostname(name, sizeof name - 1);
    snprintf(who, sizeof who, "%s %u", name, calls);
    return volt_function_answer(who, strlen(who));
}

int main(void)
{
    return volt_function_serve(answer, NULL) < 0;
}
