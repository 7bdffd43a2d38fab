/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the command function invoke. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api.h"
#include "base/util.h"
#include "cli.h"
#include "options.h"

#define DATA_BYTES_MAX (6u << 20)
/* poold has the function's own limits. */
#define INVOKE_TIMEOUT_MS (48u * 3600 * 1000)

struct invoke {
    const char *data, *file, *type, *method, *path;
    bool show_id;
};

/* All of a file, "-": standard input. *ret_data is the caller's. */
static int file_read(const char *path, char **ret_data, size_t *ret_bytes, struct err *err)
{
    const bool input = strcmp(path, "-") == 0;
    _cleanup_close_ int opened = input ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    _cleanup_free_ char *data = malloc(DATA_BYTES_MAX + 1);
    const int fd = input ? STDIN_FILENO : opened;
    size_t bytes = 0;
    ssize_t n;

    if (fd < 0)
        return err_set_errno(err, errno, "can't open %s", path);
    if (!data)
        return err_set(err, ENOMEM, "out of memory");
    while ((n = read(fd, data + bytes, DATA_BYTES_MAX + 1 - bytes)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "can't read %s", path);
        bytes += (size_t)n;
        if (bytes > DATA_BYTES_MAX)
            return err_set(err, E2BIG, "%s is over 6 MiB, which a call may have", path);
    }
    *ret_data = take_pointer(&data);
    *ret_bytes = bytes;
    return 0;
}

/* "K=V", percent-encoded, after ? or &. */
static void query_put(char *path, size_t room, const char *key, const char *value)
{
    size_t used = strlen(path);

    used += (size_t)snprintf(path + used, room - used, "%c%s=", strchr(path, '?') ? '&' : '?', key);
    for (; *value && used + 4 < room; value++)
        used += (size_t)snprintf(path + used, room - used, "%%%02X", (unsigned char)*value);
}

static int invoke_path(const char *name, const struct invoke *invoke, char *ret_path, size_t room,
                       struct err *err)
{
    char path[API_PATH_BYTES];

    if (api_path(path, err, "/v1/functions/", name, "/invoke") < 0)
        return -err->code;
    if (invoke->path && strlen(invoke->path) > 1024)
        return err_set(err, ENAMETOOLONG, "--path is over 1024 bytes");
    snprintf(ret_path, room, "%s", path);
    if (invoke->method)
        query_put(ret_path, room, "method", invoke->method);
    if (invoke->path)
        query_put(ret_path, room, "path", invoke->path);
    return 0;
}

static int invoke(const char *name, const struct invoke *invoke, struct client_response *ret,
                  struct err *err)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_free_ char *content = NULL;
    char path[API_PATH_BYTES + 4 * 1024];
    const char *data = invoke->data;
    size_t bytes = data ? strlen(data) : 0;
    int rc = invoke_path(name, invoke, path, sizeof path, err);

    if (rc == 0 && invoke->file) {
        rc = file_read(invoke->file, &content, &bytes, err);
        data = content;
    }
    if (rc == 0)
        rc = api_init(&api, err);
    return rc < 0 ? rc
                  : api_invoke(&api, path, invoke->type, data, bytes, INVOKE_TIMEOUT_MS, ret, err);
}

int cmd_function_invoke_run(const struct cli_command *command, int argc, char **argv)
{
    struct invoke given = { .type = "application/json" };
    const struct option_spec specs[] = {
        { "data", 'd', OPTION_STRING, &given.data, "TEXT", "the request's body (empty)" },
        { "file", 'f', OPTION_STRING, &given.file, "FILE", "the same from a file; -: stdin",
          COMPLETE_FILE },
        { "type", 0, OPTION_STRING, &given.type, "TYPE", "its type (application/json)" },
        { "method", 0, OPTION_STRING, &given.method, "METHOD", "of the request (POST)" },
        { "path", 0, OPTION_STRING, &given.path, "PATH", "of the request (/)" },
        { "show-id", 0, OPTION_FLAG, &given.show_id, NULL, "print the call's id on stderr" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1 };
    struct client_response response;
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    if (given.data && given.file)
        return cli_failf("function invoke: give --data or --file, not both");
    if (invoke(options.positionals[0], &given, &response, &err) < 0) {
        cli_fail(&err);
        return err.code == API_ERROR_NO_VM ? CLI_EXIT_NO_VM : CLI_EXIT_FAILURE;
    }
    fwrite(response.body, 1, response.body_bytes, stdout);
    if (given.show_id)
        fprintf(stderr, "%s\n", response.invocation);
    if (response.status >= 400)
        cli_failf("the function answered with status %u", response.status);
    exit_code = response.status >= 400 ? CLI_EXIT_FINDING : CLI_EXIT_OK;
    client_response_fini(&response);
    return exit_code;
}
