/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the family of volume commands. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/util.h"
#include "cli.h"
#include "interrupt.h"
#include "listing.h"
#include "named.h"
#include "options.h"
#include "table.h"
#include "volume.h"

#define VOLUMES "/v1/volumes/"
#define SIZE_DEFAULT GIB(2)

static const struct table_column list_columns[] = {
    { "NAME", "name", TABLE_TEXT },
    { "SIZE", "bytes", TABLE_BYTES },
    { "FILE SYSTEM", "filesystem", TABLE_TEXT },
    { "STATE", "state", TABLE_TEXT },
    { "OWNER", "owner_uid", TABLE_NUMBER },
    { "CREATED", "created", TABLE_TEXT },
};
static const struct listing volume_listing = { "/v1/volumes", "volumes", list_columns,
                                               ARRAY_LEN(list_columns) };

static const struct table_column show_columns[] = {
    { "name", "name", TABLE_TEXT },   { "owner", "owner_uid", TABLE_NUMBER },
    { "state", "state", TABLE_TEXT }, { "file system", "filesystem", TABLE_TEXT },
    { "size", "bytes", TABLE_BYTES }, { "created", "created", TABLE_TEXT },
};

/* ---- create ---- */

static int source_check(struct image_source *source, bool read_only, struct err *err)
{
    if (source->dir && source->tar)
        return err_set(err, EINVAL, "give one of --from-dir and --from-tar");
    source->empty = !source->dir && !source->tar;
    if (read_only && (source->empty || source->bytes))
        return err_set(err, EINVAL,
                       "--read-only is for what is in a folder or a tar file, and has "
                       "no room to write in");
    source->filesystem = read_only ? "erofs" : "ext4";
    if (source->empty && !source->bytes)
        source->bytes = SIZE_DEFAULT;
    return 0;
}

static int make(const char *name, const struct image_source *source, json_t **ret_json,
                struct err *err)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_image_built_ struct image_built built = IMAGE_BUILT_INIT;
    int rc = api_init(&api, err); /* building takes long, and is in vain without poold */

    api_fini(&api);
    interrupt_catch(); /* the temporary folder goes before we do */
    if (rc == 0)
        rc = image_build(source, &built, err);
    interrupt_release();
    if (rc == 0)
        rc = api_init(&api, err);
    return rc < 0 ? rc : volume_store(&api, name, false, &built, ret_json, err);
}

int cmd_volume_create_run(const struct cli_command *command, int argc, char **argv)
{
    struct image_source source = { .whatever = true, .compact = true };
    bool read_only = false, as_json = false;
    const struct option_spec specs[] = {
        { "size", 0, OPTION_FS_SIZE, &source.bytes, "SIZE",
          "of its file system (2G; of a source's: what is in it, and 64M)" },
        { "from-dir", 0, OPTION_STRING, &source.dir, "DIR", "put in what is in a folder",
          COMPLETE_FILE },
        { "from-tar", 0, OPTION_STRING, &source.tar, "FILE",
          "put in a tar file, plain or compressed (-: stdin)", COMPLETE_FILE },
        { "read-only", 0, OPTION_FLAG, &read_only, NULL,
          "make an erofs of it, which no lease can write" },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "print JSON" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1 };
    _cleanup_json_ json_t *json = NULL;
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    signal(SIGPIPE, SIG_IGN); /* an unpacker that refuses says why */
    if (source_check(&source, read_only, &err) < 0 ||
        make(options.positionals[0], &source, &json, &err) < 0) {
        err_wrap(&err, "volume %s", options.positionals[0]);
        return interrupt_fail(&err);
    }
    return listing_print_one(&volume_listing, json, as_json);
}

/* ---- The others ---- */

int cmd_volume_list_run(const struct cli_command *command, int argc, char **argv)
{
    return listing_run(&volume_listing, command, argc, argv);
}

int cmd_volume_show_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "GET", VOLUMES, "" };
    _cleanup_json_ json_t *json = NULL;
    json_t *lease;
    int exit_code;
    size_t i;

    if (!named_ask(&request, command, argc, argv, &json, &exit_code))
        return exit_code;
    table_print_fields(json, show_columns, ARRAY_LEN(show_columns));
    json_array_foreach(json_object_get(json, "leases"), i, lease)
    {
        printf("lease %s has it at %s (%s)\n", api_text_of(lease, "lease"),
               api_text_of(lease, "path"), api_text_of(lease, "mode"));
    }
    return CLI_EXIT_OK;
}

int cmd_volume_delete_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "DELETE", VOLUMES, "" };

    return named_run(&request, command, argc, argv);
}
