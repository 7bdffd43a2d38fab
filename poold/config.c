/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the order in which poold is told things, its command line and its help; see config.h. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "declare.h"
#include "remote.h"
#include "settings.h"

static void left_format(const struct setting *setting, char ret_left[64])
{
    snprintf(ret_left, 64, "--%s%s%s", setting->name, setting->argument ? " " : "",
             setting->argument ? setting->argument : "");
}

void config_print_help(FILE *out)
{
    struct config defaults;

    settings_default(&defaults);
    fputs("usage: poold [OPTION...]\n"
          "Keeps pools of running Linux VMs and hands them out over a Unix socket.\n"
          "It stays in the foreground, logs to stderr and ends on SIGTERM; SIGHUP has it read its\n"
          "configuration again, as 'voltctl reload' does.\n\n",
          out);
    for (size_t i = 0; i < setting_count; i++) {
        const struct setting *setting = &settings[i];
        char left[64], value[64] = "";

        left_format(setting, left);
        if (!setting->fallback)
            setting_format(setting, &defaults, value, sizeof value);
        fprintf(out, "  %-28s %s", left, setting->help);
        if (setting->argument)
            fprintf(out, "\n%31s(%s%s%s)", "", setting->fallback ? setting->fallback : value,
                    setting->environment ? "; $" : "",
                    setting->environment ? setting->environment : "");
        fputc('\n', out);
    }
    fputs(
        "\nAll but --config and those behind --client-connections are keys of the section [poold]\n"
        "of the configuration file, too, without the dashes: see poold.conf(5).\n"
        "\nexample: poold --state-dir /var/lib/volt --log-level debug\n",
        out);
}

static int unknown_option(const char *argument, size_t name_bytes, struct err *err)
{
    char name[64];
    const char *nearest;

    if (strncmp(argument, "--", 2) != 0)
        return err_set(err, EINVAL, "unknown option '%s'; poold --help lists them", argument);
    snprintf(name, sizeof name, "%.*s", (int)MIN_OF(name_bytes, sizeof name) - 2, argument + 2);
    nearest = setting_nearest(name, false);
    return nearest
               ? err_set(err, EINVAL, "unknown option '%s'; did you mean --%s?", argument, nearest)
               : err_set(err, EINVAL, "unknown option '%s'; poold --help lists them", argument);
}

/* Takes the option at argv[*at], and its value. */
static int argument_read(struct config *config, int argc, char *const *argv, int *at,
                         struct err *err)
{
    const char *argument = argv[*at], *equals = strchr(argument, '=');
    size_t name_bytes = equals ? (size_t)(equals - argument) : strlen(argument);
    const struct setting *setting =
        strncmp(argument, "--", 2) == 0 ? setting_find(argument + 2, name_bytes - 2) : NULL;
    const char *value = equals ? equals + 1 : NULL;
    char called[64];

    if (!setting)
        return unknown_option(argument, name_bytes, err);
    snprintf(called, sizeof called, "--%s", setting->name);
    if (setting->kind == SETTING_FLAG && value)
        return err_set(err, EINVAL, "%s takes no value", called);
    if (setting->kind != SETTING_FLAG && !value) {
        if (++*at == argc)
            return err_set(err, EINVAL, "%s needs a value", called);
        value = argv[*at];
    }
    return setting_store(config, setting, called, value, err);
}

static int command_line_read(struct config *config, int argc, char *const *argv, struct err *err)
{
    for (int i = 1; i < argc; i++) {
        int rc = argument_read(config, argc, argv, &i, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static int environment_read(struct config *config, struct err *err)
{
    for (size_t i = 0; i < setting_count; i++) {
        const char *name = settings[i].environment, *value = name ? getenv(name) : NULL;
        char called[64];

        snprintf(called, sizeof called, "$%s", name ? name : "");
        if (value && *value && setting_store(config, &settings[i], called, value, err) < 0)
            return -EINVAL;
    }
    return 0;
}

static int socket_default(struct config *config, struct err *err)
{
    if (strpbrk(config->run_dir, "\"\\\n\r\t"))
        return err_set(err, EINVAL, "the run directory's path has a quote or a control character");
    if (!config->socket[0] &&
        snprintf(config->socket, PATH_MAX, "%s/poold.sock", config->run_dir) >= PATH_MAX)
        return err_set(err, ENAMETOOLONG, "the run directory's path is too long");
    return 0;
}

/* What is told later holds; so the file, whose name they tell, is read between two passes over
 * environment and command line. */
static int layers_read(struct config *config, struct declarations *declarations, int argc,
                       char *const *argv, struct err *err)
{
    int rc = environment_read(config, err);

    if (rc == 0)
        rc = command_line_read(config, argc, argv, err);
    if (rc < 0 || config->show_help || config->show_version)
        return rc;
    bool named = config->file[0];
    struct config named_file = *config;

    settings_default(config);
    config_default_dirs(config);
    if (named)
        memcpy(config->file, named_file.file, sizeof config->file);
    else
        config_default_file(config);
    rc = config_read_files(config, named, declarations, err);
    if (rc == 0)
        rc = environment_read(config, err);
    return rc == 0 ? command_line_read(config, argc, argv, err) : rc;
}

int config_load(struct config *ret_config, struct declarations *ret_declarations, int argc,
                char *const *argv, struct err *err)
{
    int rc;

    *ret_declarations = (struct declarations){ 0 };
    settings_default(ret_config);
    rc = layers_read(ret_config, ret_declarations, argc, argv, err);
    if (rc < 0 || ret_config->show_help || ret_config->show_version)
        return rc;
    config_find_programs(ret_config);
    config_find_kernel(ret_config);
    rc = socket_default(ret_config, err);
    if (rc == 0)
        rc = config_make_absolute(ret_config, err);
    if (rc == 0)
        rc = remote_check(ret_config, err);
    return rc == 0 ? declarations_check(ret_declarations, ret_config, err) : rc;
}
