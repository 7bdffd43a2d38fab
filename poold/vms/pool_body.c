/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the keys of a pool, their meaning and their checks; see pool_body.h. */
#include "vms/pool_body.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/ini.h"
#include "base/util.h"
#include "machine/vm_state.h"
#include "memory/guest_mem.h"
#include "vms/pool_files.h"

#define VMS_MAX 100000
#define MEMORY_STEP MIB(2)

#define BODY_TEXT(member, name, kind, required, least)                                             \
    JSON_TEXT_KEY(struct pool_body, member, name, kind, required, least)
#define BODY_NUMBER(member, name, kind, least, most)                                               \
    JSON_NUMBER_KEY(struct pool_body, member, name, kind, false, least, most)
#define LIMITS                                                                                     \
    BODY_NUMBER(min, "min", JSON_KEY_COUNT, 0, VMS_MAX),                                           \
        BODY_NUMBER(max, "max", JSON_KEY_COUNT, 1, VMS_MAX),                                       \
        BODY_NUMBER(shells, "shells", JSON_KEY_COUNT, 0, VMS_MAX)

static const struct json_key pool_body_keys[] = {
    BODY_TEXT(name, "name", JSON_KEY_NAME, true, 1),
    BODY_NUMBER(spec.memory_bytes, "memory", JSON_KEY_SIZE, GUEST_RAM_BYTES_MIN,
                GUEST_RAM_BYTES_MAX),
    BODY_NUMBER(spec.memory_bytes, "memory_bytes", JSON_KEY_LONG, GUEST_RAM_BYTES_MIN,
                GUEST_RAM_BYTES_MAX),
    BODY_NUMBER(spec.vcpus, "vcpus", JSON_KEY_COUNT, 1, VM_VCPUS_MAX),
    BODY_NUMBER(spec.cpu_weight, "cpu_weight", JSON_KEY_COUNT, 1, 10000),
    BODY_NUMBER(spec.cpu_percent, "cpu_percent", JSON_KEY_COUNT, 1, 100 * VM_VCPUS_MAX),
    BODY_TEXT(spec.kernel, "kernel", JSON_KEY_AUTO_PATH, false, 1),
    BODY_TEXT(spec.initrd, "initrd", JSON_KEY_AUTO_PATH, false, 1),
    BODY_TEXT(spec.cmdline, "cmdline", JSON_KEY_TEXT, false, 0),
    BODY_TEXT(spec.warmup, "warmup", JSON_KEY_TEXT, false, 0),
    BODY_TEXT(spec.image, "image", JSON_KEY_NAME, false, 1),
    BODY_TEXT(spec.disk, "disk", JSON_KEY_PATH, false, 1),
    BODY_NUMBER(spec.disk_read_only, "disk_read_only", JSON_KEY_BOOL, 0, 0),
    BODY_NUMBER(spec.disk_bandwidth, "disk_bandwidth", JSON_KEY_SIZE, 512, INT64_MAX),
    BODY_TEXT(spec.net.kind, "net", JSON_KEY_TEXT, false, 1),
    BODY_TEXT(spec.net.address, "net_address", JSON_KEY_TEXT, false, 1),
    BODY_NUMBER(spec.net.bandwidth, "net_bandwidth", JSON_KEY_SIZE, 1024, INT64_MAX),
    BODY_NUMBER(spec.net.pps, "net_pps", JSON_KEY_COUNT, 1, UINT32_MAX),
    BODY_TEXT(spec.net.vhost, "net_vhost", JSON_KEY_TEXT, false, 1),
    BODY_TEXT(spec.net.allow, "net_allow", JSON_KEY_TEXT, false, 0),
    BODY_TEXT(spec.net.deny, "net_deny", JSON_KEY_TEXT, false, 0),
    BODY_NUMBER(spec.net.any_source, "net_any_source", JSON_KEY_BOOL, 0, 0),
    BODY_NUMBER(spec.balloon, "balloon", JSON_KEY_BOOL, 0, 0),
    BODY_NUMBER(spec.disk_iops, "disk_iops", JSON_KEY_COUNT, 1, UINT32_MAX),
    LIMITS,
};
const struct json_table pool_body_table = JSON_TABLE(pool_body_keys);

static const struct json_key pool_limit_keys[] = { LIMITS };
const struct json_table pool_limit_table = JSON_TABLE(pool_limit_keys);

