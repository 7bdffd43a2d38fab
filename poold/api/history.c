/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the ring of events in its file, and the table of ended leases; see history.h. */
#include "api/history.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/util.h"

#define MAGIC 0x31797473686c6f76ull /* "volhsty1", whose last digit is the layout's version */

static const char *const type_names[] = {
#define X(name, text) [name] = text,
    HISTORY_EVENT_MAP(X)
#undef X
};
static_assert(ARRAY_LEN(type_names) == HISTORY_TYPE_COUNT, "every type has a name");
static_assert(sizeof(struct history_event) == 1024, "as other builds have it");
static_assert(sizeof(((struct history_event *)0)->lease) >= SLOT_ID_BYTES, "an id fits");

struct layout {
    uint64_t magic, first; /* number of the first event that this file had */
    uint8_t more[HOST_PAGE_BYTES - 16];
    struct history_event events[HISTORY_EVENTS];
};

struct history {
    struct layout *layout;
    uint64_t next;
    uint64_t leases[HISTORY_EVENTS]; /* ids of those that ended, by the place of their end; 0 */
    uint32_t keys[HISTORY_EVENTS];   /* and a part of their requests' keys */
};

const char *history_type_name(enum history_type type)
{
    return type_names[type];
}

/* ---- The file ---- */

/* The mapping of a file of the right size that is poold's own; NULL: it can't be had, with err. */
static struct layout *file_map(const char *path, struct err *err)
{
    _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        err_set_errno(err, errno, "%s", path);
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1) {
        err_set(err, EPERM, "%s is not a file of poold's own", path);
        return NULL;
    }
    /* All of its place now: a page that can't be had would be a SIGBUS later. */
    int rc = st.st_size > (off_t)sizeof(struct layout)
                 ? EFBIG
                 : posix_fallocate(fd, 0, sizeof(struct layout));
    void *map = rc ? MAP_FAILED
                   : mmap(NULL, sizeof(struct layout), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        err_set_errno(err, rc ? rc : errno, "%s", path);
        return NULL;
    }
    return map;
}

static uint64_t check_of(const struct history_event *event)
{
    return XXH3_64bits(&event->id, sizeof *event - offsetof(struct history_event, id));
}

static bool ends(const char *text, size_t bytes)
{
    return memchr(text, '\0', bytes) != NULL;
}

static bool event_is_good(const struct history_event *event, uint64_t place)
{
    return event->id % HISTORY_EVENTS == place && event->check == check_of(event) &&
           event->type < HISTORY_TYPE_COUNT && event->end < LEASE_END_COUNT &&
           ends(event->lease, sizeof event->lease) && ends(event->pool, sizeof event->pool) &&
           ends(event->text, sizeof event->text);
}

static void lease_note(struct history *history, const struct history_event *event)
{
    const bool ended = event->type == HISTORY_LEASE_ENDED;

    history->leases[event->id % HISTORY_EVENTS] = ended ? strtoull(event->lease, NULL, 16) : 0;
    history->keys[event->id % HISTORY_EVENTS] = ended ? (uint32_t)event->request.key[1] : 0;
}

/* Nothing is there, or nothing that this poold can read. */
static void begin(struct history *history)
{
    struct layout *layout = history->layout;

    memset(layout, 0, offsetof(struct layout, events));
    for (uint64_t place = 0; place < HISTORY_EVENTS; place++)
        layout->events[place].id = 0;
    layout->first = history->next = clock_ns(CLOCK_REALTIME) / 1000;
    layout->magic = MAGIC;
}

/* What an earlier poold has left. */
static void load(struct history *history)
{
    struct layout *layout = history->layout;

    history->next = layout->first;
    for (uint64_t place = 0; place < HISTORY_EVENTS; place++) {
        struct history_event *event = &layout->events[place];

        if (!event_is_good(event, place) || event->id < layout->first) {
            event->id = 0;
            continue;
        }
        lease_note(history, event);
        history->next = MAX_OF(history->next, event->id + 1);
    }
}

