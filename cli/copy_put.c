/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the sending of a tar stream to a guest; see copy_put.h. */
#include "copy_put.h"

#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"
#include "cli.h"
#include "copy_get.h"
#include "interrupt.h"

#define NOTE_BYTES 400

void copy_note_print(const struct agent_message *done)
{
    char note[NOTE_BYTES];

    if (done->bytes == 0)
        return;
    text_clean(note, sizeof note, (const char *)done->payload, done->bytes);
    cli_failf("note: %s", note);
}

int copy_put_start(struct copy_put *put, struct api *api, const char *lease, const char *folder,
                   uint8_t flags, const char *what, struct err *err)
{
    *put = (struct copy_put){ 0 };
    if (what)
        transfer_start(&put->transfer, what, 0);
    int rc = agent_open(&put->agent, api, lease, err);
    return rc < 0 ? rc : copy_request(put->agent, AGENT_PUT, folder, flags, err);
}

static int done_await(struct copy_put *put, struct err *err)
{
    struct agent_message message;
    int rc = copy_receive(put->agent, &message, err);

    if (rc < 0)
        return rc;
    put->refused = message.type == AGENT_ERROR;
    if (message.type != AGENT_DONE)
        return agent_refusal(&message, err);
    copy_note_print(&message);
    return 0;
}

/* When the agent gives up on us it says why before it closes. */
static int frame_send(struct copy_put *put, const void *data, size_t bytes, struct err *err)
{
    struct err said;
    int rc = agent_send(put->agent, AGENT_DATA, data, bytes, err);

    if (rc < 0 && done_await(put, &said) < 0 && said.code != ENOTCONN) {
        *err = said;
        return -said.code;
    }
    return rc;
}

int copy_put_feed(struct copy_put *put, const void *data, size_t bytes, struct err *err)
{
    const uint8_t *at = data;

    while (bytes > 0) {
        size_t take = MIN_OF(bytes, AGENT_PAYLOAD_MAX);
        int rc = interrupt_check(err);

        if (rc == 0)
            rc = frame_send(put, at, take, err);
        if (rc < 0)
            return rc;
        at += take;
        bytes -= take;
        put->bytes += take;
        if (put->transfer.what)
            transfer_show(&put->transfer, put->bytes);
    }
    return 0;
}

int copy_put_finish(struct copy_put *put, struct err *err)
{
    int rc = agent_send(put->agent, AGENT_EOF, NULL, 0, err);

    return rc < 0 ? rc : done_await(put, err);
}

void copy_put_fini(struct copy_put *put)
{
    if (put->transfer.what)
        transfer_end(&put->transfer);
    agent_close(put->agent);
    *put = (struct copy_put){ 0 };
}
