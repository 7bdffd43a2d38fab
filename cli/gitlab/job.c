/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading of what the runner says of a job; see job.h. */
#include "job.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "cli.h"

#define PREFIX "CUSTOM_ENV_"

extern char **environ;

int job_vms_read(struct job_vms *vms, struct err *err)
{
    const char *lease = getenv(JOB_LEASE_VARIABLE), *services = getenv(JOB_SERVICES_VARIABLE);
    char *rest;

    *vms = (struct job_vms){ 0 };
    if (!lease || !*lease)
        return err_set(err, EINVAL,
                       "there is no " JOB_LEASE_VARIABLE ": config_exec of the runner's "
                       "[runners.custom] must be 'voltctl' with config_args = [\"gitlab\", "
                       "\"config\", ...]");
    if (asprintf(&vms->text, "%s %s", lease, services ? services : "") < 0) {
        vms->text = NULL;
        return err_set(err, ENOMEM, "out of memory");
    }
    for (char *word = strtok_r(vms->text, " ", &rest); word && vms->count < ARRAY_LEN(vms->leases);
         word = strtok_r(NULL, " ", &rest))
        vms->leases[vms->count++] = word;
    return 0;
}

void job_vms_fini(struct job_vms *vms)
{
    free(vms->text);
    *vms = (struct job_vms){ 0 };
}

int job_map_check(const struct option_list *map, struct err *err)
{
    for (size_t i = 0; i < map->count; i++) {
        const char *item = map->items[i], *name = strrchr(item, '=');

        if (!name || !name[1] || name == item)
            return err_set(err, EINVAL, "--image is PATTERN=POOL, but not '%s'", item);
    }
    return 0;
}

int job_pool_for(const struct option_list *map, const char *pool, const char *image,
                 char **ret_pool, struct err *err)
{
    *ret_pool = NULL;
    if (!image || !*image) {
        *ret_pool = pool ? strdup(pool) : NULL;
        return pool && !*ret_pool ? err_set(err, ENOMEM, "out of memory") : 0;
    }
    for (size_t i = 0; i < map->count; i++) {
        const char *item = map->items[i], *name = strrchr(item, '=');
        _cleanup_free_ char *pattern = name ? strndup(item, (size_t)(name - item)) : NULL;

        if (pattern && fnmatch(pattern, image, 0) == 0) {
            *ret_pool = strdup(name + 1);
            return *ret_pool ? 0 : err_set(err, ENOMEM, "out of memory");
        }
    }
    return err_set(err, ENOENT,
                   "no pool for the image '%s': the runner's operator adds --image 'PATTERN=POOL' "
                   "to config_args, such as --image '%s=POOL'",
                   image, image);
}

int job_services_read(json_t **ret_services, struct err *err)
{
    const char *text = getenv(PREFIX "CI_JOB_SERVICES");
    json_error_t error;
    json_t *list;

    *ret_services = NULL;
    if (!text || !*text)
        return 0;
    list = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_array(list) || json_array_size(list) > JOB_SERVICES_MAX) {
        json_decref(list);
        return err_set(err, EINVAL, "CI_JOB_SERVICES is no JSON array of at most %d services",
                       JOB_SERVICES_MAX);
    }
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!json_is_string(json_object_get(json_array_get(list, i), "name"))) {
            json_decref(list);
            return err_set(err, EINVAL, "service %zu of CI_JOB_SERVICES has no name", i + 1);
        }
    *ret_services = list;
    return 0;
}

/* The bytes of a registry's ":PORT", if that is what is at `at`. */
static size_t port_bytes(const char *name, size_t at, size_t bytes)
{
    size_t end = at + 1;

    while (name[at] == ':' && end < bytes && isdigit((unsigned char)name[end]))
        end++;
    return name[at] == ':' && end > at + 1 && end < bytes && name[end] == '/' ? end - at : 0;
}

/* Writes a name with `slash` for each '/', but without a port; false when it is none that a host may
 * have. */
