/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the ends of leases that have volumes; see volumes.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/work.h"
#include "vms/agent_stream.h"
#include "vms/volume_lease.h"
#include "vms/volume_steps.h"

/* Copies of a lease, to be synced or to be put. */
struct copy {
    struct attachment *attachment;
    char id[STATE_NAME_BYTES];
    struct volume_record record; /* a copy of the volume's */
    char work[VOLUME_DATA_BYTES];
    struct err err;
};

struct release {
    struct list node; /* volumes->releases */
    struct vms *vms;
    char lease[SLOT_ID_BYTES];
    uint32_t end;                /* enum lease_end */
    struct agent_stream *stream; /* until the guest has unmounted */
    bool settling;               /* a work has it */
    bool over;                   /* the VM is gone meanwhile */
    struct copy copies[CONTROL_VOLUMES_MAX];
    unsigned copy_count;
    char *lease_text;
    struct err err;
    void (*done)(void *data, const struct err *err); /* NULL: nobody waits */
    void *data;
};

struct slot *volume_slot_of(const struct vms *vms, const char *lease)
{
    LIST_FOR_EACH(pool_at, &vms->pools)
    {
        struct pool *pool = list_entry(pool_at, struct pool, node);

        LIST_FOR_EACH(at, &pool->slots[SLOT_LEASED])
        {
            struct slot *slot = list_entry(at, struct slot, node);

            if (strcmp(slot->id, lease) == 0)
                return slot;
        }
    }
    return NULL;
}

static struct release *release_of(const struct volumes *volumes, const char *lease)
{
    LIST_FOR_EACH(at, &volumes->releases)
    {
        struct release *release = list_entry(at, struct release, node);

        if (strcmp(release->lease, lease) == 0)
            return release;
    }
    return NULL;
}

bool volume_releasing(const struct volumes *volumes, const char *lease)
{
    return release_of(volumes, lease) != NULL;
}

/* ---- What is thrown away ---- */

struct removal {
    struct vms *vms;
    char data[VOLUME_DATA_BYTES], lease[SLOT_ID_BYTES];
};

static void removal_run(void *data)
{
    struct removal *removal = data;
    const struct volume_dirs *dirs = &removal->vms->volumes.dirs;
    struct err err;

    volume_data_remove(dirs, removal->data);
    if (removal->lease[0])
        (void)state_file_delete(dirs->leases_fd, removal->lease, &err);
}

static void removal_done(void *data)
{
    struct removal *removal = data;

    removal->vms->volumes.works--;
    turn_schedule(removal->vms->turn);
    free(removal);
}

void volume_work_remove(struct vms *vms, const char *data, const char *lease)
{
    struct removal *removal = *data || lease ? calloc(1, sizeof *removal) : NULL;

    if (!removal) /* else the next poold removes it */
        return;
    removal->vms = vms;
    memcpy(removal->data, data, strlen(data) + 1);
    memcpy(removal->lease, lease ? lease : "", lease ? strlen(lease) + 1 : 1);
    if (work_start(vms->loop, removal_run, removal_done, removal) < 0)
        free(removal);
    else
        vms->volumes.works++;
}

/* ---- A release's own end ---- */

static void finish(struct release *release, const struct err *err)
{
    struct vms *vms = release->vms;

    agent_stream_close(release->stream);
    list_remove(&release->node);
    if (err)
        log_warn("lease %s: what it wrote to its volumes is not in them: %s", release->lease,
                 err->msg);
    if (release->done)
        release->done(release->data, err);
    free(release->lease_text);
    free(release);
    turn_schedule(vms->turn);
}

static void finish_saying(struct release *release, int code, const char *what)
{
    struct err err;

    err_set(&err, code, "%s", what);
    finish(release, &err);
}

/* ---- The contents take their place: nobody can write them any more ---- */

static void put_run(void *data)
{
    struct release *release = data;
    const struct volume_dirs *dirs = &release->vms->volumes.dirs;
    struct err err;

    for (unsigned i = 0; i < release->copy_count; i++) {
        struct copy *copy = &release->copies[i];

        if (volume_contents_put(dirs, copy->id, &copy->record, copy->work, &copy->err) < 0)
            release->err = copy->err;
    }
    /* What could not be put is lost, and told so: were it kept, it would some day take the place of
     * what others have written since. */
    (void)state_file_delete(dirs->leases_fd, release->lease, &err);
}

