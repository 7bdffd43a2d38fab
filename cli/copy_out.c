/* SPDX-License-Identifier: Apache-2.0 */
/* Owns copying from a guest to the host; see copy.h. Nothing that comes is believed: it is unpacked
 * behind two walls (unpack.h) into a folder that host_target.h has chosen. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "base/text.h"
#include "base/util.h"
#include "cli.h"
#include "copy.h"
#include "copy_get.h"
#include "copy_path.h"
#include "copy_put.h"
#include "host_target.h"
#include "interrupt.h"
#include "unpack/unpack.h"

#define WHAT_BYTES 120

/* A stream from a guest on its way, with its progress. */
struct pull {
    struct copy_get get;
    struct transfer transfer;
    uint64_t bytes;
};

/* Takes the stream as it comes. 1: it has had enough. */
typedef int (*pull_sink)(void *context, const void *data, size_t bytes, struct err *err);

static int pull_start(struct pull *pull, struct api *api, const char *lease, const char *path,
                      const struct copy_options *options, struct err *err)
{
    return copy_get_start(&pull->get, api, lease, path, options->follow ? AGENT_GET_FOLLOW : 0,
                          err);
}

static void pull_fini(struct pull *pull)
{
    if (pull->transfer.what)
        transfer_end(&pull->transfer);
    copy_get_fini(&pull->get);
}

/* Gives away what the agent sends until that is done. */
static int pull_run(struct pull *pull, pull_sink sink, void *context, struct err *err)
{
    struct agent_message message = { AGENT_DATA, pull->get.head_bytes, pull->get.head };

    for (;;) {
        if (message.type == AGENT_DONE) {
            copy_note_print(&message);
            return 0;
        }
        if (message.type != AGENT_DATA)
            return agent_refusal(&message, err);
        int rc = sink(context, message.payload, message.bytes, err);
        if (rc != 0)
            return rc > 0 ? 0 : rc;
        pull->bytes += message.bytes;
        if (pull->transfer.what)
            transfer_show(&pull->transfer, pull->bytes);
        rc = copy_receive(pull->get.agent, &message, err);
        if (rc < 0)
            return rc;
    }
}

/* ---- To a path ---- */

static int unpack_sink(void *context, const void *data, size_t bytes, struct err *err)
{
    int rc = unpack_feed(context, data, bytes);

    if (rc == -EPIPE) /* it has refused something, and will say what */
        return 1;
    return rc < 0 ? err_set_errno(err, -rc, "giving the stream to the unpacker") : 0;
}

static struct unpack_spec spec_of(const struct host_target *target, const struct split_path *source,
                                  bool dot, bool owners)
{
    return (struct unpack_spec){
        .what = UNPACK_COPY,
        .target_fd = target->folder_fd,
        .walls = CONFINE_ALL,
        .names = { .top = dot ? "." : source->name,
                   .as = target->is_file ? HOST_TARGET_FILE : "",
                   .only_top = target->is_file },
        .keeps_top = !target->staged || target->is_file,
        .owners = owners,
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

static int stream_unpack(struct pull *pull, const struct unpack_spec *spec,
                         struct host_target *target, struct err *err)
{
    struct unpack_result result;
    struct unpack unpack;
    struct err child_err;
    int rc = unpack_start(&unpack, spec, err);

    if (rc < 0)
        return rc;
    rc = pull_run(pull, unpack_sink, &unpack, err);
    /* a stream that broke off also ends in the middle of a file, which is not what went wrong */
    int child_rc = unpack_finish(&unpack, &result, &child_err);
    if (rc == 0 && child_rc < 0) {
        *err = child_err;
        rc = child_rc;
    }
    if (unpack_walls_note(result.walls) && result.walls)
        cli_failf("note: %s", unpack_walls_note(result.walls));
    if (result.tally.xattrs > 0)
        cli_failf("note: %llu extended attributes were left out: they could not be set here",
                  (unsigned long long)result.tally.xattrs);
    if (rc < 0)
        rest_tell(target, &result, err);
    return rc;
}

static int path_get(struct pull *pull, const struct split_path *source, const char *host_path,
                    const struct copy_options *options, struct err *err)
{
    bool dot = source->contents || source->name[0] == '\0';
    const struct host_source comes = { source->name, pull->get.first.kind == TAR_HEAD_DIRECTORY,
                                       dot };
    struct host_target target;

    interrupt_catch(); /* what is half copied goes before we do */
    int rc = host_target_open(&target, host_path, &comes, err);
    if (rc < 0)
        return rc;
    const struct unpack_spec spec = spec_of(&target, source, dot, options->owners);
    rc = stream_unpack(pull, &spec, &target, err);
    if (rc == 0)
        return host_target_commit(&target, err);
    host_target_discard(&target);
    return rc;
}

/* ---- To standard output ---- */

static int stdout_sink(void *context, const void *data, size_t bytes, struct err *err)
{
    const uint8_t *at = data;

    (void)context;
    while (bytes > 0) {
        ssize_t n = write(STDOUT_FILENO, at, bytes);
        int rc = n < 0 && errno != EINTR ? err_set_errno(err, errno, "writing to standard output")
                                         : interrupt_check(err);

        if (rc < 0)
            return rc;
        at += MAX_OF(n, 0);
        bytes -= (size_t)MAX_OF(n, 0);
    }
    return 0;
}

/* ---- Both ---- */

int copy_from_guest(struct api *api, const char *lease, const char *guest_path,
                    const char *host_path, const struct copy_options *options, struct err *err)
{
    __attribute__((cleanup(pull_fini))) struct pull pull = { 0 };
    char what[WHAT_BYTES] = "copying ";
    struct copy_options guests = *options;
    struct split_path source;
    bool to_stdout = strcmp(host_path, "-") == 0;

    if (to_stdout && isatty(STDOUT_FILENO))
        return err_set(err, EINVAL, "a tar stream is not written to a terminal");
    int rc = copy_path_split(guest_path, &source, err);
    if (rc == 0 && strcmp(source.name, "..") == 0)
        return err_set(err, EINVAL, "%s has no name that a copy could have", guest_path);
    /* With the "/." the guest follows a link to a folder, and names the members "./...". */
    guests.follow |= source.slash;
    if (rc == 0)
        rc = pull_start(&pull, api, lease, source.contents ? guest_path : source.whole, &guests,
                        err);
    if (rc == 0 && source.slash && pull.get.first.kind != TAR_HEAD_DIRECTORY)
        rc = err_set(err, ENOTDIR, "%s is not a folder", source.whole);
    if (rc < 0)
        return rc;
    text_clean(what + strlen(what), sizeof what - strlen(what), guest_path, SIZE_MAX);
    if (!options->quiet)
        transfer_start(&pull.transfer, what, 0);
    return to_stdout ? pull_run(&pull, stdout_sink, NULL, err)
                     : path_get(&pull, &source, host_path, options, err);
}
