/* SPDX-License-Identifier: Apache-2.0 */
/* volt-e2b: reads its command line, and serves until it is told to end; see e2b.h. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "base/arguments.h"
#include "base/std_fds.h"
#include "base/util.h"
#include "base/version.h"
#include "cli.h"
#include "e2b/help.h"
#include "e2b/sandbox.h"
#include "e2b/server.h"

#define PEM_BYTES_MAX (1u << 20)

static const struct option long_options[] = {
    { "listen", required_argument, NULL, 'l' },  { "socket", required_argument, NULL, 's' },
    { "pool", required_argument, NULL, 'p' },    { "template", required_argument, NULL, 't' },
    { "keys", required_argument, NULL, 'k' },    { "tls-cert", required_argument, NULL, 'c' },
    { "tls-key", required_argument, NULL, 'y' }, { "with-parent", required_argument, NULL, 'w' },
    { "check", no_argument, NULL, 'x' },         { "help", no_argument, NULL, 'h' },
    { "version", no_argument, NULL, 'v' },       { NULL, 0, NULL, 0 },
};

static int pem_read(const char *path, char **ret_text, struct err *err)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set_errno(err, errno, "can't read '%s'", path);
    if (!S_ISREG(st.st_mode) || st.st_size > PEM_BYTES_MAX)
        return err_set(err, EINVAL, "'%s' is no certificate or key", path);
    char *text = calloc(1, (size_t)st.st_size + 1);
    if (!text || read(fd, text, (size_t)st.st_size) != st.st_size) {
        free(text);
        return err_set(err, EIO, "can't read all of '%s'", path);
    }
    *ret_text = text;
    return 0;
}

static int option_take(struct e2b_settings *settings, int option, const char *value,
                       struct err *err)
{
    switch (option) {
    case 'l':
        return e2b_address_parse(settings, value, err);
    case 's':
        cli_socket_option = value;
        return 0;
    case 'p':
        return e2b_pool_parse(settings, value, err);
    case 't':
        return e2b_template_parse(settings, value, err);
    case 'k':
        return e2b_keys_read(settings, value, err);
    case 'c':
        return pem_read(value, &settings->tls_certificate, err);
    case 'y':
        return pem_read(value, &settings->tls_key, err);
    case 'w':
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        return atoi(value) == getppid()
                   ? 0
                   : err_set(err, ESRCH, "the process %s, which started it, has ended", value);
    default:
        return err_set(err, EINVAL, "see volt-e2b --help");
    }
}

/* True: go on. False: end with *ret_exit. *ret_check: only say what is wrong. */
static bool options_read(struct e2b_settings *settings, int argc, char **argv, bool *ret_check,
                         int *ret_exit)
{
    struct err err;
    int option;

    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        *ret_exit = EX_OK;
        if (option == 'x') {
            *ret_check = true;
            continue;
        }
        if (option == 'h')
            fputs(E2B_USAGE E2B_OPTIONS "\nexample:\n" E2B_EXAMPLES, stdout);
        else if (option == 'v')
            puts("volt-e2b " VOLT_VERSION);
        else if (option_take(settings, option, optarg, &err) == 0)
            continue;
        else
            *ret_exit = (fprintf(stderr, "volt-e2b: %s\n", err.msg), EX_USAGE);
        return false;
    }
    *ret_exit = EX_USAGE;
    if (optind < argc)
        fprintf(stderr, "volt-e2b: '%s' is more than it takes; see --help\n", argv[optind]);
    else if (!settings->tls_certificate != !settings->tls_key)
        fprintf(stderr, "volt-e2b: --tls-cert and --tls-key need each other\n");
    else if (!e2b_is_local(settings) && settings->key_count == 0)
        fprintf(stderr,
                "volt-e2b: whoever reaches %s could use every VM: give --keys FILE, or listen at "
                "127.0.0.1\n",
                settings->address);
    else
        return true;
    return false;
}

/* A descriptor for each connection, sandbox and process. */
static void descriptors_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit); /* with fewer, calls fail that find none */
    }
}

static int serve(struct e2b_settings *settings, const sigset_t *ends, struct err *err)
{
    static struct sandboxes sandboxes;
    static struct server server;
    int signal = 0;
    int rc = e2b_listen(settings, err);

    descriptors_raise();
    if (rc == 0)
        rc = e2b_confine(err);
    if (rc == 0)
        rc = sandboxes_init(&sandboxes, settings, err);
    if (rc == 0)
        rc = server_start(&server, settings, &sandboxes, err);
    if (rc < 0)
        return rc;
    fprintf(stderr, "volt-e2b: serving at %s://%s%s%s:%u\n",
            settings->tls_certificate ? "https" : "http", strchr(settings->address, ':') ? "[" : "",
            settings->address, strchr(settings->address, ':') ? "]" : "", settings->port);
    while (sigwait(ends, &signal) != 0)
        ;
    /* Threads wait for clients and guests; the kernel closes all at once, and poold ends the leases. */
    _exit(EX_OK);
}

int main(int argc, char **argv)
{
    struct e2b_settings *settings = calloc(1, sizeof *settings);
    struct err err;
    bool check = false;
    sigset_t ends;
    int status;

    std_fds_ensure();
    if (!settings)
        return EX_OSERR;
    if (argc > 1 && strcmp(argv[1], "serve") == 0) { /* by poold, who shows nobody its arguments */
        if (arguments_get(&argc, &argv, 2, &err) < 0) {
            fprintf(stderr, "volt-e2b: %s\n", err.msg);
            return EX_USAGE;
        }
        argc--;
        argv++;
    }
    settings->pool = "default";
    settings->port = E2B_PORT;
    snprintf(settings->address, sizeof settings->address, "127.0.0.1");
    if (!options_read(settings, argc, argv, &check, &status))
        return status;
    if (check)
        return EX_OK;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    signal(SIGPIPE, SIG_IGN);
    serve(settings, &ends, &err);
    fprintf(stderr, "volt-e2b: %s\n", err.msg);
    return err.code == EADDRINUSE || err.code == EACCES ? EX_OSERR : EX_CONFIG;
}
