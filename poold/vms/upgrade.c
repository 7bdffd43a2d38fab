/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the lines about upgrades in poold's log; see upgrade.h. */
#include "vms/upgrade.h"

#include "base/log.h"
#include "base/util.h"

#define SAY_EVERY_NS (2 * NS_PER_S)

static void say(void *data, const struct upgrade_step *step)
{
    struct upgrade_talk *talk = data;
    uint64_t now = now_ns();

    if (step->err) {
        log_error("%s '%s' is of an older format and can't be used: %s", step->what, step->name,
                  step->err->msg);
    } else if (step->done_bytes == step->total_bytes) {
        log_info("%s '%s' is upgraded", step->what, step->name);
    } else if (!talk->said_ns) {
        log_info("%s '%s' is of an older format: upgrading it, which reads all of it", step->what,
                 step->name);
    } else if (now - talk->said_ns >= SAY_EVERY_NS) {
        log_info("upgrading %s '%s': %llu of %llu MiB", step->what, step->name,
                 (unsigned long long)(step->done_bytes >> 20),
                 (unsigned long long)(step->total_bytes >> 20));
    } else {
        return;
    }
    talk->said_ns = step->err || step->done_bytes == step->total_bytes ? 0 : now;
}

struct upgrade_log upgrade_log_of(struct upgrade_talk *talk)
{
    return (struct upgrade_log){ .step = say, .data = talk };
}
