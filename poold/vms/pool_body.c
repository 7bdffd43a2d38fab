/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what a pool may be, beyond the ranges of its keys; see pool_body.h. */
#include "vms/pool_body.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/ini.h"
#include "base/util.h"
#include "vms/pool_files.h"

#define MEMORY_STEP MIB(2)

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
    case JSON_KEY_LABELS:
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
    if ((body->spec.service[0] != 0) !=
        (body->spec.service_port != 0) + body->spec.service_gate + body->spec.service_bell)
        return err_set(err, EINVAL,
                       "'service' needs one of 'service_port', 'service_gate' and 'service_bell', "
                       "and they need it");
    if (body->spec.service_bell && body->spec.vcpus != 1)
        return err_set(err, EINVAL, "a service at the doorbell has one virtual CPU: 'vcpus' is %u",
                       body->spec.vcpus);
    if (body->spec.image[0] && body->spec.disk[0])
        return err_set(err, EINVAL, "give 'image' or 'disk', not both");
    if (!body->spec.image[0] && !body->spec.disk[0] && !body->spec.volumes &&
        (body->spec.disk_bandwidth || body->spec.disk_iops))
        return err_set(err, EINVAL,
                       "'disk_bandwidth' and 'disk_iops' go with a disk: give 'image', 'disk' or "
                       "'volumes'");
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

void pool_body_again(struct pool_body *body, const struct vms_settings *settings)
{
    struct pool_spec *spec = &body->spec;

    if (spec->kernel_is_own || strcmp(spec->kernel, settings->kernel) == 0)
        spec->kernel[0] = '\0';
    if (spec->initrd_is_own || strcmp(spec->initrd, settings->initrd) == 0 ||
        strcmp(spec->initrd, settings->plain_initrd) == 0)
        spec->initrd[0] = '\0';
}

void pool_body_over(struct pool_body *body, const struct pool_body *was)
{
    struct pool_spec *spec = &body->spec;
    const bool image_is_new = strcmp(spec->image, was->spec.image) != 0;
    const bool disk_is_new = strcmp(spec->disk, was->spec.disk) != 0;

    if (image_is_new && !disk_is_new) {
        spec->disk[0] = '\0';
        spec->disk_read_only = false;
    }
    if (disk_is_new && !image_is_new)
        spec->image[0] = '\0';
    if (spec->service_gate && !was->spec.service_gate &&
        spec->service_port == was->spec.service_port)
        spec->service_port = 0;
    if (spec->service_port != was->spec.service_port && was->spec.service_gate)
        spec->service_gate = false;
    if (!spec->service[0]) {
        spec->service_port = 0;
        spec->service_gate = spec->service_bell = false;
    }
}

int pool_body_look(const struct pool_body *body, struct err *err)
{
    struct pool_files files;
    int rc = pool_files_open(&body->spec, NULL, &files, err);

    if (rc == 0)
        pool_files_close(&files);
    return rc;
}
