/* SPDX-License-Identifier: Apache-2.0 */
/* volt-init, PID 1 of a Volt guest: the order of the boot, parking, and the loop.
 *
 * How it works
 *   Everything that can be done before the snapshot is done before it: mounts, sockets, the console
 *   shell, and page faults (the program and what the first sessions touch are locked in memory).
 *   Then the VM parks at the doorbell. What runs after that runs in every clone, so it is little:
 *   answer, become unique, and serve the agent.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "agent.h"
#include "applets.h"
#include "child.h"
#include "doorbell.h"
#include "files.h"
#include "identity.h"
#include "loop.h"
#include "modules.h"
#include "net.h"
#include "root.h"
#include "shell.h"
#include "system.h"

#define STACK_PREFAULT_BYTES 32768
#define SETTLE_US                                                                                  \
    50000 /* for what the kernel still does in the background when the boot is over                \
           */
#define READY_LINE "VOLT VM READY\n"

static struct loop_source signals = { .fd = -1 };
static pid_t shell_pid;

static void complain(const char *what, int status)
{
    struct fail fail;

    fail_set_errno(&fail, -status, what, NULL);
    system_complain(&fail);
}

/* The same for what a VM is of no use without. */
static void give_up(const char *what, int status)
{
    struct fail fail;

    fail_set_errno(&fail, -status, what, NULL);
    system_fail(&fail);
}

/* ---- Signals ---- */

/* False: nobody has ended. */
static bool reap(void)
{
    int wait_status;
    pid_t pid = waitpid(-1, &wait_status, WNOHANG);

    if (pid <= 0)
        return false;
    if (pid == shell_pid)
        shell_pid = shell_start();
    else
        agent_child_ended(pid, wait_status);
    return true;
}

static void signals_ready(struct loop_source *source, uint32_t events)
{
    struct signalfd_siginfo info[8];
    ssize_t count;

    (void)events;
    reap(); /* first: its end is waited for */
    count = read(source->fd, info, sizeof(info));
    for (size_t i = 0; count > 0 && i < (size_t)count / sizeof(info[0]); i++)
        if (info[i].ssi_signo != SIGCHLD) /* poweroff, halt and reboot of busybox, Ctrl-Alt-Del */
            system_power_off();
    while (reap())
        ;
}

static void ignore_signal(int signal)
{
    (void)signal;
}

static int signals_init(void)
{
    /* Not SIG_IGN: that would be inherited by every program. */
    const struct sigaction broken_pipe = { .sa_handler = ignore_signal };
    sigset_t set;

    sigaction(SIGPIPE, &broken_pipe, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signals.ready = signals_ready;
    signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return signals.fd < 0 ? -errno : loop_add(&signals, EPOLLIN);
}

/* In the child of PID 1: an epoll that was told of a signalfd by another process tells of
 * that one's signals. */
static void signals_renew(void)
{
    int status;

    loop_remove(&signals);
    close(signals.fd);
    status = signals_init();
    if (status < 0)
        complain("can't watch for signals", status);
    shell_pid = 0; /* the new PID 1's child now */
}

/* ---- Boot ---- */

/* The console becomes fds 0 to 2. Where there is none, something else must: what is opened next
 * would have their numbers, and get what is meant for the console. */
static void console_open(void)
{
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);

    if (fd < 0)
        fd = open("/dev/null", O_RDWR);
    if (fd < 0)
        fd = open("/", O_PATH);
    for (int i = 0; fd >= 0 && i < 3; i++)
        if (fd != i)
            dup2(fd, i);
    if (fd > 2)
        close(fd);
}

static void agent_start(void)
{
    int fd = agent_listen_vsock(), status = fd < 0 ? fd : agent_init(fd);

    if (status < 0) /* the console works without it */
        give_up("no vsock, so no agent", status);
}

static void print_banner(void)
{
    char buffer[512];
    struct text text;

    text_init(&text, buffer, sizeof(buffer));
    text_add(&text, "\nVolt guest\n");
    system_describe(&text, "  ");
    text_add(&text, READY_LINE);
    console_write(buffer);
    tcdrain(STDOUT_FILENO);
}

