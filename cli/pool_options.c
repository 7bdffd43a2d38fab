/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the options of pools and the request that is made of them; see pool_options.h. */
#include "pool_options.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "base/util.h"

void pool_options_specs(struct pool_options *given, struct option_spec ret_specs[POOL_OPTION_COUNT])
{
    const struct option_spec specs[] = {
        { "memory", 'm', OPTION_SIZE, &given->memory_bytes, "SIZE", "RAM of each VM (128M)" },
        { "vcpus", 0, OPTION_NUMBER, &given->vcpus, "N", "virtual CPUs of each VM (1)" },
        { "cpu-weight", 0, OPTION_NUMBER, &given->cpu_weight, "N",
          "share of the CPUs of each VM, where everyone's is 100" },
        { "cpu-percent", 0, OPTION_NUMBER, &given->cpu_percent, "N",
          "CPU time of each VM, in percent of one CPU (no limit)" },
        { "priority", 0, OPTION_NUMBER, &given->priority, "N",
          "goes before pools of a lower one where host-wide limits bite (0)" },
        { "kernel", 0, OPTION_STRING, &given->kernel, "FILE|auto",
          "vmlinux or bzImage (auto: stock on hardware KVM, else the built one)", COMPLETE_FILE },
        { "initrd", 0, OPTION_STRING, &given->initrd, "FILE", "initramfs (the one for the kernel)",
          COMPLETE_FILE },
        { "cmdline", 0, OPTION_STRING, &given->cmdline, "TEXT",
          "added to the kernel command line" },
        { "image", 0, OPTION_STRING, &given->image, "NAME",
          "root filesystem (see voltctl image build)", COMPLETE_IMAGE },
        { "disk", 0, OPTION_STRING, &given->disk, "PATH[,ro]",
          "disk /dev/vda: a file or block device; VMs write to copies of their own",
          COMPLETE_FILE },
        { "disk-bandwidth", 0, OPTION_SIZE, &given->disk_bandwidth, "SIZE",
          "bytes a second to and from each VM's disk (no limit)" },
        { "disk-iops", 0, OPTION_NUMBER, &given->disk_iops, "N",
          "operations a second of each VM's disk (no limit)" },
        { "net", 0, OPTION_STRING, &given->net, "KIND[=LINK]",
          "network card eth0: user (passt), tap, bridge=LINK, macvtap=LINK (none)" },
        { "net-address", 0, OPTION_STRING, &given->net_address, "NET/BITS",
          "where VMs' addresses are from (10.86.0.0/16)" },
        { "net-bandwidth", 0, OPTION_SIZE, &given->net_bandwidth, "SIZE",
          "bytes a second each way of each VM (no limit)" },
        { "net-pps", 0, OPTION_NUMBER, &given->net_pps, "N",
          "frames a second each way of each VM (no limit)" },
        { "net-vhost", 0, OPTION_STRING, &given->net_vhost, "auto|on|off",
          "vhost-net moves a tap's frames (auto: where it can)" },
        { "net-allow", 0, OPTION_STRING, &given->net_allow, "CIDR[:PORT][,...]",
          "what VMs reach though it is the host's own, link-local or denied" },
        { "net-deny", 0, OPTION_STRING, &given->net_deny, "CIDR[:PORT][,...]",
          "what VMs don't reach; the most specific of the two decides" },
        { "net-any-source", 0, OPTION_FLAG, &given->net_any_source, NULL,
          "VMs may send with any MAC and address, not their own alone" },
        { "balloon", 0, OPTION_FLAG, &given->balloon, NULL,
          "memory that a guest frees goes back to the host" },
        { "volumes", 0, OPTION_NUMBER, &given->volumes, "N",
          "volumes and shared folders that each lease can be given, up to 3 (1 with --image, else "
          "0)" },
        { "min", 0, OPTION_NUMBER, &given->min, "N", "VMs kept parked (2)" },
        { "max", 0, OPTION_NUMBER, &given->max, "N", "VMs in all (64)" },
        { "shells", 0, OPTION_NUMBER, &given->shells, "N",
          "processes kept ready without state (0)" },
    };

    static_assert(ARRAY_LEN(specs) == POOL_OPTION_COUNT, "all are counted");
    memcpy(ret_specs, specs, sizeof specs);
}

static int set_text(json_t *body, const char *key, const char *text, struct err *err)
{
    if (text && json_object_set_new(body, key, json_string(text)) < 0)
        return err_set(err, EINVAL, "--%s is not valid UTF-8", key);
    return 0;
}

