/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the table of commands, the overview that `voltctl help` prints. */
#include "commands.h"

#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "base/text.h"
#include "base/util.h"

#define EXEC_DETAILS                                                                               \
    "Exit codes: CMD's own; 128+N when signal N ended it; 124 --timeout ran out; 125 voltctl's\n"  \
    "own failure; 126 CMD cannot be executed, 127 there is no CMD, as in a shell."

const struct cli_command commands[] = {
    { "acquire", "[POOL] [--wait TIME] [--ttl TIME] [--label K=V]... [--json]",
      "Lease a running VM; prints its id",
      "Exit codes: 75 no VM was free within --wait, 125 any other failure.",
      "id=$(voltctl acquire --wait 5s --ttl 10m)", cmd_acquire_run, COMPLETE_POOL },
    { "exec", "LEASE [-it] [-e K=V] [-w DIR] [--timeout TIME] -- CMD...",
      "Run a command in a leased VM", EXEC_DETAILS, "voltctl exec -it $id -- sh", cmd_exec_run,
      COMPLETE_LEASE },
    { "run", "[POOL] [-it] [-e K=V] [-w DIR] [--timeout TIME] [--wait TIME] [-- CMD...]",
      "Run a command in a VM of its own, and throw that away",
      "User, directory, variables, entry point and command of an OCI image count as in 'docker "
      "run':\n"
      "CMD goes to the entry point, and without CMD the image's own is run.\n" EXEC_DETAILS
      "\n75 no VM was free within --wait. The VM ends with voltctl, however that "
      "ends.",
      "voltctl run -- uname -a", cmd_run_run, COMPLETE_POOL },
    { "cp", "[-aLq] LEASE:PATH PATH | PATH LEASE:PATH", "Copy files and folders to or from a VM",
      "Names work as in 'docker cp': into PATH if that is a folder, else to a file or folder of\n"
      "that name; SOURCE/. copies what is in the folder. A PATH of our own with a ':' in it is\n"
      "written as ./PATH. '-' is a tar stream: 'cp - LEASE:DIR' unpacks standard input in DIR,\n"
      "'cp LEASE:PATH -' writes one to standard output.\n"
      "Hard links, holes, times and user attributes are kept; owners become those of who copies,\n"
      "but for --archive. Sockets, FIFOs and devices are left out, with a note, and never "
      "replaced.",
      "voltctl cp ./src $id:/root && voltctl cp $id:/var/log ./logs", cmd_cp_run, COMPLETE_LEASE },
    { "console", "LEASE [--backlog]", "Attach to a VM's serial console; Ctrl-] leaves",
      "When standard input is not a terminal, it leaves 2 s after the console has fallen silent.",
      "voltctl console $id", cmd_console_run, COMPLETE_LEASE },
    { "release", "LEASE [--discard] | --all", "Give a VM back; it is killed, never reused",
      "What it has written to a volume that it has with rw is kept when it is released, but not "
      "with\n"
      "--discard or --all.",
      "voltctl release $id", cmd_release_run, COMPLETE_LEASE },
    { "renew", "LEASE [--ttl TIME]", "Let a lease live longer", NULL, "voltctl renew $id --ttl 1h",
      cmd_renew_run, COMPLETE_LEASE },
    { "ps", "[--label K=V] [--json]", "List leases", NULL, "voltctl ps", cmd_ps_run },
    { "status", "[--json]", "Show what poold is doing and where its files are", NULL,
      "voltctl status --json", cmd_status_run },
    { "version", "[--json]", "Show the versions of voltctl and poold", NULL, "voltctl version",
      cmd_version_run },
    { "doctor", "[--json]", "Check this host: can it run VMs, how well, and what to do",
      "Exit code 1 when something keeps VMs from running.", "voltctl doctor", cmd_doctor_run },
    { "pool create",
      "NAME [--memory 128M] [--vcpus 1] [--kernel F] [--initrd F] [--cmdline S] [--min N] "
      "[--max N] "
      "[--image NAME | --disk PATH[,ro]]",
      "Boot a VM, snapshot it, and keep copies of it ready", NULL,
      "voltctl pool create big --memory 512M --min 4 --max 32", cmd_pool_create_run },
    { "pool replace", "NAME [options of pool create]",
      "Boot a pool's next snapshot beside the one it has, and switch over",
      "What is not given stays as it is with the pool, whatever 'pool create' would take. No "
      "acquire\n"
      "is refused for it: until a VM of the new snapshot is ready the old one serves, and leases "
      "of\n"
      "the old one live until they are released. When the new one fails, the pool stays as it "
      "was.\n"
      "Ctrl-C ends the waiting; 'pool drain' and 'pool delete' end the replacement.",
      "voltctl pool replace big --image deb-12.8", cmd_pool_replace_run, COMPLETE_POOL },
    { "pool list", "[--json]", "List pools", NULL, "voltctl pool list", cmd_pool_list_run },
    { "pool show", "NAME [--json]", "Show all about a pool", NULL, "voltctl pool show default",
      cmd_pool_show_run, COMPLETE_POOL },
    { "pool scale", "NAME [--min N] [--max N] [--shells N]", "Change a pool's size", NULL,
      "voltctl pool scale default --min 8 --max 100", cmd_pool_scale_run, COMPLETE_POOL },
    { "pool drain", "NAME", "Give out no more VMs of a pool", NULL, "voltctl pool drain default",
      cmd_pool_drain_run, COMPLETE_POOL },
    { "pool undrain", "NAME", "Give out VMs of a drained pool again", NULL,
      "voltctl pool undrain default", cmd_pool_undrain_run, COMPLETE_POOL },
    { "pool retry", "NAME", "Try again at once what failed of a pool", NULL,
      "voltctl pool retry default", cmd_pool_retry_run, COMPLETE_POOL },
    { "pool delete", "NAME [--force]", "Delete a pool and its snapshot", NULL,
      "voltctl pool delete big", cmd_pool_delete_run, COMPLETE_POOL },
    { "function create",
      "NAME --handler CMD [--runtime http|lambda] [--image NAME] [--reuse N] [--timeout TIME] "
      "[POOL OPTIONS]",
      "Make a function: a program that is called, each call in a fresh VM",
      "The snapshot of its VMs is taken when it accepts connections at its port, or asks for its "
      "first\n"
      "event: docs/functions.md.",
      "voltctl function create hello --image node --handler 'node /app/index.mjs'",
      cmd_function_create_run },
    { "function invoke", "NAME [--data TEXT | --file FILE] [--method METHOD] [--path PATH]",
      "Call a function and print its answer",
      "Exit codes: 1 it answered with a status of 400 and above, 75 no VM was free in time, 125 "
      "it\n"
      "gave no answer, or any other failure.",
      "voltctl function invoke hello --data '{\"n\": 1}'", cmd_function_invoke_run, COMPLETE_POOL },
    { "function list", "[--json]", "List functions", NULL, "voltctl function list",
      cmd_function_list_run },
    { "function show", "NAME [--json]", "Show all about a function", NULL,
      "voltctl function show hello", cmd_function_show_run, COMPLETE_POOL },
    { "function logs", "NAME [--json]", "Show the last calls of a function, and what it wrote",
      NULL, "voltctl function logs hello", cmd_function_logs_run, COMPLETE_POOL },
    { "function delete", "NAME [--force]", "Delete a function and its pool", NULL,
      "voltctl function delete hello", cmd_function_delete_run, COMPLETE_POOL },
    { "snapshot list", "[--json]", "List snapshots", NULL, "voltctl snapshot list",
      cmd_snapshot_list_run },
    { "snapshot inspect", "NAME [--json]", "Show a snapshot's manifest and sections", NULL,
      "voltctl snapshot inspect default", cmd_snapshot_inspect_run, COMPLETE_SNAPSHOT },
    { "snapshot verify", "NAME [--json]", "Check every digest of a snapshot",
      "Exit code 1 when it is damaged.", "voltctl snapshot verify default", cmd_snapshot_verify_run,
      COMPLETE_SNAPSHOT },
    { "image build",
      "NAME --from-dir DIR | --from-tar FILE | --from-oci DIR[:TAG]|FILE [--fs erofs|ext4] [--size "
      "SIZE]",
      "Make a root filesystem and store it",
      "It is built here, by mkfs.erofs or mke2fs and with your rights, and stored by poold in "
      "chunks\n"
      "that all images share.",
      "voltctl image build deb --from-tar deb.tar", cmd_image_build_run },
    { "image list", "[--json]", "List images", NULL, "voltctl image list", cmd_image_list_run },
    { "image inspect", "NAME [--json]", "Show an image's size and what it shares with others", NULL,
      "voltctl image inspect deb", cmd_image_inspect_run, COMPLETE_IMAGE },
    { "image verify", "NAME [--json]", "Check every chunk of an image",
      "Exit code 1 when it is damaged.", "voltctl image verify deb", cmd_image_verify_run,
      COMPLETE_IMAGE },
    { "image delete", "NAME", "Delete an image that no pool uses", NULL, "voltctl image delete deb",
      cmd_image_delete_run, COMPLETE_IMAGE },
    { "volume create", "NAME [--size SIZE] [--from-dir DIR | --from-tar FILE [--read-only]]",
      "Make a volume: a disk that leases are given beside their own",
      "An ext4, empty or with what is in a folder or tar file: 'run' and 'acquire' mount it with\n"
      "--volume, in pools made with --volumes N. Leases read it together, each may write to a copy "
      "of\n"
      "its own, and one at a time keeps what it writes.",
      "voltctl volume create cache --size 4G && voltctl run deb --volume cache:/cache:rw -- make",
      cmd_volume_create_run },
    { "volume list", "[--json]", "List volumes", NULL, "voltctl volume list", cmd_volume_list_run },
    { "volume show", "NAME [--json]", "Show a volume, and which leases have it", NULL,
      "voltctl volume show cache", cmd_volume_show_run, COMPLETE_VOLUME },
    { "volume delete", "NAME", "Delete a volume that no lease has", NULL,
      "voltctl volume delete cache", cmd_volume_delete_run, COMPLETE_VOLUME },
    { "gitlab config", "[--image PATTERN=POOL]... [--pool POOL] [--wait TIME] [--ttl TIME]",
      "GitLab's runner, custom executor: give a job its VM",
      "The runner calls it and the three that follow (config_exec, prepare_exec, run_exec and\n"
      "cleanup_exec of config.toml): docs/jobs.md.",
      "voltctl gitlab config --image 'node:*=node' --image '*=deb'", cmd_gitlab_config_run },
    { "gitlab prepare", "[--ttl TIME]", "GitLab's runner: start a job's services", NULL,
      "voltctl gitlab prepare", cmd_gitlab_prepare_run },
    { "gitlab run", "SCRIPT STAGE [--ttl TIME]", "GitLab's runner: run a script of a job in its VM",
      "Exit codes: $BUILD_FAILURE_EXIT_CODE when the script fails, whose own code is written to\n"
      "$BUILD_EXIT_CODE_FILE; $SYSTEM_FAILURE_EXIT_CODE for everything else.",
      "voltctl gitlab run /tmp/script step_script", cmd_gitlab_run_run, COMPLETE_FILE },
    { "gitlab cleanup", "", "GitLab's runner: throw a job's VMs away", NULL,
      "voltctl gitlab cleanup", cmd_gitlab_cleanup_run },
    { "names", "pools | leases | images | snapshots | volumes",
      "List names, one a line, for scripts", NULL, "voltctl names pools", cmd_names_run },
    { "events", "[--since ID] [--json]", "Show what happens to leases and pools, as it does",
      "It goes on until Ctrl-C or the end of poold, and over restarts of poold. ID is an event's\n"
      "number, as --json shows it: nothing that came after it is missed, or it says what is.",
      "voltctl events --json --since 0 | jq 'select(.type == \"lease_ended\")'", cmd_events_run },
    { "reload", "[--json]", "Have poold read its configuration again",
      "Prints what takes a restart of poold to change. When something in the configuration is\n"
      "wrong, nothing changes.",
      "voltctl reload", cmd_reload_run },
    { "shutdown", "[--drain [--grace TIME]]", "Stop poold and all its VMs",
      "A drain goes on when voltctl is ended; 'voltctl shutdown' stops poold at once then.",
      "voltctl shutdown --drain --grace 60s", cmd_shutdown_run },
};
const size_t command_count = ARRAY_LEN(commands);