struct history *history_open(const char *run_dir, struct err *ret_notice)
{
    struct history *history = calloc(1, sizeof *history);
    char path[PATH_MAX + 16];

    if (!history)
        return NULL;
    ret_notice->code = 0;
    snprintf(path, sizeof path, "%s/events", run_dir);
    history->layout = file_map(path, ret_notice);
    if (!history->layout) {
        err_wrap(ret_notice, "events are forgotten when poold ends");
        history->layout = mmap(NULL, sizeof(struct layout), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    if (history->layout == MAP_FAILED) {
        free(history);
        return NULL;
    }
    if (history->layout->magic == MAGIC)
        load(history);
    else
        begin(history);
    return history;
}

void history_close(struct history *history)
{
    if (!history)
        return;
    munmap(history->layout, sizeof *history->layout);
    free(history);
}

/* ---- Events ---- */

void history_add(struct history *history, struct history_event *event)
{
    struct history_event *place = &history->layout->events[history->next % HISTORY_EVENTS];

    event->id = history->next++;
    if (!event->wall_ns)
        event->wall_ns = clock_ns(CLOCK_REALTIME);
    event->check = check_of(event);
    *place = *event;
    lease_note(history, event);
}

json_t *history_member(const struct history_event *event, const char *name)
{
    char object[HISTORY_TEXT_BYTES + 2];

    snprintf(object, sizeof object, "{%s}", event->text);
    json_t *whole = json_loads(object, 0, NULL);
    json_t *member = json_object_get(whole, name);
    member = member ? json_incref(member) : json_null();
    json_decref(whole);
    return member;
}

uint64_t history_next(const struct history *history)
{
    return history->next;
}

uint64_t history_oldest(const struct history *history)
{
    const uint64_t first = history->layout->first;

    return history->next > first + HISTORY_EVENTS ? history->next - HISTORY_EVENTS : first;
}

const struct history_event *history_get(const struct history *history, uint64_t id)
{
    const struct history_event *event = &history->layout->events[id % HISTORY_EVENTS];

    return event->id == id && id ? event : NULL;
}

/* The number that ids with this beginning have their first digits of; false: it is none. */
static bool prefix_parse(const char *prefix, uint64_t *ret_bits, unsigned *ret_shift)
{
    const size_t digits = strlen(prefix);

    if (digits == 0 || digits >= SLOT_ID_BYTES || strspn(prefix, "0123456789abcdef") != digits)
        return false;
    *ret_shift = (unsigned)(SLOT_ID_BYTES - 1 - digits) * 4;
    *ret_bits = strtoull(prefix, NULL, 16);
    return true;
}

const struct history_event *history_lease_end(const struct history *history, const char *prefix,
                                              bool any, uint32_t uid)
{
    const uint64_t now = clock_ns(CLOCK_REALTIME);
    const struct history_event *found = NULL;
    uint64_t bits;
    unsigned shift;

    if (!prefix_parse(prefix, &bits, &shift))
        return NULL;
    for (uint64_t place = 0; place < HISTORY_EVENTS; place++) {
        const struct history_event *event = &history->layout->events[place];

        if (!history->leases[place] || history->leases[place] >> shift != bits ||
            (!any && event->uid != uid) || event->wall_ns + HISTORY_LEASE_NS < now)
            continue;
        if (found)
            return NULL;
        found = event;
    }
    return found;
}

const struct history_event *history_request_end(const struct history *history,
                                                const struct request_key *key, uint32_t uid)
{
    const uint64_t now = clock_ns(CLOCK_REALTIME);
    const struct history_event *found = NULL;

    for (uint64_t place = 0; place < HISTORY_EVENTS; place++) {
        const struct history_event *event = &history->layout->events[place];

        if (history->leases[place] && history->keys[place] == (uint32_t)key->key[1] &&
            event->request.key[0] == key->key[0] && event->request.key[1] == key->key[1] &&
            event->uid == uid && event->wall_ns + HISTORY_LEASE_NS >= now &&
            (!found || found->id < event->id))
            found = event;
    }
    return found;
}
