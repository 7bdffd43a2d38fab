/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the reading and the order of egress rules; see net_policy.h. */
#include "net/net_policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define RULE_BYTES 64u
#define HOST_WORD "host"

static const char rule_expected[] =
    "expected an IPv4 network like 10.0.0.0/8 or 'host', and behind it, if wanted, :PORT or "
    ":FIRST-LAST and /tcp or /udp";

/* ---- One rule ---- */

static uint32_t mask_of(unsigned bits)
{
    return bits ? ~0u << (32 - bits) : 0;
}

/* Digits alone, so no sign and no space. */
static bool parse_number(const char **text, unsigned long max, unsigned long *ret_number)
{
    char *end;

    if (**text < '0' || **text > '9')
        return false;
    *ret_number = strtoul(*text, &end, 10);
    *text = end;
    return *ret_number <= max;
}

/* At "", ":PORT", ":FIRST-LAST", with or without a protocol. */
static bool parse_ports(const char *text, struct net_rule *rule)
{
    unsigned long first, last;

    rule->port_last = NET_PORT_LAST;
    if (!*text)
        return true;
    if (*text++ != ':' || !parse_number(&text, NET_PORT_LAST, &first))
        return false;
    last = first;
    if (*text == '-') {
        text++;
        if (!parse_number(&text, NET_PORT_LAST, &last))
            return false;
    }
    rule->port_first = (uint16_t)first;
    rule->port_last = (uint16_t)last;
    if (strcmp(text, "/tcp") == 0)
        rule->protocol = IPPROTO_TCP;
    else if (strcmp(text, "/udp") == 0)
        rule->protocol = IPPROTO_UDP;
    rule->protocol_mask = rule->protocol ? UINT8_MAX : 0;
    return first > 0 && first <= last && (!*text || rule->protocol);
}

static int parse_network(const char *text, const char *list, struct net_rule *rule,
                         const char **ret_rest, struct err *err)
{
    char address[INET_ADDRSTRLEN];
    size_t bytes = strspn(text, "0123456789.");
    unsigned long bits = 32;
    struct in_addr in;

    snprintf(address, sizeof address, "%.*s", (int)bytes, text);
    if (bytes >= sizeof address || inet_pton(AF_INET, address, &in) != 1)
        return err_set(err, EINVAL, "'%s': '%s': %s", list, text, rule_expected);
    *ret_rest = text + bytes;
    if (**ret_rest == '/') {
        ++*ret_rest;
        if (!parse_number(ret_rest, 32, &bits))
            return err_set(err, EINVAL, "'%s': '%s': %s", list, text, rule_expected);
    }
    rule->mask = mask_of((unsigned)bits);
    rule->network = ntohl(in.s_addr);
    if (rule->network & ~rule->mask) {
        in.s_addr = htonl(rule->network & rule->mask);
        inet_ntop(AF_INET, &in, address, sizeof address);
        return err_set(err, EINVAL,
                       "'%s': '%s': the address has bits beyond its prefix; meant is %s/%lu, or "
                       "the address alone",
                       list, text, address, bits);
    }
    return 0;
}

static int parse_rule(const char *text, const char *list, struct net_rule *ret_rule,
                      struct err *err)
{
    struct net_rule rule = { .of_user = 1 };
    const char *rest = text + strlen(HOST_WORD);
    int rc = 0;

    if (strncmp(text, HOST_WORD, strlen(HOST_WORD)) == 0)
        rule.host = 1;
    else
        rc = parse_network(text, list, &rule, &rest, err);
    if (rc == 0 && !parse_ports(rest, &rule))
        rc = err_set(err, EINVAL, "'%s': '%s': %s", list, text, rule_expected);
    if (rc == 0)
        *ret_rule = rule;
    return rc;
}

/* ---- All of them, in order ---- */

static unsigned prefix_of(const struct net_rule *rule)
{
    return rule->host ? 32 : (unsigned)__builtin_popcount(rule->mask);
}

/* Is `a` looked at before `b`? The order is net_policy.h's. */
static bool precedes(const struct net_rule *a, const struct net_rule *b)
{
    unsigned ports_a = (unsigned)(a->port_last - a->port_first),
             ports_b = (unsigned)(b->port_last - b->port_first);

    if (prefix_of(a) != prefix_of(b))
        return prefix_of(a) > prefix_of(b);
    if (a->of_user != b->of_user)
        return a->of_user;
    if (ports_a != ports_b)
        return ports_a < ports_b;
    if (!a->protocol != !b->protocol)
        return a->protocol;
    return !a->allow && b->allow;
}

static void insert(struct net_rules *rules, const struct net_rule *rule)
{
    uint32_t at = rules->count++;

    for (; at > 0 && precedes(rule, &rules->rule[at - 1]); at--)
        rules->rule[at] = rules->rule[at - 1];
    rules->rule[at] = *rule;
}

static int parse_list(const char *text, const char *list, bool allow, struct net_rules *rules,
                      struct err *err)
{
    char word[RULE_BYTES];

    while (*text) {
        struct net_rule rule;
        size_t bytes = strcspn(text, ",");

        if (rules->count == NET_RULES_USER_MAX)
            return err_set(err, EINVAL, "'net_allow' and 'net_deny' together are at most %u rules",
                           NET_RULES_USER_MAX);
        snprintf(word, sizeof word, "%.*s", (int)MIN_OF(bytes, sizeof word), text);
        int rc = bytes < sizeof word
                     ? parse_rule(word, list, &rule, err)
                     : err_set(err, EINVAL, "'%s': '%s...': %s", list, word, rule_expected);
        if (rc < 0)
            return rc;
        rule.allow = allow;
        insert(rules, &rule);
        text += bytes;
        if (*text == ',' && !*++text)
            return err_set(err, EINVAL, "'%s': nothing follows the last comma", list);
    }
    return 0;
}

static void add_defaults(struct net_rules *rules, uint32_t gateway, bool passt)
{
    static const struct {
        uint32_t network;
        unsigned bits;
    } denied[] = {
        { INADDR_ANY, 8 },          { INADDR_LOOPBACK & 0xff000000u, 8 },
        { 0xa9fe0000u, 16 }, /* link-local */
        { INADDR_UNSPEC_GROUP, 4 }, { 0xf0000000u, 4 },
    };
    const struct net_rule host = { .host = 1, .port_last = NET_PORT_LAST };
    const struct net_rule dns = { .network = gateway,
                                  .mask = ~0u,
                                  .port_first = 53,
                                  .port_last = 53,
                                  .protocol = IPPROTO_UDP,
                                  .protocol_mask = UINT8_MAX,
                                  .allow = 1 };

    for (unsigned i = 0; i < ARRAY_LEN(denied); i++) {
        const struct net_rule rule = { .network = denied[i].network,
                                       .mask = mask_of(denied[i].bits),
                                       .port_last = NET_PORT_LAST };

        insert(rules, &rule);
    }
    insert(rules, &host);
    if (passt)
        insert(rules, &dns);
}

int net_policy_parse(const char *allow, const char *deny, uint32_t gateway, bool passt,
                     struct net_rules *ret_rules, struct err *err)
{
    struct net_rules rules = { .count = 0 };
    int rc = parse_list(allow, "net_allow", true, &rules, err);

    if (rc == 0)
        rc = parse_list(deny, "net_deny", false, &rules, err);
    if (rc < 0)
        return rc;
    add_defaults(&rules, gateway, passt);
    *ret_rules = rules;
    return 0;
}