/* poold runs in another directory: it gets whole paths. */
static int set_path(json_t *body, const char *key, const char *path, struct err *err)
{
    char whole[PATH_MAX];

    if (!path)
        return 0;
    if (strcmp(path, "auto") == 0)
        return set_text(body, key, path, err);
    if (!realpath(path, whole))
        return err_set_errno(err, errno, "--%s %s", key, path);
    return set_text(body, key, whole, err);
}

/* "PATH" or "PATH,ro". */
static int set_disk(json_t *body, const char *disk, struct err *err)
{
    char path[PATH_MAX];
    size_t len = disk ? strlen(disk) : 0;
    bool read_only = len > 3 && strcmp(disk + len - 3, ",ro") == 0;

    if (!disk)
        return 0;
    if (len >= sizeof path)
        return err_set(err, ENAMETOOLONG, "--disk: the path is too long");
    snprintf(path, sizeof path, "%.*s", (int)(read_only ? len - 3 : len), disk);
    json_object_set_new(body, "disk_read_only", json_boolean(read_only));
    return set_path(body, "disk", path, err);
}

static void set_size(json_t *body, const char *key, uint64_t bytes)
{
    if (bytes != POOL_SIZE_NOT_GIVEN)
        json_object_set_new(body, key, json_integer((json_int_t)MIN_OF(bytes, INT64_MAX)));
}

void pool_option_number(json_t *body, const char *key, int64_t number)
{
    if (number >= 0)
        json_object_set_new(body, key, json_integer(number));
}

static const char *warmup_command(const struct pool_options *given, bool is_new)
{
    if (!is_new)
        return given->warmup;
    if (given->warmup)
        return given->warmup[0] ? given->warmup : NULL;
    if (given->service)
        return NULL;
    return given->initrd || given->image || given->disk ? NULL : POOL_WARMUP_DEFAULT;
}

/* Jobs and their like have an image, and ask for caches; a slot costs a restore nothing that shows. */
static int64_t volumes_wanted(const struct pool_options *given, bool is_new)
{
    return is_new && given->volumes < 0 && given->image && !given->service ? 1 : given->volumes;
}

int pool_options_body(const struct pool_options *given, const char *name, json_t **ret_body,
                      struct err *err)
{
    const struct {
        int (*set)(json_t *body, const char *key, const char *text, struct err *err);
        const char *key, *text;
    } texts[] = {
        { set_text, "name", name },
        { set_path, "kernel", given->kernel },
        { set_path, "initrd", given->initrd },
        { set_text, "cmdline", given->cmdline },
        { set_text, "warmup", warmup_command(given, name) },
        { set_text, "service", given->service },
        { set_text, "image", given->image },
        { set_text, "net", given->net },
        { set_text, "net_address", given->net_address },
        { set_text, "net_vhost", given->net_vhost },
        { set_text, "net_allow", given->net_allow },
        { set_text, "net_deny", given->net_deny },
    };
    _cleanup_json_ json_t *body = json_object();
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < ARRAY_LEN(texts); i++)
        rc = texts[i].set(body, texts[i].key, texts[i].text, err);
    if (rc == 0)
        rc = set_disk(body, given->disk, err);
    if (rc < 0)
        return rc;
    set_size(body, "memory", given->memory_bytes);
    set_size(body, "disk_bandwidth", given->disk_bandwidth);
    set_size(body, "net_bandwidth", given->net_bandwidth);
    pool_option_number(body, "net_pps", given->net_pps);
    if (given->net_any_source)
        json_object_set_new(body, "net_any_source", json_true());
    if (given->service_gate)
        json_object_set_new(body, "service_gate", json_true());
    if (given->service_bell)
        json_object_set_new(body, "service_bell", json_true());
    if (given->balloon)
        json_object_set_new(body, "balloon", json_true());
    pool_option_number(body, "disk_iops", given->disk_iops);
    pool_option_number(body, "vcpus", given->vcpus);
    pool_option_number(body, "priority", given->priority);
    pool_option_number(body, "cpu_weight", given->cpu_weight);
    pool_option_number(body, "cpu_percent", given->cpu_percent);
    pool_option_number(body, "service_port", given->service_port);
    pool_option_number(body, "volumes", volumes_wanted(given, name));
    pool_option_number(body, "min", given->min);
    pool_option_number(body, "max", given->max);
    pool_option_number(body, "shells", given->shells);
    *ret_body = json_incref(body);
    return 0;
}
