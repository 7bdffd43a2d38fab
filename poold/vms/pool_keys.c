/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the table of a pool's keys, and what is made of it; see pool_keys.h. */
#include "vms/pool_keys.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json_text.h"
#include "base/util.h"
#include "machine/vm_state.h"
#include "memory/guest_mem.h"

#define VMS_MAX 100000

/* A row: member of struct pool_body, name, kind, range (texts: least length), whether it must be in
 * pools/NAME.json (older versions did not write all), how it is shown, help and default. ASKED: kept
 * under another row's name. */
#define POOL_LIMITS(NUMBER)                                                                        \
    NUMBER(min, "min", JSON_KEY_COUNT, 0, VMS_MAX, MUST, NOT, "VMs kept parked", "2")              \
    NUMBER(max, "max", JSON_KEY_COUNT, 1, VMS_MAX, MUST, NOT, "VMs in all", "64")                  \
    NUMBER(shells, "shells", JSON_KEY_COUNT, 0, VMS_MAX, MUST, AS_IS,                              \
           "processes kept ready without state", "0")

#define POOL_KEYS(TEXT, NUMBER, ASKED)                                                             \
    ASKED(spec.memory_bytes, "memory", JSON_KEY_SIZE, GUEST_RAM_BYTES_MIN, GUEST_RAM_BYTES_MAX,    \
          NOT, "memory of each VM, a multiple of 2M", "128M")                                      \
    NUMBER(spec.memory_bytes, "memory_bytes", JSON_KEY_LONG, GUEST_RAM_BYTES_MIN,                  \
           GUEST_RAM_BYTES_MAX, MUST, NOT, "the same in bytes", "")                                \
    NUMBER(spec.vcpus, "vcpus", JSON_KEY_COUNT, 1, VM_VCPUS_MAX, MUST, NOT,                        \
           "virtual CPUs of each VM", "1")                                                         \
    POOL_LIMITS(NUMBER)                                                                            \
    TEXT(spec.warmup, "warmup", JSON_KEY_TEXT, 0, MUST, OR_NULL,                                   \
         "command that is run by /bin/sh -c before the snapshot is taken", "none")                 \
    TEXT(spec.service, "service", JSON_KEY_TEXT, 0, MAY, OR_NULL,                                  \
         "command that /bin/sh -c starts before the snapshot and that goes on in each VM", "none") \
    NUMBER(spec.service_port, "service_port", JSON_KEY_COUNT, 1, 65535, MAY, OR_NULL,              \
           "TCP port at which it accepts connections, which it finds in PORT", "none")             \
    NUMBER(spec.service_gate, "service_gate", JSON_KEY_BOOL, 0, 0, MAY, OR_NULL,                   \
           "instead: it asks for its calls by Lambda's Runtime API", "no")                         \
    NUMBER(spec.service_bell, "service_bell", JSON_KEY_BOOL, 0, 0, MAY, OR_NULL,                   \
           "instead: it waits for them at the VM's doorbell; nobody else gets the VMs", "no")      \
    TEXT(spec.kernel, "kernel", JSON_KEY_AUTO_PATH, 1, MUST, AS_IS,                                \
         "guest kernel, an absolute path or auto", "auto")                                         \
    TEXT(spec.initrd, "initrd", JSON_KEY_AUTO_PATH, 1, MUST, OR_NULL,                              \
         "initramfs, an absolute path or auto", "auto")                                            \
    TEXT(spec.cmdline, "cmdline", JSON_KEY_TEXT, 0, MUST, AS_IS,                                   \
         "added to the kernel's command line", "")                                                 \
    TEXT(spec.image, "image", JSON_KEY_NAME, 1, MAY, OR_NULL,                                      \
         "root file system, an image of the store (voltctl image build)", "none")                  \
    TEXT(spec.disk, "disk", JSON_KEY_PATH, 1, MAY, OR_NULL,                                        \
         "disk /dev/vda, a file or block device; VMs write to copies of their own", "none")        \
    NUMBER(spec.disk_read_only, "disk_read_only", JSON_KEY_BOOL, 0, 0, MAY, WITH_DISK,             \
           "VMs can't write to their disk", "no")                                                  \
    NUMBER(spec.disk_bandwidth, "disk_bandwidth", JSON_KEY_SIZE, 512, INT64_MAX, MAY, WITH_DISK,   \
           "bytes a second to and from each VM's disk", "no limit")                                \
    NUMBER(spec.disk_iops, "disk_iops", JSON_KEY_COUNT, 1, UINT32_MAX, MAY, WITH_DISK,             \
           "operations a second of each VM's disk", "no limit")                                    \
    TEXT(spec.net.kind, "net", JSON_KEY_TEXT, 1, MAY, OR_NULL,                                     \
         "network: none, user, tap, bridge=LINK or macvtap=LINK", "none")                          \
    TEXT(spec.net.address, "net_address", JSON_KEY_TEXT, 1, MAY, WITH_NET,                         \
         "where the VMs' addresses are from", POOL_NET_ADDRESS_DEFAULT)                            \
    NUMBER(spec.net.bandwidth, "net_bandwidth", JSON_KEY_SIZE, 1024, INT64_MAX, MAY, WITH_NET,     \
           "bytes a second each way of each VM", "no limit")                                       \
    NUMBER(spec.net.pps, "net_pps", JSON_KEY_COUNT, 1, UINT32_MAX, MAY, WITH_NET,                  \
           "frames a second each way of each VM", "no limit")                                      \
    TEXT(spec.net.vhost, "net_vhost", JSON_KEY_TEXT, 1, MAY, DEFAULT_WITH_NET,                     \
         "vhost-net moves a tap's frames: auto, on or off", "auto")                                \
    TEXT(spec.net.allow, "net_allow", JSON_KEY_TEXT, 0, MAY, WITH_NET,                             \
         "what VMs reach though every pool denies it: CIDR[:PORT], ... or host", "none")           \
    TEXT(spec.net.deny, "net_deny", JSON_KEY_TEXT, 0, MAY, WITH_NET,                               \
         "what VMs don't reach; the most specific rule decides", "none")                           \
    NUMBER(spec.net.any_source, "net_any_source", JSON_KEY_BOOL, 0, 0, MAY, WITH_NET,              \
           "VMs may send with any MAC and address", "no")                                          \
    NUMBER(spec.balloon, "balloon", JSON_KEY_BOOL, 0, 0, MAY, AS_IS,                               \
           "memory that a guest frees goes back to the host", "no")                                \
    NUMBER(spec.volumes, "volumes", JSON_KEY_COUNT, 0, CONTROL_VOLUMES_MAX, MAY, AS_IS,            \
           "volumes that each lease can be given", "0")                                            \
    NUMBER(spec.priority, "priority", JSON_KEY_COUNT, 0, 1000, MAY, AS_IS,                         \
           "goes before pools of a lower one where all want more than there is", "0")              \
    NUMBER(spec.cpu_weight, "cpu_weight", JSON_KEY_COUNT, 1, 10000, MAY, OR_NULL,                  \
           "share of the CPUs of each VM, where everyone's default is 100", "100")                 \
    NUMBER(spec.cpu_percent, "cpu_percent", JSON_KEY_COUNT, 1, 100 * VM_VCPUS_MAX, MAY, OR_NULL,   \
           "CPU time of each VM, in percent of one CPU", "no limit")

