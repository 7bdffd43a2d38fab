/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the calls about volumes: under /v1/volumes, and of leases that are given them or have written to
 * them. A volume's contents arrive as the body of its POST (upload.h). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/upload.h"
#include "base/json_text.h"
#include "base/log.h"
#include "vms/volumes.h"

#define VOLUMES_PER_CLIENT 256u

struct attach_body {
    char name[STATE_NAME_BYTES], path[AGENT_MOUNT_PATH_BYTES], mode[8];
};

static const struct json_key attach_keys[] = {
    JSON_TEXT_KEY(struct attach_body, name, "name", JSON_KEY_TEXT, true, 1),
    JSON_TEXT_KEY(struct attach_body, path, "path", JSON_KEY_TEXT, true, 1),
    JSON_TEXT_KEY(struct attach_body, mode, "mode", JSON_KEY_TEXT, false, 1),
};
const struct json_table api_attach_table = JSON_TABLE(attach_keys);

static void reply_err(struct http_request *request, const struct err *err)
{
    static const struct {
        int code;
        enum api_error error;
    } codes[] = {
        { EBUSY, API_VOLUME_BUSY },       { EINVAL, API_BAD_REQUEST }, { EFBIG, API_TOO_LARGE },
        { ECANCELED, API_SHUTTING_DOWN }, { ENOSPC, API_NO_SPACE },    { ENOSR, API_NO_SLOT },
        { ENOTCONN, API_LEASE_ENDED },    { EIO, API_VOLUME_FAILED },  { EDQUOT, API_NO_SPACE },
    };
    enum api_error error = API_INTERNAL;

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        if (codes[i].code == err->code)
            error = codes[i].error;
    }
    http_reply_error(request, error, "%s", err->msg);
}

/* ---- Which ---- */

/* A client's own volumes by their names; all others, for an administrator, as NAME~UID. */
static bool id_of(const struct http_request *request, const char *name,
                  char ret_id[STATE_NAME_BYTES])
{
    const char *tilde = strchr(name, '~');

    if (!tilde)
        return volume_id(name, request->connection->peer.uid, ret_id);
    snprintf(ret_id, STATE_NAME_BYTES, "%s", name);
    return true;
}

static bool is_visible(const struct http_request *request, const struct volume *volume)
{
    const struct peer *peer = &request->connection->peer;

    return peer->rights & RIGHT_ADMIN || volume->record.owner == peer->uid;
}

/* NULL: it has replied. */
static struct volume *find(struct http_request *request, const char *name)
{
    char id[STATE_NAME_BYTES];
    struct volume *volume =
        id_of(request, name, id) ? volume_find(&api_of(request)->vms->volumes, id) : NULL;

    if (volume && is_visible(request, volume))
        return volume;
    http_reply_error(request, API_NO_SUCH_VOLUME, "there is no volume '%s' of yours", name);
    return NULL;
}

/* ---- How they are shown ---- */

static json_t *leases_json(const struct volumes *volumes, const struct volume *volume)
{
    json_t *array = json_array();

    LIST_FOR_EACH(at, &volumes->attachments)
    {
        const struct attachment *one = list_entry(at, struct attachment, node);

        if (one->volume == volume)
            json_array_append_new(array,
                                  json_pack("{s:o, s:o, s:o}", "lease", json_text(one->lease),
                                            "mode", json_text(volume_mode_name(one->mode)), "path",
                                            json_text(one->path)));
    }
    return array;
}

static json_t *volume_json(const struct volumes *volumes, const struct volume *volume)
{
    const struct volume_record *record = &volume->record;
    const char *state = volume->making ? "making" : volume->deleting ? "deleting" : "ready";
    char name[STATE_NAME_BYTES];

    snprintf(name, sizeof name, "%.*s", (int)strcspn(volume->id, "~"), volume->id);
    return json_pack("{s:o, s:I, s:o, s:o, s:I, s:o, s:b, s:o}", "name", json_text(name),
                     "owner_uid", (json_int_t)record->owner, "state", json_text(state),
                     "filesystem", json_text(record->filesystem), "bytes",
                     (json_int_t)record->bytes, "created", json_text(record->created), "folder",
                     (int)record->folder, "leases", leases_json(volumes, volume));
}

void api_volumes_list(struct http_request *request)
{
    const struct volumes *volumes = &api_of(request)->vms->volumes;
    json_t *array = json_array();

    LIST_FOR_EACH(at, &volumes->list)
    {
        const struct volume *volume = list_entry(at, struct volume, node);

        if (is_visible(request, volume))
            json_array_append_new(array, volume_json(volumes, volume));
    }
    http_reply_json(request, MHD_HTTP_OK, json_pack("{s:o}", "volumes", array));
}