static void overview_print(void)
{
    puts("Usage: voltctl [--socket PATH] COMMAND ...\n"
         "Linux VMs from a snapshot, in milliseconds.\n\nCommands:");
    for (size_t i = 0; i < command_count; i++)
        printf("  %-18s %s\n", commands[i].name, commands[i].summary);
    puts("\n'voltctl COMMAND --help' tells more. TIME is 250ms, 5s, 10m or 1h.\n"
         "The socket of poold is --socket, $VOLT_SOCKET, or poold.sock in $VOLT_RUN_DIR,\n"
         "/run/volt (root) or $XDG_RUNTIME_DIR/volt.\n"
         "Exit codes: 75 no VM free, 124 timed out, 125 failed, 126/127 as in a shell, else the\n"
         "guest command's own; doctor and snapshot verify: 1 if something is wrong.");
}

/* Words of argv that the command's name takes: 1 or 2, or 0 when it is another command. */
static int name_match(const char *name, int argc, char **argv)
{
    const char *space = strchr(name, ' ');

    if (!space)
        return strcmp(name, argv[0]) == 0 ? 1 : 0;
    size_t family = (size_t)(space - name);
    if (argc < 2 || strlen(argv[0]) != family || strncmp(name, argv[0], family) != 0)
        return 0;
    return strcmp(space + 1, argv[1]) == 0 ? 2 : 0;
}

