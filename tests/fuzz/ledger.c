/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzes what a poold reads of another one's ledger: a record that is believed has texts that end and
 * numbers that are in bounds, whatever its bytes are. Input: how it is written, its state, its bytes. */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "fuzz.h"
#include "keep/ledger.h"
#include "net/net_address.h"

/* Where the first records of templates and VMs are. */
#define TEMPLATES_AT HOST_PAGE_BYTES
#define VMS_AT (TEMPLATES_AT + LEDGER_TEMPLATES_MAX * 512u)

enum way { WAY_WRITTEN, WAY_RAW_VM, WAY_RAW_TEMPLATE, WAY_HEADER, WAY_COUNT };

static void must_end(const char *text, size_t bytes)
{
    if (!memchr(text, '\0', bytes))
        abort();
}

static void vm_check(const struct ledger *ledger)
{
    struct ledger_vm vm;
    enum ledger_state state = ledger_vm_read(ledger, 0, &vm);

    if (state != LEDGER_PARKED && state != LEDGER_LEASED)
        return;
    must_end(vm.id, sizeof vm.id);
    must_end(vm.pool, sizeof vm.pool);
    must_end(vm.hostname, sizeof vm.hostname);
    must_end(vm.net.link, sizeof vm.net.link);
    if (vm.tier >= TIER_COUNT || vm.publish_count > NET_PUBLISH_MAX || vm.net.prefix_bits > 32 ||
        vm.net.number >= NET_HOSTS_MAX || vm.template_index >= LEDGER_TEMPLATES_MAX ||
        strlen(vm.id) != SLOT_ID_BYTES - 1)
        abort();
}

static void template_check(const struct ledger *ledger)
{
    struct ledger_template template;

    if (ledger_template_read(ledger, 0, &template) == LEDGER_READY)
        must_end(template.pool, sizeof template.pool);
}

static void write_whole(struct ledger *ledger, uint8_t state, const uint8_t *data, size_t bytes)
{
    struct ledger_template template = { 0 };
    struct ledger_vm vm = { 0 };

    memcpy(&vm, data, MIN_OF(bytes, sizeof vm));
    memcpy(&template, data, MIN_OF(bytes, sizeof template));
    ledger_vm_write(ledger, 0, &vm);
    ledger_template_write(ledger, 0, &template);
    ledger_vm_state(ledger, 0, (enum ledger_state)state);
    ledger_template_state(ledger, 0, (enum ledger_state)state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static const uint64_t at[WAY_COUNT] = { 0, VMS_AT, TEMPLATES_AT, 0 };
    struct ledger *ledger, *again = NULL;
    struct err err;

    if (bytes < 2 || ledger_create(&ledger, &err) < 0)
        return 0;
    enum way way = data[0] % WAY_COUNT;
    if (way == WAY_WRITTEN)
        write_whole(ledger, data[1], data + 2, bytes - 2);
    else
        pwrite_all(ledger_fd(ledger), data + 2, MIN_OF(bytes - 2, 2048), at[way]);
    if (ledger_open(dup(ledger_fd(ledger)), &again, &err) == 0) {
        if (ledger_vm_end(again) > LEDGER_VMS_MAX)
            abort();
        vm_check(again);
        template_check(again);
    } else if (way != WAY_HEADER) {
        abort();
    }
    ledger_close(again);
    ledger_close(ledger);
    return 0;
}
