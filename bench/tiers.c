/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the timing of one restore; see tiers.h. */
#include "tiers.h"

#include <assert.h>

#include "base/util.h"

static const char *const names[] = {
    [TIER_COLD] = "cold",
    [TIER_SHELL] = "shell",
    [TIER_PARKED] = "parked",
};
static_assert(ARRAY_LEN(names) == TIER_COUNT, "a name for every tier");

const char *tier_name(enum tier tier)
{
    return names[tier];
}

/* Waits for AWAKE and takes the answer's times apart. */
static int take_awake(struct vmm_clone *clone, uint64_t sent_ns, bool cold, struct tier_times *ret,
                      struct err *err)
{
    struct control_msg msg;
    int rc = vmm_clone_expect(clone, CONTROL_AWAKE, &msg, err);

    if (rc < 0)
        return rc;
    uint64_t wake_ns = msg.u.progress.at_ns - msg.u.progress.run_ns - msg.u.progress.load_ns;
    /* setup_ns ends at the first KVM_RUN, which comes right after the state was loaded; a thread
     * that lost its CPU just there makes the fork look earlier than it was, at most as early as the
     * request. */
    uint64_t fork_ns = cold ? wake_ns + msg.u.progress.load_ns - msg.u.progress.setup_ns : wake_ns;
    fork_ns = MAX_OF(fork_ns, sent_ns);
    *ret = (struct tier_times){
        .answer_ns = msg.u.progress.at_ns - sent_ns,
        .received_ns = now_ns() - sent_ns,
        .request_ns = fork_ns - sent_ns,
        .make_ns = wake_ns - fork_ns,
        .load_ns = msg.u.progress.load_ns,
        .run_ns = msg.u.progress.run_ns,
    };
    return 0;
}

static int take_ready(struct vmm_clone *clone, uint64_t sent_ns, struct tier_times *times,
                      struct err *err)
{
    struct control_msg msg;
    int rc = vmm_clone_expect(clone, CONTROL_READY, &msg, err);

    if (rc == 0)
        times->ready_ns = msg.u.progress.at_ns - sent_ns;
    return rc;
}

static int end(struct vmm_clone *clone, int rc, struct err *err)
{
    struct err ignored;
    int ended = vmm_clone_end(clone, rc < 0 ? &ignored : err);

    return rc < 0 ? rc : ended;
}

int tier_measure_cold(struct vmm *template, uint32_t flags, struct tier_times *ret, struct err *err)
{
    struct control_msg wake;
    struct vmm_clone clone;

    vmm_wake_init(&wake, DOORBELL_OP_RESTORE, flags | DOORBELL_FLAG_PARK_AGAIN);
    int rc = vmm_clone_start(&clone, template, &wake, err);
    if (rc == 0)
        rc = take_awake(&clone, clone.sent_ns, true, ret, err);
    if (rc == 0)
        rc = take_ready(&clone, clone.sent_ns, ret, err);
    if (rc == 0)
        rc = vmm_clone_hello(&clone, err);
    return end(&clone, rc, err);
}

static int wake_and_take(struct vmm_clone *clone, enum doorbell_op op, uint32_t flags,
                         struct tier_times *ret, struct err *err)
{
    struct control_msg wake;
    uint64_t sent_ns;

    vmm_wake_init(&wake, op, flags);
    int rc = vmm_clone_wake(clone, &wake, &sent_ns, err);
    if (rc == 0)
        rc = take_awake(clone, sent_ns, false, ret, err);
    if (rc == 0 && op == DOORBELL_OP_RESTORE)
        rc = take_ready(clone, sent_ns, ret, err);
    return rc;
}

int tier_measure_shell(struct vmm *template, uint32_t flags, struct tier_times *ret_shell,
                       struct tier_times *ret_parked, int (*before_wake)(void *data, struct err *),
                       void *data, struct err *err)
{
    struct control_msg msg;
    struct vmm_clone clone;
    int rc = vmm_clone_start(&clone, template, NULL, err);

    if (rc == 0)
        rc = vmm_clone_hello(&clone, err);
    if (rc == 0 && before_wake)
        rc = before_wake(data, err);
    if (rc == 0)
        rc = wake_and_take(&clone, DOORBELL_OP_RESTORE, flags | DOORBELL_FLAG_PARK_AGAIN, ret_shell,
                           err);
    if (rc == 0)
        rc = vmm_clone_expect(&clone, CONTROL_PARKED, &msg, err);
    if (rc == 0)
        rc = wake_and_take(&clone, DOORBELL_OP_LEASE, 0, ret_parked, err);
    return end(&clone, rc, err);
}
