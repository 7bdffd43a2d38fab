/* SPDX-License-Identifier: Apache-2.0 */
/* Owns leases/LEASE.json, and what the next poold makes of it; see volume_lease.h. */
#include "vms/volume_lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "vms/volume_steps.h"

struct attachment *attachment_add(struct vms *vms, const char *lease, struct volume *volume)
{
    struct attachment *attachment = calloc(1, sizeof *attachment);

    if (!attachment)
        return NULL;
    attachment->vms = vms;
    attachment->volume = volume;
    memcpy(attachment->lease, lease, sizeof attachment->lease);
    attachment->fds[0] = attachment->fds[1] = -1;
    list_append(&vms->volumes.attachments, &attachment->node);
    volume->users++;
    return attachment;
}

void attachment_free(struct attachment *attachment)
{
    struct volume *volume = attachment->volume;

    volume->users--;
    volume->used_ns = now_ns();
    if (attachment->mode == CONTROL_VOLUME_IN_PLACE)
        volume->written = false;
    list_remove(&attachment->node);
    close_fd(&attachment->fds[0]);
    close_fd(&attachment->fds[1]);
    free(attachment->lease_text);
    free(attachment->lease_before);
    free(attachment);
}

int volume_contents_put(const struct volume_dirs *dirs, const char *id,
                        struct volume_record *record, const char *work, struct err *err)
{
    struct volume_record next = *record;

    memcpy(next.data, work, sizeof next.data);
    int rc = volume_record_write(dirs, id, &next, err);
    if (rc < 0)
        return rc;
    *record = next;
    return 0;
}

/* ---- The file ---- */

struct entry {
    char volume[STATE_NAME_BYTES], mode[8], path[AGENT_MOUNT_PATH_BYTES], work[VOLUME_DATA_BYTES];
    uint32_t slot;
    bool mounted, saved;
    enum control_volume_mode as; /* mode */
};

static const struct json_key entry_keys[] = {
    JSON_TEXT_KEY(struct entry, volume, "volume", JSON_KEY_TEXT, true, 1),
    JSON_TEXT_KEY(struct entry, mode, "mode", JSON_KEY_TEXT, true, 1),
    JSON_TEXT_KEY(struct entry, path, "path", JSON_KEY_TEXT, true, 1),
    JSON_TEXT_KEY(struct entry, work, "work", JSON_KEY_TEXT, false, 0),
    JSON_NUMBER_KEY(struct entry, slot, "slot", JSON_KEY_COUNT, true, 0, CONTROL_VOLUMES_MAX - 1),
    JSON_NUMBER_KEY(struct entry, mounted, "mounted", JSON_KEY_BOOL, false, 0, 0),
    JSON_NUMBER_KEY(struct entry, saved, "saved", JSON_KEY_BOOL, false, 0, 0),
};
static const struct json_table entry_table = JSON_TABLE(entry_keys);

static json_t *entry_make(const struct attachment *one, bool saved)
{
    struct entry entry = { .slot = one->slot,
                           .mounted = one->mounted,
                           .saved = saved && one->work[0] && one->mounted };

    memcpy(entry.volume, one->volume->id, sizeof entry.volume);
    memcpy(entry.path, one->path, sizeof entry.path);
    memcpy(entry.work, one->work, sizeof entry.work);
    strcpy(entry.mode, volume_mode_name(one->mode));
    return json_keys_write(&entry_table, &entry);
}

char *volume_lease_text(const struct volumes *volumes, const char *lease, bool saved)
{
    json_t *list = json_array(), *root = json_pack("{s:o}", "attachments", list);
    char *text;

    LIST_FOR_EACH(at, &volumes->attachments)
    {
        const struct attachment *one = list_entry(at, struct attachment, node);

        if (strcmp(one->lease, lease) != 0)
            continue;
        json_array_append_new(list, entry_make(one, saved));
    }
    text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    return text;
}

/* ---- The next poold ---- */

