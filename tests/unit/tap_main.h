/* SPDX-License-Identifier: Apache-2.0 */
/* The main of a Check program: TAP on standard output, as tests/run and meson read it. */
#ifndef VOLT_TESTS_TAP_MAIN_H
#define VOLT_TESTS_TAP_MAIN_H

#include <check.h>

/* Runs the suite and frees it. Returns main's exit code. */
static inline int tap_main(Suite *suite)
{
    SRunner *runner = srunner_create(suite);

    srunner_set_tap(runner, "-");
    srunner_run_all(runner, CK_SILENT);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}

#endif
