/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the family of image commands. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "base/text.h"
#include "base/util.h"
#include "cli.h"
#include "image_build.h"
#include "interrupt.h"
#include "listing.h"
#include "named.h"
#include "options.h"
#include "table.h"

#define IMAGES "/v1/images/"
#define IMAGE_TIMEOUT_MS (30u * 60 * 1000) /* writes or reads all of an image */

static const struct table_column list_columns[] = {
    { "NAME", "name", TABLE_TEXT },
    { "SIZE", "bytes", TABLE_BYTES },
    { "STORED", "stored_bytes", TABLE_BYTES },
    { "UNIQUE", "unique_bytes", TABLE_BYTES },
    { "FILE SYSTEM", "filesystem", TABLE_TEXT },
    { "CREATED", "created", TABLE_TEXT },
    { "ID", "id", TABLE_ID },
};
static const struct listing image_listing = { "/v1/images", "images", list_columns,
                                              ARRAY_LEN(list_columns) };

static const struct table_column inspect_columns[] = {
    { "name", "name", TABLE_TEXT },
    { "id", "id", TABLE_TEXT },
    { "created", "created", TABLE_TEXT },
    { "file system", "filesystem", TABLE_TEXT },
    { "size", "bytes", TABLE_BYTES },
    { "  stored", "stored_bytes", TABLE_BYTES },
    { "  unique", "unique_bytes", TABLE_BYTES },
    { "chunks of 2 MiB", "chunks", TABLE_NUMBER },
    { "  of zeroes, not stored", "zero_chunks", TABLE_NUMBER },
    { "packs", "packs", TABLE_NUMBER },
};

/* ---- build ---- */

static int build_check(const struct image_source *source, struct err *err)
{
    if (!source->dir + !source->tar + !source->oci != 2)
        return err_set(err, EINVAL, "give one of --from-dir, --from-tar and --from-oci");
    if (strcmp(source->filesystem, "erofs") != 0 && strcmp(source->filesystem, "ext4") != 0)
        return err_set(err, EINVAL, "--fs %s: expected erofs or ext4", source->filesystem);
    if (source->bytes && strcmp(source->filesystem, "ext4") != 0)
        return err_set(err, EINVAL, "--size goes with --fs ext4: an erofs has no room to write in");
    return 0;
}

/* Sends it: its configuration first, if it has one. */
static int store(struct api *api, const char *name, const struct image_built *built,
                 json_t **ret_json, struct err *err)
{
    _cleanup_free_ char *config = built->config ? json_dumps(built->config, JSON_COMPACT) : NULL;
    char path[API_PATH_BYTES], query[40] = "";

    if (built->config && !config)
        return err_set(err, ENOMEM, "out of memory");
    if (config)
        snprintf(query, sizeof query, "?config_bytes=%zu", strlen(config));
    int rc = api_path(path, err, IMAGES, name, query);
    if (rc < 0)
        return rc;
    fprintf(stderr, "storing %.1f MiB\n", (double)built->bytes / (double)MIB(1));
    return api_upload(api, path, config, built->fd, built->bytes, IMAGE_TIMEOUT_MS, ret_json, err);
}

/* Connects first: building takes long, and is in vain without poold. */
static int build_and_store(const char *name, const struct image_source *source, json_t **ret_json,
                           struct err *err)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    _cleanup_image_built_ struct image_built built = IMAGE_BUILT_INIT;
    char path[API_PATH_BYTES];
    int rc = api_path(path, err, IMAGES, name, "");

    if (rc == 0)
        rc = api_init(&api, err);
    api_fini(&api);
    interrupt_catch(); /* the temporary folder goes before we do */
    if (rc == 0)
        rc = image_build(source, &built, err);
    interrupt_release();
    if (rc == 0)
        rc = api_init(&api, err);
    return rc < 0 ? rc : store(&api, name, &built, ret_json, err);
}

int cmd_image_build_run(const struct cli_command *command, int argc, char **argv)
{
    struct image_source source = { .filesystem = "erofs" };
    bool as_json = false;
    const struct option_spec specs[] = {
        { "from-dir", 0, OPTION_STRING, &source.dir, "DIR", "take what is in a folder",
          COMPLETE_FILE },
        { "from-tar", 0, OPTION_STRING, &source.tar, "FILE",
          "unpack a tar file, plain or compressed (-: stdin)", COMPLETE_FILE },
        { "from-oci", 0, OPTION_STRING, &source.oci, "DIR[:TAG]",
          "unpack an OCI layout (tag: latest, or the only one), or by skopeo the FILE of a 'docker "
          "save', or docker-archive:FILE, oci-archive:FILE, dir:DIR",
          COMPLETE_FILE },
        { "fs", 0, OPTION_STRING, &source.filesystem, "KIND",
          "erofs: read-only, writes go to the VM's memory; ext4: writable, they go to a private "
          "file (erofs)" },
        { "size", 0, OPTION_FS_SIZE, &source.bytes, "SIZE", "of the ext4 (as needed, and 64M)" },
        { "json", 0, OPTION_FLAG, &as_json, NULL, "print JSON" },
    };
    struct options options = { specs, ARRAY_LEN(specs), .positional_min = 1, .positional_max = 1 };
    _cleanup_json_ json_t *json = NULL;
    struct err err;
    int exit_code;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    signal(SIGPIPE, SIG_IGN); /* an unpacker that refuses says why */
    if (build_check(&source, &err) < 0 ||
        build_and_store(options.positionals[0], &source, &json, &err) < 0) {
        err_wrap(&err, "image %s", options.positionals[0]);
        return interrupt_fail(&err);
    }
    return listing_print_one(&image_listing, json, as_json);
}

/* ---- The others ---- */

int cmd_image_list_run(const struct cli_command *command, int argc, char **argv)
{
    return listing_run(&image_listing, command, argc, argv);
}

/* How its programs are started. */
static void config_print(json_t *config)
{
    const char *key;
    json_t *value;

    json_object_foreach(config, key, value)
    {
        char shown[200];
        _cleanup_free_ char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        text_clean(shown, sizeof shown, text ? text : "", SIZE_MAX);
        printf("%-24s %s\n", key, shown);
    }
}

int cmd_image_inspect_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "GET", IMAGES, "", .timeout_ms = IMAGE_TIMEOUT_MS };
    _cleanup_json_ json_t *json = NULL;
    const char *other;
    json_t *bytes;
    int exit_code;

    if (!named_ask(&request, command, argc, argv, &json, &exit_code))
        return exit_code;
    if (json_object_get(json, "error"))
        return cli_failf("%s", api_text_of(json, "error.message"));
    table_print_fields(json, inspect_columns, ARRAY_LEN(inspect_columns));
    config_print(json_object_get(json, "config"));
    json_object_foreach(json_object_get(json, "shared_bytes"), other, bytes)
    {
        printf("shared with %s: %.1f MiB\n", other,
               (double)json_integer_value(bytes) / (double)MIB(1));
    }
    return CLI_EXIT_OK;
}

static void damage_print(const char *name, json_t *json)
{
    cli_failf("%s is damaged: %s", name, api_text_of(json, "error.message"));
}

int cmd_image_verify_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "POST", IMAGES, "/verify",
                                           .timeout_ms = IMAGE_TIMEOUT_MS };

    return named_verify(&request, command, argc, argv, "chunk", damage_print);
}

int cmd_image_delete_run(const struct cli_command *command, int argc, char **argv)
{
    const struct named_request request = { "DELETE", IMAGES, "", .timeout_ms = IMAGE_TIMEOUT_MS };

    return named_run(&request, command, argc, argv);
}