static int entry_read(const json_t *json, struct entry *ret, struct err *err)
{
    *ret = (struct entry){ 0 };
    int rc = json_keys_read(json, entry_keys, ARRAY_LEN(entry_keys), ret, err);
    if (rc == 0 && (strchr(ret->work, '/') || !volume_mode_parse(ret->mode, &ret->as)))
        rc = err_set(err, EINVAL, "\"work\" or \"mode\" is none of ours");
    return rc;
}

/* The lease goes on, and this with it. What was saved is put when the lease ends, whoever ends it. */
static void entry_adopt(struct vms *vms, const char *lease, const struct entry *entry,
                        struct volume *volume)
{
    struct attachment *attachment = attachment_add(vms, lease, volume);

    if (!attachment)
        return;
    attachment->slot = entry->slot;
    attachment->mode = entry->as;
    strcpy(attachment->path, entry->path);
    strcpy(attachment->work, entry->work);
    /* Of one that was on its way, or failed, the copy may not be whole. */
    attachment->mounted = entry->mounted;
    attachment->saved = entry->saved && entry->work[0];
    volume->written |= entry->as == CONTROL_VOLUME_IN_PLACE;
}

/* The lease is over. What had been saved is the volume's, though poold did not live to say so. Of a file
 * that was kept, it may have been put before, and have gone for what others wrote since. */
static void entry_settle(struct vms *vms, const struct entry *entry, struct volume *volume)
{
    struct err err;

    if (!entry->saved || !entry->work[0] ||
        faccessat(vms->volumes.dirs.data_fd, entry->work, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    /* What the volume had is nobody's any more, and removed with all such. */
    if (volume_contents_put(&vms->volumes.dirs, volume->id, &volume->record, entry->work, &err) < 0)
        log_error("the volume %s: what a lease has written to it is lost: %s", volume->id, err.msg);
    else
        log_info("the volume %s has what its last lease wrote", volume->id);
}

static void lease_unread(struct volumes *volumes, const char *lease, const struct err *err)
{
    log_error(
        "volumes/leases/%s.json can't be read: %s; mend it and start poold again, or remove it: "
        "until then no volume can be written",
        lease, err->msg);
    volumes->unread = volumes->lease_unread = true;
}

static void lease_read(void *data, const char *lease)
{
    struct vms *vms = data;
    const bool leased = strlen(lease) == SLOT_ID_BYTES - 1 && volume_slot_of(vms, lease);
    bool kept = leased;
    struct err err;
    json_t *root = state_file_read(vms->volumes.dirs.leases_fd, lease, &err), *one;
    size_t i;

    if (!root) {
        lease_unread(&vms->volumes, lease, &err);
        return;
    }
    json_array_foreach(json_object_get(root, "attachments"), i, one)
    {
        struct entry entry;

        if (entry_read(one, &entry, &err) < 0) {
            lease_unread(&vms->volumes, lease, &err);
            kept = true;
            continue;
        }
        struct volume *volume = volume_find(&vms->volumes, entry.volume);
        if (volume && leased)
            entry_adopt(vms, lease, &entry, volume);
        else if (volume)
            entry_settle(vms, &entry, volume);
        else
            kept |= vms->volumes.unread; /* it may be of a volume that could not be read */
    }
    json_decref(root);
    if (!kept && state_file_delete(vms->volumes.dirs.leases_fd, lease, &err) < 0)
        log_warn("volumes: %s", err.msg);
}

static bool data_used(void *context, const char *data)
{
    const struct volumes *volumes = context;

    LIST_FOR_EACH(at, &volumes->list)
    {
        if (strcmp(list_entry(at, struct volume, node)->record.data, data) == 0)
            return true;
    }
    LIST_FOR_EACH(at, &volumes->attachments)
    {
        if (strcmp(list_entry(at, struct attachment, node)->work, data) == 0)
            return true;
    }
    return false;
}

void volumes_adopt(struct vms *vms)
{
    const int rc = volume_files_each(vms->volumes.dirs.leases_fd, lease_read, vms);
    struct err err;

    if (rc < 0) {
        err_set_errno(&err, -rc, "reading the folder");
        lease_unread(&vms->volumes, "*", &err);
    }
    if (!vms->volumes.unread)
        volume_data_clean(&vms->volumes.dirs, data_used, &vms->volumes);
}
