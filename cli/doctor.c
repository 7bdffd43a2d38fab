/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the findings of `voltctl doctor`; see doctor.h. */
#include "doctor.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/json_text.h"
#include "base/util.h"

static const char *const level_names[] = {
    [DOCTOR_OK] = "ok",
    [DOCTOR_INFO] = "info",
    [DOCTOR_WARNING] = "warning",
    [DOCTOR_ERROR] = "error",
};
_Static_assert(ARRAY_LEN(level_names) == DOCTOR_LEVEL_COUNT, "every level has a name");

void doctor_add(struct doctor *doctor, const char *check, enum doctor_level level,
                const char *advice, const char *found_fmt, ...)
{
    char found[512];
    va_list args;

    va_start(args, found_fmt);
    vsnprintf(found, sizeof found, found_fmt, args);
    va_end(args);
    doctor->counts[level]++;
    json_array_append_new(doctor->findings,
                          json_pack("{s:o,s:o,s:o,s:o}", "check", json_text(check), "level",
                                    json_text(level_names[level]), "found", json_text(found),
                                    "advice", json_text(advice)));
}
