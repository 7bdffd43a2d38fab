/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the way of a volume into a leased VM; see volumes.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/work.h"
#include "vms/agent_stream.h"
#include "vms/clone.h"
#include "vms/volume_lease.h"
#include "vms/volume_steps.h"

static const struct err lease_ended = { .code = ENOTCONN, .msg = "the lease has ended" };

/* ---- Its end ---- */

static void answer(struct attachment *attachment, const struct err *err)
{
    if (attachment->done)
        attachment->done(attachment->done_data, attachment, err);
    attachment->done = NULL;
}

/* It has not got to the VM: nothing of it stays. file: nor of the lease's file. */
static void undo(struct attachment *attachment, const struct err *err, bool file)
{
    struct vms *vms = attachment->vms;
    char work[VOLUME_DATA_BYTES], lease[SLOT_ID_BYTES];

    answer(attachment, err);
    memcpy(work, attachment->work, sizeof work);
    memcpy(lease, attachment->lease, sizeof lease);
    attachment_free(attachment);
    volume_work_remove(vms, work, file ? lease : NULL);
}

void volume_attachment_end(struct attachment *attachment)
{
    agent_stream_close(take_pointer(&attachment->stream));
    answer(attachment, &lease_ended);
    attachment_free(attachment);
}

/* It has, but is not mounted: its slot is taken until the lease ends. */
static void fail(struct attachment *attachment, const char *what)
{
    struct err err;

    agent_stream_close(take_pointer(&attachment->stream));
    err_set(&err, EIO, "%s", what);
    answer(attachment, &err);
}

/* ---- The guest ---- */

int volume_agent_connect(const struct vms *vms, const char *lease, int fd)
{
    struct control_msg msg = { .type = CONTROL_VSOCK_CONNECT };
    struct slot *slot = volume_slot_of(vms, lease);

    msg.u.vsock_connect.port = AGENT_VSOCK_PORT;
    return slot ? clone_connect(slot, &msg, fd) : -ENOTCONN;
}

static int on_connect(void *owner, int fd)
{
    const struct attachment *attachment = owner;

    return volume_agent_connect(attachment->vms, attachment->lease, fd);
}

static void note_run(void *data)
{
    struct attachment *attachment = data;
    const int leases_fd = attachment->vms->volumes.dirs.leases_fd;

    (void)state_file_write(leases_fd, attachment->lease, attachment->lease_text, &attachment->err);
}

static void note_done(void *data)
{
    struct attachment *attachment = data;

    attachment->vms->volumes.works--;
    attachment->working = false;
    if (attachment->over)
        undo(attachment, &lease_ended, true);
    else
        answer(attachment, attachment->err.code ? &attachment->err : NULL);
}

/* What a lease writes is worth keeping once its copy is whole and mounted. The next poold must know that
 * before the client does, who may begin to write then. False: no memory. */
static bool note_start(struct attachment *attachment)
{
    struct volumes *volumes = &attachment->vms->volumes;

    free(attachment->lease_text);
    attachment->lease_text = volume_lease_text(volumes, attachment->lease, false);
    attachment->working =
        attachment->lease_text && work_start(volumes->loop, note_run, note_done, attachment) == 0;
    volumes->works += attachment->working;
    return attachment->working;
}

static void on_frame(void *owner, const struct agent_frame *frame, const uint8_t *payload)
{
    struct attachment *attachment = owner;
    char sentence[AGENT_SENTENCE_BYTES];

    if (frame->type != AGENT_DONE) {
        fail(attachment, frame->type == AGENT_ERROR
                             ? agent_error_sentence(frame, payload, sentence)
                             : "the agent sent a frame that is out of place");
        return;
    }
    attachment->mounted = true;
    if (attachment->mode != CONTROL_VOLUME_IN_PLACE) {
        agent_stream_close(take_pointer(&attachment->stream));
        answer(attachment, NULL);
    } else if (note_start(attachment)) {
        agent_stream_close(take_pointer(&attachment->stream));
    } else {
        fail(attachment, "out of memory");
    }
}

static void on_broken(void *owner, const char *why)
{
    fail(owner, why);
}

static const struct agent_stream_ops stream_ops = {
    .connect = on_connect,
    .frame = on_frame,
    .broken = on_broken,
};

