/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the command cp: which side is the guest's. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cli.h"
#include "copy.h"
#include "interrupt.h"
#include "lease.h"
#include "options.h"

#define LEASE_BYTES 128

/* "LEASE:PATH" into its parts; the guest's path is made absolute. False: it is a path of ours. */
static bool guest_split(const char *text, char lease[LEASE_BYTES], char path[PATH_MAX])
{
    const char *colon = strchr(text, ':');

    if (!colon || colon == text || colon - text >= LEASE_BYTES)
        return false;
    if (text[0] == '.' || memchr(text, '/', (size_t)(colon - text)))
        return false;
    snprintf(lease, LEASE_BYTES, "%.*s", (int)(colon - text), text);
    snprintf(path, PATH_MAX, "%s%s", colon[1] == '/' ? "" : "/", colon + 1);
    return true;
}

int cmd_cp_run(const struct cli_command *command, int argc, char **argv)
{
    struct copy_options copy = { 0 };
    const struct option_spec specs[] = {
        { "archive", 'a', OPTION_FLAG, &copy.owners, NULL,
          "keep owners and groups; into a VM, set-id bits, too" },
        { "follow-link", 'L', OPTION_FLAG, &copy.follow, NULL,
          "copy what the source links to, not the link" },
        { "quiet", 'q', OPTION_FLAG, &copy.quiet, NULL, "show no progress" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 2, .positional_max = 2 };
    char lease[LEASE_BYTES], path[PATH_MAX], other_lease[LEASE_BYTES], other_path[PATH_MAX];
    _cleanup_api_ struct api api = { .client.fd = -1 };
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    const char *from = options.positionals[0], *to = options.positionals[1];
    bool from_guest = guest_split(from, lease, path);
    if (guest_split(to, from_guest ? other_lease : lease, from_guest ? other_path : path) ==
        from_guest)
        return cli_failf("cp: exactly one of '%s' and '%s' must be LEASE:PATH", from, to);
    if (strlen(from) >= PATH_MAX || strlen(to) >= PATH_MAX)
        return cli_failf("cp: a path has at most %d bytes, not %zu", PATH_MAX - 1,
                         MAX_OF(strlen(from), strlen(to)));
    signal(SIGPIPE, SIG_IGN); /* whoever ends early says why */
    if (api_init(&api, &err) < 0)
        return cli_fail(&err);
    int rc = from_guest ? copy_from_guest(&api, lease, path, to, &copy, &err)
                        : copy_to_guest(&api, lease, from, path, &copy, &err);
    if (rc < 0) {
        lease_explain_broken(lease, rc, &err);
        err_wrap(&err, "cp %.60s %.60s", from, to);
        return interrupt_fail(&err);
    }
    return CLI_EXIT_OK;
}
