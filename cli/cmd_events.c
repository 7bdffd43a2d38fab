/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the command events: poold's stream of server-sent events, over its restarts. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api.h"
#include "base/json_text.h"
#include "base/util.h"
#include "cli.h"
#include "options.h"
#include "table.h"

#define LINE_BYTES_MAX 16384u
/* A poold that is started again is waited for. */
#define AGAIN_MS 10000u
#define AGAIN_US 100000u

struct follow {
    bool as_json;
    char id[24];  /* of the last event that was printed, or what the user asked for; "": none */
    bool stopped; /* poold was stopped, with all VMs */
    size_t used;
    char line[LINE_BYTES_MAX];
};

static void event_print(json_t *event)
{
    static const struct table_column columns[] = {
        { "", "time", TABLE_TEXT },   { "", "type", TABLE_TEXT },   { "", "pool", TABLE_TEXT },
        { "", "lease", TABLE_TEXT },  { "", "state", TABLE_TEXT },  { "", "tier", TABLE_TEXT },
        { "", "reason", TABLE_TEXT }, { "", "detail", TABLE_TEXT }, { "", "labels", TABLE_PAIRS },
    };
    const char *blank = "";
    char text[TABLE_CELL_BYTES];

    for (unsigned i = 0; i < ARRAY_LEN(columns); i++) {
        table_cell(event, &columns[i], text);
        if (strcmp(text, "-") == 0)
            continue;
        printf("%s%s", blank, text);
        blank = "  ";
    }
    putchar('\n');
}

static int event_take(struct follow *follow, const char *data, struct err *err)
{
    _cleanup_json_ json_t *event = json_texts_clean(json_loads(data, 0, NULL));
    const char *type = api_text_of(event, "type");

    if (!json_is_object(event))
        return err_set(err, EPROTO, "poold sent an event that is none");
    snprintf(follow->id, sizeof follow->id, "%" JSON_INTEGER_FORMAT, api_number_of(event, "id"));
    follow->stopped =
        strcmp(type, "poold_stopped") == 0 && strcmp(api_text_of(event, "vms"), "ended") == 0;
    if (follow->as_json) {
        json_dumpf(event, stdout, JSON_COMPACT);
        putchar('\n');
    } else if (strcmp(type, "gap") == 0) {
        cli_failf("events %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT
                  " are not known any more",
                  api_number_of(event, "from"), api_number_of(event, "to"));
    } else {
        event_print(event);
    }
    return cli_flush(err);
}

/* Of an event's lines, its data has all that the others have. */
static int line_take(struct follow *follow, struct err *err)
{
    follow->line[follow->used] = '\0';
    follow->used = 0;
    return strncmp(follow->line, "data: ", 6) == 0 ? event_take(follow, follow->line + 6, err) : 0;
}

static int on_bytes(void *data, const char *bytes, size_t count, struct err *err)
{
    struct follow *follow = data;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (bytes[i] == '\n')
            rc = line_take(follow, err);
        else if (follow->used + 1 < sizeof follow->line)
            follow->line[follow->used++] = bytes[i];
        else
            rc = err_set(err, EPROTO, "poold sent a line of more than %u bytes", LINE_BYTES_MAX);
    }
    return rc;
}

/* One connection's events. 0: it has ended. */
static int follow_once(struct follow *follow, struct err *err)
{
    _cleanup_api_ struct api api = { .client.fd = -1 };
    char path[API_PATH_BYTES] = "/v1/events";
    int rc = *follow->id ? api_path(path, err, "/v1/events?since=", follow->id, "") : 0;

    follow->used = 0;
    if (rc == 0)
        rc = api_init(&api, err);
    return rc == 0 ? api_follow(&api, path, on_bytes, follow, err) : rc;
}

int cmd_events_run(const struct cli_command *command, int argc, char **argv)
{
    struct follow follow = { .as_json = false };
    const char *since = NULL;
    const struct option_spec specs[] = {
        { "since", 0, OPTION_STRING, &since, "ID",
          "those after this one first (0: all that are known)" },
        { "json", 0, OPTION_FLAG, &follow.as_json, NULL, "print a JSON object a line" },
    };
    struct options options = { specs, ARRAY_LEN(specs) };
    uint64_t until_ns = 0;
    struct err err;
    int exit_code, rc;

    if (!options_parse(&options, command, argc, argv, &exit_code))
        return exit_code;
    snprintf(follow.id, sizeof follow.id, "%s", since ? since : "");
    do {
        rc = follow_once(&follow, &err);
        if (rc == 0 && follow.stopped)
            return CLI_EXIT_OK;
        /* Only one that was there and is gone is waited for. */
        if (rc == 0)
            until_ns = now_ns() + AGAIN_MS * NS_PER_MS;
        usleep(AGAIN_US);
    } while (rc == 0 ||
             ((rc == -ECONNREFUSED || rc == -ENOENT || rc == -ECONNRESET) && now_ns() < until_ns));
    return cli_fail(&err);
}