const struct pool_key_text pool_key_texts[] = {
    { "memory", "memory of each VM, a multiple of 2M", "128M" },
    { "memory_bytes", "the same in bytes", "" },
    { "vcpus", "virtual CPUs of each VM", "1" },
    { "min", "VMs kept parked", "2" },
    { "max", "VMs in all", "64" },
    { "shells", "processes kept ready without state", "0" },
    { "warmup", "command that is run by /bin/sh -c before the snapshot is taken", "none" },
    { "kernel", "guest kernel, an absolute path or auto", "auto" },
    { "initrd", "initramfs, an absolute path or auto", "auto" },
    { "cmdline", "added to the kernel's command line", "" },
    { "image", "root file system, an image of the store (voltctl image build)", "none" },
    { "disk", "disk /dev/vda, a file or block device; VMs write to copies of their own", "none" },
    { "disk_read_only", "VMs can't write to their disk", "no" },
    { "disk_bandwidth", "bytes a second to and from each VM's disk", "no limit" },
    { "disk_iops", "operations a second of each VM's disk", "no limit" },
    { "net", "network: none, user, tap, bridge=LINK or macvtap=LINK", "none" },
    { "net_address", "where the VMs' addresses are from", POOL_NET_ADDRESS_DEFAULT },
    { "net_bandwidth", "bytes a second each way of each VM", "no limit" },
    { "net_pps", "frames a second each way of each VM", "no limit" },
    { "net_vhost", "vhost-net moves a tap's frames: auto, on or off", "auto" },
    { "net_allow", "what VMs reach though every pool denies it: CIDR[:PORT], ... or host", "none" },
    { "net_deny", "what VMs don't reach; the most specific rule decides", "none" },
    { "net_any_source", "VMs may send with any MAC and address", "no" },
    { "balloon", "memory that a guest frees goes back to the host", "no" },
    { "cpu_weight", "share of the CPUs of each VM, where everyone's default is 100", "100" },
    { "cpu_percent", "CPU time of each VM, in percent of one CPU", "no limit" },
};
const size_t pool_key_text_count = ARRAY_LEN(pool_key_texts);

void pool_body_default(struct pool_body *body)
{
    *body = (struct pool_body){
        .spec = { .memory_bytes = MIB(128), .vcpus = 1, .net.address = POOL_NET_ADDRESS_DEFAULT },
        .min = 2,
        .max = 64,
    };
}

json_t *pool_body_value(const struct json_key *key, const char *text, struct err *err)
{
    json_t *value = NULL;
    char *end;
    bool flag;

    switch (key->kind) {
    case JSON_KEY_BOOL:
        if (!ini_parse_flag(text, &flag))
            err_set(err, EINVAL, "'%s' must be yes or no, not '%s'", key->name, text);
        else
            value = json_boolean(flag);
        return value;
    case JSON_KEY_COUNT:
    case JSON_KEY_LONG:
        errno = 0;
        long long number = strtoll(text, &end, 10);
        if (strspn(text, "-0123456789") == 0 || *end || errno)
            err_set(err, EINVAL, "'%s' must be a number from %llu to %llu, not '%.100s'", key->name,
                    (unsigned long long)key->min, (unsigned long long)key->max, text);
        else
            value = json_integer(number);
        return value;
    case JSON_KEY_TEXT:
    case JSON_KEY_PATH:
    case JSON_KEY_AUTO_PATH:
    case JSON_KEY_NAME:
    case JSON_KEY_SIZE:
        break;
    }
    value = json_string(text);
    if (!value)
        err_set(err, EINVAL, "'%s' is no UTF-8", key->name);
    return value;
}

int pool_body_check(const struct pool_body *body, struct err *err)
{
    if (body->min + (uint64_t)body->shells > body->max)
        return err_set(err, EINVAL,
                       "'min' and 'shells' together (%llu) must not be more than 'max' (%u)",
                       body->min + (unsigned long long)body->shells, body->max);
    if (body->spec.memory_bytes % MEMORY_STEP)
        return err_set(err, EINVAL, "'memory' must be a multiple of 2M");
    if (body->spec.image[0] && body->spec.disk[0])
        return err_set(err, EINVAL, "give 'image' or 'disk', not both");
    return pool_net_check(&body->spec.net, body->max, err);
}

int pool_body_choose(struct pool_body *body, const struct vms_settings *settings, struct err *err)
{
    struct pool_spec *spec = &body->spec;
    bool own = !spec->kernel[0] || strcmp(spec->kernel, "auto") == 0;

    if (strcmp(spec->net.kind, "none") == 0)
        spec->net.kind[0] = '\0';
    spec->kernel_is_own = own;
    spec->initrd_is_own = !spec->initrd[0] || strcmp(spec->initrd, "auto") == 0;
    if (own)
        memcpy(spec->kernel, settings->kernel, sizeof spec->kernel);
    if (spec->initrd_is_own)
        memcpy(spec->initrd, own ? settings->initrd : settings->plain_initrd, sizeof spec->initrd);
    if (!spec->kernel[0])
        return err_set(
            err, ENOENT,
            "no guest kernel was found: give 'kernel', install the package volt-guest, or make the "
            "default one (on hardware KVM with guest-init/stock-kernel, else with "
            "guest-init/kernel/build-kernel) and have poold read its configuration again");
    return 0;
}

int pool_body_look(const struct pool_body *body, struct err *err)
{
    struct pool_files files;
    int rc = pool_files_open(&body->spec, NULL, &files, err);

    if (rc == 0)
        pool_files_close(&files);
    return rc;
}
