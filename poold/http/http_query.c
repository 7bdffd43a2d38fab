/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what stands in a request's first line: path, method and query; see http.h. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "http/http_internal.h"

/* ---- Paths and methods ---- */

/* Takes the next segment of a path. */
static size_t segment(const char **path)
{
    *path += **path == '/';
    return strcspn(*path, "/");
}

bool http_route_matches(const struct route *route, const char *path,
                        char ret_param[HTTP_PARAM_BYTES])
{
    const char *pattern = route->path;

    ret_param[0] = '\0';
    while (*pattern && *path) {
        size_t want = segment(&pattern), have = segment(&path);

        if (want == 2 && memcmp(pattern, "{}", 2) == 0) {
            if (have == 0 || have >= HTTP_PARAM_BYTES)
                return false;
            memcpy(ret_param, path, have);
            ret_param[have] = '\0';
        } else if (want != have || memcmp(pattern, path, want) != 0) {
            return false;
        }
        pattern += want;
        path += have;
    }
    return !*pattern && !*path;
}

bool http_method_matches(const struct route *route, const char *method)
{
    /* MHD leaves out the body of a reply to a HEAD. */
    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    return strcmp(route->method, method) == 0;
}

void http_allowed_methods(const struct http *http, const char *path,
                          char ret_text[HTTP_PARAM_BYTES])
{
    char param[HTTP_PARAM_BYTES];
    size_t used = 0;

    ret_text[0] = '\0';
    for (size_t i = 0; i < http->config.route_count; i++) {
        const struct route *route = &http->config.routes[i];

        if (!http_route_matches(route, path, param))
            continue;
        used += (size_t)snprintf(ret_text + used, HTTP_PARAM_BYTES - used, "%s%s", used ? ", " : "",
                                 strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method);
        if (used >= HTTP_PARAM_BYTES)
            return;
    }
}

/* ---- Queries ---- */

/* Whether one of the words in `names`, with blanks between, is `name`. */
static bool names_have(const char *names, const char *name)
{
    size_t bytes = strlen(name);

    for (const char *at = names; at && *at; at += strcspn(at, " ")) {
        at += *at == ' ';
        if (strcspn(at, " ") == bytes && memcmp(at, name, bytes) == 0)
            return true;
    }
    return false;
}

/* Of a query: the parameter that is wrong, and how. */
struct query_look {
    const struct http_request *request;
    const char *name, *why;
};

static enum MHD_Result parameter_look(void *data, enum MHD_ValueKind kind, const char *name,
                                      const char *value)
{
    struct query_look *look = data;

    (void)kind;
    if (!names_have(look->request->route->query, name))
        look->why = "is not known here";
    else if (!value)
        look->why = "has no value";
    else if (http_query(look->request, name) != value)
        look->why = "is given twice";
    if (look->why)
        look->name = name;
    return look->why ? MHD_NO : MHD_YES;
}

bool http_query_check(struct http_request *request)
{
    const char *known = request->route->query;
    struct query_look look = { .request = request };

    MHD_get_connection_values(request->mhd, MHD_GET_ARGUMENT_KIND, parameter_look, &look);
    if (!look.why)
        return true;
    http_reply_error(request, API_BAD_REQUEST, "the query parameter '%.100s' %s; this path has: %s",
                     look.name, look.why, known ? known : "none");
    return false;
}

const char *http_query(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->mhd, MHD_GET_ARGUMENT_KIND, name);
}

bool http_query_bool(struct http_request *request, const char *name, bool *ret_value)
{
    static const struct {
        const char *text;
        bool value;
    } words[] = { { "1", true },  { "true", true },   { "yes", true },
                  { "0", false }, { "false", false }, { "no", false } };
    const char *text = http_query(request, name);

    *ret_value = false;
    if (!text)
        return true;
    for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(words[i].text, text) == 0) {
            *ret_value = words[i].value;
            return true;
        }
    }
    http_reply_error(request, API_BAD_REQUEST, "?%s= is 1, true, yes, 0, false or no, not '%.100s'",
                     name, text);
    return false;
}