/* ---- As it is asked for ---- */

#define BODY_TEXT(member, name, kind, least, must, shown, help, fallback)                          \
    JSON_TEXT_KEY(struct pool_body, member, name, kind, false, least),
#define BODY_NUMBER(member, name, kind, least, most, must, shown, help, fallback)                  \
    JSON_NUMBER_KEY(struct pool_body, member, name, kind, false, least, most),
#define BODY_ASKED(member, name, kind, least, most, shown, help, fallback)                         \
    JSON_NUMBER_KEY(struct pool_body, member, name, kind, false, least, most),

static const struct json_key body_keys[] = { JSON_TEXT_KEY(struct pool_body, name, "name",
                                                           JSON_KEY_NAME, true, 1),
                                             POOL_KEYS(BODY_TEXT, BODY_NUMBER, BODY_ASKED) };
const struct json_table pool_body_table = JSON_TABLE(body_keys);
const struct json_table pool_replace_table = { body_keys + 1, ARRAY_LEN(body_keys) - 1 };

static const struct json_key limit_keys[] = { POOL_LIMITS(BODY_NUMBER) };
const struct json_table pool_limit_table = JSON_TABLE(limit_keys);

/* ---- As it is kept ---- */

#define MUST true
#define MAY false
/* Paths were checked when they were asked for, and "" is none. */
#define RECORD_TEXT(member, name, kind, least, must, shown, help, fallback)                        \
    JSON_TEXT_KEY(struct pool_record, body.member, name, JSON_KEY_TEXT, must, 0),
#define RECORD_NUMBER(member, name, kind, least, most, must, shown, help, fallback)                \
    JSON_NUMBER_KEY(struct pool_record, body.member, name, kind, must, (must) ? (least) : 0, most),