static void put_done(void *data)
{
    struct release *release = data;

    release->vms->volumes.works--;
    for (unsigned i = 0; i < release->copy_count; i++) {
        struct copy *copy = &release->copies[i];
        struct volume *volume = copy->attachment->volume;

        volume_work_remove(release->vms, copy->err.code ? copy->work : volume->record.data, NULL);
        volume->record = copy->record;
        attachment_free(copy->attachment);
    }
    finish(release, release->err.code ? &release->err : NULL);
}

static void put_start(struct release *release)
{
    if (work_start(release->vms->loop, put_run, put_done, release) == 0) {
        release->vms->volumes.works++;
        return;
    }
    /* The copies are on disk, and the lease's file says so: they are the next poold's. */
    finish_saying(release, ENOMEM, "out of memory");
}

/* ---- The copies are synced: from here on they are not lost ---- */

static void settle_run(void *data)
{
    struct release *release = data;
    const struct volume_dirs *dirs = &release->vms->volumes.dirs;

    for (unsigned i = 0; i < release->copy_count && !release->err.code; i++) {
        const struct copy *copy = &release->copies[i];

        (void)volume_data_settle(dirs, copy->work, copy->record.bytes, &release->err);
    }
    if (!release->err.code)
        (void)state_file_write(dirs->leases_fd, release->lease, release->lease_text, &release->err);
}

static void attachments_drop(struct vms *vms, const char *lease, bool file);

static void settle_done(void *data)
{
    struct release *release = data;
    struct vms *vms = release->vms;
    struct slot *slot = volume_slot_of(vms, release->lease);
    char lease[SLOT_ID_BYTES];

    vms->volumes.works--;
    release->settling = false;
    memcpy(lease, release->lease, sizeof lease);
    if (release->err.code) {
        const bool over = release->over;

        finish(release, &release->err);
        if (over)
            attachments_drop(vms, lease, true);
        return;
    }
    for (unsigned i = 0; i < release->copy_count; i++)
        release->copies[i].attachment->saved = true;
    if (release->over)
        volumes_lease_over(vms, lease);
    else if (slot)
        pool_release(slot, (enum lease_end)release->end);
    /* Else its VM is on its way out. */
}

/* ---- The guest unmounts ---- */

static int on_connect(void *owner, int fd)
{
    const struct release *release = owner;

    return volume_agent_connect(release->vms, release->lease, fd);
}

static void on_frame(void *owner, const struct agent_frame *frame, const uint8_t *payload)
{
    struct release *release = owner;
    char sentence[AGENT_SENTENCE_BYTES];

    if (frame->type != AGENT_DONE) {
        finish_saying(release, EIO,
                      frame->type == AGENT_ERROR ? agent_error_sentence(frame, payload, sentence)
                                                 : "the agent sent a frame that is out of place");
        return;
    }
    agent_stream_close(take_pointer(&release->stream));
    if (work_start(release->vms->loop, settle_run, settle_done, release) < 0) {
        finish_saying(release, ENOMEM, "out of memory");
        return;
    }
    release->settling = true;
    release->vms->volumes.works++;
}

static void on_broken(void *owner, const char *why)
{
    finish_saying(owner, EIO, why);
}

static const struct agent_stream_ops stream_ops = {
    .connect = on_connect,
    .frame = on_frame,
    .broken = on_broken,
};

/* ---- The beginning ---- */

static bool is_of(const struct attachment *attachment, const char *lease)
{
    return strcmp(attachment->lease, lease) == 0;
}

static bool is_unsaved(const struct attachment *attachment)
{
    return attachment->work[0] && attachment->mounted && !attachment->saved;
}

bool volumes_unsaved(const struct vms *vms, const struct slot *slot)
{
    LIST_FOR_EACH(at, &vms->volumes.attachments)
    {
        const struct attachment *attachment = list_entry(at, struct attachment, node);

        if (is_of(attachment, slot->id) && is_unsaved(attachment))
            return true;
    }
    return false;
}