void api_volume_show(struct http_request *request)
{
    const struct volume *volume = find(request, request->param);

    if (volume)
        http_reply_json(request, MHD_HTTP_OK, volume_json(&api_of(request)->vms->volumes, volume));
}

/* ---- Deletion ---- */

static void on_deleted(void *data, const struct err *err)
{
    struct http_request *request = data;

    if (err)
        reply_err(request, err);
    else
        http_reply_empty(request, MHD_HTTP_NO_CONTENT);
}

void api_volume_delete(struct http_request *request)
{
    struct volume *volume = find(request, request->param);

    if (!volume)
        return;
    if (volume->users || volume->making || volume->deleting)
        http_reply_error(request, API_VOLUME_BUSY, "the volume '%s' is %s", request->param,
                         volume->making     ? "being made"
                         : volume->deleting ? "being deleted"
                                            : "in use: release the leases that have it first");
    else
        volume_delete(&api_of(request)->vms->volumes, volume, on_deleted, request);
}

/* ---- Making one ---- */

struct make_call {
    struct upload upload;  /* first */
    struct volume *volume; /* `making`; NULL once it is made, or won't be */
    bool made;
    struct volume_record record;
    char id[STATE_NAME_BYTES];
    int fd;
    uint64_t at; /* what has come */
};

static int make_begin(struct make_call *call, struct err *err)
{
    const struct volume_dirs *dirs = &call->upload.api->vms->volumes.dirs;

    return volume_data_make(dirs, call->record.data, &call->fd, err);
}

static int make_end(struct make_call *call, struct err *err)
{
    const struct volume_dirs *dirs = &call->upload.api->vms->volumes.dirs;
    int rc = 0;

    if (volume_record_there(dirs, call->id))
        return err_set(
            err, EBUSY,
            "volumes/%s.json could not be read when poold started: mend it and start poold "
            "again, or remove it",
            call->id);
    if (ftruncate(call->fd, (off_t)call->record.bytes) < 0)
        rc = err_set_errno(err, errno, "the volume's file");
    if (rc == 0)
        rc = volume_data_check(call->fd, &call->record, err);
    if (rc == 0)
        rc = volume_data_settle(dirs, call->record.data, call->record.bytes, err);
    return rc == 0 ? volume_record_write(dirs, call->id, &call->record, err) : rc;
}

static void make_run(struct upload *upload)
{
    struct make_call *call = (struct make_call *)upload;
    struct err *err = &upload->err;
    int rc = call->fd < 0 ? make_begin(call, err) : 0;

    if (rc == 0 && upload->used > call->record.bytes - call->at)
        rc = err_set(err, EINVAL, "more came than the %" PRIu64 " bytes that were told",
                     call->record.bytes);
    if (rc == 0) {
        rc = volume_data_write(call->fd, upload->chunk, upload->used, call->at);
        if (rc < 0)
            err_set_errno(err, -rc, "writing the volume");
    }
    call->at += upload->used;
    if (rc == 0 && upload->last)
        (void)make_end(call, err);
}

static void make_done(struct upload *upload)
{
    struct make_call *call = (struct make_call *)upload;

    if (upload->err.code) { /* its name is free as soon as its client hears of it */
        volume_forget(take_pointer(&call->volume));
        return;
    }
    call->made = true;
    call->volume->record = call->record;
    call->volume->making = false;
    call->volume->used_ns = now_ns();
    upload->result = volume_json(&upload->api->vms->volumes, call->volume);
    call->volume = NULL;
}

static void make_abandon(struct upload *upload)
{
    struct make_call *call = (struct make_call *)upload;

    if (call->fd >= 0 && !call->made)
        volume_data_remove(&upload->api->vms->volumes.dirs, call->record.data);
    close_fd(&call->fd);
}

static void make_free(struct upload *upload)
{
    struct make_call *call = (struct make_call *)upload;

    if (call->volume)
        volume_forget(call->volume);
    free(call);
}

static const struct upload_ops make_ops = {
    .run = make_run,
    .done = make_done,
    .refuse = reply_err,
    .abandon = make_abandon,
    .free = make_free,
};

/* Whether its user may have that much more. False: it has replied. */
static bool quota_allows(struct http_request *request, uint64_t bytes)
{
    const struct api *api = api_of(request);
    const struct peer *peer = &request->connection->peer;
    const uint64_t most = MIB(api->settings->volumes_per_client_mib);
    uint32_t count;
    const uint64_t used = volumes_bytes_of(&api->vms->volumes, peer->uid, &count);

    if (peer->rights & RIGHT_ADMIN ||
        (count < VOLUMES_PER_CLIENT && used <= most && bytes <= most - used))
        return true;
    if (count >= VOLUMES_PER_CLIENT)
        http_reply_error(request, API_TOO_MANY, "you may have %u volumes; delete some",
                         VOLUMES_PER_CLIENT);
    else
        http_reply_error(request, API_TOO_MANY,
                         "your volumes may have %" PRIu64 " MiB in all (client-volumes-mib): "
                         "there are %" PRIu64 ", and this one has %" PRIu64 "; delete some",
                         most >> 20, used >> 20, bytes >> 20);
    return false;
}