/* Brings in all pages that the wake and the first commands will touch: the whole program, some
 * stack, the first sessions, and the vDSO's data. */
static void lock_memory(void)
{
    extern const Elf64_Ehdr __ehdr_start;
    const Elf64_Phdr *header =
        (const Elf64_Phdr *)((const char *)&__ehdr_start + __ehdr_start.e_phoff);
    volatile char stack[STACK_PREFAULT_BYTES];

    for (size_t i = 0; i < sizeof(stack); i += 1024)
        stack[i] = 0;
    for (int i = 0; i < __ehdr_start.e_phnum; i++)
        if (header[i].p_type == PT_LOAD)
            mlock((const void *)header[i].p_vaddr, header[i].p_memsz);
    agent_prefault();
    monotonic_ns();
}

static void boot(void)
{
    int status = loop_init();

    if (status == 0)
        status = signals_init();
    if (status < 0)
        give_up("can't make the event loop", status);
    sethostname("volt", 4);
    status = net_loopback_up();
    if (status < 0)
        complain("no loopback interface", status);
    identity_prepare();
    applets_load();
    agent_start();
}

/* Parks until this VM is leased; returns when it goes live. A function's goes live at once, and it is
 * the service that parks. */
static void park(void)
{
    char sentences[DOORBELL_TROUBLE_BYTES];
    struct doorbell_wake wake;
    struct text trouble;
    uint32_t status;

    system_stay_on_cpu0(true);
    do {
        doorbell_park(&wake);
        if (wake.mailbox.op == DOORBELL_OP_LEASE)
            identity_lease(&wake);
        if (wake.mailbox.op != DOORBELL_OP_RESTORE)
            continue;
        text_init(&trouble, sentences, sizeof(sentences));
        status = wake.mailbox.flags & DOORBELL_FLAG_SKIP_KERNEL_WORK
                     ? 0
                     : identity_restore(&wake, &trouble);
        doorbell_ready(status, sentences);
    } while ((wake.mailbox.flags & (DOORBELL_FLAG_PARK_AGAIN | DOORBELL_FLAG_FUNCTION)) ==
             DOORBELL_FLAG_PARK_AGAIN);
    system_stay_on_cpu0(false);
    agent_park_allow(wake.mailbox.flags & DOORBELL_FLAG_PARK_LATER);
    if (wake.mailbox.flags & DOORBELL_FLAG_FUNCTION)
        agent_service_rings();
}

/* Lets output and what else is on its way come to rest first: what is still going on when a VM
 * parks for its snapshot goes on in every clone. */
static void settle_and_park(void)
{
    tcdrain(STDOUT_FILENO);
    usleep(SETTLE_US);
    park();
}

int main(int argc, char **argv)
{
    bool doorbell, more = false;

    if (argc > 0 && strcmp(argv[0], FILES_PROGRAM) == 0)
        return files_main(argc, argv);
    if (getpid() != 1) {
        static const char message[] = "volt-init is the first process of a Volt guest, not a "
                                      "command\n";
        return write(STDERR_FILENO, message, sizeof(message) - 1) < 0 ? 2 : 1;
    }
    system_mount();
    child_programs_open();
    system_limits();
    console_open();
    modules_load();
    doorbell = doorbell_open(); /* before /dev goes anywhere: what fails then can be told */
    root_enter();
    boot();
    print_banner();
    system_stay_on_cpu0(true);
    doorbell_banner(system_failure());
    system_stay_on_cpu0(false);
    shell_pid = shell_start();
    if (doorbell) {
        lock_memory();
        settle_and_park();
    } else {
        identity_first();
    }
    if (root_hand_over())
        signals_renew();
    for (;;) {
        loop_turn(more);
        more = agent_run_pending();
        if (agent_park_due()) {
            identity_renew();
            settle_and_park();
        }
    }
}