/* What is to be saved, or was. False: the lease is given a volume at the moment. */
static bool copies_take(struct release *release, bool saved)
{
    LIST_FOR_EACH(at, &release->vms->volumes.attachments)
    {
        struct attachment *attachment = list_entry(at, struct attachment, node);
        struct copy *copy = &release->copies[release->copy_count];

        if (!is_of(attachment, release->lease))
            continue;
        if (attachment->working || attachment->stream)
            return false;
        if (saved ? !attachment->saved : !is_unsaved(attachment))
            continue;
        *copy = (struct copy){ .attachment = attachment, .record = attachment->volume->record };
        memcpy(copy->id, attachment->volume->id, sizeof copy->id);
        memcpy(copy->work, attachment->work, sizeof copy->work);
        release->copy_count++;
    }
    return true;
}

static struct release *release_make(struct vms *vms, const char *lease)
{
    struct release *release = calloc(1, sizeof *release);

    if (!release)
        return NULL;
    release->vms = vms;
    memcpy(release->lease, lease, sizeof release->lease);
    list_append(&vms->volumes.releases, &release->node);
    return release;
}

void volumes_release(struct vms *vms, struct slot *slot, uint32_t end,
                     void (*done)(void *data, const struct err *err), void *data)
{
    struct release *release =
        release_of(&vms->volumes, slot->id) ? NULL : release_make(vms, slot->id);
    struct err err;

    if (!release) {
        err_set(&err, EBUSY, "the lease is being released");
        done(data, &err);
        return;
    }
    release->end = end;
    release->done = done;
    release->data = data;
    if (!copies_take(release, false)) {
        finish_saying(release, EBUSY, "the lease is given a volume at the moment");
        return;
    }
    release->lease_text = volume_lease_text(&vms->volumes, slot->id, true);
    int rc = release->lease_text
                 ? agent_stream_open(&release->stream, vms->loop, &stream_ops, release)
                 : -ENOMEM;
    if (rc == 0)
        rc = agent_stream_send(release->stream, AGENT_UNMOUNT, NULL, 0);
    if (rc < 0)
        finish_saying(release, EIO, "the VM takes no stream");
}

/* Of a lease that an earlier poold had saved, but not ended, there is no release. NULL: of none. */
static struct release *release_resume(struct vms *vms, const char *lease)
{
    struct release *release;

    LIST_FOR_EACH(at, &vms->volumes.attachments)
    {
        const struct attachment *attachment = list_entry(at, struct attachment, node);

        if (!is_of(attachment, lease) || !attachment->saved)
            continue;
        release = release_make(vms, lease);
        if (release)
            (void)copies_take(release, true);
        return release;
    }
    return NULL;
}

/* ---- The VM is gone ---- */

/* All that the lease has but what is saved; file: with its file, as nothing is. */
static void attachments_drop(struct vms *vms, const char *lease, bool file)
{
    LIST_FOR_EACH(at, &vms->volumes.attachments)
    {
        struct attachment *attachment = list_entry(at, struct attachment, node);
        char work[VOLUME_DATA_BYTES];

        if (!is_of(attachment, lease) || attachment->saved)
            continue;
        if (attachment->working) { /* its work's end drops it */
            attachment->over = true;
            continue;
        }
        if (is_unsaved(attachment))
            log_info("volume %s: what lease %s wrote is thrown away: it was not released",
                     attachment->volume->id, lease);
        memcpy(work, attachment->work, sizeof work);
        volume_attachment_end(attachment);
        volume_work_remove(vms, work, file ? lease : NULL);
    }
}

void volumes_lease_over(struct vms *vms, const char *lease)
{
    struct volumes *volumes = &vms->volumes;
    struct release *release;

    if (list_empty(&volumes->attachments))
        return;
    release = release_of(volumes, lease);
    if (!release)
        release = release_resume(vms, lease);
    const bool saved = release && !release->stream;
    if (release && release->settling) {
        release->over = true;
        return;
    }
    attachments_drop(vms, lease, !saved);
    if (saved)
        put_start(release);
    else if (release)
        finish_saying(release, ENOTCONN, "the lease ended before its volumes were unmounted");
}
