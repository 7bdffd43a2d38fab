/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the family of snapshot commands. */
#include <stdio.h>

#include "api.h"
#include "base/util.h"
#include "cli.h"
#include "listing.h"
#include "named.h"
#include "table.h"

#define SNAPSHOTS "/v1/snapshots/"
#define VERIFY_TIMEOUT_MS (10u * 60 * 1000) /* reads all of the memory image */

static const struct table_column list_columns[] = {
    { "NAME", "name", TABLE_TEXT },
    { "POOL", "pool", TABLE_TEXT },
    { "MEMORY", "memory_bytes", TABLE_BYTES },
    { "DATA", "data_bytes", TABLE_BYTES },
    { "ON DISK", "disk_bytes", TABLE_BYTES },
    { "VCPUS", "vcpus", TABLE_NUMBER },
    { "FORMAT", "format_version", TABLE_NUMBER },
    { "CREATED", "created", TABLE_TEXT },
    { "KERNEL", "kernel", TABLE_TEXT },
};
static const struct listing snapshot_listing = { "/v1/snapshots", "snapshots", list_columns,
                                                 ARRAY_LEN(list_columns) };

static const struct table_column section_columns[] = {
    { "SECTION", "name", TABLE_TEXT },
    { "VERSION", "version", TABLE_NUMBER },
    { "SIZE", "bytes", TABLE_BYTES },
};

int cmd_snapshot_list_run(const struct cli_command *command, int argc, char **argv)
{
    return listing_run(&snapshot_listing, command, argc, argv);
}

static void member_print(json_t *object, const char *key, json_t *value)
{
    const bool is_text = json_is_string(value);
    const struct table_column column = { NULL, key, is_text ? TABLE_TEXT : TABLE_NUMBER };
    char text[TABLE_CELL_BYTES];

    if (is_text || json_is_integer(value))
        table_cell(object, &column, text);
    else if (json_is_boolean(value))
        snprintf(text, sizeof text, "%s", json_is_true(value) ? "yes" : "no");
    else
        return;
    printf("%-22s  %s\n", key, text);
}

/* The manifest's members are shown as they are named, those of its objects as "kernel.path": a
 * newer poold may have more of them. */
static void members_print(json_t *manifest)
{
    const char *key, *inner_key;
    json_t *value, *inner;

    json_object_foreach(manifest, key, value)
    {
        member_print(manifest, key, value);
        json_object_foreach(value, inner_key, inner)
        {
            char path[128];

            snprintf(path, sizeof path, "%s.%s", key, inner_key);
            member_print(manifest, path, inner);
        }
    }
}

int cmd_snapshot_inspect_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "GET", SNAPSHOTS, "" };
    _cleanup_json_ json_t *json = NULL;
    int exit_code;

    if (!named_ask(&request, command, argc, argv, &json, &exit_code))
        return exit_code;
    json_t *manifest = json_object_get(json, "manifest");
    members_print(manifest ? manifest : json);
    json_t *sections = json_object_get(json, "sections");
    if (json_is_array(sections)) {
        putchar('\n');
        table_print(sections, section_columns, ARRAY_LEN(section_columns));
    }
    return CLI_EXIT_OK;
}

static void damage_print(const char *name, json_t *json)
{
    cli_failf("%s is damaged: %s, section %s: %s", name, api_text_of(json, "error.file"),
              api_text_of(json, "error.section"), api_text_of(json, "error.message"));
}

int cmd_snapshot_verify_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "POST", SNAPSHOTS, "/verify",
                                           .timeout_ms = VERIFY_TIMEOUT_MS };

    return named_verify(&request, command, argc, argv, "digest", damage_print);
}