#define RECORD_ASKED(member, name, kind, least, most, shown, help, fallback)

static const struct json_key record_keys[] = {
    POOL_KEYS(RECORD_TEXT, RECORD_NUMBER, RECORD_ASKED)
        JSON_TEXT_KEY(struct pool_record, created, "created", JSON_KEY_TEXT, true, 0),
    JSON_NUMBER_KEY(struct pool_record, cold_boot_ms, "cold_boot_ms", JSON_KEY_LONG, true, 0,
                    UINT32_MAX),
    JSON_NUMBER_KEY(struct pool_record, snapshot_ms, "snapshot_ms", JSON_KEY_LONG, true, 0,
                    UINT32_MAX),
    JSON_NUMBER_KEY(struct pool_record, draining, "draining", JSON_KEY_BOOL, false, 0, 0),
    JSON_NUMBER_KEY(struct pool_record, booting, "booting", JSON_KEY_BOOL, false, 0, 0),
};
const struct json_table pool_record_table = JSON_TABLE(record_keys);

/* ---- As it is shown and told ---- */

#define KEY_TEXT(member, name, kind, least, must, shown_, help_, fallback_)                        \
    { .key = JSON_TEXT_KEY(struct pool_body, member, name, kind, false, least),                    \
      .shown = POOL_SHOWN_##shown_,                                                                \
      .help = (help_),                                                                             \
      .fallback = (fallback_) },
#define KEY_NUMBER(member, name, kind, least, most, must, shown_, help_, fallback_)                \
    { .key = JSON_NUMBER_KEY(struct pool_body, member, name, kind, false, least, most),            \
      .shown = POOL_SHOWN_##shown_,                                                                \
      .help = (help_),                                                                             \
      .fallback = (fallback_) },
#define KEY_ASKED(member, name, kind, least, most, shown_, help_, fallback_)                       \
    KEY_NUMBER(member, name, kind, least, most, false, shown_, help_, fallback_)

const struct pool_key pool_keys[] = { POOL_KEYS(KEY_TEXT, KEY_NUMBER, KEY_ASKED) };
const size_t pool_key_count = ARRAY_LEN(pool_keys);

const char *pool_key_values(const struct json_key *key, char ret[POOL_KEY_VALUES_BYTES])
{
    static const char *const words[] = {
        [JSON_KEY_TEXT] = "text",
        [JSON_KEY_PATH] = "absolute path",
        [JSON_KEY_AUTO_PATH] = "absolute path, auto",
        [JSON_KEY_NAME] = "name",
        [JSON_KEY_BOOL] = "yes, no",
    };
    const bool sizes = key->kind != JSON_KEY_COUNT;
    char least[SIZE_TEXT_BYTES], most[SIZE_TEXT_BYTES];

    if (key->kind < ARRAY_LEN(words) && words[key->kind]) {
        snprintf(ret, POOL_KEY_VALUES_BYTES, "%s", words[key->kind]);
        return ret;
    }
    snprintf(least, sizeof least, "%" PRIu64, key->min);
    snprintf(most, sizeof most, "%" PRIu64, key->max);
    if (sizes) {
        size_text(key->min, least);
        size_text(key->max, most);
    }
    if (key->max >= UINT32_MAX && key->max != GUEST_RAM_BYTES_MAX)
        snprintf(ret, POOL_KEY_VALUES_BYTES, "from %s", least);
    else
        snprintf(ret, POOL_KEY_VALUES_BYTES, "%s to %s", least, most);
    return ret;
}

json_t *pool_keys_show(const struct pool_body *body)
{
    const bool disk = body->spec.image[0] || body->spec.disk[0], net = body->spec.net.kind[0];
    json_t *object = json_object();

    for (size_t i = 0; i < pool_key_count; i++) {
        const struct pool_key *row = &pool_keys[i];
        const bool empty = json_key_empty(&row->key, body);

        if (row->shown == POOL_SHOWN_NOT || (row->shown == POOL_SHOWN_WITH_DISK && !disk) ||
            (row->shown >= POOL_SHOWN_WITH_NET && !net))
            continue;
        if (row->shown == POOL_SHOWN_OR_NULL && empty)
            json_object_set_new(object, row->key.name, json_null());
        else if (row->shown == POOL_SHOWN_DEFAULT_WITH_NET && empty)
            json_object_set_new(object, row->key.name, json_text(row->fallback));
        else
            json_object_set_new(object, row->key.name, json_key_value(&row->key, body));
    }
    return json_texts_clean(object);
}