static void mount_ask(struct attachment *attachment)
{
    struct {
        struct agent_mount head;
        char path[AGENT_MOUNT_PATH_BYTES];
    } request = { .head = { .slot = attachment->slot,
                            .flags = attachment->mode == CONTROL_VOLUME_READ_ONLY
                                         ? AGENT_MOUNT_READ_ONLY
                                         : 0 } };
    int rc = agent_stream_open(&attachment->stream, attachment->vms->volumes.loop, &stream_ops,
                               attachment);

    memcpy(request.path, attachment->path, sizeof request.path);
    if (rc == 0)
        rc = agent_stream_send(attachment->stream, AGENT_MOUNT, &request,
                               sizeof request.head + strlen(request.path) + 1);
    if (rc < 0)
        fail(attachment, "the VM takes no stream");
}

/* ---- The VM ---- */

static void hand_over(struct attachment *attachment)
{
    struct control_msg msg = { .type = CONTROL_VOLUME };
    struct slot *slot = volume_slot_of(attachment->vms, attachment->lease);
    struct err err;

    msg.u.volume.slot = attachment->slot;
    msg.u.volume.mode = attachment->mode;
    msg.u.volume.bytes = attachment->volume->record.bytes;
    int rc =
        slot ? clone_send(slot, &msg, attachment->fds, attachment->fds[1] >= 0 ? 2 : 1) : -ENOTCONN;
    if (rc < 0) {
        err_set_errno(&err, -rc, "the VM takes no volume");
        undo(attachment, &err, !attachment->lease_before);
        return;
    }
    close_fd(&attachment->fds[0]);
    close_fd(&attachment->fds[1]);
    mount_ask(attachment);
}

/* ---- Its files ---- */

static int files_open(struct attachment *attachment, struct err *err)
{
    const struct volume_dirs *dirs = &attachment->vms->volumes.dirs;
    int rc;

    if (attachment->mode == CONTROL_VOLUME_IN_PLACE)
        return volume_data_copy(dirs, attachment->data, attachment->work, &attachment->fds[0], err);
    rc = attachment->fds[0] = volume_file_open(dirs, attachment->data, false);
    if (rc >= 0 && attachment->mode == CONTROL_VOLUME_COPY)
        rc = attachment->fds[1] = volume_scratch_make(dirs);
    return rc < 0 ? err_set_errno(err, -rc, "the volume's file") : 0;
}

/* What the lease's file said before: of what is not there, the next poold shall know nothing. */
static void note_undo(const struct attachment *attachment)
{
    const int leases_fd = attachment->vms->volumes.dirs.leases_fd;
    struct err err;
    int rc = attachment->lease_before
                 ? state_file_write(leases_fd, attachment->lease, attachment->lease_before, &err)
                 : state_file_delete(leases_fd, attachment->lease, &err);

    if (rc < 0)
        log_warn("lease %s: volumes: %s", attachment->lease, err.msg);
}

static void open_run(void *data)
{
    struct attachment *attachment = data;
    const int leases_fd = attachment->vms->volumes.dirs.leases_fd;

    /* First: of a copy that is made, the next poold shall know. */
    if (state_file_write(leases_fd, attachment->lease, attachment->lease_text, &attachment->err) ==
            0 &&
        files_open(attachment, &attachment->err) < 0)
        note_undo(attachment);
}

static bool open_start(struct attachment *attachment);

static void open_done(void *data)
{
    struct attachment *attachment = data;
    const struct err failed = attachment->err;

    attachment->vms->volumes.works--;
    attachment->working = false;
    if (attachment->over)
        undo(attachment, &lease_ended, true);
    else if (failed.code == ENOENT &&
             strcmp(attachment->data, attachment->volume->record.data) != 0 &&
             open_start(attachment))
        return; /* another lease has put new contents in the place of those */
    else if (failed.code)
        undo(attachment, &failed, false); /* as open_run has left it */
    else
        hand_over(attachment);
}

/* False: no memory. */
static bool open_start(struct attachment *attachment)
{
    memcpy(attachment->data, attachment->volume->record.data, sizeof attachment->data);
    attachment->err = (struct err){ 0 };
    attachment->working = work_start(attachment->vms->loop, open_run, open_done, attachment) == 0;
    attachment->vms->volumes.works += attachment->working;
    return attachment->working;
}

