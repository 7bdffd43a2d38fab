/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the process of the gateway for E2B's clients; see e2b.h. */
#include "e2b.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"
#include "base/util.h"
#include "config.h"
#include "host/rights.h"

#define WAIT_MS_MIN 1000u
#define WAIT_MS_MAX 30000u
#define STEADY_NS (60 * NS_PER_S) /* after that, the next one is started soon again */
#define ARGUMENTS_MAX 24
#define LINE_BYTES 400 /* of what it says is wrong */

/* Its command line. */
struct command {
    char *argv[ARGUMENTS_MAX];
    char parent[16];
};

static void command_make(const struct config *config, bool check, struct command *ret_command)
{
    const struct {
        const char *option, *value;
    } given[] = {
        { "--listen", config->e2b },
        { "--socket", config->socket },
        { "--keys", config->e2b_keys },
        { "--pool", config->e2b_pool },
        { "--template", config->e2b_templates },
        { "--tls-cert", config->e2b_tls_cert },
        { "--tls-key", config->e2b_tls_key },
        { "--with-parent", ret_command->parent },
    };
    char **at = ret_command->argv;

    snprintf(ret_command->parent, sizeof ret_command->parent, "%d", (int)getpid());
    *at++ = (char *)(uintptr_t)config->volt_e2b;
    *at++ = (char *)(uintptr_t) "serve";
    if (check)
        *at++ = (char *)(uintptr_t) "--check";
    for (unsigned i = 0; i < ARRAY_LEN(given); i++) {
        if (!given[i].value[0])
            continue;
        *at++ = (char *)(uintptr_t)given[i].option;
        *at++ = (char *)(uintptr_t)given[i].value;
    }
    *at = NULL;
}

int e2b_check(const struct config *config, struct err *err)
{
    struct spawned spawned;
    struct command command;
    char said[LINE_BYTES], clean[LINE_BYTES];
    ssize_t bytes = 0, count;
    int status = 0;

    if (!config->e2b[0])
        return 0;
    command_make(config, true, &command);
    if (spawn_process(command.argv, NULL, 0, &spawned, err) < 0)
        return -err->code;
    while ((count = read(spawned.text_fd, said + bytes, sizeof said - (size_t)bytes)) > 0)
        bytes += count;
    close(spawned.text_fd);
    close(spawned.pidfd);
    waitpid(spawned.pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    while (bytes > 0 && said[bytes - 1] == '\n')
        bytes--;
    text_clean(clean, sizeof clean, said, (size_t)bytes);
    return err_set(err, EINVAL, "%s", clean[0] ? clean : "volt-e2b does not start");
}

static int process_start(struct e2b *e2b, struct err *err)
{
    struct spawned spawned;
    struct command command;

    command_make(e2b->config, false, &command);
    int rc = spawn_process(command.argv, NULL, 0, &spawned, err);
    if (rc < 0)
        return rc;
    e2b->pid = spawned.pid;
    e2b->began_ns = now_ns();
    rights_oom_adjust(spawned.pid, spawned.pidfd,
                      RIGHTS_OOM_TEMPLATE); /* poold's own is inherited */
    /* Both, as the link takes over what it is given even when it fails. */
    rc = link_attach(&e2b->link, LINK_PIDFD, spawned.pidfd);
    const int text_rc = link_attach(&e2b->link, LINK_TEXT, spawned.text_fd);
    return rc < 0 || text_rc < 0
               ? err_set_errno(err, rc < 0 ? -rc : -text_rc, "can't watch the gateway for E2B")
               : 0;
}

static void on_again(uv_timer_t *timer)
{
    struct e2b *e2b = timer->data;
    struct err err;

    if (e2b->stopping || process_start(e2b, &err) == 0)
        return;
    log_error("e2b: %s", err.msg);
    uv_timer_start(timer, on_again, e2b->wait_ms, 0);
}

static void on_text(struct link *link, const char *line)
{
    (void)link;
    log_info("%s", line);
}

static void on_exited(struct link *link)
{
    struct e2b *e2b = list_entry(link, struct e2b, link);
    int status = 0;

    waitpid(e2b->pid, &status, 0);
    e2b->pid = 0;
    link_close_channel(link, LINK_TEXT);
    link->text_bytes = 0;
    if (e2b->stopping)
        return;
    if (WIFEXITED(status) &&
        (WEXITSTATUS(status) == EX_USAGE || WEXITSTATUS(status) == EX_CONFIG)) {
        log_error(
            "e2b: the gateway can't do what it is told (see above), and is not started again");
        return;
    }
    e2b->wait_ms =
        now_ns() - e2b->began_ns > STEADY_NS ? WAIT_MS_MIN : MIN_OF(e2b->wait_ms * 2, WAIT_MS_MAX);
    if (WIFSIGNALED(status))
        log_error("e2b: the gateway was ended by signal %d (%s); the next one is started in %u s",
                  WTERMSIG(status), strsignal(WTERMSIG(status)), (unsigned)(e2b->wait_ms / 1000));
    else
        log_error("e2b: the gateway ended with status %d; the next one is started in %u s",
                  WEXITSTATUS(status), (unsigned)(e2b->wait_ms / 1000));
    uv_timer_start(&e2b->again, on_again, e2b->wait_ms, 0);
}

static void on_released(struct link *link)
{
    (void)link; /* the daemon's memory */
}

static const struct link_ops ops = {
    .text = on_text,
    .exited = on_exited,
    .released = on_released,
};

int e2b_start(struct e2b *e2b, uv_loop_t *loop, const struct config *config, struct err *err)
{
    if (!config->e2b[0])
        return 0;
    *e2b = (struct e2b){ .config = config, .enabled = true, .wait_ms = WAIT_MS_MIN };
    link_init(&e2b->link, loop, &ops);
    uv_timer_init(loop, &e2b->again);
    e2b->again.data = e2b;
    return process_start(e2b, err);
}

void e2b_stop(struct e2b *e2b)
{
    if (!e2b->enabled || e2b->stopping)
        return;
    e2b->stopping = true;
    uv_timer_stop(&e2b->again);
    link_kill(&e2b->link);
}

void e2b_fini(struct e2b *e2b)
{
    if (!e2b->enabled)
        return;
    e2b_stop(e2b);
    if (e2b->pid > 0)
        waitpid(e2b->pid, NULL, 0);
    e2b->pid = 0;
    link_close(&e2b->link);
}