static int unknown_command(const char *given)
{
    struct nearest nearest = { .given = given };
    char words[ARRAY_LEN(commands)][24]; /* the first of each command's */

    for (size_t i = 0; i < command_count; i++) {
        snprintf(words[i], sizeof words[i], "%.*s", (int)strcspn(commands[i].name, " "),
                 commands[i].name);
        nearest_try(&nearest, words[i]);
    }
    if (nearest.best)
        return cli_failf("there is no command '%s'; did you mean '%s'?", given, nearest.best);
    return cli_failf("there is no command '%s'; 'voltctl help' lists them", given);
}

/* "pool" alone, or with a member that is not there: lists the family. */
static int family_help(int argc, char **argv)
{
    size_t bytes = strlen(argv[0]);
    bool asked = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    FILE *out = asked ? stdout : stderr;
    bool known = false;

    for (size_t i = 0; i < command_count; i++) {
        if (strncmp(commands[i].name, argv[0], bytes) != 0 || commands[i].name[bytes] != ' ')
            continue;
        if (!known && !asked)
            cli_failf(argc > 1 ? "there is no command '%s %s'; there are:"
                               : "'%s' is a family of commands:",
                      argv[0], argc > 1 ? argv[1] : "");
        known = true;
        fprintf(out, "  %-18s %s\n", commands[i].name, commands[i].summary);
    }
    if (!known)
        return unknown_command(argv[0]);
    return asked ? CLI_EXIT_OK : CLI_EXIT_FAILURE;
}