/* ---- Whether it may ---- */

/* The next free slot; -errno with a sentence. */
static int slot_pick(const struct vms *vms, const struct slot *slot,
                     const struct volume_request *request, struct err *err)
{
    const uint32_t slots = ((const struct hosted_pool *)slot->pool->owner)->spec.volumes;
    int used = 0;

    LIST_FOR_EACH(at, &vms->volumes.attachments)
    {
        const struct attachment *other = list_entry(at, struct attachment, node);

        if (strcmp(other->lease, slot->id) != 0)
            continue;
        if (other->working || other->stream)
            return err_set(err, EBUSY, "the lease is given another volume at the moment");
        if (strcmp(other->path, request->path) == 0)
            return err_set(err, EINVAL, "the lease has a volume at %s already", request->path);
        used++;
    }
    if (slots == 0)
        return err_set(err, ENOSR,
                       "VMs of pool '%s' have no slot for a volume: make the pool with 'volumes' "
                       "(voltctl pool create NAME --volumes 1)",
                       slot->pool->name);
    if (used >= (int)slots)
        return err_set(err, ENOSR, "the lease has %d volumes, as many as VMs of pool '%s' can have",
                       used, slot->pool->name);
    return used;
}

static int request_check(const struct vms *vms, const struct slot *slot,
                         const struct volume_request *request, struct err *err)
{
    const struct volume *volume = request->volume;

    if (volume->making || volume->deleting)
        return err_set(err, EBUSY, "the volume is being %s", volume->making ? "made" : "deleted");
    if (request->mode == CONTROL_VOLUME_IN_PLACE && strcmp(volume->record.filesystem, "ext4") != 0)
        return err_set(err, EINVAL, "an %s can't be written: take it with 'ro'",
                       volume->record.filesystem);
    if (request->mode == CONTROL_VOLUME_IN_PLACE && volume->written)
        return err_set(err, EBUSY, "another lease writes the volume: one at a time does");
    if (request->mode == CONTROL_VOLUME_IN_PLACE && vms->volumes.lease_unread)
        return err_set(err, EBUSY,
                       "no volume can be written: a file in volumes/leases could not be read when "
                       "poold started, as its log says");
    if (volume_releasing(&vms->volumes, slot->id))
        return err_set(err, EBUSY, "the lease is being released");
    return slot_pick(vms, slot, request, err);
}

/* Without lease_text: there was no memory for all of it. NULL: for none. */
static struct attachment *attachment_make(struct vms *vms, const struct slot *slot,
                                          const struct volume_request *request, uint32_t number)
{
    const bool is_ext4 = strcmp(request->volume->record.filesystem, "ext4") == 0;
    char *before = number > 0 ? volume_lease_text(&vms->volumes, slot->id, false) : NULL;
    struct attachment *attachment = attachment_add(vms, slot->id, request->volume);

    if (!attachment) {
        free(before);
        return NULL;
    }
    attachment->lease_before = before;
    attachment->slot = number;
    attachment->mode = is_ext4 ? request->mode : CONTROL_VOLUME_READ_ONLY;
    memcpy(attachment->path, request->path, sizeof attachment->path);
    if (attachment->mode == CONTROL_VOLUME_IN_PLACE) {
        volume_data_name(attachment->work);
        request->volume->written = true;
    }
    if (number == 0 || before)
        attachment->lease_text = volume_lease_text(&vms->volumes, slot->id, false);
    return attachment;
}

void volume_attach(struct vms *vms, struct slot *slot, const struct volume_request *request)
{
    struct err err;
    const int number = request_check(vms, slot, request, &err);
    struct attachment *attachment =
        number < 0 ? NULL : attachment_make(vms, slot, request, (uint32_t)number);

    if (number < 0) {
        request->done(request->data, NULL, &err);
        return;
    }
    if (!attachment || !attachment->lease_text || !open_start(attachment)) {
        if (attachment)
            attachment_free(attachment);
        err_set(&err, ENOMEM, "out of memory");
        request->done(request->data, NULL, &err);
        return;
    }
    attachment->done = request->done;
    attachment->done_data = request->data;
}
