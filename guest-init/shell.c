/* SPDX-License-Identifier: Apache-2.0 */
/* The console shell: built-in commands for a guest without busybox, and it runs programs.
 *
 * It is a child of PID 1 that blocks in read(2) on the console, so it costs nothing while nobody
 * types, and nothing it does can block PID 1. Lines are edited by the terminal; words are split at
 * blanks, with '...' and "..." to keep them together.
 */
#include "shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "shell_commands.h"
#include "system.h"

#define LINE_BYTES 4096
#define WORD_COUNT 64
#define PROMPT "volt# "
#define RESPAWN_DELAY_S 1

static const struct shell_command *command_find(const char *name)
{
    for (const struct shell_command *command = shell_commands; command->name; command++)
        if (!strcmp(command->name, name))
            return command;
    return NULL;
}

static void report_end(int wait_status)
{
    char line[64];
    struct text text;

    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0)
        return;
    text_init(&text, line, sizeof(line));
    text_add(&text, WIFSIGNALED(wait_status) ? "killed by signal " : "exit code ");
    text_add_u64(&text, (uint64_t)(WIFSIGNALED(wait_status) ? WTERMSIG(wait_status)
                                                            : WEXITSTATUS(wait_status)));
    text_add(&text, "\n");
    console_write(line);
}

static void run_program(char **words)
{
    struct spawn spawn = {
        .argv = words,
        .envp = environment_default,
        .cwd = ".",
        .fds = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO },
        .terminal = true,
        .stay_in_session = true,
    };
    enum spawn_stage stage;
    pid_t pid, self = getpid();
    int status = spawn_program(&spawn, &pid, &stage), wait_status = 0;
    struct fail fail;

    if (status < 0)
        fail_set_errno(&fail, -status, "can't run", words[0]);
    while (status == 0 && waitpid(pid, &wait_status, WUNTRACED) < 0 && errno == EINTR)
        ;
    if (status == 0 && WIFSTOPPED(wait_status))
        kill(-pid, SIGKILL); /* there is no job control to continue it with */
    ioctl(STDIN_FILENO, TIOCSPGRP, &self);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    if (status < 0) {
        console_write(fail.sentence);
        console_write("\n");
    } else {
        report_end(wait_status);
    }
}

/* Splits a line in place; ends with a NULL word. False if a quote is left open. */
static bool split_words(char *line, char *words[WORD_COUNT])
{
    int count = 0;
    char *to = line;

    while (count < WORD_COUNT - 1) {
        char quote = 0;

        line += strspn(line, " \t\r\n");
        if (!*line)
            break;
        words[count++] = to;
        for (; *line && (quote || !strchr(" \t\r\n", *line)); line++) {
            if (quote ? *line == quote : *line == '\'' || *line == '"')
                quote = quote ? 0 : *line;
            else
                *to++ = *line;
        }
        if (quote)
            return false;
        line += *line != '\0'; /* before the NUL below overwrites it */
        *to++ = '\0';
    }
    words[count] = NULL;
    return true;
}

static void run_line(char *line)
{
    const struct shell_command *command;
    char *words[WORD_COUNT];

    if (!split_words(line, words)) {
        console_write("a quote is not closed\n");
        return;
    }
    if (!words[0])
        return;
    command = command_find(words[0]);
    if (command)
        command->run(words);
    else
        run_program(words);
}

static _Noreturn void shell_main(int prompted_fd)
{
    static char line[LINE_BYTES];
    sigset_t job_control;

    setsid();
    ioctl(STDIN_FILENO, TIOCSCTTY, 1);
    /* Programs get these back: they are blocked here, not ignored. */
    sigemptyset(&job_control);
    sigaddset(&job_control, SIGTTOU);
    sigaddset(&job_control, SIGTTIN);
    sigaddset(&job_control, SIGTSTP);
    sigaddset(&job_control, SIGINT);
    sigaddset(&job_control, SIGQUIT);
    sigprocmask(SIG_SETMASK, &job_control, NULL);
    for (;;) {
        ssize_t count;

        console_write(PROMPT);
        if (prompted_fd >= 0)
            close(prompted_fd);
        prompted_fd = -1;
        count = read(STDIN_FILENO, line, sizeof(line) - 1);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) { /* no usable console: PID 1 starts another shell, but not in a frenzy */
            sleep(RESPAWN_DELAY_S);
            _exit(0);
        }
        line[count] = '\0';
        run_line(line);
    }
}

pid_t shell_start(void)
{
    int prompted[2];
    char nothing;
    pid_t pid;

    if (pipe2(prompted, O_CLOEXEC) < 0)
        return -errno;
    pid = fork();
    if (pid == 0) {
        child_close_inherited(prompted[1]);
        shell_main(prompted[1]);
    }
    close(prompted[1]);
    if (pid > 0)
        while (read(prompted[0], &nothing, 1) < 0 && errno == EINTR)
            ;
    close(prompted[0]);
    return pid < 0 ? -errno : pid;
}