static int command_run(int argc, char **argv)
{
    for (size_t i = 0; i < command_count; i++) {
        int words = name_match(commands[i].name, argc, argv);

        if (words > 0)
            return commands[i].run(&commands[i], argc - words + 1, argv + words - 1);
    }
    return family_help(argc, argv);
}

static char help_option[] = "--help";
static char version_command[] = "version";

/* voltctl help COMMAND [MEMBER] */
static int help_run(int argc, char **argv)
{
    char *help[4] = { NULL };
    int count = 0;

    if (argc == 0) {
        overview_print();
        return CLI_EXIT_OK;
    }
    for (int i = 0; i < argc && count < 2; i++)
        help[count++] = argv[i];
    help[count++] = help_option;
    return command_run(count, help);
}

static int arguments_run(int argc, char **argv)
{
    int at = 1;

    if (at + 1 < argc && strcmp(argv[at], "--socket") == 0) {
        cli_socket_option = argv[at + 1];
        at += 2;
    } else if (at < argc && strncmp(argv[at], "--socket=", 9) == 0) {
        cli_socket_option = argv[at] + 9;
        at++;
    }
    if (at >= argc) {
        overview_print();
        return CLI_EXIT_FAILURE;
    }
    if (strcmp(argv[at], "help") == 0)
        return help_run(argc - at - 1, argv + at + 1);
    if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)
        return help_run(0, NULL);
    if (strcmp(argv[at], "--version") == 0)
        argv[at] = version_command;
    else if (argv[at][0] == '-')
        return cli_failf("unknown option '%s'; 'voltctl help' lists what there is", argv[at]);
    return command_run(argc - at, argv + at);
}

int commands_main(int argc, char **argv)
{
    int exit_code = arguments_run(argc, argv);
    struct err err;

    if (cli_flush(&err) < 0 && (cli_fail(&err), exit_code == CLI_EXIT_OK))
        return CLI_EXIT_FAILURE;
    return exit_code;
}
