/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the process of the gateway for E2B's clients; see e2b.h. */
#include "e2b.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "base/list.h"
#include "base/log.h"
#include "base/process.h"
#include "base/util.h"
#include "config.h"

#define WAIT_MS_MIN 1000u
#define WAIT_MS_MAX 30000u
#define STEADY_NS (60 * NS_PER_S) /* after that, the next one is started soon again */
#define ARGUMENTS_MAX 24

static int process_start(struct e2b *e2b, struct err *err)
{
    const struct config *config = e2b->config;
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
    };
    char self[16],
        *argv[ARGUMENTS_MAX] = { (char *)(uintptr_t)config->volt_e2b, (char[]){ "serve" },
                                 (char[]){ "--with-parent" }, self };
    unsigned argc = 4;
    struct spawned spawned;

    snprintf(self, sizeof self, "%d", (int)getpid());
    for (unsigned i = 0; i < ARRAY_LEN(given); i++) {
        if (!given[i].value[0])
            continue;
        argv[argc++] = (char *)(uintptr_t)given[i].option;
        argv[argc++] = (char *)(uintptr_t)given[i].value;
    }
    int rc = spawn_process(argv, NULL, 0, &spawned, err);
    if (rc < 0)
        return rc;
    e2b->pid = spawned.pid;
    e2b->began_ns = now_ns();
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