static bool name_put(FILE *out, const char *name, size_t bytes, const char *slash)
{
    for (size_t i = 0; i < bytes; i++) {
        i += port_bytes(name, i, bytes);
        if (!isalnum((unsigned char)name[i]) && !strchr("-_./", name[i]))
            return false;
    }
    if (bytes == 0 || name[0] == '-' || name[0] == '.')
        return false;
    fputc(' ', out);
    for (size_t i = 0; i < bytes; i++) {
        i += port_bytes(name, i, bytes);
        if (name[i] == '/')
            fputs(slash, out);
        else
            fputc(name[i], out);
    }
    return true;
}

char *job_service_names(json_t *service)
{
    const char *image = json_string_value(json_object_get(service, "name"));
    const char *alias = json_string_value(json_object_get(service, "alias"));
    char *names = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&names, &bytes);

    if (!out)
        return NULL;
    if (alias && *alias) {
        for (size_t at = strspn(alias, " ,"); alias[at]; at += strspn(alias + at, " ,")) {
            size_t length = strcspn(alias + at, " ,");

            name_put(out, alias + at, length, "-");
            at += length;
        }
    } else if (image) {
        const char *last = strrchr(image, '/');
        size_t length = (size_t)(last ? last - image : 0);

        length += strcspn(image + length, ":@"); /* without the tag or digest */
        if (name_put(out, image, length, "__") && last)
            name_put(out, image, length, "-");
    }
    return fclose(out) == 0 ? names : (free(names), NULL);
}

/* False: it is neither a list of texts nor null, or too long. An empty text is none, as in GitLab's
 * `entrypoint: [""]`. */
static bool words_add(const json_t *list, const char *words[JOB_WORDS_MAX], unsigned *count)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));

        if (!text || *count == JOB_WORDS_MAX)
            return false;
        if (*text || *count)
            words[(*count)++] = text;
    }
    return !list || json_is_null(list) || json_is_array(list);
}

int job_service_words(const json_t *service, const json_t *image,
                      const char *ret_words[JOB_WORDS_MAX], unsigned *ret_count, struct err *err)
{
    const json_t *entrypoint = json_object_get(service, "entrypoint");
    const json_t *command = json_object_get(service, "command");
    const bool own = json_array_size(entrypoint) > 0, says = json_array_size(command) > 0;

    *ret_count = 0;
    if (words_add(entrypoint, ret_words, ret_count) &&
        (own || words_add(json_object_get(image, "entrypoint"), ret_words, ret_count)) &&
        words_add(command, ret_words, ret_count) &&
        (own || says || words_add(json_object_get(image, "cmd"), ret_words, ret_count)))
        return 0;
    return err_set(err, EINVAL, "its entrypoint and command must be lists of up to %d texts in all",
                   JOB_WORDS_MAX);
}

int job_env_add(struct exec_env *env, struct err *err)
{
    const size_t prefix = strlen(PREFIX);

    for (char **item = environ; *item; item++) {
        int rc = 0;

        if (strncmp(*item, PREFIX, prefix) == 0 && (*item)[prefix] != '=')
            rc = exec_env_add(env, *item + prefix, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* A variable that is an exit code; `other` when it is none. */
static int exit_code_of(const char *variable, int other)
{
    const char *text = getenv(variable);
    char *end = NULL;
    long code = text && isdigit((unsigned char)*text) ? strtol(text, &end, 10) : 0;

    return code >= 1 && code <= 255 && !*end ? (int)code : other;
}

int job_system_failure(void)
{
    return exit_code_of("SYSTEM_FAILURE_EXIT_CODE", CLI_EXIT_FAILURE);
}

int job_build_failure(int exit_code)
{
    const char *path = getenv("BUILD_EXIT_CODE_FILE");
    char text[16];
    int bytes = snprintf(text, sizeof text, "%d", exit_code);

    if (path && *path) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        if (fd < 0 || write(fd, text, (size_t)bytes) != bytes)
            cli_failf("cannot tell the job's exit code %d in %s: %s", exit_code, path,
                      strerror(errno));
    }
    return exit_code_of("BUILD_FAILURE_EXIT_CODE", exit_code);
}
