/* SPDX-License-Identifier: Apache-2.0 */
/* Owns copying from a guest to the host; see copy.h. Nothing that comes is believed: it is unpacked
 * behind two walls (unpack.h) into a folder that host_target.h has chosen. */
#include <errno.h>
#include <string.h>

#include "agent.h"
#include "base/util.h"
#include "cli.h"
#include "copy.h"
#include "copy_get.h"
#include "copy_path.h"
#include "host_target.h"
#include "interrupt.h"
#include "unpack/unpack.h"

/* Feeds what the agent sends to the child until it is done, or the child is. */
static int stream_pump(struct copy_get *get, struct unpack *unpack, struct err *err)
{
    struct agent_message message = { AGENT_DATA, get->head_bytes, get->head };

    for (;;) {
        if (message.type == AGENT_DONE)
            return 0;
        if (message.type != AGENT_DATA)
            return agent_refusal(&message, err);
        int rc = unpack_feed(unpack, message.payload, message.bytes);
        if (rc < 0) /* it has refused something, and will say what */
            return rc == -EPIPE ? 0 : err_set_errno(err, -rc, "giving the stream to the unpacker");
        rc = copy_receive(get->agent, &message, err);
        if (rc < 0)
            return rc;
    }
}

static struct unpack_spec spec_of(const struct host_target *target, const struct split_path *source,
                                  bool dot)
{
    return (struct unpack_spec){
        .what = UNPACK_COPY,
        .target_fd = target->folder_fd,
        .walls = CONFINE_ALL,
        .names = { .top = dot ? "." : source->name,
                   .as = target->is_file ? HOST_TARGET_FILE : "",
                   .only_top = target->is_file },
        .keeps_top = !target->staged || target->is_file,
    };
}

/* What a copy that broke off has left: nothing, unless it went into a folder that was there. */
static void rest_tell(const struct host_target *target, const struct unpack_result *result,
                      struct err *err)
{
    if (target->staged || result->tally.members == 0)
        return;
    size_t length = strlen(err->msg);
    snprintf(err->msg + length, sizeof err->msg - length,
             "; %llu files and folders had been copied to %s by then, the last one begun was %s",
             (unsigned long long)result->tally.members, target->shown, result->tally.last);
}

static int stream_unpack(struct copy_get *get, const struct split_path *source, bool dot,
                         struct host_target *target, struct err *err)
{
    const struct unpack_spec spec = spec_of(target, source, dot);
    struct unpack_result result;
    struct unpack unpack;
    struct err child_err;
    int rc = unpack_start(&unpack, &spec, err);

    if (rc < 0)
        return rc;
    rc = stream_pump(get, &unpack, err);
    /* a stream that broke off also ends in the middle of a file, which is not what went wrong */
    int child_rc = unpack_finish(&unpack, &result, &child_err);
    if (rc == 0 && child_rc < 0) {
        *err = child_err;
        rc = child_rc;
    }
    if (unpack_walls_note(result.walls) && result.walls)
        cli_failf("note: %s", unpack_walls_note(result.walls));
    if (rc < 0)
        rest_tell(target, &result, err);
    return rc;
}

int copy_from_guest(struct api *api, const char *lease, const char *guest_path,
                    const char *host_path, struct err *err)
{
    _cleanup_copy_get_ struct copy_get get = { 0 };
    struct host_target target;
    struct split_path source;
    int rc = copy_path_split(guest_path, &source, err);

    if (rc == 0 && strcmp(source.name, "..") == 0)
        return err_set(err, EINVAL, "%s has no name that a copy could have", guest_path);
    /* With the "/." the guest follows a link to a folder, and names the members "./...". */
    if (rc == 0)
        rc = copy_get_start(&get, api, lease, source.contents ? guest_path : source.whole, err);
    if (rc < 0)
        return rc;
    bool dot = source.contents || source.name[0] == '\0';
    interrupt_catch(); /* what is half copied goes before we do */
    const struct host_source comes = { source.name, get.kind == TAR_HEAD_DIRECTORY, dot };
    rc = host_target_open(&target, host_path, &comes, err);
    if (rc < 0)
        return rc;
    rc = stream_unpack(&get, &source, dot, &target, err);
    if (rc == 0)
        return host_target_commit(&target, err);
    host_target_discard(&target);
    return rc;
}
