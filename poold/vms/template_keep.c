/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what of a template outlives poold, and templates of an earlier one; see template.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "vms/template_internal.h"

void template_note_program(const char *path, struct ledger_template *ret)
{
    struct stat st;

    if (stat(path, &st) < 0)
        memset(&st, 0, sizeof st);
    ret->program_device = st.st_dev;
    ret->program_inode = st.st_ino;
    ret->program_mtime_ns = (uint64_t)st.st_mtim.tv_sec * NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
}

void template_keep(struct template *template)
{
    struct keep *keep = &template->hosted->vms->keep;
    const enum link_channel channels[] = { LINK_CONTROL, LINK_PIDFD, LINK_TEXT };
    int fds[ARRAY_LEN(channels)];
    uint32_t roles = 0;
    unsigned count = 0;

    for (unsigned i = 0; i < ARRAY_LEN(channels); i++) {
        if (template->link.fds[channels[i]] < 0)
            continue;
        roles |= 1u << i;
        fds[count++] = template->link.fds[channels[i]];
    }
    if (template->record == LEDGER_NONE)
        template->record = ledger_template_take(keep->ledger);
    if (template->record == LEDGER_NONE || !count)
        return;
    if (keep_put(keep, KEEP_TEMPLATE, template->record, roles, 0, fds) < 0)
        log_warn("pool '%s': its template will end with this poold", template->hosted->pool.name);
    ledger_template_write(keep->ledger, template->record, &template->entry);
    ledger_template_state(keep->ledger, template->record, LEDGER_READY);
}

void template_record_end(struct template *template)
{
    struct keep *keep = &template->hosted->vms->keep;

    if (template->record == LEDGER_NONE)
        return;
    keep_take_back(keep, KEEP_TEMPLATE, template->record, KEEP_ALL_ROLES);
    ledger_template_state(keep->ledger, template->record, LEDGER_FREE);
    template->record = LEDGER_NONE;
}

void template_record_fill(struct template *template)
{
    const struct hosted_pool *hosted = template->hosted;
    struct ledger_template *entry = &template->entry;

    snprintf(entry->pool, sizeof entry->pool, "%s", hosted->pool.name);
    entry->generation = hosted->generation;
    entry->control_version = CONTROL_VERSION;
    entry->has_working_set = template->has_working_set;
    entry->disk_writable = template->disk_writable;
    entry->policy = hosted->net.policy;
    ledger_numbers(hosted->vms->keep.ledger)->policy_next = hosted->vms->walls.next_policy;
}

/* ---- One of an earlier poold ---- */

static bool is_current(const struct hosted_pool *hosted, const struct ledger_template *entry)
{
    struct ledger_template now = { 0 };

    template_note_program(hosted->vms->settings->volt_vmm, &now);
    return entry->control_version == CONTROL_VERSION &&
           entry->program_device == now.program_device &&
           entry->program_inode == now.program_inode &&
           entry->program_mtime_ns == now.program_mtime_ns;
}

int template_adopt(struct hosted_pool *hosted, uint32_t record, const struct ledger_template *entry,
                   int fds[KEEP_ROLES_MAX])
{
    static const enum link_channel channels[] = { LINK_CONTROL, LINK_PIDFD, LINK_TEXT };
    struct template *template = template_create(hosted);

    if (!template)
        return -ENOMEM;
    template->record = record;
    template->entry = *entry;
    template->ready = true;
    template->has_working_set = entry->has_working_set;
    template->disk_writable = entry->disk_writable;
    template->next_cookie = now_ns(); /* beyond those that are on their way to an earlier poold */
    template->retired = hosted->template || !is_current(hosted, entry);
    if (template->retired)
        list_append(&hosted->retired, &template->node);
    else
        hosted->template = template;
    for (unsigned i = 0; i < ARRAY_LEN(channels); i++) {
        if (fds[i] >= 0)
            link_attach(&template->link, channels[i], take_fd(&fds[i]));
    }
    return 0;
}

static const struct template *find(const struct hosted_pool *hosted, uint32_t record)
{
    if (hosted->template && hosted->template->record == record)
        return hosted->template;
    LIST_FOR_EACH(at, &hosted->retired)
    {
        const struct template *template = list_entry(at, struct template, node);

        if (template->record == record)
            return template;
    }
    return NULL;
}

bool template_is_there(const struct hosted_pool *hosted, uint32_t record)
{
    return find(hosted, record) != NULL;
}

bool template_is_foreign(const struct hosted_pool *hosted, uint32_t record)
{
    const struct template *template = find(hosted, record);

    return template && template->entry.control_version != CONTROL_VERSION;
}

int template_fd(const struct hosted_pool *hosted, uint32_t record, enum link_channel channel)
{
    const struct template *template = find(hosted, record);

    return template ? template->link.fds[channel] : -1;
}

bool template_is_ready(const struct template *template)
{
    return template->ready && !template->killed;
}

bool template_has_working_set(const struct template *template)
{
    return template->entry.has_working_set;
}

void templates_keep(struct hosted_pool *hosted)
{
    if (hosted->template && hosted->template->ready)
        template_keep(hosted->template);
    LIST_FOR_EACH(at, &hosted->retired)
    {
        template_keep(list_entry(at, struct template, node));
    }
}

void templates_reap(struct hosted_pool *hosted,
                    bool (*has_vms)(struct hosted_pool *hosted, uint32_t record))
{
    LIST_FOR_EACH(at, &hosted->retired)
    {
        struct template *template = list_entry(at, struct template, node);

        if (!has_vms(hosted, template->record))
            template_kill(template);
    }
}

void templates_retired_kill(struct hosted_pool *hosted)
{
    LIST_FOR_EACH(at, &hosted->retired)
    {
        template_kill(list_entry(at, struct template, node));
    }
}
