/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes poold's API as a client on its socket meets it: a whole daemon runs in this process, with
 * all its routes, and a program in place of volt-vmm that ends at once.
 *
 * Input: pieces, each two bytes of length, then that much of what the client sends; between them
 * the daemon's loop turns. The client hangs up at the end.
 */
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "daemon.h"
#include "fuzz.h"

#define PIECES_MAX 16u
#define TURNS 6u

static char base[64];
static struct daemon daemon_one; /* not `daemon`: that is unistd.h's */
static bool running;

static int entry_remove(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void daemon_end(void)
{
    if (!running)
        return;
    running = false;
    daemon_shutdown(&daemon_one);
    daemon_run(&daemon_one);
    daemon_fini(&daemon_one);
    nftw(base, entry_remove, 16, FTW_PHYS | FTW_DEPTH);
}

static void daemon_start(void)
{
    char run[96], state[96],
        *argv[] = { (char[]){ "poold" },
                    (char[]){ "--run-dir" },
                    run,
                    (char[]){ "--state-dir" },
                    state,
                    (char[]){ "--volt-vmm" },
                    (char[]){ "/bin/true" },
                    (char[]){ "--log-level" },
                    (char[]){ "error" },
                    (char[]){ "--uid-base" },
                    (char[]){ "0" },
                    (char[]){ "--config" },
                    (char[]){ "/dev/null" },
                    NULL };
    struct declarations declarations;
    struct config config;
    struct err err = { 0 };

    if (!base[0])
        atexit(daemon_end);
    snprintf(base, sizeof(base), "/tmp/volt-fuzz-XXXXXX");
    if (!mkdtemp(base))
        abort();
    snprintf(run, sizeof(run), "%s/run", base);
    snprintf(state, sizeof(state), "%s/state", base);
    if (config_load(&config, &declarations, (int)ARRAY_LEN(argv) - 1, argv, &err) < 0 ||
        daemon_init(&daemon_one, &config, &declarations, 0, NULL, &err) < 0) {
        fprintf(stderr, "poold does not start: %s\n", err.msg);
        abort();
    }
    log_set_level(config.log_level);
    running = true;
}

static void turns(void)
{
    for (unsigned i = 0; i < TURNS; i++)
        uv_run(&daemon_one.loop, UV_RUN_NOWAIT);
}

static int client_connect(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", daemon_one.config.socket);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        abort();
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct fuzz_input input = { data, bytes };
    char replies[4096];
    int client;

    if (!running)
        daemon_start();
    client = client_connect();
    for (unsigned i = 0; i < PIECES_MAX && input.bytes > 2; i++) {
        size_t wanted = fuzz_u16(&input), there = MIN_OF(wanted, input.bytes);

        (void)!send(client, input.data, there, MSG_NOSIGNAL);
        input.data += there;
        input.bytes -= there;
        turns();
        while (recv(client, replies, sizeof(replies), 0) > 0)
            ;
    }
    close(client);
    turns();
    /* What an input brought about must not reach the next one. */
    if (daemon_one.vms.env.stopping || !list_empty(&daemon_one.vms.pools))
        daemon_end();
    return 0;
}
