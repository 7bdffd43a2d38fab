/* SPDX-License-Identifier: Apache-2.0 */
/* The cases and the main of a Check program: TAP on standard output, as tests/run and meson read
 * it.
 */
#ifndef VOLT_TESTS_TAP_MAIN_H
#define VOLT_TESTS_TAP_MAIN_H

#include <check.h>

/* What no test takes: it hangs. Check's own 4 s are soon over on a machine that is busy. */
#define TAP_TIMEOUT_S 300

/* A case of the suite, to which tests are added. */
static inline TCase *tap_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, TAP_TIMEOUT_S);
    suite_add_tcase(suite, tcase);
    return tcase;
}

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
