/* SPDX-License-Identifier: Apache-2.0 */
/* Owns poold's main: options in, daemon run, one report of what went wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"
#include "base/version.h"
#include "config.h"
#include "daemon.h"
#include "log.h"
#include "process.h"
#include "rights.h"

#define EXIT_USAGE 2

/* The sd_notify protocol: a datagram to $NOTIFY_SOCKET; a leading @ is the abstract namespace. */
static void notify(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    _cleanup_close_ int fd = -1;
    socklen_t bytes;

    if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (*path == '@')
        address.sun_path[0] = '\0';
    bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 &&
        sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, bytes) < 0)
        log_warn("the service manager was not told '%s'", text);
}

static int run(const struct config *config)
{
    _cleanup_free_ struct daemon *daemon = malloc(sizeof *daemon);
    struct err err = { 0 };

    if (!daemon) {
        log_error("out of memory");
        return EXIT_FAILURE;
    }
    if (daemon_init(daemon, config, &err) < 0) {
        log_error("%s", err.msg);
        daemon_fini(daemon);
        return EXIT_FAILURE;
    }
    log_info("poold %s listens on %s, state in %s", VOLT_VERSION, config->socket,
             config->state_dir);
    process_run_promptly(true);
    notify("READY=1");
    daemon_run(daemon);
    notify("STOPPING=1");
    daemon_fini(daemon);
    log_info("stopped");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static struct config config;
    struct err err = { 0 };

    if (config_parse(&config, argc, argv, &err) < 0) {
        fprintf(stderr, "poold: %s\n", err.msg);
        return EXIT_USAGE;
    }
    log_set_level(config.log_level);
    if (config.show_help) {
        config_print_help();
        return EXIT_SUCCESS;
    }
    if (config.show_version) {
        printf("poold %s\n", VOLT_VERSION);
        return EXIT_SUCCESS;
    }
    if (config.skip_guest_work)
        log_warn("--unsafe-skip-guest-work: clones are NOT unique, do not use them");
    if (rights_reduce(&err) < 0) {
        log_error("%s", err.msg);
        return EXIT_FAILURE;
    }
    return run(&config);
}