/* The query. False: it has replied. */
static bool make_query(struct http_request *request, struct volume_record *record)
{
    const char *text = http_query(request, "bytes");
    char *end = NULL;

    errno = 0;
    record->bytes = text ? strtoull(text, &end, 10) : 0;
    if (!text || *text < '0' || *text > '9' || *end || errno || record->bytes < 4096 ||
        record->bytes % 512 || record->bytes > CONTROL_VOLUME_BYTES_MAX) {
        http_reply_error(request, API_BAD_REQUEST,
                         "?bytes= must be the volume's size, from 4096 to %llu in whole sectors of "
                         "512",
                         CONTROL_VOLUME_BYTES_MAX);
        return false;
    }
    return http_query_bool(request, "folder", &record->folder);
}

static bool make_request(struct http_request *request)
{
    struct volumes *volumes = &api_of(request)->vms->volumes;
    struct volume_record record = { .owner = request->connection->peer.uid };
    char id[STATE_NAME_BYTES];

    if (!volume_id(request->param, request->connection->peer.uid, id)) {
        http_reply_error(request, API_BAD_NAME,
                         "'%s' is not a volume's name: 1 to %u of a-z 0-9 - _ ., beginning with a "
                         "letter or digit",
                         request->param, VOLUME_NAME_MAX);
        return false;
    }
    if (!make_query(request, &record) || !quota_allows(request, record.bytes) ||
        !upload_allowed(request))
        return false;
    if (volume_find(volumes, id)) {
        http_reply_error(request, API_VOLUME_EXISTS, "there is a volume '%s'", request->param);
        return false;
    }
    struct make_call *call =
        calloc(1, sizeof *call); /* its chunk's pages come when they are used */
    struct volume *volume = call ? volume_reserve(volumes, id, &record) : NULL;
    if (!volume) {
        free(call);
        http_reply_error(request, API_INTERNAL, "out of memory");
        return false;
    }
    call->volume = volume;
    call->record = record;
    call->fd = -1;
    memcpy(call->id, id, sizeof call->id);
    upload_begin(&call->upload, &make_ops, request);
    return true;
}

void api_volume_make(struct http_request *request)
{
    upload_end(request);
}

const struct http_body_ops api_volume_body = {
    .begin = make_request,
    .take = upload_take,
    .gone = upload_gone,
};

/* ---- Leases ---- */

static void on_attached(void *data, const struct attachment *attachment, const struct err *err)
{
    struct http_request *request = data;

    if (err)
        reply_err(request, err);
    else
        http_reply_json(request, MHD_HTTP_CREATED,
                        json_pack("{s:o, s:o, s:o}", "lease", json_text(attachment->lease), "path",
                                  json_text(attachment->path), "mode",
                                  json_text(volume_mode_name(attachment->mode))));
}

void api_lease_attach(struct http_request *request)
{
    struct attach_body body = { .mode = "copy" };
    struct volume_request wanted = { .done = on_attached, .data = request };

    if (!http_read_body(request, &body))
        return;
    if (!volume_mode_parse(body.mode, &wanted.mode)) {
        http_reply_error(request, API_BAD_REQUEST, "'mode' is ro, copy or rw, not '%s'", body.mode);
        return;
    }
    if (!volume_path_valid(body.path)) {
        http_reply_error(request, API_BAD_REQUEST,
                         "'path': no volume can be mounted at '%s': it is a folder of the guest's "
                         "own, and neither / nor one of the kernel's nor one that all else lies in",
                         body.path);
        return;
    }
    struct slot *slot = api_lease_find(request);
    wanted.volume = slot ? find(request, body.name) : NULL;
    if (!wanted.volume)
        return;
    memcpy(wanted.path, body.path, sizeof wanted.path);
    volume_attach(api_of(request)->vms, slot, &wanted);
}

static void on_released(void *data, const struct err *err)
{
    struct http_request *request = data;

    if (err)
        http_reply_error(request, err->code == EBUSY ? API_VOLUME_BUSY : API_VOLUME_FAILED,
                         "what was written to the lease's volumes is not kept: %s", err->msg);
    else
        http_reply_empty(request, MHD_HTTP_NO_CONTENT);
}

void api_lease_release_saving(struct http_request *request, struct slot *slot, uint32_t end)
{
    volumes_release(api_of(request)->vms, slot, end, on_released, request);
}
