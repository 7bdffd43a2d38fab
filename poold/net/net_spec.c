/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what a network's specification may say; see net_spec.h. */
#include "net/net_spec.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "net/net_address.h"

bool pool_net_is_user(const struct pool_net_spec *spec)
{
    return strcmp(spec->kind, "user") == 0;
}

/* The link that a kind KIND=LINK names; NULL: it is another kind. */
static const char *link_of(const struct pool_net_spec *spec, const char *kind)
{
    size_t bytes = strlen(kind);

    return strncmp(spec->kind, kind, bytes) == 0 && spec->kind[bytes] == '='
               ? spec->kind + bytes + 1
               : NULL;
}

const char *pool_net_bridge(const struct pool_net_spec *spec)
{
    return link_of(spec, "bridge");
}

const char *pool_net_macvtap_parent(const struct pool_net_spec *spec)
{
    return link_of(spec, "macvtap");
}

bool pool_net_has_limits(const struct pool_net_spec *spec)
{
    return spec->bandwidth || spec->pps;
}

static int check_vhost(const struct pool_net_spec *spec, struct err *err)
{
    if (!spec->vhost[0] || strcmp(spec->vhost, "auto") == 0 || strcmp(spec->vhost, "off") == 0)
        return 0;
    if (strcmp(spec->vhost, "on") != 0)
        return err_set(err, EINVAL, "'net_vhost' is auto, on or off, not '%s'", spec->vhost);
    if (pool_net_is_user(spec))
        return err_set(err, EINVAL,
                       "'net_vhost' on is for 'net' tap, bridge=LINK and macvtap=LINK");
    if (pool_net_has_limits(spec))
        return err_set(
            err, EINVAL,
            "'net_vhost' on knows no limits: leave out 'net_bandwidth' and 'net_pps', or "
            "it");
    return 0;
}

static int check_address(const struct pool_net_spec *spec, uint32_t max, struct err *err)
{
    struct net_network network;
    struct net_rules rules;

    if (!net_network_parse(spec->address, &network))
        return err_set(err, EINVAL,
                       "'net_address' is a network like " POOL_NET_ADDRESS_DEFAULT
                       ", of 8 to 29 bits, not '%s'",
                       spec->address);
    if (max > network.hosts)
        return err_set(err, EINVAL, "'net_address' %s has %u addresses for VMs, but 'max' is %u",
                       spec->address, network.hosts, max);
    return net_policy_parse(spec->allow, spec->deny, net_network_gateway(&network),
                            pool_net_is_user(spec), &rules, err);
}

/* What would be kept, and do nothing. The address has a default. */
static int check_none(const struct pool_net_spec *spec, struct err *err)
{
    const struct {
        const char *name;
        bool given;
    } keys[] = {
        { "net_allow", spec->allow[0] },      { "net_deny", spec->deny[0] },
        { "net_bandwidth", spec->bandwidth }, { "net_pps", spec->pps },
        { "net_vhost", spec->vhost[0] },      { "net_any_source", spec->any_source },
    };

    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (keys[i].given)
            return err_set(err, EINVAL, "'%s' goes with a network: give 'net'", keys[i].name);
    return 0;
}

int pool_net_check(const struct pool_net_spec *spec, uint32_t max, struct err *err)
{
    if (!spec->kind[0])
        return check_none(spec, err);
    if (!pool_net_is_user(spec) && strcmp(spec->kind, "tap") != 0 && !pool_net_bridge(spec) &&
        !pool_net_macvtap_parent(spec))
        return err_set(err, EINVAL,
                       "'net' is none, user, tap, bridge=LINK or macvtap=LINK, not '%s'",
                       spec->kind);
    int rc = check_vhost(spec, err);
    return rc == 0 ? check_address(spec, max, err) : rc;
}

bool pool_net_overlap(const struct pool_net_spec *a, const struct pool_net_spec *b)
{
    struct net_network x, y;

    if ((!pool_net_bridge(a) && !pool_net_macvtap_parent(a)) || strcmp(a->kind, b->kind) != 0 ||
        !net_network_parse(a->address, &x) || !net_network_parse(b->address, &y))
        return false;
    uint32_t mask = ~0u << (32 - (x.bits < y.bits ? x.bits : y.bits));
    return ((x.base ^ y.base) & mask) == 0;
}

void pool_net_option(const struct pool_net_spec *spec, char ret_text[POOL_NET_OPTION_BYTES])
{
    /* The VM is given a tap, wherever that leads. */
    int used = snprintf(ret_text, POOL_NET_OPTION_BYTES, "%s",
                        pool_net_is_user(spec) || !spec->kind[0] ? spec->kind : "tap");

    if (spec->bandwidth)
        used += snprintf(ret_text + used, (size_t)(POOL_NET_OPTION_BYTES - used), ",bandwidth=%llu",
                         (unsigned long long)spec->bandwidth);
    if (spec->pps)
        snprintf(ret_text + used, (size_t)(POOL_NET_OPTION_BYTES - used), ",pps=%u", spec->pps);
}
