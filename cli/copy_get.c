/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the beginning of a GET; see copy_get.h. */
#include "copy_get.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "interrupt.h"

#define FRAME_TIMEOUT_MS 120000u
#define SLICE_MS 200u /* how soon a signal is heeded */

int copy_receive(struct agent *agent, struct agent_message *ret_message, struct err *err)
{
    uint64_t deadline_ns = now_ns() + FRAME_TIMEOUT_MS * NS_PER_MS;

    for (;;) {
        uint64_t slice_ns = now_ns() + SLICE_MS * NS_PER_MS;
        int rc = agent_receive(agent, MIN_OF(slice_ns, deadline_ns), ret_message, err);

        if (rc != -ETIMEDOUT || now_ns() >= deadline_ns)
            return rc;
        rc = interrupt_check(err);
        if (rc < 0)
            return rc;
    }
}

/* Reads frames until they tell what comes. */
static int head_receive(struct copy_get *get, struct err *err)
{
    for (;;) {
        struct agent_message message;
        int rc = copy_receive(get->agent, &message, err);

        if (rc < 0)
            return rc;
        if (message.type != AGENT_DATA)
            return agent_refusal(&message, err);
        /* head has room for one frame more than tar_head_parse may ask for */
        memcpy(get->head + get->head_bytes, message.payload, message.bytes);
        get->head_bytes += message.bytes;
        rc = tar_head_parse(get->head, get->head_bytes, &get->first);
        if (rc < 0 || (rc == 0 && get->head_bytes >= TAR_HEAD_BYTES_MAX))
            return err_set(err, EPROTO, "the guest's agent sent something else than a tar stream");
        if (rc > 0)
            return 0;
    }
}

int copy_request(struct agent *agent, enum agent_frame_type type, const char *path, uint8_t flags,
                 struct err *err)
{
    char request[PATH_MAX + 2];
    int bytes = snprintf(request, PATH_MAX, "%s", path);

    if (bytes >= PATH_MAX)
        return err_set_errno(err, ENAMETOOLONG, "%.60s...", path);
    request[bytes + 1] = (char)flags;
    return agent_send(agent, type, request, (size_t)bytes + (flags ? 2 : 0), err);
}

int copy_get_start(struct copy_get *get, struct api *api, const char *lease, const char *path,
                   uint8_t flags, struct err *err)
{
    *get = (struct copy_get){ .head = malloc(TAR_HEAD_BYTES_MAX + AGENT_PAYLOAD_MAX) };
    if (!get->head)
        return err_set(err, ENOMEM, "out of memory");
    int rc = agent_open(&get->agent, api, lease, err);
    if (rc == 0)
        rc = copy_request(get->agent, AGENT_GET, path, flags, err);
    return rc == 0 ? head_receive(get, err) : rc;
}

void copy_get_fini(struct copy_get *get)
{
    agent_close(get->agent);
    free(get->head);
    *get = (struct copy_get){ 0 };
}
