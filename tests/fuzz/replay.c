/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over files instead of under libFuzzer: suite fuzz-regress. Every input that
 * ever crashed a target, and its seeds, must pass in an ordinary build too.
 *
 *   fuzz-replay-TARGET DIR...    every file in each DIR; a DIR that is missing counts as empty
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "fuzz.h"

#define INPUT_BYTES_MAX (1u << 20)

static unsigned count;

static void replay_file(const char *dir, const char *name)
{
    static uint8_t buffer[INPUT_BYTES_MAX];
    char path[4096];
    uint8_t *exact;
    size_t bytes;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    file = fopen(path, "re");
    if (!file) {
        printf("not ok %u - %s can't be opened\n", ++count, path);
        return;
    }
    bytes = fread(buffer, 1, sizeof(buffer), file);
    fclose(file);
    exact = malloc(bytes ? bytes : 1); /* so that a sanitizer sees reads past the end */
    if (!exact)
        abort();
    memcpy(exact, buffer, bytes);
    fprintf(stderr, "replaying %s\n", path); /* the last line if it crashes */
    LLVMFuzzerTestOneInput(exact, bytes);
    free(exact);
    printf("ok %u - %s\n", ++count, name);
    fflush(stdout);
}

static void replay_dir(const char *path)
{
    struct dirent **entries;
    int entry_count = scandir(path, &entries, NULL, alphasort);

    for (int i = 0; i < entry_count; i++) {
        if (entries[i]->d_name[0] != '.')
            replay_file(path, entries[i]->d_name);
        free(entries[i]);
    }
    if (entry_count >= 0)
        free(entries);
}

/* Runs last: a target that leaves processes behind, its own or theirs, would fill the machine. */
static void nobody_is_left(void)
{
    pid_t pid;

    while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
        ;
    if (pid == 0 || errno != ECHILD) {
        printf("not ok %u - a process is left behind\n", ++count);
        fflush(stdout);
        _Exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    static const uint8_t nothing[1];

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    atexit(nobody_is_left);
    LLVMFuzzerTestOneInput(nothing, 0);
    printf("ok %u - empty input\n", ++count);
    for (int i = 1; i < argc; i++)
        replay_dir(argv[i]);
    printf("1..%u\n", count);
    return 0;
}
